"""A long blob through an application, in both directions, in constant memory."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.clients.blob_storage import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]

# BLOB_MIB=1024 tries a gigabyte, by hand: it takes a minute and a half on two busy cores.
SIZE = int(os.environ.get("BLOB_MIB", "128")) * MIB

# A few blocks of 4 MB, and what the allocator keeps of them. Measured: 6 MB, and 18 MB with a gigabyte.
BOUND = 48 * MIB

PIECE = bytes(range(256)) * 1024


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[str]:
    """Run one of the processes; give the line that it writes when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.clients.blob_processes", *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        yield line.decode().strip()
    finally:
        process.kill()
        await process.wait()


async def pieces(size: int) -> AsyncIterator[bytes]:
    """Give so many bytes."""
    for _ in range(size // len(PIECE)):
        yield PIECE


async def through(http: aiohttp.ClientSession, name: str, size: int) -> None:
    """Send so many bytes, and get them back."""
    async with http.put(f"/{name}", data=pieces(size)) as answer:
        assert await answer.json() is True
    received, last = 0, b""
    async with http.get(f"/{name}") as answer:
        assert answer.headers["content-length"] == str(size)
        async for piece in answer.content.iter_chunked(MIB):
            received += len(piece)
            last = piece[-1:]
    assert (received, last) == (size, PIECE[-1:])


async def test_a_long_blob_streams_in_constant_memory() -> None:
    """From a request's body into a blob, and from a blob into an answer: the application's peak grows by a few blocks only."""
    async with (
        running("emulator") as connection_string,
        running("application", connection_string) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        await through(http, "short", MIB)
        async with http.get("/memory") as answer:
            before = await answer.json()
        await through(http, "long", SIZE)
        async with http.get("/memory") as answer:
            growth = await answer.json() - before
        print(f"{SIZE / MIB:.0f} MB through the application: its peak grew by {growth / MIB:.1f} MB")
        assert growth < BOUND < SIZE / 2
