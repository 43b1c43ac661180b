"""A file that appears when it is complete, written beside the event loop."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable
    from pathlib import Path

AnswerT = TypeVar("AnswerT")

# A link that somebody has put in the place of the file is not followed; the name cannot be foreseen anyway.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


async def write_file(path: Path, pieces: AsyncIterable[bytes]) -> None:
    """Write a file, which takes its name, and the place of an older one or of a link, only when it is complete.

    Args:
        path: The file, in a directory that exists.
        pieces: What is written.

    Raises:
        OSError: It cannot be written. Nothing is left of it then, nor when ``pieces`` fails or the caller is cancelled.
    """
    part = _Part(path)
    try:
        await _in_thread(part.create)
        async for piece in pieces:
            await _in_thread(partial(part.write, piece))
        await _in_thread(part.complete)
    except BaseException:
        await _in_thread(part.discard)
        raise


async def _in_thread(work: Callable[[], AnswerT]) -> AnswerT:
    """Do it in a thread; a caller who is cancelled leaves when it is done, so that nothing happens behind its back."""
    doing = asyncio.get_running_loop().run_in_executor(None, work)
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait((doing,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        doing.exception()  # Seen.
        raise cancelled
    return doing.result()


class _Part:
    """A file under a name of its own until it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{secrets.token_hex(8)}.part")
        self._file: BinaryIO | None = None

    def create(self) -> None:
        self._file = os.fdopen(os.open(self._part, _FLAGS, 0o666), "wb")

    def write(self, piece: bytes) -> None:
        if self._file is not None:
            self._file.write(piece)

    def complete(self) -> None:
        if self._file is not None:
            self._file.close()
            self._part.replace(self._path)

    def discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # What could not be written then cannot be written now.
                self._file.close()
            self._part.unlink(missing_ok=True)
