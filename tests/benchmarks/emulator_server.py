"""Local Azure with one order in it: the emulator's process of the end-to-end benchmark."""

from __future__ import annotations

import json

from azure.cosmos.aio import CosmosClient

from example_app.connections import PARTITION_KEY
from fastapi_azure_pool.emulator import Emulator
from tests.support.processes import answer

from .loops import run_on
from .orders_app import CONTAINER, DATABASE, SAMPLE


async def serve() -> None:
    """Serve until nobody asks any more; writes the endpoint and the key to standard output as JSON."""
    async with Emulator() as azure:
        await azure.create_cosmos_container(DATABASE, CONTAINER, partition_key=PARTITION_KEY)
        async with CosmosClient(azure.cosmos_endpoint, azure.cosmos_key) as client:
            container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
            await container.create_item(SAMPLE.model_dump(mode="json"))
        print(
            json.dumps({"endpoint": azure.cosmos_endpoint, "key": azure.cosmos_key, "order_id": SAMPLE.id}), flush=True
        )
        await answer({})


if __name__ == "__main__":
    run_on("uvloop", serve())  # The cheaper it answers, the less it hides what differs between its clients.
