"""One of the SDK's sender links: how many transfers the service lets leave by it, and the frames that they become.

The SDK writes each frame of a transfer by itself, encodes it twice to learn its size, and waits for each; that was a third of the
processor time of a message that is sent alone. Here a transfer becomes bytes, to be written together with others.
"""

# ruff: noqa: SLF001 - the SDK has no public way to do any of this; has_known_shape guards every part

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.amqp.outcomes import disposition, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.clients.transfers import Outcome

# A frame's header: its size, where its body begins in units of four bytes, its type, its channel (AMQP 1.0, section 2.3.1). Then
# the performative TRANSFER with its first six fields (section 2.7.5), in the encodings of section 1.6: handle, delivery-id and
# message-format as uint, delivery-tag as vbin8 of four bytes, settled as false, more as true or false.
_TRANSFER = struct.Struct(">IBBH 3s BBB BI BI BB4s BI B B")
_DESCRIPTOR = b"\x00\x53\x14"
_LIST8, _UINT, _VBIN8, _TRUE, _FALSE = 0xC0, 0x70, 0xA0, 0x41, 0x42
_FIELDS = 6
# What a list8 counts: the byte of its count of fields, and the fields.
_LIST_BYTES = 1 + 5 + 5 + 6 + 5 + 1 + 1

_SERIAL = 0xFFFFFFFF


class SendLink:
    """A sender link of the SDK; what is not done here, such as attaching, stays the SDK's.

    The SDK gives itself new credit when its own is used up, and before the service's first FLOW; this does not.

    Args:
        sdk: The SDK's link.
        session: The SDK's session.
        max_frame_size: The largest frame that the service takes, in bytes.
    """

    __slots__ = ("_limit", "_max_frame_size", "_session", "sdk")

    def __init__(self, sdk: Any, session: Any, max_frame_size: int) -> None:
        self.sdk = sdk
        self._session = session
        self._max_frame_size = max_frame_size
        self._limit = 0
        sdk._incoming_flow = self._take_flow

    @property
    def credit(self) -> int:
        """Transfers that may leave (AMQP 1.0, section 2.6.7: the receiver's delivery-count plus link-credit is the limit)."""
        return self._limit - int(self.sdk.delivery_count)

    @property
    def has_served(self) -> bool:
        """Whether anything has ever left by it."""
        return int(self.sdk.delivery_count) > 0

    @property
    def is_usable(self) -> bool:
        """Whether it is attached, or may still become so."""
        return self.sdk.state.name in {"ATTACH_SENT", "ATTACHED"} and self.sdk._error is None

    @property
    def refusal(self) -> Outcome:
        """Why the service did not open it."""
        return refusal(self.sdk._error)

    def frames(self, message_format: int, payload: bytes | bytearray, settled: Callable[[Outcome], None]) -> bytes:
        """Give the frames of a transfer, to be written at once, and wait for its disposition from now on.

        Args:
            message_format: 0 for one message, 0x80013700 for a batch.
            payload: The encoded message.
            settled: Called once with the outcome.
        """
        sdk, session = self.sdk, self._session
        delivery_id = session.next_outgoing_id & _SERIAL
        tag = ((sdk.delivery_count + 1) & _SERIAL).to_bytes(4)
        room = self._max_frame_size - _TRANSFER.size
        last = max(0, len(payload) - 1) // room * room
        frames = bytearray()
        for start in range(0, last + 1, room):
            part = memoryview(payload)[start : start + room]
            frames += _TRANSFER.pack(
                *(_TRANSFER.size + len(part), 2, 0, session.channel, _DESCRIPTOR, _LIST8, _LIST_BYTES, _FIELDS),
                *(_UINT, sdk.handle, _UINT, delivery_id, _VBIN8, 4, tag, _UINT, message_format, _FALSE),
                _TRUE if start < last else _FALSE,
            )
            frames += part
        sdk._pending_deliveries.append(_Delivery(delivery_id, settled))
        # What the SDK counts when it sends by itself.
        sdk.delivery_count += 1
        sdk.current_link_credit -= 1
        session.next_outgoing_id += 1
        session.remote_incoming_window -= 1
        session.outgoing_window -= 1
        return bytes(frames)

    async def _take_flow(self, frame: Any) -> None:
        handle, delivery_count, link_credit = frame[4:7]
        if handle is not None and link_credit is not None:
            self._limit = (delivery_count or 0) + link_credit
            self.sdk.current_link_credit = self.credit


class _Delivery:
    """A transfer in flight, as the SDK's link looks at it when a disposition, or the link's end, arrives."""

    __slots__ = ("_settled", "frame", "sent", "settled", "timeout")

    def __init__(self, delivery_id: int, settled: Callable[[Outcome], None]) -> None:
        self.frame = {"delivery_id": delivery_id}
        self.sent = True
        self.settled = False
        self.timeout = None
        self._settled = settled

    async def on_settled(self, reason: Any, state: Any) -> None:
        """Hear of the outcome."""
        if not self.settled:
            self.settled = True
            self._settled(disposition(reason, state))
