"""A service to which messages are sent: what becomes of each transfer is the seed's to say, and it keeps books of everything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, NOT_ALLOWED, RELEASED, TOO_LARGE, Outcome, OutcomeKind
from tests.support.scripted_channel import BUSY, Message

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable, Sequence


class Stores(Enum):
    """When a transfer's messages are stored."""

    NEVER = "never"
    NOW = "now"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one transfer.

    Attributes:
        stores: When its messages are stored.
        outcome: What the sender hears of it; None for nothing.
        ends: Whether the connection ends instead of an answer.
    """

    stores: Stores
    outcome: Outcome | None = None
    ends: bool = False

    @property
    def is_for_joining(self) -> bool:
        """Whether the messages were refused because they came together."""
        return self.outcome is not None and self.outcome.condition in {TOO_LARGE, NOT_ALLOWED}

    @property
    def is_certainly_not_stored(self) -> bool:
        """Whether the sender learns that nothing was stored, and may send it again."""
        return self.is_for_joining or (self.outcome is not None and self.outcome.is_known_not_stored)


def _rejected(condition: str, description: str = "") -> Outcome:
    return Outcome(OutcomeKind.REJECTED, condition, description)


TAKEN = Fate(Stores.NOW, ACCEPTED)

# What an entity with partitions and duplicate detection says of messages that were joined.
MIXED = Fate(
    Stores.NEVER, _rejected(NOT_ALLOWED, "Batching brokered messages with distinct MessageId is not supported")
)

TOO_LARGE_TOGETHER = Fate(Stores.NEVER, _rejected(TOO_LARGE))

TROUBLES: dict[str, tuple[float, tuple[Fate, ...]]] = {
    # It may be stored long after everybody has given up on it.
    "no answer": (0.1, (Fate(Stores.NEVER), Fate(Stores.LATE))),
    "ended in the air": (0.1, (Fate(Stores.NEVER, ends=True), Fate(Stores.NOW, ends=True))),
    # RELEASED stands for "modified" too.
    "not taken": (0.4, (Fate(Stores.NEVER, BUSY), Fate(Stores.NEVER, RELEASED))),
    "rejected": (0.2, (Fate(Stores.NEVER, _rejected("amqp:not-found")),)),
    "unknown": (
        0.15,
        tuple(
            Fate(stores, outcome)
            for stores in (Stores.NEVER, Stores.NOW)
            for outcome in (LOST, _rejected("amqp:internal-error"), _rejected("com.microsoft:timeout"))
        ),
    ),
}
"""What may become of a transfer instead of being taken, with its share where there is nothing but trouble."""


class NumberedMessage(Message):
    """A message that the books know by its number.

    Args:
        number: The message's number; one that is sent again has the same.
        key: The key that it is sent with.
        arrival: Its place among all that were put in line anywhere.
        size: What it counts against the limit of a batch.
        error: What comes of adding it to a batch.

    Attributes:
        is_over: Whether it must not leave any more: who sent it has gone, or has an answer.
    """

    def __init__(
        self, number: int, key: Hashable, arrival: int, *, size: int = 1, error: type[Exception] | None = None
    ) -> None:
        super().__init__(number, size, error)
        self.number = number
        self.key = key
        self.arrival = arrival
        self.is_over = False


class SendingService:
    """Stores messages, or does not, and tells, or does not.

    Args:
        lot: What is drawn from.
        trouble: The share of trouble, 0.0 to 1.0; nothing goes wrong any more when it is set to 0.0.
        refuses_joined: Whether it refuses, always, what was joined of several callers.
        building_seconds: How long making a batch for it may take, to be drawn from.
        note: Writes into the trace.

    Attributes:
        stored: The numbers of the messages, in the order in which they were stored.
        tries: By number, the transfers of a message of which its sender could not know that they came to nothing.
        alone: The places of arrival of those that were refused for having been joined, and must go alone.
        mixed: Those of them that have heard that joining is refused always.
        troubles: How often what happened.
        complaints: What no sender may do, and one did.
    """

    def __init__(
        self,
        lot: random.Random,
        *,
        trouble: float,
        refuses_joined: bool,
        building_seconds: Sequence[float],
        note: Callable[[str], None],
    ) -> None:
        self.lot = lot
        self.trouble = trouble
        self.refuses_joined = refuses_joined
        self.building_seconds = building_seconds
        self.note = note
        self.stored: list[int] = []
        self.tries: Counter[int] = Counter()
        self.alone: set[int] = set()
        self.mixed: set[int] = set()
        self.troubles: Counter[str] = Counter()
        self.complaints: list[str] = []

    def happens(self, trouble: str, share: float = 1.0) -> bool:
        """Draw whether something happens now."""
        if self.lot.random() >= self.trouble * share:
            return False
        self.occur(trouble)
        return True

    def occur(self, trouble: str) -> None:
        """Note what happens."""
        self.troubles[trouble] += 1
        self.note(trouble)

    def complain(self, complaint: str) -> None:
        """Note what must not happen."""
        self.complaints.append(complaint)

    def take(self, messages: Sequence[NumberedMessage], *, is_joined: bool) -> Fate:
        """Take a transfer from a connection, and decide what becomes of it."""
        numbers = [message.number for message in messages]
        arrivals = [message.arrival for message in messages]
        if any(message.is_over for message in messages):
            self.complain(f"{numbers} left, though one of them has gone or was answered before")
        if is_joined and not self.alone.isdisjoint(arrivals):
            self.complain(f"{numbers} were joined, though one of them was refused for having been joined")
        if len(set(numbers)) < len(numbers):
            self.complain(f"{numbers}: the same message twice in one transfer")
        fate = self._draw_fate(is_joined=is_joined)
        if not fate.is_certainly_not_stored:
            self.tries.update(numbers)
        elif fate.is_for_joining:
            self.alone.update(arrivals)
        return fate

    def store(self, numbers: Sequence[int]) -> None:
        """Store messages."""
        self.note(f"stored {[*numbers]}")
        self.stored += numbers

    def _draw_fate(self, *, is_joined: bool) -> Fate:
        if is_joined and self.refuses_joined:
            self.occur("joining refused for ever")
            return MIXED
        for trouble, (share, fates) in TROUBLES.items():
            if self.happens(trouble, share):
                return self.lot.choice(fates)
        if is_joined and self.happens("too large together", 0.5):
            return TOO_LARGE_TOGETHER
        return TAKEN
