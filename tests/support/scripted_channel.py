"""A connection that does as a test tells it, messages that pack as a test wants them, and callers who send them."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.transfers import (
    ACCEPTED,
    RELEASED,
    SERVER_BUSY,
    LinkRefused,
    Outcome,
    OutcomeKind,
    Packing,
)
from fastapi_azure_pool.errors import MessageTooLarge, SendError, SendInterrupted, SendRejected, SendTimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

BUSY = Outcome(OutcomeKind.REJECTED, SERVER_BUSY, "come again")

who: ContextVar[str] = ContextVar("who", default="nobody")
"""A context variable as a request has them, the trace's for example."""


class Message:
    """One message: its size counts against the limits, and making it part of a batch may fail."""

    def __init__(self, name: object = "", size: int = 1, error: type[Exception] | None = None) -> None:
        self.name = name
        self.size = size
        self.error = error

    def __repr__(self) -> str:
        return f"<Message {self.name}>"


class Batch:
    """What a scripted packing makes of messages: the payload too."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.messages: list[Message] = []

    @property
    def names(self) -> list[Any]:
        """The names of its messages."""
        return [message.name for message in self.messages]


class Transfer:
    """One transfer that a scripted channel was given."""

    def __init__(
        self, channel: ScriptedChannel, address: str | None, payload: Any, settled: Callable[[Outcome], None]
    ) -> None:
        self.address = address
        self.payload = payload
        self.at = asyncio.get_running_loop().time()
        self.seconds = 0.0
        self.is_answered = False
        self._channel = channel
        self._settled = settled

    @property
    def names(self) -> list[Any]:
        """The names of its messages."""
        return messages_of(self.payload)

    def answer(self, outcome: Outcome = ACCEPTED) -> None:
        """Let the service's answer arrive."""
        self.is_answered = True
        self._channel.arrive(lambda: self._settled(outcome))

    def reject(self, condition: str, description: str = "") -> None:
        """Let the service refuse it."""
        self.answer(Outcome(OutcomeKind.REJECTED, condition, description))


def messages_of(payload: Any) -> list[Any]:
    """Give the names of the messages in a payload, one or a batch."""
    return payload.names if isinstance(payload, Batch) else [payload.name]


class ScriptedChannel:
    """Takes transfers and holds their answers, unless an attribute says otherwise; refuses to be driven by two at once.

    Attributes:
        window: Transfers in flight at most.
        tend_at: When it wants to be tended; never, by default.
        is_closed: Whether it is closed.
        answers_after: Seconds after which a transfer is answered by itself; None for never.
        answer_with: With what.
        credit: Transfers that each address takes, by address; one that is missing takes any number.
        refused: The outcomes of addresses to which no link is opened.
        seconds: How long a call takes, by its name; infinity for ever.
        errors: What a call raises when its time is over, by its name.
        transfers: What it was given, in order.
        calls: The names of the calls, in order.
        tasks: The tasks that called.
        contexts: How many context variables each call saw.
        times_closed: How often `close` was called.
        complaints: What the owner must never do, and did.
    """

    def __init__(self) -> None:
        self.window = 8
        self.wake: Callable[[], None] = lambda: None
        self.tend_at = math.inf
        self.is_closed = False
        self.answers_after: float | None = None
        self.answer_with = ACCEPTED
        self.credit: dict[str | None, int] = {}
        self.refused: dict[str | None, Outcome] = {}
        self.seconds: dict[str, float] = {}
        self.errors: dict[str, BaseException] = {}
        self.transfers: list[Transfer] = []
        self.calls: list[str] = []
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.contexts: set[int] = set()
        self.times_closed = 0
        self.complaints: list[str] = []
        self._arrived: list[Callable[[], None]] = []
        self._is_in_call = False
        self._turn = -1
        self._calls_in_turn = 0

    @property
    def names(self) -> list[list[Any]]:
        """The names of the messages in each transfer."""
        return [transfer.names for transfer in self.transfers]

    @property
    def in_flight(self) -> list[Transfer]:
        """The transfers without an answer."""
        return [transfer for transfer in self.transfers if not transfer.is_answered]

    def arrive(self, news: Callable[[], None] = lambda: None) -> None:
        """Let something arrive, which the next `receive` takes in."""
        self._arrived.append(news)
        self.wake()

    def grant(self, count: int, address: str | None = None) -> None:
        """Let a FLOW arrive."""
        self.arrive(lambda: self.credit.update({address: count}))

    def drop(self) -> None:
        """Let the end of the connection arrive."""
        self.is_closed = True
        self.wake()

    async def receive(self) -> None:
        """Take in what has arrived."""
        with self._call("receive"):
            await self._pass("receive")
            arrived, self._arrived = self._arrived, []
            for news in arrived:
                news()

    async def room(self, address: str | None) -> int:
        """Give the credit that is left."""
        with self._call("room"):
            await self._pass("room")
            if address in self.refused:
                raise LinkRefused(self.refused[address])
            return self.credit.get(address, 1_000)

    async def transfer(
        self, address: str | None, payload: Any, settled: Callable[[Outcome], None], seconds: float
    ) -> None:
        """Remember a transfer."""
        with self._call("transfer"):
            self._require(not self.is_closed, "a transfer over a connection that is known to be closed")
            self._require(self.credit.get(address, 1) > 0, "a transfer without credit")
            if address in self.credit:
                self.credit[address] -= 1
            transfer = Transfer(self, address, payload, settled)
            transfer.seconds = seconds
            self.transfers.append(transfer)
            await self._pass("transfer")
            if self.answers_after is not None:
                asyncio.get_running_loop().call_later(self.answers_after, transfer.answer, self.answer_with)

    async def tend(self) -> None:
        """Do nothing."""
        with self._call("tend"):
            self.tend_at = math.inf
            await self._pass("tend")

    async def manage(self) -> None:
        """Stand for an operation of the SDK on the same connection."""
        with self._call("manage"):
            await self._pass("manage")

    def close(self) -> None:
        """Count a close."""
        self.times_closed += 1

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self._require(not self._is_in_call, f"{name}() while another call is in progress")
        self._count_turn()
        self._is_in_call = True
        self.calls.append(name)
        self.tasks.add(asyncio.current_task())
        if name != "manage":
            self.contexts.add(len(copy_context()))
        try:
            yield
        finally:
            self._is_in_call = False

    def _count_turn(self) -> None:
        turn: int = getattr(asyncio.get_running_loop(), "turn", 0)
        self._calls_in_turn = self._calls_in_turn + 1 if turn == self._turn else 0
        self._turn = turn
        self._require(self._calls_in_turn < 10_000, "the owner spins without giving way to anybody")

    def _require(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.complaints.append(complaint)
            raise AssertionError(complaint)

    async def _pass(self, name: str) -> None:
        seconds = self.seconds.get(name, 0.0)
        if seconds == math.inf:
            await asyncio.get_running_loop().create_future()
        elif seconds:
            await asyncio.sleep(seconds)
        if name in self.errors:
            raise self.errors[name]


class ScriptedPacking(Packing[Message]):
    """Packs messages up to a limit of their sizes.

    Attributes:
        limit: The size of a batch, and of a message that goes alone.
        addresses: Where keys go that do not go to the entity itself.
        new_batch_seconds: How long making a batch takes.
        added: Every message that was added, with its caller's context variable.
        batches: How many batches were begun.
        on_add: Called before each message is added.
    """

    entity = "orders"

    def __init__(self) -> None:
        self.limit = 1_000_000
        self.addresses: dict[Any, str] = {}
        self.new_batch_seconds = 0.0
        self.new_batch_error: Exception | None = None
        self.added: list[tuple[Any, str]] = []
        self.batches = 0
        self.on_add: Callable[[Message], None] = lambda message: None

    async def new_batch(self, key: Any) -> Batch:
        """Make an empty batch."""
        self.batches += 1
        if self.new_batch_seconds:
            await asyncio.sleep(self.new_batch_seconds)
        if self.new_batch_error is not None:
            raise self.new_batch_error
        return Batch(key)

    def add(self, batch: Batch, item: Message, *, is_first: bool) -> bool:
        """Add a message, if it fits."""
        self.on_add(item)
        if item.error is not None:
            raise item.error("cannot be encoded")
        if sum(message.size for message in batch.messages) + item.size > self.limit:
            if is_first:
                raise MessageTooLarge("too large", maybe_delivered=False)
            return False
        assert is_first == (not batch.messages)
        batch.messages.append(item)
        self.added.append((item.name, who.get()))
        return True

    def payload(self, batch: Batch) -> Batch:
        """Give the batch itself."""
        return batch

    def address(self, key: Any) -> str | None:
        """Give the address that the test wants."""
        return self.addresses.get(key)

    def error(self, outcome: Outcome) -> SendError:
        """Give a rejection, or an interruption for a lost one."""
        if outcome.kind is OutcomeKind.LOST:
            return self.interrupted(maybe_delivered=True)
        condition = outcome.condition or outcome.kind.value
        return SendRejected("refused", condition=condition, maybe_delivered=outcome.maybe_delivered)

    def translate(self, error: Exception) -> Exception:
        """Give a rejection."""
        if isinstance(error, SendError):
            return error
        return SendRejected(str(error), condition=getattr(error, "condition", None))

    def timed_out(self, *, maybe_delivered: bool) -> SendTimedOut:
        """Give the error."""
        return SendTimedOut("timed out", maybe_delivered=maybe_delivered)

    def interrupted(self, *, maybe_delivered: bool) -> SendInterrupted:
        """Give the error."""
        return SendInterrupted("interrupted", maybe_delivered=maybe_delivered)


class Caller:
    """A task that sends, and how it ended.

    Args:
        sending: What it awaits.
        name: What its context variable `who` says.
    """

    def __init__(self, sending: Coroutine[Any, Any, Any], name: str = "nobody") -> None:
        self.ended: str | None = None
        self.error: BaseException | None = None
        self.answer: Any = None
        self.at: float | None = None
        self.turn: int | None = None
        context = copy_context()
        context.run(who.set, name)
        self.task = asyncio.get_running_loop().create_task(self._send(sending), context=context)

    async def _send(self, sending: Coroutine[Any, Any, Any]) -> None:
        loop: Any = asyncio.get_running_loop()
        try:
            self.answer = await sending
            self.ended = "confirmed"
        except SendError as error:
            self.error = error
            self.ended = (
                f"{type(error).__name__}{' maybe' if error.maybe_delivered else ''}"
                f"{' ' + str(error.condition) if isinstance(error, SendRejected) and error.condition else ''}"
            )
        except asyncio.CancelledError:
            self.ended = "cancelled"
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
            self.ended = type(error).__name__
        self.at = loop.time()
        self.turn = getattr(loop, "turn", None)

    def cancel(self) -> None:
        """Cancel the task."""
        self.task.cancel()

    def __repr__(self) -> str:
        return f"<Caller {self.ended or 'waiting'}>"


def ends(callers: list[Caller]) -> list[str | None]:
    """Tell how each caller ended; None for those who still wait."""
    return [caller.ended for caller in callers]


__all__ = [
    "ACCEPTED",
    "BUSY",
    "RELEASED",
    "Batch",
    "Caller",
    "Message",
    "ScriptedChannel",
    "ScriptedPacking",
    "Transfer",
    "ends",
    "messages_of",
    "who",
]
