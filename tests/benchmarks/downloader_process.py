"""One client of Blob Storage in a process of its own, whose callers download small blobs."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
from abc import ABC, abstractmethod

from aio_azure_clients_toolbox import (  # type: ignore[import-untyped]  # the peer ships no types
    AzureBlobStorageClient as ToolboxClient,
)
from azure.storage.blob.aio import BlobServiceClient

from fastapi_azure_pool import ManagedAzureBlobStorage
from tests.support.processes import answer

from .callers import keep_busy

CONTAINER = "files"
BLOBS = 50
SIZE = 4096
"""Bytes of each blob."""


def blob_name(number: int) -> str:
    """Give the name of one of the blobs."""
    return f"invoices/2026/order-{number % BLOBS:04}.pdf"


class Downloader(ABC):
    """A client of the account.

    Args:
        url: The account's.
        key: The account's.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key

    async def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Open it as an application does when it starts."""

    @abstractmethod
    async def download(self, name: str) -> bytes:
        """Give a blob's content."""

    async def load(self, callers: int, warm_up: float, seconds: float) -> dict[str, float]:
        """Have callers download as fast as they are answered, each its own blob; see `keep_busy`."""
        return await keep_busy(
            lambda caller: map(self._check, itertools.repeat(blob_name(caller))), callers, warm_up, seconds
        )

    async def _check(self, name: str) -> None:
        content = await self.download(name)
        if len(content) != SIZE:
            raise RuntimeError(f"{name} has {len(content)} bytes")


class Managed(Downloader):
    """This library's managed client."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._client = ManagedAzureBlobStorage(url, CONTAINER, credential=key)

    async def open(self) -> None:
        await self._client.open()

    async def download(self, name: str) -> bytes:
        content: bytes = await self._client.download_blob(name)
        return content


class Pooled(Managed):
    """What this library's ``pooled`` gives a handler: the SDK's client of the container."""

    async def download(self, name: str) -> bytes:
        async with self._client.get() as container:
            downloader = await container.download_blob(name)
            content: bytes = await downloader.readall()
            return content


class Shared(Downloader):
    """One of the SDK's service clients with its defaults, shared by all."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._client = BlobServiceClient(url, key)

    async def download(self, name: str) -> bytes:
        downloader = await self._client.get_blob_client(CONTAINER, name).download_blob()
        return await downloader.readall()


class Toolbox(Downloader):
    """aio-azure-clients-toolbox, which opens a connection for each operation."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._client = ToolboxClient(url, CONTAINER, key)

    async def download(self, name: str) -> bytes:
        content: bytes = await self._client.download_blob(name)
        return content


DOWNLOADERS: dict[str, type[Downloader]] = {"managed": Managed, "pooled": Pooled, "shared": Shared, "toolbox": Toolbox}


async def _serve(client: str) -> None:
    downloader = DOWNLOADERS[client](os.environ["STORAGE_URL"], os.environ["STORAGE_KEY"])
    await downloader.open()
    print("ready", flush=True)
    await answer({"load": downloader.load})


def main() -> None:
    """Do what standard input asks for; the account comes in the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", required=True, choices=DOWNLOADERS)
    asyncio.run(_serve(parser.parse_args().client))


if __name__ == "__main__":
    main()
