"""One timer that wakes for the earliest of many times."""

from __future__ import annotations

import math
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Alarm:
    """Calls back once at the earliest time that anyone has asked for since it last did; holds at most one timer handle."""

    __slots__ = ("_callback", "_handle", "_loop", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0

    def wake_by(self, when: float) -> None:
        """Call back at ``when`` (the event loop's clock, in seconds) or before; infinity is never."""
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
        """Never call back for what was asked so far."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._callback()
