"""From values to bytes, each in the shortest form that its type has."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from fastapi_azure_pool.emulator.amqp.value_types import (
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

Encoder: TypeAlias = Callable[[bytearray, Any], None]


def encode(value: object) -> bytes:
    """Return a value's bytes.

    Args:
        value: None, bool, str, bytes, UUID, float, list, tuple and dict, each as AMQP's type of that kind; a plain int as a long;
            and this module's types.

    Raises:
        TypeError: AMQP has no type for it.
        ValueError: A number is too large for its type, or an array's items differ in type.
    """
    buffer = bytearray()
    encode_into(buffer, value)
    return bytes(buffer)


def encode_into(buffer: bytearray, value: object) -> None:
    """Append a value's bytes to a buffer; see ``encode``."""
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        encoder = _encoder_of_a_subclass(value)
    try:
        encoder(buffer, value)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit into an AMQP {type(value).__name__}") from error


def _encoder_of_a_subclass(value: object) -> Encoder:
    for base in type(value).__mro__:
        if base in _ENCODERS:
            return _ENCODERS[base]
    raise TypeError(f"AMQP has no type for {type(value).__name__}: convert it to one of values.encode's first")


def encode_null(buffer: bytearray, _value: object) -> None:
    """Append a null."""
    buffer.append(0x40)


def encode_boolean(buffer: bytearray, value: object) -> None:
    """Append a boolean."""
    buffer.append(0x41 if value else 0x42)


def encode_uint(buffer: bytearray, value: int) -> None:
    """Append an unsigned integer of 32 bits in its shortest form."""
    buffer += _SMALL_UINTS[value] if 0 <= value < 256 else _U32.pack(0x70, value)


def encode_ulong(buffer: bytearray, value: int) -> None:
    """Append an unsigned integer of 64 bits in its shortest form."""
    buffer += _SMALL_ULONGS[value] if 0 <= value < 256 else _U64.pack(0x80, value)


_SMALL_UINTS = (b"\x43", *(bytes((0x52, number)) for number in range(1, 256)))
_SMALL_ULONGS = (b"\x44", *(bytes((0x53, number)) for number in range(1, 256)))
_U32 = struct.Struct(">BI")
_U64 = struct.Struct(">BQ")
_I32 = struct.Struct(">Bi")
_I64 = struct.Struct(">Bq")


def _encode_int(buffer: bytearray, value: int) -> None:
    if -128 <= value < 128:
        buffer += bytes((0x54, value & 0xFF))
    else:
        buffer += _I32.pack(0x71, value)


def _encode_long(buffer: bytearray, value: int) -> None:
    if -128 <= value < 128:
        buffer += bytes((0x55, value & 0xFF))
    else:
        buffer += _I64.pack(0x81, value)


def _fixed(code: int, layout: str) -> Encoder:
    pack = struct.Struct(f">B{layout}").pack

    def encode_fixed(buffer: bytearray, value: Any) -> None:
        buffer += pack(code, value)

    return encode_fixed


encode_ubyte = _fixed(0x50, "B")
encode_ushort = _fixed(0x60, "H")
encode_timestamp = _fixed(0x83, "q")


def _encode_char(buffer: bytearray, value: str) -> None:
    if len(value) != 1:
        raise ValueError(f"A Char is one character, and {value!r} has {len(value)}")
    buffer.append(0x73)
    buffer += value.encode("utf-32-be")


_DECIMAL_CODES = {4: 0x74, 8: 0x84, 16: 0x94}


def _encode_decimal(buffer: bytearray, value: bytes) -> None:
    if len(value) not in _DECIMAL_CODES:
        raise ValueError(f"A decimal has 4, 8 or 16 bytes, and this one {len(value)}")
    buffer.append(_DECIMAL_CODES[len(value)])
    buffer += value


def encode_uuid(buffer: bytearray, value: uuid.UUID) -> None:
    """Append a UUID."""
    buffer.append(0x98)
    buffer += value.bytes


def _encode_octets(buffer: bytearray, code: int, octets: Buffer) -> None:
    length = len(octets)
    if length < 256:
        buffer.append(code)
        buffer.append(length)
    else:
        buffer += _U32.pack(code + 0x10, length)
    buffer += octets


def encode_binary(buffer: bytearray, value: Buffer) -> None:
    """Append binary data."""
    _encode_octets(buffer, 0xA0, value)


def encode_string(buffer: bytearray, value: str) -> None:
    """Append a string."""
    _encode_octets(buffer, 0xA1, value.encode())


def encode_symbol(buffer: bytearray, value: str) -> None:
    """Append a symbol."""
    _encode_octets(buffer, 0xA3, value.encode())


def begin_compound(buffer: bytearray, code: int) -> int:
    """Append a compound's header in its small form; gives what ``end_compound`` wants."""
    start = len(buffer)
    buffer.append(code)
    buffer += b"\0\0"
    return start


def end_compound(buffer: bytearray, start: int, count: int) -> None:
    """Write a compound's size and count into its header, now that its items are there: in the large form if they need it."""
    size = len(buffer) - start - 2
    if size < 256 and count < 256:
        buffer[start + 1] = size
        buffer[start + 2] = count
    else:
        buffer[start : start + 3] = _LARGE_HEADER.pack(buffer[start] + 0x10, size + 3, count)


_LARGE_HEADER = struct.Struct(">BII")


def encode_list(buffer: bytearray, value: list[Any] | tuple[Any, ...]) -> None:
    """Append a list of anything."""
    if not value:
        buffer.append(0x45)
        return
    start = begin_compound(buffer, 0xC0)
    for item in value:
        encode_into(buffer, item)
    end_compound(buffer, start, len(value))


def encode_map(buffer: bytearray, value: Mapping[Any, Any]) -> None:
    """Append a map whose keys say themselves what they are."""
    start = begin_compound(buffer, 0xC1)
    for key, item in value.items():
        encode_into(buffer, key)
        encode_into(buffer, item)
    end_compound(buffer, start, 2 * len(value))


def encode_fields(buffer: bytearray, value: Mapping[Any, Any]) -> None:
    """Append a map whose keys are symbols when they are str, and ulongs when they are int: fields and annotations."""
    start = begin_compound(buffer, 0xC1)
    for key, item in value.items():
        if isinstance(key, str):
            encode_symbol(buffer, key)
        elif type(key) is int:
            encode_ulong(buffer, key)
        else:
            encode_into(buffer, key)
        encode_into(buffer, item)
    end_compound(buffer, start, 2 * len(value))


def _encode_described(buffer: bytearray, value: Described) -> None:
    buffer.append(0x00)
    encode_into(buffer, value.descriptor)
    encode_into(buffer, value.value)


def _encode_array(buffer: bytearray, value: Array) -> None:
    start = begin_compound(buffer, 0xE0)
    items = value.items
    if items and isinstance(items[0], Described):
        descriptor = items[0].descriptor
        if any(not isinstance(item, Described) or item.descriptor != descriptor for item in items):
            raise ValueError("All items of an array have the same descriptor, or none has one")
        buffer.append(0x00)
        encode_into(buffer, descriptor)
        items = tuple(item.value for item in items)
        if items and isinstance(items[0], Described):
            raise ValueError("The items of an array have one descriptor at most")
    _encode_items(buffer, items)
    end_compound(buffer, start, len(items))


def encode_symbols(buffer: bytearray, value: Iterable[str]) -> None:
    """Append an array of symbols."""
    _encode_array(buffer, Array(tuple(Symbol(symbol) for symbol in value)))


# The constructors that an array's items can share, whatever their values.
_WIDE: dict[int, int] = {
    0x41: 0x56,
    0x42: 0x56,
    0x43: 0x70,
    0x44: 0x80,
    0x45: 0xD0,
    0x52: 0x70,
    0x53: 0x80,
    0x54: 0x71,
    0x55: 0x81,
    0xA0: 0xB0,
    0xA1: 0xB1,
    0xA3: 0xB3,
    0xC0: 0xD0,
    0xC1: 0xD1,
    0xE0: 0xF0,
}


def _encode_items(buffer: bytearray, items: tuple[Any, ...]) -> None:
    """Append the constructor that all items share and then each one's bytes."""
    shared = None
    for item in items:
        octets = encode(item)
        code = octets[0]
        wide = _WIDE.get(code, code)
        if shared is None:
            shared = wide
            buffer.append(wide)
        elif wide != shared:
            raise ValueError("All items of an array are of one type")
        buffer += _widened(code, octets) if wide != code else octets[1:]


def _widened(code: int, octets: bytes) -> bytes:
    """Return the bytes behind the constructor in the widest form, for a value that was encoded in a shorter one."""
    kind = code >> 4
    if code in {0x41, 0x42}:
        return b"\x01" if code == 0x41 else b"\x00"
    if code == 0x45:
        return b"\0\0\0\4\0\0\0\0"
    if kind in {0xC, 0xE}:
        return struct.pack(">II", octets[1] + 3, octets[2]) + octets[3:]
    if kind == 0xA:
        return struct.pack(">I", octets[1]) + octets[2:]
    number = octets[1] if kind == 5 else 0
    if code in {0x54, 0x55} and number > 127:
        number -= 256
    return number.to_bytes(4 if code in {0x43, 0x52, 0x54} else 8, "big", signed=number < 0)


_ENCODERS: dict[type, Encoder] = {
    type(None): encode_null,
    bool: encode_boolean,
    UByte: encode_ubyte,
    UShort: encode_ushort,
    UInt: encode_uint,
    ULong: encode_ulong,
    Byte: _fixed(0x51, "b"),
    Short: _fixed(0x61, "h"),
    Int: _encode_int,
    Long: _encode_long,
    int: _encode_long,
    Timestamp: encode_timestamp,
    Float: _fixed(0x72, "f"),
    float: _fixed(0x82, "d"),
    Char: _encode_char,
    DecimalBytes: _encode_decimal,
    uuid.UUID: encode_uuid,
    bytes: encode_binary,
    bytearray: encode_binary,
    memoryview: encode_binary,
    str: encode_string,
    Symbol: encode_symbol,
    list: encode_list,
    tuple: encode_list,
    dict: encode_map,
    Array: _encode_array,
    Described: _encode_described,
}
