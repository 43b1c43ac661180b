"""What they promise of Blob Storage and no other test shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool import AzureBlobStorageClient

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator import Emulator
    from tests.peers.conftest import Credential


@pytest.mark.parametrize("by_name", [True, False])
async def test_credentials_are_given_as_to_theirs(emulator: Emulator, credential: Credential, by_name: bool) -> None:
    """A credential that was made is the third argument, or `credentials`; the URL gets its slash, the container loses its own."""
    await emulator.create_blob_container("files")
    url, made = emulator.blob_endpoint, credential()
    given: dict[str, Any] = {"az_storage_url": url, "container_name": "/files", "credentials": made}
    client = AzureBlobStorageClient(**given) if by_name else AzureBlobStorageClient(url, "/files", made)
    async with client:
        assert (client.az_storage_url, client.container_name) == (f"{url}/", "files")
        stored, answer = await client.upload_blob("a", b"hello")
        assert (stored, await client.download_blob("a")) == (True, b"hello")
        assert answer["etag"]
