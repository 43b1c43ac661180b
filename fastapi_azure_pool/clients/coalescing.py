"""Group commit: what many callers send while a transfer is in flight leaves together in the next one.

One task per connection owns the SDK's sender: it alone sends, reads and keeps the connection alive. Callers put their message in
line and await a future of their own. There is no timer and no added delay: a message that finds the way free leaves at once, and
what arrives meanwhile is joined when the answer comes.

Source:
    Group commit as in DeWitt et al., "Implementation Techniques for Main Memory Database Systems" (SIGMOD 1984), section 5.2.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastapi_azure_pool.clients.batching import Batching, Joining
from fastapi_azure_pool.clients.farewell import Farewell
from fastapi_azure_pool.clients.flights import Flight, Traffic, Waiting
from fastapi_azure_pool.clients.management import Requests
from fastapi_azure_pool.clients.taking_turns import yield_to_others
from fastapi_azure_pool.clients.transfers import LinkRefused, Outcome
from fastapi_azure_pool.pool.alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi_azure_pool.clients.transfers import Channel, Packing

__all__ = ["GroupCommit", "Joining"]

_logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

# A connection is not given up before a transfer has waited so long for its answer, or callers so long for anything to move: one who
# comes with hardly any time left would break good connections, the more so the busier they are.
PATIENCE_SECONDS = 1.0

# Keeping a connection alive takes no longer than a round trip or two.
_TEND_SECONDS = 10.0

# For timers: the caller's context would be kept alive, request and all, until they fire.
_NO_CONTEXT = Context()


class GroupCommit(Generic[ItemT]):
    """Sends for many callers over one connection, which only its own task touches.

    Transfers are grouped by key: messages of one key leave in the order of their arrival, one transfer at a time; transfers of
    different keys may be in flight together. Every caller has a deadline and an answer of its own.

    Args:
        channel: The connection.
        packing: How messages become a transfer.
        joining: Whether messages are joined.
        window: Transfers in flight at most, at least 1; the channel may allow fewer.
        on_lost: Called once when the connection is closed or turns out to be broken.
        name: What the task is called.
        patience: Seconds that a connection is given before it is given up, however little time a caller has; above 0.
    """

    def __init__(
        self,
        channel: Channel,
        packing: Packing[ItemT],
        joining: Joining,
        *,
        window: int,
        on_lost: Callable[[], None],
        name: str,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._channel = channel
        self._packing = packing
        self._joining = joining
        self._batching = Batching(packing, joining)
        self._window = min(window, channel.window)
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._traffic: Traffic[ItemT] = Traffic()
        self._in_air = 0
        self._settled: deque[Flight[ItemT]] = deque()
        self._requests = Requests(self, packing)
        # When something has left or was answered; and since when callers have seen nothing of the kind.
        self._moved_at = 0.0
        self._still_since = math.inf
        self._patience = patience
        self._is_lost = False
        self._is_awake = False
        self._sleep: asyncio.Future[None] | None = None
        self._farewell = Farewell(self._loop)
        self._alarm = Alarm(self._loop, self)
        channel.wake = self.wake
        self._owner = self._loop.create_task(self._own(), name=name, context=Context())

    # Called by the callers -----------------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more; cheap and without I/O."""
        return self._is_lost or self._channel.is_closed

    async def send(self, item: ItemT, key: Any, timeout: float, *, is_whole: bool = False) -> None:
        """Send a message and wait until the service has confirmed it.

        A caller who is cancelled before the message has left takes it along; later, it may be delivered all the same.

        Args:
            item: The message.
            key: Messages of one key keep their order.
            timeout: Seconds to wait, above 0.
            is_whole: Whether the item is a batch already, which leaves as it is.

        Raises:
            SendTimedOut: The time is over.
            SendInterrupted: The connection is closed or broke.
            MessageTooLarge: The message does not fit on the link.
            SendRejected: The service refused it.
        """
        if self._is_lost:
            raise self._packing.interrupted(maybe_delivered=False)
        loop = self._loop
        now = loop.time()
        waiting = Waiting(item, key, now, now + timeout, loop.create_future(), is_whole=is_whole)
        if self._traffic.line_up(waiting):
            self.wake()
        timer = loop.call_at(waiting.deadline, self._expire, waiting, context=_NO_CONTEXT)
        try:
            await waiting.answer
        except asyncio.CancelledError:
            self._traffic.leave_line(waiting)
            raise
        finally:
            timer.cancel()
            del waiting  # An error holds this frame, which would hold the error, and the message.

    async def request(self, operation: Callable[[float], Coroutine[Any, Any, AnswerT]], timeout: float) -> AnswerT:
        """Have the owner carry out an operation of the SDK that is no transfer, and wait for its answer.

        While the service is busy it is asked again, after the same pauses as a transfer.

        Args:
            operation: Called with the seconds that are left, by the owner.
            timeout: Seconds to wait, above 0.

        Raises:
            SendTimedOut: The time is over.
            SendInterrupted: The connection is closed or broke.
            SendRejected: The service refused it.
        """
        return await self._requests.make(operation, timeout)

    async def close(self) -> None:
        """End the owner; who still waits is told that the connection was closed."""
        self.lose()
        self._channel.close()
        self._owner.cancel()
        await asyncio.wait((self._owner,))
        await self._farewell.end()

    def wake(self) -> None:
        """Let the owner look at what has changed."""
        self._is_awake = True
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    tend = wake

    # Deadlines, and the end ----------------------------------------------------------------------------------------------------

    def _expire(self, waiting: Waiting[ItemT]) -> None:
        if waiting.answer.done() or self._is_lost:  # Then the farewell tells more.
            return
        flight = waiting.flight
        if flight is None:
            waiting.answer.set_exception(self._packing.timed_out(maybe_delivered=False))
            self._traffic.leave_line(waiting)
            self.doubt(waiting.arrived)
        elif flight.known is not None:
            waiting.tell(flight.known, self._packing)
        else:
            waiting.answer.set_exception(self._packing.timed_out(maybe_delivered=flight.is_in_air))

    def doubt(self, since: float) -> None:
        """Give the connection up if nothing has moved for as long as a caller, or several in a row, waited in vain.

        It gives no credit then, or the owner is stuck in one of its calls.

        Args:
            since: Since when the caller has waited, on the event loop's clock.
        """
        now = self._loop.time()
        still_since = max(since, self._moved_at, *(flight.retry_at for flight in self._traffic.resting))
        if self._in_air or self._requests.is_serving or still_since > now:
            return  # These have a time of their own.
        self._still_since = min(self._still_since, still_since)
        if now - self._still_since >= self._patience:
            self.lose()

    def _move(self) -> None:
        self._moved_at = self._loop.time()
        self._still_since = math.inf

    def _stall(self, flight: Flight[ItemT]) -> None:
        """Give up on a transfer that nobody waits for any more, and on its connection."""
        if flight.outcome is None:
            for member in flight.members:
                self._expire(member)
            self.lose()

    def lose(self) -> None:
        """Tell everyone that the connection is closed or broken."""
        if self._is_lost:
            return
        self._is_lost = True
        self._alarm.stop()
        for flight in self._traffic.flights.values():
            if flight.timer is not None:
                flight.timer.cancel()
            outcome = flight.outcome
            if outcome is None or self._may_go_again(flight, outcome):
                self._interrupt(flight.members, maybe_delivered=outcome is None and flight.is_in_air)
            else:
                for member in flight.members:
                    self._farewell.prepare(partial(member.tell, outcome, self._packing))
        self._interrupt(self._traffic.clear(), maybe_delivered=False)
        self._requests.lose(self._farewell)
        self._farewell.begin()
        self.wake()
        self._on_lost()

    def _interrupt(self, callers: list[Waiting[ItemT]], *, maybe_delivered: bool) -> None:
        for waiting in callers:
            self._farewell.prepare(partial(waiting.interrupt, self._packing, maybe_delivered=maybe_delivered))

    # The owner -----------------------------------------------------------------------------------------------------------------

    async def _own(self) -> None:
        channel = self._channel
        try:
            while not self._is_lost:
                self._is_awake = False
                await channel.receive()
                while self._settled:
                    await self._settle(self._settled.popleft())
                if channel.is_closed:
                    break
                await self._depart()
                if is_due := self._loop.time() >= channel.tend_at:
                    async with asyncio.timeout(_TEND_SECONDS):
                        await channel.tend()
                if self._requests.are_waiting:
                    await self._requests.serve_next()
                    self._move()
                elif not is_due and not self._is_awake:
                    self._alarm.wake_by(channel.tend_at)
                    self._sleep = self._loop.create_future()
                    await self._sleep
        except asyncio.CancelledError:
            owner = asyncio.current_task()
            if owner is not None and owner.cancelling():
                # Before it was closed: the event loop is being shut down, where nobody is to open a successor.
                self._on_lost = lambda: None
            raise
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises here, nobody else can hear it
            _logger.warning("a connection to %s is broken (%s)", self._packing.entity, type(error).__name__)
        finally:
            if not self._loop.is_closed():
                self.lose()

    async def _depart(self) -> None:
        """Send what may leave now."""
        traffic = self._traffic
        now = self._loop.time()
        for flight in tuple(traffic.resting):
            if flight.retry_at > now:
                self._alarm.wake_by(flight.retry_at)
            elif flight.is_deserted:
                self._land(flight)
            elif self._in_air < self._window and await self._has_room(flight.key, flight.address):
                traffic.resting.pop(flight, None)
                await self._leave(flight, flight.members)
        for key in tuple(traffic.ready):
            if self._in_air >= self._window:
                return
            address = self._packing.address(key)
            # What was done for others took time, in which all in line may have left.
            if key in traffic.ready and await self._has_room(key, address):
                await self._leave(traffic.begin(key, address), traffic.line(key))

    async def _has_room(self, key: Any, address: str | None) -> bool:
        try:
            return await self._channel.room(address) > 0
        except LinkRefused as refused:
            if self._is_lost:
                return False
            self._move()
            # Refused before it has left, but refused like a transfer.
            traffic = self._traffic
            flight = traffic.flights.get(key)
            if flight is None:
                flight = traffic.begin(key, address)
                traffic.board(flight, traffic.line(key), None)
            flight.outcome = refused.outcome
            self._settled.append(flight)
            self._is_awake = True
            return False

    async def _leave(self, flight: Flight[ItemT], candidates: list[Waiting[ItemT]]) -> None:
        """Send as many of the candidates as fit into one transfer; the others wait for the next."""
        if flight.must_be_built:
            members, payload = await self._batching.build(flight.key, candidates)
            for waiting in candidates:
                if waiting.answer.done():
                    self._traffic.leave_line(waiting)
            self._traffic.board(flight, members, payload)
        if self._is_lost or not flight.members:
            self._land(flight)
            return
        if self._channel.is_closed:
            # Nothing of this has left. The next look tells everyone so, or finds that it may leave after all.
            self._traffic.resting[flight] = None
            self._is_awake = True
            return
        flight.is_in_air = True
        self._in_air += 1
        self._move()
        deadline = max(member.deadline for member in flight.members)
        if deadline - self._moved_at < self._patience / 2:  # They came with hardly any time left.
            deadline = self._moved_at + self._patience
        flight.timer = self._loop.call_at(deadline, self._stall, flight)
        retries = flight.retries

        def settled(outcome: Outcome) -> None:
            if flight.is_in_air and flight.outcome is None and flight.retries == retries:
                flight.outcome = outcome
                self._settled.append(flight)
                self._is_awake = True

        await self._channel.transfer(flight.address, flight.payload, settled, deadline - self._moved_at)

    # Outcomes ------------------------------------------------------------------------------------------------------------------

    async def _settle(self, flight: Flight[ItemT]) -> None:
        outcome = flight.outcome
        if flight.timer is not None:
            flight.timer.cancel()
        if flight.is_in_air:
            flight.is_in_air = False
            self._in_air -= 1
            self._move()
        if outcome is None or self._is_lost:
            return
        if self._may_go_again(flight, outcome):
            flight.outcome = None
            if outcome.is_known_not_stored:
                await self._rest(flight, outcome)
            else:
                self._separate(flight, outcome)
            return
        # It keeps its outcome until everybody knows: whoever's time is over meanwhile, or the connection's, gets that one.
        for count, member in enumerate(flight.members, 1):
            member.tell(outcome, self._packing)
            await yield_to_others(count)
        self._land(flight)
        # Those who go on sending at once join what leaves next, instead of waiting for it in turns.
        await asyncio.sleep(0)

    def _may_go_again(self, flight: Flight[ItemT], outcome: Outcome) -> bool:
        """Tell whether nothing of a transfer was stored, and its members may be sent again."""
        was_joined = len(flight.members) > 1
        return outcome.is_known_not_stored or (was_joined and self._packing.refuses_joining(outcome))

    async def _rest(self, flight: Flight[ItemT], refusal: Outcome) -> None:
        """Try again later, for those whose time allows it."""
        flight.refuse(refusal, self._loop.time())
        hopeless = [member for member in flight.members if member.deadline <= flight.retry_at]
        for count, member in enumerate(hopeless, 1):
            member.tell(refusal, self._packing)
            await yield_to_others(count)
        if flight.is_deserted:
            self._land(flight)
        else:
            self._traffic.resting[flight] = None

    def _separate(self, flight: Flight[ItemT], refusal: Outcome) -> None:
        """Send each member alone, before what came after them."""
        if self._packing.refuses_always(refusal):
            self._joining.stop()
        for member in flight.members:
            member.leaves_alone = True
        self._traffic.put_back(flight.members)
        self._land(flight)

    def _land(self, flight: Flight[ItemT]) -> None:
        """Let the next transfer of the key leave."""
        if self._traffic.land(flight):
            self._is_awake = True
