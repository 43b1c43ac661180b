"""A connection to the service of `sending_service`, on which everything may happen at any time."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, NOT_ALLOWED, RELEASED, Outcome, OutcomeKind
from fastapi_azure_pool.errors import SendRejected
from tests.support.scripted_channel import BUSY, Batch, ScriptedChannel

from .sending_service import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from fastapi_azure_pool.clients.batching import Joining

    from .sending_service import Fate, NumberedMessage, SendingService

ADDRESSES: dict[Hashable, str] = {"b": "Partitions/1"}
"""Where messages of a key go that do not go to the entity itself."""

_ANSWER_SECONDS = (0.0, 0.0, 0.01, 0.1, 1.0)
_STALE = (ACCEPTED, RELEASED, LOST)


class WholeBatch(Batch):
    """A batch that its caller has made."""


class Departure:
    """One transfer on its way.

    Attributes:
        key: The key of its messages.
        address: Where it goes.
        messages: What it holds.
        is_settled: Whether its sender has heard of its outcome.
    """

    __slots__ = ("_settled", "address", "is_settled", "key", "messages")

    def __init__(self, address: str | None, payload: Any, settled: Callable[[Outcome], None]) -> None:
        self.key: Hashable = payload.key
        self.address = address
        self.messages: list[NumberedMessage] = payload.messages
        self.is_settled = False
        self._settled = settled

    @property
    def numbers(self) -> list[int]:
        """The numbers of its messages."""
        return [message.number for message in self.messages]

    @property
    def arrivals(self) -> list[int]:
        """The places of arrival of its messages."""
        return [message.arrival for message in self.messages]

    def settle(self, outcome: Outcome) -> None:
        """Let the sender hear of the outcome; a second one should mean nothing to it."""
        self.is_settled = True
        self._settled(outcome)


class SimulatedChannel(ScriptedChannel):
    """A connection to the service.

    Args:
        service: What it leads to.
        joining: Whether messages are joined.
        window: Transfers that the link takes at once.
        most_in_flight: Transfers that may be in flight, by whatever limit.

    Attributes:
        confirmed: By key, the places of arrival of what was confirmed, which are in the order of storing.
        end_was_read: Whether its owner has read that it is closed.
    """

    def __init__(self, service: SendingService, joining: Joining, *, window: int, most_in_flight: int) -> None:
        super().__init__()
        self.window = window
        self.confirmed: dict[Hashable, list[int]] = defaultdict(list)
        self._service = service
        self._lot = service.lot
        self._joining = joining
        self._most_in_flight = most_in_flight
        self.end_was_read = False
        self._departures: list[Departure] = []
        self._is_broken_off = False
        self._is_dry = False
        self._loop = asyncio.get_running_loop()
        self.credit = {None: 3, **dict.fromkeys(ADDRESSES.values(), 2)}
        self.tend_at = self._loop.time() + self._lot.uniform(1, 20)
        self._ending = self._loop.call_later(self._lot.expovariate(service.trouble / 20 + 1e-6), self._end_somehow)

    # What the owner calls ------------------------------------------------------------------------------------------------------

    async def receive(self) -> None:
        """Take in what has arrived; sometimes fail, or never return."""
        self._prepare("receive", 0.002)
        await super().receive()
        self.end_was_read = self.is_closed

    async def room(self, address: str | None) -> int:
        """Give the credit; sometimes open a link first, refuse it, or never answer."""
        self._prepare("room", 0.02)
        self.refused.clear()
        if self._service.happens("a link was refused", 0.03):
            self.refused[address] = self._lot.choice((BUSY, Outcome(OutcomeKind.REJECTED, "amqp:not-found")))
        return await super().room(address)

    async def tend(self) -> None:
        """Keep it alive; sometimes never return."""
        self._prepare("tend", 0.1)
        await super().tend()
        self.tend_at = self._loop.time() + self._lot.uniform(1, 20)

    async def manage(self) -> None:
        """Carry a request out, or be busy."""
        self._prepare("manage", 0.05)
        if self._service.happens("a request found the service busy", 0.3):
            raise SendRejected("busy", condition=BUSY.condition)
        await super().manage()

    def break_off(self) -> None:
        """Hear that its owner was broken off in the midst of reading an answer: nothing can be read any more."""
        self._is_broken_off = True

    async def transfer(
        self, address: str | None, payload: Any, settled: Callable[[Outcome], None], seconds: float
    ) -> None:
        """Store it or not, and answer or not, now or later."""
        departure = Departure(address, payload, settled)
        self._check_departure(departure, seconds)
        self._departures.append(departure)
        is_joined = len(departure.messages) > 1 and not isinstance(payload, WholeBatch)
        fate = self._service.take(departure.messages, is_joined=is_joined)
        self._service.note(f"{departure.numbers} of key {departure.key} left: {fate}")
        self._fulfil(fate, departure)
        if self._service.happens("a link was detached", 0.02):
            self._later(self._lot.choice(_ANSWER_SECONDS), partial(self._detach, address))
        self._later(self._lot.choice((0.0, 0.0, 0.1, 5.0)), self._give_credit)
        self._is_dry = self._is_dry or self._service.happens("no credit any more", 0.05)
        self._prepare("transfer", 0.005)
        await super().transfer(address, payload, settled, seconds)

    def close(self) -> None:
        """Let nothing more happen to it by itself."""
        super().close()
        self._ending.cancel()

    # What happens to it --------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Let the connection end."""
        if not self.is_closed:
            self._service.occur("a connection ended")
            self.drop()

    def _end_somehow(self) -> None:
        if self._service.trouble and self._lot.random() < 0.7:
            self.end()
        elif self._service.trouble and not self.is_closed:
            self._service.occur("a connection ended unseen")
            self.is_closed = True

    def _detach(self, address: str | None) -> None:
        """Let a link end; that of the entity takes the connection along."""
        if address is None:
            self.end()
            return
        for departure in self._departures:
            if departure.address == address:
                self._answer(departure, LOST)
        self.grant(3, address)

    def _fulfil(self, fate: Fate, departure: Departure) -> None:
        answer_seconds = self._lot.choice(_ANSWER_SECONDS)

        def arrive() -> None:
            if fate.stores is Stores.NOW:
                self._service.store(departure.numbers)
            if fate.ends:
                self._later(answer_seconds, self.end)
            elif fate.outcome is not None:
                self._later(answer_seconds, partial(self._answer, departure, fate.outcome))

        self._later(self._lot.choice(_ANSWER_SECONDS), arrive)
        if fate.stores is Stores.LATE:
            self._later(self._lot.uniform(0, 30), partial(self._service.store, departure.numbers))

    def _answer(self, departure: Departure, outcome: Outcome) -> None:
        self.arrive(partial(self._settle, departure, outcome))

    def _settle(self, departure: Departure, outcome: Outcome) -> None:
        if departure.is_settled:
            return
        self._service.note(f"{departure.numbers}: {outcome.condition or outcome.kind.value}")
        self._departures.remove(departure)
        departure.settle(outcome)
        if outcome is ACCEPTED:
            self.confirmed[departure.key] += departure.arrivals
        if outcome.condition == NOT_ALLOWED:
            self._service.mixed.update(departure.arrivals)
        if self._lot.random() < 0.1:
            stale = partial(departure.settle, self._lot.choice(_STALE))
            self._later(self._lot.choice((0.0, 0.1, 1.5)), partial(self.arrive, stale))

    def _give_credit(self) -> None:
        least = 0 if self._service.happens("no credit", 0.3) else 1
        for address in self.credit:
            self.grant(0 if self._is_dry else self._lot.randint(least, 4), address)

    # What must hold of what leaves ---------------------------------------------------------------------------------------------

    def _check_departure(self, departure: Departure, seconds: float) -> None:
        key, messages = departure.key, departure.messages
        self._require(bool(messages), "an empty transfer")
        self._require(seconds > 0, "a transfer that nobody waits for")
        self._require(all(message.key == key for message in messages), f"{departure.numbers} are of different keys")
        self._require(all(other.key != key for other in self._departures), f"two of key {key} in flight")
        self._require(len(self._departures) < self._most_in_flight, "more transfers in flight than the window has")
        if not self._service.mixed.isdisjoint(departure.arrivals):
            self._require(not self._joining.is_allowed, "messages are joined still, though the service never takes it")

    # Drawing -------------------------------------------------------------------------------------------------------------------

    def _prepare(self, call: str, share: float) -> None:
        """Draw how long a call takes, and whether it ever ends."""
        self._require(
            not self._is_broken_off, "a channel is used after a request was broken off in the midst of reading"
        )
        self.seconds[call] = self._lot.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.001, 0.1))
        self.errors.pop(call, None)
        if self._service.happens(f"{call}() stalled", share):
            self.seconds[call] = math.inf
        elif self._service.happens(f"{call}() failed", share):
            self.errors[call] = ConnectionResetError()

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._loop.call_later(seconds, what)
