"""Messages in line and transfers in flight, by key: plain state, without I/O and without a clock."""

from __future__ import annotations

import random
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastapi_azure_pool.clients.transfers import OutcomeKind

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from fastapi_azure_pool.clients.transfers import Outcome, Packing

ItemT = TypeVar("ItemT")

_RETRY_SECONDS = (1.0, 2.0, 4.0)
_JITTER = 0.2


def retry_delay(retries: int) -> float:
    """Give the seconds to wait before trying again: 1, 2, then always 4, each 20 % more or less at random.

    Args:
        retries: How many retries there were before, at least 0.
    """
    seconds = _RETRY_SECONDS[min(retries, len(_RETRY_SECONDS) - 1)]
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, guards no secret


class Waiting(Generic[ItemT]):
    """One caller's message, and the caller.

    Attributes:
        answer: What the caller awaits.
        arrived: When the message was put in line, on the event loop's clock.
        context: The caller's: its trace belongs into the message.
        deadline: When the caller's time is over.
        flight: What the message flies with; None while it is in line.
        is_whole: Whether it is a batch already, which leaves as it is.
        leaves_alone: Whether it must not be joined with others.
    """

    __slots__ = ("answer", "arrived", "context", "deadline", "flight", "is_whole", "item", "key", "leaves_alone")

    def __init__(
        self, item: ItemT, key: Any, arrived: float, deadline: float, answer: asyncio.Future[None], *, is_whole: bool
    ) -> None:
        self.item = item
        self.key = key
        self.arrived = arrived
        self.deadline = deadline
        self.answer = answer
        self.is_whole = is_whole
        self.leaves_alone = is_whole
        self.context = copy_context()
        self.flight: Flight[ItemT] | None = None

    def tell(self, outcome: Outcome, packing: Packing[ItemT]) -> None:
        """Give the caller an outcome, unless there is an answer already."""
        if not self.answer.done():
            if outcome.kind is OutcomeKind.ACCEPTED:
                self.answer.set_result(None)
            else:
                self.answer.set_exception(packing.error(outcome))

    def interrupt(self, packing: Packing[ItemT], *, maybe_delivered: bool) -> None:
        """Tell the caller that the connection is closed or broken, unless there is an answer already."""
        if not self.answer.done():
            self.answer.set_exception(packing.interrupted(maybe_delivered=maybe_delivered))


class Flight(Generic[ItemT]):
    """The members of one transfer, from its building to its outcome.

    Attributes:
        address: Where it goes, below the entity.
        is_in_air: Whether it was transferred and has no outcome yet.
        members: Whose messages it holds, in order.
        outcome: What became of it, until every member knows.
        payload: What is transferred; None before it was built.
        refusal: Why it was not stored the last time; None before its first try.
        retries: How often it was refused.
        retry_at: When to try again.
        timer: Its deadline in the air.
    """

    __slots__ = (
        "address",
        "is_in_air",
        "key",
        "members",
        "outcome",
        "payload",
        "refusal",
        "retries",
        "retry_at",
        "timer",
    )

    def __init__(self, key: Any, address: str | None) -> None:
        self.key = key
        self.address = address
        self.members: list[Waiting[ItemT]] = []
        self.payload: Any = None
        self.is_in_air = False
        self.outcome: Outcome | None = None
        self.refusal: Outcome | None = None
        self.retries = 0
        self.retry_at = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def refuse(self, refusal: Outcome, now: float) -> None:
        """Note why it was not stored, and when to try again."""
        self.refusal = refusal
        self.retry_at = now + retry_delay(self.retries)
        self.retries += 1

    @property
    def known(self) -> Outcome | None:
        """What is known of it: its outcome, or between two tries why the last one was refused."""
        return self.outcome or (None if self.is_in_air else self.refusal)

    @property
    def is_deserted(self) -> bool:
        """Whether nobody waits for it any more."""
        return all(member.answer.done() for member in self.members)

    @property
    def must_be_built(self) -> bool:
        """Whether it has no payload, or one with the message of somebody who has left."""
        return self.payload is None or any(member.answer.done() for member in self.members)


class Traffic(Generic[ItemT]):
    """What waits and what flies: messages of one key in order of arrival, and at most one flight of each key.

    Attributes:
        ready: The keys of which something waits and nothing flies, in order of arrival.
        flights: By key, what is being built, is in the air, or waits to be tried again.
        resting: Those of them that wait to be tried again.
    """

    __slots__ = ("_lines", "flights", "ready", "resting")

    def __init__(self) -> None:
        # Dictionaries for their order, and so that who is cancelled leaves in no time.
        self._lines: dict[Any, dict[Waiting[ItemT], None]] = {}
        self.ready: dict[Any, None] = {}
        self.flights: dict[Any, Flight[ItemT]] = {}
        self.resting: dict[Flight[ItemT], None] = {}

    def line_up(self, waiting: Waiting[ItemT]) -> bool:
        """Put a message in line; True if nothing of its key flies."""
        line = self._lines.get(waiting.key)
        if line is None:
            line = self._lines[waiting.key] = {}
        line[waiting] = None
        if waiting.key in self.flights:
            return False
        self.ready[waiting.key] = None
        return True

    def leave_line(self, waiting: Waiting[ItemT]) -> None:
        """Take a message out of the line, if it is there."""
        line = self._lines.get(waiting.key)
        if line is not None and waiting in line:
            del line[waiting]
            if not line:
                del self._lines[waiting.key]
                self.ready.pop(waiting.key, None)

    def line(self, key: Any) -> list[Waiting[ItemT]]:
        """Give those in line, in order."""
        return list(self._lines.get(key, ()))

    def begin(self, key: Any, address: str | None) -> Flight[ItemT]:
        """Begin the only flight of a key."""
        self.ready.pop(key, None)
        flight = self.flights[key] = Flight(key, address)
        return flight

    def board(self, flight: Flight[ItemT], members: list[Waiting[ItemT]], payload: Any) -> None:
        """Take members out of the line into a flight; who flew with it before and is not among them is put back."""
        before = flight.members
        flight.members, flight.payload = members, payload
        for member in members:
            self.leave_line(member)
            member.flight = flight
        if before:
            staying = set(members)
            self.put_back([member for member in before if member not in staying])

    def put_back(self, members: Iterable[Waiting[ItemT]]) -> None:
        """Put those who still wait at the head of their line, in their order."""
        returning = {member: None for member in members if not member.answer.done()}
        for member in returning:
            member.flight = None
            key = member.key
        if returning:
            self._lines[key] = returning | self._lines.get(key, {})

    def land(self, flight: Flight[ItemT]) -> bool:
        """End a flight; True if more of its key waits."""
        # Otherwise it and its members would hold each other, messages and all, until the garbage collector comes by.
        flight.members, flight.payload = [], None
        self.resting.pop(flight, None)
        self.flights.pop(flight.key, None)
        if flight.key not in self._lines:
            return False
        self.ready[flight.key] = None
        return True

    def clear(self) -> list[Waiting[ItemT]]:
        """End everything, and give those in line."""
        for flight in tuple(self.flights.values()):
            self.land(flight)
        in_line = [waiting for line in self._lines.values() for waiting in line]
        self._lines.clear()
        self.ready.clear()
        return in_line
