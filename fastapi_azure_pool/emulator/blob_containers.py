"""What an emulator's owner makes in Blob Storage, and looks at, without a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.containers import check_container_name
from fastapi_azure_pool.emulator.blob.errors import BlobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi_azure_pool.emulator.blob.account import Blob
    from fastapi_azure_pool.emulator.blob.content import Content
    from fastapi_azure_pool.emulator.request_log import RequestLog
    from fastapi_azure_pool.emulator.storage import Storage


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One blob as it was when it was looked at.

    Attributes:
        name: Its name in the container.
        size: How many bytes it has.
        blob_type: ``"BlockBlob"`` or ``"AppendBlob"``.
        content_type: What its sender called it.
        content_encoding: Likewise, "" for none.
        metadata: Its user's.
        etag: As the SDKs show it, in quotes.
    """

    name: str
    size: int
    blob_type: str
    content_type: str
    content_encoding: str
    metadata: Mapping[str, str]
    etag: str
    _content: Content = field(repr=False, compare=False)

    @property
    def content(self) -> bytes:
        """All of its bytes, read when they are asked for."""
        return self._content.read()


class BlobContainers:
    """The part of an Emulator that is about Blob Storage. Containers may be made before the start and after."""

    _storage: Storage

    @property
    def blob_endpoint(self) -> str:
        """The storage account's URL for blobs, such as ``http://127.0.0.1:50126/devstoreaccount1``."""
        return self._storage.endpoint

    @property
    def storage_account(self) -> str:
        """The storage account's name."""
        return self._storage.name

    @property
    def storage_key(self) -> str:
        """The storage account's key."""
        return self._storage.key

    @property
    def blob_connection_string(self) -> str:
        """The storage account's connection string."""
        return self._storage.connection_string

    @property
    def blob_requests(self) -> RequestLog:
        """What Blob Storage was asked so far; paths begin with the account's name."""
        return self._storage.service.requests

    async def create_blob_container(self, name: str) -> None:
        """Make a container.

        Args:
            name: 3 to 63 lower-case letters, digits and single hyphens.

        Raises:
            ValueError: It is there already, or the name is none.
        """
        try:
            check_container_name(name)
        except BlobError as error:
            raise ValueError(
                f"the container name {name!r} must have 3 to 63 lower-case letters, digits and single hyphens"
            ) from error
        if name in self._storage.account.containers:
            raise ValueError(f"there is a blob container called {name!r} already")
        self._storage.account.create_container(name, {})

    def blobs(self, container: str) -> tuple[StoredBlob, ...]:
        """Return what a container holds, by name.

        Raises:
            ValueError: There is no such container.
        """
        found = self._storage.account.containers.get(container)
        if found is None:
            raise ValueError(f"there is no blob container called {container!r}")
        return tuple(_stored(found.blobs[name]) for name in sorted(found.blobs))


def _stored(blob: Blob) -> StoredBlob:
    return StoredBlob(
        name=blob.name,
        size=blob.content.size,
        blob_type=blob.type,
        content_type=blob.settings.content_type,
        content_encoding=blob.settings.content_encoding,
        metadata=MappingProxyType(dict(blob.metadata)),
        etag=blob.version.etag,
        _content=blob.content,
    )
