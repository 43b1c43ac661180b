"""Saving blobs in a directory: what appears there, and what never does; and content that is read off the event loop."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool import AzureBlobError, ManagedAzureBlobStorage
from fastapi_azure_pool.clients import blob_files
from fastapi_azure_pool.clients.blob_content import BlockReader, prepare
from fastapi_azure_pool.clients.blob_files import write_file
from fastapi_azure_pool.emulator import Emulator
from tests.clients.blob_storage import MIB, files_of, names_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def files() -> AsyncIterator[ManagedAzureBlobStorage]:
    """A client of the container "files"."""
    async with Emulator() as azure:
        await azure.create_blob_container("files")
        async with files_of(azure) as client:
            yield client


async def pieces(*given: bytes, end: BaseException | None = None) -> AsyncIterator[bytes]:
    """Give these pieces, then raise this."""
    for piece in given:
        yield piece
    if end is not None:
        raise end


@pytest.mark.parametrize("name", ["/etc/passwd", "a\\..\\..\\passwd", "C:\\passwd", "C:passwd", "~/passwd"])
async def test_no_name_leads_out_of_the_directory(files: ManagedAzureBlobStorage, tmp_path: Path, name: str) -> None:
    """Absolute names, Windows' names and drives are saved under their last part, inside the directory."""
    directory = tmp_path / "work"
    directory.mkdir()
    await files.upload_blob(name, b"hello")
    assert await files.download_blob_to_dir(directory, name) == str(directory / "passwd")
    assert (names_in(tmp_path), names_in(directory)) == (["work"], ["passwd"])


async def test_a_link_is_replaced_and_not_followed(files: ManagedAzureBlobStorage, tmp_path: Path) -> None:
    """A link in the file's place that leads elsewhere is replaced by the file; where it led nothing changes."""
    outside, directory = tmp_path / "outside", tmp_path / "work"
    directory.mkdir()
    outside.write_bytes(b"secret")
    (directory / "a").symlink_to(outside)
    await files.upload_blob("a", b"hello")
    path = await files.download_blob_to_dir(directory, "a")
    assert (outside.read_bytes(), (directory / "a").read_bytes()) == (b"secret", b"hello")
    assert not (directory / "a").is_symlink()
    assert path == str(directory / "a")


async def test_an_older_file_is_replaced(files: ManagedAzureBlobStorage, tmp_path: Path) -> None:
    """What had the name before is gone, and the file's mode is as for any new file."""
    (tmp_path / "a").write_bytes(b"something longer")
    await files.upload_blob("a", b"hello")
    await files.download_blob_to_dir(tmp_path, "a")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").read_bytes() == b"hello"
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


async def test_a_blob_that_is_missing_leaves_nothing(files: ManagedAzureBlobStorage, tmp_path: Path) -> None:
    """No file, and what had the name before stays."""
    (tmp_path / "missing").write_bytes(b"older")
    with pytest.raises(AzureBlobError):
        await files.download_blob_to_dir(tmp_path, "missing")
    assert names_in(tmp_path) == ["missing"]
    assert (tmp_path / "missing").read_bytes() == b"older"


async def test_a_directory_that_is_missing_is_told(files: ManagedAzureBlobStorage, tmp_path: Path) -> None:
    """The system's own error says so, and the place on the connection is given back."""
    await files.upload_blob("a", b"hello")
    with pytest.raises(FileNotFoundError):
        await files.download_blob_to_dir(tmp_path / "missing", "a")
    assert files.pool.stats().clients == 0


async def test_a_directory_in_the_file_s_place_is_left_alone(files: ManagedAzureBlobStorage, tmp_path: Path) -> None:
    """A directory of the name is not replaced, and no half file is left beside it."""
    (tmp_path / "a").mkdir()
    await files.upload_blob("a", b"hello")
    with pytest.raises(OSError, match="a"):
        await files.download_blob_to_dir(tmp_path, "a")
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("end", [OSError("broken off"), asyncio.CancelledError(), KeyError("anything")])
async def test_a_failure_half_way_leaves_no_half_file(tmp_path: Path, end: BaseException) -> None:
    """What breaks off leaves nothing behind, and raises what broke it off."""
    with pytest.raises(type(end)):
        await write_file(tmp_path / "a", pieces(b"one", b"two", end=end))
    assert names_in(tmp_path) == []


async def test_a_full_disk_leaves_no_half_file() -> None:
    """A disk that takes no more is told, and what could not be written is gone; the system's own full disk shows it."""
    part = blob_files._Part(Path("/dev/null"))
    part._file = open("/dev/full", "wb")  # noqa: PTH123, SIM115, ASYNC230 - a device
    part.write(b"hello")
    with pytest.raises(OSError, match="No space left"):
        part.complete()
    part.discard()
    assert part._file.closed


class SlowFile(io.BytesIO):
    """A file whose reading waits until it is let, and notes the thread."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.let = threading.Event()
        self.threads: set[int] = set()
        self.is_reading = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        """Give bytes when it is let."""
        self.threads.add(threading.get_ident())
        self.is_reading.set()
        assert self.let.wait(10)
        return super().read(size)


async def test_files_are_read_beside_the_event_loop(files: ManagedAzureBlobStorage) -> None:
    """While a file makes its reader wait, the loop serves others."""
    file = SlowFile(b"hello")
    uploading = asyncio.create_task(files.upload_blob("a", file))
    assert await asyncio.to_thread(file.is_reading.wait, 10)
    await files.upload_blob("b", b"meanwhile")
    file.let.set()
    assert (await uploading)[0]
    assert threading.get_ident() not in file.threads
    assert await files.download_blob("a") == b"hello"


async def test_who_is_cancelled_while_writing_leaves_when_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written behind the back of who was cancelled, however often, and no half file is left."""
    let, is_writing = threading.Event(), threading.Event()

    class SlowPart(blob_files._Part):
        def write(self, piece: bytes) -> None:
            is_writing.set()
            assert let.wait(10)
            super().write(piece)

    monkeypatch.setattr(blob_files, "_Part", SlowPart)
    writing = asyncio.create_task(write_file(tmp_path / "a", pieces(b"one", b"two")))
    assert await asyncio.to_thread(is_writing.wait, 10)
    for _ in range(3):
        writing.cancel()
        await asyncio.sleep(0)
    assert not writing.done()
    let.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert names_in(tmp_path) == []


async def test_short_content_is_bytes_and_long_content_a_stream() -> None:
    """Content shorter than a block needs one request; the rest comes back from where it was read."""
    assert await prepare([b"ab", b"c"], "utf-8", 4, is_whole=False) == b"abc"
    reader = await prepare([b"ab", b"cd", b"e"], "utf-8", 4, is_whole=False)
    assert isinstance(reader, BlockReader)
    assert [await reader.read(3), await reader.read(3), await reader.read(3)] == [b"abc", b"de", b""]
    whole = await prepare([b"abc"], "utf-8", 4, is_whole=True)
    assert isinstance(whole, BlockReader)
    assert await whole.read(10) == b"abc"


async def test_a_block_is_full_whatever_the_pieces_are() -> None:
    """Every read but the last gives as many bytes as it was asked for."""
    reader = BlockReader(pieces(b"", b"a" * 10, b"b", b"", b"c" * 3))
    assert [await reader.read(4) for _ in range(5)] == [b"aaaa", b"aaaa", b"aabc", b"cc", b""]


async def test_content_that_fails_is_the_caller_s_error(files: ManagedAzureBlobStorage) -> None:
    """What an iterable raises reaches who passed it, early or late, and nothing is stored."""
    for given in (pieces(b"a", end=KeyError("mine")), pieces(bytes(5 * MIB), end=KeyError("mine"))):
        with pytest.raises(KeyError, match="mine"):
            await files.upload_blob("a", given)
    assert [blob.name async for blob in files.list_blobs()] == []
    assert files.pool.stats().clients == 0
