"""How blobs' content is kept: in memory while it is small, else in files, and never changed."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.blob import content as module
from fastapi_azure_pool.emulator.blob.content import MAX_MEMORY_BYTES, Content, Space
from tests.emulator.blob.blob_sdk import Http, connect

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

    from fastapi_azure_pool.emulator import Emulator


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=9), st.booleans()), max_size=8), st.integers(0, 80), st.integers(0, 80))
def test_parts_are_slices(pieces: list[tuple[bytes, bool]], start: int, length: int) -> None:
    """However content is put together from memory and files, any part of it is the slice of the bytes that it stands for."""
    space = Space()
    data = b"".join(piece for piece, _ in pieces)
    content = Content.joined(space.filed(piece) if is_filed else Content.of(piece) for piece, is_filed in pieces)
    assert (content.size, content.read()) == (len(data), data)
    assert content.read(start, length) == data[start : start + length]
    assert b"".join(content.chunks(start, length)) == data[start : start + length]
    if start + length <= len(data):
        part = content.part(start, length)
        assert (part.read(), part.size) == (data[start : start + length], length)


def test_what_grows_goes_to_a_file_and_stays_one_piece() -> None:
    """Content that is appended to again and again takes no memory beyond the limit, and does not fall into a thousand pieces."""
    space = Space()
    content = Content()
    step = b"x" * 10_000
    for _ in range(100):
        content = space.appended(content, Content.of(step))
        assert content.memory_bytes <= MAX_MEMORY_BYTES
    assert content.size == 1_000_000
    assert content.memory_bytes == 0
    assert len(content.pieces) == 1
    other = space.appended(Content.of(b"y"), Content.of(b"z"))
    longer = space.appended(content, other)
    assert longer.read(999_999) == b"xyz"
    assert content.size == 1_000_000


def test_threads_read_and_write_one_file() -> None:
    """A thread that reads content while another writes into the same file gets its own bytes: the file has one position."""
    space = Space()
    contents = [space.filed(bytes([number]) * 100) for number in range(4)]

    def use(number: int) -> bool:
        own = bytes([number]) * 100
        return all(contents[number].read() == own and space.filed(own).read() == own for _ in range(500))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(use, range(4))) == [True] * 4


def test_many_small_blocks_go_to_a_file_together() -> None:
    """What is put together from small pieces is not kept in memory because each of them was small."""
    space = Space()
    small = space.kept(Content.joined([Content.of(b"a"), Content.of(b"b")]))
    assert (small.read(), len(small.pieces)) == (b"ab", 1)
    large = space.kept(Content.joined([Content.of(b"x" * 1000)] * 1000))
    assert (large.size, large.memory_bytes) == (1_000_000, 0)
    assert large.read() == b"x" * 1_000_000


def test_files_are_closed_when_nothing_in_them_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's space is given back with the last content in it, and one file does not grow without end."""
    monkeypatch.setattr(module, "_FILE_BYTES", 100)
    space = Space()
    first, second, third = space.filed(b"x" * 60), space.filed(b"y" * 30), space.filed(b"z" * 60)
    files = {piece.file for piece in (*first.pieces, *second.pieces, *third.pieces) if not isinstance(piece, bytes)}
    assert len(files) == 2
    old = first.pieces[0]
    assert not isinstance(old, bytes)
    descriptor = old.file._descriptor
    del files, old, first
    os.fstat(descriptor)
    assert second.read() == b"y" * 30
    del second
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_writer_takes_no_more_than_was_promised() -> None:
    """What is sent beyond the length that was announced is not written over what comes after."""
    space = Space()
    writer = space.writer(3)
    after = space.filed(b"after")
    writer.write(b"ab")
    writer.write(b"cdef")
    writer.write(b"g")
    assert (writer.content().read(), writer.written) == (b"abc", 7)
    assert after.read() == b"after"


async def test_download_goes_on_when_the_blob_is_replaced(
    azure: Emulator, invoices: ContainerClient, http: Http
) -> None:
    """Who reads a blob gets what it was when he began, though it is overwritten and deleted meanwhile."""
    data = random.Random(2).randbytes(3_000_000)
    async with connect(azure, max_single_put_size=1_000_000, max_block_size=1_000_000) as service:
        await service.get_blob_client("invoices", "1").upload_blob(data)
    (stored,) = azure.blobs("invoices")
    await invoices.upload_blob("1", b"new", overwrite=True)
    await invoices.delete_blob("1")
    assert stored.content == data
    assert "_content" not in repr(stored)


async def test_large_body_in_one_piece_comes_back(http: Http) -> None:
    """A body above the limit of memory is stored, hashed, and sent back in one answer."""
    data = random.Random(3).randbytes(900_000)
    answer, _ = await http.answer("PUT", "/invoices/1", body=data, x_ms_blob_type="BlockBlob")
    assert answer.status == 201
    got, body = await http.answer("GET", "/invoices/1")
    assert (body == data, got.headers["content-length"]) == (True, "900000")
    assert got.headers["content-md5"] == answer.headers["content-md5"]
