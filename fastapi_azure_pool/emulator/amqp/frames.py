"""Frames: how performatives travel over a connection (OASIS AMQP 1.0, part 2, section 2.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.composites import encode_composite
from fastapi_azure_pool.emulator.amqp.performatives import (
    Performative,
    SaslChallenge,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    SaslResponse,
    Transfer,
    decode_performative,
)
from fastapi_azure_pool.emulator.amqp.value_types import AmqpDecodeError, Buffer

if TYPE_CHECKING:
    from collections.abc import Iterator

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"

# What every peer must take (part 2, section 2.7.1).
MIN_MAX_FRAME_SIZE = 512

_AMQP_TYPE = 0
_SASL_TYPE = 1
_HEADER = struct.Struct(">IBBH")
_read_header = _HEADER.unpack_from
_SASL_PERFORMATIVES = frozenset({SaslMechanisms, SaslInit, SaslChallenge, SaslResponse, SaslOutcome})


class AmqpFramingError(AmqpDecodeError):
    """Bytes that are no frame: not what is in it is wrong, but its own header."""


@dataclass(slots=True)
class Frame:
    """One frame; without a performative it is empty and says only that its sender lives."""

    channel: int
    is_sasl: bool
    performative: Performative | None
    payload: bytes = b""


def encode_frame(
    channel: int, performative: Performative | None, payload: Buffer = b"", *, sasl: bool = False
) -> bytes:
    """Return a frame's bytes.

    Args:
        channel: The session's channel; 0 for what concerns the connection.
        performative: None makes the empty frame.
        payload: A transfer's part of a message.
        sasl: Whether the frame belongs to the SASL layer.
    """
    buffer = bytearray(8)
    if performative is not None:
        encode_composite(buffer, performative)
    buffer += payload
    _HEADER.pack_into(buffer, 0, len(buffer), 2, _SASL_TYPE if sasl else _AMQP_TYPE, channel)
    return bytes(buffer)


class FrameDecoder:
    """Makes frames of a stream's bytes, however these are cut into pieces.

    Args:
        max_frame_size: Bytes of the largest frame that is taken; at least 512.
    """

    def __init__(self, max_frame_size: int) -> None:
        if max_frame_size < MIN_MAX_FRAME_SIZE:
            raise ValueError(f"max_frame_size is at least {MIN_MAX_FRAME_SIZE}, and {max_frame_size} was given")
        self.max_frame_size = max_frame_size
        self._pending = bytearray()
        # How many bytes the next frame needs at least: joining the pieces only then keeps a trickle of bytes cheap.
        self._needed = 8

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with these bytes; read it to its end before the next call.

        Raises:
            AmqpDecodeError: While iterating, when a malformed frame's turn comes. The connection is then beyond use.
        """
        pending = self._pending
        if pending:
            pending += data
            if len(pending) < self._needed:
                return iter(())
            data = bytes(pending)
            pending.clear()
        return self._split(data)

    def _split(self, data: bytes) -> Iterator[Frame]:
        offset, length = 0, len(data)
        while length - offset >= 8:
            size, doff, kind, channel = _read_header(data, offset)
            if size < 8 or size > self.max_frame_size:
                raise AmqpFramingError(f"A frame of {size} bytes; this end takes 8 to {self.max_frame_size}")
            if length - offset < size:
                self._needed = size
                break
            if doff < 2 or doff * 4 > size:
                raise AmqpFramingError(f"A frame of {size} bytes whose body begins at byte {doff * 4}")
            if kind > _SASL_TYPE:
                raise AmqpFramingError(f"A frame of the unknown type {kind}")
            start, offset = offset + doff * 4, offset + size
            yield _frame(data, start, offset, channel, is_sasl=kind == _SASL_TYPE)
        else:
            self._needed = 8
        self._pending += data[offset:]


def _frame(data: bytes, start: int, end: int, channel: int, *, is_sasl: bool) -> Frame:
    """Return the frame whose body lies between two offsets."""
    if is_sasl:
        channel = 0
    if start == end:
        if is_sasl:
            raise AmqpDecodeError("An empty frame of the SASL layer")
        return Frame(channel, is_sasl, None)
    performative, behind = decode_performative(data, start)
    if behind > end:
        raise AmqpDecodeError(f"{type(performative).__name__} ends {behind - end} bytes behind its frame")
    kind = type(performative)
    if (kind in _SASL_PERFORMATIVES) is not is_sasl:
        raise AmqpDecodeError(f"{kind.__name__} does not belong into a frame of this type")
    if behind == end:
        return Frame(channel, is_sasl, performative)
    if kind is not Transfer:
        raise AmqpDecodeError(f"{end - behind} bytes behind {kind.__name__}, which has no payload")
    return Frame(channel, is_sasl, performative, data[behind:end])
