"""Random lives of a pool, each step compared with a model of plain lists, and the invariants checked after each."""

from __future__ import annotations

import asyncio
import functools
import math
import random
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastapi_azure_pool.errors import ConnectionsExhausted
from fastapi_azure_pool.pool import ConnectionPool
from tests.support import invariants
from tests.support.clients import Client
from tests.support.oracle import Oracle, Sizes
from tests.support.scripted_connector import TellingConnector, Transport
from tests.support.virtual_time import VirtualTimeLoop, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.pool.generation import Generation


class Broken(Exception):
    """An error that breaks a connection."""


class HeldConnector(TellingConnector):
    """Each create() waits until the test lets it succeed or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fatal = (Broken,)
        self.attempts: list[asyncio.Future[None]] = []

    async def create(self) -> Transport:
        """Wait for the test's word."""
        attempt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.attempts.append(attempt)
        try:
            await attempt
        finally:
            self.attempts.remove(attempt)
        return await super().create()


@st.composite
def sizes(draw: st.DrawFn) -> Sizes:
    """Sizes of small pools, so that every bound is met often."""
    client_limit = draw(st.integers(1, 3))
    max_size = draw(st.integers(1, 3))
    return {
        "client_limit": client_limit,
        "max_size": max_size,
        "min_size": draw(st.integers(0, max_size)),
        "burst_limit": max_size + draw(st.integers(0, 2)),
        "grow_at": draw(st.integers(1, client_limit)),
        "max_waiting": draw(st.sampled_from([None, None, 0, 1, 3])),
        "max_concurrent_creates": draw(st.integers(1, 3)),
    }


class PoolLife(RuleBasedStateMachine):
    """A loop of its own, a pool on it, its clients, and steps that any life may take."""

    def __init__(self) -> None:
        super().__init__()
        random.seed(1)
        self.loop = VirtualTimeLoop()
        self.connector = HeldConnector()
        self.arrivals: list[Client] = []
        self.inside: list[Client] = []
        self.pool: ConnectionPool[Transport] = ConnectionPool(self.connector)

    @property
    def generation(self) -> Generation[Transport]:
        """The pool's present life."""
        generation = self.pool._generation
        assert generation is not None
        return generation

    def run(self, *steps: Callable[[], object], seconds: float = 0.0) -> None:
        """Take steps within one turn of the loop, let time pass, and wait until nothing more happens."""

        async def take() -> None:
            for step in steps:
                step()
            if seconds:
                await asyncio.sleep(seconds)
            await wait_until_blocked()

        self.loop.run_until_complete(take())

    def arrive(self, timeout: float | None) -> Client:
        """Let a caller ask for a place."""
        clients: list[Client] = []
        self.run(lambda: clients.append(Client(self.pool, timeout)))
        self.arrivals += clients
        self.inside += clients
        return clients[0]

    def teardown(self) -> None:
        """Close the pool: each connection must have been closed once, and nothing be left."""
        try:
            self.loop.run_until_complete(self.pool.close(0))
            self.run()
            invariants.every_connection_was_closed_exactly_once(self.connector)
            assert not asyncio.all_tasks(self.loop)
            assert self.loop.complaints == []
        finally:
            self.loop.close()


class PoolAgainstOracle(PoolLife):
    """Every step is taken by the pool and by the model; nothing ages, so the model can foretell everything."""

    @initialize(sizes=sizes())
    def make(self, sizes: Sizes) -> None:
        """Make a pool and a model of the same sizes."""
        self.pool = ConnectionPool(self.connector, max_idle_seconds=None, create_timeout=1e6, **sizes)
        self.oracle = Oracle(sizes, lambda member: member.transport in self.connector.dead)
        self.deadlines: dict[Client, float] = {}

    @rule(timeout=st.sampled_from([None, None, 0, 5, 50]))
    def ask(self, timeout: float | None) -> None:
        """A caller asks for a place."""
        client = self.arrive(timeout)
        self.oracle.ask(client)
        if timeout is not None:
            self.deadlines[client] = self.loop.now + timeout
        self.expire_deadlines()

    @precondition(lambda self: self.has_clients())
    @rule(which=st.randoms(use_true_random=False), is_fatal=st.booleans(), race=st.sampled_from([0, 0, 1, 2]))
    def leave(self, which: random.Random, race: int, *, is_fatal: bool) -> None:
        """A client leaves; the first in line may be cancelled in the same moment, before or after."""
        leaver = which.choice([client for client in self.inside if client.has_place])
        self.inside.remove(leaver)
        steps: list[Callable[[], object]] = [lambda: leaver.leave(Broken() if is_fatal else None)]
        if race and self.oracle.line:
            unlucky = self.oracle.line[0]
            steps.insert(0 if race == 1 else 1, unlucky.entering.cancel)
            self.run(*steps)
            # Passed over, or passing on: as if it had not been there, but for the place that came free with nobody in line.
            if race == 1:
                self.oracle.line.remove(unlucky)
                self.oracle.leave(leaver, is_fatal=is_fatal)
            else:
                self.oracle.leave(leaver, is_fatal=is_fatal)
                if unlucky in self.oracle.line:
                    self.oracle.line.remove(unlucky)
                else:
                    self.oracle.leave(unlucky, is_fatal=False)
            self.inside.remove(unlucky)
        else:
            self.run(*steps)
            self.oracle.leave(leaver, is_fatal=is_fatal)

    def has_clients(self) -> bool:
        """Whether anybody holds a place, be it a stale one."""
        return any(client.has_place for client in self.inside)

    @precondition(lambda self: self.oracle.line)
    @rule(which=st.randoms(use_true_random=False))
    def cancel(self, which: random.Random) -> None:
        """A caller in line is cancelled."""
        waiter = which.choice(self.oracle.line)
        self.run(waiter.entering.cancel)
        self.oracle.line.remove(waiter)
        self.inside.remove(waiter)
        assert waiter.entering.cancelled()

    @precondition(lambda self: self.oracle.ready)
    @rule(which=st.randoms(use_true_random=False))
    def expire(self, which: random.Random) -> None:
        """A connection is expired."""
        member = which.choice(self.oracle.ready)
        self.run(lambda: self.pool.expire(member.transport))
        self.oracle.retire(member)

    @precondition(lambda self: self.oracle.ready or self.oracle.draining)
    @rule(which=st.randoms(use_true_random=False), is_fatal=st.booleans())
    def report(self, which: random.Random, *, is_fatal: bool) -> None:
        """A transport reports an error."""
        member = which.choice([*self.oracle.ready, *self.oracle.draining])
        self.run(lambda: self.pool.report(member.transport, Broken() if is_fatal else OSError()))
        if is_fatal and member in self.oracle.ready:
            self.oracle.retire(member)

    @precondition(lambda self: self.oracle.ready)
    @rule(which=st.randoms(use_true_random=False))
    def die(self, which: random.Random) -> None:
        """A connection dies, which nobody knows until someone asks."""
        self.connector.dead.add(which.choice(self.oracle.ready).transport)

    @precondition(lambda self: self.oracle.opening)
    @rule(which=st.randoms(use_true_random=False), works=st.sampled_from([True, True, False]))
    def answer(self, which: random.Random, *, works: bool) -> None:
        """An attempt to open a connection works, or fails."""
        attempt = which.choice(self.connector.attempts)
        if works:
            self.run(lambda: attempt.set_result(None))
            self.oracle.succeed(self.connector.created[-1])
        else:
            self.run(lambda: attempt.set_exception(OSError("no")))
            self.oracle.fail()

    @rule(seconds=st.sampled_from([0.25, 1, 5, 45]))
    def let_time_pass(self, seconds: float) -> None:
        """Time passes, from one thing that falls due to the next."""
        end = self.loop.now + seconds
        while self.loop.now < end:
            alarm = None if self.pool._generation is None else self.generation._alarm
            rings_at = alarm._when if alarm is not None and alarm._handle is not None else math.inf
            pending = [self.deadlines[client] for client in self.oracle.line if client in self.deadlines]
            self.run(seconds=min([end, rings_at, *pending]) - self.loop.now)
            if rings_at <= self.loop.now:
                self.oracle.is_pausing = False
                self.oracle.replenish()
            self.expire_deadlines()

    def expire_deadlines(self) -> None:
        """Whose time is over leaves the line."""
        for client in tuple(self.oracle.line):
            if self.deadlines.get(client, self.loop.now + 1) <= self.loop.now:
                self.oracle.line.remove(client)
                self.oracle.refused[client] = ConnectionsExhausted

    @rule()
    def close(self) -> None:
        """The pool is closed under its clients, and opened again."""
        self.loop.run_until_complete(self.pool.close(0))
        self.run()
        self.oracle.close()
        self.check()
        stale = self.arrive(None)
        self.oracle.ask(stale)
        self.check()
        self.run(lambda: self.loop.create_task(self.pool.open(None)).add_done_callback(_see))
        self.oracle.open()
        self.oracle.replenish()

    @invariant()
    def check(self) -> None:
        """The pool is as the model says, and every invariant holds."""
        oracle = self.oracle
        stats = self.pool.stats()
        counted = stats.ready, stats.opening, stats.draining, stats.clients, stats.waiting
        assert counted == (
            *(len(oracle.ready), oracle.opening, len(oracle.draining)),
            *(len(oracle.clients), len(oracle.line)),
        )
        chosen = [connection.transport for connection in self.pool.connections[: stats.ready]]
        assert chosen == [member.transport for member in oracle.in_order_of_choice()]
        for member in (*oracle.ready, *oracle.draining):
            assert all(client.transport is member.transport for client in member.clients)
        assert all(client.is_waiting for client in oracle.line)
        for client, error in oracle.refused.items():
            assert type(client.error) is error
        self.inside = [client for client in self.inside if client not in oracle.refused]
        oracle.refused.clear()
        invariants.check(self.pool, leases=len(oracle.clients))


class AgeingPool(PoolLife):
    """Connections age, idle, die, hang and fail at random; no model foretells that, but the rules hold all the same."""

    @initialize(
        sizes=sizes(),
        ages=st.sampled_from([(None, 20), (15, None), (15, 40), (7, 11)]),
        probe=st.sampled_from([None, 3]),
        close_seconds=st.sampled_from([0, 2, None]),
    )
    def make(
        self, sizes: Sizes, ages: tuple[float | None, float | None], probe: float | None, close_seconds: float | None
    ) -> None:
        """Make a pool whose connections do not last."""
        idle, lifespan = ages
        self.connector.probe_seconds = probe
        self.connector.close_seconds = close_seconds
        self.pool = ConnectionPool(
            self.connector, max_idle_seconds=idle, max_lifespan_seconds=lifespan, close_timeout=3, **sizes
        )

    @rule(timeout=st.sampled_from([None, None, 3]))
    def ask(self, timeout: float | None) -> None:
        """A caller asks for a place; where there is one, it is on the connection that a search of all of them finds."""
        before = [] if self.pool._generation is None else list(self.generation.ledger)
        alive = [connection for connection in before if connection.transport not in self.connector.dead]
        best = min(alive, key=lambda connection: connection.current_client_count, default=None)
        has_room = best is not None and best.available
        client = self.arrive(timeout)
        if has_room and best is not None:
            assert client.transport is best.transport

    @precondition(lambda self: any(client.has_place for client in self.inside))
    @rule(which=st.randoms(use_true_random=False), is_fatal=st.booleans())
    def leave(self, which: random.Random, *, is_fatal: bool) -> None:
        """A client leaves."""
        leaver = which.choice([client for client in self.inside if client.has_place])
        self.inside.remove(leaver)
        self.run(lambda: leaver.leave(Broken() if is_fatal else None))

    @precondition(lambda self: self.inside)
    @rule(which=st.randoms(use_true_random=False))
    def cancel(self, which: random.Random) -> None:
        """A caller is cancelled, if it still waits."""
        self.run(which.choice(self.inside).entering.cancel)

    @precondition(lambda self: self.connector.attempts)
    @rule(which=st.randoms(use_true_random=False), works=st.sampled_from([True, True, True, False]))
    def answer(self, which: random.Random, *, works: bool) -> None:
        """An attempt to open a connection works, or fails."""
        attempt = which.choice(self.connector.attempts)
        self.run(lambda: attempt.set_result(None) if works else attempt.set_exception(OSError("no")))

    @precondition(lambda self: self.pool.connections)
    @rule(which=st.randoms(use_true_random=False), how=st.sampled_from(["die", "expire", "report"]))
    def lose(self, which: random.Random, how: str) -> None:
        """A connection dies, is expired, or is reported broken."""
        connection = which.choice(self.pool.connections)
        if how == "die":
            self.connector.dead.add(connection.transport)
        elif how == "expire":
            self.run(lambda: self.pool.expire(connection))
        else:
            self.run(lambda: self.pool.report(connection, Broken()))

    @rule(seconds=st.sampled_from([0.5, 3, 6, 12, 60]))
    def let_time_pass(self, seconds: float) -> None:
        """Time passes."""
        self.run(seconds=seconds)

    @precondition(lambda self: self.pool._generation is not None)
    @rule(
        drain_seconds=st.sampled_from([0, 1]),
        meanwhile=st.sampled_from([0, 0.5, 2, 30]),
    )
    def close(self, drain_seconds: float, meanwhile: float) -> None:
        """The pool is closed, and opened again before or after that is done."""
        self.run(lambda: self.loop.create_task(self.pool.close(drain_seconds)), seconds=meanwhile)
        assert not any(client.is_waiting for client in self.arrivals)
        self.run(lambda: self.loop.create_task(self.pool.open(None)).add_done_callback(_see), seconds=7)

    @invariant()
    def check(self) -> None:
        """The invariants hold, and nobody has got past the line."""
        self.inside = [client for client in self.inside if client.is_waiting or client.has_place]
        held = {connection.transport: connection for connection in self.pool.connections}
        leases = [client for client in self.inside if client.has_place and client.transport in held]
        invariants.check(self.pool, leases=len(leases))
        waiting = [place for place, client in enumerate(self.arrivals) if client.is_waiting]
        if waiting:
            assert not any(client.has_place for client in self.arrivals[waiting[0] :])

    def teardown(self) -> None:
        """Let everything work again: whoever still waits is served."""
        try:
            seconds = 0
            while any(client.is_waiting for client in self.arrivals):
                for client in [client for client in self.inside if client.has_place]:
                    self.inside.remove(client)
                    self.run(client.leave)
                self.run(seconds=1)
                for attempt in tuple(self.connector.attempts):
                    self.run(functools.partial(attempt.set_result, None))
                self.check()
                seconds += 1
                assert seconds < 100
        finally:
            super().teardown()


def _see(task: asyncio.Task[None]) -> None:
    """Look at how a task ended, for nobody else does."""
    if not task.cancelled():
        task.exception()


PROFILE = settings(max_examples=50, stateful_step_count=40, deadline=None, derandomize=True, database=None)

TestPoolAgainstOracle = PoolAgainstOracle.TestCase
TestPoolAgainstOracle.settings = PROFILE
TestAgeingPool = AgeingPool.TestCase
TestAgeingPool.settings = PROFILE
