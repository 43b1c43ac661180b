"""What is uploaded: any kind of content as bytes, or as a stream that the SDK reads block by block."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections import deque
from collections.abc import AsyncIterable, Iterable
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class AsyncReadable(Protocol):
    """A file that is read with ``await``, such as FastAPI's ``UploadFile``."""

    async def read(self, size: int = -1, /) -> bytes:
        """Give at most so many bytes; none at the end."""


Content = (
    bytes
    | bytearray
    | memoryview
    | str
    | IO[bytes]
    | AsyncReadable
    | Iterable[bytes]
    | Iterable[str]
    | AsyncIterable[bytes]
    | AsyncIterable[str]
)
"""What can be uploaded."""

_FILE_PIECE = 1024 * 1024


class BlockReader:
    """Content as the SDK reads it: so many bytes at a time, and fewer at the end only.

    The SDK's own reader adds every piece to a growing ``bytes``. Measured for a block of 4 MB that arrives in pieces of 4 KB:
    108 ms of processor time with that, 3 ms with this.

    Args:
        pieces: The content, in pieces of any size.
    """

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._held: deque[bytes] = deque()
        self._held_bytes = 0

    async def read(self, size: int) -> bytes:
        """Give the next bytes: ``size`` of them, or what is left."""
        while self._held_bytes < size:
            piece = await anext(self._pieces, None)
            if piece is None:
                break
            self._held.append(piece)
            self._held_bytes += len(piece)
        taken: list[bytes] = []
        missing = size
        while self._held and missing:
            piece = self._held.popleft()
            if len(piece) > missing:
                self._held.appendleft(piece[missing:])
                piece = piece[:missing]
            taken.append(piece)
            missing -= len(piece)
        self._held_bytes -= size - missing
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def push_back(self, head: bytes) -> None:
        """Let what was read be read again."""
        self._held.appendleft(head)
        self._held_bytes += len(head)


async def prepare(file_data: Content, encoding: str, block_size: int, *, is_whole: bool) -> bytes | BlockReader:
    """Give the content as bytes where one request carries it, else as a stream.

    Content that ends within the first block is given as bytes, so that it takes one request instead of two, which the SDK can
    try again.

    Args:
        file_data: The content.
        encoding: How text becomes bytes.
        block_size: Bytes of a block.
        is_whole: Whether the caller tells the length, so that the SDK must read exactly that much.

    Raises:
        TypeError: It is nothing that can be uploaded.
    """
    if isinstance(file_data, str):
        return file_data.encode(encoding)
    if isinstance(file_data, (bytes, bytearray, memoryview)):
        return bytes(file_data)
    reader = BlockReader(_pieces(file_data, encoding))
    if is_whole:
        return reader
    head = await reader.read(block_size)
    if len(head) < block_size:
        return head
    reader.push_back(head)
    return reader


def _pieces(file_data: Any, encoding: str) -> AsyncIterator[bytes]:
    if isinstance(file_data, io.TextIOBase):
        raise TypeError("file_data is a file of text: open it in binary mode, open(path, 'rb')")
    if hasattr(file_data, "read"):
        return _read(file_data)
    if isinstance(file_data, AsyncIterable):
        return _encode_async(file_data, encoding)
    if isinstance(file_data, Iterable) and not isinstance(file_data, (set, frozenset, dict)):
        return _encode(file_data, encoding)
    raise TypeError(
        "file_data must be bytes, a text, a binary file or an iterable of bytes or texts, also an async one, not a"
        f" {type(file_data).__name__}"
    )


async def _read(file: Any) -> AsyncIterator[bytes]:
    """Read a file; one that is not read with ``await`` in a thread, for disks and network drives make a loop wait."""
    is_async = inspect.iscoroutinefunction(file.read)
    while piece := (await file.read(_FILE_PIECE) if is_async else await asyncio.to_thread(file.read, _FILE_PIECE)):
        yield piece


async def _encode_async(pieces: AsyncIterable[bytes | str], encoding: str) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield piece.encode(encoding) if isinstance(piece, str) else piece


async def _encode(pieces: Iterable[bytes | str], encoding: str) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece.encode(encoding) if isinstance(piece, str) else piece
