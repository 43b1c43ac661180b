"""The events that go to Event Grid: made in a topic's schema, and put together in batches that Azure takes."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from azure.core.messaging import CloudEvent

from fastapi_azure_pool.clients.extras import extra

with extra("eventgrid"):
    from azure.eventgrid import EventGridEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastapi_azure_pool.clients.event_grid_topics import EventGridTopicConfig

Event = EventGridEvent | CloudEvent[Any] | dict[str, Any]

# "Azure Event Grid event schema": an event, and the array that it comes in, has 1 MB at most.
MAX_BATCH_BYTES = 1_048_576

# What stands between two events, and what the SDK adds to each while a request is traced (traceparent and tracestate).
_MARGIN_BYTES = 256


def make_event(
    topic: EventGridTopicConfig, event_type: str, subject: str, data: Any, data_version: str, **attributes: Any
) -> EventGridEvent | CloudEvent[Any]:
    """Give an event in the topic's schema, stamped with an id and the time unless ``attributes`` have them.

    Args:
        topic: Where it goes.
        event_type: What has happened.
        subject: What it is about.
        data: The rest of it.
        data_version: The version of the data's schema; a CloudEvent has no place for it but ``dataschema``.
        attributes: Further arguments of `EventGridEvent`, or of `CloudEvent`, such as ``source``.
    """
    if topic.schema == "EventGridSchema":
        return EventGridEvent(
            data=data, subject=subject, event_type=event_type, data_version=data_version, **attributes
        )
    attributes = {"source": topic.source or topic.name, **attributes}
    return CloudEvent(type=event_type, subject=subject, data=data, **attributes)


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Give the events in order, in lists that are within Azure's limit, each as full as can be; an event beyond it goes alone."""
    batch: list[Event] = []
    size = 0
    for event in events:
        grown = size + _size(event)
        if batch and grown > MAX_BATCH_BYTES:
            yield batch
            grown -= size
            batch = []
        batch.append(event)
        size = grown
    if batch:
        yield batch


def checked_events(topic: EventGridTopicConfig, events: Iterable[Event]) -> list[Event]:
    """Give the events as a list.

    Raises:
        TypeError: One of them is not in the topic's schema.
    """
    wanted = EventGridEvent if topic.schema == "EventGridSchema" else CloudEvent
    found = list(events)
    for event in found:
        if not isinstance(event, (wanted, dict)):
            raise TypeError(
                f"topic {topic.name!r} takes events of {topic.schema}: {wanted.__name__} or a dict like it, not"
                f" {type(event).__name__}"
            )
    return found


def _size(event: Event) -> int:
    """Give how many bytes of a batch an event takes, never less than it will be."""
    if isinstance(event, EventGridEvent):
        document = event.serialize()
    elif isinstance(event, CloudEvent):
        data = event.data
        payload = {"data_base64": base64.b64encode(data).decode()} if isinstance(data, bytes) else {"data": data}
        document = {
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "specversion": event.specversion,
            "time": event.time,
            "dataschema": event.dataschema,
            "datacontenttype": event.datacontenttype,
            "subject": event.subject,
            **payload,
            **(event.extensions or {}),
        }
    else:
        document = event
    # As the SDK does it: in ASCII, so that a character is a byte.
    return len(json.dumps(document, default=str)) + _MARGIN_BYTES
