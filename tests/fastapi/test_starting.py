"""An application that starts while Azure is away, or whose start is broken off: what it says, what it serves, what it leaves."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from azure.cosmos.aio import ContainerProxy
from fastapi import Depends, FastAPI

from fastapi_azure_pool import (
    ConnectionFailed,
    EventGridConfig,
    EventGridTopicConfig,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    ManagedEventGridPublisher,
    PoolState,
    health_router,
    managed,
    open_pools,
    pool_lifespan,
    pooled,
)
from fastapi_azure_pool.emulator import Emulator
from tests.clients.credentials import CountingCredential
from tests.clients.waiting import eventually
from tests.fastapi.driver import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi_azure_pool import ManagedClient

Orders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]
Events = Annotated[ManagedAzureEventhubProducer, Depends(managed("events"))]

KEY = "a2V5"
SECONDS = 0.4
"""What opening a connection may take here."""


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of loopback that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def clients_of(port: int) -> dict[str, ManagedClient[Any]]:
    """Make a client of each service at a port."""
    messaging = (
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=name;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
    )
    sizes: Any = {"pool_connection_create_timeout": SECONDS}
    topics = EventGridConfig(EventGridTopicConfig("news", f"http://127.0.0.1:{port}/api/events"))
    return {
        "orders": ManagedCosmos(f"http://127.0.0.1:{port}/", "shop", "orders", credential=KEY, **sizes),
        "events": ManagedAzureEventhubProducer(connection_string=messaging, eventhub_name="events", **sizes),
        "work": ManagedAzureServiceBusSender(connection_string=messaging, service_bus_queue_name="work", **sizes),
        "files": ManagedAzureBlobStorage(f"http://127.0.0.1:{port}/account", "files", credential=KEY, **sizes),
        "news": ManagedEventGridPublisher(topics, credential=KEY, **sizes),
    }


async def test_a_start_without_azure_fails_in_time_and_names_the_pool() -> None:
    """Whichever service does not answer: the start fails when its time is over, names the pool, and has closed the others."""

    async def start(name: str, client: ManagedClient[Any]) -> float:
        started = time.monotonic()
        with pytest.raises(ConnectionFailed, match=f"pool '{name}' could not open a connection"):
            await open_pools(FastAPI(), {name: client}).__aenter__()
        assert client.pool.state is PoolState.CLOSED
        return time.monotonic() - started

    with silent_port() as port:
        took = await asyncio.gather(*(start(name, client) for name, client in clients_of(port).items()))
    assert min(took) >= SECONDS
    assert max(took) < SECONDS + 3


async def test_a_degraded_start_serves_the_other_pools_and_heals(azure: Emulator) -> None:
    """Without its hub the application serves orders, and says it is not ready; when the hub is there, it is, unasked."""
    away = Emulator()
    await away.create_eventhub("events")
    await away.start()
    messaging = away.eventhub_connection_string
    await away.stop()
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    events = ManagedAzureEventhubProducer(connection_string=messaging, eventhub_name="events")
    app = FastAPI(lifespan=pool_lifespan(lambda _: {"orders": orders, "events": events}, fail_fast=False))
    app.include_router(health_router())

    @app.post("/orders")
    async def place(orders: Orders) -> None:
        await orders.create_item({"id": "1", "customer_id": "ada"})

    @app.post("/events")
    async def announce(events: Events) -> None:
        await events.send_event("1")

    try:
        async with serving(app) as http:
            assert (await http.get("/health/ready")).status_code == 503
            pools = (await http.get("/health/pools")).json()["pools"]
            assert {name: pool["status"] for name, pool in pools.items()} == {"orders": "pass", "events": "fail"}
            assert (await http.post("/orders")).status_code == 200
            await away.start()
            await eventually(lambda: events.pool.ready_connection_count, seconds=20)
            assert (await http.get("/health/ready")).status_code == 200
            assert (await http.post("/events")).status_code == 200
            assert [event.body for event in away.received_events("events")] == [b"1"]
    finally:
        await away.stop()


async def is_clean_when_cancelled_after(turns: int, azure: Emulator) -> bool:
    """Start an application, cancel that after so many turns of the loop, check what is left, and tell if it was early enough."""
    app, is_started = FastAPI(), asyncio.Event()
    messaging = azure.servicebus_connection_string
    clients: dict[str, ManagedClient[Any]] = {
        "orders": ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key),
        "events": ManagedAzureEventhubProducer(connection_string=messaging, eventhub_name="events"),
        "work": ManagedAzureServiceBusSender(connection_string=messaging, service_bus_queue_name="work"),
    }

    async def live() -> None:
        async with open_pools(app, clients, credential=CountingCredential):
            is_started.set()
            await asyncio.Event().wait()

    CountingCredential.made.clear()
    living = asyncio.create_task(live())
    for _ in range(turns):
        await asyncio.sleep(0)
    is_early = not is_started.is_set()
    living.cancel()
    await asyncio.wait([living])
    assert living.cancelled()
    assert not hasattr(app.state, "azure_pools"), turns
    assert {client.pool.state for client in clients.values()} <= {PoolState.NEW, PoolState.CLOSED}, turns
    assert all(made.times_closed == 1 for made in CountingCredential.made), turns
    await eventually(lambda: azure.connections("amqp").open == azure.connections("cosmos").open == 0)
    return is_early


async def test_a_start_that_is_cancelled_leaves_nothing_open(azure: Emulator) -> None:
    """Whenever it is cancelled, the pools are closed and their credential, too, and no connection stays that was on its way."""
    await azure.create_eventhub("events")
    await azure.create_queue("work")
    turns = 0
    while await is_clean_when_cancelled_after(turns, azure):
        turns += 3
    assert turns > 10
