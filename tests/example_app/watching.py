"""Looking at what the service does in the background, from where its clients and operators look."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from fastapi_azure_pool.emulator import Emulator

HUB = "order-events"
QUEUE = "confirmations"


async def place(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> str:
    """Place an order and give its id."""
    answer = await shop.post("/orders", json=new_order)
    assert (answer.status_code, answer.json()["status"]) == (201, "placed")
    order_id: str = answer.json()["id"]
    return order_id


async def status_of(shop: httpx2.AsyncClient, order_id: str) -> str:
    """Read an order's status."""
    answer = await shop.get(f"/orders/{order_id}")
    assert answer.status_code == 200
    status: str = answer.json()["status"]
    return status


async def reaches(shop: httpx2.AsyncClient, order_id: str, status: str, *, seconds: float = 20.0) -> None:
    """Read an order again and again until it has a status; fail when it does not get it."""

    async def has_it() -> bool:
        return await status_of(shop, order_id) == status

    await holds(has_it, seconds=seconds)


async def holds(condition: Callable[[], Awaitable[object]], *, seconds: float = 20.0) -> None:
    """Ask again and again until the condition holds; fail when it does not."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - as in `happens`
            await asyncio.sleep(0.01)  # Asking without a pause would take the processor from what is asked about.


async def happens(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Let the loop turn until the condition holds; fail when it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what happens in the emulator and the SDKs sets no event for tests
            await asyncio.sleep(0.001)


def states(azure: Emulator) -> list[tuple[str, int]]:
    """Give the state and the delivery count of each message in the queue."""
    return [(message.state, message.delivery_count) for message in azure.queue_messages(QUEUE)]


def free_port() -> int:
    """Give a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def stored(app: Any, order_id: str) -> dict[str, Any]:
    """Read what is stored of an order, with what its clients do not see."""
    async with app.state.azure_pools["orders"].get() as container:
        item: dict[str, Any] = await container.read_item(order_id, partition_key=order_id.rpartition("-")[0])
        return item
