"""Callers in line, and the hand-off of freed places to them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic

from fastapi_azure_pool.pool.connector import ConnT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from fastapi_azure_pool.pool.connection import SharedTransportConnection


class Waiters(Generic[ConnT]):
    """A first-in first-out line of callers who wait for a place.

    Whoever frees a place hands it to the first in line, so nobody polls and nobody is overtaken. Joining, leaving and handing over
    are O(1).

    Attributes:
        line: Those in line, in order of arrival; some may have been cancelled, and not have left yet. None until someone waits:
            most pools idle most of the time, without the memory of a line.

    Source:
        The releaser hands the place over, as ``anyio.CapacityLimiter`` does.
    """

    __slots__ = ("line",)

    def __init__(self) -> None:
        self.line: OrderedDict[asyncio.Future[SharedTransportConnection[ConnT]], None] | None = None

    def __len__(self) -> int:
        return len(self.line) if self.line else 0

    def join(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[SharedTransportConnection[ConnT]]:
        """Enter the line at its end; the future's result will be a connection with a place already taken on it."""
        place: asyncio.Future[SharedTransportConnection[ConnT]] = loop.create_future()
        self._begin()[place] = None
        return place

    def leave(self, place: asyncio.Future[SharedTransportConnection[ConnT]]) -> None:
        """Leave the line, wherever in it; nothing happens to one who is not in it any more."""
        if self.line:
            self.line.pop(place, None)

    def call_first(self) -> asyncio.Future[SharedTransportConnection[ConnT]] | None:
        """Take the first who still waits out of the line; None when there is nobody."""
        while self.line:
            place, _ = self.line.popitem(last=False)
            # One who was cancelled stays in line until its task runs again.
            if not place.done():
                return place
        self.line = None
        return None

    def put_back(self, place: asyncio.Future[SharedTransportConnection[ConnT]]) -> None:
        """Let who was called and not served be the first again."""
        line = self._begin()
        line[place] = None
        line.move_to_end(place, last=False)

    def hand_over(self, connection: SharedTransportConnection[ConnT]) -> bool:
        """Give a taken place on the connection to the first in line who still waits; False when there is nobody."""
        place = self.call_first()
        if place is None:
            return False
        place.set_result(connection)
        return True

    def fail(self, error: Callable[[], BaseException]) -> None:
        """Send everyone away, each with an error of its own (a shared one would gather everybody's traceback)."""
        while (place := self.call_first()) is not None:
            place.set_exception(error())

    def _begin(self) -> OrderedDict[asyncio.Future[SharedTransportConnection[ConnT]], None]:
        line = OrderedDict() if self.line is None else self.line
        self.line = line
        return line
