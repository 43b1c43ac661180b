"""The example's ``GET /orders/{order_id}`` under load, its container come by in five ways."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .load import GRACE_SECONDS, WARM_UP_SECONDS
from .loops import LOOPS
from .measuring import Bar, Chart, Figure, Outcome, Table, interleave, ratios

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTIONS = 32
PATH = "/orders/1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0

LABELS = {
    "per request": "(a) a CosmosClient per request",
    "kept": "(b) one client on app.state",
    "toolbox": "(c) aio-azure-clients-toolbox",
    "pooled": "(d) `pooled`",
    "managed": "(e) `managed`",
}
SLOW = {"per request", "toolbox"}
"""Those that get shorter rounds: nothing is promised of them."""

PROMISES = {
    ("asyncio", "pooled"): 1.3,
    ("asyncio", "managed"): 1.5,
    ("uvloop", "pooled"): 1.25,
    ("uvloop", "managed"): 1.35,
}


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did in one round.

    Attributes:
        requests: Answers in time.
        seconds: For how long they were counted.
        p50: Seconds that half of the answers did not exceed.
        p99: Seconds that 99 % of the answers did not exceed.
        processor_seconds: Processor time that the server took meanwhile; nan where it cannot be read.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    processor_seconds: float

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def processor_per_request(self) -> float:
        """Seconds of the server's processor time for one request."""
        return self.processor_seconds / max(self.requests, 1)

    @property
    def utilisation(self) -> float:
        """How much of one core the server used."""
        return self.processor_seconds / self.seconds


class Cores:
    """Which cores the processes run on: the server has one, the emulator and the load share another, where there are two."""

    def __init__(self) -> None:
        mine = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        self.server, self.others = (mine[:1], mine[1:]) if len(mine) > 1 else (mine, mine)

    @property
    def in_words(self) -> str:
        """Where everything ran."""
        if not self.server:
            return "Nothing was pinned to a core."
        if self.server == self.others:
            return "Server, emulator and load shared one core, which compresses the ratios."
        return "The server had a core to itself; the emulator and the load ran on another one."


async def run(*, is_quick: bool) -> Outcome:
    """Measure requests per second, latencies and processor time on asyncio and on uvloop."""
    cores = Cores()
    found: dict[str, dict[str, list[Round]]] = {}
    async with _emulator(cores) as (endpoint, key):
        for loop in LOOPS:
            found[loop] = await _measure(loop, endpoint, key, cores, is_quick=is_quick)
    figures: list[Figure] = []
    rows, charts = [], []
    for loop, rounds in found.items():
        per_second = {name: [one.per_second for one in measured] for name, measured in rounds.items()}
        figures += [
            Figure(
                f"{loop}: requests per second with `{name}`, against one client on app.state",
                ratios(per_second[name], per_second["kept"]),
                at_least=PROMISES[loop, name],
            )
            for name in ("pooled", "managed")
        ]
        for name, label in LABELS.items():
            rows.append(
                (
                    loop,
                    label,
                    f"{statistics.median(per_second[name]):,.0f}",
                    f"{ratios(per_second[name], per_second['kept']).median:.2f} x",
                    *(
                        f"{statistics.median(values) * 1000:.1f} ms"
                        for values in ([one.p50 for one in rounds[name]], [one.p99 for one in rounds[name]])
                    ),
                    f"{statistics.median(one.processor_per_request for one in rounds[name]) * 1000:.2f} ms",
                    f"{statistics.median(one.utilisation for one in rounds[name]):.0%}",
                )
            )
        charts.append(
            Chart(
                f"GET /orders/{{id}} on {loop}",
                "requests per second",
                tuple(
                    Bar(
                        label.replace("`", ""),
                        statistics.median(per_second[name]),
                        is_ours=name in {"pooled", "managed"},
                    )
                    for name, label in LABELS.items()
                ),
            )
        )
    utilisation = statistics.median(
        one.utilisation for rounds in found.values() for name in ("kept", "pooled", "managed") for one in rounds[name]
    )
    return Outcome(
        title="GET /orders/{id}, end to end",
        how=(
            "uvicorn with one worker serves the route from the local emulator: a point read, and its answer validated by a "
            f"response model. {CONNECTIONS} keep-alive connections ask as fast as they are answered; each round goes to one server "
            "after the other. Server, emulator and load are processes of their own."
        ),
        figures=tuple(figures),
        tables=(
            Table(
                "All five",
                (
                    "loop",
                    "the container comes from",
                    "requests/s",
                    "against (b)",
                    "p50",
                    "p99",
                    "CPU per request",
                    "of its core",
                ),
                tuple(rows),
            ),
        ),
        charts=tuple(charts),
        notes=(
            cores.in_words,
            f"Serving (b), (d) and (e), the server used {utilisation:.0%} of its core: "
            + (
                "it is what limits the requests per second."
                if utilisation > 0.9
                else "something else, or somebody else's work on the machine, limited the requests per second as well, which "
                "compresses the ratios; the processor time per request does not depend on that."
            ),
        ),
    )


async def _measure(loop: str, endpoint: str, key: str, cores: Cores, *, is_quick: bool) -> dict[str, list[Round]]:
    seconds = 0.5 if is_quick else 1.5
    async with AsyncExitStack() as stack:
        servers = await asyncio.gather(
            *(stack.enter_async_context(_server(name, loop, endpoint, key, cores)) for name in LABELS)
        )
        subjects = {
            name: partial(_load, server, cores, seconds=seconds * (0.5 if name in SLOW else 1.0))
            for name, server in zip(LABELS, servers, strict=True)
        }
        await interleave(1, subjects)  # Opens connections, fills caches.
        return await interleave(3 if is_quick else 13, subjects)


@dataclass(frozen=True, slots=True)
class Server:
    """A server process and where it listens."""

    process: int
    port: int


@asynccontextmanager
async def _emulator(cores: Cores) -> AsyncIterator[tuple[str, str]]:
    async with _running("emulator_server", cores=cores.others) as process:
        started = json.loads(await _first_line(process))
        yield started["endpoint"], started["key"]


@asynccontextmanager
async def _server(variant: str, loop: str, endpoint: str, key: str, cores: Cores) -> AsyncIterator[Server]:
    arguments = ("--variant", variant, "--loop", loop, "--endpoint", endpoint)
    async with _running("orders_app", *arguments, cores=cores.server, COSMOS_KEY=key) as process:
        server = Server(process.pid, int(await _first_line(process)))
        # The socket queues connections before the application has started, so the first answer says that it has.
        await _load(server, cores, seconds=0.1, connections=1)
        yield server


async def _load(server: Server, cores: Cores, *, seconds: float, connections: int = CONNECTIONS) -> Round:
    arguments = {
        "--port": server.port,
        "--path": PATH,
        "--connections": connections,
        "--seconds": seconds,
        "--process": server.process,
    }
    words = [str(word) for argument in arguments.items() for word in argument]
    async with _running("load", *words, cores=cores.others) as process:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS + WARM_UP_SECONDS + seconds + GRACE_SECONDS):
            answer = await process.stdout.read()
            await process.wait()
    if not answer:
        raise RuntimeError("the load process ended without a result: see its error above")
    return Round(**json.loads(answer))


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the benchmark did not start: see its error above")
    return line


@asynccontextmanager
async def _running(
    module: str, *arguments: str, cores: list[int], **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module of this package as a process, and end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"{__package__}.{module}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        if cores:
            os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
