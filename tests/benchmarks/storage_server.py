"""Local Azure with small blobs in it: the emulator's process of the benchmark of downloads."""

from __future__ import annotations

import json

from azure.storage.blob.aio import ContainerClient

from fastapi_azure_pool.emulator import Emulator
from tests.support.processes import answer

from .downloader_process import BLOBS, CONTAINER, SIZE, blob_name
from .loops import run_on


async def serve() -> None:
    """Serve until nobody asks any more; writes the account's URL and key to standard output as JSON."""
    async with Emulator() as azure:
        await azure.create_blob_container(CONTAINER)
        async with ContainerClient(azure.blob_endpoint, CONTAINER, azure.storage_key) as container:
            for number in range(BLOBS):
                await container.upload_blob(blob_name(number), bytes([number % 256]) * SIZE)
        print(json.dumps({"url": azure.blob_endpoint, "key": azure.storage_key}), flush=True)
        await answer({})


if __name__ == "__main__":
    run_on("uvloop", serve())  # The cheaper it answers, the less it hides what differs between its clients.
