"""How a pool closes: who waits, what is opening, who holds a connection, and what a second call changes."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool.errors import PoolClosed
from fastapi_azure_pool.pool import ConnectionState, PoolState
from tests.support import invariants
from tests.support.clients import Client, admit
from tests.support.scripted_connector import ScriptedConnector, Transport
from tests.support.virtual_time import let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    from tests.support.pools import MakePool


def now() -> float:
    """Seconds on the loop's clock."""
    return asyncio.get_running_loop().time()


async def test_a_pool_goes_from_new_to_open_to_closing_to_closed(make_pool: MakePool) -> None:
    """The states follow one another in this order, and only a NEW pool opens itself."""
    pool = make_pool()
    states = [pool.state]
    (client,) = await admit(pool)
    states.append(pool.state)
    closing = asyncio.create_task(pool.close())
    await wait_until_blocked()
    states.append(pool.state)
    client.leave()
    await closing
    states.append(pool.state)
    assert states == [PoolState.NEW, PoolState.OPEN, PoolState.CLOSING, PoolState.CLOSED]
    assert isinstance((await admit(pool))[0].error, PoolClosed)


async def test_closing_closes_every_connection_once(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """By the end of close(), each connection that create() returned has been closed exactly once, and all at the same time."""
    pool = make_pool(min_size=5, max_size=5)
    await pool.open()
    connector.close_seconds = 3
    started = now()
    await pool.close()
    assert now() - started == 3
    invariants.every_connection_was_closed_exactly_once(connector)
    assert (pool.state, pool.connections, pool.ready_connection_count) == (PoolState.CLOSED, (), 0)


async def test_async_with_opens_and_closes(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Within ``async with pool`` it is filled and open; afterwards it is closed."""
    pool = make_pool(min_size=2)
    async with pool as entered:
        assert entered is pool
        assert pool.ready_connection_count == 2
    assert len(connector.closed) == 2
    assert pool.state is PoolState.CLOSED


async def test_who_waits_is_sent_away_at_once(make_pool: MakePool) -> None:
    """Closing tells everyone in line before it waits for anyone else, and who comes meanwhile is refused."""
    pool = make_pool(client_limit=1, max_size=1, name="orders")
    (holder,) = await admit(pool)
    waiters = await admit(pool, 3)
    closing = asyncio.create_task(pool.close())
    await wait_until_blocked()
    for client in (*waiters, *await admit(pool)):
        assert isinstance(client.error, PoolClosed)
        assert client.error.pool == "orders"
        assert "pool 'orders' is closing" in str(client.error)
    holder.leave()
    await closing
    assert "is closed" in str((await admit(pool))[0].error)


async def test_who_opens_a_pool_that_is_closed_meanwhile_is_told(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """open() raises PoolClosed when the pool is closed before it is filled."""
    connector.create_seconds = 10
    pool = make_pool(min_size=1)
    opening = asyncio.create_task(pool.open())
    await wait_until_blocked()
    await pool.close()
    with pytest.raises(PoolClosed):
        await opening


async def test_clients_may_finish_within_drain_seconds(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Who holds a connection keeps it, and the pool is closed the moment the last one leaves."""
    pool = make_pool(client_limit=2)
    first, second, third = await admit(pool, 3)
    started = now()
    closing = asyncio.create_task(pool.close(drain_seconds=10))
    await let_time_pass(3)
    third.leave()
    await wait_until_blocked()
    assert [transport.number for transport in connector.closed] == [1]
    first.leave()
    await let_time_pass(1)
    assert first.transport.times_closed == 0
    second.leave()
    await closing
    assert now() - started == 4


async def test_after_drain_seconds_connections_are_closed_under_their_clients(make_pool: MakePool) -> None:
    """When the time is over, what is still in use is closed; giving it back afterwards does nothing."""
    pool = make_pool()
    (client,) = await admit(pool)
    connection = pool.connections[0]
    started = now()
    await pool.close(drain_seconds=10)
    assert now() - started == 10
    assert client.transport.times_closed == 1
    assert (connection.state, connection.current_client_count) == (ConnectionState.CLOSED, 0)
    client.leave()
    client.leave(OSError())
    assert connection.current_client_count == 0


async def test_a_client_that_leaves_a_connection_being_closed_does_not_close_it_again(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Between the end of the drain and the end of close() clients may still leave: the counts follow, and nothing else."""
    connector.close_seconds = 2
    pool = make_pool(client_limit=2)
    clients = await admit(pool, 3)
    closing = asyncio.create_task(pool.close(0))
    await let_time_pass(1)
    clients[0].leave()
    assert pool.stats().clients == 2
    connector.close_seconds = 0
    await closing
    invariants.every_connection_was_closed_exactly_once(connector)


async def test_places_go_with_their_connection(make_pool: MakePool) -> None:
    """While a second connection is still being closed, the clients of the first are no longer counted."""

    class Uneven(ScriptedConnector):
        async def close(self, connection: Transport) -> None:
            await asyncio.sleep(connection.number)
            await super().close(connection)

    pool = make_pool(Uneven(), client_limit=1, max_size=2)
    await admit(pool, 2)
    closing = asyncio.create_task(pool.close(0))
    await wait_until_blocked()
    assert (pool.stats().clients, pool.stats().draining) == (1, 1)
    invariants.check(pool, leases=1)
    await closing


async def test_a_second_close_waits_for_the_first_and_may_shorten_it(make_pool: MakePool) -> None:
    """Two closes end together, at the earlier of their limits."""
    pool = make_pool()
    (client,) = await admit(pool)
    started = now()
    patient = asyncio.create_task(pool.close(drain_seconds=100))
    await let_time_pass(5)
    await pool.close(drain_seconds=2)
    await patient
    assert now() - started == 7
    assert client.transport.times_closed == 1


async def test_a_second_close_does_not_lengthen_the_first(make_pool: MakePool) -> None:
    """A longer drain than the one that runs changes nothing."""
    pool = make_pool()
    await admit(pool)
    started = now()
    first = asyncio.create_task(pool.close(drain_seconds=3))
    await wait_until_blocked()
    await pool.closeall(drain_seconds=50)
    await first
    assert now() - started == 3


async def test_closing_leaves_no_timer(make_pool: MakePool) -> None:
    """When everything is closed early, the timer of drain_seconds goes too, and the pool's own alarm."""
    pool = make_pool(max_lifespan_seconds=100)
    async with pool.get():
        pass
    await pool.close(drain_seconds=1000)
    live = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert live == []


async def test_closing_goes_on_when_its_caller_is_cancelled(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """A cancelled close() raises CancelledError at once, and the pool closes by itself."""
    connector.close_seconds = 2
    pool = make_pool()
    async with pool.get():
        pass
    closing = asyncio.create_task(pool.close())
    await wait_until_blocked()
    closing.cancel()
    await wait_until_blocked()
    assert closing.cancelled()
    states = [pool.state]
    await let_time_pass(2)
    states.append(pool.state)
    assert states == [PoolState.CLOSING, PoolState.CLOSED]
    invariants.every_connection_was_closed_exactly_once(connector)


async def test_closing_cancels_what_is_opening(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """create() that has not returned is cancelled, and closing does not wait for its time-out."""
    connector.create_seconds = None
    pool = make_pool(client_limit=1, max_size=3, max_concurrent_creates=3)
    await admit(pool, 3)
    assert connector.in_flight == 3
    started = now()
    await pool.close()
    assert (connector.in_flight, connector.created, now() - started) == (0, [], 0)
    assert pool.stats().totals.open_failures == 0


async def test_closing_closes_what_create_had_returned(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """A connection whose ready() is cancelled by closing is closed, before close() returns."""
    connector.ready_seconds = None
    pool = make_pool()
    await admit(pool)
    assert len(connector.created) == 1
    connector.close_seconds = 1
    await pool.close()
    invariants.every_connection_was_closed_exactly_once(connector)


async def test_closing_forgets_what_had_not_begun_to_open(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """An opening that is cancelled before its first step is CLOSED like another, also while clients drain."""
    pool = make_pool(client_limit=1)
    (holder,) = await admit(pool)
    waiter = Client(pool)
    await asyncio.sleep(0)
    (opening,) = pool._generation.tasks.opening  # type: ignore[union-attr]
    seen = []
    asyncio.get_running_loop().call_later(1, lambda: seen.append((pool.stats().opening, opening.state)))
    asyncio.get_running_loop().call_later(2, holder.leave)
    await pool.close()
    assert seen == [(0, ConnectionState.CLOSED)]
    assert isinstance(waiter.error, PoolClosed)
    assert connector.begun == 1


async def test_a_connection_that_opens_in_spite_of_its_cancellation_is_closed(make_pool: MakePool) -> None:
    """A ready() that swallows its cancellation delivers a connection nobody wants: it is closed before close() returns."""

    class Stubborn(ScriptedConnector):
        async def ready(self, connection: Transport) -> bool:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
            return True

    connector = Stubborn()
    (waiter,) = await admit(pool := make_pool(connector))
    await pool.close()
    assert isinstance(waiter.error, PoolClosed)
    invariants.every_connection_was_closed_exactly_once(connector)


async def test_closing_gives_up_on_tasks_that_ignore_their_cancellation(
    make_pool: MakePool, connector: ScriptedConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """A close() of the connector that cannot be ended holds the pool up for twice close_timeout, and is named in the log."""
    connector.close_ignores_cancellation = True
    pool = make_pool(close_timeout=2, name="orders")
    (client,) = await admit(pool)
    connection_id = pool.connections[0].id
    client.leave()
    started = now()
    await pool.close()
    assert now() - started == 4
    assert pool.state is PoolState.CLOSED
    assert (
        f"gave up after 4.0 s on tasks that ignore their cancellation: pool orders: close {connection_id}"
        in caplog.text
    )
    connector.let_go.set()
    await wait_until_blocked()


async def test_closing_survives_a_close_that_raises(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """What the connector's close() raises reaches nobody, and the others are closed."""
    connector.close_error = OSError("gone")
    pool = make_pool(min_size=2)
    await pool.open()
    await pool.close()
    invariants.every_connection_was_closed_exactly_once(connector)


async def test_closing_a_pool_that_was_never_opened_closes_it(make_pool: MakePool) -> None:
    """A NEW pool that is closed does not open itself any more; closing it again does nothing."""
    pool = make_pool()
    await pool.close()
    await pool.close()
    assert pool.state is PoolState.CLOSED
    assert isinstance((await admit(pool))[0].error, PoolClosed)


async def test_a_closed_pool_can_be_opened_again(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """open() after close() gives a pool as good as new; its totals go on."""
    pool = make_pool(min_size=1)
    for generation in range(1, 4):
        await pool.open()
        async with pool.get() as transport:
            assert transport.number == generation - 1
        await pool.close()
        totals = pool.stats().totals
        assert (totals.checkouts, totals.opened, totals.closed) == (generation,) * 3


async def test_opening_while_closing_waits_and_opens_again(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Several open() calls during a close wait for its end, and then open the pool once."""
    connector.close_seconds = 3
    pool = make_pool(min_size=1)
    await pool.open()
    closing = asyncio.create_task(pool.close())
    await wait_until_blocked()
    started = now()
    await asyncio.gather(pool.open(), pool.open())
    assert now() - started == 3
    assert closing.done()
    assert (pool.state, pool.ready_connection_count, connector.begun) == (PoolState.OPEN, 1, 2)


async def test_opening_that_is_given_up_while_closing_does_not_disturb_the_close(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """open() whose time runs out during a close raises PoolClosed, and the close goes on."""
    connector.close_seconds = 3
    pool = make_pool(min_size=1)
    await pool.open()
    closing = asyncio.create_task(pool.close())
    await wait_until_blocked()
    with pytest.raises(PoolClosed, match="is closing"):
        await pool.open(timeout=1)
    await closing
    assert pool.state is PoolState.CLOSED


async def test_a_stale_checkin_does_nothing_to_the_next_generation(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A place taken before close(0) and given back after reopening, even with a fatal error, changes nothing."""
    connector.fatal = (OSError,)
    pool = make_pool(client_limit=2, min_size=1)
    stale = await admit(pool, 2)
    await pool.close(0)
    await pool.open()
    (client,) = await admit(pool)
    stale[0].leave()
    stale[1].leave(OSError())
    invariants.check(pool, leases=1)
    assert (pool.ready_connection_count, pool.stats().draining) == (1, 0)
    client.leave()
    invariants.check(pool, leases=0)


async def test_a_stale_checkin_of_a_connection_still_closing_does_nothing_to_the_next_generation(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Also where the old connection is not closed yet, because its close() cannot be ended."""
    connector.close_ignores_cancellation = True
    pool = make_pool(close_timeout=1)
    (stale,) = await admit(pool)
    await pool.close(0)
    await pool.open()
    (client,) = await admit(pool)
    stale.leave(OSError())
    invariants.check(pool, leases=1)
    connector.let_go.set()
    client.leave()
    await wait_until_blocked()
    invariants.check(pool, leases=0)


@pytest.mark.parametrize("drain_seconds", [-1, math.nan, None, "5"])
async def test_a_drain_that_is_no_time_is_refused(make_pool: MakePool, drain_seconds: Any) -> None:
    """A wrong drain_seconds raises ValueError that says what to write, and the pool stays open."""
    pool = make_pool()
    (holder,) = await admit(pool)
    with pytest.raises(ValueError, match="drain_seconds must be a number of seconds, at least 0, not"):
        await pool.close(drain_seconds)
    assert (pool.state, holder.has_place) == (PoolState.OPEN, True)
    holder.leave()


async def test_a_drain_without_end_waits_for_the_last_client(make_pool: MakePool) -> None:
    """With drain_seconds infinite, closing waits as long as a client goes on."""
    pool = make_pool()
    (holder,) = await admit(pool)
    closing = asyncio.create_task(pool.close(math.inf))
    await let_time_pass(100_000)
    assert (pool.state, closing.done()) == (PoolState.CLOSING, False)
    holder.leave()
    await closing
    assert pool.state is PoolState.CLOSED
