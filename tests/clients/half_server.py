"""A Blob Storage that begins its answers and does not end them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONTENT = b"x" * 1000

_PROPERTIES = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "0x1"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n'
)
_CONTENT = (
    b'HTTP/1.1 206 Partial Content\r\nContent-Length: 1000\r\nContent-Range: bytes 0-999/1000\r\nETag: "0x1"\r\n'
    b"Content-Type: text/plain\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nx-ms-blob-type: BlockBlob\r\n\r\n"
)


class HalfServer:
    """Answers that the container is there, and of every blob the first half.

    Attributes:
        url: The account's URL.
        halves: How many answers it still ends in their middle; those after that are whole.
        is_patient: Whether it waits in the middle instead of closing the connection.
        half_sent: Set when a half has been sent.
        closed: How many connections its clients have closed in the middle of an answer.
    """

    def __init__(self) -> None:
        self.url = ""
        self.halves = 1_000_000
        self.is_patient = False
        self.half_sent = asyncio.Event()
        self.closed = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if b"restype=container" in request:
                    writer.write(_PROPERTIES)
                elif self.halves:
                    self.halves -= 1
                    writer.write(_CONTENT + CONTENT[:500])
                    await writer.drain()
                    self.half_sent.set()
                    if self.is_patient:
                        await reader.read(1)
                        self.closed += 1
                    return
                else:
                    writer.write(_CONTENT + CONTENT)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def half_server() -> AsyncIterator[HalfServer]:
    """Run one on a free port."""
    half = HalfServer()
    server = await asyncio.start_server(half.serve, "127.0.0.1", 0)
    half.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/account"
    async with server:
        yield half
