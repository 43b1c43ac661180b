"""What one checkout and check-in cost when nobody else wants the connection."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aio_azure_clients_toolbox.connection_pooling import (  # type: ignore[import-untyped]  # the peer ships no types
    ConnectionPool as ToolboxPool,
)
from asyncio_connection_pool import ConnectionPool as PlainPool

from fastapi_azure_pool import ConnectionPool

from .measuring import (
    Bar,
    Chart,
    Figure,
    Outcome,
    Spread,
    Table,
    in_time_units,
    interleave,
    ratios,
    without_garbage_collection,
)
from .peers import Connection, OwnConnector, PeerStrategy, PeerToolboxConnector, TellingConnector

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

SIZES = (1, 10, 1000)
TIMES = 2000
"""Checkouts per repeat; of the toolbox, which sleeps 2 ms in each, fewer."""


async def run(*, is_quick: bool) -> Outcome:
    """Measure it against a semaphore, aio-azure-clients-toolbox and asyncio-connection-pool."""
    async with AsyncExitStack() as stack:
        semaphore = asyncio.Semaphore(100)
        pools: dict[int, ConnectionPool[Connection]] = {}
        for size in SIZES:
            pools[size] = await stack.enter_async_context(
                ConnectionPool(OwnConnector(), max_size=size, min_size=size, max_concurrent_creates=size)
            )
        telling = await stack.enter_async_context(ConnectionPool(TellingConnector(), max_size=10, min_size=10))
        watching = await stack.enter_async_context(
            ConnectionPool(OwnConnector(), max_size=10, min_size=10, leak_warning_seconds=60)
        )
        toolboxes = {size: ToolboxPool(PeerToolboxConnector(), max_size=size) for size in SIZES}
        for toolbox in toolboxes.values():
            stack.push_async_callback(toolbox.closeall)
        plain = PlainPool(strategy=PeerStrategy(), max_size=10)
        subjects = {
            "semaphore": partial(_time, lambda: semaphore, TIMES),
            "acquire": partial(_time_acquire, semaphore),
            **{f"own {size}": partial(_time, pool.get, TIMES) for size, pool in pools.items()},
            "telling": partial(_time, telling.get, TIMES),
            "watching": partial(_time, watching.get, TIMES),
            "plain": partial(_time, plain.get_connection, TIMES // 4),
            **{
                f"toolbox {size}": partial(_time, toolbox.get, 1 if size == 1000 else 5)
                for size, toolbox in toolboxes.items()
            },
        }
        await interleave(1, subjects)  # Opens what the peers open at first use, and warms the interpreter.
        with without_garbage_collection():
            seconds = await interleave(15 if is_quick else 61, subjects)
    largest = [max(times) for times in zip(*(seconds[f"own {size}"] for size in SIZES), strict=True)]
    smallest = [min(times) for times in zip(*(seconds[f"own {size}"] for size in SIZES), strict=True)]
    medians = [statistics.median(seconds[f"own {size}"]) for size in SIZES]
    even = ratios(largest, smallest)
    return Outcome(
        title="One uncontended checkout and check-in",
        how=(
            f"`async with pool.get(): pass` in a loop, {TIMES:,} times per repeat, connections that cost nothing, the garbage "
            "collector off as timeit has it. Each pool holds its full size of ready connections."
        ),
        figures=(
            Figure(
                "checkout and check-in of a pool of 10, against `async with asyncio.Semaphore`",
                ratios(seconds["own 10"], seconds["semaphore"]),
                at_most=2.0,
            ),
            Figure(
                "the dearest of pools of 1, 10 and 1,000 connections, against the cheapest (of their medians)",
                Spread(max(medians) / min(medians), even.lowest, even.highest),
                at_most=1.3,
            ),
            Figure(
                "times faster than aio-azure-clients-toolbox, pools of 10",
                ratios(seconds["toolbox 10"], seconds["own 10"]),
                at_least=500,
                form="{:,.0f} x",
            ),
            Figure(
                "what leak_warning_seconds adds to a checkout of a pool of 10",
                Spread.of([(on - off) * 1e6 for on, off in zip(seconds["watching"], seconds["own 10"], strict=True)]),
                at_most=5.0,
                form="{:.2f} µs",
            ),
        ),
        tables=(_table(seconds),),
        charts=(
            Chart(
                "One checkout and check-in",
                "µs, logarithmic",
                tuple(
                    Bar(label, statistics.median(seconds[name]) * 1e6, is_ours=name.startswith("own"))
                    for name, label in (
                        ("semaphore", "asyncio.Semaphore"),
                        ("own 10", "fastapi-azure-pool, 10"),
                        ("own 1000", "fastapi-azure-pool, 1,000"),
                        ("plain", "asyncio-connection-pool, 10"),
                        ("toolbox 10", "clients-toolbox, 10"),
                        ("toolbox 1000", "clients-toolbox, 1,000"),
                    )
                ),
                is_logarithmic=True,
            ),
        ),
    )


async def _time(get: Callable[[], AbstractAsyncContextManager[Any]], times: int) -> float:
    started = perf_counter()
    for _ in range(times):
        async with get():
            pass
    return (perf_counter() - started) / times


async def _time_acquire(semaphore: asyncio.Semaphore) -> float:
    started = perf_counter()
    for _ in range(TIMES):
        await semaphore.acquire()
        semaphore.release()
    return (perf_counter() - started) / TIMES


def _table(seconds: dict[str, list[float]]) -> Table:
    labels = {
        "semaphore": "`async with asyncio.Semaphore`",
        "acquire": "`await semaphore.acquire()`, `semaphore.release()`",
        **{f"own {size}": f"fastapi-azure-pool, pool of {size:,}" for size in SIZES},
        "telling": "fastapi-azure-pool, pool of 10, asking each connection whether it is closed",
        "watching": "fastapi-azure-pool, pool of 10, with `leak_warning_seconds`",
        "plain": "asyncio-connection-pool, pool of 10",
        **{f"toolbox {size}": f"aio-azure-clients-toolbox, pool of {size:,}" for size in SIZES},
    }
    rows = []
    for name, label in labels.items():
        against = ratios(seconds[name], seconds["semaphore"]).median
        digits = 2 if against < 100 else 0
        rows.append((label, in_time_units(statistics.median(seconds[name])), f"{against:,.{digits}f} x"))
    return Table(
        "Each, against the semaphore", ("subject", "median", "against `async with asyncio.Semaphore`"), tuple(rows)
    )
