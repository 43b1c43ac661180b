"""Leases that are held for too long: one warning for each, with its place in the application."""

from __future__ import annotations

import logging
import math
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, cast

from fastapi_azure_pool.pool.caller import find_caller
from fastapi_azure_pool.pool.connector import ConnT
from fastapi_azure_pool.pool.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from fastapi_azure_pool.pool.alarm import Alarm
    from fastapi_azure_pool.pool.caller import Caller
    from fastapi_azure_pool.pool.connection import SharedTransportConnection
    from fastapi_azure_pool.pool.connection_pool import ConnectionPool

_logger = logging.getLogger(__name__)


class WatchedLease(Lease[ConnT]):
    """A lease of a pool that warns of leaks: it knows who has it, and since when.

    Attributes:
        place: Who asked for it: the line that called, unless whoever asked on behalf of another puts that one here.
        held_since: When it last got its place, on the event loop's clock; not set until then.
    """

    __slots__ = ("held_since", "place")

    held_since: float

    def __init__(self, pool: ConnectionPool[ConnT], timeout: float | None) -> None:
        super().__init__(pool, timeout)
        self.place: Caller | str = find_caller(2)  # Beside this function and the pool's get().

    async def __aenter__(self) -> ConnT:
        transport = await super().__aenter__()
        self._generation.leaks.begin(self)
        return transport

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Coroutine[Any, Any, None]:
        # A plain function: a coroutine that only awaits another one costs as much as all the rest here.
        if self._connection is not None:
            self._generation.leaks.end(self)
        return super().__aexit__(kind, error, traceback)

    @property
    def connection(self) -> SharedTransportConnection[ConnT]:
        """The connection on which it has its place; only while it has one."""
        return cast("SharedTransportConnection[ConnT]", self._connection)


class LeakWatch(Generic[ConnT]):
    """The leases that a pool has given, the oldest first, until they are given back or have been warned of.

    There is no timer for each lease: the pool's alarm rings for the oldest.

    Args:
        seconds: How long a lease may be held without a warning, above 0.
        alarm: The pool's.
        clock: Monotonic seconds, the alarm's.
        label: What logs call the pool.
    """

    __slots__ = ("_alarm", "_clock", "_held", "_label", "_seconds")

    def __init__(self, seconds: float, alarm: Alarm, clock: Callable[[], float], label: str) -> None:
        self._seconds = seconds
        self._alarm = alarm
        self._clock = clock
        self._label = label
        self._held: dict[WatchedLease[ConnT], None] = {}

    def begin(self, lease: WatchedLease[ConnT]) -> None:
        """Watch a lease that has just got its place. O(1), but for the alarm of the first."""
        lease.held_since = now = self._clock()
        if not self._held:
            self._alarm.wake_by(now + self._seconds)
        self._held[lease] = None

    def end(self, lease: WatchedLease[ConnT]) -> None:
        """Watch a lease no longer, for its place is being given back; one that has been warned of is not watched any more."""
        self._held.pop(lease, None)

    def warn(self, now: float) -> float:
        """Log a warning for every lease that has been held for too long, and watch those no longer.

        Returns:
            When to look again; infinity while nobody holds a lease.
        """
        for lease in [*takewhile(lambda lease: self._due(lease) <= now, self._held)]:
            del self._held[lease]
            _logger.warning(
                "%s: a place on connection %s has been held for %.1f s (leak_warning_seconds=%g) by %s",
                self._label,
                lease.connection.id,
                now - lease.held_since,
                self._seconds,
                lease.place,
            )
        if not self._held:
            self._held.clear()  # An emptied dictionary keeps its memory.
            return math.inf
        return self._due(next(iter(self._held)))

    def _due(self, lease: WatchedLease[ConnT]) -> float:
        return lease.held_since + self._seconds
