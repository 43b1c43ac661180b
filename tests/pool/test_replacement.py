"""Rule 5, first half: a connection near the end of its lifespan, or idle but needed, leaves when its successor is ready."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.pool import ConnectionState
from tests.support import invariants
from tests.support.clients import admit
from tests.support.virtual_time import let_time_pass, virtual_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.pools import MakePool
    from tests.support.scripted_connector import ScriptedConnector


@pytest.fixture
def due_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Fix the parts of their lifespan after which connections fall due, in the order in which they become ready."""

    def fix(*parts: float) -> None:
        remaining = iter(parts)
        monkeypatch.setattr(random, "uniform", lambda low, high: next(remaining) if low else high)

    return fix


async def test_connections_fall_due_at_random_in_the_last_tenth_of_their_lifespan(make_pool: MakePool) -> None:
    """Each falls due at 90 to 100 % of max_lifespan_seconds, spread, so that those opened together do not go together."""
    pool = make_pool(min_size=200, max_size=200, max_concurrent_creates=200, max_lifespan_seconds=1000)
    await pool.open()
    parts = [(connection.retires_at or 0) - (connection.opened_at or 0) for connection in pool.connections]
    assert 900 <= min(parts) < 910
    assert 990 < max(parts) <= 1000
    assert {(connection.expires_at or 0) - (connection.opened_at or 0) for connection in pool.connections} == {1000}


async def test_the_successor_is_ready_before_the_old_one_drains(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None]
) -> None:
    """A due connection stays READY and in choice while its successor is being opened, and drains once that is ready."""
    due_after(0.9, 1.0)
    pool = make_pool(client_limit=10, max_size=1, min_size=1, max_lifespan_seconds=100)
    await pool.open()
    (client,) = await admit(pool)
    connector.create_seconds = 4
    await let_time_pass(90)
    assert (pool.stats().ready, pool.stats().opening) == (1, 1)
    assert (await admit(pool))[0].transport is client.transport
    await let_time_pass(4)
    assert (pool.stats().ready, pool.stats().draining, pool.stats().clients) == (1, 1, 2)
    assert (await admit(pool))[0].transport is connector.created[1]
    assert client.transport.times_closed == 0


@pytest.mark.parametrize("burst_limit", [3, 6])
async def test_one_extra_connection_exists_at_a_full_pool(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None], burst_limit: int
) -> None:
    """With every place of a pool in use and all connections due, they are replaced one by one: that is not a burst."""
    due_after(*[0.9] * 3, *[1.0] * 3)
    pool = make_pool(
        client_limit=1, max_size=3, burst_limit=burst_limit, max_concurrent_creates=3, max_lifespan_seconds=100
    )
    await admit(pool, 3)
    connector.create_seconds = 1
    seen = []
    await let_time_pass(89.5)
    for _ in range(5):
        await let_time_pass(1)
        seen.append((pool.stats().ready, pool.stats().opening, pool.stats().draining))
        invariants.check(pool, leases=3)
    assert seen == [(3, 1, 0), (3, 1, 1), (3, 1, 2), (3, 0, 3), (3, 0, 3)]


async def test_callers_in_line_do_not_hold_a_due_connection_back(
    make_pool: MakePool, due_after: Callable[..., None]
) -> None:
    """Also while callers wait, a due connection drains when its successor is ready: max_size is not exceeded for longer."""
    due_after(0.9, 1.0)
    pool = make_pool(client_limit=1, max_size=1, max_lifespan_seconds=100)
    clients = await admit(pool, 5)
    await let_time_pass(90)
    assert (pool.stats().ready, pool.stats().draining) == (1, 1)
    assert [client.has_place for client in clients] == [True, True, False, False, False]


@pytest.mark.parametrize("burst_limit", [3, 4])
async def test_what_a_burst_has_opened_is_replaced_while_it_is_needed(
    make_pool: MakePool, due_after: Callable[..., None], burst_limit: int
) -> None:
    """A connection above max_size that falls due in use gets a successor like another."""
    due_after(*[0.9] * burst_limit, *[1.0] * burst_limit)
    pool = make_pool(client_limit=1, max_size=2, burst_limit=burst_limit, max_lifespan_seconds=100)
    await admit(pool, burst_limit)
    await let_time_pass(95)
    assert (pool.stats().ready, pool.stats().draining) == (burst_limit, burst_limit)
    invariants.check(pool, leases=burst_limit)


async def test_replacing_one_does_not_make_the_pool_grow(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None]
) -> None:
    """Where fewer connections are left than the recent peak had, a due one still gets one successor and not more."""
    due_after(0.9, *[1.0] * 9)
    pool = make_pool(client_limit=1, max_size=10, max_concurrent_creates=1, max_lifespan_seconds=100)
    for client in await admit(pool, 6):
        client.leave()
    for connection in pool.connections[3:]:
        pool.expire(connection)
    await let_time_pass(95)
    assert (pool.ready_connection_count, connector.begun) == (3, 7)


async def test_a_due_connection_that_nobody_needs_gets_no_successor(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None]
) -> None:
    """A due connection leaves at once when neither min_size nor the recent peak of clients calls for it."""
    due_after(0.9)
    pool = make_pool(max_lifespan_seconds=100, max_idle_seconds=300)
    connector.create_seconds = 2
    await admit(pool, timeout=1)
    await let_time_pass(91)
    assert pool.ready_connection_count == 1
    await let_time_pass(1)
    assert (pool.ready_connection_count, connector.begun) == (0, 1)


async def test_a_due_connection_that_recent_clients_used_gets_a_successor(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None]
) -> None:
    """An idle due connection is replaced when it had clients within the present idle period or the one before."""
    due_after(0.9, 1.0)
    pool = make_pool(max_lifespan_seconds=100, max_idle_seconds=80)
    (client,) = await admit(pool)
    await let_time_pass(79)
    client.leave()
    await let_time_pass(12)
    assert (pool.ready_connection_count, connector.begun, connector.created[0].times_closed) == (1, 2, 1)


async def test_a_failing_successor_leaves_the_old_one_to_the_end_of_its_lifespan(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None]
) -> None:
    """If no successor can be opened, the due connection serves until its lifespan is over, then drains regardless."""
    due_after(0.9, 1.0)
    pool = make_pool(min_size=1, max_lifespan_seconds=100)
    await pool.open()
    (client,) = await admit(pool)
    connector.create_error = OSError("no")
    await let_time_pass(99)
    assert connector.begun > 1
    assert (await admit(pool))[0].transport is client.transport
    await let_time_pass(1)
    assert client.transport.times_closed == 0
    assert (pool.stats().ready, pool.stats().draining, pool.stats().clients) == (0, 1, 2)
    connector.create_error = None
    await let_time_pass(30)
    assert pool.ready_connection_count == 1


async def test_a_failed_successor_is_tried_again_before_the_lifespan_ends(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None]
) -> None:
    """A successor that fails once comes after the back-off, in time."""
    due_after(0.9, 1.0)
    pool = make_pool(min_size=1, max_lifespan_seconds=100)
    await pool.open()
    connector.create_error = OSError("no")
    await let_time_pass(90)
    assert pool.connections[0].transport is connector.created[0]
    connector.create_error = None
    await let_time_pass(0.5)
    assert [connection.transport for connection in pool.connections] == [connector.created[1]]


async def test_an_idle_connection_of_min_size_is_replaced_first(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Idle for max_idle_seconds and needed by min_size: it stays until its successor is ready, and has drained then."""
    pool = make_pool(min_size=1, max_idle_seconds=100)
    await pool.open()
    connector.create_seconds = 5
    await let_time_pass(99)
    assert connector.begun == 1
    await let_time_pass(1)
    assert (pool.stats().ready, pool.stats().opening) == (1, 1)
    await let_time_pass(5)
    assert [connection.transport for connection in pool.connections] == [connector.created[1]]
    assert connector.created[0].times_closed == 1


async def test_idle_connections_of_min_size_are_replaced_side_by_side_where_there_is_room(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Several that fall due together each get one successor, and min_size stays ready throughout."""
    pool = make_pool(min_size=3, max_size=10, max_idle_seconds=100)
    await pool.open()
    connector.create_seconds = 1
    await let_time_pass(100)
    assert (pool.stats().ready, pool.stats().opening) == (3, 3)
    await let_time_pass(1)
    assert (pool.stats().ready, connector.begun) == (3, 6)
    assert [transport.number for transport in connector.closed] == [0, 1, 2]


async def test_replacing_goes_on_for_ever_one_for_one(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Over a day, a pool of two is replaced as often as its lifespan asks, and the timers never spin."""
    pool = make_pool(min_size=2, max_size=2, max_idle_seconds=None, max_lifespan_seconds=3600, close_timeout=1)
    await pool.open()
    for _ in range(24 * 60):
        await let_time_pass(60)
        assert pool.ready_connection_count == 2
        invariants.check(pool, leases=0)
    assert 2 * 24 <= connector.begun <= 2 * (24 / 0.9 + 1)


async def test_a_replacement_waits_its_turn_behind_a_drain(make_pool: MakePool, due_after: Callable[..., None]) -> None:
    """A connection that is retired while due is no longer due: its successor counts once."""
    due_after(0.9, 1.0, 1.0)
    pool = make_pool(client_limit=1, max_size=2, max_lifespan_seconds=100)
    (client,) = await admit(pool)
    pool._connector.create_seconds = 1  # type: ignore[attr-defined]
    await let_time_pass(90)
    pool.expire(client.transport)
    assert [connection.state for connection in pool.connections] == [ConnectionState.DRAINING]
    await let_time_pass(1)
    assert (pool.stats().ready, pool.stats().opening, pool.stats().draining) == (1, 0, 1)


async def test_what_has_waited_at_the_cap_leaves_when_the_opening_that_filled_it_has_failed(
    make_pool: MakePool, connector: ScriptedConnector, due_after: Callable[..., None]
) -> None:
    """A connection whose lifespan ends at the cap drains as soon as there is room, not after the pause before the next attempt."""
    due_after(1.0, 0.9)
    pool = make_pool(client_limit=1, max_size=1, max_lifespan_seconds=10)
    (first,) = await admit(pool)
    pool.expire(first.transport)
    await admit(pool)
    connector.create_seconds, connector.create_error = 5, OSError()
    await let_time_pass(10)
    assert (pool.stats().ready, pool.stats().opening, pool.stats().draining) == (1, 1, 1)
    await let_time_pass(4)
    assert pool.stats().totals.open_failures == 1
    assert (pool.stats().ready, pool.stats().opening, pool.stats().draining) == (0, 0, 2)


async def test_what_is_too_old_and_too_long_idle_at_once_is_not_replaced(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """After a time in which the process was suspended, connections that nobody needs leave, and no successors come."""
    pool = make_pool(client_limit=1, max_size=2, max_concurrent_creates=2, max_idle_seconds=5, max_lifespan_seconds=10)
    for client in await admit(pool, 2):
        client.leave()
    virtual_loop().now += 100
    await let_time_pass(0)
    assert (connector.begun, pool.connections, pool.stats().opening) == (2, (), 0)
