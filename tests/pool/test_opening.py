"""Rules 3 and 9: how many connections the pool opens, when, and for whom."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted
from fastapi_azure_pool.pool import PoolState
from tests.support.clients import Client, admit
from tests.support.virtual_time import let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    from tests.support.pools import MakePool
    from tests.support.scripted_connector import ScriptedConnector, TellingConnector


request_id: ContextVar[str] = ContextVar("request_id")


async def test_fifty_callers_on_an_empty_pool_share_one_opening(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Fifty callers who find an empty pool with client_limit 100 cause one open and share it."""
    connector.create_seconds = 1
    pool = make_pool(client_limit=100)
    clients = await admit(pool, 50)
    assert (connector.begun, pool.stats().waiting) == (1, 50)
    await let_time_pass(1)
    assert {client.transport.number for client in clients} == {0}
    assert connector.begun == 1


async def test_as_many_are_opened_as_the_callers_fill(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """The pool aims at ceil((clients + waiting) / client_limit) connections, and no more."""
    connector.create_seconds = 1
    pool = make_pool(client_limit=10, max_size=10, max_concurrent_creates=10)
    await admit(pool, 20)
    assert connector.begun == 2
    await admit(pool, 1)
    assert connector.begun == 3
    await let_time_pass(1)
    await admit(pool, 9)
    assert connector.begun == 3
    await admit(pool, 1)
    assert connector.begun == 4


async def test_nobody_waits_for_an_opening_connection_while_another_has_room(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Who waited for a connection on its way gets the first place that comes free anywhere."""
    pool = make_pool(client_limit=1, max_size=2)
    (holder,) = await admit(pool)
    connector.create_seconds = None
    (waiter,) = await admit(pool)
    assert pool.stats().opening == 1
    holder.leave()
    await wait_until_blocked()
    assert waiter.transport is holder.transport


async def test_openings_never_exceed_max_size(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """However many wait, READY and OPENING stay within max_size."""
    pool = make_pool(client_limit=1, max_size=3, max_concurrent_creates=9)
    await admit(pool, 20)
    assert (connector.begun, pool.ready_connection_count, pool.stats().waiting) == (3, 3, 17)


async def test_openings_in_flight_stay_within_max_concurrent_creates(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """So many are opened at once, and the next begins when one is done."""
    connector.create_seconds = 1
    pool = make_pool(client_limit=1, max_size=7, max_concurrent_creates=2)
    await admit(pool, 7)
    seen = []
    while pool.ready_connection_count < 7:
        seen.append((pool.ready_connection_count, pool.stats().opening))
        await let_time_pass(1)
    assert seen == [(0, 2), (2, 2), (4, 2), (6, 1)]
    assert connector.most_in_flight == 2


@pytest.mark.parametrize(("max_size", "at_once"), [(1, 1), (5, 1), (10, 3), (30, 10)])
async def test_a_third_of_the_pool_is_opened_at_once_by_default(
    make_pool: MakePool, connector: ScriptedConnector, max_size: int, at_once: int
) -> None:
    """``max_concurrent_creates=None`` means max(max_size // 3, 1)."""
    connector.create_seconds = 1
    await admit(make_pool(client_limit=1, max_size=max_size), 50)
    assert connector.in_flight == at_once


async def test_min_size_is_opened_without_callers(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """``open()`` returns when min_size connections are ready, and no more are opened."""
    connector.create_seconds = 1
    pool = make_pool(min_size=3, max_size=4, max_concurrent_creates=2)
    started = asyncio.get_running_loop().time()
    await pool.open()
    assert asyncio.get_running_loop().time() - started == 2
    assert (connector.begun, pool.ready_connection_count, pool.state) == (3, 3, PoolState.OPEN)
    await pool.open()  # Open and filled: nothing to do.
    assert asyncio.get_running_loop().time() - started == 2


async def test_a_new_pool_opens_itself(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """The first get of a NEW pool opens it, min_size and all."""
    pool = make_pool(min_size=2, client_limit=5)
    async with pool.get():
        assert pool.state is PoolState.OPEN
    await wait_until_blocked()
    assert connector.begun == 2


async def test_a_lost_connection_of_min_size_is_replaced_unasked(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """When one of min_size is retired, its successor is opened without any caller."""
    pool = make_pool(min_size=2)
    await pool.open()
    pool.expire(pool.connections[0])
    await wait_until_blocked()
    assert (connector.begun, pool.ready_connection_count) == (3, 2)


async def test_growth_opens_exactly_one_more(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """While every READY connection carries grow_at clients, one more is opened, not two, and nobody waits for it."""
    connector.create_seconds = 1
    pool = make_pool(client_limit=10, grow_at=3, max_concurrent_creates=5, min_size=1)
    await pool.open()
    await admit(pool, 2)
    assert connector.begun == 1
    clients = await admit(pool, 5)
    assert all(client.transport.number == 0 for client in clients)
    assert connector.begun == 2
    await let_time_pass(1)
    assert (connector.begun, pool.ready_connection_count) == (2, 2)
    assert [client.transport.number for client in await admit(pool, 2)] == [1, 1]
    assert connector.begun == 2
    await admit(pool, 1)
    assert connector.begun == 3


async def test_growth_stops_at_max_size(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Growth, too, stays within max_size."""
    pool = make_pool(client_limit=10, grow_at=1, max_size=2)
    await admit(pool, 12)
    assert (connector.begun, pool.ready_connection_count) == (2, 2)


async def test_who_is_being_served_is_not_taken_for_someone_who_waits(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Growth asked for by the first client of a new connection reckons it once: no burst, no second connection too many."""
    bursting = make_pool(client_limit=2, grow_at=1, max_size=1, burst_limit=2)
    await admit(bursting, 2)
    assert connector.begun == 1
    growing = make_pool(client_limit=4, grow_at=3, max_size=5, max_concurrent_creates=5)
    await admit(growing, 3)
    assert growing.ready_connection_count == 2


async def test_growth_is_off_at_client_limit(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """With grow_at at client_limit, a full pool that nobody waits for opens nothing."""
    pool = make_pool(client_limit=2, grow_at=2, max_size=3)
    await admit(pool, 2)
    assert connector.begun == 1


async def test_the_connector_says_when_to_grow(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """``grow_at=None`` asks the connector, whose number counts as far as client_limit goes; the pool's own comes first."""
    connector.grow_at = 2
    asking = make_pool(client_limit=10)
    await admit(asking, 2)
    assert asking.ready_connection_count == 2
    telling = make_pool(client_limit=10, grow_at=5)
    await admit(telling, 4)
    assert telling.ready_connection_count == 1
    small = make_pool(client_limit=1)
    await admit(small, 1)
    assert small.ready_connection_count == 1


async def test_a_callers_timeout_does_not_cut_an_opening_short(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """An opening that its caller gave up on goes on for as long as create_timeout, and serves the next."""
    connector.create_seconds = 8
    pool = make_pool(create_timeout=10)
    (hasty,) = await admit(pool, timeout=1)
    (cancelled,) = await admit(pool)
    await let_time_pass(1)
    assert isinstance(hasty.error, ConnectionsExhausted)
    cancelled.entering.cancel()
    await let_time_pass(7)
    assert (connector.begun, pool.ready_connection_count) == (1, 1)
    assert (await admit(pool, timeout=0))[0].has_place


async def test_a_connection_that_comes_after_its_caller_stays_though_the_pool_was_long_unused(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """The time over which the pool watches its peak starts anew with a first connection: one opened late is not surplus."""
    pool = make_pool(max_idle_seconds=100)
    async with pool.get():
        pass
    await let_time_pass(1000)
    assert pool.connections == ()
    connector.create_seconds = 2
    (hasty,) = await admit(pool, timeout=1)
    await let_time_pass(2)
    assert isinstance(hasty.error, ConnectionsExhausted)
    assert pool.ready_connection_count == 1
    await let_time_pass(99)
    assert pool.ready_connection_count == 1


async def test_create_timeout_covers_create_and_ready_together(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """An opening whose create() and ready() each take less than create_timeout, and more together, fails and is closed."""
    connector.create_seconds, connector.ready_seconds = 6, 6
    pool = make_pool(create_timeout=10)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ConnectionFailed) as failed:
        await Client(pool).entering
    assert asyncio.get_running_loop().time() - started == 10
    assert isinstance(failed.value.__cause__, TimeoutError)
    await wait_until_blocked()
    assert [transport.times_closed for transport in connector.created] == [1]


async def test_a_connection_that_is_not_ready_is_closed_and_nobody_gets_it(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """When ready() says no, the attempt has failed and what create() returned is closed."""
    connector.ready_answer = False
    pool = make_pool()
    with pytest.raises(ConnectionFailed, match="ConnectionError") as failed:
        await Client(pool).entering
    assert "ready()" in str(failed.value.__cause__)
    await wait_until_blocked()
    assert [transport.times_closed for transport in connector.created] == [1]
    assert (pool.stats().totals.opened, pool.stats().totals.closed, pool.stats().totals.open_failures) == (0, 0, 1)


async def test_a_connection_that_is_dead_on_arrival_has_failed(
    make_pool: MakePool, telling_connector: TellingConnector
) -> None:
    """If is_closed() condemns every new connection, the pool backs off as for any failure, and does not open in a circle."""
    telling_connector.detection_error = AttributeError("the SDK has changed")
    pool = make_pool(telling_connector)
    with pytest.raises(ConnectionFailed) as failed:
        await Client(pool).entering
    assert failed.value.__cause__ is telling_connector.detection_error
    await let_time_pass(100)
    assert telling_connector.begun < 50
    telling_connector.detection_error = None
    telling_connector.all_are_dead = True
    await let_time_pass(100)
    with pytest.raises(ConnectionFailed, match="ConnectionError") as failed:
        await Client(pool).entering
    assert "is_closed()" in str(failed.value.__cause__)
    assert telling_connector.begun < 60


async def test_the_pool_s_tasks_see_no_context_of_their_callers(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """create(), ready() and close() run in an empty context: no request's variables are seen, or kept alive."""
    request_id.set("secret of one request")
    pool = make_pool(client_limit=1, max_size=2, min_size=1)
    await pool.open()
    await admit(pool, 2)
    await pool.close(0)
    assert connector.contexts == [0] * 6


async def test_the_pool_s_tasks_and_timers_are_named_after_it(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A task of the pool says whose it is and what it does."""
    connector.create_seconds = None
    pools = make_pool(name="orders"), make_pool()
    for pool in pools:
        await admit(pool)
    names = sorted(task.get_name() for task in asyncio.all_tasks() if "open" in task.get_name())
    ids = [next(iter(pool._generation.tasks.opening)).id for pool in pools]  # type: ignore[union-attr]
    assert names == [f"pool orders: open {ids[0]}", f"pool: open {ids[1]}"]


async def test_a_burst_opens_beyond_max_size_while_callers_face_full_connections(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Up to max_size as usual; only when those are ready and full do callers who wait call for more, up to burst_limit."""
    connector.create_seconds = 1
    pool = make_pool(client_limit=1, max_size=2, burst_limit=4, max_concurrent_creates=9, max_idle_seconds=100)
    clients = await admit(pool, 9)
    assert connector.in_flight == 2
    await let_time_pass(1)
    assert (pool.ready_connection_count, connector.in_flight) == (2, 2)
    await let_time_pass(1)
    assert (pool.ready_connection_count, connector.in_flight, pool.stats().waiting) == (4, 0, 5)
    # The surplus does not go the moment nobody waits.
    for client in clients[4:]:
        client.entering.cancel()
    await wait_until_blocked()
    for client in clients[:4]:
        client.leave()
    await let_time_pass(90)
    assert pool.ready_connection_count == 4


async def test_a_burst_goes_by_the_slow_shrinking(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """The surplus of a burst leaves after an idle period whose peak did not need it, and no sooner."""
    pool = make_pool(client_limit=1, max_size=2, burst_limit=4, max_idle_seconds=100)
    burst = await admit(pool, 4)
    await let_time_pass(50)
    for client in burst[1:]:
        client.leave()
    await let_time_pass(99)
    assert pool.ready_connection_count == 4
    await let_time_pass(101)
    assert pool.ready_connection_count == 1
    assert burst[0].transport.times_closed == 0


async def test_what_a_burst_has_begun_is_not_begun_again_when_nobody_waits(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """An opening that a burst began goes on after its callers have left, within the burst limit."""
    pool = make_pool(client_limit=1, max_size=1, burst_limit=2, max_concurrent_creates=2)
    await admit(pool, 1)
    connector.create_seconds = 1
    waiters = await admit(pool, 2)
    assert connector.in_flight == 1
    for waiter in waiters:
        waiter.entering.cancel()
    await let_time_pass(1)
    assert pool.ready_connection_count == 2
    await admit(pool, 2)
    assert (pool.ready_connection_count, connector.begun) == (2, 2)


async def test_opening_that_is_not_filled_in_time_tells_why(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """``open(timeout)`` raises ConnectionsExhausted after its timeout; the pool stays open and goes on."""
    connector.create_seconds = 5
    pool = make_pool(min_size=2, max_concurrent_creates=1)
    with pytest.raises(ConnectionsExhausted) as late:
        await pool.open(timeout=7)
    assert (late.value.waited_seconds, late.value.ready, late.value.opening) == (7, 1, 1)
    await let_time_pass(3)
    assert pool.ready_connection_count == 2


async def test_opening_a_pool_that_cannot_be_filled_fails_with_the_cause(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """``open()`` raises ConnectionFailed when nothing is ready and an attempt failed, also when it is called in the pause."""
    connector.create_error = OSError("no route")
    pool = make_pool(min_size=1)
    for _ in range(2):
        with pytest.raises(ConnectionFailed) as failed:
            await pool.open()
        assert failed.value.__cause__ is connector.create_error
    assert (pool.state, connector.begun) == (PoolState.OPEN, 1)


async def test_an_async_with_that_cannot_be_entered_leaves_the_pool_closed(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """``async with pool`` fails as open() does, and closes the pool again: no task and no timer is left."""
    connector.create_error = OSError("no route")
    pool = make_pool(min_size=1)
    with pytest.raises(ConnectionFailed):
        async with pool:
            pass
    assert pool.state is PoolState.CLOSED
    await let_time_pass(100)
    assert connector.begun == 1


async def test_what_a_burst_has_opened_does_not_grow_by_itself(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A burst's connections stay while they are used, but only callers who wait for a place add to them."""
    pool = make_pool(client_limit=4, max_size=2, burst_limit=8, grow_at=2, max_concurrent_creates=8)
    clients = await admit(pool, 9)
    await let_time_pass(1)
    assert (pool.ready_connection_count, pool.stats().waiting) == (3, 0)
    clients += await admit(pool, 2)
    await let_time_pass(1)
    assert (pool.ready_connection_count, connector.begun, pool.stats().waiting) == (3, 3, 0)
    for client in clients:
        client.leave()
