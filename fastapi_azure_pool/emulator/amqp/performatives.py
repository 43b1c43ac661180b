"""AMQP's performatives and the described lists in them, as dataclasses, and how their bytes are read and written.

The names are the standard's (OASIS AMQP 1.0, parts 2, 3 and 5) in snake_case. Every field is written, trailing nulls included,
because the SDKs index fields without looking how many came. A field of the wrong type and a missing mandatory one are refused when
they are read, so that whoever handles a performative need not look again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi_azure_pool.emulator.amqp import values
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError, Array, Decoder, Encoder, Symbol

if TYPE_CHECKING:
    from collections.abc import Sequence

# The default of what the standard demands: the field is never None in what was decoded, and encoding refuses it.
_MANDATORY: Any = None


@dataclass(slots=True)
class Open:
    """The first frame of a connection."""

    container_id: str = _MANDATORY
    hostname: str | None = None
    max_frame_size: int | None = None
    channel_max: int | None = None
    idle_time_out: int | None = None
    outgoing_locales: Sequence[str] | None = None
    incoming_locales: Sequence[str] | None = None
    offered_capabilities: Sequence[str] | None = None
    desired_capabilities: Sequence[str] | None = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True)
class Begin:
    """The first frame of a session."""

    remote_channel: int | None = None
    next_outgoing_id: int = _MANDATORY
    incoming_window: int = _MANDATORY
    outgoing_window: int = _MANDATORY
    handle_max: int | None = None
    offered_capabilities: Sequence[str] | None = None
    desired_capabilities: Sequence[str] | None = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True)
class Attach:
    """The first frame of a link."""

    name: str = _MANDATORY
    handle: int = _MANDATORY
    role: bool = _MANDATORY
    snd_settle_mode: int | None = None
    rcv_settle_mode: int | None = None
    source: Source | None = None
    target: Target | None = None
    unsettled: dict[Any, Any] | None = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: Sequence[str] | None = None
    desired_capabilities: Sequence[str] | None = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True)
class Flow:
    """What a session, and with a handle a link, may send."""

    next_incoming_id: int | None = None
    incoming_window: int = _MANDATORY
    next_outgoing_id: int = _MANDATORY
    outgoing_window: int = _MANDATORY
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool | None = None
    echo: bool | None = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True)
class Transfer:
    """A message, or a part of one; its bytes are the frame's payload."""

    handle: int = _MANDATORY
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: int | None = None
    state: DeliveryState | None = None
    resume: bool | None = None
    aborted: bool | None = None
    batchable: bool | None = None


@dataclass(slots=True)
class Disposition:
    """What became of deliveries."""

    role: bool = _MANDATORY
    first: int = _MANDATORY
    last: int | None = None
    settled: bool | None = None
    state: DeliveryState | None = None
    batchable: bool | None = None


@dataclass(slots=True)
class Detach:
    """The last frame of a link."""

    handle: int = _MANDATORY
    closed: bool | None = None
    error: Error | None = None


@dataclass(slots=True)
class End:
    """The last frame of a session."""

    error: Error | None = None


@dataclass(slots=True)
class Close:
    """The last frame of a connection."""

    error: Error | None = None


@dataclass(slots=True)
class SaslMechanisms:
    """The ways to authenticate that a server offers."""

    sasl_server_mechanisms: Sequence[str] = _MANDATORY


@dataclass(slots=True)
class SaslInit:
    """The way to authenticate that a client chose."""

    mechanism: str = _MANDATORY
    initial_response: bytes | None = None
    hostname: str | None = None


@dataclass(slots=True)
class SaslChallenge:
    """A question of the server's."""

    challenge: bytes = _MANDATORY


@dataclass(slots=True)
class SaslResponse:
    """A client's answer to a challenge."""

    response: bytes = _MANDATORY


@dataclass(slots=True)
class SaslOutcome:
    """Whether authentication succeeded: code 0 if it did."""

    code: int = _MANDATORY
    additional_data: bytes | None = None


@dataclass(slots=True)
class Source:
    """Where a link's messages come from."""

    address: str | None = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: dict[Any, Any] | None = None
    distribution_mode: str | None = None
    filter: dict[Any, Any] | None = None
    default_outcome: DeliveryState | None = None
    outcomes: Sequence[str] | None = None
    capabilities: Sequence[str] | None = None


@dataclass(slots=True)
class Target:
    """Where a link's messages go."""

    address: str | None = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: dict[Any, Any] | None = None
    capabilities: Sequence[str] | None = None


@dataclass(slots=True)
class Error:
    """Why a link, a session, a connection or a message was refused."""

    condition: str = _MANDATORY
    description: str | None = None
    info: dict[Any, Any] | None = None


@dataclass(slots=True)
class Received:
    """How much of a message has arrived."""

    section_number: int = _MANDATORY
    section_offset: int = _MANDATORY


@dataclass(slots=True)
class Accepted:
    """The outcome: taken."""


@dataclass(slots=True)
class Rejected:
    """The outcome: not valid."""

    error: Error | None = None


@dataclass(slots=True)
class Released:
    """The outcome: not taken, and as good as before."""


@dataclass(slots=True)
class Modified:
    """The outcome: not taken, and changed."""

    delivery_failed: bool | None = None
    undeliverable_here: bool | None = None
    message_annotations: dict[Any, Any] | None = None


DeliveryState: TypeAlias = Received | Accepted | Rejected | Released | Modified
Performative: TypeAlias = (
    Open
    | Begin
    | Attach
    | Flow
    | Transfer
    | Disposition
    | Detach
    | End
    | Close
    | SaslMechanisms
    | SaslInit
    | SaslChallenge
    | SaslResponse
    | SaslOutcome
)


# --- the types of fields --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldType:
    """How a field's value is read and written; its decoders are found by constructor, and any other is the wrong type."""

    name: str
    decoders: dict[int, Decoder]
    encode: Encoder


def _as_is(*codes: int) -> dict[int, Decoder]:
    return {code: values.DECODERS[code] for code in (0x40, *codes)}


# A field's type is known without being told by its value: its numbers are plain, which is quicker than UInt and the like.
def _plain_0(_data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
    return 0, offset


def _plain_8(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
    return data[offset], offset + 1


def _plain(layout: str) -> Decoder:
    read = struct.Struct(f">{layout}")
    unpack_from, width = read.unpack_from, read.size

    def decode_plain(data: bytes, offset: int, _depth: int) -> tuple[Any, int]:
        return unpack_from(data, offset)[0], offset + width

    return decode_plain


def _symbols(data: bytes, offset: int, depth: int) -> tuple[Any, int]:
    code = data[offset - 1]
    value, end = values.DECODERS[code](data, offset, depth)
    symbols = value.items if isinstance(value, Array) else (value,)
    if not all(isinstance(symbol, Symbol) for symbol in symbols):
        raise AmqpDecodeError(f"The array at byte {offset} holds something else than symbols")
    return symbols, end


_NULL = _as_is()
BOOLEAN = FieldType("boolean", _as_is(0x41, 0x42, 0x56), values.encode_boolean)
UBYTE = FieldType("ubyte", _NULL | {0x50: _plain_8}, values.encode_ubyte)
USHORT = FieldType("ushort", _NULL | {0x60: _plain("H")}, values.encode_ushort)
UINT = FieldType("uint", _NULL | {0x43: _plain_0, 0x52: _plain_8, 0x70: _plain("I")}, values.encode_uint)
ULONG = FieldType("ulong", _NULL | {0x44: _plain_0, 0x53: _plain_8, 0x80: _plain("Q")}, values.encode_ulong)
TIMESTAMP = FieldType("timestamp", _NULL | {0x83: _plain("q")}, values.encode_timestamp)
BINARY = FieldType("binary", _as_is(0xA0, 0xB0), values.encode_binary)
STRING = FieldType("string", _as_is(0xA1, 0xB1), values.encode_string)
SYMBOL = FieldType("symbol", _as_is(0xA3, 0xB3), values.encode_symbol)
MAP = FieldType("map", _as_is(0xC1, 0xD1), values.encode_map)
FIELDS = FieldType("fields", _as_is(0xC1, 0xD1), values.encode_fields)
SYMBOLS = FieldType(
    "array of symbols", _NULL | dict.fromkeys((0xA3, 0xB3, 0xE0, 0xF0), _symbols), values.encode_symbols
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
        self.mandatory: tuple[int, ...] = tuple(
            index for index, field in enumerate(declared) if "None" not in str(field.type)
        )
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
    for index in layout.mandatory:
        if field_values[index] is None:
            raise ValueError(f"{type(composite).__name__} needs its {names[index]}")
    buffer += layout.prefix
    if not names:
        buffer.append(0x45)
        return
    start = values.begin_compound(buffer, 0xD0)
    try:
        for encode, value in zip(layout.encoders, field_values, strict=True):
            if value is None:
                buffer.append(0x40)
            else:
                encode(buffer, value)
    except struct.error as error:
        raise ValueError(f"A number does not fit into its field of {composite!r}") from error
    values.end_compound(buffer, start, len(names))


def decode_fields(layout: Layout, data: bytes, offset: int, depth: int) -> tuple[Any, int]:
    """Return the dataclass whose list of fields begins at an offset, and where it ends; may raise one of values.MALFORMED."""
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
    if depth > values.MAX_DEPTH:
        raise AmqpDecodeError(f"Values nest deeper than {values.MAX_DEPTH} levels at byte {offset}")
    if count > len(layout.decoders):
        raise AmqpDecodeError(f"{layout.symbol} has {count} fields, and the standard {len(layout.decoders)}")
    field_values: list[Any] = []
    try:
        for decoders in layout.decoders[:count]:
            value, offset = decoders[data[offset]](data, offset + 1, depth + 1)
            field_values.append(value)
    except KeyError as error:
        index = len(field_values)
        raise AmqpDecodeError(
            f"{layout.symbol}'s {layout.names[index]} is of type {layout.types[index].name}, and came as 0x{data[offset]:02x}"
        ) from error
    if offset != end:
        raise AmqpDecodeError(f"The fields of {layout.symbol} end at byte {offset}, and its list at {end}")
    for index in layout.mandatory:
        if index >= count or field_values[index] is None:
            raise AmqpDecodeError(f"{layout.symbol} came without its {layout.names[index]}")
    return layout.made(*field_values), end


_read_two_u32 = struct.Struct(">II").unpack_from


def read_descriptor(data: bytes, offset: int, depth: int = 0) -> tuple[Any, int]:
    """Return the descriptor of the described value at an offset, and where what it describes begins."""
    if data[offset] != 0x00:
        raise AmqpDecodeError(f"A described value begins with 0x00, and byte {offset} is 0x{data[offset]:02x}")
    if data[offset + 1] == 0x53:
        return data[offset + 2], offset + 3
    return values.DECODERS[data[offset + 1]](data, offset + 2, depth + 1)


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


_ERROR = composite("error", register(Error, 0x1D, "amqp:error:list", SYMBOL, STRING, FIELDS))
_DELIVERY_STATE = composite(
    "delivery-state",
    register(Received, 0x23, "amqp:received:list", UINT, ULONG),
    register(Accepted, 0x24, "amqp:accepted:list"),
    register(Rejected, 0x25, "amqp:rejected:list", _ERROR),
    register(Released, 0x26, "amqp:released:list"),
    register(Modified, 0x27, "amqp:modified:list", BOOLEAN, BOOLEAN, FIELDS),
)
_NODE = (STRING, UINT, SYMBOL, UINT, BOOLEAN, FIELDS)
_SOURCE = composite(
    "source",
    register(Source, 0x28, "amqp:source:list", *_NODE, SYMBOL, FIELDS, _DELIVERY_STATE, SYMBOLS, SYMBOLS),
)
_TARGET = composite("target", register(Target, 0x29, "amqp:target:list", *_NODE, SYMBOLS))
_EXTENSIONS = (SYMBOLS, SYMBOLS, FIELDS)
_OPEN = (STRING, STRING, UINT, USHORT, UINT, SYMBOLS, SYMBOLS, *_EXTENSIONS)
_BEGIN = (USHORT, UINT, UINT, UINT, UINT, *_EXTENSIONS)
_ATTACH = (STRING, UINT, BOOLEAN, UBYTE, UBYTE, _SOURCE, _TARGET, MAP, BOOLEAN, UINT, ULONG, *_EXTENSIONS)
_FLOW = (UINT, UINT, UINT, UINT, UINT, UINT, UINT, UINT, BOOLEAN, BOOLEAN, FIELDS)
_TRANSFER = (UINT, UINT, BINARY, UINT, BOOLEAN, BOOLEAN, UBYTE, _DELIVERY_STATE, BOOLEAN, BOOLEAN, BOOLEAN)
_PERFORMATIVES = by_descriptor(
    register(Open, 0x10, "amqp:open:list", *_OPEN),
    register(Begin, 0x11, "amqp:begin:list", *_BEGIN),
    register(Attach, 0x12, "amqp:attach:list", *_ATTACH),
    register(Flow, 0x13, "amqp:flow:list", *_FLOW),
    register(Transfer, 0x14, "amqp:transfer:list", *_TRANSFER),
    register(Disposition, 0x15, "amqp:disposition:list", BOOLEAN, UINT, UINT, BOOLEAN, _DELIVERY_STATE, BOOLEAN),
    register(Detach, 0x16, "amqp:detach:list", UINT, BOOLEAN, _ERROR),
    register(End, 0x17, "amqp:end:list", _ERROR),
    register(Close, 0x18, "amqp:close:list", _ERROR),
    register(SaslMechanisms, 0x40, "amqp:sasl-mechanisms:list", SYMBOLS),
    register(SaslInit, 0x41, "amqp:sasl-init:list", SYMBOL, BINARY, STRING),
    register(SaslChallenge, 0x42, "amqp:sasl-challenge:list", BINARY),
    register(SaslResponse, 0x43, "amqp:sasl-response:list", BINARY),
    register(SaslOutcome, 0x44, "amqp:sasl-outcome:list", UBYTE, BINARY),
)


def decode_performative(data: values.Buffer, offset: int = 0) -> tuple[Performative, int]:
    """Return the performative that begins at an offset, and where it ends: there a transfer's payload begins.

    Raises:
        AmqpDecodeError: It is none, it is malformed, a field is of the wrong type, or a mandatory one is missing.
    """
    if not isinstance(data, bytes):
        data = bytes(data)
    try:
        descriptor, start = read_descriptor(data, offset)
        return decode_fields(find_layout(_PERFORMATIVES, descriptor, offset), data, start, 0)
    except values.MALFORMED as error:
        raise AmqpDecodeError(f"Malformed performative at byte {offset}: {error}") from error


def encode_performative(performative: Performative) -> bytes:
    """Return a performative's bytes, every field among them; see ``encode_composite``."""
    buffer = bytearray()
    encode_composite(buffer, performative)
    return bytes(buffer)
