"""Blob Storage's HTTP answers: the headers that every one carries, and content that is sent piece by piece."""

from __future__ import annotations

import math
import time
import uuid
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from fastapi_azure_pool.emulator.blob.content import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fastapi_azure_pool.emulator.blob.account import Blob, Version
    from fastapi_azure_pool.emulator.blob.content import Content
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
    metadata: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer with the headers that Azure sends."""
    all_headers = _common_headers(request)
    if version is not None:
        all_headers["etag"] = version.etag
        all_headers["last-modified"] = version.last_modified
    if headers is not None:
        all_headers |= headers
    return _with_metadata(Response(body, status, all_headers), metadata)


def xml_response(request: BlobRequest, text: str) -> Response:
    """Return an XML document."""
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?>{text}'.encode("utf-8", "surrogatepass")
    return blob_response(request, 200, {"content-type": "application/xml"}, body=body)


def content_response(
    request: BlobRequest, status: int, headers: Mapping[str, str], blob: Blob, start: int, length: int
) -> Response:
    """Return a part of a blob's content: at once if it is small, else piece by piece as the client takes it."""
    all_headers = {**_common_headers(request), **headers}
    if length <= CHUNK_BYTES:
        return _with_metadata(Response(blob.content.read(start, length), status, all_headers), blob.metadata)
    all_headers["content-length"] = str(length)
    return _with_metadata(StreamingResponse(_chunks(blob.content, start, length), status, all_headers), blob.metadata)


def error_response(request: BlobRequest, error: BlobError, *, retry_after: float | None = None) -> Response:
    """Return a refusal."""
    headers = _common_headers(request)
    headers["x-ms-error-code"] = error.code
    headers |= error.headers
    if retry_after is not None:
        headers["retry-after"] = str(math.ceil(retry_after))
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


class _AsSpelt(bytes):
    """A header's name that stays as it is written: servers put names in lower case, and metadata is known by case."""

    __slots__ = ()

    def lower(self) -> _AsSpelt:
        """Return it as it is."""
        return self


def _with_metadata(response: Response, metadata: Mapping[str, str] | None) -> Response:
    if metadata:
        response.raw_headers += [
            (_AsSpelt(b"x-ms-meta-" + name.encode("ascii")), value.encode("latin-1"))
            for name, value in metadata.items()
        ]
    return response


def _common_headers(request: BlobRequest) -> dict[str, str]:
    headers = {
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-version": request.headers.get("x-ms-version", _DEFAULT_VERSION),
    }
    client_request_id = request.headers.get("x-ms-client-request-id")
    if client_request_id is not None:
        headers["x-ms-client-request-id"] = client_request_id
    return headers
