"""The way of an order from the queue to being confirmed, and what may come in between."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

import pytest

from example_app import worker
from example_app.app import create_app
from example_app.confirming import Confirming
from fastapi_azure_pool import ManagedAzureServiceBusSender
from tests.example_app.watching import HUB, QUEUE, happens, place, reaches, states, status_of, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2
    from fastapi import FastAPI

    from fastapi_azure_pool.emulator import Emulator

    Serve = Callable[[], AbstractAsyncContextManager[httpx2.AsyncClient]]

pytestmark = pytest.mark.usefixtures("confirming")

ABSENT = "ada-0123456789abcdef01234567"


async def send(app: FastAPI, body: str) -> None:
    """Put a message into the queue."""
    await app.state.azure_pools.client("confirmations", ManagedAzureServiceBusSender).send_message(body)


async def test_order_is_soon_confirmed(
    azure: Emulator, app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """A placed order becomes confirmed, its message is completed, and nothing is left to be published again."""
    order_id = await place(remote_shop, new_order)
    await reaches(remote_shop, order_id, "confirmed")
    await happens(lambda: not azure.queue_messages(QUEUE))
    assert len(azure.received_events(HUB)) == 1
    assert "awaited_since" not in await stored(app, order_id)


async def test_pauses_do_not_grow_while_messages_come(
    azure: Emulator,
    remote_shop: httpx2.AsyncClient,
    new_order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When the link breaks with each message that is completed, the queue is away anew each time, and soon asked again."""
    monkeypatch.setattr(worker, "_AT_ONCE", 1)
    with azure.faults.drop(method="DISPOSITION", path=QUEUE, times=2):
        for order_id in [await place(remote_shop, new_order) for _ in range(3)]:
            await reaches(remote_shop, order_id, "confirmed")
    told = [record.getMessage() for record in caplog.records if record.name == "example_app.outages"]
    stands_still = "receiving orders to confirm stands still: ServiceBusConnectionError"
    assert told == [stands_still, "receiving orders to confirm goes on"] * 2


async def test_many_orders_are_confirmed(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """Fifty orders at once, more than the worker takes at a time, are all confirmed, and announced once each."""
    orders = await asyncio.gather(*(place(remote_shop, new_order) for _ in range(50)))
    await happens(lambda: not azure.queue_messages(QUEUE))
    assert {await status_of(remote_shop, order_id) for order_id in orders} == {"confirmed"}
    events = [json.loads(event.body)["order"]["id"] for event in azure.received_events(HUB)]
    assert sorted(events) == sorted(orders)


@pytest.mark.parametrize("status", ["cancelled", "paid", "shipped"])
async def test_order_that_went_on_is_not_confirmed(
    azure: Emulator, serve: Serve, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """An order that was cancelled or went on before its message was received keeps its status; the message is done with."""
    monkeypatch.setenv("CONFIRM_ORDERS", "false")
    async with serve() as shop:
        order_id = await place(shop, new_order)
        await shop.patch(f"/orders/{order_id}", json={"status": status}, headers={"If-Match": "*"})
    monkeypatch.setenv("CONFIRM_ORDERS", "true")
    app = create_app()
    async with app.router.lifespan_context(app):
        await happens(lambda: not azure.queue_messages(QUEUE))
        item = await stored(app, order_id)
        assert (item["status"], "awaited_since" in item) == (status, False)


async def test_order_cancelled_at_the_last_moment_stays_so(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """An order that is cancelled between the worker's reading and its writing is not confirmed."""
    with azure.faults.delay(1.0, service="cosmos", method="PATCH", times=1) as fault:
        order_id = await place(remote_shop, new_order)
        await happens(lambda: fault.strikes)
        cancelled = await remote_shop.patch(
            f"/orders/{order_id}", json={"status": "cancelled"}, headers={"If-Match": "*"}
        )
        assert cancelled.json()["status"] == "cancelled"
        await happens(lambda: not azure.queue_messages(QUEUE))
    assert await status_of(remote_shop, order_id) == "cancelled"


async def test_message_that_comes_again_changes_nothing(
    azure: Emulator, app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """A second message for a confirmed order is completed, and the order keeps its version."""
    order_id = await place(remote_shop, new_order)
    await reaches(remote_shop, order_id, "confirmed")
    etag = (await stored(app, order_id))["_etag"]
    await send(app, json.dumps({"order_id": order_id}))
    await happens(lambda: not azure.queue_messages(QUEUE))
    assert (await stored(app, order_id))["_etag"] == etag


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "NoConfirmation"),
        ("not JSON", "NoConfirmation"),
        ("[]", "NoConfirmation"),
        ('{"order_id": 1}', "NoConfirmation"),
        ('{"order_id": "../ada"}', "NoConfirmation"),
        (json.dumps({"order_id": ABSENT}), "NoSuchOrder"),
    ],
)
async def test_poison_is_set_aside_with_a_reason(
    azure: Emulator, app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], body: str, reason: str
) -> None:
    """A message that can never be worked off goes to the dead letters at once and says why; those behind it are not held up."""
    await send(app, body)
    await reaches(remote_shop, await place(remote_shop, new_order), "confirmed")
    await happens(lambda: [state for state, _ in states(azure)] == ["dead-lettered"])
    (dead,) = azure.queue_messages(QUEUE)
    assert (dead.dead_letter_reason, dead.delivery_count, dead.body) == (reason, 0, body.encode())
    assert dead.dead_letter_description
    assert dead.dead_letter_description.endswith(".")


async def test_what_is_stored_and_is_no_order_is_set_aside(
    azure: Emulator, app: FastAPI, remote_shop: httpx2.AsyncClient
) -> None:
    """The message for an item that something else wrote, and that is no order, goes to the dead letters."""
    async with app.state.azure_pools["orders"].get() as container:
        await container.create_item({"id": ABSENT, "customer_id": "ada", "status": "lost"})
    await send(app, json.dumps({"order_id": ABSENT}))
    await happens(lambda: [message.dead_letter_reason for message in azure.queue_messages(QUEUE)] == ["NoOrder"])


async def test_refusal_of_the_database_is_set_aside(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """An order that the database does not let change goes to the dead letters, since the next attempt would be the same."""
    with azure.faults.fail(400, service="cosmos", method="PATCH"):
        await place(remote_shop, new_order)
        await happens(
            lambda: [message.dead_letter_reason for message in azure.queue_messages(QUEUE)] == ["OrderRefused"]
        )


async def test_message_is_held_while_the_database_is_away(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """While the database cannot write, the message is kept with its lock renewed, costs no delivery, and is done afterwards."""
    with azure.faults.fail(503, service="cosmos", method="PATCH"):
        order_id = await place(remote_shop, new_order)
        await happens(lambda: azure.amqp_requests.count("com.microsoft:renew-lock", QUEUE) >= 2)
        assert states(azure) == [("locked", 0)]
        assert await status_of(remote_shop, order_id) == "placed"
    await reaches(remote_shop, order_id, "confirmed")
    await happens(lambda: not azure.queue_messages(QUEUE))
    assert caplog.text.count("confirming orders stands still") == 1
    await happens(lambda: "confirming orders goes on" in caplog.text)


async def test_message_is_given_back_when_the_outage_is_a_long_one(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message is not held for ever: in a long outage it goes back to the queue, and another process may have more luck."""
    monkeypatch.setattr(worker, "_SECONDS_TO_HOLD", 0.0)
    with azure.faults.fail(503, service="cosmos", method="PATCH"):
        order_id = await place(remote_shop, new_order)
        await happens(lambda: [count for _, count in states(azure)] == [1])
    await reaches(remote_shop, order_id, "confirmed")


@pytest.mark.parametrize(
    "interrupt",
    [
        lambda azure: azure.faults.close_connections(),
        lambda azure: azure.faults.detach_links(QUEUE),
        lambda azure: azure.faults.drop_connections("amqp"),
    ],
    ids=["closed", "detached", "reset"],
)
async def test_broken_receiver_is_replaced(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], interrupt: Callable[[Emulator], int]
) -> None:
    """When the receiver's connection or link is closed by the service, a new one goes on."""
    await reaches(remote_shop, await place(remote_shop, new_order), "confirmed")
    assert interrupt(azure) >= 1
    await reaches(remote_shop, await place(remote_shop, new_order), "confirmed")


async def test_receiver_that_brings_nothing_is_replaced(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver without messages is opened anew from time to time, since a connection may die without a word."""
    monkeypatch.setattr(worker, "_SECONDS_WITHOUT_MESSAGES", 0.1)
    before = azure.amqp_requests.count("ATTACH", QUEUE)
    await happens(lambda: azure.amqp_requests.count("ATTACH", QUEUE) >= before + 2)
    await reaches(remote_shop, await place(remote_shop, new_order), "confirmed")


async def test_outage_of_the_queue_stops_the_worker_for_as_long(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """While the queue is away orders are taken as ever, and when it is back, what was queued before is confirmed."""
    with azure.faults.fail(503, service="cosmos", method="PATCH") as database:
        order_id = await place(remote_shop, new_order)
        await happens(lambda: states(azure) == [("locked", 0)])
        with azure.faults.refuse_attach(path=QUEUE):
            azure.faults.close_connections()
            await happens(lambda: "receiving orders to confirm stands still" in caplog.text)
            assert await status_of(remote_shop, await place(remote_shop, new_order)) == "placed"
            database.clear()
    await reaches(remote_shop, order_id, "confirmed", seconds=40)
    assert "receiving orders to confirm goes on" in caplog.text


async def test_surprise_ends_no_worker(
    azure: Emulator,
    remote_shop: httpx2.AsyncClient,
    new_order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mistake of ours in confirming is told in the log, with its place; the message comes again after its lock."""
    confirm = Confirming.confirm
    calls: list[bytes] = []

    async def surprise(confirming: Confirming, body: bytes, *, seconds: float) -> None:
        calls.append(body)
        if len(calls) == 1:
            raise LookupError("a mistake")
        await confirm(confirming, body, seconds=seconds)

    monkeypatch.setattr(Confirming, "confirm", surprise)
    await reaches(remote_shop, await place(remote_shop, new_order), "confirmed", seconds=40)
    await happens(lambda: not azure.queue_messages(QUEUE))
    assert "LookupError: a mistake" in caplog.text
    assert len(calls) == 2


async def test_lock_that_ran_out_is_the_next_ones_business(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message whose lock ran out before it was completed comes again and is completed then; no receiver is replaced for it."""
    confirm = Confirming.confirm
    calls: list[bytes] = []

    async def slow(confirming: Confirming, body: bytes, *, seconds: float) -> None:
        await confirm(confirming, body, seconds=seconds)
        calls.append(body)
        if len(calls) == 1:
            await happens(lambda: states(azure) == [("active", 1)])

    monkeypatch.setattr(Confirming, "confirm", slow)
    attached = azure.amqp_requests.count("ATTACH", QUEUE)
    await place(remote_shop, new_order)
    await happens(lambda: len(calls) == 2 and not azure.queue_messages(QUEUE))
    assert azure.amqp_requests.count("ATTACH", QUEUE) <= attached + 1


class ClosedReceiver:
    """A receiver whose link is closed, and that tells nobody: it brings nothing, at once."""

    async def __aenter__(self) -> Self:
        return self

    async def receive_messages(self, **options: Any) -> list[Any]:
        await asyncio.sleep(0)
        return []

    async def close(self) -> None:
        return


def no_receiver() -> Any:
    """Fail as when the queue cannot be reached."""
    raise OSError


@pytest.mark.parametrize("get_receiver", [no_receiver, ClosedReceiver])
async def test_worker_waits_longer_after_each_failure(
    monkeypatch: pytest.MonkeyPatch, get_receiver: Callable[[], Any]
) -> None:
    """While no receiver can be opened, or none stays open, the pauses double from about half a second up to half a minute."""
    stopping = asyncio.Event()
    pauses: list[float] = []

    async def wait(stop: asyncio.Event, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            stop.set()

    class Away:
        def get_receiver(self, **options: Any) -> Any:
            return get_receiver()

    monkeypatch.setattr(worker, "wait", wait)
    confirmations: Any = Away()
    confirming: Any = None  # Nothing comes that could be confirmed.
    async with asyncio.timeout(20):
        await worker.ConfirmationWorker(confirmations, confirming).run(stopping)
    bounds = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, bounds, strict=True))
