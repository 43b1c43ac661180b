"""Checkouts by the million on pools of every shape: the process of the soak's first part."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool import AbstractConnector, ConnectionPool, PoolError

from .measuring import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CALLERS = 16
"""Callers of one pool at a time."""

TURNS = 25
"""Checkouts that each of them makes in a round."""

LOOKS = 6000
"""How often to look whether the pools have come to rest, with 5 ms between; no clock, which jumps when a machine is suspended."""

TIMERS = 20
"""Timers that may be left then: those of attempts to open a connection that were not needed wait until their time has come."""

COMMON: Mapping[str, Any] = {"max_idle_seconds": 0.1, "create_timeout": 0.5, "close_timeout": 0.5}
"""Short, for asyncio keeps the timer of a time-out that was not needed until its time has come."""

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "as it comes": {},
    "crowded": {"client_limit": 2, "max_size": 3, "burst_limit": 5},
    "growing": {"client_limit": 10, "grow_at": 3, "max_size": 6},
    "short-lived": {"client_limit": 4, "max_lifespan_seconds": 0.05, "max_idle_seconds": 0.02},
    "kept ready": {"client_limit": 4, "min_size": 2, "max_size": 2, "max_idle_seconds": None},
    "impatient": {"client_limit": 1, "max_size": 2, "max_waiting": 8},
    "watched": {"client_limit": 8, "leak_warning_seconds": 0.0005},
}
"""The pools' sizes, by their names."""


class Broken(Exception):
    """Breaks a connection."""


class Refused(Exception):
    """Breaks nothing."""


class Connection:
    """A connection to nothing, with a buffer, so that a lost one weighs something."""

    def __init__(self) -> None:
        self.buffer = bytearray(4096)
        self.is_dead = False


class Connector(AbstractConnector[Connection]):
    """Opens connections of which some cannot be had, some are not ready, some die by themselves and some do not close.

    Args:
        chance: What it draws by.
    """

    probe_seconds = 0.02

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def create(self) -> Connection:
        await asyncio.sleep(0)
        if self._chance.random() < 0.05:
            raise OSError("no such host")
        return Connection()

    async def ready(self, connection: Connection) -> bool:
        await asyncio.sleep(0)
        return self._chance.random() > 0.02

    async def close(self, connection: Connection) -> None:
        await asyncio.sleep(0)
        if self._chance.random() < 0.05:
            raise OSError("reset by peer")

    def is_closed(self, connection: Connection) -> bool:
        return connection.is_dead

    def is_fatal(self, error: BaseException) -> bool:
        return isinstance(error, Broken)


async def check_out(pool: ConnectionPool[Connection], chance: random.Random) -> None:
    """Check out once, as one of the many kinds of callers."""
    dice = chance.random()
    try:
        async with pool.get(None if dice < 0.9 else 0.001) as connection:
            if dice < 0.25:
                await asyncio.sleep(0)
            elif dice < 0.252:
                raise Refused
            elif dice < 0.253:
                raise Broken
            elif dice < 0.2535:
                connection.is_dead = True
            elif dice < 0.254:
                pool.expire(connection)
            elif dice < 0.2545:
                pool.report(connection, Broken())
            elif dice < 0.255:
                await asyncio.sleep(0.001)
    except (PoolError, Refused, Broken):
        await asyncio.sleep(0)


async def call(pool: ConnectionPool[Connection], chance: random.Random) -> None:
    """Check out many times."""
    for _ in range(TURNS):
        await check_out(pool, chance)


async def go_round(pools: list[ConnectionPool[Connection]], chance: random.Random) -> None:
    """Let callers of every pool go on at the same time, and cancel some of them wherever they are."""
    callers = [asyncio.create_task(call(pool, chance)) for pool in pools for _ in range(CALLERS)]
    for unlucky in chance.sample(callers, len(callers) // 10):
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        unlucky.cancel()
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


async def rest(pools: list[ConnectionPool[Connection]]) -> None:
    """Wait until nobody holds a place, every pool is at its least size, and asyncio has let go of most timers of before."""
    for _ in range(LOOKS):
        if _timers() <= TIMERS and all(map(_rests, pools)):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{pools} do not come to rest, or {_timers()} timers are left")


def _timers() -> int:
    """Count the event loop's timers; it makes a new list of them when it lets go of many that were cancelled."""
    loop: Any = asyncio.get_running_loop()
    return len(loop._scheduled)  # no public count of timers


def _rests(pool: ConnectionPool[Connection]) -> bool:
    stats = pool.stats()
    assert stats.clients == stats.waiting == 0
    return (stats.ready, stats.opening, stats.draining) == (stats.min_size, 0, 0)


async def soak(stops: Sequence[int], leak_from: float, *, with_lines: bool) -> None:
    """Check out many times, and write a measurement to standard output at each stop.

    Args:
        stops: After how many checkouts.
        leak_from: Keep a small object for each checkout from this one on, to show that it is found; infinity keeps none.
        with_lines: Whether the first and the last measurement have the lines of code that asked for memory.
    """
    chance = random.Random(1)
    kept: list[list[int]] = []
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(ConnectionPool(Connector(chance), name=name, **{**COMMON, **sizes}))
            for name, sizes in SHAPES.items()
        ]
        done = 0
        for stop in stops:
            while done < stop:
                await go_round(pools, chance)
                before, done = done, sum(pool.stats().totals.checkouts for pool in pools)
                if before >= leak_from:
                    kept += [[number] for number in range(before, done)]
            await rest(pools)
            print(Measurement.take(done, with_lines=with_lines and stop in {stops[0], stops[-1]}).write(), flush=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stops", type=int, nargs="+")
    parser.add_argument("--leak-from", type=float, default=math.inf)
    parser.add_argument("--with-lines", action="store_true")
    options = parser.parse_args()
    # Warnings of leaks and of connections that cannot be had are part of it; nobody reads them.
    logging.getLogger("fastapi_azure_pool").addHandler(logging.NullHandler())
    asyncio.run(soak(options.stops, options.leak_from, with_lines=options.with_lines))


if __name__ == "__main__":
    main()
