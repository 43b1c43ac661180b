"""Block blobs put together from blocks: "Put Block", "Put Block List" and "Get Block List" (REST reference)."""

from __future__ import annotations

import base64
import binascii
from html import escape
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.account import BLOCK_BLOB, CommittedBlock
from fastapi_azure_pool.emulator.blob.blobs import ENCRYPTED, check_blob_name, make_blob, prepare_write, sent_settings
from fastapi_azure_pool.emulator.blob.conditions import check_conditions
from fastapi_azure_pool.emulator.blob.containers import find_container
from fastapi_azure_pool.emulator.blob.content import Content, Space
from fastapi_azure_pool.emulator.blob.documents import read_document
from fastapi_azure_pool.emulator.blob.errors import (
    BlobError,
    blob_not_found,
    invalid_header,
    invalid_query,
    invalid_xml,
    missing_query,
    wrong_blob_type,
)
from fastapi_azure_pool.emulator.blob.request import base64_text
from fastapi_azure_pool.emulator.blob.responses import blob_response, xml_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.responses import Response

    from fastapi_azure_pool.emulator.blob.account import Account, Blob
    from fastapi_azure_pool.emulator.blob.request import BlobRequest

_MAX_BLOCKS = 50_000
_MAX_STAGED = 100_000
_MAX_ID_BYTES = 64


def put_block(account: Account, request: BlobRequest) -> Response:
    """Keep the body until it is committed as a part of a blob."""
    block_id = request.query.get("blockid")
    if block_id is None:
        raise missing_query("blockid")
    raw_id = _decoded_id(block_id)
    container = find_container(account, request)
    if not request.content.size:
        raise invalid_header("Content-Length", "0")
    check_blob_name(request.blob)
    _refuse_other_types(container.blobs.get(request.blob))
    request.check_md5()
    staged = container.staged.get(request.blob, {})
    for other in staged:
        if len(_decoded_id(other)) != len(raw_id):
            raise BlobError(400, "InvalidBlobOrBlock", "The specified blob or block content is invalid.")
        break
    if len(staged) >= _MAX_STAGED and block_id not in staged:
        message = "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks."
        raise BlobError(409, "BlockCountExceedsLimit", message)
    container.staged.setdefault(request.blob, staged)[block_id] = request.content
    hashes = {"content-md5": base64_text(request.content_md5())} if "content-md5" in request.headers else {}
    return blob_response(request, 201, ENCRYPTED | hashes)


def put_block_list(account: Account, request: BlobRequest, space: Space) -> Response:
    """Make a block blob of blocks: of those that were put, and of those that it has."""
    elements = read_document(request.content.read(), "BlockList")
    container, present = prepare_write(account, request)
    _refuse_other_types(present)
    request.check_md5()
    if len(elements) > _MAX_BLOCKS:
        raise BlobError(400, "BlockListTooLong", "The block list may not contain more than 50,000 blocks.")
    staged = container.staged.get(request.blob, {})
    committed = {} if present is None else dict(_committed(present))
    sources: dict[str, tuple[Mapping[str, Content], ...]] = {
        "Committed": (committed,),
        "Uncommitted": (staged,),
        "Latest": (staged, committed),
    }
    blocks = []
    for element in elements:
        if element.name not in sources:
            raise invalid_xml()
        blocks.append((element.text, _chosen(element.text, sources[element.name])))
    content = space.kept(Content.joined(content for _, content in blocks))
    blob = make_blob(
        account,
        request,
        BLOCK_BLOB,
        content,
        sent_settings(request.headers, is_body=False),
        present,
        blocks=tuple(CommittedBlock(block_id, content.size) for block_id, content in blocks),
    )
    container.blobs[blob.name] = blob
    container.staged.pop(blob.name, None)
    return blob_response(request, 201, ENCRYPTED, version=blob.version)


def get_block_list(account: Account, request: BlobRequest) -> Response:
    """List the blocks of a blob, and those that wait to be committed."""
    kind = request.query.get("blocklisttype", "committed").lower()
    if kind not in {"committed", "uncommitted", "all"}:
        raise invalid_query("blocklisttype", kind)
    container = find_container(account, request)
    blob = container.blobs.get(request.blob)
    staged = container.staged.get(request.blob, {})
    if blob is None and not staged:
        raise blob_not_found()
    _refuse_other_types(blob)
    check_conditions(request.headers, None if blob is None else blob.version, is_read=True)
    text = ""
    if kind != "uncommitted":
        blocks = () if blob is None else blob.blocks
        text += _rows("CommittedBlocks", ((block.id, block.size) for block in blocks))
    if kind != "committed":
        text += _rows("UncommittedBlocks", ((block_id, content.size) for block_id, content in staged.items()))
    response = xml_response(request, f"<BlockList>{text}</BlockList>")
    response.headers["x-ms-blob-content-length"] = str(0 if blob is None else blob.content.size)
    if blob is not None:
        response.headers["etag"] = blob.version.etag
        response.headers["last-modified"] = blob.version.last_modified
    return response


def _committed(blob: Blob) -> Iterable[tuple[str, Content]]:
    start = 0
    for block in blob.blocks:
        yield block.id, blob.content.part(start, block.size)
        start += block.size


def _chosen(block_id: str, sources: tuple[Mapping[str, Content], ...]) -> Content:
    for blocks in sources:
        if block_id in blocks:
            return blocks[block_id]
    raise BlobError(400, "InvalidBlockList", "The specified block list is invalid.")


def _decoded_id(block_id: str) -> bytes:
    try:
        raw = base64.b64decode(block_id.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_query("blockid", block_id, "Not a valid base64 string.") from error
    if not 1 <= len(raw) <= _MAX_ID_BYTES:
        raise BlobError(
            400,
            "OutOfRangeInput",
            "One of the request inputs is out of range.",
            details={"Reason": f"blockid must have 1 to {_MAX_ID_BYTES} bytes before it is encoded."},
        )
    return raw


def _refuse_other_types(blob: Blob | None) -> None:
    if blob is not None and blob.type != BLOCK_BLOB:
        raise wrong_blob_type()


def _rows(name: str, blocks: Iterable[tuple[str, int]]) -> str:
    rows = "".join(f"<Block><Name>{escape(block_id)}</Name><Size>{size}</Size></Block>" for block_id, size in blocks)
    return f"<{name}>{rows}</{name}>" if rows else f"<{name} />"
