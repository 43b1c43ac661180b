"""What the local emulator takes: time until its five services are ready, and memory besides the SDKs'."""

from __future__ import annotations

import asyncio
import importlib
import json

from tests.support.processes import answer, first_line

from .measuring import Figure, Outcome, Spread
from .processes import Cores, running

SECONDS = 0.5
MEGABYTES = 60.0
SDKS = (
    "azure.cosmos.aio",
    "azure.eventgrid.aio",
    "azure.eventhub.aio",
    "azure.servicebus.aio",
    "azure.storage.blob.aio",
)
"""What an application has loaded anyway, so that only what the emulator adds is measured."""
_MEGABYTE = 1_000_000


async def run(*, is_quick: bool) -> Outcome:
    """Start it in new processes, and measure each."""
    cores = Cores()
    started = []
    for _ in range(2 if is_quick else 9):
        async with running("emulator_start", cores=cores.server) as process:
            started.append(json.loads(await first_line(process)))
    return Outcome(
        title="Starting the local emulator",
        how=(
            "In a new process that has loaded the five SDKs: from the import of the emulator until all its services accept "
            "connections, and by how much the resident set has grown then."
        ),
        figures=(
            Figure(
                "from its import until it is ready",
                Spread.of([one["seconds"] for one in started]),
                at_most=SECONDS,
                form="{:.2f} s",
                because="Most of it is the import of what it serves with: uvicorn, starlette, lark and PyJWT.",
            ),
            Figure(
                "memory more than the SDKs'",
                Spread.of([one["bytes"] / _MEGABYTE for one in started]),
                at_most=MEGABYTES,
                form="{:.1f} MB",
            ),
        ),
        notes=(cores.in_words("emulator", "benchmark itself"),),
    )


async def _start() -> None:
    from time import perf_counter

    from .proc import resident_bytes

    for sdk in SDKS:  # By name: an import statement whose name is not used would look superfluous.
        importlib.import_module(sdk)
    before = resident_bytes()
    began = perf_counter()
    from fastapi_azure_pool.emulator import Emulator

    async with Emulator():
        seconds = perf_counter() - began
        print(json.dumps({"seconds": seconds, "bytes": resident_bytes() - before}), flush=True)
        await answer({})


if __name__ == "__main__":
    asyncio.run(_start())
