"""Frames: what they look like, how a stream of them is cut, and which are refused."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from azure.eventhub._pyamqp import _encode as eventhub_encode
from azure.eventhub._pyamqp.constants import EMPTY_FRAME, HEADER_FRAME, SASL_HEADER_FRAME
from azure.eventhub._pyamqp.performatives import TransferFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp.frames import (
    AMQP_HEADER,
    SASL_HEADER,
    AmqpFramingError,
    Frame,
    FrameDecoder,
    encode_frame,
)
from fastapi_azure_pool.emulator.amqp.performatives import End, Flow, Open, SaslInit, SaslOutcome, Transfer
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError

# a busy machine is no failure
no_deadline = settings(deadline=None)

END = "00531745"


def frames_of(*pieces: bytes, max_frame_size: int = 512) -> list[Frame]:
    """Return the frames that a stream cut into these pieces holds."""
    decoder = FrameDecoder(max_frame_size)
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def test_the_headers_are_those_that_the_sdks_expect() -> None:
    """The protocol headers are the SDKs' own."""
    assert bytes(HEADER_FRAME) == AMQP_HEADER
    assert bytes(SASL_HEADER_FRAME) == SASL_HEADER


def test_an_empty_frame_has_eight_bytes() -> None:
    """The frame that only says that its sender lives is the SDKs' own too."""
    assert encode_frame(0, None) == bytes.fromhex("00000008 02 00 0000")
    header, body = eventhub_encode.encode_frame(None)
    assert (header + b"\0\0", body) == (encode_frame(0, None), None)
    assert bytes(EMPTY_FRAME) in encode_frame(0, None)
    assert frames_of(encode_frame(0, None)) == [Frame(0, is_sasl=False, performative=None)]


def test_a_frame_is_a_header_a_performative_and_a_payload() -> None:
    """Size, data offset, type and channel come first, a transfer's part of a message last."""
    frame = encode_frame(5, Transfer(1, 2, b"tag"), b"payload")
    fields: list[Any] = [1, 2, b"tag", *[None] * 8, b"payload"]
    header, body = eventhub_encode.encode_frame(TransferFrame(*fields))
    assert frame == header + b"\0\5" + (body or b"")
    assert frames_of(frame) == [Frame(5, is_sasl=False, performative=Transfer(1, 2, b"tag"), payload=b"payload")]


def test_sasl_frames_have_a_type_of_their_own() -> None:
    """A SASL frame is marked as one, and its last two bytes, which mean nothing, are not read as a channel."""
    frame = encode_frame(0, SaslOutcome(0), sasl=True)
    assert frame[5] == 1
    expected = [Frame(0, is_sasl=True, performative=SaslOutcome(0))]
    assert frames_of(frame) == expected
    assert frames_of(frame[:6] + b"\xff\xff" + frame[8:]) == expected


def test_an_extended_header_is_skipped() -> None:
    """The data offset says where the body begins, whatever stands before it."""
    body = bytes.fromhex(END)
    frame = struct.pack(">IBBH", 16 + len(body), 4, 0, 3) + b"ignored!" + body
    assert frames_of(frame) == [Frame(3, is_sasl=False, performative=End())]
    assert frames_of(struct.pack(">IBBH", 12, 3, 0, 0) + b"more") == [Frame(0, is_sasl=False, performative=None)]


PERFORMATIVES = st.sampled_from([None, Open("container"), Flow(None, 1, 2, 3), Transfer(1), End()])


@no_deadline
@given(st.data(), st.lists(st.tuples(st.integers(0, 65535), PERFORMATIVES, st.binary(max_size=40)), max_size=6))
def test_a_stream_is_the_same_however_it_is_cut(data: st.DataObject, contents: list[tuple[int, Any, bytes]]) -> None:
    """Frames come out in their order and once, whether their bytes arrive one by one or all at once."""
    frames = [
        Frame(
            channel, is_sasl=False, performative=performative, payload=payload if performative == Transfer(1) else b""
        )
        for channel, performative, payload in contents
    ]
    stream = b"".join(encode_frame(frame.channel, frame.performative, frame.payload) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert frames_of(*pieces) == frames
    assert frames_of(*(stream[index : index + 1] for index in range(len(stream)))) == frames


def test_the_frames_before_a_malformed_one_come_first() -> None:
    """What was sent before the malformed frame is handled before the connection ends."""
    decoder = FrameDecoder(512)
    frames = decoder.feed(encode_frame(1, End()) + bytes(8))
    assert next(frames) == Frame(1, is_sasl=False, performative=End())
    with pytest.raises(AmqpDecodeError, match="A frame of 0 bytes"):
        next(frames)


def test_a_frame_may_be_as_large_as_agreed() -> None:
    """A frame of exactly the largest size is taken; one byte more is refused before that byte has come."""
    size = len(encode_frame(0, Transfer(1)))
    frame = encode_frame(0, Transfer(1), bytes(512 - size))
    assert [len(found.payload) for found in frames_of(frame)] == [512 - size]
    with pytest.raises(AmqpDecodeError, match="A frame of 513 bytes; this end takes 8 to 512"):
        frames_of(encode_frame(0, Transfer(1), bytes(513 - size))[:8])


def test_a_limit_below_the_standards_is_a_mistake() -> None:
    """Every peer must take frames of 512 bytes."""
    with pytest.raises(ValueError, match="max_frame_size is at least 512, and 511 was given"):
        FrameDecoder(511)


@pytest.mark.parametrize(
    "octets",
    [
        "00000000 02 00 0000",
        "00000007 02 00 0000",
        "ffffffff 02 00 0000",
        "00000008 00 00 0000",
        "00000008 01 00 0000",
        "00000008 03 00 0000",
        "0000000c ff 00 0000" + END,
        "0000000c 02 02 0000" + END,
        "0000000c 02 01 0000" + END,
        "00000008 02 01 0000",
        "0000000d 02 00 0000" + END + "00",
        "0000000b 02 00 0000 005317",
        "0000000c 02 00 0000 00537045",
        AMQP_HEADER.hex(),
    ],
    ids=[
        "no size",
        "smaller than a header",
        "four gigabytes",
        "a body before the frame",
        "a body within the header",
        "a body behind the frame",
        "a body far behind the frame",
        "an unknown type",
        "an AMQP performative in a SASL frame",
        "an empty SASL frame",
        "a payload behind an end",
        "a performative cut off by its frame",
        "a message's section",
        "a protocol header where a frame belongs",
    ],
)
def test_malformed_frames_are_refused(octets: str) -> None:
    """A frame that breaks a rule is refused with the codec's own error."""
    with pytest.raises(AmqpDecodeError):
        frames_of(bytes.fromhex(octets))


def test_an_error_tells_a_wrong_header_from_a_wrong_body() -> None:
    """A body that begins outside of its frame is named as that."""
    for octets in ("00000008 01 00 0000", "0000000c 04 00 0000" + END):
        with pytest.raises(AmqpFramingError, match="whose body begins at byte"):
            frames_of(bytes.fromhex(octets))


def test_a_performative_stays_within_its_frame() -> None:
    """A performative that goes on in the next frame is refused, though its bytes are there."""
    flow = encode_frame(0, Flow(None, 1, 2, 3))
    shortened = (len(flow) - 2).to_bytes(4, "big") + flow[4:]
    with pytest.raises(AmqpDecodeError, match="Flow ends 2 bytes behind its frame"):
        frames_of(shortened + bytes(16))


def test_a_sasl_performative_does_not_belong_into_an_amqp_frame() -> None:
    """The SASL layer has frames of its own."""
    with pytest.raises(AmqpDecodeError, match="SaslInit does not belong into a frame of this type"):
        frames_of(encode_frame(0, SaslInit("ANONYMOUS")))
