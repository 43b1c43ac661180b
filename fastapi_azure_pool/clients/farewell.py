"""Telling many callers that it is over, without holding anybody else up."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from fastapi_azure_pool.clients.taking_turns import SLICE

if TYPE_CHECKING:
    from collections.abc import Callable


class Farewell:
    """What is still to be told, some of it in each turn of the event loop: an error for each of 1,000 callers takes 80 ms.

    Args:
        loop: The event loop.
    """

    __slots__ = ("_ended", "_left", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left: deque[Callable[[], None]] = deque()
        self._ended: asyncio.Future[None] | None = None

    def prepare(self, tell: Callable[[], None]) -> None:
        """Add what is to be told to one caller."""
        self._left.append(tell)

    def begin(self) -> None:
        """Tell the first callers now, and the others soon, whatever becomes of any task."""
        for _ in range(min(SLICE, len(self._left))):
            self._left.popleft()()
        if self._left:
            self._ended = self._ended or self._loop.create_future()
            self._loop.call_soon(self.begin)
        elif self._ended is not None:
            self._ended.set_result(None)

    async def end(self) -> None:
        """Wait until everybody is told."""
        if self._ended is not None:
            await asyncio.wait((self._ended,))
