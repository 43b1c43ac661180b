"""What callers do to a pool: they check out, hold, raise, time out, expire connections; and they open and close it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted, PoolClosed, PoolError

from .connector import Broken, Trouble
from .line import was_served
from .scenario import DURATIONS

if TYPE_CHECKING:
    from fastapi_azure_pool.pool import Lease, SharedTransportConnection
    from tests.support.scripted_connector import Transport

    from .pool_world import PoolWorld


class Visit:
    """One caller's way to a place and out again.

    Attributes:
        lease: What the pool gave.
        timeout: Seconds that it is ready to wait, at least 0; None for ever.
        asked_at: When it asked.
        asked_in_step: In which step.
        jumped_before: By how much the clock had jumped by then.
        is_asking: Whether it has been told nothing yet.
        task: Whose visit it is.
    """

    def __init__(self, world: PoolWorld, timeout: float | None) -> None:
        self.lease: Lease[Transport] = world.pool.get(timeout)
        self.timeout = timeout
        self.asked_at = world.loop.now
        self.asked_in_step = world.loop.step
        self.jumped_before = world.jumped_seconds
        self.is_asking = True
        self.task: Any = asyncio.current_task()

    @property
    def connection(self) -> SharedTransportConnection[Transport] | None:
        """The connection on which it has a place, be it one that was handed to it and that it has not seen yet."""
        if not self.is_asking:
            return self.lease._connection
        place = self.task._fut_waiter  # What it awaits; until its next step, although that is done.
        return place.result() if place is not None and was_served(place) else None


class Client:
    """A task that visits the pool a few times, and does there what the lot draws."""

    def __init__(self, world: PoolWorld) -> None:
        self._world = world
        self._lot = world.lot
        self._trace = world.trace

    async def run(self) -> None:
        """Come some time, visit, leave."""
        await asyncio.sleep(self._lot.choice(DURATIONS) * self._lot.choice((1, 1, 3)))
        for _ in range(self._lot.choice((1, 1, 2, 3))):
            timeout = self._lot.choice((None, None, 0.0, 0.25, 1.0, 5.0))
            await self._visit_within(self._lot.choice((None, None, None, 0.5, 2.0)), timeout)
            await asyncio.sleep(self._lot.choice(DURATIONS))

    async def _visit_within(self, seconds: float | None, timeout: float | None, *, is_second: bool = False) -> None:
        """Visit, under a time limit of the caller's own."""
        try:
            async with asyncio.timeout(seconds):
                await self.visit(timeout, is_second=is_second)
        except TimeoutError:
            assert seconds is not None, "a TimeoutError that nobody set"
            self._trace.note(f"is out of time after {seconds} s")

    async def visit(self, timeout: float | None, *, is_second: bool = False) -> None:
        """Ask for a place, use it, and give it back."""
        visit = self._world.arrive(timeout)
        self._trace.note(f"asks for a place, timeout {timeout}")
        try:
            async with visit.lease as transport:
                self._world.enter(visit, transport)
                await self._stay(transport, may_visit=not is_second)
        except PoolError as error:
            self._world.refuse(visit, error)
        except (Broken, Trouble) as error:
            assert not visit.is_asking, "an error of a body before there was one"
            self._trace.note(f"left with {error!r}")
        finally:
            self._world.leave(visit)

    async def _stay(self, transport: Transport, *, may_visit: bool) -> None:
        """Hold the place, and do things with it."""
        lot, connector, faults = self._lot, self._world.connector, self._world.connector.faults
        for _ in range(lot.choice((0, 1, 1, 2, 3))):
            if connector.may(faults.expiry):
                self._trace.note(f"expires {transport}")
                connector.condemned.add(transport)
                self._world.pool.expire(transport)
            if connector.may(faults.breakage):
                self._trace.note(f"reports that {transport} is broken")
                connector.condemned.add(transport)
                self._world.pool.report(transport, Broken("the connection broke"))
            if (seconds := lot.choice(DURATIONS) * self._world.scenario.patience) or lot.random() < 0.5:
                await asyncio.sleep(seconds)
            if transport in connector.dead or connector.may(faults.breakage):
                connector.condemned.add(transport)
                raise Broken("the connection broke")
            if connector.may(faults.trouble):
                raise Trouble("a request failed")
            if connector.may(faults.death):
                connector.die(transport)
            if may_visit and lot.random() < 0.05:
                # For a while only: two who wait for each other's places do so for ever.
                await self._visit_within(lot.choice((None, 0.25)), lot.choice((0.0, 0.5)), is_second=True)
        self._trace.note("leaves")


class Operator:
    """A task that opens and closes the pool, at times that suit nobody."""

    def __init__(self, world: PoolWorld) -> None:
        self._world = world
        self._lot = world.lot
        self._trace = world.trace

    async def run(self) -> None:
        """Do a few things, one after the other."""
        for _ in range(self._lot.randint(1, 4)):
            await asyncio.sleep(self._lot.choice(DURATIONS))
            action = self._lot.choice((self._open, self._close, self._close_and_open, self._reserve))
            await action()

    async def _open(self) -> None:
        timeout = self._lot.choice((None, 0.0, 0.5, 5.0))
        self._trace.note(f"opens the pool, timeout {timeout}")
        try:
            await self._world.pool.open(timeout)
            self._trace.note("has opened the pool")
        except (ConnectionFailed, ConnectionsExhausted, PoolClosed) as error:
            self._trace.note(f"could not open the pool: {error!r}")

    async def _close(self) -> None:
        await self._world.close_pool(self._lot.choice((0.0, 0.0, 0.5, 10.0, math.inf)))

    async def _close_and_open(self) -> None:
        await self._close()
        await self._open()

    async def _reserve(self) -> None:
        self._trace.note("enters the pool")
        self._world.times_closed += 1
        try:
            async with self._world.pool:
                self._trace.note("has entered the pool")
                await asyncio.sleep(self._lot.choice(DURATIONS))
        except (ConnectionFailed, ConnectionsExhausted, PoolClosed) as error:
            self._trace.note(f"could not enter the pool: {error!r}")
