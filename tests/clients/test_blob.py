"""What the clients of Blob Storage do with blobs: the same against the emulator and against Azurite."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobClient, StorageStreamDownloader
from starlette.datastructures import UploadFile

from fastapi_azure_pool import AzureBlobError, AzureBlobStorageClient, ManagedAzureBlobStorage
from tests.clients.blob_storage import MIB, make_container, names_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.judges.servers import StorageServer

LONG = bytes(range(256)) * (9 * MIB // 256) + b"end"

# What no version of a server that others wrote has, with the error code that it answers.
NOT_IMPLEMENTED = {"azurite": {"upload_blob_from_url": "APINotImplemented"}}


@pytest.fixture
async def files(storage_server: StorageServer) -> AsyncIterator[ManagedAzureBlobStorage]:
    """A client of the container "files", which is empty."""
    await make_container(storage_server)
    async with ManagedAzureBlobStorage(storage_server.endpoint, "files", credential=storage_server.key) as client:
        yield client


async def _pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def _texts() -> AsyncIterator[str]:
    yield "grü"
    yield "ße"


def _generator() -> Iterator[bytes]:
    yield b"one"
    yield b"two"


CONTENTS: dict[str, tuple[Any, bytes]] = {
    "bytes": (b"hello", b"hello"),
    "no bytes": (b"", b""),
    "bytearray": (bytearray(b"hello"), b"hello"),
    "memoryview": (memoryview(b"hello"), b"hello"),
    "text": ("grüße", "grüße".encode()),
    "list": ([b"one", b"two"], b"onetwo"),
    "texts": (["grü", "ße"], "grüße".encode()),
    "generator": (_generator, b"onetwo"),
    "async texts": (_texts, "grüße".encode()),
    "nothing from an iterable": (lambda: iter(()), b""),
    "async pieces of a long content": (lambda: _pieces(LONG, 70_000), LONG),
    "exactly one block": (lambda: _pieces(bytes(4 * MIB), MIB), bytes(4 * MIB)),
    "file": (lambda: io.BytesIO(b"hello"), b"hello"),
    "long file": (lambda: io.BytesIO(LONG), LONG),
    "upload of a form": (lambda: UploadFile(io.BytesIO(b"hello"), filename="hello.txt"), b"hello"),
}


@pytest.mark.parametrize(("given", "stored"), CONTENTS.values(), ids=CONTENTS)
async def test_every_kind_of_content_is_stored(files: ManagedAzureBlobStorage, given: Any, stored: bytes) -> None:
    """Bytes, texts, iterables, async iterables and files are stored, and downloaded again as bytes."""
    is_stored, result = await files.upload_blob("some/blob", given() if callable(given) else given)
    assert is_stored
    assert result["etag"]
    assert await files.download_blob("some/blob") == stored


async def test_a_blob_is_there_already(files: ManagedAzureBlobStorage) -> None:
    """A second upload fails with 409 unless it overwrites."""
    await files.upload_blob("a", b"first")
    with pytest.raises(AzureBlobError, match="blob 'a': The specified blob already exists") as raised:
        await files.upload_blob("a", b"second")
    error = raised.value
    assert (error.status_code, error.error_code, error.blob_name) == (409, "BlobAlreadyExists", "a")
    assert error.reason
    assert type(error.__cause__).__name__ == "ResourceExistsError"
    assert await files.download_blob("a") == b"first"
    await files.upload_blob("a", b"second", overwrite=True)
    assert await files.download_blob("a") == b"second"


async def test_a_long_blob_is_there_already(files: ManagedAzureBlobStorage) -> None:
    """Content that is sent block by block is refused likewise, when it is put together."""
    await files.upload_blob("a", b"first")
    with pytest.raises(AzureBlobError) as raised:
        await files.upload_blob("a", _pieces(LONG, MIB))
    assert (raised.value.status_code, raised.value.error_code) == (409, "BlobAlreadyExists")
    assert await files.download_blob("a") == b"first"


async def test_the_sdk_s_options_of_an_upload_arrive(files: ManagedAzureBlobStorage) -> None:
    """Metadata and content settings are stored; a length ends the content."""
    settings = ContentSettings(content_type="text/plain", cache_control="no-store")
    await files.upload_blob("a", b"hello", metadata={"order": "7"}, content_settings=settings)
    async with files.get_blob_download_stream("a") as stream:
        assert stream.properties.metadata == {"order": "7"}
        assert stream.properties.content_settings.content_type == "text/plain"
        assert stream.properties.content_settings.cache_control == "no-store"
    await files.upload_blob("b", io.BytesIO(b"hello world"), length=5)
    assert await files.download_blob("b") == b"hello"
    await files.upload_blob("c", ["grü", "ße"], encoding="latin-1")
    assert await files.download_blob("c", encoding="latin-1") == "grüße"


async def test_an_append_blob_grows(files: ManagedAzureBlobStorage) -> None:
    """blob_type says what kind of blob it is."""
    await files.upload_blob("log", b"one\n", blob_type="AppendBlob")
    await files.upload_blob("log", b"two\n", blob_type="AppendBlob")
    assert await files.download_blob("log") == b"one\ntwo\n"


async def test_what_is_missing_is_told(files: ManagedAzureBlobStorage) -> None:
    """Downloads and deletions of a blob that is not there raise AzureBlobError with 404, whichever way they are asked for."""

    async def stream() -> None:
        async with files.get_blob_download_stream("missing"):
            pass

    async def with_the_sdk_s_client() -> None:
        async with files.get_blob_client("missing") as blob:
            await blob.get_blob_properties()

    for ask in (lambda: files.download_blob("missing"), stream, lambda: files.delete_blob("missing")):
        with pytest.raises(AzureBlobError, match="blob 'missing': The specified blob does not exist") as raised:
            await ask()
        assert (raised.value.status_code, raised.value.error_code) == (404, "BlobNotFound")
        assert str(raised.value).endswith(raised.value.message)
        assert isinstance(raised.value, ResourceNotFoundError)
    with pytest.raises(AzureBlobError) as raised:
        await with_the_sdk_s_client()
    assert (raised.value.status_code, raised.value.error_code) == (404, "BlobNotFound")


async def test_a_part_of_a_blob_is_downloaded(files: ManagedAzureBlobStorage) -> None:
    """Offset and length are the SDK's; the content of several requests is put together, also by the SDK's own tasks."""
    await files.upload_blob("long", LONG)
    assert await files.download_blob("long", offset=len(LONG) - 3, length=3) == b"end"
    assert await files.download_blob("long") == LONG
    progress: list[int] = []

    async def note(current: int, total: int) -> None:
        progress.append(current)
        assert total == len(LONG)

    assert await files.download_blob("long", max_concurrency=3, progress_hook=note) == LONG
    assert max(progress) == len(LONG)
    with pytest.raises(AzureBlobError) as raised:
        await files.download_blob("long", offset=len(LONG) + 1)
    assert (raised.value.status_code, raised.value.error_code) == (416, "InvalidRange")


async def test_a_stream_gives_properties_pieces_and_reads(files: ManagedAzureBlobStorage) -> None:
    """The stream is the SDK's: what it is known by, its pieces, its parts, the whole, and into a file."""
    await files.upload_blob("long", LONG)
    async with files.get_blob_download_stream("long") as stream:
        assert isinstance(stream, StorageStreamDownloader)
        assert (stream.size, stream.name, stream.properties.size) == (len(LONG), "long", len(LONG))
        chunks = stream.chunks()
        pieces = [piece async for piece in chunks]
        assert b"".join(pieces) == LONG
        assert max(map(len, pieces)) == 4 * MIB
    async with files.get_blob_download_stream("long") as stream:
        assert await stream.read(5) == LONG[:5]
        assert await stream.readall() == LONG[5:]
    async with files.get_blob_download_stream("long") as stream:
        file = io.BytesIO()
        assert await stream.readinto(file) == len(LONG)
        assert file.getvalue() == LONG
    async with files.get_blob_download_stream("long", encoding="latin-1", length=10, offset=250) as stream:
        assert await stream.read(chars=4) == "úûüý"


async def test_a_blob_that_changes_while_it_is_read_is_told(files: ManagedAzureBlobStorage) -> None:
    """The pieces of a stream are of one version: when another takes its place, reading on raises AzureBlobError."""
    await files.upload_blob("long", LONG)
    async with files.get_blob_download_stream("long") as stream:
        await files.upload_blob("long", LONG[::-1], overwrite=True)
        with pytest.raises(AzureBlobError) as raised:
            [piece async for piece in stream.chunks()]
    assert (raised.value.status_code, raised.value.error_code) == (412, "ConditionNotMet")


async def test_names_of_any_characters(files: ManagedAzureBlobStorage) -> None:
    """Names with reserved characters, spaces and letters beyond ASCII are stored, listed, read and deleted as they are."""
    names = [" a b/c?d#e%20f&g=h+i.txt", "grüße/日本.pdf", "a//b", "...", "c:d", "-", "(1) [2] {3} 'x' ~!$*,;@"]
    for name in names:
        assert (await files.upload_blob(name, name.encode()))[0]
    assert sorted([blob.name async for blob in files.list_blobs()]) == sorted(names)
    for name in names:
        assert await files.download_blob(name) == name.encode()
        await files.delete_blob(name)
    assert [blob.name async for blob in files.list_blobs()] == []


async def test_blobs_are_listed_page_by_page(files: ManagedAzureBlobStorage) -> None:
    """All names come, in order, over as many pages as there are; a prefix narrows them, and metadata comes where it is wanted."""
    names = [f"2026/{number:02}" for number in range(7)]
    for name in [*names, "other"]:
        await files.upload_blob(name, b"", metadata={"name": "x"})
    assert [blob.name async for blob in files.list_blobs("2026/", results_per_page=3)] == names
    assert [blob.name async for blob in files.list_blobs(prefix="nothing")] == []
    everything = [blob async for blob in files.list_blobs(include=["metadata"])]
    assert [blob.name for blob in everything] == [*names, "other"]
    assert everything[0].metadata == {"name": "x"}
    assert everything[0].container == "files"


async def test_a_blob_is_deleted(files: ManagedAzureBlobStorage) -> None:
    """A deleted blob is gone."""
    await files.upload_blob("a", b"hello")
    await files.delete_blob("a")
    with pytest.raises(AzureBlobError):
        await files.download_blob("a")


async def test_a_blob_is_stored_from_a_url(files: ManagedAzureBlobStorage, storage_server: StorageServer) -> None:
    """Blob Storage itself reads the URL, here another blob's with a signature; an existing blob is replaced unless told not to."""
    await files.upload_blob("a", b"hello")
    url = await files.get_blob_sas_url("a")
    code = NOT_IMPLEMENTED.get(storage_server.name, {}).get("upload_blob_from_url")
    if code is not None:
        with pytest.raises(AzureBlobError) as raised:
            await files.upload_blob_from_url("b", url)
        assert raised.value.error_code == code
        return
    result = await files.upload_blob_from_url("b", url)
    assert result["etag"]
    assert await files.download_blob("b") == b"hello"
    await files.upload_blob_from_url("b", url)
    with pytest.raises(AzureBlobError) as raised:
        await files.upload_blob_from_url("b", url, overwrite=False)
    assert (raised.value.status_code, raised.value.error_code) == (409, "BlobAlreadyExists")


async def test_a_signed_url_reads_one_blob_until_it_ends(files: ManagedAzureBlobStorage) -> None:
    """The account's key signs without asking: who has the URL reads that blob, writes nothing, and reads no other."""
    name = "in voices/1?#%.pdf"
    await files.upload_blob(name, b"hello")
    urls = await files.get_blob_sas_url_list([name, "other"])
    assert list(urls) == [name, "other"]
    async with BlobClient.from_blob_url(urls[name]) as blob:
        assert await (await blob.download_blob()).readall() == b"hello"
        with pytest.raises(HttpResponseError, match="not authorized") as refused:
            await blob.upload_blob(b"x", overwrite=True)
        assert refused.value.status_code == 403
    token = await files.get_blob_sas_token(name, datetime.now(UTC) + timedelta(minutes=5))
    assert "sp=r&" in token
    other = f"{files.az_storage_url}{files.container_name}/other?{token}"
    async with BlobClient.from_blob_url(other) as blob:
        with pytest.raises(HttpResponseError, match=r"Signature did not match|authenticate") as refused:
            await blob.download_blob()
        assert refused.value.status_code == 403


async def test_a_blob_is_saved_in_a_directory(files: ManagedAzureBlobStorage, tmp_path: Path) -> None:
    """The file has the last part of the blob's name and all of its content; its path is returned."""
    await files.upload_blob("some/long.bin", LONG)
    assert await files.download_blob_to_dir(str(tmp_path), "some/long.bin") == str(tmp_path / "long.bin")
    assert (tmp_path / "long.bin").read_bytes() == LONG
    assert names_in(tmp_path) == ["long.bin"]


async def test_the_sdk_s_container_client_is_at_hand(files: ManagedAzureBlobStorage) -> None:
    """What these methods do not cover, the SDK's client does, over the same connection."""
    async with files.get_container_client() as container:
        await container.upload_blob("a", b"hello")
        await container.get_blob_client("a").set_blob_metadata({"kind": "greeting"})
        assert (await container.get_blob_client("a").get_blob_properties()).metadata == {"kind": "greeting"}


async def test_the_basic_client_does_the_same(storage_server: StorageServer, tmp_path: Path) -> None:
    """Every method, over one connection that is opened at the first use."""
    await make_container(storage_server)
    files = AzureBlobStorageClient(storage_server.endpoint, "files", credential=storage_server.key)
    assert await files.upload_blob("a/b", b"hello")
    assert await files.download_blob("a/b") == b"hello"
    async with files.get_blob_download_stream("a/b") as stream:
        assert await stream.readall() == b"hello"
    assert await files.download_blob_to_dir(tmp_path, "a/b") == str(tmp_path / "b")
    assert [blob.name async for blob in files.list_blobs("a/")] == ["a/b"]
    token = await files.get_blob_sas_token("a/b")
    assert list(await files.get_blob_sas_token_list(["a/b"])) == ["a/b"]
    url = await files.get_blob_sas_url("a/b")
    assert url.startswith(f"{storage_server.endpoint}/files/a/b?")
    assert url.endswith(token)
    assert list(await files.get_blob_sas_url_list(["a/b"])) == ["a/b"]
    async with files.get_blob_client("a/b") as blob:
        assert (await blob.get_blob_properties()).size == 5
    with pytest.raises(AzureBlobError):
        await files.upload_blob_from_url("c", f"{storage_server.endpoint}/files/missing?{token}")
    await files.delete_blob("a/b")
    with pytest.raises(AzureBlobError):
        await files.download_blob("a/b")
    assert files.safe_blob_name(" a/b. ") == "a/b"
    await files.close()
