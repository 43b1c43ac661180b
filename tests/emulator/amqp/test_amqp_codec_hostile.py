"""Hostile bytes: whatever arrives gives a value or AmqpDecodeError, in time and memory proportional to what arrived."""

from __future__ import annotations

import sys
import tracemalloc
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp import frames
from fastapi_azure_pool.emulator.amqp.decoding import MAX_PAIRS_WITH_UUID_KEYS, MAX_ZERO_WIDTH_ITEMS
from fastapi_azure_pool.emulator.amqp.frames import FrameDecoder, encode_frame
from fastapi_azure_pool.emulator.amqp.message import Message, Sections, data_sections, decode_message, encode_message
from fastapi_azure_pool.emulator.amqp.performatives import Transfer, decode_performative, encode_performative
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError, Array, decode, encode
from tests.emulator.amqp.amqp_performatives import PERFORMATIVES, any_pair
from tests.emulator.amqp.amqp_values import values

if TYPE_CHECKING:
    from collections.abc import Callable

# a busy machine is no failure
no_deadline = settings(deadline=None, max_examples=120)


def read_sections(data: bytes) -> list[Any]:
    """Return what each section of a message holds, and the message written again."""
    sections = Sections(data)
    decoded = [sections.header, sections.message_annotations, sections.properties, sections.application_properties]
    return [*decoded, sections.body, sections.encode(delivery_annotations=None)]


READERS: dict[str, Callable[[bytes], Any]] = {
    "value": decode,
    "performative": decode_performative,
    "message": decode_message,
    "sections": read_sections,
    "batch": data_sections,
    "frames": lambda data: list(FrameDecoder(512).feed(data)),
}


def is_refused(read: Callable[[bytes], Any], data: bytes) -> bool:
    """Tell whether bytes are refused; any other error than the codec's own goes through."""
    try:
        read(data)
    except AmqpDecodeError:
        return True
    return False


def _compound(code: int, width: int) -> Callable[[tuple[int, int, bytes]], bytes]:
    def assemble(parts: tuple[int, int, bytes]) -> bytes:
        """Give a compound whose size and count are about right: as they should be, plus a little or a lot."""
        size_error, count, items = parts
        size = max(0, len(items) + width + size_error)
        if width == 1:
            return bytes([code, size & 0xFF, count & 0xFF]) + items
        return bytes([code]) + (size & 0xFFFFFFFF).to_bytes(4, "big") + (count & 0xFFFFFFFF).to_bytes(4, "big") + items

    return assemble


_errors = st.just(0) | st.sampled_from([-1, 1, -4, 4, 200, 2**31, 2**32 - 1])
_counts = st.integers(0, 5) | st.sampled_from([17, 255, 2**31, 2**32 - 1])
_constructors = st.sampled_from(
    bytes.fromhex("0040414243444550515253545556606170717273748081828384949 8a0a1a3b0b1b3c0c1d0d1e0f0".replace(" ", ""))
).map(lambda code: bytes([code]))


def _grammar(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    items = st.lists(inner, max_size=5).map(b"".join)
    parts = st.tuples(_errors, _counts, items)
    return st.one_of(
        *(parts.map(_compound(code, 1)) for code in (0xC0, 0xC1, 0xE0)),
        *(parts.map(_compound(code, 4)) for code in (0xD0, 0xD1, 0xF0)),
        st.tuples(inner, inner).map(lambda pair: b"\0" + pair[0] + pair[1]),
        st.tuples(st.integers(0x10, 0x79), inner).map(lambda pair: b"\0\x53" + bytes([pair[0]]) + pair[1]),
        st.tuples(st.sampled_from(b"\xa0\xa1\xa3"), st.binary(max_size=5)).map(
            lambda pair: bytes([pair[0], len(pair[1])]) + pair[1]
        ),
    )


# Nearly values: what the standard's grammar gives, with some sizes and counts wrong.
near_values = st.recursive(_constructors | st.binary(max_size=4), _grammar, max_leaves=10)

valid = st.one_of(
    values(ours_only=True).map(encode),
    any_pair(PERFORMATIVES).map(lambda pair: encode_performative(pair[0])),
    any_pair(PERFORMATIVES).map(lambda pair: encode_frame(0, pair[0], sasl=type(pair[0]).__name__.startswith("Sasl"))),
    st.lists(st.binary(max_size=5), max_size=3).map(
        lambda body: encode_message(Message(message_annotations={"a": 1}, application_properties={"b": "c"}, body=body))
    ),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Give what was valid before some of its bits turned, or some of its bytes were lost, doubled or overwritten."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        damage = draw(st.sampled_from(["bit", "cut", "lose", "double", "most"]))
        if damage == "cut":
            del data[place:]
        elif damage == "lose":
            del data[place : place + draw(st.integers(1, 4))]
        elif damage == "double":
            data[place:place] = data[place : place + draw(st.integers(1, 4))]
        elif damage == "most":
            data[place : place + 4] = b"\xff\xff\xff\xff"
        elif data:
            data[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@no_deadline
@given(st.binary(max_size=64) | near_values | damaged())
def test_any_bytes_give_a_value_or_the_codecs_own_error(data: bytes) -> None:
    """No bytes, made at random or nearly valid, raise anything else, wherever they are read."""
    for read in READERS.values():
        is_refused(read, data)


@no_deadline
@given(st.binary(max_size=64) | near_values | damaged())
def test_what_is_read_can_be_written_again(data: bytes) -> None:
    """A value that was read, from whatever bytes, can be written, and gives itself again."""
    if is_refused(decode, data):
        return
    value, _ = decode(data)
    encoded = encode(value)
    assert encode(decode(encoded)[0]) == encoded


@no_deadline
@given(valid)
def test_no_beginning_of_a_value_is_a_value(data: bytes) -> None:
    """A value that is cut off is refused wherever it is cut, and read when it is whole."""
    if not is_refused(decode, data):
        _, end = decode(data)
        assert all(is_refused(decode, data[:length]) for length in range(end))


@no_deadline
@given(any_pair(PERFORMATIVES))
def test_no_beginning_of_a_performative_is_a_performative(pair: tuple[Any, Any]) -> None:
    """A performative that is cut off is refused wherever it is cut."""
    data = encode_performative(pair[0])
    assert all(is_refused(decode_performative, data[:length]) for length in range(len(data)))


def a_list_of(count: int, item: bytes) -> bytes:
    """Return a list of so many times the same encoded item."""
    items = item * count
    return b"\xd0" + (len(items) + 4).to_bytes(4, "big") + count.to_bytes(4, "big") + items


def nested(depth: int, *, code: int = 0xD0, count: int = 1, before: bytes = b"") -> bytes:
    """Return compounds within compounds, their sizes all true."""
    data = b"\x45"
    for _ in range(depth):
        items = before + data
        data = bytes([code]) + (len(items) + 4).to_bytes(4, "big") + count.to_bytes(4, "big") + items
    return data


# The costliest values that could be found, byte for byte.
COSTLY: dict[str, bytes] = {
    "nulls": a_list_of(50_000, b"\x40"),
    "empty lists": a_list_of(50_000, b"\x45"),
    "empty maps": a_list_of(20_000, bytes.fromhex("c10100")),
    "maps of one pair": a_list_of(10_000, bytes.fromhex("c1030241 40")),
    "empty arrays": a_list_of(20_000, bytes.fromhex("e00100")),
    "arrays of nulls": a_list_of(12_500, bytes([0xE0, 2, MAX_ZERO_WIDTH_ITEMS, 0x40])),
    "arrays of empty lists": a_list_of(12_500, bytes([0xE0, 2, MAX_ZERO_WIDTH_ITEMS, 0x45])),
    "arrays of outcomes": a_list_of(8_000, bytes([0xE0, 5, MAX_ZERO_WIDTH_ITEMS, 0, 0x53, 0x24, 0x45])),
    "an array of described bytes": b"\xf0"
    + (50_008).to_bytes(4, "big")
    + (50_000).to_bytes(4, "big")
    + b"\0\x53\1\x50"
    + bytes(50_000),
    "an array of ubytes": b"\xf0" + (50_005).to_bytes(4, "big") + (50_000).to_bytes(4, "big") + b"\x50" + bytes(50_000),
    "described nulls": a_list_of(16_000, b"\0\x40\x40"),
    "descriptors' descriptors": a_list_of(1_000, b"\0" * 50 + b"\x40" * 51),
    "nesting to the limit": a_list_of(100, nested(60)),
    "small numbers": a_list_of(25_000, b"\x54\x7f"),
    "short symbols": a_list_of(16_000, bytes.fromhex("a30161")),
    "a map of symbols": encode({f"{index:05}": None for index in range(8_000)}),
}


@pytest.mark.parametrize("data", COSTLY.values(), ids=COSTLY)
def test_memory_is_proportional_to_the_input(data: bytes) -> None:
    """The costliest values take a hundred bytes of memory or fewer for each of theirs."""
    decode(encode([1]))
    tracemalloc.start()
    try:
        decoded = decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoded[1] == len(data)
    assert peak < 100 * len(data)


@pytest.mark.parametrize("data", COSTLY.values(), ids=COSTLY)
def test_time_is_proportional_to_the_input(data: bytes) -> None:
    """The costliest values take six calls or fewer for each of their bytes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        decode(data)
    finally:
        sys.setprofile(previous)
    assert 0 < calls < 6 * len(data)


BOMBS: dict[str, bytes] = {
    "lists": nested(20_000),
    "arrays": nested(20_000, code=0xF0),
    "maps": nested(20_000, code=0xD1, count=2, before=b"\x41"),
    "descriptors": b"\0" * 100_000,
    "described values": b"\0\x53\1" * 30_000 + b"\x40",
    "described descriptors": b"\0" * 30_000 + b"\x40" * 30_001,
    "constructors of list": b"\xd0" * 100_000,
    "arrays of described arrays": b"\xf0\0\0\xff\xff\0\0\0\1\0\x53\1" * 8_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("where", ["alone", "in a performative", "in a message"])
def test_nesting_bombs_are_refused(bomb: bytes, where: str) -> None:
    """Nesting beyond the limit is refused with the codec's own error, wherever it is, and long before Python's stack ends."""
    size = (len(bomb) + 4).to_bytes(4, "big")
    if where == "alone":
        assert is_refused(decode, bomb)
    elif where == "in a performative":
        properties = b"\xd1" + (len(bomb) + 5).to_bytes(4, "big") + b"\0\0\0\2\x41" + bomb
        end = b"\0\x53\x1d\xd0" + (len(properties) + 9).to_bytes(4, "big") + b"\0\0\0\3\xa3\1a\xa1\0" + properties
        close = b"\0\x53\x18\xd0" + (len(end) + 4).to_bytes(4, "big") + b"\0\0\0\1" + end
        assert is_refused(decode_performative, close)
        assert is_refused(decode_performative, b"\0\x53\x18\xd0" + size + b"\0\0\0\1" + bomb)
    else:
        assert is_refused(decode_message, b"\0\x53\x77" + bomb)
        is_refused(data_sections, b"\0\x53\x77" + bomb)


def test_colliding_keys_do_not_cost_the_square_of_their_number() -> None:
    """UUIDs can be chosen so that their hashes are equal: a map of many of them is refused before it is built."""
    modulus = sys.hash_info.modulus
    keys = [uuid.UUID(int=1 + index * modulus) for index in range(MAX_PAIRS_WITH_UUID_KEYS + 1)]
    assert len({hash(key) for key in keys}) == 1
    few = encode(dict.fromkeys(keys[:-1]))
    assert decode(few) == (dict.fromkeys(keys[:-1]), len(few))
    with pytest.raises(AmqpDecodeError, match="A map of more than 64 pairs has a UUID as a key"):
        decode(encode(dict.fromkeys(keys)))


def test_arrays_of_no_width_are_read_up_to_a_limit() -> None:
    """Sixteen items of no width are read, and seventeen refused, though they cost the same bytes."""
    assert decode(bytes([0xE0, 2, 16, 0x40]))[0] == Array((None,) * 16)
    with pytest.raises(AmqpDecodeError, match="An array claims 17 items of no width; 16 are read at most"):
        decode(bytes([0xE0, 2, 17, 0x40]))


def test_a_trickle_of_bytes_is_not_joined_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large frame that arrives byte by byte is gathered in one buffer, and joined for its header and once it is whole."""
    frame = encode_frame(0, Transfer(1), bytes(20_000))
    joined: list[int] = []

    def join(gathered: bytearray) -> bytes:
        joined.append(len(gathered))
        return bytes(gathered)

    monkeypatch.setattr(frames, "bytes", join, raising=False)
    decoder = FrameDecoder(len(frame))
    for index in range(len(frame) - 1):
        assert list(decoder.feed(frame[index : index + 1])) == []
    assert [len(found.payload) for found in decoder.feed(frame[-1:])] == [20_000]
    assert joined == [8, len(frame)]
