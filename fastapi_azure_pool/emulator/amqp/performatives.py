"""AMQP's performatives and the described lists in them, as dataclasses (OASIS AMQP 1.0, parts 2, 3 and 5).

The names are the standard's in snake_case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi_azure_pool.emulator.amqp.composites import (
    BINARY,
    BOOLEAN,
    FIELDS,
    MANDATORY,
    MAP,
    STRING,
    SYMBOL,
    SYMBOLS,
    UBYTE,
    UINT,
    ULONG,
    USHORT,
    by_descriptor,
    composite,
    decode_fields,
    encode_composite,
    find_layout,
    read_descriptor,
    register,
)
from fastapi_azure_pool.emulator.amqp.decoding import MALFORMED
from fastapi_azure_pool.emulator.amqp.value_types import AmqpDecodeError, Buffer

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Open:
    """The first frame of a connection."""

    container_id: str = MANDATORY
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
    next_outgoing_id: int = MANDATORY
    incoming_window: int = MANDATORY
    outgoing_window: int = MANDATORY
    handle_max: int | None = None
    offered_capabilities: Sequence[str] | None = None
    desired_capabilities: Sequence[str] | None = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True)
class Attach:
    """The first frame of a link."""

    name: str = MANDATORY
    handle: int = MANDATORY
    role: bool = MANDATORY
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
    incoming_window: int = MANDATORY
    next_outgoing_id: int = MANDATORY
    outgoing_window: int = MANDATORY
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

    handle: int = MANDATORY
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

    role: bool = MANDATORY
    first: int = MANDATORY
    last: int | None = None
    settled: bool | None = None
    state: DeliveryState | None = None
    batchable: bool | None = None


@dataclass(slots=True)
class Detach:
    """The last frame of a link."""

    handle: int = MANDATORY
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

    sasl_server_mechanisms: Sequence[str] = MANDATORY


@dataclass(slots=True)
class SaslInit:
    """The way to authenticate that a client chose."""

    mechanism: str = MANDATORY
    initial_response: bytes | None = None
    hostname: str | None = None


@dataclass(slots=True)
class SaslChallenge:
    """A question of the server's."""

    challenge: bytes = MANDATORY


@dataclass(slots=True)
class SaslResponse:
    """A client's answer to a challenge."""

    response: bytes = MANDATORY


@dataclass(slots=True)
class SaslOutcome:
    """Whether authentication succeeded: code 0 if it did."""

    code: int = MANDATORY
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

    condition: str = MANDATORY
    description: str | None = None
    info: dict[Any, Any] | None = None


@dataclass(slots=True)
class Received:
    """How much of a message has arrived."""

    section_number: int = MANDATORY
    section_offset: int = MANDATORY


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


def decode_performative(data: Buffer, offset: int = 0) -> tuple[Performative, int]:
    """Return the performative that begins at an offset, and where it ends: there a transfer's payload begins.

    Raises:
        AmqpDecodeError: It is none, it is malformed, a field is of the wrong type, or a mandatory one is missing.
    """
    if not isinstance(data, bytes):
        data = bytes(data)
    try:
        if data[offset] == 0x00 and data[offset + 1] == 0x53:
            layout = _PERFORMATIVES.get(data[offset + 2])
            if layout is not None:
                return decode_fields(layout, data, offset + 3, 0)
        descriptor, start = read_descriptor(data, offset)
        return decode_fields(find_layout(_PERFORMATIVES, descriptor, offset), data, start, 0)
    except MALFORMED as error:
        raise AmqpDecodeError(f"Malformed performative at byte {offset}: {error}") from error


def encode_performative(performative: Performative) -> bytes:
    """Return a performative's bytes, every field among them; see ``encode_composite``."""
    buffer = bytearray()
    encode_composite(buffer, performative)
    return bytes(buffer)
