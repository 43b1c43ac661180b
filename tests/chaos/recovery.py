"""How long it takes, after a fault has ended, until the service is ready and serves again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.pool.backoff import FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS

from .books import Placed

if TYPE_CHECKING:
    import aiohttp

    from .customers import Customers

CREATE_SECONDS = 10.0
"""How long one attempt to open a connection may take: the managed clients' ``pool_connection_create_timeout``."""

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovery.

    Attributes:
        seconds: How long it took.
        bound: How long it might take.
        awaited: What was missing last: pools, or an order.
        is_in_time: Whether it came within the bound.
    """

    seconds: float
    bound: float
    awaited: tuple[str, ...]
    is_in_time: bool


def longest_recovery(failures: int) -> float:
    """Give how many seconds after the end of a fault a pool is ready again at the latest.

    The attempt that was under way may take its whole time and fail. Then the pool pauses: at most 0.5 s, doubled for each failure
    before, 30 s at most. Then the next attempt has its time, too.

    Args:
        failures: How many attempts failed since the fault began.
    """
    return CREATE_SECONDS + min(LAST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**failures) + CREATE_SECONDS


async def count_failures(health: aiohttp.ClientSession) -> dict[str, int]:
    """Give how many attempts to open a connection have failed so far, by pool."""
    pools = await _pools(health)
    return {name: pool["totals"]["open_failures"] for name, pool in pools.items()}


async def recover(health: aiohttp.ClientSession, customers: Customers, failures_before: dict[str, int]) -> Recovery:
    """Wait until every pool has a connection and an order is placed that was asked for after the fault's end.

    Args:
        health: Where the service is.
        customers: One of them places the order.
        failures_before: What `count_failures` gave before the fault.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    awaited: tuple[str, ...] = ()
    while True:
        pools = await _pools(health)
        missing = tuple(name for name, pool in pools.items() if not pool["ready_connection_count"])
        failures = max(pool["totals"]["open_failures"] - failures_before[name] for name, pool in pools.items())
        if not missing:
            attempt = await customers.place("prober")
            missing = () if attempt.outcome is Placed.ACKNOWLEDGED else ("an order",)
        seconds, bound = loop.time() - started, longest_recovery(failures)
        awaited = missing or awaited
        if not missing or seconds > bound:
            return Recovery(seconds, bound, awaited, is_in_time=not missing)
        await asyncio.sleep(_PAUSE_SECONDS)  # It is asked again, not waited for: nothing tells when it is over.


async def _pools(health: aiohttp.ClientSession) -> dict[str, Any]:
    async with health.get("/health/pools") as response:
        pools: dict[str, Any] = (await response.json())["pools"]
        return pools
