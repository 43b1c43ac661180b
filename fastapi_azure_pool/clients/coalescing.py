"""Group commit: what many callers send while a transfer is in flight leaves together in the next one.

One task per connection owns the SDK's sender: it alone sends, reads and keeps the connection alive. Callers put their message into
a queue and await a future of their own. There is no timer and no added delay: a message that finds the way free leaves at once, and
what arrives meanwhile is joined when the answer comes.

Source:
    Group commit as in DeWitt et al., "Implementation Techniques for Main Memory Database Systems" (SIGMOD 1984), section 5.2.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from contextvars import Context, copy_context
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastapi_azure_pool.clients.transfers import LinkRefused, Outcome, OutcomeKind
from fastapi_azure_pool.pool.alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable

    from fastapi_azure_pool.clients.transfers import Channel, Packing

_logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

# The loop serves others after so many messages: adding one to a batch, or waking its caller, takes 50 to 200 µs.
_SLICE = 64

_RETRY_SECONDS = (1.0, 2.0, 4.0)
_JITTER = 0.2


def retry_delay(retries: int) -> float:
    """Give the seconds to wait before trying again: 1, 2, then always 4, each 20 % more or less at random.

    Args:
        retries: How many retries there were before, at least 0.
    """
    seconds = _RETRY_SECONDS[min(retries, len(_RETRY_SECONDS) - 1)]
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, guards no secret


async def yield_to_others(count: int) -> None:
    """Let others run, if this is one of many small steps and it is their turn.

    Args:
        count: Which step it is, counted from 1.
    """
    if count % _SLICE == 0:
        await asyncio.sleep(0)


class Joining:
    """Whether the messages to one entity may be joined; shared by all connections to it.

    Args:
        entity: The entity's name, for the log.
        is_allowed: Whether joining is wanted at all.
    """

    __slots__ = ("_entity", "is_allowed")

    def __init__(self, entity: str, *, is_allowed: bool) -> None:
        self._entity = entity
        self.is_allowed = is_allowed

    def stop(self) -> None:
        """Join no more, because the service refuses it; says so once."""
        if self.is_allowed:
            self.is_allowed = False
            _logger.warning(
                "%s refuses messages with different ids in one batch (partitioning with duplicate detection):"
                " they are sent one by one from now on. coalesce=False says so from the start",
                self._entity,
            )


class _Waiting(Generic[ItemT]):
    """One caller's message, and the caller."""

    __slots__ = ("answer", "context", "deadline", "flight", "is_whole", "item", "key", "leaves_alone", "timer")

    def __init__(self, item: ItemT, key: Any, deadline: float, answer: asyncio.Future[None], *, is_whole: bool) -> None:
        self.item = item
        self.key = key
        self.deadline = deadline
        self.answer = answer
        self.is_whole = is_whole
        self.leaves_alone = is_whole
        # The trace context of the caller belongs into the message.
        self.context = copy_context()
        self.flight: _Flight[ItemT] | None = None
        self.timer: asyncio.TimerHandle | None = None


class _Flight(Generic[ItemT]):
    """The members of one transfer, from its building to its outcome."""

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
        self.members: list[_Waiting[ItemT]] = []
        self.payload: Any = None
        self.is_in_air = False
        self.outcome: Outcome | None = None
        # Why it was not stored, and when to try again.
        self.refusal: Outcome | None = None
        self.retries = 0
        self.retry_at = 0.0
        self.timer: asyncio.TimerHandle | None = None


class _Request(Generic[AnswerT]):
    """One caller's management request."""

    __slots__ = ("answer", "context", "deadline", "operation")

    def __init__(
        self,
        operation: Callable[[float], Coroutine[Any, Any, AnswerT]],
        deadline: float,
        answer: asyncio.Future[AnswerT],
    ) -> None:
        self.operation = operation
        self.deadline = deadline
        self.answer = answer
        self.context = copy_context()


class GroupCommit(Generic[ItemT]):
    """Sends for many callers over one connection, which only its own task touches.

    Transfers are grouped by key: messages of one key leave in the order of their arrival, one transfer at a time; transfers of
    different keys may be in flight together. Every caller has a deadline and an answer of its own.

    Args:
        channel: The connection.
        packing: How messages become a transfer.
        joining: Whether messages are joined.
        window: Transfers in flight at most, at least 1; the channel may allow fewer.
        on_lost: Called once when the connection turns out to be closed or broken.
        name: What the task is called.
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
    ) -> None:
        self._channel = channel
        self._packing = packing
        self._joining = joining
        self._window = min(window, channel.window)
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        # By key, in order of arrival; a dictionary, so that who is cancelled leaves in no time.
        self._queues: dict[Any, dict[_Waiting[ItemT], None]] = {}
        # The keys of which something waits and nothing is in flight, in order of arrival.
        self._ready: dict[Any, None] = {}
        # One for each key of which something is being built, is in flight, or waits to be tried again.
        self._flights: dict[Any, _Flight[ItemT]] = {}
        self._resting: dict[_Flight[ItemT], None] = {}
        self._in_air = 0
        self._settled: deque[_Flight[ItemT]] = deque()
        self._requests: deque[_Request[Any]] = deque()
        self._serving: _Request[Any] | None = None
        self._is_lost = False
        self._is_awake = False
        self._sleep: asyncio.Future[None] | None = None
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
        waiting = _Waiting(item, key, loop.time() + timeout, loop.create_future(), is_whole=is_whole)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = {}
        queue[waiting] = None
        if key not in self._flights:
            self._ready[key] = None
            self.wake()
        waiting.timer = loop.call_at(waiting.deadline, self._expire, waiting, context=_NO_CONTEXT)
        try:
            await waiting.answer
        except asyncio.CancelledError:
            self._drop(waiting)
            raise
        finally:
            waiting.timer.cancel()

    async def request(self, operation: Callable[[float], Coroutine[Any, Any, AnswerT]], timeout: float) -> AnswerT:
        """Have the owner carry out an operation of the SDK that is no transfer, and wait for its answer.

        Args:
            operation: Called with the seconds that are left, by the owner.
            timeout: Seconds to wait, above 0.

        Raises:
            SendTimedOut: The time is over.
            SendInterrupted: The connection is closed or broke.
            SendRejected: The service refused it.
        """
        if self._is_lost:
            raise self._packing.interrupted(maybe_delivered=False)
        request = _Request(operation, self._loop.time() + timeout, self._loop.create_future())
        self._requests.append(request)
        self.wake()
        timer = self._loop.call_at(request.deadline, self._expire_request, request, context=_NO_CONTEXT)
        try:
            answer: AnswerT = await request.answer
            return answer
        finally:
            timer.cancel()

    async def close(self) -> None:
        """End the owner; who still waits is told that the connection was closed."""
        self._lose()
        self._channel.close()
        self._owner.cancel()
        await asyncio.wait((self._owner,))

    def wake(self) -> None:
        """Let the owner look at what has changed."""
        self._is_awake = True
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    tend = wake

    # Deadlines -----------------------------------------------------------------------------------------------------------------

    def _drop(self, waiting: _Waiting[ItemT]) -> None:
        """Take a message that has not left out of its queue."""
        queue = self._queues.get(waiting.key)
        if queue is not None and waiting in queue:
            del queue[waiting]
            if not queue:
                del self._queues[waiting.key]
                self._ready.pop(waiting.key, None)

    def _expire(self, waiting: _Waiting[ItemT]) -> None:
        if waiting.answer.done():
            return
        flight = waiting.flight
        if flight is not None and not flight.is_in_air and flight.refusal is not None:
            waiting.answer.set_exception(self._packing.error(flight.refusal))
        else:
            has_left = flight is not None and flight.is_in_air
            waiting.answer.set_exception(self._packing.timed_out(maybe_delivered=has_left))
        self._drop(waiting)

    def _expire_request(self, request: _Request[Any]) -> None:
        if not request.answer.done():
            request.answer.set_exception(self._packing.timed_out(maybe_delivered=request is self._serving))
            if request is self._serving:
                self._lose()

    def _stall(self, flight: _Flight[ItemT]) -> None:
        """Give up on a transfer that nobody waits for any more, and on its connection."""
        if flight.outcome is None:
            for member in flight.members:
                self._expire(member)
            self._lose()

    def _lose(self) -> None:
        """Tell everyone that the connection is closed or broken."""
        if self._is_lost:
            return
        self._is_lost = True
        self._alarm.stop()
        self._on_lost()
        for flight in self._flights.values():
            if flight.timer is not None:
                flight.timer.cancel()
            self._interrupt(flight.members, maybe_delivered=flight.is_in_air)
        for queue in self._queues.values():
            self._interrupt(queue, maybe_delivered=False)
        self._interrupt(self._requests, maybe_delivered=False)
        if self._serving is not None:
            self._interrupt((self._serving,), maybe_delivered=True)
        self._queues.clear()
        self._ready.clear()
        self._resting.clear()
        self._requests.clear()
        self.wake()

    def _interrupt(self, callers: Iterable[_Waiting[ItemT] | _Request[Any]], *, maybe_delivered: bool) -> None:
        for caller in callers:
            if not caller.answer.done():
                caller.answer.set_exception(self._packing.interrupted(maybe_delivered=maybe_delivered))

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
                if self._requests:
                    await self._serve(self._requests.popleft())
                elif self._loop.time() >= channel.tend_at:
                    await channel.tend()
                elif not self._is_awake:
                    self._alarm.wake_by(channel.tend_at)
                    self._sleep = self._loop.create_future()
                    await self._sleep
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises here, nobody else can hear it
            _logger.warning("a connection to %s is broken (%s)", self._packing.entity, type(error).__name__)
        finally:
            if not self._loop.is_closed():
                self._lose()

    async def _depart(self) -> None:
        """Send what may leave now."""
        now = self._loop.time()
        for flight in tuple(self._resting):
            if flight.retry_at > now:
                self._alarm.wake_by(flight.retry_at)
            elif self._in_air < self._window and await self._has_room(flight.key, flight.address):
                del self._resting[flight]
                await self._leave(flight, flight.members)
        for key in tuple(self._ready):
            if self._in_air >= self._window:
                return
            address = self._packing.address(key)
            if key in self._ready and await self._has_room(key, address):
                del self._ready[key]
                flight = self._flights[key] = _Flight(key, address)
                await self._leave(flight, list(self._queues[key]))

    async def _has_room(self, key: Any, address: str | None) -> bool:
        try:
            return await self._channel.room(address) > 0
        except LinkRefused as refused:
            flight = self._flights.get(key)
            if flight is not None:
                self._refuse(flight.members, refused.outcome)
                self._resting.pop(flight, None)
                self._land(flight)
            self._ready.pop(key, None)
            self._refuse(self._queues.pop(key, ()), refused.outcome)
            return False

    async def _leave(self, flight: _Flight[ItemT], candidates: list[_Waiting[ItemT]]) -> None:
        """Send as many of the candidates as fit into one transfer; the others wait for the next."""
        if any(member.answer.done() for member in flight.members) or not flight.members:
            await self._build(flight, candidates)
        if self._is_lost or not flight.members:
            self._land(flight)
            return
        flight.is_in_air = True
        self._in_air += 1
        deadline = max(member.deadline for member in flight.members)
        flight.timer = self._loop.call_at(deadline, self._stall, flight, context=_NO_CONTEXT)

        def settled(outcome: Outcome) -> None:
            if flight.outcome is None and flight.is_in_air:
                flight.outcome = outcome
                self._settled.append(flight)
                self._is_awake = True

        await self._channel.transfer(flight.address, flight.payload, settled, deadline - self._loop.time())

    async def _build(self, flight: _Flight[ItemT], candidates: list[_Waiting[ItemT]]) -> None:
        """Pack as many of the candidates as fit, in their order; who cannot be sent at all is told so."""
        was_in_flight = flight.members
        while True:
            candidates = [waiting for waiting in candidates if not waiting.answer.done()]
            flight.members, flight.payload = await self._pack(flight.key, candidates)
            if not any(member.answer.done() for member in flight.members):
                break
            # Somebody was cancelled while the batch was being built, and takes the message along.
        for member in flight.members:
            self._drop(member)
            member.flight = flight
        self._put_back([member for member in was_in_flight if member not in flight.members])

    async def _pack(self, key: Any, candidates: list[_Waiting[ItemT]]) -> tuple[list[_Waiting[ItemT]], Any]:
        members: list[_Waiting[ItemT]] = []
        if candidates and candidates[0].is_whole:
            return candidates[:1], candidates[0].item
        batch = await self._packing.new_batch(key)
        for count, waiting in enumerate(candidates, 1):
            if members and (waiting.leaves_alone or members[0].leaves_alone or not self._joining.is_allowed):
                break
            if self._add(batch, waiting, is_first=not members):
                members.append(waiting)
            elif not waiting.answer.done():
                break
            await yield_to_others(count)
        return members, self._packing.payload(batch) if members else None

    def _add(self, batch: Any, waiting: _Waiting[ItemT], *, is_first: bool) -> bool:
        """Add one message in its caller's context; an error of it is its caller's own."""
        if waiting.answer.done():
            return False
        try:
            return waiting.context.run(self._packing.add, batch, waiting.item, is_first=is_first)
        except Exception as error:  # noqa: BLE001 - the SDK's encoder may raise anything for what the message holds
            waiting.answer.set_exception(error)
            self._drop(waiting)
            return False

    # Outcomes ------------------------------------------------------------------------------------------------------------------

    async def _settle(self, flight: _Flight[ItemT]) -> None:
        outcome, flight.outcome = flight.outcome, None
        if flight.timer is not None:
            flight.timer.cancel()
        flight.is_in_air = False
        self._in_air -= 1
        if outcome is None or self._is_lost:
            return
        if outcome.is_known_not_stored:
            self._rest(flight, outcome)
            return
        if outcome.kind is OutcomeKind.REJECTED and len(flight.members) > 1 and self._packing.refuses_joining(outcome):
            if self._packing.refuses_always(outcome):
                self._joining.stop()
            for member in flight.members:
                member.leaves_alone = True
            self._put_back(flight.members)
            self._land(flight)
            return
        self._land(flight)
        for count, member in enumerate(flight.members, 1):
            if not member.answer.done():
                if outcome.kind is OutcomeKind.ACCEPTED:
                    member.answer.set_result(None)
                else:
                    member.answer.set_exception(self._packing.error(outcome))
            await yield_to_others(count)
        # Those who go on sending at once join what leaves next, instead of waiting for it in turns.
        await asyncio.sleep(0)

    def _rest(self, flight: _Flight[ItemT], refusal: Outcome) -> None:
        """Try again later, for those whose time allows it."""
        flight.refusal = refusal
        flight.retry_at = self._loop.time() + retry_delay(flight.retries)
        flight.retries += 1
        self._refuse([member for member in flight.members if member.deadline <= flight.retry_at], refusal)
        if all(member.answer.done() for member in flight.members):
            self._land(flight)
        else:
            self._resting[flight] = None

    def _refuse(self, members: Iterable[_Waiting[ItemT]], refusal: Outcome) -> None:
        for member in members:
            if not member.answer.done():
                member.answer.set_exception(self._packing.error(refusal))

    def _land(self, flight: _Flight[ItemT]) -> None:
        """Let the next transfer of the key leave."""
        self._flights.pop(flight.key, None)
        if self._queues.get(flight.key):
            self._ready[flight.key] = None
            self._is_awake = True

    def _put_back(self, members: list[_Waiting[ItemT]]) -> None:
        """Put messages that were not stored back to the head of their queue."""
        waiting = {member: None for member in members if not member.answer.done()}
        for member in waiting:
            member.flight = None
        if waiting:
            key = members[0].key
            self._queues[key] = waiting | self._queues.get(key, {})

    async def _serve(self, request: _Request[Any]) -> None:
        """Carry out one management request."""
        if request.answer.done():
            return
        self._serving = request
        left = request.deadline - self._loop.time()
        try:
            async with asyncio.timeout(left):
                answer = await _in_context(request.context, request.operation(left))
        except TimeoutError:
            self._expire_request(request)
        except Exception as error:  # noqa: BLE001 - it goes to the caller
            if not request.answer.done():
                request.answer.set_exception(self._packing.translate(error))
        else:
            if not request.answer.done():
                request.answer.set_result(answer)
        finally:
            self._serving = None


_NO_CONTEXT = Context()
"""For timers: the caller's context would be kept alive, request and all, until they fire."""


@coroutine
def _in_context(context: Context, work: Coroutine[Any, Any, AnswerT]) -> Generator[Any, Any, AnswerT]:
    """Await a coroutine in this task, but in another context: a task of its own would be a second one in the SDK's sender."""
    step: Callable[[], Any] = partial(work.send, None)
    while True:
        try:
            awaited = context.run(step)
        except StopIteration as stop:
            answer: AnswerT = stop.value
            return answer
        try:
            step = partial(work.send, (yield awaited))
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle, cancellation too
            step = partial(work.throw, error)
