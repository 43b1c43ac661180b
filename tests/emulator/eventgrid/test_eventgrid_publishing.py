"""What a topic takes and keeps, through the official SDK and over plain HTTP."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent
from azure.eventgrid.aio import EventGridPublisherClient

from fastapi_azure_pool.emulator import Emulator, PublishedEvent
from tests.emulator.eventgrid.conftest import CLOUD_EVENT, CLOUD_EVENTS, JSON

if TYPE_CHECKING:
    from tests.emulator.eventgrid.conftest import Poster

TIME = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
EVENT = {
    "id": "1",
    "eventType": "order.paid",
    "subject": "orders/7",
    "eventTime": TIME.isoformat(),
    "data": {"total": 12},
    "dataVersion": "v1",
}
CLOUD = {"id": "1", "type": "order.paid", "source": "/shop", "specversion": "1.0", "data": {"total": 12}}


def client_of(azure: Emulator, topic: str, **options: Any) -> EventGridPublisherClient:
    """Return the SDK's client of a topic, which tries nothing again."""
    return EventGridPublisherClient(
        azure.eventgrid_endpoint(topic), AzureKeyCredential(azure.eventgrid_key), **{"retry_total": 0, **options}
    )


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    """Give an event with a field less."""
    return {key: value for key, value in event.items() if key != name}


async def test_event_grid_events_are_kept_as_they_were_sent(azure: Emulator) -> None:
    """One event and a list of two, an object and a dict, can be read in order with all that they say."""
    async with client_of(azure, "orders") as client:
        await client.send(
            EventGridEvent("orders/7", "order.paid", {"total": 12, "lines": [1, None]}, "v1", id="1", event_time=TIME)
        )
        await client.send([EventGridEvent("orders/8", "order.paid", "text", "v2", id="2", event_time=TIME)])
        await client.send([EVENT | {"id": "3"}, EVENT | {"id": "4", "data": None}])
    first, second, third, fourth = azure.eventgrid_events("orders")
    assert first == PublishedEvent(
        id="1",
        type="order.paid",
        subject="orders/7",
        source=None,
        data={"total": 12, "lines": [1, None]},
        data_version="v1",
        time=TIME,
        schema="EventGridSchema",
    )
    assert (second.id, second.subject, second.data, second.data_version) == ("2", "orders/8", "text", "v2")
    assert (third.id, third.data, fourth.id, fourth.data) == ("3", {"total": 12}, "4", None)
    assert azure.eventgrid_requests.count("POST", "/topics/orders/api/events") == 3
    assert azure.eventgrid_events("cloud") == ()


async def test_cloud_events_are_kept_as_they_were_sent(azure: Emulator) -> None:
    """CloudEvents with JSON, with bytes and with extensions can be read in order with all that they say."""
    async with client_of(azure, "cloud") as client:
        await client.send(
            CloudEvent(
                "/shop", "order.paid", data={"total": 12}, subject="orders/7", id="1", time=TIME, dataschema="/s/1"
            )
        )
        await client.send([CloudEvent("/shop", "order.photo", data=b"\x00\xff", id="2", extensions={"tenant": "a"})])
    first, second = azure.eventgrid_events("cloud")
    assert first == PublishedEvent(
        id="1",
        type="order.paid",
        subject="orders/7",
        source="/shop",
        data={"total": 12},
        data_version=None,
        time=TIME,
        schema="CloudEventSchemaV1_0",
        extensions={"dataschema": "/s/1"},
    )
    assert (second.id, second.data, second.subject, second.extensions) == ("2", b"\x00\xff", None, {"tenant": "a"})
    assert second.time is not None


@pytest.mark.parametrize(
    ("topic", "content_type", "body"),
    [
        ("orders", JSON, [EVENT]),
        ("orders", "text/plain", [EVENT]),
        ("orders", JSON, [without(EVENT, "data")]),
        ("orders", JSON, [without(EVENT, "dataVersion")]),
        ("orders", JSON, [EVENT | {"metadataVersion": "1", "topic": ""}]),
        ("orders", JSON, [EVENT | {"eventTime": "2026-01-02T03:04:05Z"}]),
        ("orders", JSON, [EVENT | {"eventTime": "2026-01-02T03:04:05"}]),
        ("cloud", CLOUD_EVENTS, [CLOUD]),
        ("cloud", CLOUD_EVENT, CLOUD),
        ("cloud", JSON, CLOUD),
        ("cloud", CLOUD_EVENTS, [CLOUD | {"time": None, "subject": None, "traceparent": "00-1-2-01", "priority": 3}]),
    ],
)
async def test_good_bodies_are_taken(
    azure: Emulator, post: Poster, topic: str, content_type: str, body: list[Any] | dict[str, Any]
) -> None:
    """What the schemas leave open may be left out; a CloudEvent may come alone or in a list, as its content type says."""
    assert await post(topic, body, content_type=content_type) == (200, {})
    (event,) = azure.eventgrid_events(topic)
    assert (event.id, event.type) == ("1", "order.paid")


async def test_a_time_without_a_zone_is_in_utc(azure: Emulator, post: Poster) -> None:
    """Every time that is read has a zone."""
    await post("orders", [EVENT | {"eventTime": "2026-01-02T03:04:05"}])
    assert azure.eventgrid_events("orders")[0].time == TIME


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            EVENT,
            "to receive event in 'EventGridEvent' schema.* Token Expected: StartArray, Actual Token Received: StartObj",
        ),
        (
            [],
            "This resource is configured to receive event in 'EventGridEvent' schema. The JSON received does not conform",
        ),
        ([[]], "Token Expected: StartObject, Actual Token Received: StartArray"),
        ([EVENT, None], "Token Expected: StartObject, Actual Token Received: Null"),
        ([EVENT, without(EVENT, "id")], "'EventGridEvent' schema and requires 'id' property to be set"),
        ([EVENT | {"id": ""}], "requires 'id' property"),
        ([EVENT | {"subject": 5}], "requires 'subject' property"),
        ([without(EVENT, "eventType")], "requires 'eventType' property"),
        ([without(EVENT, "eventTime")], "requires 'EventTime' property"),
        ([EVENT | {"eventTime": "today"}], "requires 'EventTime' property"),
        ([EVENT | {"dataVersion": 1}], "requires 'dataVersion' property"),
        ([EVENT | {"metadataVersion": "2"}], "'metadataVersion' property must not be set, or be 1"),
        ([EVENT | {"topic": "orders"}], "'topic' property must not be set, or be /subscriptions/.*/topics/orders"),
        ([CLOUD], "Received unexpected property 'type' in JSON which does not conform to the expected schema"),
        ([EVENT | {"colour": "red"}], "Received unexpected property 'colour'"),
        (b"[{", "Unexpected token when reading JSON"),
        (b"\xff", "Unexpected token when reading JSON"),
        (b"[" * 100_000, "Unexpected token when reading JSON"),
    ],
)
async def test_what_is_no_event_grid_event_is_refused(azure: Emulator, post: Poster, body: Any, message: str) -> None:
    """A body that the Event Grid schema does not allow is answered 400 InputJsonInvalid, and nothing of it is kept."""
    status, error = await post("orders", body)
    assert_refused(status, error, 400, "BadRequest", "InputJsonInvalid", message)
    assert azure.eventgrid_events("orders") == ()


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        (JSON, [EVENT], "'CloudEventV10' schema.* Token Expected: StartObject, Actual Token Received: StartArray"),
        (CLOUD_EVENT, [CLOUD], "Token Expected: StartObject, Actual Token Received: StartArray"),
        (CLOUD_EVENTS, CLOUD, "Token Expected: StartArray, Actual Token Received: StartObject"),
        (CLOUD_EVENTS, 5, "Token Expected: StartArray, Actual Token Received: Integer"),
        (CLOUD_EVENTS, [], "The JSON received does not conform to the expected schema"),
        (CLOUD_EVENTS, [without(CLOUD, "id")], "'CloudEventV10' schema and requires 'id' property to be set"),
        (CLOUD_EVENTS, [CLOUD, without(CLOUD, "source")], "requires 'source' property"),
        (CLOUD_EVENTS, [without(CLOUD, "type")], "requires 'type' property"),
        (CLOUD_EVENTS, [without(CLOUD, "specversion")], "requires 'specversion' property"),
        (CLOUD_EVENTS, [CLOUD | {"specversion": "0.3"}], "requires 'specversion' property"),
        (CLOUD_EVENTS, [CLOUD | {"time": "today"}], "requires 'time' property"),
        (CLOUD_EVENTS, [CLOUD | {"subject": 7}], "requires 'subject' property"),
        (CLOUD_EVENTS, [CLOUD | {"dataVersion": "v1"}], "unexpected property 'dataVersion'"),
        (CLOUD_EVENTS, [CLOUD | {"nested": {}}], "unexpected property 'nested'"),
        (CLOUD_EVENTS, [CLOUD | {"data_base64": "AA=="}], "unexpected property 'data_base64'"),
        (CLOUD_EVENTS, [without(CLOUD, "data") | {"data_base64": "?"}], "requires 'data_base64' property"),
    ],
)
async def test_what_is_no_cloud_event_is_refused(
    azure: Emulator, post: Poster, content_type: str, body: Any, message: str
) -> None:
    """A body that CloudEvents does not allow, or that its content type belies, is answered 400, and nothing of it is kept."""
    status, error = await post("cloud", body, content_type=content_type)
    assert_refused(status, error, 400, "BadRequest", "InputJsonInvalid", message)
    assert azure.eventgrid_events("cloud") == ()


async def test_a_megabyte_is_taken_and_not_a_byte_more(azure: Emulator, post: Poster) -> None:
    """A body of 1,048,576 bytes is taken; one byte more is answered 413, which the SDK tells as its error."""
    padding = 1_048_576 - len(json.dumps([EVENT | {"data": ""}]))
    assert await post("orders", [EVENT | {"data": "x" * padding}]) == (200, {})
    status, error = await post("orders", [EVENT | {"data": "x" * (padding + 1)}])
    assert_refused(status, error, 413, "RequestEntityTooLarge", "RequestEntityTooLarge", r"maximum size \(1048576\)")
    async with client_of(azure, "orders") as client:
        with (
            pytest.warns(ResourceWarning, match="large body"),  # aiohttp's, which the SDK does nothing about
            pytest.raises(HttpResponseError, match="has been exceeded") as raised,
        ):
            await client.send(EventGridEvent("s", "t", "x" * 1_100_000, "v1"))
    assert raised.value.status_code == 413
    assert len(azure.eventgrid_events("orders")) == 1


async def test_where_no_topic_is(azure: Emulator, post: Poster) -> None:
    """A topic that is not there, another path, another verb and another version of the API are refused."""
    base = azure.eventgrid_endpoint("orders")
    cases = [
        (404, "POST", base.replace("orders", "missing")),
        (404, "POST", base.removesuffix("/api/events")),
        (404, "POST", f"{base}/more"),
        (404, "GET", base.split("/topics")[0]),
        (405, "GET", base),
        (400, "POST", base),
        (400, "POST", f"{base}?api-version=2024-06-01"),
    ]
    for status, method, url in cases:
        answered, error = await post("orders", [EVENT], method=method, url=url)
        assert (answered, error["code"] != "") == (status, True), url
    url = base.replace("orders", "missing")
    async with EventGridPublisherClient(url, AzureKeyCredential(azure.eventgrid_key)) as client:
        with pytest.raises(ResourceNotFoundError):
            await client.send(EVENT)
    assert azure.eventgrid_events("orders") == ()


def assert_refused(status: int, error: dict[str, Any], wanted: int, code: str, detail: str, message: str) -> None:
    """Check a refusal's status, codes and message, which its details repeat."""
    assert (status, error["code"]) == (wanted, code)
    with pytest.raises(HttpResponseError, match=message):
        raise HttpResponseError(error["message"])
    assert error["details"] == [{"code": detail, "message": error["message"]}]
