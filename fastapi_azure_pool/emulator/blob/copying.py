"""Blobs made of what is elsewhere.

Sources: "Copy Blob", "Copy Blob From URL", "Put Blob From URL" and "Abort Copy Blob" (REST reference).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.account import APPEND_BLOB, BLOCK_BLOB, Blob, Copy, Settings
from fastapi_azure_pool.emulator.blob.blobs import (
    ENCRYPTED,
    find_blob,
    make_blob,
    prepare_write,
    sent_settings,
)
from fastapi_azure_pool.emulator.blob.content import Content
from fastapi_azure_pool.emulator.blob.errors import (
    BlobError,
    invalid_header,
    md5_mismatch,
    missing_query,
    not_supported,
)
from fastapi_azure_pool.emulator.blob.request import base64_text, md5_of
from fastapi_azure_pool.emulator.blob.responses import blob_response

if TYPE_CHECKING:
    from starlette.responses import Response

    from fastapi_azure_pool.emulator.blob.account import Account, Container
    from fastapi_azure_pool.emulator.blob.request import BlobRequest
    from fastapi_azure_pool.emulator.blob.sources import Source

_MIB = 1024 * 1024
_MAX_SYNCHRONOUS = 256 * _MIB
_MAX_BLOB = 5_000 * _MIB
_MAX_COPIED = 200_000_000 * _MIB


class Copies:
    """The copies of one account that go on in the background.

    Args:
        account: The account.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def stop(self) -> None:
        """End every copy that goes on; its blob stays empty, and says so."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def copy(self, request: BlobRequest, source: Source) -> Response:
        """Copy: at once within the account or where that is asked for, else in the background."""
        content: Content | None = None
        if is_synchronous(request):
            content = await source.reader.read(_MAX_SYNCHRONOUS)
            check_source_md5(request, content)
        elif source.is_local:
            content = await source.reader.read(_MAX_COPIED)
        container, present = prepare_write(self._account, request)
        copy = Copy(str(uuid.uuid4()), source.url, "pending", f"0/{source.size or 0}")
        blob = _copied(self._account, request, source, present)
        blob = replace(blob, copy=copy) if content is None else _completed(blob, content, copy)
        container.blobs[blob.name] = blob
        container.staged.pop(blob.name, None)
        if content is None:
            self._start(container, blob, copy, source)
        status = "pending" if content is None else "success"
        headers = {"x-ms-copy-id": copy.id, "x-ms-copy-status": status}
        return blob_response(request, 202, headers, version=blob.version)

    async def put(self, request: BlobRequest, source: Source) -> Response:
        """Make a block blob of what is elsewhere, as if its content had been sent."""
        kind = request.headers["x-ms-blob-type"]
        if kind != BLOCK_BLOB:
            raise invalid_header("x-ms-blob-type", kind)
        content = await source.reader.read(_MAX_BLOB)
        check_source_md5(request, content)
        container, present = prepare_write(self._account, request)
        hashed = base64_text(md5_of(content))
        settings = replace(_settings(request, source), content_md5=hashed)
        blob = make_blob(self._account, request, BLOCK_BLOB, content, settings, present)
        container.blobs[blob.name] = blob
        container.staged.pop(blob.name, None)
        return blob_response(request, 201, ENCRYPTED | {"content-md5": hashed}, version=blob.version)

    def abort(self, account: Account, request: BlobRequest) -> Response:
        """End a copy that goes on."""
        _, blob = find_blob(account, request)
        if request.headers.get("x-ms-copy-action", "").lower() != "abort":
            raise invalid_header("x-ms-copy-action", request.headers.get("x-ms-copy-action", ""))
        copy_id = request.query.get("copyid")
        if copy_id is None:
            raise missing_query("copyid")
        if blob.copy is None or blob.copy.status != "pending":
            raise BlobError(409, "NoPendingCopyOperation", "There is currently no pending copy operation.")
        if blob.copy.id != copy_id:
            message = "The specified copy ID did not match the copy ID for the pending copy operation."
            raise BlobError(409, "CopyIdMismatch", message)
        self._tasks[copy_id].cancel()
        return blob_response(request, 204)

    def _start(self, container: Container, blob: Blob, copy: Copy, source: Source) -> None:
        def end(task: asyncio.Task[None]) -> None:
            # here, for a task that is cancelled before it has begun runs none of its own code
            del self._tasks[copy.id]
            if task.cancelled():
                source.reader.close()
                self._give_up(container, blob, copy, "aborted", "")

        # in an empty context, lest the request's live as long as the copy
        finishing = self._finish(container, blob, copy, source)
        task = asyncio.get_running_loop().create_task(finishing, name=f"copy {copy.id}", context=Context())
        self._tasks[copy.id] = task
        task.add_done_callback(end)

    async def _finish(self, container: Container, blob: Blob, copy: Copy, source: Source) -> None:
        try:
            content = await source.reader.read(_MAX_COPIED)
        except BlobError as error:
            self._give_up(container, blob, copy, "failed", f"{error.status} {error.code} {error.message!r}")
        else:
            if container.blobs.get(blob.name) is blob:
                version = self._account.new_version()
                container.blobs[blob.name] = _completed(replace(blob, version=version), content, copy)

    def _give_up(self, container: Container, blob: Blob, copy: Copy, status: str, description: str) -> None:
        if container.blobs.get(blob.name) is blob:
            version = self._account.new_version()
            ended = replace(copy, status=status, description=description, completed_at=version.last_modified)
            container.blobs[blob.name] = replace(blob, version=version, copy=ended)


def is_synchronous(request: BlobRequest) -> bool:
    """Whether a copy is to be waited for."""
    return bool(request.headers.get("x-ms-requires-sync", "").lower() == "true")


def check_source_md5(request: BlobRequest, content: Content) -> None:
    """Return if what was copied is what the request says, or it says nothing.

    Raises:
        BlobError: It is not.
    """
    text = request.headers.get("x-ms-source-content-md5")
    if text is None:
        return
    try:
        sent = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_header("x-ms-source-content-md5", text) from error
    if sent != md5_of(content):
        raise md5_mismatch()


def _copied(account: Account, request: BlobRequest, source: Source, present: Blob | None) -> Blob:
    """Return the copy, still empty: like the source, but for what the request says otherwise."""
    if source.type not in {BLOCK_BLOB, APPEND_BLOB}:
        raise not_supported(f"Copying a {source.type}")
    blob = make_blob(account, request, source.type, Content(), source.settings, present)
    return replace(
        blob,
        metadata=blob.metadata or source.metadata,
        blocks=source.blocks,
        appended_blocks=source.appended_blocks,
    )


def _completed(blob: Blob, content: Content, copy: Copy) -> Blob:
    ended = replace(
        copy,
        status="success",
        progress=f"{content.size}/{content.size}",
        completed_at=blob.version.last_modified,
    )
    return replace(blob, content=content, copy=ended)


def _settings(request: BlobRequest, source: Source) -> Settings:
    """Return the settings that are sent, and the source's for what is not."""
    sent = {field: request.headers.get(f"x-ms-blob-{field.replace('_', '-')}") for field in Settings.__slots__}
    if request.headers.get("x-ms-copy-source-blob-properties", "true").lower() == "false":
        return sent_settings(request.headers, is_body=False)
    return replace(source.settings, **{field: value for field, value in sent.items() if value})
