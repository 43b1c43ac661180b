"""What blobs and blocks consist of: small pieces in memory, large ones in unnamed temporary files."""

from __future__ import annotations

import bisect
import os
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What is larger lies in a file, so that a gigabyte passes through a process of some megabytes.
MAX_MEMORY_BYTES = 256 * 1024

# How much is read at once of what is sent on; uvicorn waits for the client after each.
CHUNK_BYTES = 256 * 1024

# One file holds many pieces, for a process may open about a thousand; and not all, for its space is given back when the
# last piece in it is gone.
_FILE_BYTES = 128 * 1024 * 1024


class _File:
    """An unnamed temporary file that closes itself when no piece refers to it."""

    __slots__ = ("_descriptor", "_lock", "end")

    def __init__(self) -> None:
        # Only the descriptor: a file object that is collected in a circle may be finalized first, and warns.
        with tempfile.TemporaryFile(buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        self.end = 0
        # a test looks at blobs from its own thread while the emulator serves in another, and they share one position
        self._lock = threading.Lock()

    def __del__(self) -> None:
        os.close(self._descriptor)

    def write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            data = os.read(self._descriptor, length)
            while len(data) < length:
                more = os.read(self._descriptor, length - len(data))
                if not more:
                    raise OSError(f"a temporary file ended {length - len(data)} bytes early: was it truncated?")
                data += more
        return data


@dataclass(frozen=True, slots=True)
class _Extent:
    """A part of a file."""

    file: _File
    offset: int
    length: int

    def __len__(self) -> int:
        return self.length

    def follows(self, other: bytes | _Extent) -> bool:
        return isinstance(other, _Extent) and other.file is self.file and other.offset + other.length == self.offset


class Content:
    """A sequence of bytes that never changes; those that share pieces share their memory and files."""

    __slots__ = ("_starts", "pieces", "size")

    def __init__(self, pieces: Iterable[bytes | _Extent] = ()) -> None:
        self.pieces = tuple(pieces)
        starts = []
        size = 0
        for piece in self.pieces:
            starts.append(size)
            size += len(piece)
        self._starts = starts
        self.size = size

    def __repr__(self) -> str:
        return f"<Content of {self.size} bytes>"

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return these bytes, kept in memory."""
        return cls((data,) if data else ())

    @classmethod
    def joined(cls, contents: Iterable[Content]) -> Self:
        """Return all of these one after the other, without copying what lies in files."""
        pieces: list[bytes | _Extent] = []
        for content in contents:
            for piece in content.pieces:
                last = pieces[-1] if pieces else None
                if isinstance(piece, _Extent) and isinstance(last, _Extent) and piece.follows(last):
                    pieces[-1] = _Extent(last.file, last.offset, last.length + piece.length)
                else:
                    pieces.append(piece)
        return cls(pieces)

    def part(self, start: int, length: int) -> Content:
        """Return a part, which must lie within, without copying what lies in files."""
        return Content(self._cut(start, start + length))

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """Return a part; what lies beyond the end is not in it."""
        end = self.size if length is None else min(start + length, self.size)
        if len(self.pieces) == 1 and isinstance(self.pieces[0], bytes):
            return self.pieces[0][start:end]
        return b"".join(
            piece if isinstance(piece, bytes) else piece.file.read(piece.offset, piece.length)
            for piece in self._cut(start, end)
        )

    def chunks(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a part in chunks that are read as they are asked for."""
        end = self.size if length is None else min(start + length, self.size)
        while start < end:
            stop = min(start + CHUNK_BYTES, end)
            yield self.read(start, stop - start)
            start = stop

    @property
    def memory_bytes(self) -> int:
        """How much of it is in memory."""
        return sum(len(piece) for piece in self.pieces if isinstance(piece, bytes))

    def ends_at(self, file: _File, offset: int) -> bool:
        """Whether what comes next in a file would come next in it."""
        last = self.pieces[-1] if self.pieces else None
        return isinstance(last, _Extent) and last.file is file and last.offset + last.length == offset

    def _cut(self, start: int, end: int) -> Iterator[bytes | _Extent]:
        index = bisect.bisect_right(self._starts, start) - 1
        while start < end:
            piece = self.pieces[index]
            skipped = start - self._starts[index]
            length = min(len(piece) - skipped, end - start)
            if isinstance(piece, bytes):
                yield piece[skipped : skipped + length]
            else:
                yield _Extent(piece.file, piece.offset + skipped, length)
            start += length
            index += 1


class Space:
    """Where contents are kept: in memory while they are small, else in temporary files."""

    def __init__(self) -> None:
        self._file: _File | None = None

    def writer(self, length: int, file: _File | None = None) -> Writer:
        """Return what takes exactly so many bytes, into this file or the one that has room."""
        if file is None:
            if self._file is None or self._file.end + length > _FILE_BYTES:
                self._file = _File()
            file = self._file
        extent = _Extent(file, file.end, length)
        file.end += length
        return Writer(extent)

    def kept(self, content: Content) -> Content:
        """Return the same content, of which no more is in memory than may be."""
        if content.memory_bytes == content.size <= MAX_MEMORY_BYTES:
            return Content.of(content.read())
        return self._written(content) if content.memory_bytes > MAX_MEMORY_BYTES else content

    def appended(self, content: Content, added: Content) -> Content:
        """Return both contents, one after the other."""
        joined = Content.joined((content, added))
        if joined.memory_bytes == joined.size <= MAX_MEMORY_BYTES:
            return Content.of(joined.read())
        if content.memory_bytes:
            content = self._written(content)
        if added.memory_bytes:
            # in place if it can be, so that a blob that is appended to again and again stays one piece
            is_next = self._file is not None and content.ends_at(self._file, self._file.end)
            added = self._written(added, self._file if is_next else None)
        return Content.joined((content, added))

    def filed(self, data: bytes) -> Content:
        """Return these bytes, kept in a file however few they are: more of them are to come."""
        writer = self.writer(len(data))
        writer.write(data)
        return writer.content()

    def _written(self, content: Content, file: _File | None = None) -> Content:
        writer = self.writer(content.size, file)
        for chunk in content.chunks():
            writer.write(chunk)
        return writer.content()


class Writer:
    """Fills a part of a file with what arrives piece by piece."""

    __slots__ = ("_extent", "written")

    def __init__(self, extent: _Extent) -> None:
        self._extent = extent
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write what comes next; what is more than was reserved is counted and not written."""
        room = self._extent.length - self.written
        if room > 0:
            self._extent.file.write(self._extent.offset + self.written, data if len(data) <= room else data[:room])
        self.written += len(data)

    def content(self) -> Content:
        """Return what was written."""
        return Content((_Extent(self._extent.file, self._extent.offset, min(self.written, self._extent.length)),))
