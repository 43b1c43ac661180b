"""Described lists: dataclasses whose fields travel in a list behind a descriptor (OASIS AMQP 1.0, part 1, section 1.4).

Every field is written, trailing nulls included, because the SDKs index fields without looking how many came. A field of the wrong
type and a missing mandatory one are refused when they are read, so that whoever handles a described list need not look again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from fastapi_azure_pool.emulator.amqp import encoding
from fastapi_azure_pool.emulator.amqp.decoding import DECODERS, Decoder
from fastapi_azure_pool.emulator.amqp.value_types import AmqpDecodeError, Array, Symbol

# The default of what the standard demands: the field is never None in what was decoded, and encoding refuses it.
MANDATORY: Any = None


@dataclass(frozen=True, slots=True)
class FieldType:
    """How a field's value is read and written; its decoders are found by constructor, and any other is the wrong type."""

    name: str
    decoders: dict[int, Decoder]
    encode: encoding.Encoder


def _as_is(*codes: int) -> dict[int, Decoder]:
    return {code: DECODERS[code] for code in (0x40, *codes)}


# A field's type is known without being told by its value: its numbers are plain, which is quicker than UInt and the like.
def _plain_0(_data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
    return 0, offset


def _plain_8(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
    return data[offset], offset + 1


def _plain(width: int, *, signed: bool = False) -> Decoder:
    def decode_plain(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        end = offset + width
        return int.from_bytes(data[offset:end], "big", signed=signed), end

    return decode_plain


def _plain_32(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
    end = offset + 4
    return int.from_bytes(data[offset:end]), end


def _symbols(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
    code = data[offset - 1]
    value, end = DECODERS[code](data, offset, depth)
    symbols = value.items if isinstance(value, Array) else (value,)
    if not all(isinstance(symbol, Symbol) for symbol in symbols):
        raise AmqpDecodeError(f"The array at byte {offset} holds something else than symbols")
    return symbols, end


_NULL = _as_is()
BOOLEAN = FieldType("boolean", _as_is(0x41, 0x42, 0x56), encoding.encode_boolean)
UBYTE = FieldType("ubyte", _NULL | {0x50: _plain_8}, encoding.encode_ubyte)
USHORT = FieldType("ushort", _NULL | {0x60: _plain(2)}, encoding.encode_ushort)
UINT = FieldType("uint", _NULL | {0x43: _plain_0, 0x52: _plain_8, 0x70: _plain_32}, encoding.encode_uint)
ULONG = FieldType("ulong", _NULL | {0x44: _plain_0, 0x53: _plain_8, 0x80: _plain(8)}, encoding.encode_ulong)
TIMESTAMP = FieldType("timestamp", _NULL | {0x83: _plain(8, signed=True)}, encoding.encode_timestamp)
BINARY = FieldType("binary", _as_is(0xA0, 0xB0), encoding.encode_binary)
STRING = FieldType("string", _as_is(0xA1, 0xB1), encoding.encode_string)
SYMBOL = FieldType("symbol", _as_is(0xA3, 0xB3), encoding.encode_symbol)
MAP = FieldType("map", _as_is(0xC1, 0xD1), encoding.encode_map)
FIELDS = FieldType("fields", _as_is(0xC1, 0xD1), encoding.encode_fields)
SYMBOLS = FieldType(
    "array of symbols", _NULL | dict.fromkeys((0xA3, 0xB3, 0xE0, 0xF0), _symbols), encoding.encode_symbols
)


class Layout:
    """What a described list's fields are, in their order."""

    def __init__(self, made: type, code: int, symbol: str, types: tuple[FieldType, ...]) -> None:
        self.made = made
        self.code = code
        self.symbol = symbol
        self.types = types
        declared = fields(made)
        self.names = tuple(field.name for field in declared)
        assert len(self.names) == len(types)  # noqa: S101 - an error in this package's own tables
        self.decoders = tuple(field_type.decoders for field_type in types)
        self.encoders = tuple(field_type.encode for field_type in types)
        # In each of AMQP's lists, the mandatory fields are next to each other.
        mandatory = [index for index, field in enumerate(declared) if "None" not in str(field.type)]
        self.mandatory = slice(mandatory[0], mandatory[-1] + 1) if mandatory else slice(0, 0)
        self.prefix = bytes((0x00, 0x53, code))
        self.values_of = attrgetter(*self.names) if len(self.names) > 1 else None


_LAYOUTS: dict[type, Layout] = {}


def register(made: type, code: int, symbol: str, *types: FieldType) -> Layout:
    """Say how a dataclass is read and written: its descriptor as number and as symbol, and its fields' types."""
    layout = _LAYOUTS[made] = Layout(made, code, symbol, types)
    return layout


def encode_composite(buffer: bytearray, composite: Any) -> None:
    """Append a registered dataclass's bytes.

    Raises:
        ValueError: A mandatory field is None, or a number is too large for its field.
        TypeError: The value is of a type that was not registered.
    """
    layout = _LAYOUTS.get(type(composite))
    if layout is None:
        raise TypeError(f"{type(composite).__name__} is no described list of AMQP")
    names = layout.names
    field_values = layout.values_of(composite) if layout.values_of else [getattr(composite, name) for name in names]
    if None in field_values[layout.mandatory]:
        missing = next(name for name, value in zip(names, field_values, strict=True) if value is None)
        raise ValueError(f"{type(composite).__name__} needs its {missing}")
    buffer += layout.prefix
    if not names:
        buffer.append(0x45)
        return
    start = encoding.begin_compound(buffer, 0xC0)
    try:
        for encode, value in zip(layout.encoders, field_values, strict=True):
            if value is None:
                buffer.append(0x40)
            else:
                encode(buffer, value)
    except struct.error as error:
        raise ValueError(f"A number does not fit into its field of {composite!r}") from error
    encoding.end_compound(buffer, start, len(names))


def decode_fields(layout: Layout, data: bytes, offset: int, depth: int) -> tuple[Any, int]:
    """Return the dataclass whose list of fields begins at an offset, and where it ends; may raise one of decoding.MALFORMED."""
    code = data[offset]
    if code == 0xC0:
        count = data[offset + 2]
        end = offset + 2 + data[offset + 1]
        offset += 3
    elif code == 0xD0:
        size, count = _read_two_u32(data, offset + 1)
        end = offset + 5 + size
        offset += 9
    elif code == 0x45:
        count, end = 0, offset + 1
        offset = end
    else:
        raise AmqpDecodeError(f"The fields of {layout.symbol} come with the constructor 0x{code:02x}, not as a list")
    if end > len(data):
        raise AmqpDecodeError(f"{layout.symbol} ends at byte {end}, and the data at {len(data)}")
    if count > len(layout.decoders):
        raise AmqpDecodeError(f"{layout.symbol} has {count} fields, and the standard {len(layout.decoders)}")
    field_values: list[Any] = []
    try:
        for decoders in layout.decoders[:count]:
            code = data[offset]
            if code != 0x40:
                value, offset = decoders[code](data, offset + 1, depth + 1)
                field_values.append(value)
            elif end - offset == count - len(field_values) and data[offset:end] == _NULLS[: end - offset]:
                # nothing but nulls is left, as is usual
                offset = end
                break
            else:
                field_values.append(None)
                offset += 1
    except KeyError as error:
        index = len(field_values)
        raise AmqpDecodeError(
            f"{layout.symbol}'s {layout.names[index]} is of type {layout.types[index].name}, and came as 0x{code:02x}"
        ) from error
    if offset != end:
        raise AmqpDecodeError(f"The fields of {layout.symbol} end at byte {offset}, and its list at {end}")
    mandatory = layout.mandatory
    if len(field_values) < mandatory.stop or None in field_values[mandatory]:
        missing = [*field_values, *[None] * mandatory.stop].index(None, mandatory.start)
        raise AmqpDecodeError(f"{layout.symbol} came without its {layout.names[missing]}")
    return layout.made(*field_values), end


_read_two_u32 = struct.Struct(">II").unpack_from
_NULLS = b"\x40" * 16


def read_descriptor(data: bytes, offset: int, depth: int = 0) -> tuple[Any, int]:
    """Return the descriptor of the described value at an offset, and where what it describes begins."""
    if data[offset] != 0x00:
        raise AmqpDecodeError(f"A described value begins with 0x00, and byte {offset} is 0x{data[offset]:02x}")
    if data[offset + 1] == 0x53:
        return data[offset + 2], offset + 3
    return DECODERS[data[offset + 1]](data, offset + 2, depth + 1)


def by_descriptor(*layouts: Layout) -> dict[Any, Layout]:
    """Return the layouts by each of their two descriptors."""
    return {key: layout for layout in layouts for key in (layout.code, layout.symbol)}


def find_layout(layouts: dict[Any, Layout], descriptor: object, offset: int) -> Layout:
    """Return what a descriptor names."""
    try:
        return layouts[descriptor]
    except (KeyError, TypeError):
        known = ", ".join(sorted({layout.symbol for layout in layouts.values()}))
        raise AmqpDecodeError(f"The descriptor near byte {offset} is {descriptor!r:.60}, and none of {known}") from None


def composite(name: str, *layouts: Layout) -> FieldType:
    """Return the type of a field that holds one of some described lists."""
    known = by_descriptor(*layouts)

    def decode_described(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
        descriptor, offset = read_descriptor(data, offset - 1, depth)
        return decode_fields(find_layout(known, descriptor, offset), data, offset, depth + 1)

    return FieldType(name, _NULL | {0x00: decode_described}, encode_composite)
