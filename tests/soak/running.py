"""Runs the two parts of the soak, each in a process of its own, and gives what was measured."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp

from fastapi_azure_pool.emulator import Emulator

from .measuring import Measurement
from .serving import ENVIRONMENT, Azure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .load import Load

LOOKS = 1000
"""How often to look whether the server has nothing to do, with 10 ms between."""

STOP_SECONDS = 30.0

MEGABYTE = 2**20


@asynccontextmanager
async def checkouts(
    stops: Sequence[int], *, leak_from: float = math.inf, with_lines: bool = False
) -> AsyncIterator[AsyncIterator[Measurement]]:
    """Check out many times, on pools of many shapes.

    Args:
        stops: After how many checkouts to measure.
        leak_from: From which one on a small object is kept for each, to show that it is found.
        with_lines: Whether the first and the last measurement have the lines of code that asked for memory.

    Yields:
        What is measured, one after the other.
    """
    arguments = [*map(str, stops), f"--leak-from={leak_from}"]
    if with_lines:
        arguments.append("--with-lines")

    async def measure() -> AsyncIterator[Measurement]:
        for _ in stops:
            yield Measurement.read(await _line(process))

    async with _running("checkouts", *arguments, environment={}) as process:
        yield measure()


@asynccontextmanager
async def requests(
    stops: Sequence[int], load: Load, *, leak_from: float = math.inf, with_lines: bool = False
) -> AsyncIterator[AsyncIterator[Measurement]]:
    """Make many requests over real sockets to an application that asks an emulator in this process.

    Args:
        stops: After how many requests to measure.
        load: What makes them.
        leak_from: From which one on something is kept, to show that it is found.
        with_lines: Whether the first and the last measurement have the lines of code that asked for memory.

    Yields:
        What is measured, one after the other.
    """

    async def measure() -> AsyncIterator[Measurement]:
        for begin, end in pairwise([0, *stops]):
            await load.make(port, range(begin, end))
            yield await _measure(port, end, with_lines=with_lines and end in {stops[0], stops[-1]})

    async with Emulator() as emulator:
        environment = {ENVIRONMENT: (await Azure.of(emulator)).write()}
        async with _running("serving", f"--leak-from={leak_from}", environment=environment) as process:
            port = int(await _line(process))
            yield measure()


async def _measure(port: int, operations: int, *, with_lines: bool) -> Measurement:
    """Wait until the server has nothing to do, and let it measure itself."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for _ in range(LOOKS):
            async with session.get("/health/pools") as answer:
                pools = (await answer.json())["pools"].values()
            if all(map(_rests, pools)):
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError(f"the pools do not come to rest: {pools}")
        path = f"/measurement/{operations}?with_lines={with_lines}"
        async with session.get(path, timeout=aiohttp.ClientTimeout()) as answer:
            answer.raise_for_status()
            return Measurement.read(await answer.read())


def _rests(pool: dict[str, Any]) -> bool:
    """Whether a pool of `GET /health/pools` has nothing to do, and as many connections as an idle one keeps."""
    return not any(pool[name] for name in ("current_client_count", "waiting", "opening")) and all(
        connection["state"] == "ready" for connection in pool["connections"]
    )


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the soak ended unasked: see its error above")
    return line


@asynccontextmanager
async def _running(
    module: str, *arguments: str, environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module of this package as a process that traces its memory, and end it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "tracemalloc", "-m", f"{__package__}.{module}", *arguments),
        stdout=asyncio.subprocess.PIPE,
        limit=64 * MEGABYTE,  # A measurement is one line.
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
