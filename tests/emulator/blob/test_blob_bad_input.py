"""What no client of Azure sends: refused with a 4xx or a clear 501, never with an error of the server's own."""

from __future__ import annotations

import asyncio
import contextlib
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.blob.documents import read_document
from fastapi_azure_pool.emulator.blob.errors import BlobError
from tests.emulator.blob.blob_sdk import Http, plain_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOMB = b"""<?xml version="1.0"?><!DOCTYPE BlockList [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<BlockList><Latest>&b;</Latest></BlockList>"""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<BlockList>",
        b"<Other/>",
        b"<BlockList><Latest><Latest/></Latest></BlockList>",
        b"<BlockList><Latest>\xff</Latest></BlockList>",
        b"<?xml version='1.0' encoding='klingon'?><BlockList/>",
        b"<BlockList><Latest>&unknown;</Latest></BlockList>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><BlockList/>",
        BOMB,
        b"<BlockList>" * 1000,
    ],
)
async def test_malformed_block_list_is_refused(http: Http, body: bytes) -> None:
    """What is no list of blocks is 400; entities are never expanded."""
    assert await http.send("PUT", "/invoices/1", "comp=blocklist", body=body) == (400, "InvalidXmlDocument")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60) | st.text("<>/&;'\"!?[]BlockListLatest ", max_size=60).map(str.encode))
def test_any_document_is_read_or_refused(body: bytes) -> None:
    """Whatever bytes come as a document, they are read or refused with 400."""
    for document in (body, b"<BlockList>" + body + b"</BlockList>"):
        with contextlib.suppress(BlobError):
            assert all(element.name for element in read_document(document, "BlockList"))


async def test_block_of_a_blob_without_a_proper_name_is_refused(http: Http) -> None:
    """A block is not kept for a blob that could never be made."""
    query = "comp=block&blockid=YQ=="
    assert await http.send("PUT", "/invoices/%FF", query, body=b"x") == (400, "InvalidUri")


@pytest.mark.parametrize(
    ("block_id", "code"),
    [
        ("", "OutOfRangeInput"),
        ("!!!!", "InvalidQueryParameterValue"),
        ("YQ", "InvalidQueryParameterValue"),
        ("%FF", "InvalidQueryParameterValue"),
        ("YQ==" * 100, "InvalidQueryParameterValue"),
        (quote("YWFh" * 22), "OutOfRangeInput"),
    ],
)
async def test_malformed_block_id_is_refused(http: Http, block_id: str, code: str) -> None:
    """A block's id that is not base64, empty or longer than 64 bytes is 400."""
    assert await http.send("PUT", "/invoices/1", f"comp=block&blockid={block_id}", body=b"x") == (400, code)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "expected"),
    [
        ("PUT", "/invoices/1", "", {}, (400, "MissingRequiredHeader")),
        ("PUT", "/invoices/1", "", {"x_ms_blob_type": "PageBlob"}, (501, "NotImplemented")),
        ("PUT", "/invoices/1", "", {"x_ms_blob_type": "Stone"}, (400, "InvalidHeaderValue")),
        ("PUT", "/invoices/1", "", {"x_ms_blob_type": "BlockBlob", "x_ms_tags": "a=b"}, (501, "NotImplemented")),
        (
            "PUT",
            "/invoices/1",
            "",
            {"x_ms_blob_type": "BlockBlob", "x_ms_access_tier": "Warm"},
            (400, "InvalidHeaderValue"),
        ),
        (
            "PUT",
            "/invoices/1",
            "",
            {"x_ms_blob_type": "BlockBlob", "x_ms_lease_id": "a"},
            (412, "LeaseNotPresentWithBlobOperation"),
        ),
        ("PUT", "/invoices/%FF", "", {"x_ms_blob_type": "BlockBlob"}, (400, "InvalidUri")),
        ("PUT", "/invoices/" + "x" * 1025, "", {"x_ms_blob_type": "BlockBlob"}, (400, "InvalidUri")),
        ("PUT", "/invoices/1", "comp=block", {}, (400, "MissingRequiredQueryParameter")),
        ("PUT", "/invoices/1", "comp=lease", {}, (501, "NotImplemented")),
        ("PUT", "/invoices/1", "comp=snapshot", {}, (501, "NotImplemented")),
        ("PUT", "/invoices/1", "comp=page", {}, (501, "NotImplemented")),
        ("GET", "/invoices/1", "snapshot=2026-01-01", {}, (501, "NotImplemented")),
        ("GET", "/invoices/1", "versionid=2026-01-01", {}, (501, "NotImplemented")),
        ("POST", "/invoices/1", "", {}, (405, "UnsupportedHttpVerb")),
        ("GET", "/invoices", "", {}, (501, "NotImplemented")),
        ("GET", "/invoices/1", "comp=blocklist&blocklisttype=some", {}, (400, "InvalidQueryParameterValue")),
        ("DELETE", "/", "", {}, (501, "NotImplemented")),
        ("POST", "/", "comp=batch", {}, (501, "NotImplemented")),
        ("PUT", "/invoices/1", "comp=tier", {}, (404, "BlobNotFound")),
    ],
)
async def test_what_cannot_be_done_is_said(
    http: Http, method: str, path: str, query: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    """What is malformed is 400, what the emulator does not do is a clear 501."""
    assert await http.send(method, path, query, body=None, **headers) == expected


async def test_body_beyond_the_limit_is_refused(http: Http) -> None:
    """A list of blocks that is larger than the longest that Azure takes is 413."""
    assert await http.send("PUT", "/invoices/1", "comp=blocklist", body=BytesIO(bytes(8 * 1024 * 1024 + 1))) == (
        413,
        "RequestBodyTooLarge",
    )


async def test_body_without_a_length_is_refused(azure: Emulator, http: Http) -> None:
    """A body whose length is not announced is 411, as on Azure."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    answer = await http.send("PUT", "/invoices/1", body=chunks(), x_ms_blob_type="BlockBlob")
    assert answer == (411, "MissingContentLengthHeader")
    assert azure.blobs("invoices") == ()


_PARTS = st.sampled_from(
    [
        "comp=list",
        "comp=block",
        "comp=blocklist",
        "comp=metadata",
        "comp=properties",
        "comp=acl",
        "comp=userdelegationkey",
        "comp=%FF",
        "restype=container",
        "restype=service",
        "restype=account",
        "blockid=YQ==",
        "blockid=%C3",
        "marker=!",
        "maxresults=1",
        "prefix=%00",
        "sr=b",
        "=",
        "&&",
        "%",
    ]
)
_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-md5",
            "if-match",
            "if-modified-since",
            "range",
            "x-ms-access-tier",
            "x-ms-blob-type",
            "x-ms-client-request-id",
            "x-ms-copy-source",
            "x-ms-meta-a",
            "x-ms-range",
            "x-ms-requires-sync",
            "x-ms-version",
        ]
    ),
    st.sampled_from(["", "*", "bytes=0-", "bytes=1-0", "BlockBlob", "AppendBlob", "true", "http://127.0.0.1:1/x", "ÿ"]),
    max_size=4,
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"]),
            st.sampled_from(["/", "/invoices", "/invoices/1", "/invoices/%FF%00", "//", "/invoices//", "/x/y"]),
            st.lists(_PARTS, max_size=4).map("&".join),
            _HEADERS,
            st.binary(max_size=20) | st.none(),
        ),
        min_size=10,
        max_size=10,
    )
)
def test_any_request_is_answered(requests: list[tuple[str, str, str, dict[str, str], bytes | None]]) -> None:
    """Whatever is asked, in whatever combination, gets an answer that is no failure of the server's own."""

    async def scenario() -> None:
        async with Emulator() as azure, plain_http(azure) as http:
            await azure.create_blob_container("invoices")
            for method, path, query, headers, body in requests:
                status, code = await http.send(method, path, query, body=body, **headers)
                is_honest = status < 500 or code in {"NotImplemented", "CannotVerifyCopySource"}
                assert is_honest, (method, path, query, headers, status, code)

    asyncio.run(scenario())
