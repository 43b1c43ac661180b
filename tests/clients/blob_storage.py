"""Clients of Blob Storage, and a storage account that holds the container "files"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.storage.blob.aio import BlobServiceClient

from fastapi_azure_pool import AzureBlobStorageClient, ManagedAzureBlobStorage

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi_azure_pool.emulator import Emulator
    from tests.judges.servers import StorageServer

Client = AzureBlobStorageClient | ManagedAzureBlobStorage

KINDS: list[type[Any]] = [AzureBlobStorageClient, ManagedAzureBlobStorage]

NO_RETRIES = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}

MIB = 1024 * 1024


async def make_container(server: StorageServer, name: str = "files") -> None:
    """Make a container."""
    async with BlobServiceClient.from_connection_string(server.connection_string) as service:
        await service.create_container(name)


def files_of(azure: Emulator, kind: type[Any] = ManagedAzureBlobStorage, **options: Any) -> Any:
    """Give a client of the emulator's container "files", with the account's key."""
    return kind(azure.blob_endpoint, "files", **{"credential": azure.storage_key, **options})


def names_in(directory: Path) -> list[str]:
    """Give the names of what is in a directory, hidden files too."""
    return sorted(path.name for path in directory.iterdir())
