"""What comes before the first frame: protocol headers, and SASL between two of them (OASIS AMQP 1.0, parts 2.2 and 5.3)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.frames import AMQP_HEADER, MIN_MAX_FRAME_SIZE, SASL_HEADER, FrameDecoder
from fastapi_azure_pool.emulator.amqp.performatives import SaslInit
from fastapi_azure_pool.emulator.amqp.sasl import SaslLayer
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.authorization import Access


class HandshakeState(Enum):
    """SASL_HEADER -> SASL -> AMQP_HEADER -> DONE, and to REFUSED from each of the first three."""

    SASL_HEADER = "SASL header"
    SASL = "SASL"
    AMQP_HEADER = "AMQP header"
    DONE = "done"
    REFUSED = "refused"


class Handshake:
    """One client's first bytes.

    Attributes:
        state: See HandshakeState.
        is_authorized: Whether the client needs no token.
    """

    def __init__(self, access: Access) -> None:
        self.state = HandshakeState.SASL_HEADER
        self._sasl = SaslLayer(access)
        self._pending = b""

    @property
    def is_authorized(self) -> bool:
        """Whether the client gave the key itself."""
        return self._sasl.is_authorized

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes.

        Returns:
            What to answer, and, once it is done, what came after it.

        Raises:
            AmqpDecodeError: A frame of the SASL layer is malformed.
        """
        data = self._pending + data
        self._pending = b""
        answer = b""
        while data and self.state not in {HandshakeState.DONE, HandshakeState.REFUSED}:
            if self.state is HandshakeState.SASL:
                taken, reply = self._take_sasl(data)
            else:
                taken, reply = self._take_header(data)
            answer += reply
            if not taken:
                self._pending, data = data, b""
            data = data[taken:]
        return answer, data if self.state is HandshakeState.DONE else b""

    def _take_header(self, data: bytes) -> tuple[int, bytes]:
        is_first = self.state is HandshakeState.SASL_HEADER
        expected = SASL_HEADER if is_first else AMQP_HEADER
        # at the first byte that differs it is clear that it is another protocol
        if not expected.startswith(data[:8]):
            self.state = HandshakeState.REFUSED
            return len(data), expected
        if len(data) < 8:
            return 0, b""
        self.state = HandshakeState.SASL if is_first else HandshakeState.DONE
        return 8, expected + self._sasl.offer() if is_first else expected

    def _take_sasl(self, data: bytes) -> tuple[int, bytes]:
        size = int.from_bytes(data[:4], "big") if len(data) >= 4 else MIN_MAX_FRAME_SIZE
        if not 8 <= size <= MIN_MAX_FRAME_SIZE:
            raise AmqpDecodeError(f"A SASL frame of {size} bytes; they have 8 to {MIN_MAX_FRAME_SIZE}")
        if len(data) < size:
            return 0, b""
        (frame,) = FrameDecoder(MIN_MAX_FRAME_SIZE).feed(data[:size])
        if not isinstance(frame.performative, SaslInit):
            raise AmqpDecodeError("The client's frame in the SASL layer is a sasl-init")
        reply = self._sasl.answer(frame.performative)
        self.state = HandshakeState.AMQP_HEADER if self._sasl.is_accepted else HandshakeState.REFUSED
        return size, reply
