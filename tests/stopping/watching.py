"""Looking at what arrived at the services, and at what became of the connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool import ManagedCosmos
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator import Emulator
    from tests.stopping.serving import Server

ONCE = {"credential made": 1, "credential closed": 1, "pools open": 1, "pools closed": 1}


async def stored(azure: Emulator) -> list[list[str]]:
    """Give the numbers of what each of the three services holds, in order."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    async with orders, orders.get_container_client() as container:
        numbers = [number async for number in container.query_items("SELECT VALUE c.id FROM c")]
    return [
        sorted(str(number) for number in numbers),
        sorted(event.body.decode() for event in azure.received_events("events")),
        sorted(message.body.decode() for message in azure.queue_messages("work")),
    ]


async def everything_was_closed(azure: Emulator, server: Server, processes: int) -> None:
    """Each process closed its credential once, each AMQP connection was closed by a CLOSE, none is open, and nobody complained."""
    assert server.complaints == "", server.complaints
    assert server.told_by_each(*ONCE) == [ONCE] * processes
    await eventually(lambda: sum(azure.connections(service).open for service in ("amqp", "cosmos", "identity")) == 0)
    amqp = azure.connections("amqp")
    assert amqp.accepted >= 2 * processes
    assert azure.amqp_requests.count("CLOSE") == amqp.accepted
