"""Messages: their sections read and written, and changed without touching the other ones (OASIS AMQP 1.0, part 3, section 3.2)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, TypeAlias

from fastapi_azure_pool.emulator.amqp import encoding
from fastapi_azure_pool.emulator.amqp.composites import (
    BINARY,
    BOOLEAN,
    STRING,
    SYMBOL,
    TIMESTAMP,
    UBYTE,
    UINT,
    FieldType,
    decode_fields,
    encode_composite,
    read_descriptor,
    register,
)
from fastapi_azure_pool.emulator.amqp.decoding import DECODERS, MALFORMED, decode, skip
from fastapi_azure_pool.emulator.amqp.value_types import AmqpDecodeError, Symbol, ULong

HEADER = 0x70
DELIVERY_ANNOTATIONS = 0x71
MESSAGE_ANNOTATIONS = 0x72
PROPERTIES = 0x73
APPLICATION_PROPERTIES = 0x74
DATA = 0x75
SEQUENCE = 0x76
VALUE = 0x77
FOOTER = 0x78

# A transfer's message-format when each data section of its message is a message itself.
BATCH_FORMAT = 0x80013700

MessageId: TypeAlias = ULong | uuid.UUID | bytes | str


@dataclass(slots=True)
class Header:
    """How a message is to be delivered."""

    durable: bool | None = None
    priority: int | None = None
    ttl: int | None = None
    first_acquirer: bool | None = None
    delivery_count: int | None = None


@dataclass(slots=True)
class Properties:
    """A message's standard properties; times are milliseconds since 1970."""

    message_id: MessageId | None = None
    user_id: bytes | None = None
    to: str | None = None
    subject: str | None = None
    reply_to: str | None = None
    correlation_id: MessageId | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    absolute_expiry_time: int | None = None
    creation_time: int | None = None
    group_id: str | None = None
    group_sequence: int | None = None
    reply_to_group_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sequences:
    """The body of a message that is made of lists."""

    sections: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Value:
    """The body of a message that is one value."""

    value: Any


# Data sections, lists, one value, or nothing at all.
Body: TypeAlias = list[bytes] | Sequences | Value | None


@dataclass(slots=True)
class Message:
    """A message, decoded."""

    header: Header | None = None
    delivery_annotations: dict[Any, Any] | None = None
    message_annotations: dict[Any, Any] | None = None
    properties: Properties | None = None
    application_properties: dict[Any, Any] | None = None
    body: Body = None
    footer: dict[Any, Any] | None = None


def _encode_message_id(buffer: bytearray, value: MessageId | int) -> None:
    # A message's id may be a ulong, and no other number.
    encoding.encode_into(buffer, ULong(value) if type(value) is int else value)


_MESSAGE_ID = FieldType(
    "message-id",
    {code: DECODERS[code] for code in (0x40, 0x44, 0x53, 0x80, 0x98, 0xA0, 0xB0, 0xA1, 0xB1)},
    _encode_message_id,
)
_HEADER = register(Header, HEADER, "amqp:header:list", BOOLEAN, UBYTE, UINT, BOOLEAN, UINT)
_PROPERTIES = register(
    Properties,
    PROPERTIES,
    "amqp:properties:list",
    *(
        _MESSAGE_ID,
        BINARY,
        STRING,
        STRING,
        STRING,
        _MESSAGE_ID,
        SYMBOL,
        SYMBOL,
        TIMESTAMP,
        TIMESTAMP,
        STRING,
        UINT,
        STRING,
    ),
)
_SYMBOLS = {
    "amqp:header:list": HEADER,
    "amqp:delivery-annotations:map": DELIVERY_ANNOTATIONS,
    "amqp:message-annotations:map": MESSAGE_ANNOTATIONS,
    "amqp:properties:list": PROPERTIES,
    "amqp:application-properties:map": APPLICATION_PROPERTIES,
    "amqp:data:binary": DATA,
    "amqp:amqp-sequence:list": SEQUENCE,
    "amqp:amqp-value:*": VALUE,
    "amqp:footer:map": FOOTER,
}
_NAMES = {code: symbol.split(":")[1] for symbol, code in _SYMBOLS.items()}
_ORDER = (HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES)


class Sections:
    """Where each section of an encoded message is; a section is decoded when it is asked for.

    Args:
        payload: The message's bytes.

    Raises:
        AmqpDecodeError: They are no message: not even the sections' borders can be told.
    """

    __slots__ = ("_bodies", "_payload", "_places")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        # by section, where it begins, where its value begins, where it ends
        self._places: dict[int, tuple[int, int, int]] = {}
        self._bodies: list[tuple[int, int, int, int]] = []
        places, bodies = self._places, self._bodies
        begin, length = 0, len(payload)
        try:
            while begin < length:
                code, start = _section(payload, begin)
                end = _end(payload, start)
                if end > length:
                    raise AmqpDecodeError(f"The {_NAMES[code]} section ends at byte {end}, and the message at {length}")
                if DATA <= code <= VALUE:
                    bodies.append((code, begin, start, end))
                elif code in places:
                    raise AmqpDecodeError(f"The message has two {_NAMES[code]} sections")
                else:
                    places[code] = (begin, start, end)
                begin = end
        except MALFORMED as error:
            raise AmqpDecodeError(f"Malformed message section at byte {begin}: {error}") from error

    @property
    def header(self) -> Header | None:
        """The header."""
        header: Header | None = self._fields(_HEADER, HEADER)
        return header

    @property
    def properties(self) -> Properties | None:
        """The standard properties."""
        properties: Properties | None = self._fields(_PROPERTIES, PROPERTIES)
        return properties

    @property
    def delivery_annotations(self) -> dict[Any, Any] | None:
        """The delivery annotations."""
        return self._map(DELIVERY_ANNOTATIONS)

    @property
    def message_annotations(self) -> dict[Any, Any] | None:
        """The message annotations, keyed by symbol."""
        return self._map(MESSAGE_ANNOTATIONS)

    @property
    def application_properties(self) -> dict[Any, Any] | None:
        """The sender's own properties."""
        return self._map(APPLICATION_PROPERTIES)

    @property
    def footer(self) -> dict[Any, Any] | None:
        """The footer."""
        return self._map(FOOTER)

    @property
    def body(self) -> Body:
        """The body's sections, which are all of one kind."""
        if not self._bodies:
            return None
        kinds = {code for code, _, _, _ in self._bodies}
        if len(kinds) > 1 or (VALUE in kinds and len(self._bodies) > 1):
            raise AmqpDecodeError("A message's body is data sections, sequences, or one value")
        if VALUE in kinds:
            return Value(self._value(self._bodies[0][2]))
        payload = self._payload
        if DATA in kinds:
            return [_octets(payload, start, end) for _, _, start, end in self._bodies]
        sequences = [self._value(start) for _, _, start, _ in self._bodies]
        if not all(isinstance(sequence, list) for sequence in sequences):
            raise AmqpDecodeError("An amqp-sequence section holds something else than a list")
        return Sequences(sequences)

    def encode(self, **replaced: Any) -> bytes:
        """Return the message with some sections replaced, the others' bytes untouched.

        Args:
            **replaced: ``header``, ``delivery_annotations``, ``message_annotations``, ``properties`` and
                ``application_properties`` as in Message; None takes the section away.
        """
        buffer = bytearray()
        payload = self._payload
        for code in _ORDER:
            name = _NAMES[code].replace("-", "_")
            if name in replaced:
                _encode_section(buffer, code, replaced.pop(name))
            elif code in self._places:
                begin, _, end = self._places[code]
                buffer += payload[begin:end]
        if replaced:
            raise TypeError(f"A message has no section {', '.join(replaced)} that can be replaced")
        for _, begin, _, end in self._bodies:
            buffer += payload[begin:end]
        if FOOTER in self._places:
            begin, _, end = self._places[FOOTER]
            buffer += payload[begin:end]
        return bytes(buffer)

    def _value(self, start: int) -> Any:
        # decoding ends where skipping did, or refuses
        return decode(self._payload, start)[0]

    def _map(self, code: int) -> dict[Any, Any] | None:
        if code not in self._places:
            return None
        _, start, _ = self._places[code]
        value = self._value(start)
        if value is not None and not isinstance(value, dict):
            raise AmqpDecodeError(f"The {_NAMES[code]} section holds no map")
        return value

    def _fields(self, layout: Any, code: int) -> Any:
        if code not in self._places:
            return None
        _, start, _ = self._places[code]
        try:
            return decode_fields(layout, self._payload, start, 0)[0]
        except MALFORMED as error:
            raise AmqpDecodeError(f"Malformed {_NAMES[code]} section: {error}") from error


def _section(payload: bytes, offset: int) -> tuple[int, int]:
    """Return which section begins at an offset, and where its value begins."""
    # nearly always: a small number as the descriptor
    if payload[offset] == 0x00 and payload[offset + 1] == 0x53:
        code = payload[offset + 2]
        if HEADER <= code <= FOOTER:
            return code, offset + 3
    descriptor, start = read_descriptor(payload, offset)
    code = _SYMBOLS.get(descriptor, 0) if isinstance(descriptor, Symbol) else descriptor
    if not isinstance(code, int) or code not in _NAMES:
        raise AmqpDecodeError(f"The message has a section {descriptor!r:.60}, which the standard does not know")
    return code, start


def _end(payload: bytes, start: int) -> int:
    """Return where a section's value ends."""
    # nearly always: binary, a list or a map, in their small or in their large forms
    code = payload[start]
    if code in _SMALL_FORMS:
        return start + 2 + payload[start + 1]
    if code in _LARGE_FORMS:
        return start + 5 + int.from_bytes(payload[start + 1 : start + 5])
    return skip(payload, start)


_SMALL_FORMS = frozenset({0xA0, 0xC0, 0xC1})
_LARGE_FORMS = frozenset({0xB0, 0xD0, 0xD1})


def _octets(payload: bytes, start: int, end: int) -> bytes:
    """Return what a data section holds."""
    code = payload[start]
    if code == 0xA0:
        return payload[start + 2 : end]
    if code == 0xB0:
        return payload[start + 5 : end]
    raise AmqpDecodeError(f"A data section comes with the constructor 0x{code:02x}, not as binary")


def _encode_section(buffer: bytearray, code: int, section: Any) -> None:
    if section is None:
        return
    if code in {HEADER, PROPERTIES}:
        encode_composite(buffer, section)
        return
    buffer += bytes((0x00, 0x53, code))
    if code in {DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, FOOTER}:
        encoding.encode_fields(buffer, section)
    elif code == DATA:
        encoding.encode_binary(buffer, section)
    else:
        encoding.encode_into(buffer, section)


def decode_message(data: bytes) -> Message:
    """Return a message, all of it decoded.

    Raises:
        AmqpDecodeError: It is malformed.
    """
    sections = Sections(data)
    return Message(
        sections.header,
        sections.delivery_annotations,
        sections.message_annotations,
        sections.properties,
        sections.application_properties,
        sections.body,
        sections.footer,
    )


def encode_message(message: Message) -> bytes:
    """Return a message's bytes."""
    buffer = bytearray()
    _encode_section(buffer, HEADER, message.header)
    _encode_section(buffer, DELIVERY_ANNOTATIONS, message.delivery_annotations)
    _encode_section(buffer, MESSAGE_ANNOTATIONS, message.message_annotations)
    _encode_section(buffer, PROPERTIES, message.properties)
    _encode_section(buffer, APPLICATION_PROPERTIES, message.application_properties)
    if isinstance(message.body, Value):
        buffer += bytes((0x00, 0x53, VALUE))
        encoding.encode_into(buffer, message.body.value)
    elif isinstance(message.body, Sequences):
        for sequence in message.body.sections:
            _encode_section(buffer, SEQUENCE, sequence)
    elif message.body is not None:
        for octets in message.body:
            _encode_section(buffer, DATA, octets)
    _encode_section(buffer, FOOTER, message.footer)
    return bytes(buffer)


_SMALL_DATA = bytes((0x00, 0x53, DATA, 0xA0))
_LARGE_DATA = bytes((0x00, 0x53, DATA, 0xB0))


def data_sections(payload: bytes) -> list[bytes]:
    """Return what a message's data sections hold: a batch's members, encoded.

    Raises:
        AmqpDecodeError: The borders of its sections can't be told, or a data section holds something else than binary.
    """
    found: list[bytes] = []
    offset, length = 0, len(payload)
    try:
        while offset < length:
            # A batch is little else than these: told by its first bytes, a member costs a third of what the general way does.
            beginning = payload[offset : offset + 4]
            if beginning == _LARGE_DATA:
                start = offset + 8
                offset = start + int.from_bytes(payload[offset + 4 : start])
            elif beginning == _SMALL_DATA:
                start = offset + 5
                offset = start + payload[offset + 4]
            else:
                code, start = _section(payload, offset)
                offset = _end(payload, start)
                if code == DATA:
                    found.append(_octets(payload, start, offset))
                continue
            found.append(payload[start:offset])
        if offset > length:
            raise AmqpDecodeError(f"The message's last section ends at byte {offset}, and the message at {length}")
    except MALFORMED as error:
        raise AmqpDecodeError(f"Malformed message section at byte {offset}: {error}") from error
    return found
