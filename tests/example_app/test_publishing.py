"""What an order sends, and what its customer notices when it cannot be sent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from example_app import publishing
from fastapi_azure_pool import ManagedAzureEventhubProducer, ManagedCosmos
from tests.example_app.watching import HUB, QUEUE, happens, holds, place, status_of, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2
    from fastapi import FastAPI

    from fastapi_azure_pool.emulator import Emulator, Fault

    Serve = Callable[[], AbstractAsyncContextManager[httpx2.AsyncClient]]


async def test_order_is_announced_once_and_queued_once(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """An order's event holds the order as it was placed, its message the order's id, by which duplicates can be told."""
    placed = (await remote_shop.post("/orders", json=new_order)).json()
    (event,) = azure.received_events(HUB)
    (message,) = azure.queue_messages(QUEUE)
    assert json.loads(event.body) == {"type": "order.placed", "order": placed}
    assert (json.loads(message.body), message.message_id) == ({"order_id": placed["id"]}, placed["id"])


async def test_mark_of_the_outbox_is_stored_and_not_shown(
    app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """An order is stored with the mark by which the sweep finds it; no answer of the service shows it."""
    order_id = await place(remote_shop, new_order)
    assert (await stored(app, order_id))["awaited_since"] > 0
    assert "awaited_since" not in (await remote_shop.get(f"/orders/{order_id}")).json()


@pytest.mark.parametrize(
    ("inject", "events"),
    [
        (lambda azure: azure.faults.drop(service="amqp", method="TRANSFER", path=HUB), 0),
        (lambda azure: azure.faults.reject("amqp:not-allowed", path=HUB), 0),
        (lambda azure: azure.faults.stall(method="TRANSFER", path=HUB), 0),
        (lambda azure: azure.faults.drop(service="amqp", method="TRANSFER", path=QUEUE), 1),
        (lambda azure: azure.faults.reject("com.microsoft:entity-disabled", path=QUEUE), 1),
        (lambda azure: azure.faults.stall(method="TRANSFER", path=QUEUE), 1),
        (lambda azure: azure.faults.throttle(service="amqp", path=QUEUE), 1),
    ],
    ids=[
        "hub drops",
        "hub rejects",
        "hub is silent",
        "queue drops",
        "queue rejects",
        "queue is silent",
        "queue is busy",
    ],
)
async def test_order_that_cannot_be_sent_is_placed_all_the_same(
    azure: Emulator,
    remote_shop: httpx2.AsyncClient,
    new_order: dict[str, Any],
    inject: Callable[[Emulator], Fault],
    events: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the hub or the queue fails, the answer is 201 as always, the order is there, and no message goes without its event."""
    monkeypatch.setattr(publishing, "_SECONDS_FOR_A_REQUEST", 0.3)
    with inject(azure):
        order_id = await place(remote_shop, new_order)
        assert await status_of(remote_shop, order_id) == "placed"
    assert (len(azure.received_events(HUB)), azure.queue_messages(QUEUE)) == (events, [])
    assert f"order {order_id} is published later" in caplog.text


async def test_sending_holds_no_connection_of_the_database(
    azure: Emulator, app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """While an order waits for the hub, its place in the database's pool is free for other requests."""
    orders = app.state.azure_pools.client("orders", ManagedCosmos)
    with azure.faults.stall(method="TRANSFER", path=HUB) as fault:
        placing = asyncio.create_task(place(remote_shop, new_order))
        await happens(lambda: fault.strikes)
        assert orders.pool.stats().clients == 0
        assert not placing.done()
    await placing


async def test_lost_hub_and_queue_take_nothing_out_of_rotation(
    azure: Emulator, remote_shop: httpx2.AsyncClient
) -> None:
    """With the hub and the queue gone, their pools tell so, the whole has a warning, and the service stays ready."""
    with azure.faults.refuse_attach(path=HUB), azure.faults.refuse_attach(path=QUEUE):
        azure.faults.close_connections()

        async def is_told() -> bool:
            pools = (await remote_shop.get("/health/pools")).json()
            statuses = {name: pool["status"] for name, pool in pools["pools"].items()} | {"all": pools["status"]}
            return {name for name, status in statuses.items() if status != "pass"} == {"events", "confirmations", "all"}

        await holds(is_told)
        ready = await remote_shop.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "warn"})


async def test_service_starts_without_hub_and_queue(
    azure: Emulator, serve: Serve, new_order: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A service that starts while the hub and the queue are away takes orders."""
    with azure.faults.refuse_attach(path=HUB), azure.faults.refuse_attach(path=QUEUE):
        async with serve() as shop:
            assert await status_of(shop, await place(shop, new_order)) == "placed"
    assert "starting without pool events" in caplog.text
    assert "starting without pool confirmations" in caplog.text


async def test_surprise_in_sending_is_no_customers_business(
    remote_shop: httpx2.AsyncClient,
    new_order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mistake of ours in sending is told in the log, with its place; the order is stored, and the answer says so."""

    async def send_event(client: ManagedAzureEventhubProducer, event: str) -> None:
        raise LookupError("a mistake")

    monkeypatch.setattr(ManagedAzureEventhubProducer, "send_event", send_event)
    order_id = await place(remote_shop, new_order)
    assert await status_of(remote_shop, order_id) == "placed"
    assert "LookupError: a mistake" in caplog.text
