"""The time of day for the broker, and one timer on the event loop for the next thing due."""

from __future__ import annotations

import math
import time
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# Farther ahead than event loops can wait; the alarm rings for nothing then, and is set again.
_LONGEST_WAIT = 86_400.0


class SteadyClock:
    """Gives seconds since 1970 that never go back, whatever becomes of the machine's clock."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return seconds since 1970."""
        return self._offset + time.monotonic()


class Alarm:
    """Rings at the earliest time that was asked for since it rang; holds one timer at most. Silent until it is started.

    Args:
        clock: What time it is.
        ring: What is done then; it returns when to ring next, infinity for never.
    """

    __slots__ = ("_clock", "_handle", "_loop", "_ring", "_when")

    def __init__(self, clock: Callable[[], float], ring: Callable[[], float]) -> None:
        self._clock = clock
        self._ring = ring
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._when = math.inf

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ring on this loop from now on, at once first: something may have fallen due meanwhile."""
        self._loop = loop
        self.wake_by(self._clock())

    def stop(self) -> None:
        """Be silent, until started again."""
        self._loop = None
        self._when = math.inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def wake_by(self, when: float) -> None:
        """Ring at a time or before."""
        if when >= self._when or self._loop is None:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._when = when
        delay = min(max(when - self._clock(), 0.0), _LONGEST_WAIT)
        # An empty context: whoever sends in this process must not be kept alive until the timer fires.
        self._handle = self._loop.call_later(delay, self._fire, context=Context())

    def _fire(self) -> None:
        self._handle = None
        self._when = math.inf
        self.wake_by(self._ring())
