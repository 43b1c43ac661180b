"""What a hub has received, for tests to look at."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.amqp.message import Sections

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.eventhub.partition import StoredEvent


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event as the hub stored it.

    Attributes:
        body: The bytes of its data; empty when it has another kind of body.
        properties: The application properties.
        partition_id: Where it is.
        partition_key: What put it there, or None.
        sequence_number: Its place in the partition, from 0.
        offset: Its place in the partition in bytes, as text, as the SDK has it.
        enqueued_time: When it came, in UTC.
        message_id: The id that its sender gave it, or None.
    """

    body: bytes
    properties: dict[str, Any]
    partition_id: str
    partition_key: str | None
    sequence_number: int
    offset: str
    enqueued_time: dt.datetime
    message_id: Any


def received_event(event: StoredEvent, partition_id: str) -> ReceivedEvent:
    """Decode one event.

    Raises:
        AmqpDecodeError: What was sent is no message.
    """
    sections = Sections(event.payload)
    body = sections.body
    properties = sections.properties
    return ReceivedEvent(
        body=b"".join(body) if isinstance(body, list) else b"",
        properties=sections.application_properties or {},
        partition_id=partition_id,
        partition_key=event.partition_key,
        sequence_number=event.sequence_number,
        offset=str(event.offset),
        enqueued_time=dt.datetime.fromtimestamp(event.enqueued_at / 1000, dt.UTC),
        message_id=None if properties is None else properties.message_id,
    )
