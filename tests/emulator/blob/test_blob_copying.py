"""Blobs made of what is elsewhere: in this account, and on another server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobBlock, ContentSettings, generate_blob_sas

from tests.emulator.blob.blob_sdk import FixedToken, Http, connect, refused, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient

    from fastapi_azure_pool.emulator import Emulator

DATA = bytes(range(256)) * 4_000


@contextlib.asynccontextmanager
async def other_server(handle: Any) -> AsyncIterator[str]:
    """Serve one handler on loopback; give the URL of a file there."""
    app = web.Application()
    app.router.add_get("/file", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/file"
    finally:
        await runner.cleanup()


async def send_file(request: web.Request) -> web.Response:
    """Send a file, or as much of it as is asked for."""
    headers = {"content-language": "de", "x-ms-meta-from": "elsewhere", "etag": '"1"'}
    if request.headers.get("if-match", '"1"') != '"1"':
        return web.Response(status=412)
    wanted = request.http_range
    body = DATA[wanted.start : wanted.stop]
    return web.Response(status=206 if len(body) < len(DATA) else 200, body=body, content_type="text/x", headers=headers)


async def send_half(request: web.Request) -> web.StreamResponse:
    """Send half of a file, and then nothing more."""
    response = web.StreamResponse(headers={"content-length": "1000"})
    await response.prepare(request)
    await response.write(b"x" * 500)
    await asyncio.Event().wait()
    return response


async def settled(blob: BlobClient) -> Any:
    """Return a blob's properties once its copy has ended."""
    async with asyncio.timeout(10):
        while (properties := await blob.get_blob_properties()).copy.status == "pending":  # noqa: ASYNC110 - Azure does not tell either
            await asyncio.sleep(0)
    return properties


@pytest.fixture
def signed(azure: Emulator) -> str:
    """The URL of the blob source, with a signature that reads it."""
    sas = generate_blob_sas(
        azure.storage_account, "invoices", "source", account_key=azure.storage_key, permission="r", expiry=soon()
    )
    return f"{azure.blob_endpoint}/invoices/source?{sas}"


async def test_blob_of_the_account_is_copied_at_once(azure: Emulator, invoices: ContainerClient) -> None:
    """Who has the account's key copies a blob of the account with all that belongs to it, without a signature."""
    source = invoices.get_blob_client("source")
    await source.stage_block("a", DATA)
    await source.commit_block_list(
        [BlobBlock("a")], metadata={"Kind": "bill"}, content_settings=ContentSettings(content_type="text/plain")
    )
    copy = invoices.get_blob_client("copy")
    answer = await copy.start_copy_from_url(source.url)
    assert answer["copy_status"] == "success"
    properties = await copy.get_blob_properties()
    assert (properties.metadata, properties.content_settings.content_type) == ({"Kind": "bill"}, "text/plain")
    assert (properties.copy.id, properties.copy.status) == (answer["copy_id"], "success")
    assert (properties.copy.source, properties.copy.progress) == (source.url, "1024000/1024000")
    assert [block.id for block in (await copy.get_block_list())[0]] == ["a"]
    assert await (await copy.download_blob()).readall() == DATA
    await copy.start_copy_from_url(source.url, metadata={"other": "1"})
    assert (await copy.get_blob_properties()).metadata == {"other": "1"}
    await copy.set_http_headers()
    assert (await copy.get_blob_properties()).copy.id is None


async def test_blob_is_put_from_a_signed_url(signed: str, invoices: ContainerClient) -> None:
    """upload_blob_from_url makes a new block blob of a source that a signature opens, with the source's settings."""
    settings = ContentSettings(content_type="text/plain", cache_control="no-store")
    await invoices.upload_blob("source", DATA, content_settings=settings)
    copy = invoices.get_blob_client("copy")
    sent = await copy.upload_blob_from_url(signed, content_settings=ContentSettings(content_type="text/html"))
    properties = await copy.get_blob_properties()
    assert (properties.etag, properties.copy.id) == (sent["etag"], None)
    assert properties.content_settings.content_type == "text/html"
    assert properties.content_settings.cache_control == "no-store"
    assert properties.content_settings.content_md5 == bytearray(hashlib.md5(DATA).digest())
    await copy.upload_blob_from_url(signed, overwrite=True, include_source_blob_properties=False)
    assert (await copy.get_blob_properties()).content_settings.cache_control is None
    assert await (await copy.download_blob()).readall() == DATA
    with refused(409, "BlobAlreadyExists"):
        await copy.upload_blob_from_url(signed, overwrite=False)


async def test_synchronous_copy_and_blocks_from_urls(signed: str, invoices: ContainerClient) -> None:
    """A copy can be waited for, and blocks of either kind can come from a part of a source."""
    await invoices.upload_blob("source", DATA)
    copied = await invoices.get_blob_client("copy").start_copy_from_url(signed, requires_sync=True)
    assert copied["copy_status"] == "success"
    blob = invoices.get_blob_client("blocks")
    await blob.stage_block_from_url("a", signed, source_offset=10, source_length=5)
    await blob.commit_block_list([BlobBlock("a")])
    assert await (await blob.download_blob()).readall() == DATA[10:15]
    log = invoices.get_blob_client("log")
    await log.create_append_blob()
    await log.append_block_from_url(signed, source_offset=0, source_length=3)
    await log.append_block_from_url(signed, source_offset=3, source_length=3)
    assert await (await log.download_blob()).readall() == DATA[:6]
    copy_of_log = invoices.get_blob_client("copy of log")
    await copy_of_log.start_copy_from_url(log.url)
    await copy_of_log.append_block(b"more")
    assert (await copy_of_log.get_blob_properties()).append_blob_committed_block_count == 3


async def test_source_that_may_not_be_read_is_told(azure: Emulator, signed: str, invoices: ContainerClient) -> None:
    """A source that is missing, or that no signature opens, is CannotVerifyCopySource with the status of its refusal."""
    copy = invoices.get_blob_client("copy")
    with refused(404, "CannotVerifyCopySource"):
        await copy.upload_blob_from_url(signed)
    with refused(404, "CannotVerifyCopySource"):
        await copy.start_copy_from_url(signed)
    await invoices.upload_blob("source", DATA)
    with refused(401, "CannotVerifyCopySource"):
        await copy.upload_blob_from_url(signed.partition("?")[0])
    with refused(404, "CannotVerifyCopySource"):
        await copy.upload_blob_from_url(signed.replace(azure.storage_account, "other"))
    with refused(403, "CannotVerifyCopySource") as caught:
        await copy.upload_blob_from_url(signed.replace("sig=", "sig=x"))
    response: Any = caught.value.response
    assert response.headers["x-ms-copy-source-error-code"] == "AuthenticationFailed"
    assert response.headers["x-ms-copy-source-status-code"] == "403"
    assert azure.blobs("invoices")[0].name == "source"


async def test_token_opens_a_source(secure: Emulator) -> None:
    """A source can be authorized by a token of its own, sent along."""
    token = secure.issue_token("https://storage.azure.com")
    async with connect(secure, FixedToken(token)) as service:
        container = service.get_container_client("invoices")
        source = await container.upload_blob("source", b"one")
        copy = container.get_blob_client("copy")
        await copy.upload_blob_from_url(source.url, source_authorization=f"Bearer {token}")
        assert await (await copy.download_blob()).readall() == b"one"
        with refused(401, "CannotVerifyCopySource"):
            await copy.upload_blob_from_url(source.url, overwrite=True, source_authorization="Bearer x")


async def test_source_has_conditions_and_a_hash(http: Http, signed: str, invoices: ContainerClient) -> None:
    """A source that has changed, or is not what its hash says, is not copied."""
    source = await invoices.upload_blob("source", b"one")
    etag = (await source.get_blob_properties()).etag
    copy = invoices.get_blob_client("copy")
    with refused(412, "SourceConditionNotMet"):
        await copy.start_copy_from_url(signed, source_etag=etag, source_match_condition=MatchConditions.IfModified)
    await copy.start_copy_from_url(signed, source_etag=etag, source_match_condition=MatchConditions.IfNotModified)
    wrong = b64encode(hashlib.md5(b"two").digest()).decode()
    sent: dict[str, Any] = {"x_ms_blob_type": "BlockBlob", "x_ms_copy_source": signed}
    answer = await http.send("PUT", "/invoices/copy", x_ms_source_content_md5=wrong, **sent)
    assert answer == (400, "Md5Mismatch")
    answer = await http.send("PUT", "/invoices/copy", x_ms_source_content_md5="!", **sent)
    assert answer == (400, "InvalidHeaderValue")


async def test_file_of_another_server_is_copied(invoices: ContainerClient) -> None:
    """A file of any server on loopback can be put, copied, and copied in parts, with what that server says of it."""
    async with other_server(send_file) as url:
        put = invoices.get_blob_client("put")
        await put.upload_blob_from_url(url)
        assert await (await put.download_blob()).readall() == DATA
        copy = invoices.get_blob_client("copy")
        answer = await copy.start_copy_from_url(f"{url}?key=secret")
        assert answer["copy_status"] == "pending"
        properties = await settled(copy)
        assert (properties.copy.status, properties.copy.source) == ("success", url)
        assert (properties.size, properties.content_settings.content_type) == (len(DATA), "text/x")
        assert (properties.content_settings.content_language, properties.metadata) == ("de", {"from": "elsewhere"})
        assert properties.etag != answer["etag"]
        blocks = invoices.get_blob_client("blocks")
        await blocks.stage_block_from_url("a", url, source_offset=7, source_length=9)
        await blocks.commit_block_list([BlobBlock("a")])
        assert await (await blocks.download_blob()).readall() == DATA[7:16]
        with refused(412, "SourceConditionNotMet"):
            await copy.start_copy_from_url(url, source_etag='"2"', source_match_condition=MatchConditions.IfNotModified)


async def test_copy_to_nowhere_lets_go_of_its_source(azure: Emulator, service: BlobServiceClient) -> None:
    """Where the copy cannot be made, the connection to the source is closed."""
    async with other_server(send_file) as url:
        nowhere = service.get_blob_client("nowhere", "copy")
        with refused(404, "ContainerNotFound"):
            await nowhere.start_copy_from_url(url)
        with refused(404, "ContainerNotFound"):
            await nowhere.upload_blob_from_url(url)
    assert azure._storage.service._sources._downloads == set()


async def test_copy_that_goes_on_can_be_aborted(http: Http, invoices: ContainerClient) -> None:
    """While a copy goes on, nobody else writes the blob; an aborted one leaves it empty and says so."""
    async with other_server(send_half) as url:
        copy = invoices.get_blob_client("copy")
        copy_id = str((await copy.start_copy_from_url(url))["copy_id"])
        properties = await copy.get_blob_properties()
        assert (properties.copy.status, properties.copy.progress, properties.size) == ("pending", "0/1000", 0)
        for attempt in (copy.delete_blob, copy.set_blob_metadata, copy.set_http_headers):
            with refused(409, "PendingCopyOperation"):
                await attempt()
        with refused(409, "PendingCopyOperation"):
            await copy.upload_blob(b"", overwrite=True)
        assert await http.send("PUT", "/invoices/copy", f"comp=copy&copyid={copy_id}") == (
            400,
            "InvalidHeaderValue",
        )
        assert await http.send("PUT", "/invoices/copy", "comp=copy", x_ms_copy_action="abort") == (
            400,
            "MissingRequiredQueryParameter",
        )
        with refused(409, "CopyIdMismatch"):
            await copy.abort_copy("other")
        await copy.abort_copy(copy_id)
        properties = await settled(copy)
        assert (properties.copy.status, properties.size) == ("aborted", 0)
        with refused(409, "NoPendingCopyOperation"):
            await copy.abort_copy(copy_id)


async def test_copy_that_breaks_off_is_failed(invoices: ContainerClient) -> None:
    """A source that ends before its time leaves a failed copy, and an error where the copy was waited for."""

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 500)
        assert request.transport is not None
        request.transport.close()
        return response

    async with other_server(break_off) as url:
        copy = invoices.get_blob_client("copy")
        await copy.start_copy_from_url(url)
        properties = await settled(copy)
        assert (properties.copy.status, properties.size) == ("failed", 0)
        assert "500 CannotVerifyCopySource" in properties.copy.status_description
        with refused(500, "CannotVerifyCopySource"):
            await copy.upload_blob_from_url(url, overwrite=True)


@pytest.mark.parametrize("status", [301, 403, 404, 500])
async def test_refusal_of_another_server_is_passed_on(invoices: ContainerClient, status: int) -> None:
    """What another server refuses is refused with its status; a redirection is not followed."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async with other_server(refuse) as url:
        with refused(status if 400 <= status < 500 else 500, "CannotVerifyCopySource"):
            await invoices.get_blob_client("copy").upload_blob_from_url(url)
    with refused(500, "CannotVerifyCopySource"):
        await invoices.get_blob_client("copy").upload_blob_from_url(url)


async def test_stopping_ends_what_is_being_copied(invoices: ContainerClient, azure: Emulator) -> None:
    """An emulator stops at once though sources say nothing, for copies in the background and for those waited for."""
    reached = asyncio.Event()

    async def say_nothing(_: web.Request) -> web.Response:
        reached.set()
        await asyncio.Event().wait()
        return web.Response()

    async with other_server(say_nothing) as url, other_server(send_half) as halting:
        background = await invoices.get_blob_client("copy").start_copy_from_url(halting)
        assert background["copy_status"] == "pending"
        waiting = asyncio.ensure_future(invoices.get_blob_client("put").upload_blob_from_url(url))
        await reached.wait()
        async with asyncio.timeout(5):
            await azure.stop()
        with pytest.raises(AzureError):
            await waiting
    stored = azure._storage.account.containers["invoices"].blobs["copy"]
    assert stored.copy is not None
    assert stored.copy.status in {"aborted", "failed"}
    assert azure._storage.service._sources._downloads == set()


async def test_a_block_is_copied_however_its_comp_is_written(
    azure: Emulator, invoices: ContainerClient, http: Http, signed: str
) -> None:
    """The query's comp is the same in capitals, for a block that comes from a URL as for any other."""
    await invoices.upload_blob("source", b"one")
    answer = await http.send("PUT", "/invoices/copy", "comp=Block&blockid=YQ==", x_ms_copy_source=signed)
    assert answer == (201, "")
    await invoices.get_blob_client("copy").commit_block_list([BlobBlock("a")])
    assert [one.content for one in azure.blobs("invoices") if one.name == "copy"] == [b"one"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", (400, "InvalidHeaderValue")),
        ("/invoices/1", (400, "InvalidHeaderValue")),
        ("ftp://127.0.0.1/file", (400, "InvalidHeaderValue")),
        ("http://[::1/file", (400, "InvalidHeaderValue")),
        ("http://127.0.0.1:99999/file", (400, "InvalidHeaderValue")),
        ("http://127.0.0.1/a b", (400, "InvalidHeaderValue")),
        ("http://example.com/file", (501, "NotImplemented")),
        ("http://169.254.169.254/metadata", (501, "NotImplemented")),
    ],
)
async def test_source_that_cannot_be_is_refused(http: Http, source: str, expected: tuple[int, str]) -> None:
    """What is no URL, or is not on loopback, is never fetched."""
    answer = await http.send("PUT", "/invoices/copy", x_ms_blob_type="BlockBlob", x_ms_copy_source=source)
    assert answer == expected
    assert await http.send("PUT", "/invoices/copy", "comp=metadata", x_ms_copy_source=source) == (501, "NotImplemented")
