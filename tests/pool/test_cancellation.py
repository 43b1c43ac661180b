"""Rule 8: at every await, cancellation is raised again and leaves the counts right."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.errors import ConnectionFailed, PoolClosed
from fastapi_azure_pool.pool import ConnectionPool, PoolState
from tests.support import invariants
from tests.support.clients import Client, admit
from tests.support.scripted_connector import ScriptedConnector, Transport
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from tests.support.pools import MakePool

    Pool = ConnectionPool[Transport]
    Prepare = Callable[[Pool], Awaitable[list[Client]]]
    Operation = Callable[[Pool], Coroutine[None, None, None]]


async def nothing(pool: Pool) -> list[Client]:
    """Leave the pool NEW."""
    return []


async def opened(pool: Pool) -> list[Client]:
    """Open the pool."""
    await pool.open()
    return []


async def filled(pool: Pool) -> list[Client]:
    """Fill the pool with clients, the first of which leaves after a second."""
    clients = await admit(pool, 4)
    await let_time_pass(10)
    asyncio.get_running_loop().call_later(1, clients[0].leave)
    return clients


async def closing(pool: Pool) -> list[Client]:
    """Begin to close the pool."""
    await pool.open()
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    closing.cancel()
    return []


async def use(pool: Pool) -> None:
    """Check out a place, and keep it for a second."""
    async with pool.get():
        await asyncio.sleep(1)


async def reserve(pool: Pool) -> None:
    """Open the pool and close it again, using it meanwhile."""
    async with pool:
        await use(pool)


async def cancel_at_turn(turns: int, task: asyncio.Task[None]) -> bool:
    """Cancel a task so many turns of the loop from now, and wait for it; tell whether it still ran then."""
    loop = virtual_loop()
    told: list[bool] = []
    loop.interruptions[loop.turn + turns] = lambda: told.append(task.cancel())
    await asyncio.wait([task])
    loop.interruptions.clear()
    return told == [True]


@pytest.mark.parametrize(
    ("prepare", "operation"),
    [
        pytest.param(opened, use, id="get where there is room"),
        pytest.param(nothing, use, id="get from a new pool"),
        pytest.param(filled, use, id="get a place that is handed over"),
        pytest.param(nothing, ConnectionPool[Transport].open, id="open"),
        pytest.param(closing, ConnectionPool[Transport].open, id="open while closing"),
        pytest.param(opened, ConnectionPool[Transport].close, id="close"),
        pytest.param(filled, ConnectionPool[Transport].close, id="close under clients"),
        pytest.param(nothing, reserve, id="async with"),
    ],
)
async def test_cancellation_at_every_turn(
    make_pool: MakePool, connector: ScriptedConnector, prepare: Prepare, operation: Operation
) -> None:
    """Cancelled at its first turn, its second, and so on to its last: it raises, the counts hold, and the pool goes on."""
    connector.create_seconds = connector.ready_seconds = connector.close_seconds = 1
    turns = 0
    was_cancelled = True
    while was_cancelled:
        pool = make_pool(client_limit=2, max_size=2, min_size=1, max_concurrent_creates=2)
        clients = await prepare(pool)
        task = asyncio.create_task(operation(pool))
        turns += 1
        was_cancelled = await cancel_at_turn(turns, task)
        assert task.cancelled() == was_cancelled
        await wait_until_blocked()
        invariants.check(pool, leases=_holding(pool, clients))
        await let_time_pass(1)
        invariants.check(pool, leases=_holding(pool, clients))
        for client in clients[1:]:
            client.leave()
        await let_time_pass(20)
        assert pool.stats().clients == pool.stats().waiting == pool.stats().opening == 0
        if pool.state is PoolState.CLOSED:
            await pool.open()
        async with pool.get(timeout=10):
            invariants.check(pool, leases=1)
        await pool.close()
        assert pool.connections == ()
    assert turns > 2
    assert not task.exception()


def _holding(pool: Pool, clients: list[Client]) -> int:
    """How many of the clients hold a place: the first leaves by itself, and a closed pool has taken every place back."""
    if pool._generation is None or not clients:
        return 0
    return pool.stats().clients


async def test_a_cancelled_waiter_that_is_sent_away_in_the_same_moment_is_cancelled(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Who is cancelled after the pool has answered with an error, and before running again, sees the cancellation alone."""
    connector.create_seconds = 1
    pool = make_pool()
    (waiter,) = await admit(pool)
    closing = asyncio.create_task(pool.close())
    closing.get_loop().call_soon(waiter.entering.cancel)
    await closing
    assert waiter.entering.cancelled()


@pytest.mark.parametrize("error", [None, OSError()], ids=["filled", "failed"])
@pytest.mark.parametrize("is_first", [True, False], ids=["just before", "just after"])
async def test_cancelled_in_the_moment_of_the_answer(
    make_pool: MakePool, error: OSError | None, is_first: bool
) -> None:
    """Who is cancelled as the pool is filled, or fails to be, is cancelled, and leaves no error that nobody looks at."""

    class Cancelling(ScriptedConnector):
        async def create(self) -> Transport:
            await asyncio.sleep(1)
            for task in (opening, waiter.entering):
                if is_first:
                    task.cancel()
                else:
                    asyncio.get_running_loop().call_soon(task.cancel)  # Runs after the answer, and before they wake.
            return await super().create()

    connector = Cancelling()
    connector.create_error = error
    pool = make_pool(connector, min_size=1)
    opening = asyncio.create_task(pool.open())
    waiter = Client(pool)
    await asyncio.wait([opening, waiter.entering])
    assert (opening.cancelled(), waiter.entering.cancelled()) == (True, True)
    assert pool._generation._fillers == ()  # type: ignore[union-attr]  # it is open
    assert (pool.stats().waiting, pool.stats().clients) == (0, 0)


class Stubborn(ScriptedConnector):
    """Its create() takes two seconds although it is cancelled; its ready() never ends."""

    async def create(self) -> Transport:
        """Swallow a cancellation."""
        ends_at = asyncio.get_running_loop().time() + 2
        while (seconds := ends_at - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(seconds)
        return await super().create()


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "timed out"])
async def test_a_create_that_swallows_its_cancellation_is_not_followed_by_ready(
    make_pool: MakePool, *, is_closed: bool
) -> None:
    """Its connection is closed: nobody would cancel a ready() that hangs, neither create_timeout nor close()."""
    connector = Stubborn()
    connector.ready_seconds = None
    pool = make_pool(connector, create_timeout=1)
    (waiter,) = await admit(pool)
    if is_closed:
        await pool.close()
        assert isinstance(waiter.error, PoolClosed)
    else:
        with pytest.raises(ConnectionFailed) as failed:
            await waiter.entering
        assert isinstance(failed.value.__cause__, TimeoutError)
        await wait_until_blocked()
    assert [transport.times_closed for transport in connector.created] == [1]
    assert pool.stats().opening == 0


async def test_a_time_limit_around_a_checkout_is_seen_by_who_set_it(make_pool: MakePool) -> None:
    """asyncio.timeout around get() works: the pool neither swallows nor renames its cancellation."""
    pool = make_pool(client_limit=1, max_size=1)
    await admit(pool)
    with pytest.raises(TimeoutError) as late:
        async with asyncio.timeout(1), pool.get():
            pass
    assert type(late.value) is TimeoutError
    invariants.check(pool, leases=1)


async def test_a_cancelled_body_gives_its_place_back(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Cancelling the body frees the place and retires nothing, though the connector calls every other error fatal."""
    connector.fatal = (Exception,)
    pool = make_pool(client_limit=1)
    using = asyncio.create_task(use(pool))
    await wait_until_blocked()
    using.cancel()
    await wait_until_blocked()
    assert using.cancelled()
    assert (pool.ready_connection_count, pool.stats().clients, connector.closed) == (1, 0, [])
