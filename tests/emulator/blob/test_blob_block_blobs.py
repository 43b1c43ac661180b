"""Block blobs, as the official SDK meets them."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

    from fastapi_azure_pool.emulator import Emulator


async def test_uploaded_blob_is_downloaded(azure: Emulator, invoices: ContainerClient) -> None:
    """What is uploaded can be downloaded, and is what the emulator's owner sees."""
    blob = invoices.get_blob_client("2026/1.txt")
    sent = await blob.upload_blob(b"three coins", metadata={"customer": "ada"})
    stream = await blob.download_blob()
    assert await stream.readall() == b"three coins"
    assert stream.properties.metadata == {"customer": "ada"}
    assert stream.properties.etag == sent["etag"]
    assert stream.properties.content_settings.content_md5 == bytearray(hashlib.md5(b"three coins").digest())
    (stored,) = azure.blobs("invoices")
    assert (stored.name, stored.content, stored.etag) == ("2026/1.txt", b"three coins", sent["etag"])
    assert (stored.size, stored.blob_type, stored.content_type) == (11, "BlockBlob", "application/octet-stream")


async def test_blob_is_overwritten_only_where_that_is_asked_for(invoices: ContainerClient) -> None:
    """upload_blob refuses a name that is taken, unless told to overwrite."""
    await invoices.upload_blob("1", b"one")
    with pytest.raises(ResourceExistsError) as caught:
        await invoices.upload_blob("1", b"two")
    assert (caught.value.status_code, caught.value.error_code) == (409, "BlobAlreadyExists")
    await invoices.upload_blob("1", b"three", overwrite=True)
    assert await (await invoices.download_blob("1")).readall() == b"three"


async def test_large_blob_goes_in_blocks_and_comes_in_ranges(
    azure: Emulator, connect_client: Callable[..., BlobServiceClient]
) -> None:
    """A blob beyond the SDK's limits is put together from blocks, and downloaded in ranges, without a byte changed."""
    data = random.Random(1).randbytes(3_000_001)
    limits = {"max_single_put_size": 1_000, "max_single_get_size": 700_000, "max_chunk_get_size": 400_000}
    async with connect_client(azure, max_block_size=900_000, **limits) as service:
        blob = service.get_blob_client("invoices", "large")
        await blob.upload_blob(data, max_concurrency=3)
        assert await (await blob.download_blob(max_concurrency=3)).readall() == data
    assert azure.blob_requests.count("PUT") == 5
    assert azure.blob_requests.count("GET") == 7


async def test_missing_blob_and_container_are_told_apart(azure: Emulator, invoices: ContainerClient) -> None:
    """What is not there is 404, with the code of what is missing."""
    with pytest.raises(ResourceNotFoundError) as caught:
        await invoices.download_blob("none")
    assert caught.value.error_code == "BlobNotFound"
    assert not await invoices.get_blob_client("none").exists()
    await invoices.delete_container()
    with pytest.raises(ResourceNotFoundError) as caught:
        await invoices.download_blob("none")
    assert caught.value.error_code == "ContainerNotFound"
