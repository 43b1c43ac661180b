"""Messages between the wire and the broker: what is read of one that was sent, and what one that is delivered carries.

A payload stays as it was sent. Of its sections only those are decoded that the broker decides by, and what the broker adds (a
header, annotations) is put before the sender's bytes where the sender put none. Source: "AMQP 1.0 in Azure Service Bus and Event
Hubs protocol guide", section "Messages".
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, Header, Sections, Value
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError, Int, Long, Symbol, Timestamp
from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage, MessageState, QueuedMessage
from fastapi_azure_pool.emulator.servicebus.errors import not_allowed

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings

_SEQUENCE_NUMBER = Symbol("x-opt-sequence-number")
_ENQUEUED_SEQUENCE_NUMBER = Symbol("x-opt-enqueue-sequence-number")
_ENQUEUED_TIME = Symbol("x-opt-enqueued-time")
_LOCKED_UNTIL = Symbol("x-opt-locked-until")
_PARTITION_KEY = Symbol("x-opt-partition-key")
_SCHEDULED_TIME = Symbol("x-opt-scheduled-enqueue-time")
_MESSAGE_STATE = Symbol("x-opt-message-state")
_REASON = "DeadLetterReason"
_DESCRIPTION = "DeadLetterErrorDescription"

# As ServiceBusMessageState of the SDK; what is locked counts as active.
_DEFERRED = 1
_STATE_NUMBERS = {MessageState.ACTIVE: 0, MessageState.LOCKED: 0, MessageState.SCHEDULED: 2}

# A payload whose first section is one of these has neither a header nor annotations: properties, application properties, body.
_PLAIN_BEGINNINGS = tuple(bytes((0x00, 0x53, code)) for code in range(0x73, 0x78))

# The two prefixes, cut at the numbers that change. Each entry of the map: a symbol, then a long or a timestamp.
_LONG, _TIME = b"\x81", b"\x83"


def _named(name: Symbol, constructor: bytes) -> bytes:
    return bytes((0xA3, len(name))) + name.encode() + constructor


# a list of five fields, the first four null, the last one a uint: the delivery count
_HEADER = b"\x00\x53\x70\xc0\x0a\x05\x40\x40\x40\x40\x70"
_NAMED_SEQUENCE_NUMBER = _named(_SEQUENCE_NUMBER, _LONG)
_NAMED_ENQUEUED_SEQUENCE_NUMBER = _named(_ENQUEUED_SEQUENCE_NUMBER, _LONG)
_NAMED_ENQUEUED_TIME = _named(_ENQUEUED_TIME, _TIME)
_NAMED_LOCKED_UNTIL = _named(_LOCKED_UNTIL, _TIME)


def _map_of(*named: bytes) -> bytes:
    size = 1 + sum(len(name) + 8 for name in named)
    return bytes((0x00, 0x53, 0x72, 0xC1, size, 2 * len(named))) + named[0]


_THREE = (_NAMED_SEQUENCE_NUMBER, _NAMED_ENQUEUED_SEQUENCE_NUMBER, _NAMED_ENQUEUED_TIME)
_MAP_OF_THREE = _map_of(*_THREE)
_MAP_OF_FOUR = _map_of(*_THREE, _NAMED_LOCKED_UNTIL)
_UNLOCKED_PREFIX = struct.Struct(
    f">{len(_HEADER)}sI{len(_MAP_OF_THREE)}sq{len(_NAMED_ENQUEUED_SEQUENCE_NUMBER)}sq{len(_NAMED_ENQUEUED_TIME)}sq"
)
_LOCKED_PREFIX = struct.Struct(f"{_UNLOCKED_PREFIX.format}{len(_NAMED_LOCKED_UNTIL)}sq")


def read_message(payload: bytes) -> BrokeredMessage:
    """Return what the broker makes of an encoded message.

    Raises:
        AmqpDecodeError: It is malformed.
    """
    sections = Sections(payload)
    header, annotations, properties = sections.header, sections.message_annotations, sections.properties
    message = BrokeredMessage(payload)
    if header is not None and header.ttl:
        message.time_to_live = header.ttl / 1000
    if annotations:
        message.partition_key = _text(annotations.get(_PARTITION_KEY))
        scheduled = annotations.get(_SCHEDULED_TIME)
        if isinstance(scheduled, int):
            message.scheduled_time = scheduled / 1000
    if properties is not None:
        message.message_id = properties.message_id
        message.session_id = properties.group_id or None
    return message


def read_delivery(payload: bytes, message_format: int, settings: EntitySettings) -> list[BrokeredMessage]:
    """Return the messages in a delivery: one, or a batch's members.

    Raises:
        AmqpDecodeError: The delivery or a member of the batch is malformed.
        ServiceBusError: The members belong to different sessions or partitions.
    """
    if message_format != BATCH_FORMAT:
        return [read_message(payload)]
    envelope = Sections(payload)
    members = envelope.body
    if not isinstance(members, list) or not members:
        raise AmqpDecodeError("A batch has data sections, one for each message")
    messages = [read_message(member) for member in members]
    _refuse_mixture(envelope, messages, settings)
    return messages


def _refuse_mixture(envelope: Sections, messages: list[BrokeredMessage], settings: EntitySettings) -> None:
    """Refuse a batch that no single partition or session could take.

    The service routes a batch by what its envelope says, which the SDKs copy from the first message; an envelope that says
    nothing (older SDKs) agrees with everything.
    """
    properties, annotations = envelope.properties, envelope.message_annotations or {}
    session = None if properties is None else properties.group_id or None
    partition = _text(annotations.get(_PARTITION_KEY))
    sessions = {message.session_id for message in messages}
    partitions = {message.partition_key for message in messages}
    if session is not None:
        sessions.add(session)
    if partition is not None:
        partitions.add(partition)
    is_mixed = len(sessions) > 1 or len(partitions) > 1
    kind = "partitioning or sessions"
    if settings.partitioned and settings.duplicate_detection_seconds is not None:
        kind = "partitioning and duplicate detection"
        # a partition key or session, where there is one, decides alone
        is_keyed = sessions != {None} or partitions != {None}
        is_mixed = is_mixed or (not is_keyed and len({message.message_id for message in messages}) > 1)
    if is_mixed:
        raise not_allowed(
            "Batching brokered messages with distinct SessionId, PartitionKey, or MessageId is not supported for an entity "
            f"with {kind} enabled."
        )


def write_message(message: BrokeredMessage, *, is_peeked: bool = False) -> bytes:
    """Return a message as a receiver gets it.

    Args:
        message: Which.
        is_peeked: Whether it is only looked at: it says in which state it is then, and nothing of a lock.
    """
    payload = message.payload
    is_locked = message.lock_token is not None and not is_peeked
    if (
        not is_peeked
        and not message.is_deferred
        and message.changed_properties is None
        and message.dead_letter_reason is None
        and message.dead_letter_description is None
        and payload.startswith(_PLAIN_BEGINNINGS)
    ):
        return _prefix(message, is_locked=is_locked) + payload
    sections = Sections(payload)
    header = sections.header or Header()
    header.delivery_count = message.delivery_count
    annotations = {
        **(sections.message_annotations or {}),
        _SEQUENCE_NUMBER: Long(message.sequence_number),
        _ENQUEUED_SEQUENCE_NUMBER: Long(message.enqueued_sequence_number),
        _ENQUEUED_TIME: _timestamp(message.enqueued_time),
    }
    annotations.pop(_LOCKED_UNTIL, None)
    if is_locked:
        annotations[_LOCKED_UNTIL] = _timestamp(message.locked_until)
    if is_peeked or message.is_deferred:
        annotations[_MESSAGE_STATE] = Int(_DEFERRED if message.is_deferred else _STATE_NUMBERS[message.state])
    replaced: dict[str, Any] = {"header": header, "message_annotations": annotations}
    if properties := _added_properties(message):
        replaced["application_properties"] = {**_sender_properties(sections), **properties}
    return sections.encode(**replaced)


def describe(message: BrokeredMessage, *, is_dead: bool) -> QueuedMessage:
    """Return a message as tests look at it."""
    sections = Sections(message.payload)
    try:
        body = sections.body
    except AmqpDecodeError:
        body = None
    if isinstance(body, list):
        octets = b"".join(body)
    elif isinstance(body, Value) and isinstance(body.value, str | bytes):
        octets = body.value.encode() if isinstance(body.value, str) else body.value
    else:
        octets = b""
    scheduled = message.scheduled_time
    return QueuedMessage(
        body=octets,
        message_id=message.message_id,
        session_id=message.session_id,
        partition_key=message.partition_key,
        application_properties={**_sender_properties(sections), **_added_properties(message)},
        sequence_number=message.sequence_number,
        delivery_count=message.delivery_count,
        state="dead-lettered" if is_dead else message.state.value,
        enqueued_time=None if message.state is MessageState.SCHEDULED else _datetime(message.enqueued_time),
        scheduled_time=None if scheduled is None else _datetime(scheduled),
        dead_letter_reason=message.dead_letter_reason,
        dead_letter_description=message.dead_letter_description,
    )


def _sender_properties(sections: Sections) -> dict[str, Any]:
    """Return the sender's application properties; none where they are malformed, as nobody looked when they were sent."""
    try:
        return sections.application_properties or {}
    except AmqpDecodeError:
        return {}


def _added_properties(message: BrokeredMessage) -> dict[str, Any]:
    """Return the application properties that were not the sender's."""
    properties = dict(message.changed_properties or {})
    if message.dead_letter_reason is not None:
        properties[_REASON] = message.dead_letter_reason
    if message.dead_letter_description is not None:
        properties[_DESCRIPTION] = message.dead_letter_description
    return properties


def _prefix(message: BrokeredMessage, *, is_locked: bool) -> bytes:
    """Return the header and the annotations of a message that came without."""
    sequence_number = message.sequence_number
    if is_locked:
        return _LOCKED_PREFIX.pack(
            _HEADER,
            message.delivery_count,
            _MAP_OF_FOUR,
            sequence_number,
            _NAMED_ENQUEUED_SEQUENCE_NUMBER,
            message.enqueued_sequence_number,
            _NAMED_ENQUEUED_TIME,
            round(message.enqueued_time * 1000),
            _NAMED_LOCKED_UNTIL,
            round(message.locked_until * 1000),
        )
    return _UNLOCKED_PREFIX.pack(
        _HEADER,
        message.delivery_count,
        _MAP_OF_THREE,
        sequence_number,
        _NAMED_ENQUEUED_SEQUENCE_NUMBER,
        message.enqueued_sequence_number,
        _NAMED_ENQUEUED_TIME,
        round(message.enqueued_time * 1000),
    )


def _timestamp(seconds: float) -> Timestamp:
    return Timestamp(round(seconds * 1000))


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
