"""The SDK's client of a container, which keeps its clients of blobs."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.blob_names import checked_blob_name
from fastapi_azure_pool.clients.extras import extra

with extra("blob"):
    from azure.storage.blob.aio import BlobClient, ContainerClient

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

KEPT_BLOB_CLIENTS = 100
"""Clients of blobs that a container keeps at most; each takes 40 KB."""


class _CopiedBlobClient(BlobClient):
    """A copy of a client, which shares with the others what its user cannot change."""

    _container: ContainerClient

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "location_mode":  # The SDK's setter changes the URL of what is shared.
            own = ContainerClient.get_blob_client(self._container, self.blob_name)
            self._client = own._client  # noqa: SLF001 - the SDK has no way to copy a client
        super().__setattr__(name, value)


class PooledContainerClient(ContainerClient):
    """A `ContainerClient` for many users, to whom it is the SDK's own.

    Making the client of a blob takes 0.19 ms of processor time, a tenth of a small download, and every method that takes a blob's
    name makes one. Here the one of a name is made once, and each caller gets a copy, which is his to configure, in 2 µs.
    """

    def __init__(self, account_url: str, container_name: str, **options: Any) -> None:
        super().__init__(account_url, container_name, **options)
        self._kept: OrderedDict[str, BlobClient] = OrderedDict()

    def get_blob_client(
        self, blob: str | BlobProperties, snapshot: str | None = None, *, version_id: str | None = None
    ) -> BlobClient:
        """Give a client of one blob, as `ContainerClient.get_blob_client` does.

        Raises:
            ValueError: The name would address something else; see `checked_blob_name`.
        """
        if not isinstance(blob, str) or snapshot is not None or version_id is not None:
            checked_blob_name(blob if isinstance(blob, str) else blob.name)
            return super().get_blob_client(blob, snapshot, version_id=version_id)  # type: ignore[arg-type]  # the SDK takes both
        client = self._kept.get(blob)
        if client is None:
            client = self._kept[checked_blob_name(blob)] = super().get_blob_client(blob)
            if len(self._kept) > KEPT_BLOB_CLIENTS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(blob)
        copied: _CopiedBlobClient = _CopiedBlobClient.__new__(_CopiedBlobClient)
        copied.__dict__.update(client.__dict__, _container=self)
        return copied
