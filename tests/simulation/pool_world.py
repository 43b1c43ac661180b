"""The world of one pool: a simulated service, callers, operators, and the rules that hold after every step of any of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted, PoolClosed, PoolError
from fastapi_azure_pool.pool import ConnectionPool, ConnectionState, PoolState
from fastapi_azure_pool.pool.backoff import LAST_DELAY_SECONDS
from tests.support import invariants
from tests.support.eager_tasks import eager_task_factory

from .aim import AimWatch
from .choice import ChoiceWatch
from .clients import Client, Operator, Visit
from .connector import SimulatedConnector, TellingConnector
from .line import LineWatch
from .pauses import PauseWatch
from .replacement import RetirementWatch
from .scenario import DURATIONS, Scenario
from .world import World

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from fastapi_azure_pool.pool import SharedTransportConnection
    from fastapi_azure_pool.pool.generation import Generation
    from tests.support.scripted_connector import Transport

    from .trace import Trace

PRECISION = 1e-6
"""Seconds by which sums of times may differ."""

BOUND_SECONDS = 200.0
"""Seconds within which a pool whose service works again serves a caller, those before it in line not counted."""


class PoolWorld(World):
    """A storm, in which things go wrong and the pool is opened and closed at will; then a calm, in which everybody must be served.

    Attributes:
        scenario: What was drawn.
        connector: The simulated service.
        pool: What is under test.
        visits: The callers who ask for a place or have one.
        times_closed: How often somebody has begun to close the pool.
        jumped_seconds: By how much the clock has jumped so far.
    """

    name = "pool"

    def __init__(self, seed: int, trace: Trace) -> None:
        super().__init__(seed, trace)
        self.scenario = Scenario.draw(self.lot)
        connector = TellingConnector if self.scenario.can_tell else SimulatedConnector
        self.connector: SimulatedConnector = connector(self.scenario, self.lot, trace)
        self.connector.before_close = self._note_close
        self.pool: ConnectionPool[Transport] = ConnectionPool(self.connector, **self.scenario.sizes)
        self.visits: dict[Visit, None] = {}
        self.times_closed = 0
        self.jumped_seconds = 0.0
        self._line = LineWatch()
        self._aim = AimWatch()
        self._choice = ChoiceWatch()
        self._pauses = PauseWatch()
        self._retirements = RetirementWatch(self.connector.condemned)
        self._lasting = 0
        self._asked_in_step = 0
        self._actors: list[asyncio.Task[None]] = []
        self._cancelled: set[asyncio.Task[None]] = set()
        self._violations: list[str] = []
        self._is_calm = False
        self._everybody_told_by = float("inf")

    # What happens --------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Let the storm rage, calm down, and close."""
        scenario, trace = self.scenario, self.trace
        for line in scenario.lines():
            trace.note(line)
        if scenario.is_eager:
            self.loop.set_task_factory(eager_task_factory)
        for number in range(scenario.clients):
            self._begin(f"client {number + 1}", Client(self).run())
        for number in range(scenario.operators):
            self._begin(f"operator {number + 1}", Operator(self).run())
        await asyncio.sleep(scenario.storm_seconds)
        trace.note("nothing goes wrong any more")
        self._is_calm = True
        self.connector.cease()
        await self._let_everybody_finish()
        await self._serve_again()
        for number in range(self.lot.choice((0, 1, 3))):
            self._begin(f"late client {number + 1}", Client(self).run())
        await asyncio.sleep(self.lot.choice(DURATIONS))
        await self._close()

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._actors.append(self.loop.create_task(work, name=name))

    async def _let_everybody_finish(self) -> None:
        """Wait for all actors, who must be through in bounded time, each as it should be."""
        unfinished = sum(not actor.done() for actor in self._actors)
        self._everybody_told_by = self.loop.now + BOUND_SECONDS * (1 + unfinished) * self.scenario.patience
        if self._actors:
            await asyncio.wait(self._actors)
        self._everybody_told_by = float("inf")
        for actor in self._actors:
            assert actor.cancelled() == (actor in self._cancelled), (
                f"{actor.get_name()}: a cancellation lost or made up"
            )
            if not actor.cancelled():
                actor.result()
        self._actors.clear()

    async def _serve_again(self) -> None:
        """A pool whose service works heals unasked, can be opened whatever its state, and serves."""
        stats = self.pool.stats()
        if stats.opening or stats.is_failing:
            self.trace.note("waits for the last attempt of the storm, and for the next")
            await asyncio.sleep(LAST_DELAY_SECONDS + 2 * self.scenario.sizes["create_timeout"])
            assert not self.pool.stats().is_failing, "it does not heal"
        self.trace.note("opens the pool")
        await self.pool.open(BOUND_SECONDS)
        self._begin("visitor", Client(self).visit(BOUND_SECONDS))
        await self._let_everybody_finish()

    async def _close(self) -> None:
        """Close the pool under whoever is inside."""
        drain_seconds = self.lot.choice((0.0, 1.0, 100.0))
        self.trace.note("closes the pool for good")
        await self.close_pool(drain_seconds)
        await self._let_everybody_finish()

    def _interfere(self) -> None:
        """Cancel somebody, or let the clock jump, between two steps."""
        scenario, lot = self.scenario, self.lot
        if scenario.cancellation and self._actors:
            self._cancel_somebody(scenario.cancellation)
        if scenario.clock_jump and lot.random() < scenario.clock_jump:
            seconds = lot.choice((1.0, 10.0, 400.0))
            self.trace.note(f"the clock jumps by {seconds} s")
            self.jumped_seconds += seconds
            self.loop.now += seconds

    def _cancel_somebody(self, likelihood: float) -> None:
        """Cancel somebody perhaps; rather one who has just been handed a place and does not know it yet, if there is one."""
        just_served = [visit.task for visit in self.visits if visit.is_asking and visit.connection is not None]
        if self.lot.random() < likelihood * (5 if just_served else 1):
            victim = self.lot.choice(just_served or self._actors)
            if victim.cancel():
                self.trace.note(f"{victim.get_name()} is cancelled")
                self._cancelled.add(victim)

    async def close_pool(self, drain_seconds: float) -> None:
        """Close the pool, which must not take much longer than its clients are given."""
        self.trace.note(f"closes the pool, drain_seconds {drain_seconds}")
        self.times_closed += 1
        latest = self.loop.now - self.jumped_seconds + drain_seconds + 4 * self.scenario.sizes["close_timeout"]
        await self.pool.close(drain_seconds)
        self.trace.note("has closed the pool")
        assert self.loop.now - self.jumped_seconds <= latest + PRECISION, "closed too late"

    # What callers tell ---------------------------------------------------------------------------------------------------------

    def arrive(self, timeout: float | None) -> Visit:
        """A caller asks for a place."""
        visit = Visit(self, timeout)
        self._asked_in_step = self.loop.step
        self._choice.look(self.pool._generation)
        self.visits[visit] = None
        return visit

    def enter(self, visit: Visit, transport: Transport) -> None:
        """A caller has got a place: the right one, and in time."""
        self.trace.note(f"has a place on {transport}")
        self._told(visit)
        connection = visit.connection
        assert connection is not None
        assert connection.transport is transport
        # Where a task begins at once, more may have happened since than the choice.
        if visit.asked_in_step == self.loop.step and not self.scenario.is_eager:
            self._check_choice(visit, connection)
        self._choice.look(self.pool._generation)

    def refuse(self, visit: Visit, error: PoolError) -> None:
        """A caller has been refused a place: for a reason there is, in time, and if it waited in vain not before that."""
        self.trace.note(f"is refused: {error}")
        self._told(visit)
        match error:
            case ConnectionsExhausted():
                if self.scenario.sizes["max_waiting"] is None:
                    assert visit.timeout is not None
                    assert self.loop.now >= visit.asked_at + visit.timeout - PRECISION
            case ConnectionFailed():
                assert error.__cause__ is not None
                assert 0 <= error.retry_after <= LAST_DELAY_SECONDS
            case PoolClosed():
                assert self.times_closed
            case _:
                raise error

    def leave(self, visit: Visit) -> None:
        """A caller has no place any more."""
        del self.visits[visit]
        self._choice.look(self.pool._generation)

    def _told(self, visit: Visit) -> None:
        visit.is_asking = False
        assert self.loop.now <= self._deadline(visit) + PRECISION, "told too late"

    def _deadline(self, visit: Visit) -> float:
        if visit.timeout is None:
            return self._everybody_told_by
        jumped = self.jumped_seconds - visit.jumped_before
        return visit.asked_at + visit.timeout + jumped

    def _check_choice(self, visit: Visit, connection: SharedTransportConnection[Transport]) -> None:
        """Rule 1 and rule 4, of a place that was given at once."""
        generation = visit.lease._generation
        assert not any(not place.done() for place in generation.waiters.line or ()), "past those in line"
        assert connection.state is ConnectionState.READY
        self._choice.check(connection, generation)
        if self.scenario.can_tell and not self.scenario.faults.blindness:
            assert connection.transport not in self.connector.dead

    def _note_close(self, transport: Transport) -> None:
        """Rule 6: a connection with clients is closed only when the pool closes and does not wait for them any more."""
        if transport.times_closed:
            self._violations.append(f"{transport} is closed again")
        generation = self.pool._generation
        for visit in self.visits:
            connection = visit.connection
            if connection is not None and connection.transport is transport:
                drained = None if generation is None else generation._drained
                if drained is None or not drained.done():
                    self._violations.append(f"{transport} is closed under a client")

    # What holds ----------------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check every rule after a step, and then perhaps do something before the next."""
        assert self._violations == []
        generation = self.pool._generation
        if self.trace.is_kept:
            self.trace.note_state(repr(self.pool))
        self._check_state(generation)
        self._check_places(self.pool.connections)
        self._check_transports(generation)
        self._check_growth(generation)
        self._choice.look(generation)
        self._aim.look(generation, somebody_asked=self._asked_in_step == self.loop.step)
        self._pauses.look(generation)
        self._retirements.look(generation, self.loop.now)
        self._check_line(generation)
        if not self._is_calm:
            self._interfere()

    def _check_state(self, generation: Generation[Transport] | None) -> None:
        """The pool's state agrees with what it holds."""
        pool, state = self.pool, self.pool.state
        assert (generation is not None) == (state is PoolState.OPEN or state is PoolState.CLOSING)
        assert pool._serving is (generation if state is PoolState.OPEN else None)
        assert (pool._closing is not None) == (state is PoolState.CLOSING)
        if generation is not None and state is PoolState.CLOSING:
            assert all(place.done() for place in generation.waiters.line or ()), "waits for a pool that is closing"

    def _check_places(self, connections: tuple[SharedTransportConnection[Transport], ...]) -> None:
        """Each place is held by exactly one caller, on the connection that counts it."""
        held = dict.fromkeys(connections, 0)
        for visit in self.visits:
            connection = visit.connection
            if connection in held:
                held[connection] += 1
        for connection, clients in held.items():
            assert connection.current_client_count == clients, f"{connection!r} has {clients}"
        invariants.check(self.pool, leases=sum(held.values()))

    def _check_transports(self, generation: Generation[Transport] | None) -> None:
        """What create() has returned is closed, or in the pool, or about to be closed by a task of the pool."""
        lost = self.connector.open.copy()
        closing = 0
        if generation is not None:
            for connection in generation.ledger:
                assert connection.transport in lost, "a connection is ready and closed"
                del lost[connection.transport]
            for connection in generation.draining:
                lost.pop(connection.transport, None)
            if lost:
                for connection in generation.tasks.opening:
                    if hasattr(connection, "transport"):
                        lost.pop(connection.transport, None)
                closing = sum(": close " in task.get_name() for task in generation.tasks._tasks)
        assert len(lost) <= closing, f"{list(lost)} are lost"

    def _check_growth(self, generation: Generation[Transport] | None) -> None:
        """Rule 9: there get to be more than ``max_size``, replacements apart, only while somebody waits."""
        lasting = 0
        if generation is not None:
            replacements = 1 if generation.retirement.due and generation.tasks.opening else 0
            lasting = len(generation.ledger) + len(generation.tasks.opening) - replacements
            if lasting > max(self._lasting, generation.limits.max_size):
                # Who is refused at once, and in an eager world many another, has waited within one step.
                may_wait_unseen = self.scenario.is_eager or self.scenario.sizes["max_waiting"] is not None
                waited = may_wait_unseen and self._asked_in_step == self.loop.step
                assert generation.waiters or waited or not self._line.was_empty, (
                    "grows beyond max_size, and nobody waits"
                )
        self._lasting = lasting

    def _check_line(self, generation: Generation[Transport] | None) -> None:
        """Who waits is served in order, by a connection that works, and no more wait than may."""
        line = () if generation is None else generation.waiters.line or ()
        max_waiting = self.scenario.sizes["max_waiting"]
        assert max_waiting is None or len(line) <= max_waiting, "more wait than may"
        for connection in self._line.look(line):
            if self.scenario.can_tell and not self.scenario.faults.blindness:
                assert connection.transport not in self.connector.dead, "a dead connection is handed over"

    def check_blocked(self) -> None:
        """Check that what had to be done at this time has been done."""
        now = self.loop.now
        for visit in self.visits:
            if visit.is_asking:
                assert now <= self._deadline(visit) + PRECISION, "waits longer than it should"
        assert now <= self._everybody_told_by, "somebody goes on for ever"
        invariants.check_at_rest(self.pool)

    def check_end(self) -> None:
        """Check that nothing is left of a pool that was closed."""
        stats = self.pool.stats()
        assert stats.state is PoolState.CLOSED
        assert (stats.ready, stats.opening, stats.draining, stats.clients, stats.waiting) == (0, 0, 0, 0, 0)
        assert stats.totals.opened == stats.totals.closed
        assert not self.visits
        invariants.every_connection_was_closed_exactly_once(self.connector)
