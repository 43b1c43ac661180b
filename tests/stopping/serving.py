"""Running the application with uvicorn, and asking it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from tests.clients.waiting import eventually
from tests.example_app.watching import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi_azure_pool.emulator import Emulator

START_SECONDS = 60.0


class Server:
    """A running uvicorn, with its workers.

    Args:
        process: The process that was started.
        port: Where it listens.
        folder: Where its outputs are.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self._folder = folder

    @property
    def complaints(self) -> str:
        """What it wrote to the standard error; but that a step took long, which is told in Python's development mode.

        Nor does it count that uvicorn, with workers, leaves its listening socket open.
        """
        lines = (self._folder / "stderr").read_text().splitlines(keepends=True)
        listening = f"laddr=('127.0.0.1', {self.port})>"
        return "".join(line for line in lines if not (line.startswith("Executing ") or line.endswith(f"{listening}\n")))

    def told(self, what: str) -> list[str]:
        """Give the rest of each line that the application told and that begins so, without the process's id."""
        lines = (line.partition(" ")[2] for line in self._lines())
        return [line.removeprefix(what).strip() for line in lines if line.startswith(what)]

    def told_by_each(self, *whats: str) -> list[dict[str, int]]:
        """Give for each process of the application how often it told each of these."""
        counts: dict[str, Counter[str]] = {}
        for line in self._lines():
            process_id, _, what = line.partition(" ")
            counts.setdefault(process_id, Counter())[what] += 1
        return [{what: count[what] for what in whats} for count in counts.values()]

    async def opens(self, times: int) -> None:
        """Wait until so many processes have opened their pools, and one listens: without workers that comes after it."""

        def is_open() -> bool:
            assert self.process.returncode is None, self.complaints
            return len(self.told("pools open")) >= times

        def listens() -> bool:
            with socket.socket() as asking:
                return asking.connect_ex(("127.0.0.1", self.port)) == 0

        await eventually(is_open, seconds=START_SECONDS)
        await eventually(listens)

    async def stops(self, by: signal.Signals) -> float:
        """Send the signal and wait for the end; give the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(by)
        async with asyncio.timeout(START_SECONDS):
            await self.process.wait()
        return time.monotonic() - started

    def _lines(self) -> list[str]:
        return (self._folder / "stdout").read_text().splitlines()


@asynccontextmanager
async def uvicorn(
    azure: Emulator, folder: Path, *options: str, app: str = "tests.stopping.application:app", drain_seconds: float
) -> AsyncIterator[Server]:
    """Run an application, where every warning is an error, as a group of processes that ends with the block at the latest."""
    port = free_port()
    certificate = folder / "certificate.pem"
    certificate.write_text(azure.certificate, encoding="ascii")
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-W", "error", "-m", "uvicorn", app),
            *("--port", str(port), "--lifespan", "on", "--log-level", "warning", *options),
            stdout=stdout,
            stderr=stderr,
            env=os.environ
            | azure.environment
            | {
                "DRAIN_SECONDS": str(drain_seconds),
                "MESSAGING_NAMESPACE": azure.amqp_authority,
                "SSL_CERT_FILE": str(certificate),
            },
            start_new_session=True,
        )
    try:
        yield Server(process, port, folder)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):  # It may have ended by itself just now.
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def ask(port: int, path: str) -> int | None:
    """Make a request on a connection of its own; give the status of the whole answer, 0 of half a one, None when no byte came."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    head = b""
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
    except OSError:
        return 0 if head else None
    except asyncio.IncompleteReadError as error:
        return 0 if head or error.partial else None
    finally:
        writer.close()
    return int(head.split()[1])
