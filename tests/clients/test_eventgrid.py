"""Event Grid through the official SDK and the emulator: opening, publishing, judging and closing connections."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from typing import TYPE_CHECKING, Annotated, Any

import httpx2
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent
from fastapi import Depends, FastAPI

from fastapi_azure_pool import (
    ConnectionFailed,
    EventGridConfig,
    EventGridPublisher,
    EventGridTopicConfig,
    ManagedEventGridPublisher,
    PoolState,
    health_router,
    managed,
    open_pools,
    pooled,
)
from fastapi_azure_pool.clients.event_grid_access import async_access
from fastapi_azure_pool.clients.event_grid_events import MAX_BATCH_BYTES, batches
from fastapi_azure_pool.clients.eventgrid import EventGridConnector
from fastapi_azure_pool.emulator import Emulator
from tests.clients.event_grid import TOPIC, config_of, events_of, make_topics, signature_of
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIME = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
NO_RETRY = {"retry_total": 0}


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with two topics."""
    async with Emulator() as azure:
        await make_topics(azure)
        yield azure


# Opening -----------------------------------------------------------------------------------------------------------------------


async def test_opening_proves_every_topic_and_publishes_nothing(azure: Emulator) -> None:
    """A connection is opened and proven by one request to each topic, over a TCP connection that is kept; no event arrives."""
    async with events_of(azure) as events:
        assert (events.service, events.pool.ready_connection_count) == ("eventgrid", 1)
        assert (azure.eventgrid_requests.count("POST", TOPIC), azure.eventgrid_requests.total) == (1, 2)
        assert azure.connections("eventgrid").accepted == 2
        await events.emit_event("orders", "order.paid", "orders/7", {})
        assert azure.connections("eventgrid").accepted == 2
        assert azure.eventgrid_requests.total == 3
    assert [len(azure.eventgrid_events(topic)) for topic in ("orders", "cloud")] == [1, 0]
    await eventually(lambda: azure.connections("eventgrid").open == 0)


async def test_each_kind_of_key_authenticates(azure: Emulator) -> None:
    """A key as text or as AzureKeyCredential, and a shared access signature, open connections and publish."""
    for credential in (
        azure.eventgrid_key,
        AzureKeyCredential(azure.eventgrid_key),
        signature_of(azure, "orders"),
    ):
        async with events_of(azure, "orders", credential=credential) as events:
            await events.emit_event("orders", "order.paid", "orders/7", {})
    assert len(azure.eventgrid_events("orders")) == 3


async def test_a_rotated_key_is_used_at_once(azure: Emulator) -> None:
    """Updating the credential that was given changes the key of open connections."""
    credential = AzureKeyCredential(azure.eventgrid_key)
    async with events_of(azure, credential=credential) as events:
        credential.update("d3Jvbmc=")
        with pytest.raises(ClientAuthenticationError):
            await events.emit_event("orders", "order.paid", "orders/7", {})
        credential.update(azure.eventgrid_key)
        await events.emit_event("orders", "order.paid", "orders/7", {})


@pytest.mark.parametrize(
    ("change", "cause"),
    [("key", ClientAuthenticationError), ("topic", ResourceNotFoundError), ("signature", ClientAuthenticationError)],
)
async def test_what_cannot_be_opened_says_why(azure: Emulator, change: str, cause: type[BaseException]) -> None:
    """A wrong key, topic or signature surfaces as ConnectionFailed with the SDK's error, and leaves no connection open."""
    config = config_of(azure)
    credential: Any = azure.eventgrid_key
    if change == "key":
        credential = "d3Jvbmc="
    elif change == "signature":
        credential = signature_of(azure, "cloud")
    else:
        config = EventGridConfig(
            EventGridTopicConfig("orders", azure.eventgrid_endpoint("orders").replace("orders", "none"))
        )
    with pytest.raises(ConnectionFailed) as raised:
        await ManagedEventGridPublisher(config, credential=credential).__aenter__()
    assert isinstance(raised.value.__cause__, cause)
    await eventually(lambda: azure.connections("eventgrid").open == 0)


async def test_nobody_there(azure: Emulator) -> None:
    """Topics that cannot be reached give ConnectionFailed with a ServiceRequestError, and heal when they are back."""
    events = events_of(azure)
    await azure.stop()
    with pytest.raises(ConnectionFailed) as raised:
        await events.open()
    assert isinstance(raised.value.__cause__, ServiceRequestError)
    await azure.start()
    await eventually(lambda: events.pool.ready_connection_count == 1)
    await events.emit_event("orders", "order.paid", "orders/7", {})
    await events.close()


@pytest.mark.parametrize("status", [400, 429])
async def test_an_answer_that_is_no_refusal_proves_a_topic(azure: Emulator, status: int) -> None:
    """What Azure answers an empty list, and a topic that is throttled, do not keep a connection from being opened."""
    with azure.faults.fail(status, service="eventgrid"):
        async with events_of(azure) as events:
            assert events.pool.ready_connection_count == 1
            assert events.throttled_count == (2 if status == 429 else 0)


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_an_answer_that_proves_nothing(azure: Emulator, status: int) -> None:
    """A refusal or a failure is the cause of ConnectionFailed, after one request."""
    with azure.faults.fail(status, service="eventgrid") as fault, pytest.raises(ConnectionFailed) as raised:
        await events_of(azure, "orders").__aenter__()
    assert isinstance(raised.value.__cause__, HttpResponseError)
    assert (raised.value.__cause__.status_code, fault.strikes) == (status, 1)


async def test_at_first_every_topic_must_answer(azure: Emulator) -> None:
    """One topic that does not answer at the start is told, though the other does."""
    with azure.faults.fail(503, service="eventgrid", path=TOPIC), pytest.raises(ConnectionFailed):
        await events_of(azure).__aenter__()


async def test_the_outage_of_one_topic_leaves_the_others_alone(
    azure: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A topic that has answered may be down when a connection is replaced, with a warning; not all of them may."""
    async with events_of(azure) as events:
        (old,) = events.pool.connections
        with azure.faults.drop(service="eventgrid", path=TOPIC), caplog.at_level(logging.WARNING):
            events.pool.expire(old)
            await eventually(lambda: events.pool.ready_connection_count == 1)
            await events.emit_event("cloud", "order.paid", "orders/7", {})
        assert [record.getMessage() for record in caplog.records] == [
            "the Event Grid topic 'orders' does not answer (ServiceRequestError); the others do"
        ]
        with azure.faults.fail(503, service="eventgrid") as fault:
            events.pool.expire(events.pool.connections[0])
            await eventually(lambda: fault.strikes == 2)
            with pytest.raises(ConnectionFailed):
                await events.emit_event("cloud", "order.paid", "orders/7", {})


async def test_opening_that_is_cancelled_leaves_nothing_open(azure: Emulator) -> None:
    """A pool that is closed while it opens a connection leaves no session behind."""
    with azure.faults.delay(30, service="eventgrid") as fault:
        opening = asyncio.create_task(events_of(azure).__aenter__())
        await eventually(lambda: fault.strikes == 2)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await eventually(lambda: azure.connections("eventgrid").open == 0)


async def test_closing_and_opening_again(azure: Emulator) -> None:
    """A managed publisher that was closed opens new connections when it is opened again."""
    events = events_of(azure)
    for _ in range(3):
        async with events:
            await events.emit_event("orders", "order.paid", "orders/7", {})
    assert len(azure.eventgrid_events("orders")) == 3
    assert repr(events).startswith("<ManagedEventGridPublisher eventgrid ")


async def test_a_pool_that_keeps_none_opens_at_the_first_event(azure: Emulator) -> None:
    """With min_size=0 opening sends nothing, and the first event opens a connection."""
    async with events_of(azure, min_size=0) as events:
        assert (azure.eventgrid_requests.total, events.pool.state) == (0, PoolState.OPEN)
        await events.emit_event("orders", "order.paid", "orders/7", {})
        assert azure.eventgrid_requests.total == 3


# Publishing --------------------------------------------------------------------------------------------------------------------


async def test_an_event_in_the_event_grid_schema(azure: Emulator) -> None:
    """emit_event says what it is told and stamps the rest: a version of "v1", an id and the time."""
    async with events_of(azure) as events:
        await events.emit_event("orders", "order.paid", "orders/7", {"total": 12}, "v2", id="1", event_time=TIME)
        await events.emit_event("orders", "order.paid", "orders/8", ["any", "json"])
    first, second = azure.eventgrid_events("orders")
    assert (first.id, first.type, first.subject, first.data, first.data_version, first.time) == (
        "1",
        "order.paid",
        "orders/7",
        {"total": 12},
        "v2",
        TIME,
    )
    assert (second.data, second.data_version, len(second.id)) == (["any", "json"], "v1", 36)
    assert second.time is not None
    assert second.time > TIME


async def test_an_event_in_the_cloud_events_schema(azure: Emulator) -> None:
    """A topic for CloudEvents gets one, from the topic's source unless the sender names another."""
    config = EventGridConfig(
        [
            EventGridTopicConfig("a", azure.eventgrid_endpoint("cloud"), "CloudEventSchemaV1_0", source="/shop"),
            EventGridTopicConfig("b", azure.eventgrid_endpoint("cloud"), "CloudEventSchemaV1_0"),
        ]
    )
    async with ManagedEventGridPublisher(config, credential=azure.eventgrid_key) as events:
        await events.emit_event("a", "order.paid", "orders/7", {"total": 12}, id="1", time=TIME, extensions={"x": "1"})
        await events.emit_event("b", "order.photo", "orders/7", b"\x00\xff")
        await events.emit_event("b", "order.paid", "orders/7", None, source="/other")
    first, second, third = azure.eventgrid_events("cloud")
    assert (first.id, first.source, first.data, first.time, first.extensions) == (
        "1",
        "/shop",
        {"total": 12},
        TIME,
        {"x": "1"},
    )
    assert (second.source, second.type, second.subject, second.data) == ("b", "order.photo", "orders/7", b"\x00\xff")
    assert (third.source, third.data) == ("/other", None)


async def test_many_at_once_share_one_connection(azure: Emulator) -> None:
    """A hundred callers publish over one publisher at once; each event arrives once."""
    async with events_of(azure, "orders", max_size=1) as events:
        await asyncio.gather(*(events.emit_event("orders", "order.paid", "s", n, id=str(n)) for n in range(100)))
    assert sorted(event.data for event in azure.eventgrid_events("orders")) == list(range(100))
    assert events.pool.stats().totals.opened == 1


async def test_many_events_go_in_as_few_requests_as_they_fit_in(azure: Emulator) -> None:
    """emit_events keeps the order and splits at 1 MB; no event makes no request."""
    async with events_of(azure) as events:
        await events.emit_events("orders", [])
        assert azure.eventgrid_requests.count("POST", TOPIC) == 1
        sent = [EventGridEvent("s", "t", {"n": n, "text": "ü" * 50_000}, "v1") for n in range(10)]
        await events.emit_events("orders", iter(sent))
        # "ü" takes six bytes as the SDK writes it: three of these events fit in a request.
        assert azure.eventgrid_requests.count("POST", TOPIC) == 5
        assert [event.data["n"] for event in azure.eventgrid_events("orders")] == list(range(10))
        small: list[Any] = [CloudEvent("/s", "t", data=n, id=str(n)) for n in range(500)]
        await events.emit_events("cloud", small)
        assert azure.eventgrid_requests.count("POST", "/topics/cloud*") == 2
        assert [event.data for event in azure.eventgrid_events("cloud")] == list(range(500))


@pytest.mark.parametrize("kind", ["event grid", "cloud", "cloud bytes", "dict"])
async def test_a_full_batch_is_within_the_limit(azure: Emulator, kind: str) -> None:
    """Batches that are filled to the brim, of any kind of event, are never refused as too large."""
    text = "y" * 3_000
    made: dict[str, Any] = {
        "event grid": lambda: EventGridEvent("s", "t", {"text": text, "when": TIME}, "v1"),
        "cloud": lambda: CloudEvent("/s", "t", data=text, extensions={"traceparent": "0" * 55}),
        "cloud bytes": lambda: CloudEvent("/s", "t", data=text.encode()),
        "dict": lambda: {
            "id": "1",
            "subject": "s",
            "eventType": "t",
            "eventTime": TIME.isoformat(),
            "data": text,
            "dataVersion": "",
        },
    }
    topic = "cloud" if kind.startswith("cloud") else "orders"
    async with events_of(azure, topic, client_options=NO_RETRY) as events:
        await events.emit_events(topic, [made[kind]() for _ in range(700)])
    assert len(azure.eventgrid_events(topic)) == 700
    assert azure.eventgrid_requests.total == 1 + 3


def test_what_stands_between_events_counts() -> None:
    """A batch of thousands of small events, with the commas between them, is within the limit."""
    events: list[Any] = [{"id": str(n), "data": "x" * 80} for n in range(12_000)]
    made = list(batches(events))
    assert [event for batch in made for event in batch] == events
    sizes = [len(json.dumps(batch)) for batch in made]
    assert max(sizes) <= MAX_BATCH_BYTES
    assert len(made) == 5


async def test_a_batch_that_fails_tells_how_many_were_published(azure: Emulator) -> None:
    """The error of a later request carries a note of how many events had been published before it."""
    good = [EventGridEvent("s", "t", "x" * 400_000, "v1", id=str(n)) for n in range(4)]
    async with events_of(azure, "orders") as events:
        with pytest.raises(HttpResponseError, match="unexpected property 'colour'") as raised:
            await events.emit_events("orders", [*good, {"colour": "red"}])
    assert raised.value.__notes__ == ["2 of 5 events were published before this one failed"]
    assert [event.id for event in azure.eventgrid_events("orders")] == ["0", "1"]


async def test_an_event_beyond_the_limit_is_the_caller_s(azure: Emulator) -> None:
    """An event of more than 1 MB goes alone and is refused with 413; the connection stays."""
    async with events_of(azure, "orders", client_options=NO_RETRY) as events:
        (connection,) = events.pool.connections
        with (
            pytest.warns(ResourceWarning, match="large body"),  # aiohttp's
            pytest.raises(HttpResponseError) as raised,
        ):
            await events.emit_events("orders", [EventGridEvent("s", "t", "x" * 1_100_000, "v1")])
        assert raised.value.status_code == 413
        assert events.pool.connections == (connection,)


async def test_what_is_not_in_the_topic_s_schema(azure: Emulator) -> None:
    """Events of the other schema, or none at all, raise TypeError before anything is sent; an unknown topic raises KeyError."""
    async with events_of(azure) as events:
        azure.eventgrid_requests.clear()
        good = EventGridEvent("s", "t", {}, "v1")
        with pytest.raises(
            TypeError, match=r"'cloud' takes events of CloudEventSchemaV1_0: CloudEvent .* not EventGridEvent"
        ):
            await events.emit_events("cloud", [good])
        with pytest.raises(TypeError, match=r"'orders' takes events of EventGridSchema: EventGridEvent .* not str"):
            await events.emit_events("orders", [good, "text"])  # type: ignore[list-item]  # that is refused
        for publish in (events.emit_event("missing", "t", "s", {}), events.emit_events("missing", [good])):
            with pytest.raises(
                KeyError, match=r"there is no Event Grid topic 'missing' .* there are orders, cloud"
            ) as raised:
                await publish
            assert str(raised.value).startswith("there is no")
        async with events.get_publisher() as publisher:
            with pytest.raises(KeyError, match="missing"):
                publisher.get_client("missing")
        assert azure.eventgrid_requests.total == 0


# Who broke it ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 500, 503])
async def test_no_status_retires_a_connection(azure: Emulator, status: int) -> None:
    """An error answer of any status reaches the caller, and says that the connection works."""
    async with events_of(azure, client_options=NO_RETRY) as events:
        (connection,) = events.pool.connections
        with azure.faults.fail(status, service="eventgrid"), pytest.raises(HttpResponseError) as raised:
            await events.emit_event("orders", "order.paid", "orders/7", {})
        seen = raised.value.__cause__ if status == 404 else raised.value
        assert isinstance(seen, HttpResponseError)
        assert seen.status_code == status
        assert (events.pool.connections, connection.is_ready) == ((connection,), True)


async def test_429_is_retried_by_the_sdk_and_counted(azure: Emulator) -> None:
    """Answers 429 with a Retry-After are tried again by the SDK, seen and counted, and the event is published once."""
    async with events_of(azure) as events:
        with azure.faults.throttle(retry_after=0, service="eventgrid", times=1):
            await events.emit_event("orders", "order.paid", "orders/7", {})
        assert events.throttled_count == 1
        assert len(azure.eventgrid_events("orders")) == 1


async def test_a_failure_that_is_tried_again_keeps_the_event_s_id(azure: Emulator) -> None:
    """The SDK tries 500, 503 and 504 again with the same body, so that a receiver can tell a duplicate by its id."""
    async with events_of(azure) as events:
        with azure.faults.fail(503, service="eventgrid", times=1) as fault:
            await events.emit_event("orders", "order.paid", "orders/7", {}, id="1")
    assert (fault.strikes, [event.id for event in azure.eventgrid_events("orders")]) == (1, ["1"])


@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
async def test_a_dropped_attempt_is_the_caller_s_and_retires_the_connection(
    azure: Emulator, when: Any, kept: int
) -> None:
    """An event without an answer is not sent again: its caller is told, also where it was published; the connection goes."""
    async with events_of(azure) as events:
        (old,) = events.pool.connections
        with azure.faults.drop(when, service="eventgrid") as fault, pytest.raises(ServiceRequestError):
            await events.emit_event("orders", "order.paid", "orders/7", {})
        assert (fault.strikes, len(azure.eventgrid_events("orders"))) == (1, kept)
        await eventually(lambda: old not in events.pool.connections and events.pool.ready_connection_count == 1)
        await events.emit_event("orders", "order.paid", "orders/7", {})
        assert events.pool.stats().totals.reported_errors == 1


async def test_an_error_that_the_handler_swallows_retires_the_connection(azure: Emulator) -> None:
    """A handler that catches the SDK's error hides it from the lease, but not from the transport."""
    async with events_of(azure) as events:
        (old,) = events.pool.connections
        async with events.get_publisher() as publisher:
            with azure.faults.drop(service="eventgrid"), pytest.raises(ServiceRequestError):
                await publisher.emit_event("orders", "order.paid", "orders/7", {})
        assert old.should_close


async def test_a_slow_answer_breaks_nothing(azure: Emulator) -> None:
    """A read time-out, set by client_options, is the service's slowness: the connection stays."""
    async with events_of(azure, client_options={"read_timeout": 0.2}) as events:
        (connection,) = events.pool.connections
        with azure.faults.delay(5, service="eventgrid"), pytest.raises(ServiceResponseTimeoutError):
            await events.emit_event("orders", "order.paid", "orders/7", {})
        assert (events.pool.connections, connection.is_ready) == ((connection,), True)


async def test_a_connection_comes_with_time_outs_fit_for_a_request(azure: Emulator) -> None:
    """A pooled connection waits 5 s for a connection and 30 s for an answer, unless client_options say otherwise."""
    for options, wanted in (({}, (5, 30)), ({"connection_timeout": 2, "read_timeout": 7}, (2, 7))):
        async with events_of(azure, client_options=options) as events, events.get_publisher() as publisher:
            config = publisher._transport.connection_config
            assert (config.timeout, config.read_timeout) == wanted
            assert publisher._transport._use_env_settings is False


async def test_a_client_closed_by_its_user_is_replaced_at_the_next_checkout(azure: Emulator) -> None:
    """Leaving ``async with`` over one of the SDK's clients closes the publisher; the pool notices, and gives another one."""
    async with events_of(azure) as events:
        async with events.get_publisher() as publisher, publisher.get_client("orders"):
            assert not publisher.is_closed
        assert publisher.is_closed
        async with events.get_publisher(timeout=5) as other:
            assert other is not publisher
            await other.emit_event("orders", "order.paid", "orders/7", {})
        assert repr(other) == "<EventGridPublisher orders, cloud>"


async def test_a_connector_without_a_reporter_only_raises(azure: Emulator) -> None:
    """A connector that stands alone tells nobody what its transport met; the caller gets the error all the same."""
    config = config_of(azure)
    connector = EventGridConnector(config, async_access(config, None, azure.eventgrid_key))
    publisher = await connector.create()
    assert await connector.ready(publisher)
    with azure.faults.drop(service="eventgrid"), pytest.raises(ServiceRequestError) as raised:
        await publisher.emit_event("orders", "order.paid", "orders/7", {})
    assert connector.is_fatal(raised.value)
    await connector.close(publisher)
    assert connector.is_closed(publisher)


# From an application -----------------------------------------------------------------------------------------------------------

Publisher = Annotated[EventGridPublisher, Depends(pooled("events"), scope="function")]
Events = Annotated[ManagedEventGridPublisher, Depends(managed("events"))]


async def test_handlers_publish_through_pooled_and_managed(azure: Emulator) -> None:
    """A handler publishes over a pooled publisher and through the managed client, and the health route shows the pool."""
    app = FastAPI()
    app.include_router(health_router())

    @app.post("/pooled/{order}")
    async def with_pooled(order: str, publisher: Publisher) -> None:
        await publisher.emit_event("orders", "order.paid", f"orders/{order}", {"order": order})

    @app.post("/managed/{order}")
    async def with_managed(order: str, events: Events) -> None:
        await events.emit_event("cloud", "order.paid", f"orders/{order}", {"order": order})

    async with (
        open_pools(app, events=events_of(azure)),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http,
    ):
        assert [(await http.post(f"/{way}/7")).status_code for way in ("pooled", "managed")] == [200, 200]
        shown = (await http.get("/health/pools/events")).text
    assert json.loads(shown)["service"] == "eventgrid"
    assert azure.eventgrid_key not in shown
    assert [azure.eventgrid_events(topic)[0].data for topic in ("orders", "cloud")] == [{"order": "7"}] * 2
