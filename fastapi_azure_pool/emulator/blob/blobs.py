"""Operations on blobs of every type: "Put Blob", "Get Blob", "Delete Blob" and those beside them (REST reference)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.account import APPEND_BLOB, BLOCK_BLOB, DEFAULT_TYPE, Blob, Settings
from fastapi_azure_pool.emulator.blob.conditions import check_conditions
from fastapi_azure_pool.emulator.blob.containers import find_container
from fastapi_azure_pool.emulator.blob.errors import (
    BlobError,
    blob_not_found,
    invalid_header,
    missing_header,
    not_supported,
    wrong_blob_type,
)
from fastapi_azure_pool.emulator.blob.ranges import requested_range
from fastapi_azure_pool.emulator.blob.request import base64_text, md5_of
from fastapi_azure_pool.emulator.blob.responses import blob_response, content_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from fastapi_azure_pool.emulator.blob.account import Account, CommittedBlock, Container
    from fastapi_azure_pool.emulator.blob.content import Content
    from fastapi_azure_pool.emulator.blob.request import BlobRequest

# The hash of a part is given for at most so much ("Get Blob", x-ms-range-get-content-md5).
_MAX_HASHED_RANGE = 4 * 1024 * 1024

_MAX_NAME = 1_024

_TIERS = frozenset({"Hot", "Cool", "Cold", "Archive"})

ENCRYPTED = {"x-ms-request-server-encrypted": "true"}


def check_blob_name(name: str) -> None:
    """Return if a blob may have this name.

    Raises:
        BlobError: It is too long, or not UTF-8.
    """
    if len(name) > _MAX_NAME or any("\ud800" <= character <= "\udfff" for character in name):
        raise BlobError(400, "InvalidUri", "The requested URI does not represent any resource on the server.")


def find_blob(account: Account, request: BlobRequest) -> tuple[Container, Blob]:
    """Return the blob that a request is about, and its container.

    Raises:
        BlobError: There is none.
    """
    container = find_container(account, request)
    blob = container.blobs.get(request.blob)
    if blob is None:
        raise blob_not_found()
    return container, blob


def find_to_change(account: Account, request: BlobRequest) -> tuple[Container, Blob]:
    """Return the blob that a request changes, and its container.

    Raises:
        BlobError: There is none, or it must not be changed.
    """
    container, blob = find_blob(account, request)
    check_conditions(request.headers, blob.version)
    _refuse_pending(blob)
    return container, blob


def prepare_write(account: Account, request: BlobRequest, *, to_create: str = "cw") -> tuple[Container, Blob | None]:
    """Return the container, and the blob that a write would replace, if there is one.

    Args:
        account: The account.
        request: Its conditional headers must hold.
        to_create: The permissions of which one is enough where there is no blob; to overwrite one takes ``w``.

    Raises:
        BlobError: It must not be written.
    """
    container = find_container(account, request)
    check_blob_name(request.blob)
    blob = container.blobs.get(request.blob)
    request.grant.require("w" if blob is not None else to_create)
    check_conditions(request.headers, None if blob is None else blob.version)
    if blob is not None:
        _refuse_pending(blob)
    return container, blob


def put_blob(account: Account, request: BlobRequest) -> Response:
    """Make a block blob of the body, or an empty append blob."""
    kind = request.headers.get("x-ms-blob-type")
    if kind is None:
        raise missing_header("x-ms-blob-type")
    if kind == "PageBlob":
        raise not_supported("A page blob")
    if kind not in {BLOCK_BLOB, APPEND_BLOB}:
        raise invalid_header("x-ms-blob-type", kind)
    if kind == APPEND_BLOB and request.content.size:
        raise invalid_header("Content-Length", str(request.content.size))
    container, present = prepare_write(account, request, to_create="cw" if kind == BLOCK_BLOB else "acw")
    request.check_md5()
    request.check_md5("x-ms-blob-content-md5")
    settings = sent_settings(request.headers)
    body_md5 = ""
    if kind == BLOCK_BLOB:
        body_md5 = base64_text(request.content_md5())
        settings = replace(settings, content_md5=body_md5)
    blob = make_blob(account, request, kind, request.content, settings, present)
    container.blobs[blob.name] = blob
    container.staged.pop(blob.name, None)
    hashes = {"content-md5": body_md5} if body_md5 else {}
    return blob_response(request, 201, ENCRYPTED | hashes, version=blob.version)


def make_blob(
    account: Account,
    request: BlobRequest,
    kind: str,
    content: Content,
    settings: Settings,
    present: Blob | None,
    *,
    blocks: tuple[CommittedBlock, ...] = (),
) -> Blob:
    """Return a new blob as a request's headers describe it, in place of the present one."""
    version = account.new_version()
    tier = sent_tier(request)
    return Blob(
        name=request.blob,
        type=kind,
        content=content,
        version=version,
        created_at=version.modified_at if present is None else present.created_at,
        settings=settings,
        metadata=request.metadata(),
        blocks=blocks,
        tier=tier,
        tier_changed_at=version.last_modified if tier else "",
    )


def sent_settings(headers: Mapping[str, str], *, is_body: bool = True) -> Settings:
    """Return the settings that a request gives a new blob.

    Args:
        headers: The request's.
        is_body: Whether the body is the content, so that the headers of HTTP itself speak of the content too.
    """

    def sent(name: str) -> str:
        return headers.get(f"x-ms-blob-{name}") or (headers.get(name, "") if is_body else "")

    return Settings(
        content_type=sent("content-type") or DEFAULT_TYPE,
        content_encoding=sent("content-encoding"),
        content_language=sent("content-language"),
        content_disposition=headers.get("x-ms-blob-content-disposition", ""),
        cache_control=sent("cache-control"),
        content_md5=headers.get("x-ms-blob-content-md5", ""),
    )


def sent_tier(request: BlobRequest) -> str:
    """Return the access tier that a request names, "" if it names none.

    Raises:
        BlobError: It is none of a block blob.
    """
    tier: str = request.headers.get("x-ms-access-tier", "")
    if tier and tier not in _TIERS:
        raise invalid_header("x-ms-access-tier", tier)
    return tier


def get_blob(account: Account, request: BlobRequest) -> Response:
    """Send a blob's content, or the part that is asked for."""
    _, blob = find_blob(account, request)
    check_conditions(request.headers, blob.version, is_read=True)
    if blob.tier == "Archive":
        raise BlobError(409, "BlobArchived", "This operation is not permitted on an archived blob.")
    content = blob.content
    part = requested_range(request.headers, content.size)
    is_hash_wanted = request.headers.get("x-ms-range-get-content-md5", "").lower() == "true"
    if part is None:
        if is_hash_wanted:
            raise missing_header("Range")
        headers = dict(blob.headers)
        if blob.settings.content_md5:
            headers["content-md5"] = blob.settings.content_md5
        status, start, length = 200, 0, content.size
    else:
        start, length = part
        headers = blob.headers | {"content-range": f"bytes {start}-{start + length - 1}/{content.size}"}
        if blob.settings.content_md5:
            headers["x-ms-blob-content-md5"] = blob.settings.content_md5
        if is_hash_wanted:
            if length > _MAX_HASHED_RANGE:
                raise invalid_header("x-ms-range-get-content-md5", "true")
            headers["content-md5"] = base64_text(md5_of(content.part(start, length)))
        status = 206
    if request.grant.overrides:
        headers |= request.grant.overrides
    return content_response(request, status, headers, blob, start, length)


def get_blob_properties(account: Account, request: BlobRequest) -> Response:
    """Tell a blob's properties and metadata."""
    _, blob = find_blob(account, request)
    check_conditions(request.headers, blob.version, is_read=True)
    headers = blob.headers | {"content-length": str(blob.content.size)}
    if blob.settings.content_md5:
        headers["content-md5"] = blob.settings.content_md5
    if blob.tier:
        headers |= {"x-ms-access-tier": blob.tier, "x-ms-access-tier-change-time": blob.tier_changed_at}
    elif blob.is_tiered:
        headers |= {"x-ms-access-tier": "Hot", "x-ms-access-tier-inferred": "true"}
    headers |= request.grant.overrides
    return blob_response(request, 200, headers, metadata=blob.metadata)


def set_blob_properties(account: Account, request: BlobRequest) -> Response:
    """Replace all of a blob's settings by those that are sent."""
    container, blob = find_to_change(account, request)
    headers = request.headers
    if any(name in headers for name in ("x-ms-blob-content-length", "x-ms-sequence-number-action")):
        raise not_supported("A page blob")
    settings = sent_settings(headers, is_body=False)
    changed = container.blobs[blob.name] = replace(blob, settings=settings, version=account.new_version(), copy=None)
    return blob_response(request, 200, version=changed.version)


def get_blob_metadata(account: Account, request: BlobRequest) -> Response:
    """Tell a blob's metadata."""
    _, blob = find_blob(account, request)
    check_conditions(request.headers, blob.version, is_read=True)
    return blob_response(request, 200, version=blob.version, metadata=blob.metadata)


def set_blob_metadata(account: Account, request: BlobRequest) -> Response:
    """Replace a blob's metadata."""
    container, blob = find_to_change(account, request)
    metadata = request.metadata()
    changed = container.blobs[blob.name] = replace(blob, metadata=metadata, version=account.new_version())
    return blob_response(request, 200, ENCRYPTED, version=changed.version)


def set_blob_tier(account: Account, request: BlobRequest) -> Response:
    """Set a block blob's access tier, at once."""
    container, blob = find_to_change(account, request)
    tier = sent_tier(request)
    if not tier:
        raise missing_header("x-ms-access-tier")
    if not blob.is_tiered:
        raise wrong_blob_type()
    # neither its etag nor its time of change tell of it
    now = account.new_version().last_modified
    container.blobs[blob.name] = replace(blob, tier=tier, tier_changed_at=now)
    return blob_response(request, 200)


def delete_blob(account: Account, request: BlobRequest) -> Response:
    """Delete a blob."""
    container, blob = find_to_change(account, request)
    del container.blobs[blob.name]
    container.staged.pop(blob.name, None)
    return blob_response(request, 202, {"x-ms-delete-type-permanent": "true"})


def _refuse_pending(blob: Blob) -> None:
    if blob.copy is not None and blob.copy.status == "pending":
        raise BlobError(409, "PendingCopyOperation", "There is currently a pending copy operation.")
