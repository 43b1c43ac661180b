"""Append blobs grow: "Append Block" (REST reference)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.account import APPEND_BLOB
from fastapi_azure_pool.emulator.blob.blobs import ENCRYPTED, find_to_change
from fastapi_azure_pool.emulator.blob.errors import BlobError, invalid_header, wrong_blob_type
from fastapi_azure_pool.emulator.blob.request import base64_text
from fastapi_azure_pool.emulator.blob.responses import blob_response

if TYPE_CHECKING:
    from starlette.responses import Response

    from fastapi_azure_pool.emulator.blob.account import Account
    from fastapi_azure_pool.emulator.blob.content import Space
    from fastapi_azure_pool.emulator.blob.request import BlobRequest

_MAX_BLOCKS = 50_000


def append_block(account: Account, request: BlobRequest, space: Space) -> Response:
    """Add the body to the end of an append blob."""
    container, blob = find_to_change(account, request)
    if blob.type != APPEND_BLOB:
        raise wrong_blob_type()
    added = request.content
    if not added.size:
        raise invalid_header("Content-Length", "0")
    request.check_md5()
    offset = blob.content.size
    position = request.integer("x-ms-blob-condition-appendpos")
    if position is not None and position != offset:
        message = "The append position condition specified was not met."
        raise BlobError(412, "AppendPositionConditionNotMet", message)
    limit = request.integer("x-ms-blob-condition-maxsize")
    if limit is not None and offset + added.size > limit:
        raise BlobError(412, "MaxBlobSizeConditionNotMet", "The max blob size condition specified was not met.")
    if blob.appended_blocks >= _MAX_BLOCKS:
        message = "The committed block count cannot exceed the maximum limit of 50,000 blocks."
        raise BlobError(409, "BlockCountExceedsLimit", message)
    # as on Azure, what was said of the whole content holds no longer
    settings = replace(blob.settings, content_md5="")
    grown = container.blobs[blob.name] = replace(
        blob,
        content=space.appended(blob.content, added),
        version=account.new_version(),
        settings=settings,
        appended_blocks=blob.appended_blocks + 1,
    )
    headers = ENCRYPTED | {
        "x-ms-blob-append-offset": str(offset),
        "x-ms-blob-committed-block-count": str(grown.appended_blocks),
    }
    if "content-md5" in request.headers:
        headers["content-md5"] = base64_text(request.content_md5())
    return blob_response(request, 201, headers, version=grown.version)
