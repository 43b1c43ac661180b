"""What goes out on one connection: one write for each turn of the event loop, and a word when it is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# Above it nodes wait with more messages. Some frames' worth: enough to keep a fast client busy.
_MAX_WAITING_BYTES = 256 * 1024


class Outbox:
    """Gathers frames and writes them together.

    Args:
        loop: The event loop.
        on_room: Called when there is room again after there was none.

    Attributes:
        last_sent: When something was written last, in the loop's time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_room: Callable[[], None]) -> None:
        self.last_sent = loop.time()
        self._loop = loop
        self._on_room = on_room
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._is_paused = False
        self._will_flush = False

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that nodes should wait with more."""
        return self._is_paused or self._size > _MAX_WAITING_BYTES

    def connect(self, transport: asyncio.Transport) -> None:
        """Write to a transport."""
        self._transport = transport

    def disconnect(self) -> None:
        """Write nothing any more, not even what waits."""
        self._transport = None
        self._waiting.clear()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send bytes, together with whatever else goes out in the same turn of the event loop."""
        if self._transport is None:
            return
        self._waiting.append(data)
        self._size += len(data)
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self.flush)

    def hold(self) -> None:
        """Wait for a flush that the caller makes in this turn of the event loop."""
        self._will_flush = True

    def flush(self) -> None:
        """Write what waits."""
        self._will_flush = False
        if not self._waiting or self._transport is None:
            return
        was_full = self.is_full
        waiting, self._waiting, self._size = self._waiting, [], 0
        self.last_sent = self._loop.time()
        self._transport.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))
        if was_full and not self.is_full:
            self._loop.call_soon(self._on_room)

    def pause(self) -> None:
        """Take no more messages until the client has read."""
        self._is_paused = True

    def resume(self) -> None:
        """Take messages again."""
        self._is_paused = False
        self._on_room()
