"""One timer that wakes for the earliest of many times."""

from __future__ import annotations

import math
from contextvars import Context
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Tended(Protocol):
    """Who has to be looked after at certain times."""

    def tend(self) -> None:
        """Do what has fallen due."""


class Alarm:
    """Tends someone once at the earliest time that was asked for since it last did; holds at most one timer handle."""

    __slots__ = ("_handle", "_loop", "_tended", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, tended: Tended) -> None:
        self._loop = loop
        self._tended = tended
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0

    def wake_by(self, when: float) -> None:
        """Tend at ``when`` (the event loop's clock, in seconds) or before; infinity is never."""
        if when == math.inf:
            return
        if self._handle is not None:
            if self._when <= when:
                return
            self._handle.cancel()
        # An empty context: the caller's would be kept alive, request and all, until the timer fires.
        self._handle = self._loop.call_at(when, self._ring, context=Context())
        self._when = when

    def stop(self) -> None:
        """Forget what was asked so far."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._tended.tend()
