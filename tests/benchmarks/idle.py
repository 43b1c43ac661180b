"""What a pool costs while nobody uses it: tasks, timers, memory."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tracemalloc
from contextvars import Context
from typing import TYPE_CHECKING

from fastapi_azure_pool import ConnectionPool

from .measuring import Figure, Outcome, Spread, Table
from .peers import Connection, OwnConnector

if TYPE_CHECKING:
    from collections.abc import Sequence

POOLS = 50
"""Pools that are measured together, so that what Python allocates once is not laid at one pool's door."""
CLIENTS = 100
BECAUSE = (
    "A pool is some twenty small objects (its limits, counters, ledger, timer, back-off, tasks), each with the garbage collector's "
    "16 bytes; the ordered dictionary that holds the idle connection is the largest of them. The weak reference by which a forked "
    "process finds the pool is another 80 bytes."
)
CREATE_TIMEOUT = 0.2
"""The pools' create_timeout: asyncio keeps a cancelled timer until its time has come."""
IDLE_SECONDS = 0.5
"""The pools' max_idle_seconds: it is then that a pool trims what the load left."""


class PreparedConnector(OwnConnector):
    """Gives connections that were made before the measurement: the SDK's client is not the pool's memory."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        super().__init__()
        self._prepared = list(connections)

    async def create(self) -> Connection:
        return self._prepared.pop()

    async def close(self, connection: Connection) -> None:
        self._prepared.append(connection)


async def run(*, is_quick: bool) -> Outcome:
    """Count the tasks and timers of idle pools, and weigh them, fresh and after load."""
    found = [await _weigh(connections=1) for _ in range(1 if is_quick else 3)]
    large = await _weigh(connections=10)
    handle = _weigh_timer_handle()
    return Outcome(
        title="An idle pool",
        how=(
            f"{POOLS} pools at once, each with one ready connection, counted by the event loop and weighed by tracemalloc; "
            f"the connections themselves are made before. Then {CLIENTS} clients hold a place in each, and it is weighed again "
            "after the pool's timer has come round. Medians, per pool. The one timer handle, with its callback and its context, is "
            "weighed apart; the table gives everything."
        ),
        figures=(
            Figure("tasks", Spread.of([one.tasks for one in found]), at_most=0, form="{:.0f}"),
            Figure("timer handles", Spread.of([one.timers for one in found]), at_most=1, form="{:.2f}"),
            Figure(
                "memory when fresh, besides the timer handle",
                Spread.of([one.fresh_bytes - handle for one in found]),
                at_most=2048,
                form="{:,.0f} bytes",
                because=BECAUSE,
            ),
            Figure(
                "memory after load, besides the timer handle",
                Spread.of([one.used_bytes - handle for one in found]),
                at_most=2048,
                form="{:,.0f} bytes",
                because=BECAUSE,
            ),
        ),
        tables=(
            Table(
                "By size",
                ("ready connections", "fresh", "after load"),
                tuple(
                    (
                        f"{size}",
                        f"{statistics.median(one.fresh_bytes for one in weighed):,.0f} bytes",
                        f"{statistics.median(one.used_bytes for one in weighed):,.0f} bytes",
                    )
                    for size, weighed in ((1, found), (10, [large]))
                ),
            ),
        ),
    )


class Weight:
    """What one pool costs on average: tasks, timer handles, and bytes before and after load."""

    __slots__ = ("fresh_bytes", "tasks", "timers", "used_bytes")

    def __init__(self, tasks: float, timers: float, fresh_bytes: float, used_bytes: float) -> None:
        self.tasks = tasks
        self.timers = timers
        self.fresh_bytes = fresh_bytes
        self.used_bytes = used_bytes


async def _weigh(connections: int) -> Weight:
    # Twice as many: the timer replaces the idle ones before they are weighed again.
    connectors = [PreparedConnector([Connection() for _ in range(connections * 2)]) for _ in range(POOLS)]
    for _ in range(2):  # The first time fills the interpreter's caches.
        tasks, timers = len(asyncio.all_tasks()), _timers()
        tracemalloc.start()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        pools = [
            ConnectionPool(
                connector,
                client_limit=CLIENTS,
                max_size=connections,
                min_size=connections,
                max_concurrent_creates=connections,
                max_idle_seconds=IDLE_SECONDS,
                create_timeout=CREATE_TIMEOUT,
            )
            for connector in connectors
        ]
        for pool in pools:
            await pool.open(timeout=None)  # asyncio would keep the cancelled timer of a time-out for its whole length
        await asyncio.sleep(1.5 * CREATE_TIMEOUT)
        gc.collect()
        fresh = tracemalloc.get_traced_memory()[0] - before
        counted = (len(asyncio.all_tasks()) - tasks, _timers() - timers)
        for pool in pools:
            await _load(pool)
        # The loop keeps cancelled timers until their time has come or half of all are cancelled.
        await asyncio.sleep(3.5 * IDLE_SECONDS)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        for pool in pools:
            await pool.close()
    return Weight(counted[0] / POOLS, counted[1] / POOLS, fresh / POOLS, used / POOLS)


async def _load(pool: ConnectionPool[Connection]) -> None:
    async def hold() -> None:
        async with pool.get():
            await asyncio.sleep(0)

    await asyncio.gather(*(hold() for _ in range(CLIENTS)))


def _weigh_timer_handle() -> float:
    """Give the bytes of one timer handle with a method to call and an empty context, as every pool has one."""
    loop = asyncio.get_running_loop()
    weighed = [PreparedConnector([]) for _ in range(POOLS)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    handles = [loop.call_later(60, one.create, context=Context()) for one in weighed]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for handle in handles:
        handle.cancel()
    return (after - before) / POOLS


def _timers() -> int:
    loop = asyncio.get_running_loop()
    scheduled: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]  # no public count of timers
    return sum(not handle.cancelled() for handle in scheduled)
