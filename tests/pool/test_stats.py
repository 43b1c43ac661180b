"""What a pool shows of itself: the snapshot, the totals, the repr."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.pool import ConnectionState, ConnectionStats, PoolState, PoolTotals
from tests.support.clients import admit
from tests.support.virtual_time import let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    from tests.support.pools import MakePool
    from tests.support.scripted_connector import ScriptedConnector


async def test_a_new_pool_shows_its_sizes_and_nothing_else(make_pool: MakePool) -> None:
    """The snapshot of a pool that was never opened has its name and limits, and zero everywhere."""
    stats = make_pool(name="orders", min_size=1, max_size=2, burst_limit=3, client_limit=4).stats()
    assert (stats.name, stats.state) == ("orders", PoolState.NEW)
    assert (stats.min_size, stats.max_size, stats.burst_limit, stats.client_limit) == (1, 2, 3, 4)
    assert (stats.ready, stats.opening, stats.draining, stats.clients, stats.waiting) == (0, 0, 0, 0, 0)
    assert (stats.is_full, stats.is_failing, stats.last_error, stats.connections) == (False, False, None, ())
    assert stats.totals == PoolTotals(0, 0, 0, 0, 0, 0, 0)


async def test_a_snapshot_shows_every_connection(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """READY ones in the order of choice, then DRAINING ones, with their clients and times; a snapshot does not change."""
    pool = make_pool(client_limit=2, max_size=3, min_size=2)
    await pool.open()
    first, second = await admit(pool, 2)
    await let_time_pass(3)
    second.leave()
    pool.expire(first.transport)
    await let_time_pass(1)
    connector.create_seconds = None
    draining = pool.connections[-1]
    stats = pool.stats()
    assert (stats.ready, stats.draining, stats.clients) == (2, 1, 1)
    assert stats.connections[0] == ConnectionStats(pool.connections[0].id, ConnectionState.READY, 0, 1.0, 4.0)
    assert stats.connections[-1] == ConnectionStats(draining.id, ConnectionState.DRAINING, 1, 0.0, 4.0)
    first.leave()
    assert stats.clients == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.clients = 2  # type: ignore[misc]


async def test_totals_count_what_happened(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Checkouts of every kind, openings and closings, failures, time-outs and waits are each counted once."""
    pool = make_pool(client_limit=1, max_size=1)
    (holder,) = await admit(pool)
    (waiter,) = await admit(pool)
    await admit(pool, timeout=1)
    await let_time_pass(1)
    holder.leave()
    await wait_until_blocked()
    waiter.leave()
    async with pool.get():
        pass
    pool.expire(pool.connections[0])
    connector.create_error = OSError()
    await admit(pool)
    connector.create_error = None
    await let_time_pass(1)
    assert pool.stats().totals == PoolTotals(
        checkouts=3, opened=2, closed=1, open_failures=1, timeouts=1, waited=4, reported_errors=0
    )


async def test_full_is_when_max_size_connections_have_no_room(make_pool: MakePool) -> None:
    """One full connection of two is not a full pool; both are."""
    pool = make_pool(client_limit=1, max_size=2)
    await admit(pool)
    assert not pool.stats().is_full
    clients = await admit(pool)
    assert pool.stats().is_full
    clients[0].leave()
    assert not pool.stats().is_full


async def test_the_repr_says_everything(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """One line with the name, the state and the counts."""
    pool = make_pool(name="orders", client_limit=1, max_size=2)
    assert repr(make_pool()) == "<ConnectionPool NEW, ready=0, opening=0, draining=0, clients=0, waiting=0>"
    (client,) = await admit(pool)
    pool.expire(client.transport)
    await wait_until_blocked()
    connector.create_seconds = None
    await admit(pool, 2)
    assert repr(pool) == "<ConnectionPool 'orders' OPEN, ready=1, opening=1, draining=1, clients=2, waiting=1>"


async def test_connections_and_their_count(make_pool: MakePool) -> None:
    """``connections`` has the READY, in the order of choice, and the DRAINING; the count has the READY alone."""
    pool = make_pool(client_limit=2, max_size=2, min_size=2)
    assert (pool.connections, pool.ready_connection_count) == ((), 0)
    await pool.open()
    (client,) = await admit(pool)
    assert [connection.current_client_count for connection in pool.connections] == [0, 1]
    pool.expire(client.transport)
    assert [connection.state for connection in pool.connections] == [ConnectionState.READY, ConnectionState.DRAINING]
    assert pool.ready_connection_count == 1
