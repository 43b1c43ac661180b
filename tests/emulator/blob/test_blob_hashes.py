"""Hashes that are sent with content, what becomes of them, and of blocks that were never committed."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from typing import TYPE_CHECKING

from azure.storage.blob import ContentSettings

from tests.emulator.blob.blob_sdk import Http, refused

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

OTHER = b64encode(md5(b"other", usedforsecurity=False).digest()).decode()


async def test_wrong_hash_of_a_blob_is_refused(http: Http) -> None:
    """The hash that a blob is to be kept with must be that of its content."""
    headers = {"x_ms_blob_type": "BlockBlob", "x_ms_blob_content_md5": OTHER}
    assert await http.send("PUT", "/invoices/1", body=b"one", **headers) == (400, "Md5Mismatch")


async def test_wrong_hash_or_place_of_what_is_appended_is_refused(http: Http, invoices: ContainerClient) -> None:
    """What is appended must have the hash that comes with it, and go to the very end."""
    blob = invoices.get_blob_client("log")
    await blob.create_append_blob()
    expected = (400, "Md5Mismatch")
    assert await http.send("PUT", "/invoices/log", "comp=appendblock", body=b"one", content_md5=OTHER) == expected
    with refused(412, "AppendPositionConditionNotMet"):
        await blob.append_block(b"one", appendpos_condition=1)
    assert (await blob.get_blob_properties()).size == 0


async def test_append_makes_the_hash_of_the_whole_untrue(invoices: ContainerClient) -> None:
    """A hash that was set for an append blob is gone when it grows."""
    blob = invoices.get_blob_client("log")
    await blob.create_append_blob()
    await blob.set_http_headers(ContentSettings(content_md5=bytearray(16)))
    assert (await blob.get_blob_properties()).content_settings.content_md5 == bytearray(16)
    await blob.append_block(b"one")
    assert (await blob.get_blob_properties()).content_settings.content_md5 is None


async def test_blocks_that_wait_are_gone_with_their_blob(invoices: ContainerClient) -> None:
    """To put a blob whole, or to delete it, gives up the blocks that waited to be committed to it."""
    blob = await invoices.upload_blob("1", b"one")
    await blob.stage_block("a", b"two")
    await blob.upload_blob(b"three", overwrite=True)
    assert await blob.get_block_list("all") == ([], [])
    await blob.stage_block("a", b"two")
    await blob.delete_blob()
    with refused(404, "BlobNotFound"):
        await blob.get_block_list("all")
