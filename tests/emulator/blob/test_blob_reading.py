"""Reading blobs: ranges, conditions, properties, settings and metadata."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from azure.core import MatchConditions
from azure.storage.blob import ContentSettings, generate_account_sas
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.config import HTTP_PROTOCOLS

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.blob.errors import BlobError
from fastapi_azure_pool.emulator.blob.ranges import requested_range
from tests.emulator.blob.blob_sdk import Http, connect, refused, soon

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient, ContainerClient

DATA = bytes(range(100))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (206, DATA[:10], "bytes 0-9/100")),
        ("bytes=90-", (206, DATA[90:], "bytes 90-99/100")),
        ("bytes=99-1000000", (206, DATA[99:], "bytes 99-99/100")),
        ("bytes=0-999999999999999999", (206, DATA, "bytes 0-99/100")),
    ],
)
async def test_range_is_answered_with_its_part(
    http: Http, invoices: ContainerClient, header: str, expected: tuple[int, bytes, str]
) -> None:
    """A range, in either header, gets 206, its bytes, and which they are."""
    await invoices.upload_blob("1", DATA)
    for sent in ({"range": header}, {"x_ms_range": header}):
        answer, body = await http.answer("GET", "/invoices/1", body=None, **sent)
        assert (answer.status, body, answer.headers["content-range"]) == expected
        assert answer.headers["x-ms-blob-content-md5"] == b64encode(hashlib.md5(DATA).digest()).decode()
        assert "content-md5" not in answer.headers


async def test_x_ms_range_goes_before_range(http: Http, invoices: ContainerClient) -> None:
    """Of two ranges, the one in x-ms-range counts."""
    await invoices.upload_blob("1", DATA)
    _, body = await http.answer("GET", "/invoices/1", range="bytes=0-9", x_ms_range="bytes=10-19")
    assert body == DATA[10:20]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=100-", (416, "InvalidRange")),
        ("bytes=999999999999999999-", (416, "InvalidRange")),
        ("bytes=9-8", (400, "InvalidHeaderValue")),
        ("bytes=-5", (400, "InvalidHeaderValue")),
        ("bytes=0-1,3-4", (400, "InvalidHeaderValue")),
        ("bytes=" + "9" * 400 + "-", (400, "InvalidHeaderValue")),
        ("lines=0-1", (400, "InvalidHeaderValue")),
        ("", (400, "InvalidHeaderValue")),
        ("bytes=٣-", (400, "InvalidHeaderValue")),
    ],
)
async def test_range_that_cannot_be_is_refused(
    http: Http, invoices: ContainerClient, header: str, expected: tuple[int, str]
) -> None:
    """A range beyond the end is 416, and what is no range 400."""
    await invoices.upload_blob("1", DATA)
    answer, _ = await http.answer("GET", "/invoices/1", x_ms_range=header)
    assert (answer.status, answer.headers["x-ms-error-code"]) == expected
    assert answer.headers.get("content-range") == ("bytes */100" if answer.status == 416 else None)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60) | st.none())
def test_range_is_what_http_says_it_is(size: int, first: int, last: int | None) -> None:
    """For every range of every size: the part is the slice that it names, or it is refused because nothing is in it."""
    header = f"bytes={first}-{'' if last is None else last}"
    data = bytes(range(size))
    expected = data[first:] if last is None else data[first : last + 1]
    if not expected:
        with pytest.raises(BlobError) as caught:
            requested_range({"range": header}, size)
        assert caught.value.status == (400 if last is not None and last < first else 416)
        return
    found = requested_range({"range": header}, size)
    assert found is not None
    assert (data[found[0] : found[0] + found[1]], found[1]) == (expected, len(expected))


async def test_empty_blob_is_downloaded(invoices: ContainerClient) -> None:
    """A blob without content has no range, and the SDK gets it all the same."""
    await invoices.upload_blob("1", b"")
    stream = await invoices.download_blob("1")
    assert (await stream.readall(), stream.size) == (b"", 0)


async def test_hash_of_a_range_is_given_where_asked_for(http: Http, invoices: ContainerClient) -> None:
    """x-ms-range-get-content-md5 gives the hash of a range of up to 4 MB, and is refused for all of a blob."""
    await invoices.upload_blob("1", DATA)
    answer, _ = await http.answer("GET", "/invoices/1", x_ms_range="bytes=0-9", x_ms_range_get_content_md5="true")
    assert answer.headers["content-md5"] == b64encode(hashlib.md5(DATA[:10]).digest()).decode()
    expected = (400, "MissingRequiredHeader")
    assert await http.send("GET", "/invoices/1", x_ms_range_get_content_md5="true") == expected
    stream = await invoices.download_blob("1", offset=5, length=10, validate_content=True)
    assert await stream.readall() == DATA[5:15]


async def test_unchanged_blob_is_not_sent_again(invoices: ContainerClient) -> None:
    """Who has the present version gets 304, by its etag and by its time; who has another gets the blob."""
    blob = await invoices.upload_blob("1", b"one")
    present = await blob.get_blob_properties()
    assert present.last_modified is not None
    for conditions in (
        {"etag": present.etag, "match_condition": MatchConditions.IfModified},
        {"if_modified_since": present.last_modified},
    ):
        with refused(304, "ConditionNotMet"):
            await blob.download_blob(**conditions)
        with refused(304, "ConditionNotMet"):
            await blob.get_blob_properties(**conditions)
    for conditions in (
        {"etag": '"other"', "match_condition": MatchConditions.IfNotModified},
        {"if_unmodified_since": present.last_modified - timedelta(seconds=1)},
    ):
        with refused(412, "ConditionNotMet"):
            await blob.download_blob(**conditions)
    for conditions in (
        {"etag": '"other"', "match_condition": MatchConditions.IfModified},
        {"etag": present.etag, "match_condition": MatchConditions.IfNotModified},
        {"if_modified_since": present.last_modified - timedelta(seconds=1)},
        {"if_unmodified_since": present.last_modified},
    ):
        stream = await blob.download_blob(**conditions)
        assert stream.size == 3


async def test_conditions_that_cannot_be_are_refused(http: Http, invoices: ContainerClient) -> None:
    """A date that is none, and to read what must not be there, are 400; several etags in one header are alternatives."""
    blob = await invoices.upload_blob("1", b"one")
    etag = (await blob.get_blob_properties()).etag
    assert await http.send("GET", "/invoices/1", if_modified_since="soon") == (400, "InvalidHeaderValue")
    assert await http.send("GET", "/invoices/1", if_none_match="*") == (400, "UnsatisfiableCondition")
    assert await http.send("GET", "/invoices/1", if_match=f'"x", {etag}') == (200, "")
    assert await http.send("GET", "/invoices/1", if_match="*") == (200, "")
    assert await http.send("GET", "/invoices/1", x_ms_if_tags="a = 'b'") == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"if_none_match": "present", "if_modified_since": "before"}, (200, "")),
        ({"if_none_match": "other", "if_modified_since": "now"}, (200, "")),
        ({"if_none_match": "present", "if_modified_since": "now"}, (304, "ConditionNotMet")),
        ({"if_match": "present", "if_modified_since": "now"}, (304, "ConditionNotMet")),
        ({"if_match": "other", "if_modified_since": "now"}, (412, "ConditionNotMet")),
        ({"if_match": "present", "if_unmodified_since": "before"}, (412, "ConditionNotMet")),
        ({"if_none_match": "present", "if_unmodified_since": "before"}, (412, "ConditionNotMet")),
        (
            {
                "if_match": "present",
                "if_unmodified_since": "now",
                "if_none_match": "present",
                "if_modified_since": "before",
            },
            (200, ""),
        ),
    ],
)
async def test_conditions_of_a_read_are_combined(
    http: Http, invoices: ContainerClient, conditions: dict[str, str], expected: tuple[int, str]
) -> None:
    """A read is answered if if-match and if-unmodified-since hold, and one of if-none-match and if-modified-since does."""
    named = await conditions_of(await invoices.upload_blob("1", b"one"))
    sent = {header: named[value] for header, value in conditions.items()}
    for method in ("GET", "HEAD"):
        assert await http.send(method, "/invoices/1", **sent) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"if_none_match": "present", "if_modified_since": "before"}, (412, "ConditionNotMet")),
        ({"if_none_match": "other", "if_modified_since": "now"}, (201, "")),
        ({"if_match": "other", "if_unmodified_since": "now"}, (412, "ConditionNotMet")),
        ({"if_match": "present", "if_unmodified_since": "before"}, (201, "")),
        ({"if_match": "present", "if_modified_since": "before"}, (400, "MultipleConditionHeadersNotSupported")),
        ({"if_match": "present", "if_none_match": "other"}, (400, "MultipleConditionHeadersNotSupported")),
    ],
)
async def test_write_goes_by_one_condition(
    http: Http, invoices: ContainerClient, conditions: dict[str, str], expected: tuple[int, str]
) -> None:
    """Of an etag and a time about the same question a write heeds the etag; it takes no other two conditions at once."""
    named = await conditions_of(await invoices.upload_blob("1", b"one"))
    sent = {header: named[value] for header, value in conditions.items()}
    answer = await http.send("PUT", "/invoices/1", body=b"two", x_ms_blob_type="BlockBlob", **sent)
    assert answer == expected


async def conditions_of(blob: BlobClient) -> dict[str, str]:
    """Return the values of conditional headers about a blob: its etag and another, its time and one before."""
    present = await blob.get_blob_properties()
    assert present.last_modified is not None
    before = present.last_modified - timedelta(hours=1)
    times = {"now": present.last_modified, "before": before}
    return {"present": present.etag, "other": '"other"'} | {
        name: format_datetime(time, usegmt=True) for name, time in times.items()
    }


async def test_properties_tell_what_was_uploaded(invoices: ContainerClient) -> None:
    """A blob keeps its settings and metadata, and tells them with its properties and its content."""
    settings = ContentSettings(
        content_type="text/plain",
        content_encoding="identity",
        content_language="de",
        content_disposition="attachment",
        cache_control="no-store",
    )
    blob = await invoices.upload_blob("1", b"one", content_settings=settings, metadata={"Customer": "Ada", "no": "1"})
    for properties in (await blob.get_blob_properties(), (await blob.download_blob()).properties):
        found = properties.content_settings
        assert (found.content_type, found.content_encoding, found.content_language) == ("text/plain", "identity", "de")
        assert (found.content_disposition, found.cache_control) == ("attachment", "no-store")
        assert properties.metadata == {"Customer": "Ada", "no": "1"}
        assert (properties.size, properties.blob_type) == (3, "BlockBlob")
        assert properties.creation_time is not None
        assert properties.lease.status == "unlocked"


@pytest.mark.parametrize("protocol", ["h11_impl:H11Protocol", "httptools_impl:HttpToolsProtocol"])
async def test_metadata_keeps_its_spelling(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    """Names of metadata come back as they were written, whichever of uvicorn's two parsers is installed."""
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", f"uvicorn.protocols.http.{protocol}")
    async with Emulator() as azure, connect(azure) as service:
        await azure.create_blob_container("invoices")
        for metadata in ({"OrderId": "1", "b": "2"}, {"orderid": "3"}):
            blob = await service.get_container_client("invoices").upload_blob(
                "1", b"one", metadata=metadata, overwrite=True
            )
            assert (await blob.get_blob_properties()).metadata == metadata
            assert dict(azure.blobs("invoices")[0].metadata) == metadata


@pytest.mark.parametrize("is_waiting", [False, True], ids=["at once", "after 100-continue"])
@pytest.mark.parametrize("protocol", ["h11_impl:H11Protocol", "httptools_impl:HttpToolsProtocol"])
async def test_a_body_does_not_change_the_spelling_of_metadata(
    monkeypatch: pytest.MonkeyPatch, protocol: str, is_waiting: bool
) -> None:
    """A line of the body that reads like a header is none, whether it arrives together with the headers or after them."""
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", f"uvicorn.protocols.http.{protocol}")
    async with Emulator() as azure:
        await azure.create_blob_container("invoices")
        sas = generate_account_sas(
            azure.storage_account, azure.storage_key, resource_types="o", permission="w", expiry=soon()
        )
        url = urlsplit(f"{azure.blob_endpoint}/invoices/1?{sas}")
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        for name in ("OrderId", "orderID"):
            body = b"one\r\nX-MS-META-ORDERID: 2\r\n"
            lines = [f"PUT {url.path}?{url.query} HTTP/1.1", f"Host: {url.netloc}", "x-ms-blob-type: BlockBlob"]
            lines += [f"x-ms-meta-{name}: 1", f"Content-Length: {len(body)}", *["Expect: 100-continue"] * is_waiting]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            if is_waiting:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
            assert dict(azure.blobs("invoices")[0].metadata) == {name: "1"}
        writer.close()
        await writer.wait_closed()


async def test_properties_and_metadata_are_replaced(invoices: ContainerClient) -> None:
    """Setting headers or metadata replaces all of them, and makes another version of the same content."""
    settings = ContentSettings(content_type="text/plain", cache_control="no-store")
    blob = await invoices.upload_blob("1", b"one", content_settings=settings, metadata={"a": "1"})
    first = await blob.get_blob_properties()
    await blob.set_http_headers(ContentSettings(content_type="text/html"))
    second = await blob.get_blob_properties()
    assert (second.content_settings.content_type, second.content_settings.cache_control) == ("text/html", None)
    assert (second.metadata, second.creation_time) == ({"a": "1"}, first.creation_time)
    await blob.set_blob_metadata({"B": "2"})
    third = await blob.get_blob_properties()
    assert (third.metadata, third.content_settings.content_type) == ({"B": "2"}, "text/html")
    assert len({first.etag, second.etag, third.etag}) == 3
    with refused(412, "ConditionNotMet"):
        await blob.set_blob_metadata({}, etag=first.etag, match_condition=MatchConditions.IfNotModified)
    assert await (await blob.download_blob()).readall() == b"one"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-ms-meta-": "2"}, "EmptyMetadataKey"),
        ({"x-ms-meta-a-b": "1"}, "InvalidMetadata"),
        ({"x-ms-meta-1": "1"}, "InvalidMetadata"),
        ({"x-ms-meta-a": "é"}, "InvalidMetadata"),
        ({"x-ms-meta-a": "1" * 8200}, "MetadataTooLarge"),
    ],
)
async def test_metadata_that_cannot_be_is_refused(http: Http, headers: dict[str, str], code: str) -> None:
    """Names that are no identifiers, values that are not ASCII, and more than 8 KB of it, are 400."""
    answer = await http.send("PUT", "/invoices/1", x_ms_blob_type="BlockBlob", body=b"", **headers)
    assert answer == (400, code)
