"""One run: load and faults for some time, then everything is worked off and compared."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp

from .books import Books, Placed
from .complaints import find_complaints
from .customers import Customers
from .journal import read_journal
from .leaving import leave_by_the_hundred
from .processes import CloudControl, serving
from .reconciliation import reconcile
from .recovery import count_failures, recover
from .report import Report
from .schedule import plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .recovery import Recovery
    from .schedule import PlannedFault

PATIENCE_SECONDS = 120.0
"""How long working off may stand still: the longest pauses of pools, worker and sweep, one after the other, on a busy machine."""

MOST_BEHIND = 500
"""With how many messages in the queue no more faults happen and no orders are placed, until there are a quarter of them: what is
measured is not how much the machine can carry."""


class Run:
    """A run, and what is noted during it.

    Args:
        cloud: The emulator.
        port: Of the service.
        seed: What the faults and the load follow from.
        longest_seconds: How long a fault lasts at most.
        per_second: How many requests the customers send in a second, about.
        tell: Called after each fault with a line that tells how it goes.
    """

    def __init__(
        self,
        cloud: CloudControl,
        port: int,
        *,
        seed: int,
        longest_seconds: float,
        per_second: float,
        tell: Callable[[str], None],
    ) -> None:
        self.books = Books()
        self.faults: list[PlannedFault] = []
        self.strikes: Counter[str] = Counter()
        self.recoveries: list[tuple[str, Recovery]] = []
        self.breathers = 0
        self.settling_seconds = 0.0
        self.connections: dict[str, int] = {}
        self._cloud = cloud
        self._port = port
        self._url = f"http://127.0.0.1:{port}"
        self._tell = tell
        self._lot = random.Random(seed)
        self._plan = plan(seed, longest_seconds=longest_seconds)
        self._customers = Customers(self._url, self.books, seed=seed, per_second=per_second)

    async def go(self, seconds: float, orders: int) -> None:
        """Let customers come and faults happen, then wait until everything is worked off.

        Args:
            seconds: For how long.
            orders: Up to two minutes longer, if fewer orders than these have been acknowledged by then.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        stopping = asyncio.Event()
        async with aiohttp.ClientSession(self._url) as health, self._customers, asyncio.TaskGroup() as group:
            await recover(health, self._customers, await count_failures(health))
            shopping = group.create_task(self._customers.run(stopping))
            while loop.time() < until or self._is_short_of(orders, until + PATIENCE_SECONDS):
                together = next(self._plan)
                failures = await count_failures(health)
                await asyncio.gather(*map(self._inflict, together))
                recovery = await recover(health, self._customers, failures)
                self.recoveries.append((" and ".join(map(str, together)), recovery))
                self._tell(
                    f"{seconds - max(until - loop.time(), 0):.0f} of {seconds:.0f} s: {len(self.faults)} faults,"
                    f" {len(self.books.placed)} orders, {len(self.books.findings)} findings so far"
                )
                await self._catch_up()
            stopping.set()
            await shopping
            started = loop.time()
            await self._work_off(0)
            self.settling_seconds = loop.time() - started
            async with health.get("/health/pools") as response:
                pools = (await response.json())["pools"]
            self.connections = {name: pool["totals"]["opened"] for name, pool in pools.items()}

    def _is_short_of(self, orders: int, until: float) -> bool:
        return self.books.count(Placed.ACKNOWLEDGED) < orders and asyncio.get_running_loop().time() < until

    async def _inflict(self, fault: PlannedFault) -> None:
        self.faults.append(fault)
        match fault.kind:
            case "clients disconnect":
                await leave_by_the_hundred(self._port, int(fault.variant), self.books, self._customers, lot=self._lot)
            case "event loop stalled":
                async with (
                    aiohttp.ClientSession(self._url) as session,
                    session.post("/chaos/stall", params={"seconds": fault.variant}) as response,
                ):
                    response.raise_for_status()
            case "stopped and started":
                await self._cloud.ask("stop")
                await asyncio.sleep(fault.seconds)
                await self._cloud.ask("start")
            case "killed and restarted":
                await self._cloud.kill()
                await asyncio.sleep(fault.seconds)
                await self._cloud.start()
            case "hung":
                self._cloud.hang()
                await asyncio.sleep(fault.seconds)
                self._cloud.go_on()
            case _:
                await self._cloud.ask("begin", kind=fault.kind, variant=fault.variant, seconds=fault.seconds)
                await asyncio.sleep(fault.seconds)
                self.strikes[fault.kind] += await self._cloud.ask("end")

    async def _catch_up(self) -> None:
        """Let the service catch up when it is too far behind."""
        if (await self._cloud.ask("pending"))["queued"] > MOST_BEHIND:
            self.breathers += 1
            self._customers.are_ordering = False
            await self._work_off(MOST_BEHIND // 4)
            self._customers.are_ordering = True

    async def _work_off(self, most: int) -> None:
        """Wait until no more than so many orders and messages are to be worked off, or until no progress is made."""
        loop = asyncio.get_running_loop()
        fewest, since = math.inf, loop.time()
        while (pending := sum((await self._cloud.ask("pending")).values())) > most:
            if pending < fewest:
                fewest, since = pending, loop.time()
            elif loop.time() - since > PATIENCE_SECONDS:
                return
            await asyncio.sleep(0.2)


async def run(
    directory: Path,
    *,
    seconds: float,
    orders: int = 0,
    seed: int,
    longest_seconds: float,
    per_second: float,
    sweep_seconds: float,
    module: str = "tests.chaos.application",
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Make one run and report.

    Args:
        directory: An empty one, for the processes' files.
        seconds: How long the load lasts, in seconds.
        orders: How many orders have to be acknowledged before it ends; on a busy machine it may last up to two minutes longer.
        seed: What faults and load follow from.
        longest_seconds: How long a fault lasts at most, in seconds.
        per_second: How many requests are sent in a second, about.
        sweep_seconds: How often the service looks for orders that were not published.
        module: What the service's process runs.
        tell: Called after each fault with a line that tells how it goes.
    """
    async with CloudControl(directory) as cloud:
        async with serving(module, directory, cloud.environment, sweep_seconds=sweep_seconds) as port:
            one = Run(cloud, port, seed=seed, longest_seconds=longest_seconds, per_second=per_second, tell=tell)
            await one.go(seconds, orders)
        # Now that the service has ended, it tells Azure nothing any more that is not in its journal.
        stored = await cloud.look()
    return Report(
        seed=seed,
        seconds=seconds,
        books=one.books,
        reconciliation=reconcile(one.books, read_journal(directory / "journal.jsonl"), stored),
        faults=one.faults,
        strikes=one.strikes,
        recoveries=one.recoveries,
        breathers=one.breathers,
        settling_seconds=one.settling_seconds,
        complaints=find_complaints((directory / "service.log").read_text(errors="replace")),
        connections=one.connections,
    )
