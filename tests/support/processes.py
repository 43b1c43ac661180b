"""Processes of a test or a benchmark: started, asked by lines of JSON, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from typing import IO

START_SECONDS = 90.0
ANSWER_SECONDS = 60.0
STOP_SECONDS = 10.0


@asynccontextmanager
async def running(
    module: str,
    *arguments: str,
    cores: Iterable[int] = (),
    stderr: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module as a process, and end it.

    Args:
        module: Its full name.
        arguments: Of its command line.
        cores: Those that it runs on; none for any.
        stderr: Where its errors go; None for where ours do.
        environment: What its environment has besides ours; None for nothing.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, **(environment or {})},
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


def tell(process: asyncio.subprocess.Process, question: str, **arguments: Any) -> None:
    """Have a process that runs `answer` do something, without waiting for it."""
    assert process.stdin is not None
    process.stdin.write(json.dumps({"question": question, **arguments}).encode() + b"\n")


async def ask(process: asyncio.subprocess.Process, question: str, **arguments: Any) -> Any:
    """Have a process that runs `answer` do something, and give what came of it."""
    tell(process, question, **arguments)
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
        raise RuntimeError("a process ended unasked: see its error above")
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
