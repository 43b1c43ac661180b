"""One life of a pool, from its opening on an event loop to its close: who gets what, what is opened, what is retired."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
import traceback
from typing import TYPE_CHECKING, Generic

from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted, PoolClosed
from fastapi_azure_pool.pool.alarm import Alarm
from fastapi_azure_pool.pool.backoff import Backoff
from fastapi_azure_pool.pool.connection import ConnectionState, SharedTransportConnection
from fastapi_azure_pool.pool.connector import AbstractConnector, ConnT
from fastapi_azure_pool.pool.leaks import LeakWatch
from fastapi_azure_pool.pool.ledger import Ledger
from fastapi_azure_pool.pool.retirement import Retirement
from fastapi_azure_pool.pool.tasks import PoolTasks
from fastapi_azure_pool.pool.tidy import discard
from fastapi_azure_pool.pool.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.pool.limits import PoolLimits
    from fastapi_azure_pool.pool.stats import Counters

_logger = logging.getLogger(__name__)


class Generation(Generic[ConnT]):
    """Everything that a pool holds while it is open: connections, clients, callers in line, tasks, one timer.

    A pool makes one when it opens and drops it when it has closed. A place that is given back to a generation whose connections
    are closed changes nothing in the next one.

    Every method but the ``async`` ones is a plain function that changes state at once; what takes time is left to the tasks.

    Attributes:
        thread: The identity of the thread that the loop runs in.
        needs_care: Whether a place is taken with `take`; where the connector cannot tell whether a connection is closed, and growth
            is off, the ledger's own will do.
        leaks: The leases that are held, where the pool warns of leaks; else not set.

    Args:
        loop: The event loop that it lives on.
        connector: Opens, proves, judges and closes the connections.
        limits: The pool's sizes and times.
        counters: The pool's counters, which outlive this generation.
        name: The pool's name.
    """

    __slots__ = (
        "_alarm",
        "_asks_whether_closed",
        "_counters",
        "_drained",
        "_fillers",
        "_growth_threshold",
        "_leaving_clients",
        "_name",
        "_now",
        "backoff",
        "connector",
        "draining",
        "is_closing",
        "last_error",
        "leaks",
        "ledger",
        "limits",
        "loop",
        "needs_care",
        "retirement",
        "tasks",
        "thread",
        "waiters",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connector: AbstractConnector[ConnT],
        limits: PoolLimits,
        counters: Counters,
        name: str | None,
    ) -> None:
        self.loop = loop
        self.connector = connector
        self.limits = limits
        self._counters = counters
        self._name = name
        self.thread = threading.get_ident()
        # asyncio's own clock is this function with a method around it; a loop with a clock of its own keeps that.
        self._now = time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time
        # A connector that can't tell is not asked at every checkout.
        self._asks_whether_closed = type(connector).is_closed is not AbstractConnector.is_closed
        self._growth_threshold = limits.growth_threshold
        self.needs_care = self._asks_whether_closed or limits.growth_threshold <= limits.client_limit
        self._alarm = Alarm(loop, self)
        if limits.leak_warning_seconds is not None:
            self.leaks: LeakWatch[ConnT] = LeakWatch(limits.leak_warning_seconds, self._alarm, self._now, self.label)
        # Made when the pool begins to close; done when it need not wait for clients any more.
        self._drained: asyncio.Future[None] | None = None
        self._fillers: tuple[asyncio.Future[None], ...] = ()
        self.ledger: Ledger[ConnT] = Ledger(limits.client_limit, self._now)
        self.waiters: Waiters[ConnT] = Waiters()
        self.retirement: Retirement[ConnT] = Retirement(limits, self.ledger)
        self.backoff = Backoff()
        self.tasks: PoolTasks[ConnT] = PoolTasks(self)
        self.draining: dict[SharedTransportConnection[ConnT], None] = {}
        self._leaving_clients = 0
        self.is_closing = False
        self.last_error: tuple[str, float] | None = None

    @property
    def label(self) -> str:
        """What logs and task names call the pool."""
        return "pool" if self._name is None else f"pool {self._name}"

    @property
    def connections(self) -> tuple[SharedTransportConnection[ConnT], ...]:
        """The connections that are READY, in the order of choice, and then those DRAINING."""
        return (*self.ledger, *self.draining)

    @property
    def clients(self) -> int:
        """Places in use, on connections READY and DRAINING."""
        return self.ledger.clients + self._leaving_clients

    # A place taken and given back: the fast path -------------------------------------------------------------------------------

    def take(self) -> SharedTransportConnection[ConnT] | None:
        """Take a place as the ledger does, but on none that is known to be dead, and open one more when all are well used.

        Returns:
            The connection, or None when none has room.
        """
        ledger = self.ledger
        connection = ledger.take()
        if self._asks_whether_closed:
            while connection is not None and self._finds_closed(connection):
                self.retire(connection)
                self.give_back(connection)
                self._counters.checkouts -= 1  # The ledger counted a place that nobody got.
                connection = ledger.take()
        if ledger.lowest >= self._growth_threshold:
            self._replenish()
        return connection

    def give_back(self, connection: SharedTransportConnection[ConnT], error: BaseException | None = None) -> None:
        """Free a place, which goes to the first in line if there is one. Never awaits, never fails."""
        if error is not None:
            self.judge(connection, error)
        if self.waiters.line and self._asks_whether_closed and self._finds_closed(connection):
            self.retire(connection)  # Who is first in line gets no worse a connection than who comes next.
        if connection.state is ConnectionState.READY:
            if self.waiters.line and self.waiters.hand_over(connection):
                self._counters.checkouts += 1
            else:
                self.ledger.give(connection)
        elif connection.state is ConnectionState.DRAINING:
            connection.current_client_count -= 1
            self._leaving_clients -= 1
            if not connection.current_client_count:
                connection.idle_since = self._now()
                if not connection.is_closing:
                    self.tasks.close(connection)
            if self.is_closing and not self.clients:
                self.stop_draining()
        # CLOSED: the pool was closed under this client, and its place with it.

    # Waiting -------------------------------------------------------------------------------------------------------------------

    async def wait_for_place(self, timeout: float | None) -> SharedTransportConnection[ConnT]:
        """Give a place on a connection, in order of arrival; for a caller for whom `take` found none.

        Raises:
            ConnectionsExhausted: No place came free in time, or too many are in line already.
            ConnectionFailed: Nothing is ready and nothing can be opened.
            PoolClosed: The pool was closed meanwhile.
            ValueError: ``timeout`` is not a number.
        """
        if timeout is not None and math.isnan(timeout):
            raise ValueError("timeout must be a number of seconds, or None to wait for ever, not nan")
        self._refuse_while_failing()
        place = self.waiters.join(self.loop)
        alarm = None
        try:
            # Also for who is refused below: a pool in which nobody may wait must open its connections too.
            self._replenish()
            self._serve_waiters()
            max_waiting = self.limits.max_waiting
            if max_waiting is not None and len(self.waiters) > max_waiting:
                raise self.exhausted(0.0, advice=f"max_waiting={max_waiting} callers are in line already")
            self._counters.waited += 1
            if timeout is not None and timeout < math.inf:
                timeout = max(0.0, timeout)
                alarm = self.loop.call_later(timeout, self._give_up, place, timeout)
            return await place
        except BaseException:
            self.waiters.leave(place)
            # Who is cancelled in the moment of being served owns a place, or an error, that nobody else will look at.
            if place.done() and not place.cancelled() and place.exception() is None:
                self.give_back(place.result())
            raise
        finally:
            if alarm is not None:
                alarm.cancel()

    async def fill(self) -> None:
        """Wait until ``min_size`` connections are ready.

        Raises:
            ConnectionFailed: Nothing is ready and nothing can be opened.
            PoolClosed: The pool was closed meanwhile.
        """
        self._replenish()
        if len(self.ledger) >= self.limits.min_size:
            return
        self._refuse_while_failing()
        filled = self.loop.create_future()
        self._fillers += (filled,)
        try:
            await filled
        finally:
            self._fillers = tuple(other for other in self._fillers if other is not filled)

    def exhausted(self, waited_seconds: float, **advice: str) -> ConnectionsExhausted:
        """Give the error of a caller who waited in vain."""
        error = self.backoff.error
        return ConnectionsExhausted(
            self._name,
            waited_seconds=waited_seconds,
            ready=len(self.ledger),
            opening=len(self.tasks.opening),
            clients=self.clients,
            waiting=len(self.waiters),
            last_error=None if error is None else type(error).__name__,
            **advice,
        )

    def _give_up(self, place: asyncio.Future[SharedTransportConnection[ConnT]], waited_seconds: float) -> None:
        if not place.done():
            self._counters.timeouts += 1
            place.set_exception(self.exhausted(waited_seconds))

    def _serve_waiters(self) -> None:
        while self.ledger.lowest < self.limits.client_limit:
            # Out of the line while being served: what to open would be reckoned with one more who waits.
            place = self.waiters.call_first()
            if place is None:
                return
            connection = self.take()
            if connection is None:
                self.waiters.put_back(place)
                # On a loop with eager tasks the last hope may have gone while this one was not in line.
                if self._is_hopeless():
                    self._send_everyone_away(self._failure)
            else:
                place.set_result(connection)

    def _refuse_while_failing(self) -> None:
        """Fail at once while there is nothing to wait for but the next attempt."""
        if self._is_hopeless():
            raise self._failure()

    def _is_hopeless(self) -> bool:
        """Whether nothing is ready, nothing is on its way, and the next attempt is not due yet."""
        return self.backoff.retry_at is not None and not len(self.ledger) and not self.tasks.opening

    def _failure(self) -> ConnectionFailed:
        error = self.backoff.error
        failure = ConnectionFailed(
            self._name, error=type(error).__name__, retry_after=self.backoff.seconds_left(self._now())
        )
        failure.__cause__ = error
        return failure

    def _send_everyone_away(self, error: Callable[[], BaseException]) -> None:
        self.waiters.fail(error)
        for filled in self._fillers:
            if not filled.done():
                filled.set_exception(error())

    # Retiring ------------------------------------------------------------------------------------------------------------------

    def retire(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Let a connection drain: it gets no new client, and is closed when its last one leaves."""
        if connection.state is not ConnectionState.READY:
            return
        self.ledger.remove(connection)
        discard(self.retirement.due, connection)
        self._leaving_clients += connection.current_client_count
        connection.become(ConnectionState.DRAINING)
        self.draining[connection] = None
        if not connection.current_client_count:
            self.tasks.close(connection)
        self._replenish()
        if self._is_hopeless():
            self._send_everyone_away(self._failure)

    def judge(self, connection: SharedTransportConnection[ConnT], error: BaseException) -> None:
        """Retire a connection if the connector finds that the error means it is broken."""
        if connection.state is not ConnectionState.READY:
            return
        try:
            is_fatal = self.connector.is_fatal(error)
        except Exception as problem:  # noqa: BLE001 - a connector that cannot judge must not fail a check-in
            self._log_connector_bug("is_fatal", problem)
            is_fatal = True
        if is_fatal:
            self.last_error = (type(error).__name__, self._now())
            _logger.warning("%s: connection %s is broken (%s)", self.label, connection.id, type(error).__name__)
            self.retire(connection)

    def _finds_closed(self, connection: SharedTransportConnection[ConnT]) -> bool:
        try:
            return self.connector.is_closed(connection.transport)
        except Exception as problem:  # noqa: BLE001 - a connector that cannot tell must not fail a checkout
            self._log_connector_bug("is_closed", problem)
            return True

    def _log_connector_bug(self, method: str, problem: Exception) -> None:
        # Where, not what: its text and its cause may be those of the SDK's error, which are not for the log.
        _logger.error(
            "%s: the connector's %s() raised %s; retiring the connection\n%s",
            self.label,
            method,
            type(problem).__name__,
            "".join(traceback.format_tb(problem.__traceback__)),
        )

    def tend(self) -> None:
        """Do what has fallen due, and set the alarm for what falls due next."""
        now = self._now()
        self._warn_of_leaks(now)
        if self.is_closing:
            return
        self.backoff.elapse(now)
        # First, so that none retires as one too many beside others that are dead.
        if self.limits.probe_seconds is not None:
            for connection in tuple(self.ledger.idle()):
                if self._finds_closed(connection):
                    self.retire(connection)
        # At the cap, retirement waits until something has been closed.
        if self._existing < self.limits.cap:
            for connection in self.retirement.leaving(now):
                self.retire(connection)
        self.ledger.trim()
        self._release_due(self._aim())
        self._replenish()
        self._set_alarm(now)

    def _warn_of_leaks(self, now: float) -> None:
        if self.limits.leak_warning_seconds is not None:
            self._alarm.wake_by(self.leaks.warn(now))

    def _set_alarm(self, now: float) -> None:
        if self.backoff.retry_at is not None:
            self._alarm.wake_by(self.backoff.retry_at)
        if not len(self.ledger):
            return
        if self._existing < self.limits.cap:
            self._alarm.wake_by(min(self.retirement.times(self.ledger, now), default=math.inf))
        elif self.limits.probe_seconds is not None:
            self._alarm.wake_by(now + self.limits.probe_seconds)

    def _release_due(self, needed: int) -> None:
        """Retire those who have fallen due, as far as more than the needed connections are ready."""
        due = self.retirement.due
        while due and len(self.ledger) > needed:
            self.retire(next(iter(due)))

    # Opening -------------------------------------------------------------------------------------------------------------------

    @property
    def _existing(self) -> int:
        return len(self.ledger) + len(self.tasks.opening) + len(self.draining)

    def _limit(self) -> int:
        """How many connections may be ready or on their way: ``burst_limit`` while callers face full ones, else ``max_size``."""
        limits = self.limits
        ready = len(self.ledger)
        replacements = 1 if self.retirement.due and self.tasks.opening else 0
        if self.waiters and ready >= limits.max_size and self.ledger.lowest == limits.client_limit:
            return limits.burst_limit
        # What the burst has opened stays until it is surplus, and grows no further.
        return max(limits.max_size, ready + len(self.tasks.opening) - replacements)

    def _aim(self) -> int:
        """How many ready connections the pool should have now."""
        limits = self.limits
        ready = len(self.ledger)
        aim = -(-(self.clients + len(self.waiters)) // limits.client_limit)
        if ready and self.ledger.lowest >= self._growth_threshold:
            aim = max(aim, ready + 1)
        if self.backoff.is_failing:
            aim = max(aim, 1)  # Heals unasked.
        if self.retirement.due:
            aim = max(aim, self.retirement.kept)
        return min(max(aim, limits.min_size), self._limit())

    def _replenish(self) -> None:
        """Begin to open what is missing, as far as the limits and the back-off allow."""
        if self.is_closing or self.backoff.retry_at is not None:
            return
        ready, opening, due = len(self.ledger), len(self.tasks.opening), len(self.retirement.due)
        missing = self._aim() - (ready - due + opening)
        if missing <= 0:
            if ready and not opening:
                self.backoff.rest()
            return
        # Someone who is failing is asked by one attempt at a time.
        at_once = 1 if self.backoff.is_failing else self.limits.max_concurrent_creates
        room = self._limit() + (1 if due else 0) - ready - opening
        for _ in range(min(missing, room, self.limits.cap - self._existing, at_once - opening)):
            connection: SharedTransportConnection[ConnT] = SharedTransportConnection(
                self.limits.client_limit, self.limits.max_idle_seconds, self._now
            )
            self.tasks.open(connection)
            if connection.state is not ConnectionState.OPENING:
                return  # A loop with eager tasks has finished it already, and what is missing has been looked at again.

    def note_opened(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Give a connection that is open and proven to whoever waits for one."""
        now = self._now()
        connection.become(ConnectionState.READY)
        # Before it counts itself: with a successor among them, the due ones would seem to be needed as well.
        needed = self._aim()
        self.retirement.begin(connection, now)
        self.ledger.add(connection)
        self._counters.opened += 1
        self.backoff.succeeded()
        if self.is_closing:  # It came into being in spite of its cancellation.
            self.retire(connection)
            return
        self._alarm.wake_by(min(self.retirement.times((connection,), now), default=math.inf))
        self._release_due(needed)
        self._serve_waiters()
        if len(self.ledger) >= self.limits.min_size:
            for filled in self._fillers:
                if not filled.done():
                    filled.set_result(None)
        self._replenish()

    def note_failed(self, error: BaseException) -> None:
        """Count a connection that could not be opened, and send everyone away if nothing else is to be had."""
        if self.is_closing:
            return
        now = self._now()
        self._counters.open_failures += 1
        self.last_error = (type(error).__name__, now)
        retry_at = self.backoff.failed(error, now)
        self._set_alarm(now)  # For the next attempt, and for what had to wait while this one kept the pool at its cap.
        _logger.warning(
            "%s: opening a connection failed with %s; next attempt in %.1f s",
            self.label,
            type(error).__name__,
            retry_at - now,
        )
        if self._is_hopeless():
            self._send_everyone_away(self._failure)

    def note_closed(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Let go of a connection that is closed."""
        if connection in self.draining:
            discard(self.draining, connection)
            # With a connection that is closed under its clients go their places.
            self._leaving_clients -= connection.current_client_count
            connection.current_client_count = 0
            self._counters.closed += 1
        if not self.is_closing:
            self.tend()

    # Closing -------------------------------------------------------------------------------------------------------------------

    def begin_closing(self) -> asyncio.Future[None]:
        """Send everyone in line away, stop what is being opened, and let every connection drain.

        Returns:
            What `finish_closing` waits for: done when the last client has left, or when `stop_draining` is called.
        """
        self.is_closing = True
        drained = self._drained = self.loop.create_future()
        self._alarm.stop()
        self._warn_of_leaks(self._now())  # Those who have a place may go on, and are watched for as long as they do.
        self._send_everyone_away(lambda: PoolClosed(self._name, state="closing"))
        self.tasks.cancel_opening()
        for connection in tuple(self.ledger):
            self.retire(connection)
        if not self.clients:
            self.stop_draining()
        return drained

    def stop_draining(self) -> None:
        """Wait for clients no longer."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def finish_closing(self, drained: asyncio.Future[None]) -> None:
        """Wait until the clients have left or their time is over, then until every connection is closed."""
        try:
            await drained
        finally:
            self._alarm.stop()
            # On an event loop that was closed over it, nothing can be closed.
            if not self.loop.is_closed():
                for connection in tuple(self.draining):
                    if not connection.is_closing:
                        self.tasks.close(connection)
                await self.tasks.settle()
                self._alarm.stop()  # Who saw its place only after the drain was over has set it again, to be warned of.

    def abandon(self) -> None:
        """Count every connection as closed, since the event loop that could close them is gone."""
        for connection in (*self.tasks.opening, *self.connections):
            connection.become(ConnectionState.CLOSED)
