"""The two schemas in which a topic takes events: what a body must hold, and what is read from it.

Sources: "Azure Event Grid event schema"; "CloudEvents v1.0 schema with Azure Event Grid"; the CloudEvents specification 1.0.2 with
its JSON format. Where Azure's wording of a refusal is known, it is that.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from fastapi_azure_pool.emulator.eventgrid.errors import EventGridError, invalid_input
from fastapi_azure_pool.emulator.signing import iso_time

if TYPE_CHECKING:
    import datetime as dt

Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]
SCHEMAS: tuple[Schema, ...] = get_args(Schema)

# What Azure's messages call the schemas.
_NAMES: dict[Schema, str] = {"EventGridSchema": "EventGridEvent", "CloudEventSchemaV1_0": "CloudEventV10"}

_EVENT_GRID_FIELDS = frozenset(
    {"data", "dataVersion", "eventTime", "eventType", "id", "metadataVersion", "subject", "topic"}
)
_CLOUD_EVENT_FIELDS = frozenset(
    {
        "data",
        "data_base64",
        "datacontenttype",
        "dataschema",
        "id",
        "source",
        "specversion",
        "subject",
        "time",
        "type",
    }
)
_EXTENSION_NAME = re.compile(r"[a-z0-9]+\Z")
_BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """One event as a topic received it.

    Attributes:
        id: What its publisher calls it.
        type: What has happened.
        subject: What it is about; None where a CloudEvent has none.
        source: What a CloudEvent comes from; None in the Event Grid schema, where Azure stamps the topic on.
        data: The rest of it: whatever JSON can say, or bytes where a CloudEvent has ``data_base64``; None without.
        data_version: The version of the data's schema in the Event Grid schema, "" where it has none; None in a CloudEvent.
        time: When it happened, by its publisher's clock; None where a CloudEvent does not tell.
        schema: The schema that it came in.
        extensions: What else a CloudEvent says, ``datacontenttype`` and ``dataschema`` included.
    """

    id: str
    type: str
    subject: str | None
    source: str | None
    data: Any
    data_version: str | None
    time: dt.datetime | None
    schema: Schema
    extensions: dict[str, Any] = field(default_factory=dict)


def parse_events(body: bytes, content_type: str, schema: Schema, topic_id: str) -> list[PublishedEvent]:
    """Read the events of one request, all or none.

    Args:
        body: The request's body.
        content_type: Its media type, which tells whether a topic for CloudEvents gets one or several.
        schema: The topic's schema.
        topic_id: What a topic named by an event must be.

    Raises:
        EventGridError: 400, the body is not what the schema asks for.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_input(f"Unexpected token when reading JSON: {error}.") from error
    media_type = content_type.partition(";")[0].strip().lower()
    if schema == "EventGridSchema" or media_type == _BATCH:
        if not isinstance(document, list):
            raise _wrong_token(schema, "StartArray", document)
    else:
        if not isinstance(document, dict):
            raise _wrong_token(schema, "StartObject", document)
        document = [document]
    if not document:
        raise _not_conforming(schema)
    if not all(isinstance(event, dict) for event in document):
        raise _wrong_token(schema, "StartObject", next(event for event in document if not isinstance(event, dict)))
    if schema == "EventGridSchema":
        return [_event_grid_event(event, topic_id) for event in document]
    return [_cloud_event(event) for event in document]


def _event_grid_event(event: dict[str, Any], topic_id: str) -> PublishedEvent:
    schema: Schema = "EventGridSchema"
    for name in event:
        if name not in _EVENT_GRID_FIELDS:
            raise _unexpected(schema, name)
    for name in ("id", "subject", "eventType", "eventTime"):
        _require_text(event, name, schema)
    if event.get("topic") not in (None, "", topic_id):
        raise invalid_input(
            f"This resource is configured for '{_NAMES[schema]}' schema: the 'topic' property must not be set, or be {topic_id}."
        )
    if event.get("metadataVersion") not in (None, "", "1"):
        raise invalid_input(
            f"This resource is configured for '{_NAMES[schema]}' schema: the 'metadataVersion' property must not be set, or be 1."
        )
    data_version = event.get("dataVersion") or ""
    if not isinstance(data_version, str):
        raise _requires(schema, "dataVersion")
    return PublishedEvent(
        id=event["id"],
        type=event["eventType"],
        subject=event["subject"],
        source=None,
        data=event.get("data"),
        data_version=data_version,
        time=_time(event["eventTime"], "eventTime", schema),
        schema=schema,
    )


def _cloud_event(event: dict[str, Any]) -> PublishedEvent:
    schema: Schema = "CloudEventSchemaV1_0"
    for name in ("id", "source", "type", "specversion"):
        _require_text(event, name, schema)
    if event["specversion"] != "1.0":
        raise _requires(schema, "specversion")
    for name, value in event.items():
        if name not in _CLOUD_EVENT_FIELDS and not (_EXTENSION_NAME.match(name) and _is_scalar(value)):
            raise _unexpected(schema, name)
    for name in ("subject", "time", "datacontenttype", "dataschema", "data_base64"):
        if event.get(name) is not None:
            _require_text(event, name, schema)
    data = event.get("data")
    encoded = event.get("data_base64")
    if encoded is not None:
        if data is not None:
            raise _unexpected(schema, "data_base64")
        try:
            data = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise _requires(schema, "data_base64") from error
    known = _CLOUD_EVENT_FIELDS - {"datacontenttype", "dataschema"}
    return PublishedEvent(
        id=event["id"],
        type=event["type"],
        subject=event.get("subject"),
        source=event["source"],
        data=data,
        data_version=None,
        time=None if event.get("time") is None else _time(event["time"], "time", schema),
        schema=schema,
        extensions={name: value for name, value in event.items() if name not in known and value is not None},
    )


def _require_text(event: dict[str, Any], name: str, schema: Schema) -> None:
    if not isinstance(event.get(name), str) or not event[name]:
        raise _requires(schema, name)


def _time(text: str, name: str, schema: Schema) -> dt.datetime:
    time = iso_time(text)
    if time is None:
        raise _requires(schema, name)
    return time


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def _requires(schema: Schema, name: str) -> EventGridError:
    shown = "EventTime" if name == "eventTime" else name  # the one that Azure is known to write so
    return invalid_input(
        f"This resource is configured for '{_NAMES[schema]}' schema and requires '{shown}' property to be set."
    )


def _unexpected(schema: Schema, name: str) -> EventGridError:
    return invalid_input(
        f"This resource is configured for '{_NAMES[schema]}' schema. Received unexpected property '{name}' in JSON which does"
        " not conform to the expected schema."
    )


def _not_conforming(schema: Schema, tokens: str = "") -> EventGridError:
    return invalid_input(
        f"This resource is configured to receive event in '{_NAMES[schema]}' schema. The JSON received does not conform to the"
        f" expected schema.{tokens}"
    )


def _wrong_token(schema: Schema, expected: str, document: object) -> EventGridError:
    kinds = {dict: "StartObject", list: "StartArray", str: "String", bool: "Boolean", int: "Integer", float: "Float"}
    actual = kinds.get(type(document), "Null")
    return _not_conforming(schema, f" Token Expected: {expected}, Actual Token Received: {actual}.")
