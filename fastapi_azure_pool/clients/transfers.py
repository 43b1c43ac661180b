"""What group commit asks of a connection and of a service's messages, and what becomes of a transfer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.errors import SendError, SendInterrupted, SendTimedOut

ItemT = TypeVar("ItemT")

SERVER_BUSY = "com.microsoft:server-busy"
TOO_LARGE = "amqp:link:message-size-exceeded"
NOT_ALLOWED = "amqp:not-allowed"

# The service gave up on it or failed in the midst of it: a rejection that says nothing about what was stored.
_UNKNOWN = frozenset({"com.microsoft:timeout", "amqp:internal-error"})


class OutcomeKind(Enum):
    """What the service did with a transfer (AMQP 1.0, section 3.4), or that nobody knows."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RELEASED = "released"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one transfer.

    Attributes:
        kind: What the service did. RELEASED stands for ``modified`` too: it did not take the message.
        condition: With REJECTED the AMQP error condition, such as "amqp:resource-limit-exceeded"; else None.
        description: With REJECTED the service's own words.
        error: The SDK's error, where the SDK raised one.
    """

    kind: OutcomeKind
    condition: str | None = None
    description: str | None = None
    error: Exception | None = None

    @property
    def is_known_not_stored(self) -> bool:
        """Whether nothing was stored, and trying again later may help."""
        return self.kind is OutcomeKind.RELEASED or self.condition == SERVER_BUSY

    @property
    def maybe_delivered(self) -> bool:
        """Whether it may have been stored although nobody confirmed it."""
        return self.kind is OutcomeKind.LOST or self.condition in _UNKNOWN


ACCEPTED = Outcome(OutcomeKind.ACCEPTED)
RELEASED = Outcome(OutcomeKind.RELEASED)
LOST = Outcome(OutcomeKind.LOST)


class LinkRefused(Exception):
    """The service does not open the link that a message needs.

    Attributes:
        outcome: The rejection.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.condition)
        self.outcome = outcome


class Channel(Protocol):
    """A connection with a send link, driven by one task alone.

    Attributes:
        window: Transfers that may be in flight at once.
        wake: Set by the owner; called when something has arrived.
        tend_at: When `tend` wants to be called, on the event loop's clock.
    """

    window: int
    wake: Callable[[], None]
    tend_at: float

    @property
    def is_closed(self) -> bool:
        """Whether it is known to be closed or broken; cheap, without I/O."""

    async def receive(self) -> None:
        """Take in what has arrived; never waits for more."""

    async def room(self, address: str | None) -> int:
        """Give how many transfers the service lets leave now.

        Args:
            address: Where to, below the entity, such as "Partitions/1"; None for the entity itself.

        Raises:
            LinkRefused: The service opens no link to it.
        """

    async def transfer(
        self, address: str | None, payload: Any, settled: Callable[[Outcome], None], seconds: float
    ) -> None:
        """Send one transfer; ``settled`` is called with its outcome, once.

        Args:
            address: See `room`.
            payload: What `Packing.payload` gave.
            settled: Called by `receive`, or before this returns.
            seconds: How long anybody waits for the outcome.
        """

    async def tend(self) -> None:
        """Keep it alive and authorized."""

    def close(self) -> None:
        """Stop what it has begun beside the owner; the connection itself is the SDK's to close."""


class Packing(ABC, Generic[ItemT]):
    """How one service's messages become a transfer, and its refusals errors.

    Attributes:
        entity: What the log calls where they go.
    """

    entity: str

    @abstractmethod
    async def new_batch(self, key: Any) -> Any:
        """Make an empty batch for messages of this key, without I/O."""

    @abstractmethod
    def add(self, batch: Any, item: ItemT, *, is_first: bool) -> bool:
        """Add a message to a batch; False when the batch is full.

        Raises:
            MessageTooLarge: It is the first and does not even fit alone.
        """

    @abstractmethod
    def payload(self, batch: Any) -> Any:
        """Give what is transferred."""

    def address(self, key: Any) -> str | None:  # noqa: ARG002 - read by overrides
        """Give where messages of this key go, below the entity; None for the entity itself."""
        return None

    @abstractmethod
    def error(self, outcome: Outcome) -> SendError:
        """Give a new error for an outcome that is not ACCEPTED."""

    @abstractmethod
    def translate(self, error: Exception) -> Exception:
        """Give what a caller is told of an error that the SDK raised."""

    @abstractmethod
    def timed_out(self, *, maybe_delivered: bool) -> SendTimedOut:
        """Give a new error for a caller whose time is over."""

    @abstractmethod
    def interrupted(self, *, maybe_delivered: bool) -> SendInterrupted:
        """Give a new error for a caller whose connection is closed or broken."""

    def refuses_always(self, outcome: Outcome) -> bool:
        """Whether the service refused that messages were joined, and will again."""
        return outcome.condition == NOT_ALLOWED and "Batching brokered messages" in (outcome.description or "")

    def refuses_joining(self, outcome: Outcome) -> bool:
        """Whether the messages of a refused batch may be stored one by one; nothing of it was."""
        return outcome.condition == TOO_LARGE or self.refuses_always(outcome)
