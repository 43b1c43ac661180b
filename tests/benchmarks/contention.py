"""Many callers, few places: how long it takes altogether, in which order they are served, how long each waits."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aio_azure_clients_toolbox.connection_pooling import (  # type: ignore[import-untyped]  # the peer ships no types
    ConnectionPool as ToolboxPool,
)
from aio_azure_clients_toolbox.connection_pooling import (
    ConnectionsExhausted,
)
from asyncio_connection_pool import ConnectionPool as PlainPool

from fastapi_azure_pool import ConnectionPool

from .measuring import Figure, Outcome, Spread, Table, in_time_units, interleave, ratios
from .peers import OwnConnector, PeerStrategy, PeerToolboxConnector

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

PLACES = 20
HELD_SECONDS = 0.005
CROWD = 2000
"""Callers who come once, all at the same moment."""
REGULARS = 100
VISITS = 20
"""Callers who come again and again, and how often."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What one crowd saw.

    Attributes:
        seconds: From the first's arrival to the last's leaving.
        overtaken: How many were served after someone who had come later.
    """

    seconds: float
    overtaken: int


@dataclass(frozen=True, slots=True)
class Visits:
    """What regular callers saw.

    Attributes:
        waits: Seconds that each visit waited.
        per_second: Visits served per second.
        refused: Visits that the pool sent away; they came again.
    """

    waits: list[float]
    per_second: float
    refused: int


async def run(*, is_quick: bool) -> Outcome:
    """Measure a crowd against a semaphore, and regular callers against the peers."""
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(
            ConnectionPool(OwnConnector(), client_limit=PLACES, max_size=1, min_size=1)
        )
        single = await stack.enter_async_context(
            ConnectionPool(OwnConnector(), client_limit=1, max_size=PLACES, min_size=PLACES)
        )
        semaphore = asyncio.Semaphore(PLACES)
        crowds = await interleave(
            3 if is_quick else 9,
            {
                "semaphore": partial(_crowd, lambda: semaphore),
                "shared": partial(_crowd, shared.get),
                "single": partial(_crowd, single.get),
            },
        )
        toolbox = ToolboxPool(PeerToolboxConnector(), client_limit=PLACES, max_size=1)
        stack.push_async_callback(toolbox.closeall)
        plain = PlainPool(strategy=PeerStrategy(), max_size=PLACES)
        visits = await interleave(
            1 if is_quick else 5,
            {
                "semaphore": partial(_visit, lambda: semaphore),
                "shared": partial(_visit, shared.get),
                "plain": partial(_visit, plain.get_connection),
                "toolbox": partial(_visit, toolbox.get),
            },
        )
    seconds = {name: [crowd.seconds for crowd in found] for name, found in crowds.items()}
    overtaken = [
        max(pair)
        for pair in zip(*([one.overtaken for one in crowds[name]] for name in ("shared", "single")), strict=True)
    ]
    return Outcome(
        title=f"{CROWD:,} callers on {PLACES} places",
        how=(
            f"{CROWD:,} callers at once, each holds its place {HELD_SECONDS * 1000:.0f} ms. For the peers, {REGULARS} callers "
            f"come {VISITS} times each; the pools have one connection with `client_limit={PLACES}` (asyncio-connection-pool, which "
            f"does not share, {PLACES} connections)."
        ),
        figures=(
            Figure(
                f"total time with one connection of {PLACES} clients, against `asyncio.Semaphore({PLACES})`",
                ratios(seconds["shared"], seconds["semaphore"]),
                at_most=1.1,
                form="{:.3f} x",
            ),
            Figure(
                f"total time with {PLACES} connections of one client, against the same",
                ratios(seconds["single"], seconds["semaphore"]),
                at_most=1.1,
                form="{:.3f} x",
            ),
            Figure("callers who were overtaken", Spread.of(overtaken), at_most=0, form="{:.0f}"),
        ),
        tables=(
            Table(
                f"{REGULARS} callers who come again and again",
                ("subject", "p50 wait", "longest wait", "visits per second", "sent away"),
                tuple(
                    (
                        label,
                        in_time_units(statistics.median(statistics.median(one.waits) for one in visits[name])),
                        in_time_units(statistics.median(max(one.waits) for one in visits[name])),
                        f"{statistics.median(one.per_second for one in visits[name]):,.0f}",
                        f"{statistics.median(one.refused for one in visits[name]):.0f}",
                    )
                    for name, label in (
                        ("semaphore", "asyncio.Semaphore"),
                        ("shared", "fastapi-azure-pool"),
                        ("plain", "asyncio-connection-pool"),
                        ("toolbox", "aio-azure-clients-toolbox"),
                    )
                ),
            ),
        ),
    )


async def _crowd(get: Callable[[], AbstractAsyncContextManager[Any]]) -> Queue:
    served: list[int] = []

    async def call(number: int) -> None:
        async with get():
            served.append(number)
            await asyncio.sleep(HELD_SECONDS)

    started = perf_counter()
    await asyncio.gather(*(call(number) for number in range(CROWD)))
    seconds = perf_counter() - started
    latest = -1
    overtaken = 0
    for number in served:
        overtaken += number < latest
        latest = max(latest, number)
    return Queue(seconds, overtaken)


async def _visit(get: Callable[[], AbstractAsyncContextManager[Any]]) -> Visits:
    waits: list[float] = []
    refused = 0

    async def call() -> None:
        nonlocal refused
        for _ in range(VISITS):
            arrived = perf_counter()
            while True:
                try:
                    async with get():
                        waits.append(perf_counter() - arrived)
                        await asyncio.sleep(HELD_SECONDS)
                        break
                except ConnectionsExhausted:
                    refused += 1

    started = perf_counter()
    await asyncio.gather(*(call() for _ in range(REGULARS)))
    return Visits(waits, REGULARS * VISITS / (perf_counter() - started), refused)
