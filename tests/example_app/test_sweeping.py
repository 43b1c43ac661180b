"""The sweep: what was stored and not published, for whatever reason, is published after all."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from example_app.app import create_app
from example_app.outbox import OverdueOrder, claim, find_overdue
from tests.example_app.conftest import connect
from tests.example_app.watching import HUB, QUEUE, happens, place, reaches, status_of, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2
    from azure.cosmos.aio import ContainerProxy
    from fastapi import FastAPI

    from fastapi_azure_pool.emulator import Emulator, Fault

    Serve = Callable[[], AbstractAsyncContextManager[httpx2.AsyncClient]]

QUERY = ("POST", "/dbs/shop/colls/orders/docs")


async def overdue(orders: ContainerProxy, *, sweep_seconds: float) -> list[OverdueOrder]:
    """Give every overdue order."""
    return [order async for page in find_overdue(orders, sweep_seconds=sweep_seconds) for order in page]


@pytest.mark.parametrize(
    ("inject", "events"),
    [
        (lambda azure: azure.faults.drop(service="amqp", method="TRANSFER", path=HUB), 1),
        (lambda azure: azure.faults.drop(service="amqp", method="TRANSFER", path=QUEUE), 2),
    ],
    ids=["hub", "queue"],
)
@pytest.mark.usefixtures("confirming")
async def test_order_that_could_not_be_sent_is_sent_later(
    azure: Emulator,
    serve: Serve,
    new_order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    inject: Callable[[Emulator], Fault],
    events: int,
) -> None:
    """An order whose event or message was not sent is announced and confirmed when the hub and the queue are back."""
    monkeypatch.setenv("SWEEP_SECONDS", "1")
    async with serve() as shop:
        with inject(azure):
            order_id = await place(shop, new_order)
            assert azure.queue_messages(QUEUE) == []
        await reaches(shop, order_id, "confirmed", seconds=40)
    announced = [json.loads(event.body)["order"]["id"] for event in azure.received_events(HUB)]
    assert set(announced) == {order_id}
    assert len(announced) >= events


async def test_order_of_a_process_that_ended_in_between_is_sent_by_the_next(
    azure: Emulator, serve: Serve, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that was stored by a process which could send nothing any more is announced and confirmed by another one."""
    with azure.faults.reject("amqp:internal-error", path=HUB):
        async with serve() as shop:
            order_id = await place(shop, new_order)
    monkeypatch.setenv("CONFIRM_ORDERS", "true")
    monkeypatch.setenv("SWEEP_SECONDS", "0.5")
    async with serve() as shop:
        await reaches(shop, order_id, "confirmed", seconds=40)
    assert {json.loads(event.body)["order"]["id"] for event in azure.received_events(HUB)} == {order_id}


@pytest.mark.usefixtures("confirming")
async def test_what_was_worked_off_is_not_sent_again(
    azure: Emulator, serve: Serve, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the sweep looks, a confirmed order keeps its one event."""
    monkeypatch.setenv("SWEEP_SECONDS", "0.05")
    async with serve() as shop:
        order_id = await place(shop, new_order)
        await reaches(shop, order_id, "confirmed")
        events = len(azure.received_events(HUB))
        before = azure.cosmos_requests.count(*QUERY)
        await happens(lambda: azure.cosmos_requests.count(*QUERY) >= before + 3)
        assert len(azure.received_events(HUB)) == events


async def test_fresh_order_is_none_of_the_sweeps_business(
    app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """An order is overdue only after the time that publishing it may take."""
    order_id = await place(remote_shop, new_order)
    async with app.state.azure_pools["orders"].get() as orders:
        assert await overdue(orders, sweep_seconds=3600) == []
        assert [found.order.id for found in await overdue(orders, sweep_seconds=-1)] == [order_id]


async def test_one_of_several_processes_publishes_an_overdue_order(
    app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """Of ten processes that find the same order overdue, one may publish it, and it is overdue for none of them any more."""
    order_id = await place(remote_shop, new_order)
    async with app.state.azure_pools["orders"].get() as orders:
        long_ago = {"op": "set", "path": "/awaited_since", "value": 0}
        await orders.patch_item(order_id, partition_key="ada", patch_operations=[long_ago])
        (found,) = await overdue(orders, sweep_seconds=30)
        claims = await asyncio.gather(*(claim(orders, found, sweep_seconds=30) for _ in range(10)))
        assert sorted(claims) == [*9 * [False], True]
        assert await overdue(orders, sweep_seconds=30) == []


@pytest.mark.parametrize(("age", "delay"), [(0.0, 30.0), (60.0, 60.0), (86_400.0, 300.0)])
async def test_order_is_published_again_after_as_long_as_its_age(
    app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], age: float, delay: float
) -> None:
    """The next time is after the order's age, but no sooner than the next sweep and no later than ten sweeps on."""
    order_id = await place(remote_shop, new_order)
    async with app.state.azure_pools["orders"].get() as orders:
        (found,) = await overdue(orders, sweep_seconds=-1)
        created_at = found.order.created_at.fromtimestamp(time.time() - age, found.order.created_at.tzinfo)
        older = OverdueOrder(found.order.model_copy(update={"created_at": created_at}), found.etag)
        before = time.time()
        assert await claim(orders, older, sweep_seconds=30)
        overdue_at = (await stored(app, order_id))["awaited_since"] + 30
        assert before + delay <= overdue_at <= time.time() + delay + 1


@pytest.mark.usefixtures("confirming")
async def test_item_that_is_no_order_holds_up_no_other(
    azure: Emulator, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An overdue item that something else wrote, and that is no order, is told in the log, and the orders beside it are sent."""
    monkeypatch.setenv("SWEEP_SECONDS", "1")
    app = create_app()
    async with app.router.lifespan_context(app), connect(app) as shop:
        async with app.state.azure_pools["orders"].get() as orders:
            await orders.create_item({"id": "strange", "customer_id": "ada", "awaited_since": 0})
        with azure.faults.reject("amqp:internal-error", path=QUEUE):
            order_id = await place(shop, new_order)
        await reaches(shop, order_id, "confirmed", seconds=40)
    assert "item strange is no order" in caplog.text


@pytest.mark.usefixtures("confirming")
async def test_sweep_goes_on_after_the_databases_outage(
    azure: Emulator,
    serve: Serve,
    new_order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A sweep that fails is told once, and the next ones do what it could not."""
    monkeypatch.setenv("SWEEP_SECONDS", "0.5")
    async with serve() as shop:
        with azure.faults.reject("amqp:internal-error", path=QUEUE):
            order_id = await place(shop, new_order)
        with azure.faults.fail(403, service="cosmos", method="POST"):
            await happens(lambda: "publishing overdue orders stands still" in caplog.text)
        assert await status_of(shop, order_id) == "placed"
        await reaches(shop, order_id, "confirmed", seconds=40)
    assert caplog.text.count("publishing overdue orders goes on") == 1
