"""Fifty callers download small blobs: requests per second against the SDK and aio-azure-clients-toolbox."""

from __future__ import annotations

import json
import os
import statistics
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from tests.support.processes import ask, first_line

from .callers import Load
from .downloader_process import SIZE
from .measuring import Bar, Chart, Figure, Outcome, Table, interleave, ratios, undisturbed
from .proc import strangers_seconds
from .processes import Cores, running

if TYPE_CHECKING:
    import asyncio

CALLERS = 50
SECONDS = 1.0
WARM_UP_SECONDS = 0.2
REPEATS = 8
"""How many rounds are measured again at most because others worked on the same cores."""

CLIENTS = {
    "managed": "fastapi-azure-pool, `managed`",
    "pooled": "fastapi-azure-pool, `pooled`",
    "shared": "one shared BlobServiceClient",
    "toolbox": "aio-azure-clients-toolbox",
}
PROMISES = {"toolbox": 3.0, "shared": 1.3}
BECAUSE = "Most of a download's processor time is the HTTP library's and the SDK's: its pipeline and its signature."


async def run(*, is_quick: bool) -> Outcome:
    """Measure downloads per second."""
    cores = Cores()
    repeats = iter(range(0 if is_quick else REPEATS))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running("storage_server", cores=cores.emulator))
        account = json.loads(await first_line(server))
        environment = {"STORAGE_URL": account["url"], "STORAGE_KEY": account["key"]}
        subjects = {}
        for client in CLIENTS:
            process = await stack.enter_async_context(
                running("downloader_process", "--client", client, cores=cores.server, **environment)
            )
            await first_line(process)
            subjects[client] = partial(undisturbed, partial(_load, process, server, cores), repeats)
        loads = await interleave(2 if is_quick else 7, subjects)
    per_second = {client: [load.per_second for load in found] for client, found in loads.items()}
    return Outcome(
        title="Downloading small blobs",
        how=(
            f"{CALLERS} callers download a blob of {SIZE:,} bytes each from the local emulator, and again when they have it. "
            "Client and emulator are processes of their own. aio-azure-clients-toolbox makes a client, and so a connection, for "
            "each download; on loopback, without TLS, that is as cheap as it can be."
        ),
        figures=tuple(
            Figure(
                f"{CALLERS} callers: downloads per second, against {CLIENTS[peer]}",
                ratios(per_second["managed"], per_second[peer]),
                at_least=promise,
                because=BECAUSE,
            )
            for peer, promise in PROMISES.items()
        ),
        tables=(
            Table(
                f"{CALLERS} callers",
                ("client", "downloads/s", "p50", "p99", "CPU per download", "of its core"),
                tuple(
                    (
                        CLIENTS[client],
                        f"{statistics.median(per_second[client]):,.0f}",
                        f"{statistics.median(load.p50 for load in found) * 1000:.1f} ms",
                        f"{statistics.median(load.p99 for load in found) * 1000:.1f} ms",
                        f"{statistics.median(load.processor_per_answer for load in found) * 1000:.2f} ms",
                        f"{statistics.median(load.utilisation for load in found):.0%}",
                    )
                    for client, found in loads.items()
                ),
            ),
        ),
        charts=(
            Chart(
                f"Blob download, {CALLERS} callers",
                "downloads per second",
                tuple(
                    Bar(label.replace("`", ""), statistics.median(per_second[client]), is_ours="fastapi" in label)
                    for client, label in CLIENTS.items()
                ),
            ),
        ),
        notes=(cores.in_words("client", "emulator and the benchmark itself"),),
    )


async def _load(process: asyncio.subprocess.Process, server: asyncio.subprocess.Process, cores: Cores) -> Load:
    ours = (process.pid, server.pid, os.getpid())
    before = strangers_seconds(cores.all, ours)
    measured = await ask(process, "load", callers=CALLERS, warm_up=WARM_UP_SECONDS, seconds=SECONDS)
    return Load(**measured, strangers_seconds=strangers_seconds(cores.all, ours) - before)
