"""Event Grid as a part of the emulator: topics, faults, connections and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.eventgrid import EventGridEvent
from azure.eventgrid.aio import EventGridPublisherClient

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.eventgrid import topic as topic_module

if TYPE_CHECKING:
    from tests.emulator.eventgrid.conftest import Poster

EVENT = {"id": "1", "eventType": "t", "subject": "s", "eventTime": "2026-01-02T03:04:05Z"}


async def send(azure: Emulator, topic: str = "orders", **options: Any) -> None:
    """Publish one event with the SDK, which tries nothing again unless told to."""
    url, credential = azure.eventgrid_endpoint(topic), AzureKeyCredential(azure.eventgrid_key)
    async with EventGridPublisherClient(url, credential, **{"retry_total": 0, **options}) as client:
        await client.send(EventGridEvent("s", "t", {}, "v1"))


@pytest.mark.parametrize("name", ["ab", "a" * 51, "or_ders", "or/ders", ""])
async def test_a_name_that_azure_refuses(name: str) -> None:
    """A topic's name has 3 to 50 letters, digits and hyphens."""
    with pytest.raises(ValueError, match="must have 3 to 50 letters, digits or hyphens"):
        await Emulator().create_eventgrid_topic(name)


async def test_what_cannot_be_made_or_found(azure: Emulator) -> None:
    """A name that is taken, a schema that is none, and a topic that is not there are told with what there is."""
    with pytest.raises(ValueError, match="there is a topic 'orders' already"):
        await azure.create_eventgrid_topic("orders")
    with pytest.raises(
        ValueError, match="schema='Custom' is unknown: write one of EventGridSchema, CloudEventSchemaV1_0"
    ):
        await azure.create_eventgrid_topic("other", "Custom")  # type: ignore[arg-type]  # that is refused
    with pytest.raises(ValueError, match="no Event Grid topic 'missing'; there are orders, cloud"):
        azure.eventgrid_events("missing")
    with pytest.raises(ValueError, match=r"there are none: make it with create_eventgrid_topic\(\)"):
        Emulator().eventgrid_events("missing")


async def test_topics_and_events_survive_a_restart(azure: Emulator) -> None:
    """A stopped emulator keeps its topics, their events and its port."""
    await send(azure)
    url = azure.eventgrid_endpoint("orders")
    await azure.stop()
    await azure.start()
    await send(azure)
    assert azure.eventgrid_endpoint("orders") == url
    assert len(azure.eventgrid_events("orders")) == 2


async def test_a_load_test_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic remembers so many events and forgets the oldest."""
    monkeypatch.setattr(topic_module, "_MAX_REMEMBERED", 2)
    async with Emulator() as azure:
        await azure.create_eventgrid_topic("orders")
        for _ in range(3):
            await send(azure)
        assert len(azure.eventgrid_events("orders")) == 2


async def test_the_environment_names_the_first_topic(azure: Emulator) -> None:
    """The variables name the first topic's endpoint and the key; without a topic, the key alone."""
    assert azure.environment["AZURE_EVENTGRID_TOPIC_ENDPOINT"] == azure.eventgrid_endpoint("orders")
    assert azure.environment["AZURE_EVENTGRID_KEY"] == azure.eventgrid_key
    async with Emulator() as other:
        assert "AZURE_EVENTGRID_TOPIC_ENDPOINT" not in other.environment
        assert other.environment["AZURE_EVENTGRID_KEY"] == azure.eventgrid_key


async def test_throttling_tells_when_to_come_back(azure: Emulator, post: Poster) -> None:
    """A throttled request is answered 429 with Retry-After in whole seconds, which the SDK heeds and tries again."""
    url = f"{azure.eventgrid_endpoint('orders')}?api-version=2018-01-01"
    async with aiohttp.ClientSession() as session:
        with azure.faults.throttle(retry_after=1.2, service="eventgrid"):
            async with session.post(url, json=[EVENT], headers=post.headers) as response:
                error = (await response.json())["error"]
                assert (response.status, response.headers["retry-after"]) == (429, "2")
    assert error["code"] == "TooManyRequests"
    with azure.faults.throttle(retry_after=0, service="eventgrid", times=1) as fault:
        await send(azure, retry_total=1)
    assert (fault.strikes, len(azure.eventgrid_events("orders"))) == (1, 1)


async def test_faults_strike_one_topic(azure: Emulator) -> None:
    """Failures and refused authorization are Event Grid's own errors, and a path narrows them to a topic."""
    with azure.faults.fail(503, service="eventgrid", path="/topics/cloud/*"):
        await send(azure)
    with azure.faults.fail(500, service="eventgrid"), pytest.raises(HttpResponseError) as raised:
        await send(azure)
    assert raised.value.status_code == 500
    with azure.faults.reject_authorization(service="eventgrid"), pytest.raises(ClientAuthenticationError):
        await send(azure)
    with azure.faults.delay(0.001, service="eventgrid") as fault:
        await send(azure)
    assert (fault.strikes, len(azure.eventgrid_events("orders"))) == (1, 2)


@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
async def test_a_dropped_connection_may_have_published(azure: Emulator, when: Any, kept: int) -> None:
    """A connection that is reset before a request is handled keeps nothing; after it, the event is there."""
    with azure.faults.drop(when, service="eventgrid"), pytest.raises(AzureError):
        await send(azure)
    assert len(azure.eventgrid_events("orders")) == kept
    assert azure.connections("eventgrid").dropped == 1
