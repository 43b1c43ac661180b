"""EventGridClient, the basic client: sync and async, over connections of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.eventgrid import EventGridPublisherClient
from azure.eventgrid.aio import EventGridPublisherClient as AsyncEventGridPublisherClient

from fastapi_azure_pool import EventGridClient
from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.pool import forks
from tests.clients.event_grid import config_of, make_topics, signature_of
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with two topics."""
    async with Emulator() as azure:
        await make_topics(azure)
        yield azure


async def test_an_async_client_publishes_to_every_topic(azure: Emulator) -> None:
    """With async_credential the client is async: it publishes in each topic's schema and keeps its connections."""
    async with EventGridClient(config_of(azure), async_credential=azure.eventgrid_key) as client:
        assert not client.is_sync()
        for _ in range(2):
            await client.async_emit_event("orders", "order.paid", "orders/7", {"total": 12})
            await client.async_emit_event("cloud", "order.paid", "orders/7", {"total": 12}, source="/shop")
        assert isinstance(client.get_async_client("orders"), AsyncEventGridPublisherClient)
        assert azure.connections("eventgrid").accepted == 1
        assert repr(client) == "<EventGridClient async orders, cloud>"
    assert azure.eventgrid_events("orders")[1].data_version == "v1"
    assert azure.eventgrid_events("cloud")[1].source == "/shop"
    await eventually(lambda: azure.connections("eventgrid").open == 0)


@pytest.mark.parametrize("is_sync", [True, False])
async def test_a_forked_process_connects_anew(azure: Emulator, monkeypatch: pytest.MonkeyPatch, is_sync: bool) -> None:
    """In a forked child the client leaves the parent's connections alone; one that was closed stays so."""
    monkeypatch.setattr(forks, "_inherited", WeakSet())
    monkeypatch.setattr(forks, "_left", [])
    which: dict[str, str] = {"credential" if is_sync else "async_credential": azure.eventgrid_key}
    client = EventGridClient(config_of(azure), **which)  # type: ignore[arg-type] # either argument takes a key

    async def publish() -> None:
        if is_sync:
            await asyncio.to_thread(client.emit_event, "orders", "order.paid", "orders/7", {})
        else:
            await client.async_emit_event("orders", "order.paid", "orders/7", {})

    async def close() -> None:
        if is_sync:
            client.close()
        else:
            await client.aclose()

    await publish()
    forks._begin_child()
    left: Any = forks._left[0]
    publisher, clients = left
    await publish()
    assert azure.connections("eventgrid").accepted == azure.connections("eventgrid").open == 2
    await close()
    await eventually(lambda: azure.connections("eventgrid").open == 1)
    forks._begin_child()
    assert client._is_closed
    assert forks._left[1] == (client._publisher, client._clients)
    for sdk in clients.values():
        sdk.close()
    if publisher is not None:
        await publisher.close()
    await eventually(lambda: azure.connections("eventgrid").open == 0)


async def test_a_sync_client_publishes_to_every_topic(azure: Emulator) -> None:
    """With credential the client is sync: it publishes in each topic's schema from a thread."""
    client = EventGridClient(config_of(azure), AzureKeyCredential(azure.eventgrid_key))

    def publish() -> None:
        with client:
            assert client.is_sync()
            client.emit_event("orders", "order.paid", "orders/7", {"total": 12}, "v2")
            client.emit_event("cloud", "order.paid", "orders/7", {"total": 12})
            assert isinstance(client.get_client("orders"), EventGridPublisherClient)
            assert repr(client) == "<EventGridClient sync orders, cloud>"

    await asyncio.to_thread(publish)
    assert azure.eventgrid_events("orders")[0].data_version == "v2"
    assert azure.eventgrid_events("cloud")[0].source == "cloud"
    await eventually(lambda: azure.connections("eventgrid").open == 0)


async def test_a_signature_authenticates_either(azure: Emulator) -> None:
    """An AzureSasCredential is taken by both kinds, for the topic that it is for."""
    config, signature = config_of(azure), signature_of(azure, "orders")
    async with EventGridClient(config, async_credential=signature) as client:
        await client.async_emit_event("orders", "order.paid", "orders/7", {})
        with pytest.raises(ClientAuthenticationError):
            await client.async_emit_event("cloud", "order.paid", "orders/7", {})

    def publish() -> None:
        with EventGridClient(config, credential=signature) as client:
            client.emit_event("orders", "order.paid", "orders/7", {})

    await asyncio.to_thread(publish)
    assert len(azure.eventgrid_events("orders")) == 2


async def test_a_refusal_is_the_sdk_s_error(azure: Emulator) -> None:
    """What Event Grid refuses raises the SDK's HttpResponseError; client_options reach the SDK's clients."""
    client = EventGridClient(config_of(azure), async_credential=azure.eventgrid_key, client_options={"retry_total": 0})
    with azure.faults.fail(503, service="eventgrid") as fault, pytest.raises(HttpResponseError):
        await client.async_emit_event("orders", "order.paid", "orders/7", {})
    assert fault.strikes == 1
    with azure.faults.throttle(retry_after=0, service="eventgrid"), pytest.raises(HttpResponseError):
        await client.async_emit_event("orders", "order.paid", "orders/7", {})
    await client.aclose()
    await client.aclose()


async def test_each_kind_names_the_other_s_way(azure: Emulator) -> None:
    """A call of the other kind raises RuntimeError that names the one to use; an unknown topic raises KeyError."""
    config = config_of(azure)
    sync, asynchronous = (
        EventGridClient(config, azure.eventgrid_key),
        EventGridClient(config, None, azure.eventgrid_key),
    )
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: asynchronous.emit_event("orders", "t", "s", {}), r"is async, .* use get_async_client\(topic\)"),
        (lambda: asynchronous.get_client("orders"), r"use get_async_client\(topic\)"),
        (asynchronous.close, r"use await aclose\(\)"),
        (asynchronous.__enter__, "use async with"),
        (lambda: sync.get_async_client("orders"), r"is sync, .* use get_client\(topic\)"),
    ]
    for call, message in wrong:
        with pytest.raises(RuntimeError, match=message):
            call()
    for awaited, message in (
        (sync.async_emit_event("orders", "t", "s", {}), r"use emit_event\(...\)"),
        (sync.aclose(), r"use close\(\)"),
        (sync.__aenter__(), "use with"),
    ):
        with pytest.raises(RuntimeError, match=message):
            await awaited
    with pytest.raises(KeyError, match="there is no Event Grid topic 'missing'"):
        sync.get_client("missing")
    with pytest.raises(KeyError, match="there is no Event Grid topic 'missing'"):
        asynchronous.get_async_client("missing")
    sync.close()
    sync.close()
    await asynchronous.aclose()
