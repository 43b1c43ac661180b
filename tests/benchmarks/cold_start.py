"""Fifty callers who find an empty pool at the same moment."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aio_azure_clients_toolbox.connection_pooling import (  # type: ignore[import-untyped]  # the peer ships no types
    ConnectionPool as ToolboxPool,
)
from asyncio_connection_pool import ConnectionPool as PlainPool

from fastapi_azure_pool import ConnectionPool

from .measuring import Figure, Outcome, Spread, Table, in_time_units, interleave
from .peers import OwnConnector, PeerStrategy, PeerToolboxConnector

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

CALLERS = 50
OPENING_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Rush:
    """What one rush saw.

    Attributes:
        waits: Seconds that each caller waited, sorted.
        opens: How many connections were opened for them.
    """

    waits: list[float]
    opens: int

    @property
    def p99(self) -> float:
        """The wait of the 99th percentile; of fifty callers that is the longest but for half a caller, so the longest."""
        return self.waits[-1]


async def run(*, is_quick: bool) -> Outcome:
    """Measure how long each waits, and how many connections they cause."""
    rushes = await interleave(3 if is_quick else 9, {"own": _own, "plain": _plain, "toolbox": _toolbox})
    own = rushes["own"]
    return Outcome(
        title="Fifty callers find an empty pool",
        how=(
            f"{CALLERS} callers at once, `client_limit=100`, `max_size=10`, opening takes {OPENING_SECONDS * 1000:.0f} ms; "
            "each leaves as soon as it has its connection."
        ),
        figures=(
            Figure("connections opened", Spread.of([rush.opens for rush in own]), at_most=1, form="{:.0f}"),
            Figure(
                "p99 of their wait, against the opening",
                Spread.of([rush.p99 / OPENING_SECONDS for rush in own]),
                at_most=1.1,
            ),
        ),
        tables=(
            Table(
                "With the peers",
                ("subject", "opened", "p50 wait", "longest wait"),
                tuple(
                    (
                        label,
                        f"{statistics.median(rush.opens for rush in rushes[name]):.0f}",
                        in_time_units(statistics.median(statistics.median(rush.waits) for rush in rushes[name])),
                        in_time_units(statistics.median(rush.waits[-1] for rush in rushes[name])),
                    )
                    for name, label in (
                        ("own", "fastapi-azure-pool"),
                        ("plain", "asyncio-connection-pool (it does not share connections)"),
                        ("toolbox", "aio-azure-clients-toolbox"),
                    )
                ),
            ),
        ),
    )


async def _own() -> Rush:
    connector = OwnConnector(OPENING_SECONDS)
    pool = ConnectionPool(connector, client_limit=100, max_size=10)
    waits = await _rush(pool.get)
    await pool.close()
    return Rush(waits, connector.opened)


async def _toolbox() -> Rush:
    connector = PeerToolboxConnector(OPENING_SECONDS)
    pool = ToolboxPool(connector, client_limit=100, max_size=10)
    waits = await _rush(partial(pool.get, timeout=60))
    await pool.closeall()
    return Rush(waits, connector.opened)


async def _plain() -> Rush:
    strategy = PeerStrategy(OPENING_SECONDS)
    return Rush(await _rush(PlainPool(strategy=strategy, max_size=CALLERS).get_connection), strategy.opened)


async def _rush(get: Callable[[], AbstractAsyncContextManager[Any]]) -> list[float]:
    async def call() -> float:
        async with get():
            return perf_counter() - started

    started = perf_counter()
    return sorted(await asyncio.gather(*(call() for _ in range(CALLERS))))
