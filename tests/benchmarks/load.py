"""Ask one server for one URL over keep-alive connections as fast as it answers: the load process of the end-to-end benchmark."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, cast

from .loops import run_on
from .measuring import percentile
from .proc import process_seconds, strangers_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP_SECONDS = 0.2
GRACE_SECONDS = 30.0
"""How long the answers to the last requests may take."""

_LENGTH = b"\r\ncontent-length: "


class Load:
    """What all connections of one run share.

    Attributes:
        request: The bytes of the request.
        counts_from: When to begin to count, on perf_counter's clock.
        ends_at: When to stop.
        latencies: Seconds that each counted answer took.
        failure: What a server answered that was not what was asked for; it ends the run.
    """

    def __init__(self, request: bytes, seconds: float) -> None:
        self.request = request
        self.counts_from = perf_counter() + WARM_UP_SECONDS
        self.ends_at = self.counts_from + seconds
        self.latencies: list[float] = []
        self.failure: str | None = None


class Client(asyncio.Protocol):
    """One connection: sends the next request when the last one is answered, and closes when the time is over.

    Args:
        load: What it shares with the others.
        closed: Set when the connection has closed.
    """

    def __init__(self, load: Load, closed: asyncio.Future[None]) -> None:
        self._load = load
        self._closed = closed
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class.
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
        if not head.startswith(b"HTTP/1.1 200 ") or not length:
            self._load.failure = self._received.decode(errors="replace")
            self._transport.abort()
        elif len(body) >= int(length):
            self._received = b""
            now = perf_counter()
            if self._load.counts_from <= now < self._load.ends_at:
                self._load.latencies.append(now - self._sent_at)
            if now < self._load.ends_at and self._load.failure is None:
                self._send()
            else:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if perf_counter() < self._load.ends_at and self._load.failure is None:
            self._load.failure = f"the server closed a connection: {exc!r}"
        if not self._closed.done():
            self._closed.set_result(None)

    def _send(self) -> None:
        self._sent_at = perf_counter()
        self._transport.write(self._load.request)


async def run(
    port: int, path: str, connections: int, seconds: float, server: int, emulator: int, cores: Sequence[int]
) -> None:
    """Load the server on a loopback port, and write what was measured to standard output as JSON.

    Args:
        port: The server's port.
        path: What to ask for.
        connections: How many to keep busy.
        seconds: For how long to count.
        server: The server's process id.
        emulator: The emulator's process id.
        cores: The cores that these and this process run on.
    """
    loop = asyncio.get_running_loop()
    load = Load(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: application/json\r\n\r\n".encode(), seconds)
    usages: list[Usage] = []
    for moment in (load.counts_from, load.ends_at):
        loop.call_later(moment - perf_counter(), lambda: usages.append(Usage.now(server, emulator, cores)))
    closings = [loop.create_future() for _ in range(connections)]
    async with asyncio.timeout(seconds + GRACE_SECONDS):
        for closed in closings:
            await loop.create_connection(lambda closed=closed: Client(load, closed), "127.0.0.1", port)  # type: ignore[misc]  # mypy infers no type for a lambda's default
        await asyncio.gather(*closings)
    if load.failure is not None:
        raise RuntimeError(load.failure)
    latencies = sorted(load.latencies)
    before, after = usages
    print(
        json.dumps(
            {
                "answers": len(latencies),
                "seconds": seconds,
                "p50": percentile(latencies, 0.50),
                "p99": percentile(latencies, 0.99),
                "processor_seconds": after.server - before.server,
                "strangers_seconds": after.strangers - before.strangers,
            }
        ),
        flush=True,
    )


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time that was used up to a moment, in seconds; nan where the system has no /proc.

    Attributes:
        server: By the server.
        strangers: On the cores that were asked about, by processes that have nothing to do with the measurement.
    """

    server: float
    strangers: float

    @classmethod
    def now(cls, server: int, emulator: int, cores: Sequence[int]) -> Usage:
        """Read it."""
        return cls(process_seconds(server), strangers_seconds(cores, (server, emulator, os.getpid())))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--server", type=int, required=True)
    parser.add_argument("--emulator", type=int, required=True)
    parser.add_argument("--cores", type=int, nargs="*", required=True)
    run_on("uvloop", run(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
