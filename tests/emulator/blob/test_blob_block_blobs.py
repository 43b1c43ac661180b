"""Block blobs, as the official SDK meets them."""

from __future__ import annotations

import hashlib
import random
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError
from azure.storage.blob import BlobBlock, ContentSettings, StandardBlobTier

from tests.emulator.blob.blob_sdk import Http, connect, refused

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

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
    assert dict(stored.metadata) == {"customer": "ada"}


async def test_blob_is_overwritten_only_where_that_is_asked_for(invoices: ContainerClient) -> None:
    """upload_blob refuses a name that is taken, unless told to overwrite."""
    await invoices.upload_blob("1", b"one")
    with refused(409, "BlobAlreadyExists") as caught:
        await invoices.upload_blob("1", b"two")
    assert isinstance(caught.value, ResourceExistsError)
    await invoices.upload_blob("1", b"three", overwrite=True)
    assert await (await invoices.download_blob("1")).readall() == b"three"


async def test_write_waits_for_no_other_version(invoices: ContainerClient) -> None:
    """With an etag, a write is done only on the version that the writer has seen."""
    blob = invoices.get_blob_client("1")
    first = await blob.upload_blob(b"one")
    second = await blob.upload_blob(
        b"two", overwrite=True, etag=first["etag"], match_condition=MatchConditions.IfNotModified
    )
    assert second["etag"] != first["etag"]
    with refused(412, "ConditionNotMet") as caught:
        await blob.upload_blob(
            b"three", overwrite=True, etag=first["etag"], match_condition=MatchConditions.IfNotModified
        )
    assert isinstance(caught.value, ResourceModifiedError)
    with refused(412, "ConditionNotMet"):
        await blob.delete_blob(etag=first["etag"], match_condition=MatchConditions.IfNotModified)
    with refused(412, "ConditionNotMet"):
        await invoices.get_blob_client("none").upload_blob(
            b"", overwrite=True, match_condition=MatchConditions.IfPresent
        )
    assert await (await blob.download_blob()).readall() == b"two"


async def test_large_blob_goes_in_blocks_and_comes_in_ranges(azure: Emulator) -> None:
    """A blob beyond the SDK's limits is put together from blocks, and downloaded in ranges, without a byte changed."""
    data = random.Random(1).randbytes(3_000_001)
    limits = {"max_single_put_size": 1_000, "max_single_get_size": 700_000, "max_chunk_get_size": 400_000}
    async with connect(azure, max_block_size=900_000, **limits) as service:
        blob = service.get_blob_client("invoices", "large")
        await blob.upload_blob(data, max_concurrency=3)
        assert await (await blob.download_blob(max_concurrency=3)).readall() == data
    assert azure.blob_requests.count("PUT") == 5
    assert azure.blob_requests.count("GET") == 7


async def test_blocks_are_staged_listed_and_committed(invoices: ContainerClient) -> None:
    """Blocks are invisible until a list commits them, in its order; those left out are gone, those committed can be used again."""
    blob = invoices.get_blob_client("1")
    for name in ("aaa", "bbb", "ccc"):
        await blob.stage_block(name, name.encode())
    with refused(404, "BlobNotFound"):
        await blob.download_blob()
    committed, staged = await blob.get_block_list("all")
    assert (committed, [(block.id, block.size) for block in staged]) == ([], [("aaa", 3), ("bbb", 3), ("ccc", 3)])
    await blob.commit_block_list([BlobBlock("ccc"), BlobBlock("aaa"), BlobBlock("ccc")])
    assert await (await blob.download_blob()).readall() == b"cccaaaccc"
    committed, staged = await blob.get_block_list("all")
    assert ([block.id for block in committed], staged) == (["ccc", "aaa", "ccc"], [])
    await blob.stage_block("aaa", b"new")
    await blob.commit_block_list([BlobBlock("aaa"), BlobBlock("ccc")])
    assert await (await blob.download_blob()).readall() == b"newccc"


async def test_block_list_says_where_a_block_is_looked_for(http: Http, invoices: ContainerClient) -> None:
    """A block can be named as committed, as staged, or as whichever is latest; one that is not there is refused."""
    blob = invoices.get_blob_client("1")
    await blob.stage_block("a", b"old")
    await blob.commit_block_list([BlobBlock("a")])
    await blob.stage_block("a", b"new")
    name = b64encode(b"a").decode()

    async def commit(kind: str, name: str = name) -> tuple[int, str]:
        body = f"<?xml version='1.0'?><BlockList><{kind}>{name}</{kind}></BlockList>".encode()
        return await http.send("PUT", "/invoices/1", "comp=blocklist", body=body)

    assert await commit("Committed") == (201, "")
    assert await (await blob.download_blob()).readall() == b"old"
    assert await commit("Uncommitted") == (400, "InvalidBlockList")
    await blob.stage_block("a", b"new")
    assert await commit("Uncommitted") == (201, "")
    assert await (await blob.download_blob()).readall() == b"new"
    assert await commit("Latest", b64encode(b"b").decode()) == (400, "InvalidBlockList")
    assert await commit("Newest") == (400, "InvalidXmlDocument")


async def test_settings_tier_and_metadata_stay_with_a_committed_blob(invoices: ContainerClient) -> None:
    """What is sent with the list of blocks is what the blob has."""
    blob = invoices.get_blob_client("1")
    await blob.stage_block("a", b"x")
    settings = ContentSettings(content_type="text/plain", cache_control="no-cache", content_language="de")
    await blob.commit_block_list(
        [BlobBlock("a")],
        content_settings=settings,
        metadata={"a": "b"},
        standard_blob_tier=StandardBlobTier.COOL,
    )
    properties = await blob.get_blob_properties()
    assert properties.content_settings.content_type == "text/plain"
    assert (properties.content_settings.cache_control, properties.content_settings.content_language) == (
        "no-cache",
        "de",
    )
    assert (properties.metadata, properties.blob_tier, properties.blob_type) == ({"a": "b"}, "Cool", "BlockBlob")


async def test_hashes_are_checked(http: Http, invoices: ContainerClient) -> None:
    """A body that is not what its hash says is refused and not stored."""
    right = b64encode(hashlib.md5(b"x").digest()).decode()
    wrong = b64encode(hashlib.md5(b"y").digest()).decode()
    for target in ("", "comp=block&blockid=YQ=="):
        sent = {"x_ms_blob_type": "BlockBlob"}
        for content_md5, expected in ((wrong, (400, "Md5Mismatch")), ("eA==", (400, "InvalidMd5")), (right, (201, ""))):
            answer = await http.send("PUT", "/invoices/1", target, body=b"x", content_md5=content_md5, **sent)
            assert answer == expected
    await invoices.upload_blob("2", b"large" * 100_000, validate_content=True)


async def test_blocks_are_of_one_blob_type_and_one_length(http: Http, invoices: ContainerClient) -> None:
    """Blocks of an append blob, and ids of two lengths in one blob, are refused."""
    await invoices.get_blob_client("log").create_append_blob()
    with refused(409, "InvalidBlobType"):
        await invoices.get_blob_client("log").stage_block("a", b"x")
    assert (await http.send("PUT", "/invoices/1", "comp=block&blockid=YQ==", body=b"x")) == (201, "")
    assert (await http.send("PUT", "/invoices/1", "comp=block&blockid=YWE=", body=b"x")) == (
        400,
        "InvalidBlobOrBlock",
    )


async def test_tier_can_be_set_and_archived_blob_cannot_be_read(invoices: ContainerClient) -> None:
    """A blob's tier is told with its properties; out of the archive nothing can be downloaded."""
    blob = await invoices.upload_blob("1", b"one")
    before = await blob.get_blob_properties()
    assert (before.blob_tier, before.blob_tier_inferred) == ("Hot", True)
    await blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    after = await blob.get_blob_properties()
    assert (after.blob_tier, after.etag) == ("Archive", before.etag)
    assert not after.blob_tier_inferred
    with refused(409, "BlobArchived"):
        await blob.download_blob()


async def test_missing_blob_and_container_are_told_apart(invoices: ContainerClient) -> None:
    """What is not there is 404, with the code of what is missing."""
    blob = invoices.get_blob_client("none")
    for attempt in (blob.download_blob, blob.get_blob_properties, blob.delete_blob, blob.get_block_list):
        with refused(404, "BlobNotFound"):
            await attempt()
    assert not await blob.exists()
    await invoices.delete_container()
    for attempt in (blob.download_blob, blob.get_blob_properties, blob.delete_blob, blob.get_block_list):
        with refused(404, "ContainerNotFound"):
            await attempt()
    with refused(404, "ContainerNotFound"):
        await blob.upload_blob(b"")


@pytest.mark.parametrize(
    "name", ["a b", "ä/ö", "a%2Fb", "a?b#c&d=e", "a..b", "a//b", "~", "日本", "a+b", "'\"<>&", "\x01x"]
)
async def test_names_have_every_character(azure: Emulator, invoices: ContainerClient, name: str) -> None:
    """A blob is found under the name that it was given, whatever is in it, and listed under it."""
    await invoices.upload_blob(name, b"here")
    assert await (await invoices.download_blob(name)).readall() == b"here"
    assert [one.name async for one in invoices.list_blobs()] == [name]
    assert [one.name for one in azure.blobs("invoices")] == [name]
    await invoices.delete_blob(name)
    assert azure.blobs("invoices") == ()
