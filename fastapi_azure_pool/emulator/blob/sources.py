"""What a blob is copied from: another blob of this account, or what some other server on loopback sends.

Sources: "Copy Blob", "Put Blob From URL" and "Put Block From URL" (REST reference).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from fastapi_azure_pool.emulator.blob.account import BLOCK_BLOB, DEFAULT_TYPE, CommittedBlock, Settings
from fastapi_azure_pool.emulator.blob.blobs import find_blob
from fastapi_azure_pool.emulator.blob.conditions import CONDITIONS, check_conditions
from fastapi_azure_pool.emulator.blob.content import CHUNK_BYTES, Content, Space
from fastapi_azure_pool.emulator.blob.errors import BlobError, invalid_header, not_supported, too_large
from fastapi_azure_pool.emulator.blob.ranges import parse_range
from fastapi_azure_pool.emulator.blob.request import BlobRequest, sent_metadata
from fastapi_azure_pool.emulator.blob.sas import Need
from fastapi_azure_pool.emulator.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPConnection, HTTPResponse
    from urllib.parse import SplitResult

    from fastapi_azure_pool.emulator.blob.account import Account
    from fastapi_azure_pool.emulator.blob.authorization import Authorization

_HEADER = "x-ms-copy-source"

# For how long a source may say nothing.
_TIMEOUT_SECONDS = 30.0

_READ = Need("r", "o")

ResultT = TypeVar("ResultT")


class Reader(Protocol):
    """What gives a source's content."""

    async def read(self, limit: int) -> Content:
        """Return it all.

        Raises:
            BlobError: It is longer than the limit, or does not arrive.
        """

    def close(self) -> None:
        """Give it up, if it is not read yet."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is copied.

    Attributes:
        url: Where it is, without what authorizes to read it.
        type: The blob type of the copy.
        settings: As sent with it.
        metadata: Likewise.
        blocks: The blocks of its content.
        appended_blocks: How often it was appended to.
        size: How long it is; None when nobody knows yet.
        is_local: Whether it is in this account.
        reader: Gives its content.
    """

    url: str
    type: str
    settings: Settings
    metadata: Mapping[str, str]
    size: int | None
    is_local: bool
    reader: Reader
    blocks: tuple[CommittedBlock, ...] = ()
    appended_blocks: int = 0


class Sources:
    """Where the requests to one account copy from.

    Args:
        account: This emulator's.
        authorization: Of that account.
        space: Where to keep what is read.
    """

    def __init__(self, account: Account, authorization: Authorization, space: Space) -> None:
        self._account = account
        self._authorization = authorization
        self._space = space
        self._downloads: set[_Download] = set()

    def close(self) -> None:
        """Cut the connections to other servers; who reads from one gets an error."""
        for download in tuple(self._downloads):
            download.close()

    async def open(self, request: BlobRequest, *, may_use_grant: bool) -> Source:
        """Return what a request asks to copy, once it is known that it can be read.

        Args:
            request: Names it in ``x-ms-copy-source``.
            may_use_grant: Whether who may do everything here needs no signature for a source in the same account.

        Raises:
            BlobError: It cannot be read, or its conditions do not hold.
        """
        url = request.headers[_HEADER]
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise invalid_header(_HEADER, "no URL") from error
        if parts.scheme not in {"http", "https"} or not host or any(not "!" <= one <= "~" for one in url):
            raise invalid_header(_HEADER, "no absolute URL of http or https")
        if not is_loopback(host):
            raise not_supported(f"Copying from {host}, which is not on loopback,")
        if port == request.server[1] and host in {"localhost", request.server[0]}:
            return self._find(request, parts, may_use_grant=may_use_grant)
        return await _fetched(request, parts, _Download(parts, self._space, self._downloads))

    def _find(self, request: BlobRequest, parts: SplitResult, *, may_use_grant: bool) -> Source:
        read = _read_request(request, parts)
        if read.account != self._authorization.account:
            raise _unverified(404, "The specified resource does not exist.", "ResourceNotFound")
        is_own = may_use_grant and request.grant.permissions is None and "sig" not in read.query
        try:
            if not is_own:
                self._authorization.grant(read, _READ)
            _, blob = find_blob(self._account, read)
        except BlobError as error:
            raise _unverified(error.status, error.message, error.code) from error
        try:
            check_conditions(request.headers, blob.version, prefix="x-ms-source-")
        except BlobError as error:
            raise _source_condition_not_met() if error.status in {409, 412} else error from None
        content = blob.content
        wanted = request.headers.get("x-ms-source-range")
        if wanted is not None:
            content = content.part(*parse_range("x-ms-source-range", wanted, content.size))
        return Source(
            url=_bare(parts),
            type=blob.type,
            settings=blob.settings,
            metadata=blob.metadata,
            size=content.size,
            is_local=True,
            reader=_Stored(content),
            blocks=blob.blocks,
            appended_blocks=blob.appended_blocks,
        )


def _bare(parts: SplitResult) -> str:
    return parts._replace(query="", fragment="").geturl()


def _read_request(request: BlobRequest, parts: SplitResult) -> BlobRequest:
    headers = [(b"x-ms-version", request.headers.get("x-ms-version", "").encode("latin-1"))]
    token = request.headers.get("x-ms-copy-source-authorization")
    if token is not None:
        headers.append((b"authorization", token.encode("latin-1")))
    return BlobRequest(
        {
            "type": "http",
            "method": "GET",
            "path": parts.path,
            "raw_path": parts.path.encode("latin-1", "replace"),
            "query_string": parts.query.encode("latin-1", "replace"),
            "headers": headers,
            "scheme": request.scheme,
            "client": (request.client_host, 0),
            "server": request.server,
        }
    )


class _Stored:
    """Content that is there already."""

    def __init__(self, content: Content) -> None:
        self._content = content

    async def read(self, limit: int) -> Content:
        """Return it."""
        if self._content.size > limit:
            raise too_large(limit)
        return self._content

    def close(self) -> None:
        """Do nothing."""


async def _fetched(request: BlobRequest, parts: SplitResult, download: _Download) -> Source:
    headers = {}
    for header, sent in (
        ("authorization", "x-ms-copy-source-authorization"),
        ("range", "x-ms-source-range"),
        *((name, f"x-ms-source-{name}") for name in CONDITIONS),
    ):
        if sent in request.headers:
            headers[header] = request.headers[sent]
    response = await download.open(headers)
    if response.status not in {200, 206}:
        download.close()
        if response.status in {304, 412}:
            raise _source_condition_not_met()
        status = response.status if 400 <= response.status < 500 else 500
        reason = response.reason if response.status >= 400 else "The source redirects, which is not followed."
        raise _unverified(status, reason, response.headers.get("x-ms-error-code", ""))
    found = response.headers
    length = found.get("content-length", "")
    return Source(
        url=_bare(parts),
        type=found.get("x-ms-blob-type", BLOCK_BLOB),
        settings=Settings(
            content_type=found.get("content-type", DEFAULT_TYPE),
            content_encoding=found.get("content-encoding", ""),
            content_language=found.get("content-language", ""),
            content_disposition=found.get("content-disposition", ""),
            cache_control=found.get("cache-control", ""),
            content_md5=found.get("content-md5", ""),
        ),
        metadata=sent_metadata(dict(found.items())),
        size=int(length) if length.isascii() and length.isdigit() else None,
        is_local=False,
        reader=download,
    )


class _Download:
    """One response of another server, read in threads: the standard library's client blocks."""

    def __init__(self, parts: SplitResult, space: Space, opened: set[_Download]) -> None:
        self._parts = parts
        self._space = space
        self._opened = opened
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None
        # Guards these two: a connection that a thread reads from is closed by that thread.
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_busy = False

    async def open(self, headers: Mapping[str, str]) -> HTTPResponse:
        """Return the response, its body not read yet."""
        from http.client import HTTPException  # noqa: PLC0415 - few copy from elsewhere

        self._opened.add(self)
        try:
            return await self._in_thread(partial(self._request, headers))
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise _unverified(500, "Could not verify the copy source within the specified time.") from error

    async def read(self, limit: int) -> Content:
        """Return all of the body."""
        from http.client import HTTPException  # noqa: PLC0415 - see above

        response = self._response
        assert response is not None  # noqa: S101 - open() was called
        pieces: list[Content] = []
        size = 0
        try:
            while chunk := await self._in_thread(partial(response.read, CHUNK_BYTES)):
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                pieces.append(self._space.kept(Content.of(chunk)) if size <= CHUNK_BYTES else self._space.filed(chunk))
            if response.length:
                raise _unverified(500, f"The source ended {response.length} bytes early.")
        except (OSError, HTTPException) as error:
            raise _unverified(500, "The source broke off.") from error
        finally:
            self.close()
        return self._space.kept(Content.joined(pieces))

    def close(self) -> None:
        """Cut the connection; a thread that waits for it comes back at once. To close it again does nothing."""
        self._opened.discard(self)
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            is_busy = self._is_busy
        connected = None if self._connection is None else self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        if not is_busy:
            self._dispose()

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        with self._lock:
            if self._is_closed:
                raise ConnectionAbortedError("the emulator stops")
            self._is_busy = True
        return await asyncio.to_thread(self._work, work)

    def _work(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return work()
        finally:
            with self._lock:
                self._is_busy = False
                is_closed = self._is_closed
            if is_closed:
                self._dispose()

    def _dispose(self) -> None:
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()

    def _request(self, headers: Mapping[str, str]) -> HTTPResponse:
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - see above

        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=_TIMEOUT_SECONDS)
        path = self._parts.path or "/"
        target = f"{path}?{self._parts.query}" if self._parts.query else path
        connection.request("GET", target, headers=dict(headers))
        self._response = connection.getresponse()
        return self._response


def _unverified(status: int, message: str, code: str = "") -> BlobError:
    headers = {"x-ms-copy-source-status-code": str(status)}
    if code:
        headers["x-ms-copy-source-error-code"] = code
    return BlobError(status, "CannotVerifyCopySource", message, headers=headers)


def _source_condition_not_met() -> BlobError:
    message = "The source condition specified using HTTP conditional header(s) is not met."
    return BlobError(412, "SourceConditionNotMet", message)
