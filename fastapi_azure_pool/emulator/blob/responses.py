"""Blob Storage's HTTP answers: the headers that every one carries, and content that is sent piece by piece."""

from __future__ import annotations

import time
import uuid
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from fastapi_azure_pool.emulator.blob.content import CHUNK_BYTES, Content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fastapi_azure_pool.emulator.blob.account import Version
    from fastapi_azure_pool.emulator.blob.errors import BlobError
    from fastapi_azure_pool.emulator.blob.request import BlobRequest

# What is answered to a client that names no version of the service.
_DEFAULT_VERSION = "2021-12-02"


def blob_response(
    request: BlobRequest,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes = b"",
    version: Version | None = None,
) -> Response:
    """Return an answer with the headers that Azure sends."""
    all_headers = _common_headers(request)
    if version is not None:
        all_headers["etag"] = version.etag
        all_headers["last-modified"] = version.last_modified
    if headers is not None:
        all_headers |= headers
    return Response(body, status, all_headers)


def xml_response(request: BlobRequest, text: str) -> Response:
    """Return an XML document."""
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?>{text}'.encode("utf-8", "surrogatepass")
    return blob_response(request, 200, {"content-type": "application/xml"}, body=body)


def content_response(
    request: BlobRequest, status: int, headers: Mapping[str, str], content: Content, start: int, length: int
) -> Response:
    """Return a part of a content: at once if it is small, else piece by piece as the client takes it."""
    all_headers = {**_common_headers(request), **headers}
    if length <= CHUNK_BYTES:
        return Response(content.read(start, length), status, all_headers)
    all_headers["content-length"] = str(length)
    return StreamingResponse(_chunks(content, start, length), status, all_headers)


def error_response(request: BlobRequest, error: BlobError, *, retry_after: float | None = None) -> Response:
    """Return a refusal."""
    headers = _common_headers(request)
    headers["x-ms-error-code"] = error.code
    headers |= error.headers
    if retry_after is not None:
        headers["retry-after"] = str(-int(-retry_after // 1))
    if error.status == 304:
        return Response(b"", 304, headers)
    headers["content-type"] = "application/xml"
    now = time.strftime("%Y-%m-%dT%H:%M:%S.0000000Z", time.gmtime())
    body = error.body(headers["x-ms-request-id"], now)
    return Response(b"" if request.method == "HEAD" else body, error.status, headers)


def http_date(seconds: int) -> str:
    """Return a time, in seconds since 1970, as HTTP writes it."""
    return formatdate(seconds, usegmt=True)


async def _chunks(content: Content, start: int, length: int) -> AsyncIterator[bytes]:
    for chunk in content.chunks(start, length):
        yield chunk


def _common_headers(request: BlobRequest) -> dict[str, str]:
    headers = {
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-version": request.headers.get("x-ms-version", _DEFAULT_VERSION),
    }
    client_request_id = request.headers.get("x-ms-client-request-id")
    if client_request_id is not None:
        headers["x-ms-client-request-id"] = client_request_id
    return headers
