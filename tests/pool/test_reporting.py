"""Rule 10: who says that a connection is broken, the body's error or the transport's own report, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.pool import ConnectionState
from tests.support.clients import admit
from tests.support.virtual_time import let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    import pytest

    from tests.support.pools import MakePool
    from tests.support.scripted_connector import ScriptedConnector


class Broken(Exception):
    """An error that breaks a connection."""


async def test_a_fatal_error_that_leaves_the_body_retires_the_connection(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """The connection drains, others on it finish, and the next caller gets another; a harmless error changes nothing."""
    connector.fatal = (Broken,)
    pool = make_pool(client_limit=2, max_size=1)
    first, second = await admit(pool, 2)
    first.leave(KeyError())
    assert pool.ready_connection_count == 1
    (third,) = await admit(pool)
    third.leave(Broken("AccountKey=hush"))
    assert pool.connections[0].state is ConnectionState.DRAINING
    assert second.transport.times_closed == 0
    (fourth,) = await admit(pool)
    assert fourth.transport is not second.transport
    last_error = pool.stats().last_error
    assert last_error is not None
    assert (last_error.type, last_error.seconds_ago) == ("Broken", 0)


async def test_a_connection_broken_under_waiters_is_not_handed_on(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A place given back with a fatal error goes to nobody; who waits gets one on the successor."""
    connector.fatal = (Broken,)
    pool = make_pool(client_limit=1, max_size=1)
    (holder,) = await admit(pool)
    (waiter,) = await admit(pool)
    holder.leave(Broken())
    await wait_until_blocked()
    assert waiter.transport.number == 1


async def test_a_report_of_the_transport_retires_the_connection(
    make_pool: MakePool, connector: ScriptedConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """What the transport saw counts though no client was told; every report is counted, only fatal ones retire."""
    connector.fatal = (Broken,)
    pool = make_pool(name="orders")
    (client,) = await admit(pool)
    pool.report(client.transport, OSError("429"))
    assert pool.ready_connection_count == 1
    pool.report(pool.connections[0], Broken("AccountKey=hush"))
    assert pool.connections[0].state is ConnectionState.DRAINING
    pool.report(client.transport, Broken())  # Of one that drains already.
    assert pool.stats().totals.reported_errors == 3
    assert client.transport.times_closed == 0
    assert "pool orders: connection" in caplog.text
    assert "is broken (Broken)" in caplog.text
    assert "hush" not in caplog.text


async def test_a_judge_that_raises_retires_the_connection(
    make_pool: MakePool, connector: ScriptedConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """If is_fatal() raises, the check-in goes through, the connection drains, and the log tells without the errors' texts."""
    pool = make_pool()
    (client,) = await admit(pool)
    cause = Broken("AccountKey=hush")
    connector.judgement_error = RuntimeError("about AccountKey=hush")
    connector.judgement_error.__cause__ = cause
    client.leave(cause)
    await wait_until_blocked()
    assert (client.transport.times_closed, pool.stats().clients) == (1, 0)
    assert "is_fatal() raised RuntimeError" in caplog.text
    assert "in is_fatal" in caplog.text
    assert "hush" not in caplog.text


async def test_one_bad_connection_takes_no_other_along(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Retiring a connection leaves the others, and their clients, as they are."""
    connector.fatal = (Broken,)
    pool = make_pool(client_limit=1, max_size=3)
    clients = await admit(pool, 3)
    clients[1].leave(Broken())
    await let_time_pass(1)
    assert [transport.number for transport in connector.closed] == [1]
    assert {connection.transport.number for connection in pool.connections} >= {0, 2}
    assert pool.stats().clients == 2
