"""Rules 2 and 4: no await where there is room; in line, first come is first served, and whoever leaves holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.errors import ConnectionsExhausted
from tests.support.clients import Client, admit
from tests.support.scripted_connector import ScriptedConnector, TellingConnector, Transport
from tests.support.virtual_time import let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    from fastapi_azure_pool.pool import ConnectionPool
    from tests.support.pools import MakePool


@pytest.fixture
async def full_pool(make_pool: MakePool) -> ConnectionPool[Transport]:
    """A pool with room for one client."""
    return make_pool(client_limit=1, max_size=1)


async def test_taking_and_giving_back_where_there_is_room_never_awaits(make_pool: MakePool) -> None:
    """With room on a READY connection, entering and leaving a lease run from end to end without giving way to another task."""
    pool = make_pool(min_size=1)
    await pool.open()
    lease = pool.get()
    with pytest.raises(StopIteration) as entered:
        lease.__aenter__().send(None)
    assert entered.value.value is pool.connections[0].transport
    with pytest.raises(StopIteration):
        lease.__aexit__(None, None, None).send(None)
    assert pool.stats().clients == 0


async def test_the_line_is_served_in_order_of_arrival(full_pool: ConnectionPool[Transport]) -> None:
    """Who came first is served first, each by the one who leaves."""
    served = []

    async def use(name: int) -> None:
        async with full_pool.get():
            served.append(name)
            await asyncio.sleep(1)

    await asyncio.gather(*map(use, range(10)))
    assert served == list(range(10))


async def test_nobody_gets_past_the_line(full_pool: ConnectionPool[Transport]) -> None:
    """A place freed while someone waits is theirs at once: a caller who comes before they have even woken does not get it."""
    (holder,) = await admit(full_pool)
    (waiter,) = await admit(full_pool)
    holder.leave()
    newcomer = Client(full_pool)
    await wait_until_blocked()
    assert (waiter.has_place, newcomer.is_waiting) == (True, True)
    waiter.leave()
    await wait_until_blocked()
    assert newcomer.has_place


async def test_order_survives_those_who_leave_the_line(full_pool: ConnectionPool[Transport]) -> None:
    """Those who time out or are cancelled leave from anywhere in the line, and the others keep their order."""
    (holder,) = await admit(full_pool)
    patient = await admit(full_pool, 3)
    hasty = await admit(full_pool, 1, timeout=1)
    last = await admit(full_pool, 2)
    patient[1].entering.cancel()
    await let_time_pass(1)
    assert isinstance(hasty[0].error, ConnectionsExhausted)
    assert full_pool.stats().waiting == 4
    for client in (patient[0], patient[2], *last):
        holder.leave()
        await wait_until_blocked()
        assert client.has_place
        holder = client


async def test_a_place_handed_to_someone_just_cancelled_goes_to_the_next(full_pool: ConnectionPool[Transport]) -> None:
    """Who is cancelled after being handed a place, and before running again, passes it on."""
    (holder,) = await admit(full_pool)
    first, second = await admit(full_pool, 2)
    holder.leave()
    first.entering.cancel()
    await wait_until_blocked()
    assert first.entering.cancelled()
    assert second.has_place
    assert full_pool.stats().clients == 1


async def test_a_place_is_not_handed_to_someone_already_cancelled(full_pool: ConnectionPool[Transport]) -> None:
    """Who is cancelled, but has not run since, is passed over."""
    (holder,) = await admit(full_pool)
    first, second = await admit(full_pool, 2)
    first.entering.cancel()
    holder.leave()
    await wait_until_blocked()
    assert first.entering.cancelled()
    assert second.has_place


async def test_a_place_that_only_the_cancelled_wait_for_is_free(full_pool: ConnectionPool[Transport]) -> None:
    """When everyone in line has been cancelled and not yet left, a freed place is nobody's, and the next caller's."""
    (holder,) = await admit(full_pool)
    (waiter,) = await admit(full_pool)
    waiter.entering.cancel()
    holder.leave()
    assert full_pool.stats().clients == 0
    assert (await admit(full_pool))[0].has_place


async def test_an_opened_connection_that_only_the_cancelled_wait_for_is_free(make_pool: MakePool) -> None:
    """A connection that becomes ready in the moment its only caller is cancelled has no client."""

    class Cancelling(ScriptedConnector):
        async def create(self) -> Transport:
            await asyncio.sleep(1)
            waiter.entering.cancel()
            return await super().create()

    pool = make_pool(Cancelling())
    (waiter,) = await admit(pool)
    await let_time_pass(1)
    assert waiter.entering.cancelled()
    assert (pool.stats().ready, pool.stats().clients, pool.stats().waiting) == (1, 0, 0)


async def test_leaving_the_line_costs_the_same_in_a_long_line(full_pool: ConnectionPool[Transport]) -> None:
    """A thousand who wait can all leave, last ones first, and the line is then empty."""
    await admit(full_pool)
    waiters = await admit(full_pool, 1000)
    for waiter in reversed(waiters):
        waiter.entering.cancel()
    await wait_until_blocked()
    assert full_pool.stats().waiting == 0


async def test_the_timeout_is_one_deadline(make_pool: MakePool) -> None:
    """A caller's time runs from entering to the end: neither others' turns nor a connection that fails to come restart it."""
    pool = make_pool(client_limit=1, max_size=1)
    holders = await admit(pool, 4)
    started = asyncio.get_running_loop().time()
    late = Client(pool, timeout=5)
    for place in range(3):
        await let_time_pass(1.5)
        holders[place].leave()
    with pytest.raises(ConnectionsExhausted) as refused:
        await late.entering
    assert asyncio.get_running_loop().time() - started == 5
    assert refused.value.waited_seconds == 5


async def test_who_waited_in_vain_is_told_the_counts(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """The error of a caller whose time is over carries how long it waited and what the pool looked like."""
    pool = make_pool(client_limit=1, max_size=2, name="orders")
    await admit(pool, 1)
    connector.create_error = OSError("AccountKey=hush")
    (waiter,) = await admit(pool, timeout=0.25)
    await admit(pool)
    await let_time_pass(0.25)
    error = waiter.error
    assert isinstance(error, ConnectionsExhausted)
    assert isinstance(error, TimeoutError)
    assert (error.pool, error.waited_seconds, error.ready, error.clients, error.waiting) == ("orders", 0.25, 1, 1, 2)
    assert error.last_error == "OSError"
    assert "pool 'orders' after 0.250 s (ready=1, opening=0, clients=1, waiting=2)" in str(error)
    assert "hush" not in str(error)
    assert pool.stats().totals.timeouts == 1


@pytest.mark.parametrize("timeout", [0, -1])
async def test_no_time_takes_what_is_free_at_once(full_pool: ConnectionPool[Transport], timeout: float) -> None:
    """A timeout of 0 or less gives a free place, and refuses without waiting where there is none."""
    started = asyncio.get_running_loop().time()
    await full_pool.open()
    (first,) = await admit(full_pool, timeout=timeout)
    (second,) = await admit(full_pool, timeout=timeout)
    assert first.has_place
    assert isinstance(second.error, ConnectionsExhausted)
    assert second.error.waited_seconds == 0
    assert asyncio.get_running_loop().time() == started


@pytest.mark.parametrize("timeout", [None, math.inf])
async def test_without_a_timeout_a_caller_waits_for_ever(
    full_pool: ConnectionPool[Transport], timeout: float | None
) -> None:
    """None, and infinity, set no deadline at all."""
    (holder,) = await admit(full_pool)
    (waiter,) = await admit(full_pool, timeout=timeout)
    await let_time_pass(1_000_000)
    assert waiter.is_waiting
    holder.leave()
    await wait_until_blocked()
    assert waiter.has_place


async def test_a_timeout_that_is_no_number_is_refused(full_pool: ConnectionPool[Transport]) -> None:
    """A timeout of nan would disorder the loop's timers, so who would have to wait with it is told so."""
    await admit(full_pool)
    with pytest.raises(ValueError, match="not nan"):
        async with full_pool.get(timeout=math.nan):
            pass
    assert full_pool.stats().waiting == 0


async def test_the_line_has_an_end(make_pool: MakePool) -> None:
    """More than ``max_waiting`` are refused at once, without waiting; those in line stay."""
    pool = make_pool(client_limit=1, max_size=1, max_waiting=2)
    (holder,) = await admit(pool)
    first, second = await admit(pool, 2)
    started = asyncio.get_running_loop().time()
    (third,) = await admit(pool, timeout=60)
    assert isinstance(third.error, ConnectionsExhausted)
    assert (third.error.waited_seconds, third.error.waiting) == (0.0, 3)
    assert "max_waiting=2" in str(third.error)
    assert asyncio.get_running_loop().time() == started
    assert (pool.stats().waiting, pool.stats().totals.waited) == (2, 3)
    holder.leave()
    await wait_until_blocked()
    assert (first.has_place, second.is_waiting) == (True, True)
    assert (await admit(pool))[0].is_waiting


async def test_a_pool_in_which_nobody_may_wait_opens_for_those_it_refuses(make_pool: MakePool) -> None:
    """With ``max_waiting=0`` callers who find no room are refused, and still make the pool grow to its size."""
    pool = make_pool(client_limit=1, max_size=2, max_waiting=0)
    for _ in range(2):
        (refused,) = await admit(pool)
        assert isinstance(refused.error, ConnectionsExhausted)
        assert (await admit(pool))[0].has_place
    assert pool.ready_connection_count == 2
    assert isinstance((await admit(pool))[0].error, ConnectionsExhausted)
    assert pool.ready_connection_count == 2


async def test_who_is_next_in_line_does_not_get_a_dead_connection(
    make_pool: MakePool, telling_connector: TellingConnector
) -> None:
    """A place is handed over only on a connection that ``is_closed`` passes, as for any other checkout."""
    pool = make_pool(telling_connector, client_limit=1, max_size=1)
    (holder,) = await admit(pool)
    (waiter,) = await admit(pool)
    telling_connector.dead.add(holder.transport)
    holder.leave()
    await wait_until_blocked()
    assert waiter.transport is not holder.transport
    assert holder.transport.times_closed == 1


async def test_a_connection_that_dies_as_it_comes_leaves_the_line_in_order(make_pool: MakePool) -> None:
    """Who was first stays first when the connection opened for them is dead before they get it."""

    class Ailing(TellingConnector):
        def is_closed(self, connection: Transport) -> bool:
            return super().is_closed(connection) or (connection.number == 0 and self.times_asked > 1)

    pool = make_pool(Ailing(), client_limit=1, max_size=1)
    first, second = await admit(pool, 2)
    assert (first.has_place, second.is_waiting) == (True, True)
    assert first.transport.number == 1
    assert pool.stats().totals.checkouts == 1


async def test_a_lease_is_entered_once_at_a_time(make_pool: MakePool) -> None:
    """Entering a lease that is in use fails, and the place is not lost; after it was left it may be entered again."""
    pool = make_pool(client_limit=2, max_size=1)
    lease = pool.get()
    async with lease:
        with pytest.raises(RuntimeError, match="in use"):
            await lease.__aenter__()
    async with lease:
        assert pool.stats().clients == 1
    assert pool.stats().clients == 0


async def test_a_lease_entered_twice_while_waiting_serves_one(full_pool: ConnectionPool[Transport]) -> None:
    """Of two tasks that wait on one lease, the first gets its place; the other's goes back to the pool."""
    (holder,) = await admit(full_pool)
    lease = full_pool.get()
    entering = [asyncio.create_task(lease.__aenter__()) for _ in range(2)]
    await wait_until_blocked()
    holder.leave()
    await wait_until_blocked()
    assert entering[0].result() is holder.transport
    full_pool._generation.give_back(full_pool.connections[0])  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="in use"):
        await entering[1]
    assert full_pool.stats().clients == 0


async def test_leaving_a_lease_that_was_not_entered_does_nothing(full_pool: ConnectionPool[Transport]) -> None:
    """An exit stack may leave a lease whose entering failed: no count changes."""
    await full_pool.open()
    lease = full_pool.get()
    await lease.__aexit__(None, None, None)
    async with lease:
        pass
    await lease.__aexit__(None, None, None)
    assert full_pool.stats().clients == 0


async def test_a_body_s_error_is_raised_on(full_pool: ConnectionPool[Transport]) -> None:
    """Checking in swallows no error of the body, and frees the place."""
    with pytest.raises(KeyError):
        async with full_pool.get():
            raise KeyError
    assert full_pool.stats().clients == 0


async def test_a_thousand_tasks_share_ten_places(make_pool: MakePool) -> None:
    """Under contention with random cancellations and timeouts every place comes back."""
    pool = make_pool(client_limit=5, max_size=2)

    async def use(number: int) -> None:
        with contextlib.suppress(ConnectionsExhausted):
            async with asyncio.timeout(3 + number % 7), pool.get(timeout=1 + number % 5):
                await asyncio.sleep(0.1 * (number % 4))

    results = await asyncio.gather(*map(use, range(1000)), return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), TimeoutError}
    stats = pool.stats()
    assert (stats.clients, stats.waiting, stats.ready) == (0, 0, 2)
