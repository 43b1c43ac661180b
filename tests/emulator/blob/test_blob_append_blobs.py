"""Append blobs, as the official SDK meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.emulator.blob.blob_sdk import Http, refused

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

    from fastapi_azure_pool.emulator import Emulator


async def test_blocks_are_added_at_the_end(azure: Emulator, invoices: ContainerClient) -> None:
    """Each block is added to those before it; where it went and how many there are is answered."""
    blob = invoices.get_blob_client("log")
    await blob.create_append_blob(metadata={"a": "b"})
    await blob.append_block(b"one ")
    answer = await blob.append_block(b"two ")
    assert (answer["blob_append_offset"], answer["blob_committed_block_count"]) == ("4", 2)
    await blob.upload_blob(b"three", blob_type="AppendBlob")
    assert await (await blob.download_blob()).readall() == b"one two three"
    properties = await blob.get_blob_properties()
    assert (properties.append_blob_committed_block_count, properties.metadata) == (3, {"a": "b"})
    assert properties.etag != answer["etag"]
    (stored,) = azure.blobs("invoices")
    assert (stored.blob_type, stored.size) == ("AppendBlob", 13)


async def test_conditions_on_position_and_size_hold_appends_back(invoices: ContainerClient) -> None:
    """A block is refused where the blob's end is not where its sender thinks, or would lie beyond what he allows."""
    blob = invoices.get_blob_client("log")
    await blob.create_append_blob()
    await blob.append_block(b"12345", appendpos_condition=0)
    with refused(412, "AppendPositionConditionNotMet"):
        await blob.append_block(b"6", appendpos_condition=4)
    with refused(412, "MaxBlobSizeConditionNotMet"):
        await blob.append_block(b"67", maxsize_condition=6)
    await blob.append_block(b"6", maxsize_condition=6, appendpos_condition=5)
    assert await (await blob.download_blob()).readall() == b"123456"


async def test_only_append_blobs_grow(http: Http, invoices: ContainerClient) -> None:
    """Nothing is appended to a block blob, to nothing, or by an empty block; a new append blob has no content."""
    await invoices.upload_blob("1", b"one")
    with refused(409, "InvalidBlobType"):
        await invoices.get_blob_client("1").append_block(b"two")
    with refused(404, "BlobNotFound"):
        await invoices.get_blob_client("none").append_block(b"two")
    await invoices.get_blob_client("log").create_append_blob()
    assert await http.send("PUT", "/invoices/log", "comp=appendblock", body=b"") == (400, "InvalidHeaderValue")
    answer = await http.send("PUT", "/invoices/log", body=b"x", x_ms_blob_type="AppendBlob")
    assert answer == (400, "InvalidHeaderValue")
    answer = await http.send("PUT", "/invoices/log", "comp=appendblock", body=b"x", x_ms_blob_condition_appendpos="-1")
    assert answer == (400, "InvalidHeaderValue")


async def test_append_blob_that_grows_out_of_memory_is_one_all_the_same(invoices: ContainerClient) -> None:
    """Small and large blocks, many times, add up to what was sent."""
    blob = invoices.get_blob_client("log")
    await blob.create_append_blob()
    blocks = [bytes([number]) * (60_000 + 100_000 * (number % 4)) for number in range(12)]
    for block in blocks:
        await blob.append_block(block)
    assert await (await blob.download_blob()).readall() == b"".join(blocks)
