"""The HTTP front of one storage account's blobs: checks who asks, and finds the operation that is asked for.

Source: "Blob service REST API" (REST reference), whose pages name each operation's method, path and query.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from fastapi_azure_pool.emulator.blob import appending, blobs, blocks, containers, listing, properties
from fastapi_azure_pool.emulator.blob.content import MAX_MEMORY_BYTES, Content, Space
from fastapi_azure_pool.emulator.blob.copying import Copies, check_source_md5, is_synchronous
from fastapi_azure_pool.emulator.blob.errors import BlobError, injected, not_supported, too_large
from fastapi_azure_pool.emulator.blob.request import BlobRequest
from fastapi_azure_pool.emulator.blob.responses import error_response
from fastapi_azure_pool.emulator.blob.sas import Need
from fastapi_azure_pool.emulator.blob.sources import Sources
from fastapi_azure_pool.emulator.http_service import HttpRequest, HttpService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.responses import Response
    from starlette.types import Receive, Scope

    from fastapi_azure_pool.emulator.blob.account import Account
    from fastapi_azure_pool.emulator.blob.authorization import Authorization
    from fastapi_azure_pool.emulator.faults import Delivery, Faults

    Handler = Callable[[Account, BlobRequest], Response]

_MIB = 1024 * 1024

# "Scalability and performance targets for Blob storage": what one request may carry, by the query's comp.
_CONTENT_LIMITS = {"": 5_000 * _MIB, "block": 4_000 * _MIB, "appendblock": 100 * _MIB}

# A list of 50,000 blocks with the longest ids.
_MAX_DOCUMENT_BYTES = 8 * _MIB

# What Azure has and this emulator has not: a request that asks for it must not be answered as if it had not asked.
_UNSUPPORTED_HEADERS = frozenset(
    {
        "x-ms-content-crc64",
        "x-ms-encryption-key",
        "x-ms-encryption-scope",
        "x-ms-immutability-policy-until-date",
        "x-ms-legal-hold",
        "x-ms-structured-body",
        "x-ms-tags",
    }
)
_UNSUPPORTED_QUERIES = frozenset({"prevsnapshot", "snapshot", "versionid"})


@dataclass(frozen=True, slots=True)
class _Operation:
    handler: Handler
    need: Need


class BlobService(HttpService):
    """Serves one account.

    Args:
        faults: Asked for every request.
        account: What it serves.
        authorization: Who may, and with which name every path begins.
    """

    def __init__(self, faults: Faults, account: Account, authorization: Authorization) -> None:
        super().__init__("blob", faults, max_body_bytes=_MAX_DOCUMENT_BYTES)
        self._account = account
        self._authorization = authorization
        self._space = Space()
        self._copies = Copies(account)
        self._sources = Sources(account, authorization, self._space)
        self._operations = _operations(self._space, authorization, self._copies)

    async def stop(self) -> None:
        """End what is being copied, whoever waits for it."""
        self._sources.close()
        await self._copies.stop()

    def make_request(self, scope: Scope) -> HttpRequest:
        """Return the request, which knows its container and blob."""
        return BlobRequest(scope)

    async def respond(self, request: HttpRequest) -> Response:
        """Answer one request; what it copies from elsewhere is fetched first."""
        if "x-ms-copy-source" not in request.headers or request.method != "PUT":
            return self.answer(request)
        blob_request = cast("BlobRequest", request)  # make_request made it
        try:
            return await self._copy(blob_request)
        except BlobError as error:
            return error_response(blob_request, error)

    def answer(self, request: HttpRequest) -> Response:
        """Answer one request, or refuse it as Azure does."""
        blob_request = cast("BlobRequest", request)  # make_request made it
        try:
            return self._permitted(blob_request).handler(self._account, blob_request)
        except BlobError as error:
            return error_response(blob_request, error)

    def fault_response(self, request: HttpRequest, delivery: Delivery) -> Response:
        """Refuse a request with the injected status; what is throttled with 503, as Blob Storage does."""
        blob_request = cast("BlobRequest", request)  # make_request made it
        return error_response(blob_request, injected(delivery.status), retry_after=delivery.retry_after)

    async def _copy(self, request: BlobRequest) -> Response:
        operation = self._permitted(request)
        comp = request.comp
        if comp not in _CONTENT_LIMITS:
            raise not_supported(f"The header x-ms-copy-source with comp={comp}")
        is_copy = not comp and "x-ms-blob-type" not in request.headers
        # within an account, to copy in the background takes no more than to be allowed to do everything there
        may_use_grant = is_copy and not is_synchronous(request)
        source = await self._sources.open(request, may_use_grant=may_use_grant)
        try:
            if is_copy:
                return await self._copies.copy(request, source)
            if not comp:
                return await self._copies.put(request, source)
            request.content = await source.reader.read(_CONTENT_LIMITS[comp])
            check_source_md5(request, request.content)
            return operation.handler(self._account, request)
        except BlobError:
            source.reader.close()
            raise

    def _permitted(self, request: BlobRequest) -> _Operation:
        if request.account != self._authorization.account:
            message = f"The path must begin with the name of this emulator's account: /{self._authorization.account}."
            raise BlobError(404, "ResourceNotFound", message)
        operation = self._find_operation(request)
        request.grant = self._authorization.grant(request, operation.need)
        if not _UNSUPPORTED_HEADERS.isdisjoint(request.headers):
            raise not_supported(f"The header {min(_UNSUPPORTED_HEADERS.intersection(request.headers))}")
        if not _UNSUPPORTED_QUERIES.isdisjoint(request.query):
            raise not_supported(f"The query parameter {min(_UNSUPPORTED_QUERIES.intersection(request.query))}")
        if "x-ms-lease-id" in request.headers:
            raise BlobError(412, "LeaseNotPresentWithBlobOperation", "There is currently no lease on the blob.")
        if request.method == "PUT" and "content-length" not in request.headers and request.content.size:
            message = "The Content-Length header was not specified."
            raise BlobError(411, "MissingContentLengthHeader", message)
        if request.is_too_large:
            raise too_large(_limit(request))
        return operation

    def _find_operation(self, request: BlobRequest) -> _Operation:
        level = "blob" if request.blob else "container" if request.container else "service"
        comp = request.comp
        kind = request.query.get("restype", "").lower()
        if kind == "account":
            comp = "account"
        elif level == "container" and kind != "container":
            raise not_supported("A blob in the root container")
        operation = self._operations.get((level, request.method, comp))
        if operation is not None:
            return operation
        known = {method for other, method, asked in self._operations if (other, asked) == (level, comp)}
        if known:
            message = "The resource doesn't support specified Http Verb."
            raise BlobError(405, "UnsupportedHttpVerb", message, headers={"allow": ", ".join(sorted(known))})
        raise not_supported(f"{request.method} with comp={comp} on a {level}")

    async def _read_body(self, request: HttpRequest, receive: Receive) -> bool:
        blob_request = cast("BlobRequest", request)  # make_request made it
        length = _content_length(blob_request)
        if length <= MAX_MEMORY_BYTES or request.method != "PUT" or length > _limit(blob_request):
            is_read = await super()._read_body(request, receive)
            blob_request.content = Content.of(request.body)
            return is_read
        return await self._keep_body(blob_request, receive, length)

    async def _keep_body(self, request: BlobRequest, receive: Receive, length: int) -> bool:
        """Read a large body into a file; its hash on the way, for it would have to be read once more."""
        writer = self._space.writer(length)
        is_hashed = not request.comp or "content-md5" in request.headers
        hasher = hashlib.md5(usedforsecurity=False)
        is_more = True
        while is_more:
            message = await receive()
            if message["type"] != "http.request":
                return False
            chunk = message.get("body", b"")
            writer.write(chunk)
            if is_hashed:
                hasher.update(chunk)
            is_more = message.get("more_body", False)
        request.content = writer.content()
        request.body_md5 = hasher.digest() if is_hashed else None
        return True


def _operations(
    space: Space, authorization: Authorization, copies: Copies
) -> Mapping[tuple[str, str, str], _Operation]:
    """Return what can be asked: by level, method and comp."""

    def account(handler: Handler, permissions: str, resource_type: str = "s") -> _Operation:
        return _Operation(handler, Need(permissions, resource_type, is_for_account_only=True))

    def within(handler: Handler, permissions: str, resource_type: str = "o") -> _Operation:
        return _Operation(handler, Need(permissions, resource_type))

    table = {
        ("service", "GET", "list"): account(listing.list_containers, "l"),
        ("service", "GET", "properties"): account(properties.get_service_properties, "r"),
        ("service", "POST", "userdelegationkey"): account(
            partial(properties.get_user_delegation_key, access=authorization.shared_access), ""
        ),
        ("container", "PUT", ""): account(containers.create_container, "cw", "c"),
        ("container", "DELETE", ""): account(containers.delete_container, "d", "c"),
        ("container", "GET", ""): account(containers.get_container_properties, "r", "c"),
        ("container", "GET", "metadata"): account(containers.get_container_properties, "r", "c"),
        ("container", "PUT", "metadata"): account(containers.set_container_metadata, "w", "c"),
        ("container", "GET", "acl"): account(containers.get_container_acl, "", "c"),
        ("container", "PUT", "acl"): account(containers.set_container_acl, "", "c"),
        ("container", "GET", "list"): within(listing.list_blobs, "l", "c"),
        ("blob", "GET", ""): within(blobs.get_blob, "r"),
        ("blob", "HEAD", ""): within(blobs.get_blob_properties, "r"),
        ("blob", "PUT", ""): within(blobs.put_blob, "acw"),
        ("blob", "DELETE", ""): within(blobs.delete_blob, "d"),
        ("blob", "GET", "metadata"): within(blobs.get_blob_metadata, "r"),
        ("blob", "PUT", "metadata"): within(blobs.set_blob_metadata, "w"),
        ("blob", "PUT", "properties"): within(blobs.set_blob_properties, "w"),
        ("blob", "PUT", "tier"): within(blobs.set_blob_tier, "w"),
        ("blob", "PUT", "copy"): within(copies.abort, "w"),
        ("blob", "PUT", "block"): within(blocks.put_block, "w"),
        ("blob", "GET", "blocklist"): within(blocks.get_block_list, "r"),
        ("blob", "PUT", "blocklist"): within(partial(blocks.put_block_list, space=space), "cw"),
        ("blob", "PUT", "appendblock"): within(partial(appending.append_block, space=space), "aw"),
    }
    for level in ("service", "container", "blob"):
        table[(level, "GET", "account")] = account(properties.get_account_information, "rwdlacup", level[0])
    # what can be asked for can be asked for without a body
    for (level, method, comp), operation in list(table.items()):
        if method == "GET":
            table.setdefault((level, "HEAD", comp), operation)
    return table


def _limit(request: BlobRequest) -> int:
    if request.method != "PUT" or not request.blob:
        return _MAX_DOCUMENT_BYTES
    return _CONTENT_LIMITS.get(request.comp, _MAX_DOCUMENT_BYTES)


def _content_length(request: BlobRequest) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
