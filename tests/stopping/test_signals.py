"""A server that is told to stop while it serves: what was accepted is answered, what was acknowledged is stored, all is closed."""

from __future__ import annotations

import asyncio
import itertools
import signal
from typing import TYPE_CHECKING

import pytest

from tests.clients.waiting import eventually
from tests.stopping.serving import ask, uvicorn
from tests.stopping.watching import everything_was_closed, stored

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi_azure_pool.emulator import Emulator

CUSTOMERS = 24


@pytest.mark.parametrize("workers", [1, 4])
async def test_stops_under_load(azure: Emulator, tmp_path: Path, workers: int) -> None:
    """SIGTERM to a server whose customers go on asking: whatever handler began is answered 200 and its writes are stored once.

    Others find nobody: their connection is refused, or reset before a byte of an answer, and no handler has seen them.
    """
    answers: dict[str, int | None] = {}
    drain_seconds = 5.0

    async def be_customer(name: int, port: int) -> None:
        for turn in itertools.count():
            number = f"{name}-{turn}"
            answers[number] = await ask(port, f"/orders/{number}")
            if answers[number] is None:
                return

    with azure.faults.delay(1.0, service="cosmos", method="POST", path="*/docs") as slow:
        async with uvicorn(azure, tmp_path, "--workers", str(workers), drain_seconds=drain_seconds) as server:
            await server.opens(workers)
            customers = [asyncio.create_task(be_customer(name, server.port)) for name in range(CUSTOMERS)]
            await eventually(lambda: slow.strikes >= CUSTOMERS, seconds=20)
            took = await server.stops(signal.SIGTERM)
            await asyncio.gather(*customers)
    assert took < drain_seconds + 3
    # Of several workers, uvicorn's parent process ends by itself; one alone ends by the signal, when it has finished.
    assert server.process.returncode == (0 if workers > 1 else -signal.SIGTERM)
    began = sorted(server.told("began"))
    assert len(began) >= CUSTOMERS
    assert sorted(number for number, status in answers.items() if status == 200) == began
    assert {status for number, status in answers.items() if number not in began} == {None}
    assert await stored(azure) == [began] * 3
    await everything_was_closed(azure, server, workers)


async def test_what_was_left_to_be_sent(azure: Emulator, tmp_path: Path) -> None:
    """What is under way when its request has long been answered goes out, if that takes no longer than drain_seconds.

    What Azure does not confirm in that time is cut, and its sender told so; the connections are closed as ever.
    """
    drain_seconds = 1.5
    slow = azure.faults.delay(0.7, service="amqp", method="TRANSFER", path="work")
    stalled = azure.faults.stall(method="TRANSFER", path="events*")
    with slow, stalled:
        async with uvicorn(azure, tmp_path, drain_seconds=drain_seconds) as server:
            await server.opens(1)
            assert await ask(server.port, "/notes/1") == 200
            await eventually(lambda: slow.strikes and stalled.strikes)
            took = await server.stops(signal.SIGINT)
    assert drain_seconds <= took < drain_seconds + 3
    assert server.process.returncode == 0
    assert server.told("unsent") == ["event 1 SendInterrupted"]
    assert await stored(azure) == [[], [], ["1"]]
    await everything_was_closed(azure, server, 1)
