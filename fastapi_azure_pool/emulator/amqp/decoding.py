"""From bytes to values, made for hostile bytes.

Decoding gives a value or raises AmqpDecodeError, in time and memory proportional to the input: an offset only ever grows, every
compound's end is checked against the bytes that are there, and what costs no bytes is counted.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

from fastapi_azure_pool.emulator.amqp.value_types import (
    AmqpDecodeError,
    Array,
    Buffer,
    Byte,
    Char,
    DecimalBytes,
    Described,
    Float,
    Int,
    Long,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

# As deep as the SDKs and .NET's library read; Python's own stack is far from its end here.
MAX_DEPTH = 64

# Items without bytes of their own could be four billion in an array of nine bytes. Sixteen cost no more memory per byte than
# other values do.
MAX_ZERO_WIDTH_ITEMS = 16

# The hashes of UUIDs can be made to collide by whoever chooses them, and a dict of n of those takes n * n steps.
MAX_PAIRS_WITH_UUID_KEYS = 64


# data, where the value's bytes begin behind its constructor, depth -> the value and where the next one begins
Decoder: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]

# What reading beyond the end or reading wrong text raises.
MALFORMED = (IndexError, struct.error, UnicodeDecodeError)

_COMPOUND = (list, dict, Array, Described)

_read_u16 = struct.Struct(">H").unpack_from
_read_u32 = struct.Struct(">I").unpack_from
_read_two_u32 = struct.Struct(">II").unpack_from
_read_u64 = struct.Struct(">Q").unpack_from
_read_i16 = struct.Struct(">h").unpack_from
_read_i32 = struct.Struct(">i").unpack_from
_read_i64 = struct.Struct(">q").unpack_from
_read_f32 = struct.Struct(">f").unpack_from
_read_f64 = struct.Struct(">d").unpack_from


def decode(data: Buffer, offset: int = 0, /) -> tuple[Any, int]:
    """Return the value that begins at an offset, and where the next one begins.

    Args:
        data: Bytes are read in place, anything else is copied first.
        offset: Where the value's constructor is.

    Raises:
        AmqpDecodeError: The bytes are malformed, end early, or nest deeper than MAX_DEPTH.
    """
    if not isinstance(data, bytes):
        data = bytes(data)
    try:
        value, end = DECODERS[data[offset]](data, offset + 1, 0)
    except MALFORMED as error:
        raise AmqpDecodeError(f"Malformed value at byte {offset}: {error}") from error
    if end > len(data):
        raise AmqpDecodeError(f"The value at byte {offset} ends at {end}, and the data at {len(data)}")
    return value, end


def skip(data: bytes, offset: int) -> int:
    """Return where the value that begins at an offset ends, without decoding what it holds.

    May raise one of MALFORMED; the end that it returns may lie behind the data's.
    """
    left = 1
    while left:
        code = data[offset]
        if code == 0x00:
            # a described value: its descriptor and what it describes
            left += 1
            offset += 1
            continue
        left -= 1
        if DECODERS[code] is _unknown:
            raise AmqpDecodeError(f"The constructor 0x{code:02x} at byte {offset} is unknown here")
        # The constructor's upper half tells the width (part 1, figure 1.3).
        kind = code >> 4
        if kind < 0xA:
            offset += _FIXED_ENDS[kind]
        elif kind & 1:
            offset += 5 + _read_u32(data, offset + 1)[0]
        else:
            offset += 2 + data[offset + 1]
    return offset


_FIXED_ENDS = {0x4: 1, 0x5: 2, 0x6: 3, 0x7: 5, 0x8: 9, 0x9: 17}


# None of these looks whether its bytes are there: an index or struct beyond the end raises, and a slice that came out short
# moves the offset beyond the end of whatever encloses it, which is checked there.


def _unknown(_data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    raise AmqpDecodeError(f"An unknown constructor stands near byte {offset - 1}")


def _null(_data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return None, offset


def _true(_data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return True, offset


def _false(_data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return False, offset


def _boolean(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    octet = data[offset]
    if octet > 1:
        raise AmqpDecodeError(f"The boolean at byte {offset} is neither 0 nor 1, but {octet}")
    return octet == 1, offset + 1


# Numbers of one byte are made once.
_UBYTES = tuple(UByte(octet) for octet in range(256))
_UINTS = tuple(UInt(octet) for octet in range(256))
_ULONGS = tuple(ULong(octet) for octet in range(256))
_BYTES = tuple(Byte(octet - (octet > 127) * 256) for octet in range(256))
_INTS = tuple(Int(octet - (octet > 127) * 256) for octet in range(256))
_LONGS = tuple(Long(octet - (octet > 127) * 256) for octet in range(256))


def _uint_0(_data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _UINTS[0], offset


def _uint_small(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _UINTS[data[offset]], offset + 1


def _uint(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return UInt(_read_u32(data, offset)[0]), offset + 4


def _ulong_0(_data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _ULONGS[0], offset


def _ulong_small(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _ULONGS[data[offset]], offset + 1


def _ulong(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return ULong(_read_u64(data, offset)[0]), offset + 8


def _ubyte(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _UBYTES[data[offset]], offset + 1


def _ushort(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return UShort(_read_u16(data, offset)[0]), offset + 2


def _byte(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _BYTES[data[offset]], offset + 1


def _short(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return Short(_read_i16(data, offset)[0]), offset + 2


def _int_small(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _INTS[data[offset]], offset + 1


def _int(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return Int(_read_i32(data, offset)[0]), offset + 4


def _long_small(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _LONGS[data[offset]], offset + 1


def _long(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return Long(_read_i64(data, offset)[0]), offset + 8


def _timestamp(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return Timestamp(_read_i64(data, offset)[0]), offset + 8


def _float(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return Float(_read_f32(data, offset)[0]), offset + 4


def _double(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return _read_f64(data, offset)[0], offset + 8


def _decimal(width: int) -> Decoder:
    def decode_decimal(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
        return DecimalBytes(data[offset : offset + width]), offset + width

    return decode_decimal


def _char(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return Char(data[offset : offset + 4].decode("utf-32-be")), offset + 4


def _uuid(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    end = offset + 16
    octets = data[offset:end]
    if len(octets) != 16:
        raise AmqpDecodeError(f"The UUID at byte {offset} is cut off")
    return uuid.UUID(bytes=octets), end


def _binary_8(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    end = offset + 1 + data[offset]
    return data[offset + 1 : end], end


def _binary_32(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    end = offset + 4 + _read_u32(data, offset)[0]
    return data[offset + 4 : end], end


def _string_8(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    end = offset + 1 + data[offset]
    return data[offset + 1 : end].decode(), end


def _string_32(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    end = offset + 4 + _read_u32(data, offset)[0]
    return data[offset + 4 : end].decode(), end


# The standard's symbols are ASCII; the SDKs write what their users name, as UTF-8.
def _symbol_8(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    end = offset + 1 + data[offset]
    return Symbol(data[offset + 1 : end].decode()), end


def _symbol_32(data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    end = offset + 4 + _read_u32(data, offset)[0]
    return Symbol(data[offset + 4 : end].decode()), end


def _check_compound(data: bytes, offset: int, count: int, end: int, depth: int) -> None:
    """Refuse at once what would turn out to be malformed, or too deep, only when its items had been read."""
    if end > len(data):
        raise AmqpDecodeError(f"The list, map or array at byte {offset} ends at {end}, and the data at {len(data)}")
    if count > end - offset:
        raise AmqpDecodeError(f"The list or map at byte {offset} claims {count} items in {end - offset} bytes")
    if depth >= MAX_DEPTH:
        raise AmqpDecodeError(f"Values nest deeper than {MAX_DEPTH} levels at byte {offset}")


def _list_0(_data: bytes, offset: int, _depth: int) -> tuple[object, int]:
    return [], offset


def _list_8(data: bytes, offset: int, depth: int) -> tuple[object, int]:
    return _list(data, offset + 2, data[offset + 1], offset + 1 + data[offset], depth)


def _list_32(data: bytes, offset: int, depth: int) -> tuple[object, int]:
    size, count = _read_two_u32(data, offset)
    return _list(data, offset + 8, count, offset + 4 + size, depth)


def _list(data: bytes, offset: int, count: int, end: int, depth: int) -> tuple[object, int]:
    _check_compound(data, offset, count, end, depth)
    depth += 1
    items = []
    for _ in range(count):
        item, offset = DECODERS[data[offset]](data, offset + 1, depth)
        items.append(item)
    if offset != end:
        raise AmqpDecodeError(f"A list's items end at byte {offset}, and the list at {end}")
    return items, end


def _map_8(data: bytes, offset: int, depth: int) -> tuple[object, int]:
    return _map(data, offset + 2, data[offset + 1], offset + 1 + data[offset], depth)


def _map_32(data: bytes, offset: int, depth: int) -> tuple[object, int]:
    size, count = _read_two_u32(data, offset)
    return _map(data, offset + 8, count, offset + 4 + size, depth)


def _map(data: bytes, offset: int, count: int, end: int, depth: int) -> tuple[object, int]:
    _check_compound(data, offset, count, end, depth)
    if count & 1:
        raise AmqpDecodeError(f"The map at byte {offset} has a key without a value")
    depth += 1
    pairs: dict[Any, Any] = {}
    is_large = count > 2 * MAX_PAIRS_WITH_UUID_KEYS
    for _ in range(count >> 1):
        key, offset = DECODERS[data[offset]](data, offset + 1, depth)
        if isinstance(key, _COMPOUND):
            raise AmqpDecodeError(f"The map's key before byte {offset} is no simple value, but a {type(key).__name__}")
        if is_large and isinstance(key, uuid.UUID):
            raise AmqpDecodeError(f"A map of more than {MAX_PAIRS_WITH_UUID_KEYS} pairs has a UUID as a key")
        pairs[key], offset = DECODERS[data[offset]](data, offset + 1, depth)
    if len(pairs) != count >> 1:
        raise AmqpDecodeError("A map has two keys that are equal")
    if offset != end:
        raise AmqpDecodeError(f"A map's items end at byte {offset}, and the map at {end}")
    return pairs, end


def _array_8(data: bytes, offset: int, depth: int) -> tuple[object, int]:
    return _array(data, offset + 2, data[offset + 1], offset + 1 + data[offset], depth)


def _array_32(data: bytes, offset: int, depth: int) -> tuple[object, int]:
    size, count = _read_two_u32(data, offset)
    return _array(data, offset + 8, count, offset + 4 + size, depth)


def _array(data: bytes, offset: int, count: int, end: int, depth: int) -> tuple[object, int]:
    # an array's items may have no width: how many of them there may be is seen below
    _check_compound(data, offset, 0, end, depth)
    if count == 0:
        # The SDKs leave the constructor out when there is nothing to construct.
        return Array(), end
    depth += 1
    code = data[offset]
    offset += 1
    descriptor = None
    is_described = code == 0
    if is_described:
        descriptor, offset = DECODERS[data[offset]](data, offset + 1, depth)
        code = data[offset]
        offset += 1
        if code == 0:
            # each item would be as many objects as there are descriptors, for one byte
            raise AmqpDecodeError(f"The items of the array at byte {offset} have a descriptor of their own descriptor")
    decoder = DECODERS[code]
    items: list[Any]
    if code >> 4 == 4:
        if count > MAX_ZERO_WIDTH_ITEMS:
            raise AmqpDecodeError(f"An array claims {count} items of no width; {MAX_ZERO_WIDTH_ITEMS} are read at most")
        item, offset = decoder(data, offset, depth)
        items = [Described(descriptor, item) if is_described else item] * count
    else:
        if count > end - offset:
            raise AmqpDecodeError(f"The array at byte {offset} claims {count} items in {end - offset} bytes")
        items = []
        for _ in range(count):
            item, offset = decoder(data, offset, depth)
            items.append(Described(descriptor, item) if is_described else item)
    if offset != end:
        raise AmqpDecodeError(f"An array's items end at byte {offset}, and the array at {end}")
    return Array(tuple(items)), end


def _described(data: bytes, offset: int, depth: int) -> tuple[object, int]:
    if depth >= MAX_DEPTH:
        raise AmqpDecodeError(f"Values nest deeper than {MAX_DEPTH} levels at byte {offset}")
    depth += 1
    descriptor, offset = DECODERS[data[offset]](data, offset + 1, depth)
    value, offset = DECODERS[data[offset]](data, offset + 1, depth)
    return Described(descriptor, value), offset


_CONSTRUCTORS: dict[int, Decoder] = {
    0x00: _described,
    0x40: _null,
    0x41: _true,
    0x42: _false,
    0x43: _uint_0,
    0x44: _ulong_0,
    0x45: _list_0,
    0x50: _ubyte,
    0x51: _byte,
    0x52: _uint_small,
    0x53: _ulong_small,
    0x54: _int_small,
    0x55: _long_small,
    0x56: _boolean,
    0x60: _ushort,
    0x61: _short,
    0x70: _uint,
    0x71: _int,
    0x72: _float,
    0x73: _char,
    0x74: _decimal(4),
    0x80: _ulong,
    0x81: _long,
    0x82: _double,
    0x83: _timestamp,
    0x84: _decimal(8),
    0x94: _decimal(16),
    0x98: _uuid,
    0xA0: _binary_8,
    0xA1: _string_8,
    0xA3: _symbol_8,
    0xB0: _binary_32,
    0xB1: _string_32,
    0xB3: _symbol_32,
    0xC0: _list_8,
    0xC1: _map_8,
    0xD0: _list_32,
    0xD1: _map_32,
    0xE0: _array_8,
    0xF0: _array_32,
}
DECODERS: tuple[Decoder, ...] = tuple(_CONSTRUCTORS.get(code, _unknown) for code in range(256))
