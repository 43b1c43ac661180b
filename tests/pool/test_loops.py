"""A pool belongs to one event loop at a time; what happens on another, on one that is gone, and on one with eager tasks."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool.errors import ConnectionFailed, PoolClosed, WrongLoopError
from fastapi_azure_pool.pool import ConnectionPool, ConnectionState, PoolState
from tests.support import invariants
from tests.support.clients import Client, admit
from tests.support.eager_tasks import eager_task_factory
from tests.support.scripted_connector import ScriptedConnector, TellingConnector, Transport
from tests.support.virtual_time import VirtualTimeLoop, let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from tests.support.pools import MakePool


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a loop of its own, which is gone afterwards."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work)


@pytest.fixture
def two_loops() -> Iterator[tuple[VirtualTimeLoop, VirtualTimeLoop]]:
    """Two loops of one thread, neither closed."""
    loops = VirtualTimeLoop(), VirtualTimeLoop()
    yield loops
    for loop in loops:
        loop.close()


async def use(pool: ConnectionPool[Transport]) -> None:
    """Take a place and give it back."""
    async with pool.get():
        pass


@pytest.mark.parametrize("operation", [use, ConnectionPool[Transport].open, ConnectionPool[Transport].close])
async def test_a_loop_in_another_thread_is_refused(make_pool: MakePool, operation: Any) -> None:
    """While the pool is open on one loop, another running loop gets WrongLoopError, and the pool is unharmed."""
    pool = make_pool(min_size=1, name="orders")
    await pool.open()
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            run(operation(pool))
        except WrongLoopError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    (error,) = errors
    assert isinstance(error, WrongLoopError)
    assert error.pool == "orders"
    assert "pool 'orders' is open on another event loop" in str(error)
    invariants.check(pool, leases=0)
    await use(pool)


@pytest.mark.parametrize("operation", [use, ConnectionPool[Transport].open, ConnectionPool[Transport].close])
def test_another_loop_of_the_same_thread_is_refused(
    two_loops: tuple[VirtualTimeLoop, VirtualTimeLoop], operation: Any
) -> None:
    """A loop that is not closed may run again, so its pool is not given to another, though it does not run now."""
    first, second = two_loops
    pool = ConnectionPool(ScriptedConnector())
    first.run_until_complete(use(pool))
    with pytest.raises(WrongLoopError):
        second.run_until_complete(operation(pool))
    first.run_until_complete(use(pool))
    first.run_until_complete(pool.close())


def test_a_closed_pool_opens_on_any_loop(two_loops: tuple[VirtualTimeLoop, VirtualTimeLoop]) -> None:
    """close() frees the pool from its loop."""
    connector = ScriptedConnector()
    pool = ConnectionPool(connector, min_size=1)
    for loop in (*two_loops, two_loops[0]):
        loop.run_until_complete(pool.open())
        loop.run_until_complete(use(pool))
        loop.run_until_complete(pool.close())
    assert len(connector.created) == 3
    invariants.every_connection_was_closed_exactly_once(connector)


def test_a_pool_whose_loop_is_gone_works_anew_and_warns() -> None:
    """Using it gives a ResourceWarning; what the old loop held counts as closed, and the totals go on."""
    connector = ScriptedConnector()
    pool = ConnectionPool(connector, client_limit=1, name="orders")
    stale: list[Client] = []

    async def take_and_forget() -> None:
        stale.extend(await admit(pool, 2))
        pool.expire(stale[1].transport)

    async def use_again() -> None:
        with pytest.warns(ResourceWarning, match=r"'orders' OPEN, ready=2.* was not closed before its event loop was"):
            (client,) = await admit(pool)
        stale[0].leave(OSError())
        stale[1].leave(OSError())
        invariants.check(pool, leases=1)
        client.leave()
        assert pool.stats().totals.checkouts == 3
        await pool.close()

    run(take_and_forget())
    lost = pool.connections
    run(use_again())
    assert {connection.state for connection in lost} == {ConnectionState.CLOSED}
    assert [transport.times_closed for transport in connector.created] == [0, 0, 0, 1]


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_where_warnings_are_errors_the_second_use_works() -> None:
    """The warning for a loop that is gone is raised once; the pool has forgotten the loop all the same."""
    pool = ConnectionPool(ScriptedConnector())
    run(use(pool))
    with pytest.raises(ResourceWarning):
        run(use(pool))

    async def use_and_close() -> None:
        await use(pool)
        await pool.close()

    run(use_and_close())
    assert pool.state is PoolState.CLOSED


def test_closing_a_pool_whose_loop_is_gone_closes_it() -> None:
    """close() on a new loop gives the ResourceWarning, and the pool is CLOSED."""
    pool = ConnectionPool(ScriptedConnector())
    run(use(pool))
    with pytest.warns(ResourceWarning):
        run(pool.close())
    assert pool.state is PoolState.CLOSED


def test_what_a_loop_held_that_is_gone_is_not_retired() -> None:
    """A transport that reports an error after its loop has gone, and whoever expires it, is ignored."""
    connector = ScriptedConnector()
    connector.fatal = (OSError,)
    pool = ConnectionPool(connector)
    run(use(pool))
    pool.report(connector.created[0], OSError())
    pool.expire(connector.created[0])
    assert connector.closed == []


@pytest.mark.parametrize("stage", ["create_seconds", "ready_seconds"])
def test_a_loop_closed_over_an_opening_disturbs_nobody(stage: str) -> None:
    """A loop that is closed with its tasks unfinished leaves an opening behind, which ends without a word."""
    connector = ScriptedConnector()
    setattr(connector, stage, None)
    pool = ConnectionPool(connector)
    loop = VirtualTimeLoop()
    waiting = loop.create_task(use(pool))
    loop.run_until_complete(wait_until_blocked())
    (opening,) = pool._generation.tasks.opening  # type: ignore[union-attr]
    loop.close()

    async def use_again() -> None:
        with pytest.warns(ResourceWarning):
            await pool.open()
        setattr(connector, stage, 0)
        await use(pool)
        nonlocal waiting
        del waiting
        gc.collect()
        invariants.check(pool, leases=0)
        assert pool.ready_connection_count == 1
        await pool.close()

    run(use_again())
    assert opening.state is ConnectionState.CLOSED


def test_a_loop_closed_over_retirements_disturbs_nobody() -> None:
    """What was being closed in the background ends without a word: nobody opens a successor on a loop that is gone."""
    connector = ScriptedConnector()
    connector.close_seconds = None
    pool = ConnectionPool(connector, client_limit=1, max_size=1)
    loop = VirtualTimeLoop()
    for _ in range(3):
        loop.run_until_complete(use(pool))
        pool.expire(connector.created[-1])
    waiting = loop.create_task(use(pool))
    loop.run_until_complete(wait_until_blocked())
    assert (pool.stats().draining, pool.stats().waiting) == (3, 1)  # At the cap, so that a closing makes room.
    loop.close()
    del waiting, pool
    gc.collect()
    assert {complaint["message"] for complaint in loop.complaints} == {"Task was destroyed but it is pending!"}


@pytest.mark.parametrize("drain_seconds", [0, 10], ids=["closing connections", "waiting for clients"])
def test_a_loop_closed_over_a_close_disturbs_nobody(drain_seconds: float) -> None:
    """A close that its loop did not live to end does not close what the pool has opened on the next."""
    connector = ScriptedConnector()
    connector.close_seconds = None
    pool = ConnectionPool(connector)
    loop = VirtualTimeLoop()
    loop.run_until_complete(pool.get().__aenter__())
    closing = loop.create_task(pool.close(drain_seconds))
    loop.run_until_complete(wait_until_blocked())
    assert pool.state is PoolState.CLOSING
    loop.close()
    connector.close_seconds = 0

    async def use_again() -> None:
        with pytest.warns(ResourceWarning):
            await use(pool)
        nonlocal closing
        del closing
        gc.collect()
        assert (pool.state, pool.ready_connection_count) == (PoolState.OPEN, 1)
        await pool.close()

    run(use_again())


@pytest.fixture(params=["lazy", "eager"])
async def with_eager_tasks(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Run tasks lazily, and eagerly: what need not wait is then finished within create_task()."""
    loop = asyncio.get_running_loop()
    if request.param == "eager":
        loop.set_task_factory(eager_task_factory)
    yield
    loop.set_task_factory(None)


@pytest.mark.usefixtures("with_eager_tasks")
async def test_openings_that_need_not_wait_stay_within_the_limits(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """create() that returns at once is called as often as callers need it, and serves them in order."""
    pool = make_pool(client_limit=2, max_size=3, min_size=2, max_concurrent_creates=3)
    await pool.open()
    assert connector.begun == 2
    clients = await admit(pool, 7)
    assert (connector.begun, pool.stats().clients, pool.stats().waiting) == (3, 6, 1)
    clients[0].leave()
    await wait_until_blocked()
    assert clients[6].has_place
    invariants.check(pool, leases=6)


@pytest.mark.usefixtures("with_eager_tasks")
async def test_failures_that_need_not_wait_back_off(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """create() and ready() that fail at once are tried again after a pause, not in a circle."""
    connector.ready_answer = False
    pool = make_pool(client_limit=1, max_size=3, max_concurrent_creates=3)
    for client in await admit(pool, 3):
        assert isinstance(client.error, ConnectionFailed)
    assert connector.begun <= 3
    connector.ready_answer = True
    await let_time_pass(1)
    assert pool.ready_connection_count == 1


@pytest.mark.usefixtures("with_eager_tasks")
async def test_who_is_being_served_is_told_that_the_last_hope_has_gone(make_pool: MakePool) -> None:
    """The one connection is found dead as it is handed over, and its successor fails at once: nobody is left in line."""

    class DeadWhenChosen(TellingConnector):
        def is_closed(self, connection: Transport) -> bool:
            self.create_seconds, self.create_error = 0, OSError()
            self.times_asked += 1
            return self.times_asked > 1

    pool = make_pool(connector := DeadWhenChosen())
    connector.create_seconds = 1
    clients = await admit(pool, 2)
    await let_time_pass(1)
    assert [type(client.error) for client in clients] == [ConnectionFailed, ConnectionFailed]
    assert pool.stats().waiting == 0


@pytest.mark.usefixtures("with_eager_tasks")
async def test_retirement_that_need_not_wait_keeps_the_counts(make_pool: MakePool) -> None:
    """Connections that close at once are replaced, shrunk and probed like others."""
    connector = TellingConnector()
    connector.probe_seconds = 7
    pool = make_pool(connector, client_limit=1, max_size=4, min_size=2, max_idle_seconds=50, max_lifespan_seconds=60)
    clients = await admit(pool, 4)
    for client in clients:
        client.leave()
    for second in range(300):
        if second % 40 == 0:
            connector.dead.add(pool.connections[0].transport)
        await let_time_pass(1)
        invariants.check(pool, leases=0)
        assert pool.ready_connection_count >= 2
    assert pool.ready_connection_count == 2


@pytest.mark.usefixtures("with_eager_tasks")
async def test_closing_what_need_not_wait(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """close() of a pool without connections, and with ones that close at once, ends, and the pool opens again."""
    pool = make_pool()
    for _ in range(2):
        await pool.open()
        await pool.close()
        assert pool.state is PoolState.CLOSED
    await pool.open()
    await use(pool)
    await pool.close()
    invariants.every_connection_was_closed_exactly_once(connector)


@pytest.mark.usefixtures("with_eager_tasks")
async def test_a_connector_that_closes_its_own_pool_gets_its_way(make_pool: MakePool) -> None:
    """A create() that awaits the pool's close() is cancelled, or outlived, and what it returns is closed."""

    class Closing(ScriptedConnector):
        async def create(self) -> Transport:
            await pool.close(0)
            return await super().create()

    pool = make_pool(connector := Closing(), close_timeout=1)
    (client,) = await admit(pool)
    await let_time_pass(3)
    assert isinstance(client.error, PoolClosed)
    assert pool.state is PoolState.CLOSED
    invariants.every_connection_was_closed_exactly_once(connector)
