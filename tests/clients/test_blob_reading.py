"""The direct way of reading a whole blob: it gives, asks and raises what the SDK's way does."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.settings import settings
from azure.storage.blob import ContentSettings
from azure.storage.blob._shared import response_handlers
from azure.storage.blob.aio import BlobClient

from fastapi_azure_pool import AzureBlobError, ManagedAzureBlobStorage
from fastapi_azure_pool.clients import blob_reading
from fastapi_azure_pool.clients.blob_reading import is_simple, read_blob
from fastapi_azure_pool.clients.blob_transport import BlobTransport
from fastapi_azure_pool.emulator import Emulator
from tests.clients.blob_storage import NO_RETRIES, files_of
from tests.clients.half_server import half_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATH = "/devstoreaccount1/files/a"

GZIP = ContentSettings(content_encoding="gzip")

# The SDK would ask for 4 MB at a time.
SMALL_PIECES = {"max_single_get_size": 1000, "max_chunk_get_size": 1000}


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container "files"."""
    async with Emulator() as azure:
        await azure.create_blob_container("files")
        yield azure


def go_the_sdks_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every download go as the SDK does it."""
    monkeypatch.setattr(blob_reading, "is_simple", lambda _: False)


def change_first_answer(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]) -> None:
    """Have the first answer to a download changed on its way."""
    send = BlobTransport.send
    changed: list[Any] = []

    async def changing(self: BlobTransport, request: Any, **options: Any) -> Any:
        response = await send(self, request, **options)
        if request.method == "GET" and request.url.endswith("/a") and not changed:
            changed.append(response)
            change(response)
        return response

    monkeypatch.setattr(BlobTransport, "send", changing)


async def test_a_small_blob_is_one_request_and_no_stream(azure: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that one answer holds is read without the SDK's downloader; so is an empty one."""
    async with files_of(azure) as files:
        await files.upload_blob("a", b"hello")
        await files.upload_blob("empty", b"")
        monkeypatch.delattr(BlobClient, "download_blob")
        assert await files.download_blob("a") == b"hello"
        assert await files.download_blob("a", encoding="utf-8") == "hello"
        assert await files.download_blob("empty") == b""
        assert azure.blob_requests.count("GET", PATH) == 2
        assert azure.blob_requests.count("GET", "/devstoreaccount1/files/empty") == 1


async def test_a_large_blob_is_read_to_its_end(azure: Emulator) -> None:
    """What one answer does not hold is read piece by piece, and nothing twice."""
    content = os.urandom(3500)
    async with files_of(azure, client_options=SMALL_PIECES) as files:
        await files.upload_blob("a", content)
        assert await files.download_blob("a") == content
        assert azure.blob_requests.count("GET", PATH) == 4


async def test_a_blob_that_is_replaced_while_it_is_read_is_refused(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest must be of the version whose beginning was read."""
    send = BlobTransport.send
    replaced: list[Any] = []
    async with files_of(azure, client_options=SMALL_PIECES) as files, files_of(azure) as others:
        await files.upload_blob("a", b"a" * 1500)

        async def replacing(self: BlobTransport, request: Any, **options: Any) -> Any:
            response = await send(self, request, **options)
            if request.method == "GET" and not replaced:
                replaced.append(request)
                await others.upload_blob("a", b"b" * 1500, overwrite=True)
            return response

        monkeypatch.setattr(BlobTransport, "send", replacing)
        with pytest.raises(AzureBlobError) as caught:
            await files.download_blob("a")
    assert (caught.value.status_code, caught.value.error_code) == (412, "ConditionNotMet")
    assert azure.blob_requests.count("GET", PATH) == 2


@pytest.mark.parametrize("options", [{}, {"timeout": 30}], ids=["direct", "sdk"])
async def test_compressed_content_is_decompressed_and_whole(azure: Emulator, options: dict[str, Any]) -> None:
    """A blob with a content encoding is given as it was before, all of it, though it is longer than its size."""
    content = b"hello" * 1000
    async with files_of(azure) as files:
        await files.upload_blob("a", gzip.compress(content), content_settings=GZIP)
        assert await files.download_blob("a", **options) == content


async def test_a_large_compressed_blob_is_the_sdks(azure: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK makes of one that takes several answers is for it to say."""
    monkeypatch.setattr(blob_reading, "_read_all", _asked_sdk)
    async with files_of(azure, client_options=SMALL_PIECES) as files:
        await files.upload_blob("a", gzip.compress(os.urandom(2000)), content_settings=GZIP)
        assert await files.download_blob("a") == b"the SDK's"


@pytest.mark.parametrize(
    "change",
    [
        lambda response: response.headers.pop("Content-Range"),
        lambda response: response.headers.update({"Content-Range": "bytes 1-4/5"}),
        lambda response: response.headers.update({"Content-Length": "3"}),
        lambda response: response.headers.pop("Content-Length"),
        lambda response: setattr(response, "status_code", 200),
        lambda response: (response.headers.update({"Content-Range": "bytes 0-4/9"}), response.headers.pop("ETag")),
    ],
    ids=["no range", "another range", "another length", "no length", "another status", "no version"],
)
async def test_an_answer_that_is_not_understood_is_left_to_the_sdk(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]
) -> None:
    """The SDK asks again where anything is not as Azure has it, and the connection of the first answer is not kept taken."""
    monkeypatch.setattr(blob_reading, "_read_all", _asked_sdk)
    answers: list[Any] = []

    def change_and_keep(response: Any) -> None:
        change(response)
        answers.append(response)

    change_first_answer(monkeypatch, change_and_keep)
    async with files_of(azure) as files:
        await files.upload_blob("a", b"hello")
        assert await files.download_blob("a") == b"the SDK's"
        assert [answer.is_closed for answer in answers] == [True]


@pytest.mark.parametrize("status", [304, 401, 403, 404, 409, 412, 429, 500, 503])
async def test_errors_are_the_sdks(azure: Emulator, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Whatever Blob Storage refuses, the error has the type, the status, the code and the message that the SDK's way gives it."""
    found = []
    async with files_of(azure, client_options=NO_RETRIES) as files:
        await files.upload_blob("a", b"hello")
        for is_sdks in (False, True):
            if is_sdks:
                go_the_sdks_way(monkeypatch)
            azure.faults.clear()
            if status in {304, 401, 429}:  # The emulator answers none of them.
                change_first_answer(monkeypatch, lambda response: setattr(response, "status_code", status))
            elif status != 404:
                azure.faults.fail(status, path=PATH)
            with pytest.raises(AzureBlobError) as caught:
                await files.download_blob("missing" if status == 404 else "a")
            cause = caught.value.__cause__
            message = str(cause).split("RequestId")[0].split("Time:")[0]
            found.append((type(caught.value), caught.value.error_code, type(cause), caught.value.status_code, message))
    direct, sdks = found
    assert direct == sdks
    assert direct[3] == status


async def test_the_request_is_the_sdks(azure: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """URL, headers and what a hook is told are those of the SDK's way, for names of all kinds."""
    seen: list[Any] = []

    def note(response: Any) -> None:
        request = response.http_request
        told = {name: response.context[name] for name in ("data_stream_total", "download_stream_current")}
        seen.append((request.method, request.url, dict(request.headers), told))

    async with files_of(azure, client_options={"raw_response_hook": note}) as files:
        for name in ("a", "a b/ü+&?#%", "{x}"):
            await files.upload_blob(name, b"hello")
            seen.clear()
            assert await files.download_blob(name) == b"hello"
            with monkeypatch.context() as patch:
                go_the_sdks_way(patch)
                assert await files.download_blob(name) == b"hello"
            for _, _, headers, _ in seen:
                for unlike in ("x-ms-date", "x-ms-client-request-id", "Authorization"):
                    assert headers.pop(unlike)
            assert seen[0] == seen[1]
            assert len(seen) == 2


async def test_an_answer_that_always_breaks_off_is_asked_for_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the SDK does; each time is reported, and the error says what broke off."""
    monkeypatch.setattr(blob_reading, "_PAUSE_SECONDS", 0)
    async with half_server() as half, ManagedAzureBlobStorage(half.url, "files", credential="a2V5") as files:
        half.halves = many = 10
        with pytest.raises(AzureBlobError, match=r"not enough data|payload is not completed"):
            await files.download_blob("a")
        assert many - half.halves == 3


async def test_who_encrypts_or_traces_gets_the_sdks_way(azure: Emulator) -> None:
    """The SDK decrypts by itself, and gives each of its calls a span."""
    async with files_of(azure) as files, files.get() as container:
        for name in ("require_encryption", "key_encryption_key", "key_resolver_function"):
            blob = container.get_blob_client("a")
            assert is_simple(blob)
            setattr(blob, name, True)
            assert not is_simple(blob)
        settings.tracing_enabled.set_value(True)
        try:
            assert not is_simple(container.get_blob_client("a"))
        finally:
            settings.tracing_enabled.unset_value()
        assert is_simple(container.get_blob_client("a"))
    async with files_of(azure, client_options={"require_encryption": True}) as files:
        with pytest.raises(ValueError, match="Encryption required but no key was provided"):
            await files.download_blob("a")


async def test_a_sdk_of_another_shape_is_used_as_it_is(azure: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a part that the direct way uses is missing, the SDK's own way gives the content."""
    async with files_of(azure) as files, files.get() as container:
        await files.upload_blob("a", b"hello")
        blob = container.get_blob_client("a")
        blob._pipeline = None
        assert not is_simple(blob)
        assert await read_blob(blob) == b"hello"
        blob = container.get_blob_client("a")
        blob._config = None
        assert not is_simple(blob)
        monkeypatch.delattr(response_handlers, "process_storage_error")
        assert not is_simple(container.get_blob_client("a"))
        assert await files.download_blob("a") == b"hello"


async def _asked_sdk(blob: BlobClient) -> bytes:
    return b"the SDK's"
