"""The SDK's AMQP sender as the channel of a `GroupCommit`, driven frame by frame.

Event Hubs and Service Bus bring the same AMQP client (pyamqp), whose parts are private to them. What touches those parts is here,
in `opening`, in `send_link`, in `tokens` and in `wire`. `has_known_shape` checks that all of them are there; where one is not,
`PlainChannel` leaves everything to the SDK, one transfer at a time.
"""

# ruff: noqa: SLF001 - the SDK has no public way to do any of this; has_known_shape guards every part

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.amqp.plain_channel import nobody
from fastapi_azure_pool.clients.amqp.send_link import SendLink
from fastapi_azure_pool.clients.amqp.tokens import TokenRenewal
from fastapi_azure_pool.clients.transfers import LinkRefused, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.clients.amqp.encoding import Encode

BEAT_SECONDS = 100.0
"""How often an empty frame is sent: Azure closes connections that are silent for 240 s."""

_TEND_SECONDS = 15.0

# Descriptors of the performatives that end a link, and those that end a session and a connection (AMQP 1.0, section 2.7).
_DETACH = 0x16
_ENDINGS = frozenset({0x17, 0x18})

# Where a list's first field begins, behind the codes of a list8 and of a list32, and how many bytes a uint has behind its codes.
_FIRST_FIELD = {0xC0: 3, 0xD0: 9}
_UINT_WIDTHS = {0x43: 0, 0x52: 1, 0x70: 4}

_HEADER_BYTES = 8


class TunedChannel:
    """An opened handler of the SDK, driven frame by frame; see `Channel`.

    Its owner is woken by whatever arrives, and reads only frames that are there whole, so that nothing waits in the SDK's reading.

    Args:
        handler: The SDK's ``SendClientAsync``, opened a moment ago, with `has_known_shape`.
        encode: Gives the message format and the bytes of what `Packing` gives.
        window: Transfers that may be in flight at once.
    """

    def __init__(self, handler: Any, encode: Encode, *, window: int) -> None:
        self.window = window
        self.wake: Callable[[], None] = nobody
        self._handler = handler
        self._encode = encode
        self._connection = handler._connection
        self._session = handler._session
        self._transport = self._connection._transport
        self._reader: Any = self._transport.reader
        self._buffer: bytearray = self._reader._buffer
        self._loop = asyncio.get_running_loop()
        # The FLOW that follows an ATTACH has not been read yet: the SDK reads one frame and looks whether that was the ATTACH.
        self._main = self._send_link(handler._link)
        self._links: dict[str | None, SendLink] = {None: self._main}
        # Written together, when the owner has done what it can for now.
        self._outgoing: list[bytes] = []
        self._is_broken = False
        self._token = TokenRenewal(handler, self._loop)
        self._beat_at = self._loop.time() + BEAT_SECONDS
        self.tend_at = 0.0
        self._tend_later()
        self._announce_arrivals()

    @property
    def is_closed(self) -> bool:
        """Whether the link, its session or its connection is closed, also by a frame that nobody has read yet."""
        reader = self._reader
        return (
            self._is_broken
            or reader._eof
            or reader._exception is not None
            or self._main.sdk.state.name != "ATTACHED"
            or self._session.state.name != "MAPPED"
            or self._connection.state.name != "OPENED"
            or self._connection._error is not None
            or (bool(self._buffer) and _has_ending(self._buffer, self._main.sdk.remote_handle))
        )

    async def receive(self) -> None:
        """Let the SDK read the frames that have arrived whole."""
        buffer = self._buffer
        # What the SDK has read of a frame before it gave up on the rest, as it does after 0.2 s.
        begun = self._transport._read_buffer.read()
        if begun:
            buffer[:0] = begun
        while not self._is_broken and (whole := _whole_frames(buffer)):
            for _ in range(whole):
                before = len(buffer)
                await self._connection.listen(wait=True)
                if len(buffer) >= before:
                    self._is_broken = True  # It reads no more, or cannot make anything of what is there.
                    return

    async def room(self, address: str | None) -> int:
        """Give how many transfers the last FLOW frames let leave; opens a link below the entity at its first use."""
        link = self._links.get(address)
        if link is None:
            link = await self._attach(str(address))
        if link is not self._main and not link.is_usable:
            del self._links[address]
            if not link.has_served:
                raise LinkRefused(link.refusal)
            self.wake()  # It was idle for too long, perhaps: the next look opens another.
            return 0
        window: int = self._session.remote_incoming_window
        return min(link.credit, window)

    async def transfer(
        self,
        address: str | None,
        payload: Any,
        settled: Callable[[Outcome], None],
        seconds: float,  # noqa: ARG002 - the owner minds the deadline
    ) -> None:
        """Write one transfer, together with the others of this turn of the event loop."""
        message_format, encoded = self._encode(payload)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(self._links[address].frames(message_format, encoded, settled))

    async def tend(self) -> None:
        """Keep it alive and authorized.

        An empty frame goes out every 100 s, and when half of the silence is over that the service takes.
        """
        self._flush()
        now = self._loop.time()
        if now >= self._beat_at:
            self._beat_at = now + BEAT_SECONDS
            await self._connection._outgoing_empty()
        else:
            await self._connection._get_remote_timeout(time.time())
        await self._token.go_on()
        self._tend_later()

    def close(self) -> None:
        """Stop what was begun beside the owner."""
        self._token.stop()

    def _flush(self) -> None:
        """Hand everything to the transport, which takes any amount: the window and the credit bound it."""
        if self._outgoing:
            writer: asyncio.StreamWriter | None = self._transport.writer
            if writer is not None and not writer.is_closing():
                writer.write(b"".join(self._outgoing))
                self._connection._last_frame_sent_time = time.time()
            self._outgoing.clear()

    def _send_link(self, sdk: Any) -> SendLink:
        return SendLink(sdk, self._session, self._connection._remote_max_frame_size)

    def _tend_later(self) -> None:
        remote: Any = getattr(self._connection, "_remote_idle_timeout", None)
        self.tend_at = self._loop.time() + min(_TEND_SECONDS, remote / 4 if remote else _TEND_SECONDS)

    async def _attach(self, address: str) -> SendLink:
        main = self._main.sdk
        target = self._handler.target
        target = target.decode() if isinstance(target, bytes) else target
        self._flush()
        link = self._send_link(
            self._session.create_sender_link(
                target_address=f"{target}/{address}",
                link_credit=main.link_credit,
                send_settle_mode=main.send_settle_mode,
                rcv_settle_mode=main.rcv_settle_mode,
                max_message_size=main.max_message_size,
                properties=main.properties,
            )
        )
        self._links[address] = link
        await link.sdk.attach()
        return link

    def _announce_arrivals(self) -> None:
        """Wake the owner with whatever the event loop gives the reader: data, the end, an error."""
        reader = self._reader
        for name in ("feed_data", "feed_eof", "set_exception"):
            setattr(reader, name, self._then_wake(getattr(reader, name)))

    def _then_wake(self, take: Callable[..., None]) -> Callable[..., None]:
        def take_and_wake(*arguments: Any) -> None:
            take(*arguments)
            self.wake()

        return take_and_wake


def _whole_frames(buffer: bytearray) -> int:
    """Count the frames that are in a buffer whole (AMQP 1.0, section 2.3.1: four bytes of size come first)."""
    count, offset = 0, 0
    while len(buffer) - offset >= _HEADER_BYTES:
        # A size below that of the header is the SDK's to choke on.
        offset += max(int.from_bytes(buffer[offset : offset + 4]), _HEADER_BYTES)
        if offset > len(buffer):
            break
        count += 1
    return count


def _has_ending(buffer: bytearray, handle: int) -> bool:
    """Tell whether among the frames in a buffer is one that ends the connection, a session, or the link of this handle."""
    offset = 0
    while len(buffer) - offset > _HEADER_BYTES:
        size, start = int.from_bytes(buffer[offset : offset + 4]), offset + 4 * buffer[offset + 4]
        end = offset + max(size, _HEADER_BYTES)
        # A described type with a small descriptor: 0x00, 0x53, the descriptor (section 1.2).
        if size > _HEADER_BYTES and buffer[start : start + 2] == b"\x00\x53":
            descriptor = int.from_bytes(buffer[start + 2 : start + 3])
            if descriptor in _ENDINGS or (
                descriptor == _DETACH and _first_uint(buffer[start + 3 : end]) in {handle, None}
            ):
                return True
        offset = end
    return False


def _first_uint(fields: bytearray) -> int | None:
    """Read the first field of an encoded list, where it is a uint (section 1.6); None where it is not there, or something else."""
    first = fields[_FIRST_FIELD.get(fields[0], len(fields)) :] if fields else fields
    width = _UINT_WIDTHS.get(first[0]) if first else None
    return None if width is None or len(first) <= width else int.from_bytes(first[1 : 1 + width])
