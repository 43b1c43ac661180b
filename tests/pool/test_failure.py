"""Rule 7: what callers get when no connection can be opened, when the pool tries again, and that it heals unasked."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted
from fastapi_azure_pool.pool.backoff import Backoff
from tests.support.clients import Client, admit
from tests.support.virtual_time import let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    from tests.support.pools import MakePool
    from tests.support.scripted_connector import ScriptedConnector

NO_ROUTE = OSError("no route to AccountKey=hush")


@pytest.fixture
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every pause be as long as its jitter allows."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high)


async def test_everyone_in_line_gets_the_cause(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """When an attempt fails with nothing ready and none other in flight, each who waits gets an error of its own, and its cause."""
    connector.create_seconds = 1
    connector.create_error = NO_ROUTE
    pool = make_pool(name="orders")
    clients = await admit(pool, 3)
    await let_time_pass(1)
    errors = [client.error for client in clients]
    assert len(set(map(id, errors))) == 3
    for error in errors:
        assert isinstance(error, ConnectionFailed)
        assert isinstance(error, ConnectionError)
        assert error.__cause__ is NO_ROUTE
        assert error.pool == "orders"
        assert 0 <= error.retry_after <= 0.5
        assert "pool 'orders' could not open a connection (OSError); it tries again in" in str(error)
        assert "hush" not in str(error)


@pytest.mark.usefixtures("longest_pauses")
async def test_until_the_next_attempt_callers_fail_at_once(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """In the pause nobody waits and nothing is opened for a caller; retry_after is what is left of the pause."""
    connector.create_error = NO_ROUTE
    pool = make_pool()
    (first,) = await admit(pool)
    await let_time_pass(0.375)
    (second,) = await admit(pool, timeout=60)
    assert isinstance(first.error, ConnectionFailed)
    assert isinstance(second.error, ConnectionFailed)
    assert (first.error.retry_after, second.error.retry_after) == (0.5, 0.125)
    assert (connector.begun, pool.stats().totals.waited) == (1, 1)


@pytest.mark.usefixtures("longest_pauses")
async def test_the_pool_heals_unasked(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """With min_size 0 and no caller at all, a pool that failed tries again until it has a connection, and then rests."""
    connector.create_error = NO_ROUTE
    pool = make_pool()
    await admit(pool)
    await let_time_pass(100)
    begun = connector.begun
    assert begun > 5
    assert pool.stats().is_failing
    connector.create_error = None
    await let_time_pass(30)
    assert (pool.ready_connection_count, connector.begun) == (1, begun + 1)
    assert not pool.stats().is_failing
    assert (await admit(pool, timeout=0))[0].has_place


@pytest.mark.usefixtures("longest_pauses")
async def test_pauses_double_to_thirty_seconds_and_start_anew_after_a_success(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """The pauses are at most 0.5, 1, 2, 4, 8, 16, 30, 30 ... seconds; the first failure after a success pauses 0.5 s again."""
    connector.create_error = NO_ROUTE
    pool = make_pool()
    loop = asyncio.get_running_loop()
    await admit(pool)
    attempts = [loop.time()]
    while len(attempts) < 9:
        begun = connector.begun
        await let_time_pass(0.5)
        attempts += [loop.time()] * (connector.begun - begun)
    assert [later - earlier for earlier, later in itertools.pairwise(attempts)] == [*(0.5, 1, 2, 4, 8, 16, 30, 30)]
    connector.create_error = None
    await let_time_pass(30)
    connector.create_error = NO_ROUTE
    pool.expire(pool.connections[0])
    (client,) = await admit(pool)
    assert isinstance(client.error, ConnectionFailed)
    assert client.error.retry_after == 0.5


def test_the_jitter_is_full() -> None:
    """A pause is any part of its bound, from nothing to all, evenly: a crowd of pools spreads out."""
    pauses = []
    for _ in range(2000):
        backoff = Backoff()
        backoff.failed(NO_ROUTE, now=0.0)
        backoff.elapse(now=1.0)
        pauses.append(backoff.failed(NO_ROUTE, now=0.0))
    assert 0 <= min(pauses) < 0.02
    assert 0.98 < max(pauses) <= 1.0
    assert 0.45 < sum(pauses) / len(pauses) < 0.55


@pytest.mark.usefixtures("longest_pauses")
async def test_attempts_that_fail_together_take_one_step(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Three attempts in flight that all fail lengthen the pause once; the line fails when the last of them has."""
    connector.create_seconds = 1
    connector.create_error = NO_ROUTE
    pool = make_pool(client_limit=1, max_size=3, max_concurrent_creates=3)
    clients = await admit(pool, 3)
    assert connector.in_flight == 3
    await let_time_pass(1)
    assert pool.stats().totals.open_failures == 3
    for client in clients:
        assert isinstance(client.error, ConnectionFailed)
        assert client.error.retry_after == 0.5


async def test_the_line_waits_for_the_other_attempts(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """While another attempt is in flight, a failed one sends nobody away."""
    connector.create_seconds = 5
    pool = make_pool(client_limit=1, max_size=2, max_concurrent_creates=2)
    (first,) = await admit(pool)
    await let_time_pass(1)
    (second,) = await admit(pool)
    connector.create_error = NO_ROUTE
    await let_time_pass(4)
    assert (first.is_waiting, second.is_waiting, pool.stats().opening) == (True, True, 1)
    connector.create_error = None
    await let_time_pass(1)
    assert first.has_place


@pytest.mark.usefixtures("longest_pauses")
async def test_one_attempt_at_a_time_asks_whether_it_works_again(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """While opening fails, one attempt is made at a time; once one works, the rest of min_size follows together."""
    connector.create_error = NO_ROUTE
    pool = make_pool(min_size=3, max_size=3, max_concurrent_creates=3)
    with pytest.raises(ConnectionFailed):
        await pool.open()
    connector.create_seconds = 1
    connector.create_error = None
    connector.most_in_flight = 0
    await let_time_pass(1)
    assert connector.most_in_flight == 1
    await let_time_pass(0.5)
    assert connector.most_in_flight == 2
    await let_time_pass(1)
    assert pool.ready_connection_count == 3


@pytest.mark.usefixtures("longest_pauses")
async def test_callers_in_a_retry_share_it(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Who comes while the next attempt is in flight waits for it, and is served when it works."""
    connector.create_error = NO_ROUTE
    pool = make_pool()
    await admit(pool)
    connector.create_seconds, connector.create_error = 2, None
    await let_time_pass(1)
    (client,) = await admit(pool)
    assert client.is_waiting
    await let_time_pass(1.5)
    assert client.has_place


async def test_callers_who_face_full_connections_wait_as_always(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A failing attempt for more is no reason to send away who can be served by what there is."""
    pool = make_pool(client_limit=1, max_size=2)
    (holder,) = await admit(pool)
    connector.create_error = NO_ROUTE
    first, second = await admit(pool, 2, timeout=600)
    await let_time_pass(100)
    (third,) = await admit(pool, timeout=600)
    assert (first.is_waiting, second.is_waiting, third.is_waiting) == (True, True, True)
    holder.leave()
    await wait_until_blocked()
    assert first.has_place
    connector.create_error = None
    await let_time_pass(30)
    assert second.has_place
    assert third.is_waiting


async def test_who_waits_in_vain_beside_a_failing_attempt_is_told_of_it(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """ConnectionsExhausted names the last error of an opening, if opening fails."""
    pool = make_pool(client_limit=1, max_size=2)
    await admit(pool)
    connector.create_error = NO_ROUTE
    (waiter,) = await admit(pool, timeout=1)
    await let_time_pass(1)
    assert isinstance(waiter.error, ConnectionsExhausted)
    assert waiter.error.last_error == "OSError"
    assert "the last attempt to open one failed with OSError" in str(waiter.error)


async def test_a_failure_takes_no_working_connection_along(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Connections that work stay, and their clients with them, while others cannot be opened."""
    pool = make_pool(client_limit=1, max_size=3, min_size=1)
    (client,) = await admit(pool)
    connector.create_error = NO_ROUTE
    await admit(pool, timeout=50)
    await let_time_pass(100)
    assert [connection.transport for connection in pool.connections] == [client.transport]
    client.leave()
    assert (await admit(pool))[0].transport is client.transport


async def test_an_sdk_that_cancels_by_itself_is_a_failure_like_another(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A CancelledError that create() raises of itself is a failed attempt: counted, told to callers, tried again."""
    connector.create_error = asyncio.CancelledError()
    pool = make_pool()
    (client,) = await admit(pool)
    assert isinstance(client.error, ConnectionFailed)
    assert isinstance(client.error.__cause__, asyncio.CancelledError)
    connector.create_error = None
    await let_time_pass(1)
    assert pool.ready_connection_count == 1


async def test_an_opening_that_is_cancelled_before_it_began_is_a_failure_like_another(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Whoever cancels a task of the pool before its first step leaves no opening behind that is waited for in vain."""
    pool = make_pool()
    client = Client(pool)
    await asyncio.sleep(0)
    (opening,) = pool._generation.tasks.opening.values()  # type: ignore[union-attr]
    assert opening is not None
    opening.cancel()
    with pytest.raises(ConnectionFailed):
        await client.entering
    assert (connector.begun, pool.stats().opening) == (0, 0)
    await let_time_pass(1)
    assert pool.ready_connection_count == 1


async def test_the_last_error_is_kept_as_a_type_and_a_time(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """The statistics tell what went wrong last and how long ago, and never the error's text."""
    pool = make_pool()
    assert pool.stats().last_error is None
    connector.create_error = NO_ROUTE
    await admit(pool)
    connector.create_error = None
    await let_time_pass(2)
    last_error = pool.stats().last_error
    assert last_error is not None
    assert (last_error.type, last_error.seconds_ago) == ("OSError", 2)
    assert "hush" not in repr(pool.stats())


async def test_the_log_names_the_type_and_not_the_text(
    make_pool: MakePool, connector: ScriptedConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed attempt is logged with its type and the pause before the next."""
    connector.create_error = NO_ROUTE
    await admit(make_pool(name="orders"))
    assert "pool orders: opening a connection failed with OSError; next attempt in 0." in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.usefixtures("longest_pauses")
async def test_a_failure_that_nobody_needs_mended_is_history(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """When one more connection failed to open and is not needed any more, the pool is not failing; the pauses go on growing."""
    pool = make_pool(client_limit=1, max_size=2)
    (holder,) = await admit(pool)
    connector.create_error = NO_ROUTE
    await admit(pool, timeout=0.25)
    assert pool.stats().is_failing
    await let_time_pass(1)
    assert (pool.ready_connection_count, pool.stats().is_failing, pool.stats().waiting) == (1, False, 0)
    await admit(pool, timeout=0.25)
    assert pool.stats().is_failing
    await let_time_pass(0.75)
    assert pool.stats().is_failing  # The second pause is a second long.
    await let_time_pass(0.5)
    assert not pool.stats().is_failing
    holder.leave()


@pytest.mark.usefixtures("longest_pauses")
async def test_who_waits_is_told_when_the_last_connection_goes(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """Who faces a full connection waits; when that goes in a pause, there is nothing to wait for, and it hears so at once."""
    pool = make_pool(client_limit=1, max_size=2)
    (holder,) = await admit(pool)
    connector.create_error = NO_ROUTE
    (waiter,) = await admit(pool)
    assert waiter.is_waiting
    pool.expire(pool.connections[0])
    await wait_until_blocked()
    assert isinstance(waiter.error, ConnectionFailed)
    assert waiter.error.__cause__ is NO_ROUTE
    holder.leave()


@pytest.mark.usefixtures("longest_pauses")
async def test_a_failure_is_not_history_while_the_next_attempt_runs(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A pool is failing until an attempt has succeeded, also for who comes while the next one is under way."""
    pool = make_pool(client_limit=1, max_size=9)
    (holder,) = await admit(pool)
    connector.create_error = NO_ROUTE
    connector.create_seconds = 1
    first = (await admit(pool))[0]
    await let_time_pass(1.75)
    second = (await admit(pool))[0]
    assert (pool.stats().opening, pool.stats().is_failing) == (1, True)
    connector.create_error = None
    await let_time_pass(5)
    assert (first.has_place, second.has_place, pool.stats().is_failing) == (True, True, False)
    for client in (holder, first, second):
        client.leave()
