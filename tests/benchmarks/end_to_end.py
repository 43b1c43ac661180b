"""The example's ``GET /orders/{order_id}`` under load, its container come by in five ways."""

from __future__ import annotations

import asyncio
import json
import statistics
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.support.processes import START_SECONDS, first_line

from .callers import Load
from .load import GRACE_SECONDS, WARM_UP_SECONDS
from .loops import LOOPS
from .measuring import Bar, Chart, Figure, Outcome, Table, interleave, ratios, undisturbed
from .processes import Cores, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CONNECTIONS = 32

LABELS = {
    "per request": "(a) a CosmosClient per request",
    "kept": "(b) one client on app.state",
    "toolbox": "(c) aio-azure-clients-toolbox",
    "pooled": "(d) `pooled`",
    "managed": "(e) `managed`",
}
SLOW = {"per request", "toolbox"}
"""Those that get shorter rounds: nothing is promised of them."""

BECAUSE = (
    "What a pooled connection saves is the look-ups in the environment before each request. They are a smaller part of a request "
    "here than the promise supposes: most of its processor time is the SDK's, the framework's and the HTTP server's, as in (b)."
)
DISTURBED = (
    "Other work on the same cores disturbed most rounds, so this says little: run it again on a quiet machine. The processor time "
    "per request, below, suffers less."
)
REPEATS = 60
"""How many rounds are measured again at most because others worked on the same cores: the scheduler then gives a server with
threads, as the SDK's default transport makes it one, more of its core than one without."""

PROMISES = {
    ("asyncio", "pooled"): 1.3,
    ("asyncio", "managed"): 1.5,
    ("uvloop", "pooled"): 1.25,
    ("uvloop", "managed"): 1.35,
}


async def run(*, is_quick: bool) -> Outcome:
    """Measure requests per second, latencies and processor time on asyncio and on uvloop."""
    cores = Cores()
    repeats = iter(range(0 if is_quick else REPEATS))
    found: dict[str, dict[str, list[Load]]] = {}
    async with _emulator(cores) as emulator:
        for loop in LOOPS:
            found[loop] = await _measure(loop, emulator, cores, repeats, is_quick=is_quick)
    every = [one for rounds in found.values() for measured in rounds.values() for one in measured]
    total, disturbed = len(every), sum(one.is_disturbed for one in every)
    because = DISTURBED if disturbed > total / 2 else BECAUSE
    figures: list[Figure] = []
    rows, charts = [], []
    for loop, rounds in found.items():
        per_second = {name: [one.per_second for one in measured] for name, measured in rounds.items()}
        figures += [
            Figure(
                f"{loop}: requests per second with `{name}`, against one client on app.state",
                ratios(per_second[name], per_second["kept"]),
                at_least=PROMISES[loop, name],
                because=because,
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
                    f"{statistics.median(one.processor_per_answer for one in rounds[name]) * 1000:.2f} ms",
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
            "uvicorn with one worker serves the example's route from the local emulator: a point read, and its answer "
            f"validated. {CONNECTIONS} keep-alive connections ask as fast as they are answered; each round goes to one server "
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
            cores.in_words("server", "emulator and the load")
            + (f" {disturbed} of {total} rounds were disturbed by other work." if disturbed else ""),
            f"Serving (b), (d) and (e), the server used {utilisation:.0%} of its core: "
            + (
                "it is what limits the requests per second."
                if utilisation > 0.9
                else "something else, or somebody else's work on the machine, limited the requests per second as well, which "
                "compresses the ratios; the processor time per request does not depend on that."
            ),
        ),
    )


async def _measure(
    loop: str, emulator: Emulator, cores: Cores, repeats: Iterator[int], *, is_quick: bool
) -> dict[str, list[Load]]:
    seconds = 0.4 if is_quick else 0.6
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as starting:
            tasks = [
                starting.create_task(stack.enter_async_context(_server(name, loop, emulator, cores))) for name in LABELS
            ]
        servers = [task.result() for task in tasks]
        subjects = {
            name: partial(
                undisturbed, partial(_load, server, cores, seconds=seconds * (0.5 if name in SLOW else 1.0)), repeats
            )
            for name, server in zip(LABELS, servers, strict=True)
        }
        await interleave(1, subjects)  # Opens connections, fills caches.
        return await interleave(3 if is_quick else 25, subjects)


@dataclass(frozen=True, slots=True)
class Server:
    """A server's process, where it listens and for what, and the process of the emulator that it asks."""

    process: int
    port: int
    path: str
    emulator: int


@dataclass(frozen=True, slots=True)
class Emulator:
    """The emulator's process, and how to reach it."""

    process: int
    endpoint: str
    key: str
    order_id: str


@asynccontextmanager
async def _emulator(cores: Cores) -> AsyncIterator[Emulator]:
    async with running("emulator_server", cores=cores.emulator) as process:
        started = json.loads(await first_line(process))
        yield Emulator(process.pid, **started)


@asynccontextmanager
async def _server(variant: str, loop: str, emulator: Emulator, cores: Cores) -> AsyncIterator[Server]:
    arguments = ("--variant", variant, "--loop", loop, "--endpoint", emulator.endpoint)
    async with running("orders_app", *arguments, cores=cores.server, COSMOS_KEY=emulator.key) as process:
        server = Server(process.pid, int(await first_line(process)), f"/orders/{emulator.order_id}", emulator.process)
        # The socket queues connections before the application has started, so the first answer says that it has.
        await _load(server, cores, seconds=0.1, connections=1)
        yield server


async def _load(server: Server, cores: Cores, *, seconds: float, connections: int = CONNECTIONS) -> Load:
    arguments = {
        "--port": server.port,
        "--path": server.path,
        "--connections": connections,
        "--seconds": seconds,
        "--server": server.process,
        "--emulator": server.emulator,
    }
    words = [str(word) for argument in arguments.items() for word in argument]
    async with running("load", *words, "--cores", *map(str, cores.all), cores=cores.load) as process:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS + WARM_UP_SECONDS + seconds + GRACE_SECONDS):
            answer = await process.stdout.read()
            await process.wait()
    if not answer:
        raise RuntimeError("the load process ended without a result: see its error above")
    return Load(**json.loads(answer))
