"""Invoices in Blob Storage, and the news of confirmed orders in Event Grid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool import ManagedAzureServiceBusSender
from tests.example_app.watching import QUEUE, happens, place, reaches, states, status_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2
    from fastapi import FastAPI

    from fastapi_azure_pool.emulator import Emulator

    Serve = Callable[[], AbstractAsyncContextManager[httpx2.AsyncClient]]

TOPIC = "order-news"
ABSENT = "ada-0123456789abcdef01234567"


@pytest.mark.usefixtures("confirming")
async def test_confirmed_order_has_an_invoice(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """The invoice of a confirmed order is given as it is stored: a text with its lines and the total."""
    order_id = await place(remote_shop, new_order)
    await reaches(remote_shop, order_id, "confirmed")
    answer = await remote_shop.get(f"/orders/{order_id}/invoice")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    (blob,) = azure.blobs("invoices")
    assert (blob.name, blob.content, blob.etag) == (
        f"ada/{order_id}.txt",
        answer.content,
        answer.headers["ETag"],
    )
    words = [line.split() for line in answer.text.splitlines()]
    assert words[0] == ["Invoice", "for", "order", order_id]
    assert words[3:5] == [["2", "tea-500g", "1,250", "2,500"], ["1", "pot", "2,999", "2,999"]]
    assert words[-1][:2] == ["Total", "5,499"]


@pytest.mark.usefixtures("confirming")
async def test_confirmed_order_is_announced(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """The topic gets one event for each confirmed order, with the order's id for its own."""
    order_id = await place(remote_shop, new_order)
    await happens(lambda: azure.eventgrid_events(TOPIC) and not azure.queue_messages(QUEUE))
    (event,) = azure.eventgrid_events(TOPIC)
    assert (event.id, event.type, event.subject) == (order_id, "shop.order.confirmed", f"orders/{order_id}")
    assert event.data == {"order_id": order_id, "customer_id": "ada", "total": 5499, "currency": "EUR"}


async def test_no_invoice_before_that(
    remote_shop: httpx2.AsyncClient, azure: Emulator, new_order: dict[str, Any]
) -> None:
    """An order that is not confirmed, and one that there is not, have no invoice; what can be no order's id is not looked for."""
    for order_id in (await place(remote_shop, new_order), ABSENT):
        answer = await remote_shop.get(f"/orders/{order_id}/invoice")
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"There is no invoice for order {order_id}. An order gets one when it is confirmed.",
        )
    asked = azure.blob_requests.total
    assert (await remote_shop.get("/orders/ada/invoice")).json()["detail"] == "There is no order ada."
    assert azure.blob_requests.total == asked


@pytest.mark.usefixtures("confirming")
async def test_order_waits_for_its_invoice(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """While invoices cannot be stored, orders stay as they are placed; when they can, they are confirmed."""
    with azure.faults.fail(403, service="blob", method="PUT") as fault:
        order_id = await place(remote_shop, new_order)
        await happens(lambda: fault.strikes)
        assert await status_of(remote_shop, order_id) == "placed"
    await reaches(remote_shop, order_id, "confirmed")
    assert len(azure.blobs("invoices")) == 1


@pytest.mark.usefixtures("confirming")
async def test_order_is_announced_when_event_grid_is_back(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """While orders cannot be announced, they are confirmed and their messages held; the news comes when it can."""
    with azure.faults.fail(403, service="eventgrid", method="POST") as fault:
        order_id = await place(remote_shop, new_order)
        await reaches(remote_shop, order_id, "confirmed")
        await happens(lambda: fault.strikes)
        assert states(azure) == [("locked", 0)]
    await happens(lambda: not azure.queue_messages(QUEUE))
    assert [event.id for event in azure.eventgrid_events(TOPIC)] == [order_id]


@pytest.mark.usefixtures("confirming")
async def test_message_that_comes_again_announces_again(
    azure: Emulator, app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """A second message makes the same invoice and the same news: by its id, who gets it twice can tell."""
    order_id = await place(remote_shop, new_order)
    await happens(lambda: azure.eventgrid_events(TOPIC) and not azure.queue_messages(QUEUE))
    (before,) = azure.blobs("invoices")
    confirmations = app.state.azure_pools.client("confirmations", ManagedAzureServiceBusSender)
    await confirmations.send_message(json.dumps({"order_id": order_id}))
    await happens(lambda: len(azure.eventgrid_events(TOPIC)) == 2 and not azure.queue_messages(QUEUE))
    assert {event.id for event in azure.eventgrid_events(TOPIC)} == {order_id}
    (after,) = azure.blobs("invoices")
    assert after.content == before.content


@pytest.mark.parametrize(("status", "count"), [("cancelled", 0), ("paid", 1)])
async def test_cancelled_order_gets_neither(
    azure: Emulator,
    serve: Serve,
    new_order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    count: int,
) -> None:
    """An order that was cancelled before its message came is neither invoiced nor announced; one that was paid is both."""
    async with serve() as shop:
        order_id = await place(shop, new_order)
        await shop.patch(f"/orders/{order_id}", json={"status": status}, headers={"If-Match": "*"})
    monkeypatch.setenv("CONFIRM_ORDERS", "true")
    async with serve():
        await happens(lambda: not azure.queue_messages(QUEUE))
    assert (len(azure.blobs("invoices")), len(azure.eventgrid_events(TOPIC))) == (count, count)


@pytest.mark.parametrize(("status", "answered"), [(503, 503), (403, 502)])
async def test_trouble_of_blob_storage_is_a_problem_document(
    azure: Emulator, remote_shop: httpx2.AsyncClient, status: int, answered: int
) -> None:
    """While Blob Storage is away a request for an invoice gets 503 and when to come back; where it refuses, 502."""
    with azure.faults.fail(status, service="blob", method="GET"):
        answer = await remote_shop.get(f"/orders/{ABSENT}/invoice")
    assert (answer.status_code, answer.headers["Content-Type"]) == (answered, "application/problem+json")
    assert ("Retry-After" in answer.headers) == (answered == 503)
