"""Forks a process that has connections to three services open; a program of its own, since a test's process has threads."""

from __future__ import annotations

import asyncio
import math
import os
from functools import partial

from fastapi_azure_pool import ManagedAzureEventhubProducer, ManagedAzureServiceBusSender, ManagedCosmos
from tests.support.forking import in_a_forked_child

Clients = tuple[ManagedCosmos, ManagedAzureEventhubProducer, ManagedAzureServiceBusSender]


async def write(clients: Clients, number: str) -> None:
    """Write to each of the services."""
    orders, events, work = clients
    async with orders.get_container_client() as container:
        await container.create_item({"id": number, "customer_id": number})
    await events.send_event(number)
    await work.send_message(number)


async def live_as_child(clients: Clients) -> None:
    """Write over connections of this process's own, and close them."""
    await write(clients, "child")
    for client in clients:
        await client.close()


async def live_as_parent() -> None:
    """Write, fork twice, and write again over the same connections."""
    asyncio.get_running_loop().slow_callback_duration = math.inf  # It stands still while the child lives.
    messaging = os.environ["MESSAGING"]
    orders = ManagedCosmos(os.environ["ENDPOINT"], "shop", "orders", credential=os.environ["KEY"])
    events = ManagedAzureEventhubProducer(connection_string=messaging, eventhub_name="events")
    work = ManagedAzureServiceBusSender(connection_string=messaging, service_bus_queue_name="work")
    clients = (orders, events, work)
    async with orders, events, work:
        before = [client.pool.connections for client in clients]
        await write(clients, "before")
        in_a_forked_child(partial(live_as_child, clients))
        await write(clients, "after")
        assert [client.pool.connections for client in clients] == before


if __name__ == "__main__":
    asyncio.run(live_as_parent())
