"""A forked process: the parent's connections are neither used nor closed there, and the child's are its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from weakref import WeakSet

import pytest

from fastapi_azure_pool.pool import ConnectionPool, PoolState, forks
from tests.support.clients import admit
from tests.support.virtual_time import wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.scripted_connector import ScriptedConnector, Transport


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that does with the pools of the test what is done with them in a forked child."""
    monkeypatch.setattr(forks, "_inherited", WeakSet())
    monkeypatch.setattr(forks, "_left", [])
    return forks._begin_child


async def take(pool: ConnectionPool[Transport]) -> Transport:
    """Take a place and give it back; give the transport."""
    async with pool.get() as transport:
        return transport


async def test_a_child_opens_connections_of_its_own(connector: ScriptedConnector, fork: Callable[[], None]) -> None:
    """An open pool is NEW in the child, with counts of its own: it opens at its first use, and closes only what it has opened."""
    pool = ConnectionPool(connector, min_size=1)
    await pool.open()
    await take(pool)
    fork()
    assert (pool.state, pool.connections, pool.stats().totals.checkouts) == (PoolState.NEW, (), 0)
    assert await take(pool) is connector.created[1]
    assert pool.stats().totals.checkouts == 1
    await pool.close()
    assert [transport.times_closed for transport in connector.created] == [0, 1]


async def test_what_the_parent_had_open_is_kept(connector: ScriptedConnector, fork: Callable[[], None]) -> None:
    """The child holds on to the parent's connections, since collecting them would close them."""
    pool = ConnectionPool(connector)
    await take(pool)
    generation = pool._generation
    fork()
    assert forks._left == [generation]


async def test_a_pool_that_is_not_open_stays_as_it_is(connector: ScriptedConnector, fork: Callable[[], None]) -> None:
    """A pool that was never opened, and one that was closed, are the same in the child."""
    new, closed = ConnectionPool(connector), ConnectionPool(connector)
    await take(closed)
    await closed.close()
    fork()
    assert (new.state, closed.state) == (PoolState.NEW, PoolState.CLOSED)
    assert closed.stats().totals.checkouts == 1


async def test_a_pool_that_was_closing_is_closed(connector: ScriptedConnector, fork: Callable[[], None]) -> None:
    """The child does not open what its parent was closing."""
    pool = ConnectionPool(connector)
    (client,) = await admit(pool)
    generation = pool._generation
    assert generation is not None
    generation.begin_closing()
    fork()
    assert pool.state is PoolState.CLOSED
    client.leave()
    assert connector.closed == []


@pytest.mark.parametrize("is_expired", [False, True])
async def test_a_place_that_was_taken_before_is_gone(
    connector: ScriptedConnector, fork: Callable[[], None], is_expired: bool
) -> None:
    """Giving back in the child what the parent took changes nothing, and closes nothing."""
    pool = ConnectionPool(connector)
    (client,) = await admit(pool)
    if is_expired:
        pool.expire(client.transport)
        await wait_until_blocked()  # Until its successor is open.
    parents = list(connector.created)
    fork()
    await take(pool)
    client.leave(OSError())
    assert pool.ready_connection_count == 1
    await pool.close()
    assert connector.closed == [transport for transport in connector.created if transport not in parents]


def test_forked_processes() -> None:
    """Processes that are forked while a pool opens, serves, has callers in line, drains and closes never touch its connections."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.pool.forking"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["opening", "serving", "waiting", "draining", "closing"]
