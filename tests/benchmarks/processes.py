"""The processes of a benchmark: started on cores of their own, asked by lines of JSON, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

START_SECONDS = 90.0
ANSWER_SECONDS = 60.0
STOP_SECONDS = 10.0


class Cores:
    """Which cores the processes run on: the server has one to itself, and so have emulator and load where there are three."""

    def __init__(self) -> None:
        mine = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        self.server = mine[:1]
        self.emulator = mine[1:2] or mine
        self.load = mine[2:3] or self.emulator

    @property
    def all(self) -> list[int]:
        """Every one that is in use."""
        return sorted({*self.server, *self.emulator, *self.load})

    def in_words(self, server: str, others: str) -> str:
        """Where everything ran.

        Args:
            server: What is measured.
            others: What else ran, in the plural.
        """
        if not self.server:
            return "Nothing was pinned to a core."
        if self.server == self.emulator:
            return f"The {server} and the {others} shared one core, which compresses the ratios."
        where = "shared another one" if self.emulator == self.load else "had one each"
        return f"The {server} was pinned to a core of its own; the {others} {where}."


@asynccontextmanager
async def running(
    module: str, *arguments: str, cores: list[int], **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module of this package as a process, and end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"{__package__}.{module}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        if cores:
            os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        await _end(process)


async def first_line(process: asyncio.subprocess.Process) -> bytes:
    """Wait for what a process writes when it is ready."""
    return await _line(process, START_SECONDS)


async def ask(process: asyncio.subprocess.Process, question: str, **arguments: Any) -> Any:
    """Have a process that runs `answer` do something, and give what came of it."""
    assert process.stdin is not None
    process.stdin.write(json.dumps({"question": question, **arguments}).encode() + b"\n")
    return json.loads(await _line(process, ANSWER_SECONDS))


async def answer(questions: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    """Do what the lines on standard input ask for, one after the other, until there are no more.

    What a question gives is written to standard output as JSON; an error ends the process.
    """
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        arguments = json.loads(line)
        print(json.dumps(await questions[arguments.pop("question")](**arguments)), flush=True)


async def _line(process: asyncio.subprocess.Process, seconds: float) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the benchmark ended unasked: see its error above")
    return line


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
