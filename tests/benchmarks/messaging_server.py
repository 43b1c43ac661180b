"""Event Hubs and Service Bus of the local emulator: the service's process of the benchmarks of sending."""

from __future__ import annotations

import gc
import json

from fastapi_azure_pool.emulator import Emulator
from tests.support.processes import answer

from .loops import run_on

HUB = "events"
QUEUE = "messages"


async def serve() -> None:
    """Serve until nobody asks any more; writes the port and the connection string to standard output as JSON."""
    async with Emulator() as azure:
        await azure.create_eventhub(HUB)
        await azure.create_queue(QUEUE)

        async def detach() -> int:
            return azure.faults.detach_links()

        _, _, port = azure.amqp_authority.rpartition(":")
        print(json.dumps({"port": int(port), "connection_string": azure.eventhub_connection_string}), flush=True)
        await answer({"detach": detach})


if __name__ == "__main__":
    # It keeps every message, and would look through them all again and again.
    gc.disable()
    run_on("uvloop", serve())  # The cheaper it answers, the less it hides what differs between its clients.
