"""The end of the service: nothing that was ordered is lost by it, and nothing is completed that was not done."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from example_app import background, worker
from example_app.app import create_app
from fastapi_azure_pool import ManagedAzureServiceBusSender
from tests.example_app.conftest import connect
from tests.example_app.watching import QUEUE, happens, place, reaches, states, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2

    from fastapi_azure_pool.emulator import Emulator

    Serve = Callable[[], AbstractAsyncContextManager[httpx2.AsyncClient]]

pytestmark = pytest.mark.usefixtures("confirming")


WORKS = {"confirmation worker", "sweep"}


def names_of_tasks() -> set[str]:
    """Give the names of the tasks that run now."""
    return {task.get_name() for task in asyncio.all_tasks()}


@pytest.fixture(autouse=True)
async def nothing_is_left(azure: Emulator) -> AsyncIterator[None]:
    """Every test ends without a task, a connection to Service Bus and Event Hubs, and an error that only asyncio has seen."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    gc.collect()
    await happens(lambda: azure.connections("amqp").open == 0)
    assert complaints == []


async def test_idle_worker_stops_in_silence(azure: Emulator, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that waits for messages ends without a word, and no task of the service is left."""
    async with serve() as shop:
        await happens(lambda: azure.amqp_requests.count("ATTACH", QUEUE) >= 2)
        assert (await shop.get("/health/live")).status_code == 200
    assert not WORKS & names_of_tasks()
    assert [record.getMessage() for record in caplog.records] == []


async def test_worker_finishes_what_it_holds(azure: Emulator, serve: Serve, new_order: dict[str, Any]) -> None:
    """An order that is being confirmed when the service stops is confirmed, and its message completed, before the pools close."""
    with azure.faults.delay(0.5, service="cosmos", method="PATCH") as fault:
        async with serve() as shop:
            order_id = await place(shop, new_order)
            await happens(lambda: fault.strikes)
            assert states(azure) == [("locked", 0)]
    assert azure.queue_messages(QUEUE) == []
    async with serve() as shop:
        assert await status_of(shop, order_id) == "confirmed"


async def test_worker_gives_back_what_it_cannot_finish(
    azure: Emulator, serve: Serve, new_order: dict[str, Any]
) -> None:
    """A message that is held because the database is away is free at once when the service stops, and not completed."""
    with azure.faults.fail(503, service="cosmos", method="PATCH") as fault:
        async with serve() as shop:
            order_id = await place(shop, new_order)
            await happens(lambda: fault.strikes)
        assert states(azure) == [("active", 1)]
    async with serve() as shop:
        await reaches(shop, order_id, "confirmed")


async def test_worker_stops_while_the_queue_is_away(
    azure: Emulator, serve: Serve, new_order: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that waits for the queue to come back ends, too, and the queue's messages stay."""
    with azure.faults.refuse_attach(path=QUEUE):
        async with serve():
            await happens(lambda: "receiving orders to confirm stands still" in caplog.text)
    async with serve() as shop:
        await reaches(shop, await place(shop, new_order), "confirmed")


async def test_worker_stops_before_the_pools_close(
    azure: Emulator, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the first pool begins to close, the worker and the sweep have ended."""
    running_then: list[set[str]] = []
    close = ManagedAzureServiceBusSender.close

    async def watched_close(client: ManagedAzureServiceBusSender, drain_seconds: float = 10.0) -> None:
        running_then.append(names_of_tasks())
        await close(client, drain_seconds)

    monkeypatch.setattr(ManagedAzureServiceBusSender, "close", watched_close)
    async with serve():
        assert names_of_tasks() >= WORKS
    (names,) = running_then
    assert not WORKS & names


async def test_worker_that_does_not_stop_is_cancelled(
    azure: Emulator, new_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that is stuck when the service stops is cancelled; what it held is not completed, and comes again."""
    app = create_app()
    with azure.faults.delay(30.0, service="cosmos", method="PATCH") as fault, monkeypatch.context() as impatient:
        impatient.setattr(background, "_SECONDS_TO_STOP", 0.2)
        async with app.router.lifespan_context(app):
            async with connect(app) as shop:
                order_id = await place(shop, new_order)
            await happens(lambda: fault.strikes)
    assert "the confirmation worker did not stop in time and is cancelled" in caplog.text
    assert [state for state, _ in states(azure)] != []
    app = create_app()
    async with app.router.lifespan_context(app), connect(app) as shop:
        await reaches(shop, order_id, "confirmed")


async def test_receiver_is_closed_to_the_end() -> None:
    """A worker that is cancelled while it closes its receiver lets that end first, since half of it leaves the socket open."""
    began, may_end = asyncio.Event(), asyncio.Event()

    class SlowReceiver:
        is_closed = False

        async def close(self) -> None:
            began.set()
            await may_end.wait()
            self.is_closed = True

    receiver: Any = SlowReceiver()
    closing = asyncio.create_task(worker._close(receiver))
    await began.wait()
    closing.cancel()
    await asyncio.sleep(0)
    assert not closing.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert receiver.is_closed
