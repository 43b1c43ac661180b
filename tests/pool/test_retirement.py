"""Rules 5 (second half) and 6: what is surplus or dead goes, the cap, and that nothing is closed under a client."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.errors import ConnectionFailed
from fastapi_azure_pool.pool import ConnectionPool, ConnectionState, SharedTransportConnection
from fastapi_azure_pool.pool.ledger import Ledger
from fastapi_azure_pool.pool.retirement import Retirement
from tests.support import invariants
from tests.support.clients import admit
from tests.support.scripted_connector import ScriptedConnector, TellingConnector, Transport
from tests.support.virtual_time import let_time_pass, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.pools import MakePool


class Broken(Exception):
    """An error that breaks a connection."""


async def test_idle_connections_above_min_size_drain_at_once(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """Idle for max_idle_seconds and not needed by min_size: closed, the longest idle first, without a successor."""
    pool = make_pool(client_limit=1, min_size=1, max_size=3, max_idle_seconds=100)
    clients = await admit(pool, 3)
    await let_time_pass(150)
    for client in clients:
        client.leave()
        await let_time_pass(1)
    await let_time_pass(96.5)
    assert pool.ready_connection_count == 3
    await let_time_pass(1)
    assert (pool.ready_connection_count, connector.created[0].times_closed) == (2, 1)
    await let_time_pass(1)
    assert (pool.ready_connection_count, connector.created[1].times_closed) == (1, 1)
    assert connector.begun == 3


async def test_a_connection_in_use_is_not_idle(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """However long a client stays, its connection is not retired for being idle; the time counts from its leaving."""
    pool = make_pool(max_idle_seconds=10)
    (client,) = await admit(pool)
    await let_time_pass(1000)
    client.leave()
    await let_time_pass(9.5)
    assert pool.ready_connection_count == 1
    await let_time_pass(0.5)
    assert pool.ready_connection_count == 0
    assert connector.begun == 1


async def test_none_keeps_idle_and_old_connections(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """With max_idle_seconds and max_lifespan_seconds None nothing is ever retired, and no timer is set."""
    pool = make_pool(client_limit=1, max_idle_seconds=None)
    for client in await admit(pool, 3):
        client.leave()
    await let_time_pass(1_000_000)
    assert (pool.ready_connection_count, connector.begun) == (3, 3)
    assert pool._generation._alarm._handle is None  # type: ignore[union-attr]


async def test_a_surplus_goes_after_a_period_however_thin_the_clients_are_spread(
    make_pool: MakePool, connector: ScriptedConnector
) -> None:
    """A pool whose peak over a whole idle period would fit fewer connections shrinks, though none was ever idle that long."""
    pool = make_pool(client_limit=10, max_size=4, max_idle_seconds=100)
    for client in await admit(pool, 40):
        client.leave()
    counts = {}
    for second in range(201):  # One client a second: the choice sends it round all the connections.
        counts[second] = pool.ready_connection_count
        (client,) = await admit(pool)
        await let_time_pass(1)
        client.leave()
    assert (counts[0], counts[101], counts[199], pool.ready_connection_count) == (4, 4, 4, 1)
    assert connector.begun == 4


async def test_connections_that_came_too_late_for_anybody_go_with_the_first_period(make_pool: MakePool) -> None:
    """Where nobody took a place in a whole idle period, every connection is surplus, the younger ones too."""

    class Uneven(ScriptedConnector):
        async def create(self) -> Transport:
            await asyncio.sleep(2 + self.begun)
            return await super().create()

    connector = Uneven()
    pool = make_pool(connector, client_limit=1, max_concurrent_creates=2, max_idle_seconds=100)
    opening = await admit(pool, timeout=1)
    await let_time_pass(0.5)
    await admit(pool, timeout=1)
    await let_time_pass(2)
    assert (opening[0].error is not None, pool.ready_connection_count) == (True, 2)
    await let_time_pass(99)
    assert pool.ready_connection_count == 2
    await let_time_pass(0.5)
    assert pool.ready_connection_count == 0


def test_the_idle_are_part_of_the_surplus() -> None:
    """When both are overdue, as after a time at the cap, those that leave for idleness are not replaced in the surplus."""
    limits = ConnectionPool(ScriptedConnector(), 1, max_idle_seconds=100)._limits
    ledger: Ledger[Transport] = Ledger(1, lambda: 0.0)
    retirement = Retirement(limits, ledger)
    for _ in range(4):
        connection: SharedTransportConnection[Transport] = SharedTransportConnection(1, 100, lambda: 0.0)
        retirement.begin(connection, 0.0)
        ledger.add(connection)
    assert min(retirement.times(ledger, 0.0)) == 100
    used = {ledger.take(), ledger.take()}
    leaving = set(retirement.leaving(150.0))
    assert leaving == set(ledger) - used


async def test_a_surplus_drains_under_its_clients(make_pool: MakePool) -> None:
    """Connections that are surplus because clients are few and spread drain like others: nobody loses their place."""
    pool = make_pool(client_limit=10, max_size=3, max_idle_seconds=100)
    clients = await admit(pool, 30)
    for client in clients[1:]:
        client.leave()
    await admit(pool, 2)
    assert [connection.current_client_count for connection in pool.connections] == [1, 1, 1]
    await let_time_pass(201)
    assert (pool.stats().ready, pool.stats().draining, pool.stats().clients) == (1, 2, 3)


async def test_a_peak_within_the_period_keeps_what_it_needed(make_pool: MakePool) -> None:
    """One short peak in each idle period is enough to keep the connections it needs."""
    pool = make_pool(client_limit=10, max_size=4, max_idle_seconds=100)
    for _ in range(10):
        clients = await admit(pool, 25)
        await let_time_pass(1)
        for client in clients:
            client.leave()
        await let_time_pass(59)
    assert pool.ready_connection_count == 3


async def test_shrinking_stops_at_min_size(make_pool: MakePool) -> None:
    """The surplus is what exceeds min_size."""
    pool = make_pool(client_limit=1, max_size=5, min_size=2, max_idle_seconds=100)
    for client in await admit(pool, 5):
        client.leave()
    await let_time_pass(500)
    assert pool.ready_connection_count == 2


async def test_growth_and_shrinking_agree(make_pool: MakePool, connector: ScriptedConnector) -> None:
    """What growth opened for so many clients is not surplus for as many: the pool does not open and close in turns."""
    pool = make_pool(client_limit=10, grow_at=3, max_size=5, max_idle_seconds=50)
    for _ in range(7):
        await admit(pool)
    await let_time_pass(1000)
    assert (pool.ready_connection_count, connector.begun) == (3, 3)


async def test_a_dead_connection_is_found_at_checkout(make_pool: MakePool, telling_connector: TellingConnector) -> None:
    """A caller whose turn falls on a dead connection gets the next; the dead one is closed, and no checkout is counted for it."""
    pool = make_pool(telling_connector, client_limit=2, min_size=3, max_size=3, max_concurrent_creates=3)
    await pool.open()
    telling_connector.dead |= set(telling_connector.created[:2])
    (client,) = await admit(pool)
    assert client.transport is telling_connector.created[2]
    await wait_until_blocked()
    assert [transport.number for transport in telling_connector.closed] == [0, 1]
    assert (pool.stats().totals.checkouts, pool.stats().clients, pool.ready_connection_count) == (1, 1, 3)


async def test_a_dead_connection_drains_under_its_clients(
    make_pool: MakePool, telling_connector: TellingConnector
) -> None:
    """A connection found dead at checkout is not closed while others still hold it."""
    pool = make_pool(telling_connector, client_limit=2, max_size=1)
    (first,) = await admit(pool)
    telling_connector.dead.add(first.transport)
    (second,) = await admit(pool)
    assert second.transport is not first.transport
    assert (first.transport.times_closed, pool.stats().draining) == (0, 1)
    first.leave()
    await wait_until_blocked()
    assert first.transport.times_closed == 1


async def test_a_detector_that_raises_counts_as_dead(
    make_pool: MakePool, telling_connector: TellingConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """If is_closed() raises, the connection drains and the log says where, but not what: the text may be the SDK's."""
    pool = make_pool(telling_connector, min_size=1)
    await pool.open()
    telling_connector.detection_error = RuntimeError("SharedAccessKey=hush")
    (client,) = await admit(pool)
    assert isinstance(client.error, ConnectionFailed)
    assert (pool.stats().totals.closed, pool.ready_connection_count) == (1, 0)
    assert "is_closed() raised RuntimeError" in caplog.text
    assert "scripted_connector.py" in caplog.text
    assert "hush" not in caplog.text


async def test_a_detector_may_report_what_it_finds(make_pool: MakePool) -> None:
    """A connector whose is_closed() expires the connection by itself disturbs no checkout."""

    class Expiring(TellingConnector):
        def is_closed(self, connection: Transport) -> bool:
            if connection in self.dead:
                pool.expire(connection)
            return super().is_closed(connection)

    connector = Expiring()
    pool = make_pool(connector, client_limit=3, min_size=1)
    (first,) = await admit(pool)
    connector.dead.add(first.transport)
    (second,) = await admit(pool)
    assert second.transport is not first.transport
    invariants.check(pool, leases=2)


async def test_idle_connections_are_probed(make_pool: MakePool, telling_connector: TellingConnector) -> None:
    """Every probe_seconds, is_closed is asked of the idle connections: a dead one is replaced before anyone meets it."""
    telling_connector.probe_seconds = 1
    pool = make_pool(telling_connector, client_limit=1, max_size=2, min_size=2, max_concurrent_creates=2)
    await pool.open()
    (client,) = await admit(pool)
    asked = telling_connector.times_asked
    await let_time_pass(10.5)
    assert telling_connector.times_asked == asked + 10  # The one with a client is not asked.
    telling_connector.dead |= set(telling_connector.created)
    await let_time_pass(1)
    assert [transport.number for transport in telling_connector.closed] == [1]
    assert (client.transport.number, pool.ready_connection_count) == (0, 2)


@pytest.mark.parametrize("dead", [0, 1])
async def test_the_dead_go_before_those_that_are_too_many(
    make_pool: MakePool, telling_connector: TellingConnector, dead: int
) -> None:
    """When an idle connection is found dead as one of two becomes surplus, the pool keeps the living one."""
    telling_connector.probe_seconds = telling_connector.create_seconds = 1
    pool = make_pool(telling_connector, client_limit=1, max_size=2, min_size=1, max_idle_seconds=5)
    first, second = await admit(pool, 2)
    await let_time_pass(1)
    first.leave()  # Of the two connections that were begun, one is enough.
    await let_time_pass(2)
    second.leave()
    await let_time_pass(2.5)
    assert (pool.ready_connection_count, telling_connector.closed) == (2, [])
    telling_connector.dead.add(telling_connector.created[dead])
    await let_time_pass(0.6)
    assert [transport.number for transport in telling_connector.closed] == [dead]
    assert (len(telling_connector.created), pool.ready_connection_count) == (2, 1)


async def test_without_probe_seconds_only_checkouts_ask(
    make_pool: MakePool, telling_connector: TellingConnector
) -> None:
    """A connector that sets no probe_seconds is asked when a connection is new, and then once for each checkout."""
    pool = make_pool(telling_connector, min_size=1)
    await pool.open()
    await let_time_pass(200)
    assert telling_connector.times_asked == 1
    await admit(pool, 3)
    assert telling_connector.times_asked == 4


@pytest.mark.parametrize(
    "named",
    [lambda connection: connection.transport, lambda connection: connection],
    ids=["what get gave", "the shared connection"],
)
async def test_expire_retires_without_closing_under_clients(
    make_pool: MakePool, named: Callable[[SharedTransportConnection[Transport]], Transport]
) -> None:
    """An expired connection gets no new client, and is closed when its last one leaves."""
    pool = make_pool(client_limit=3)
    first, second = await admit(pool, 2)
    connection = pool.connections[0]
    pool.expire(named(connection))
    pool.expire_conn(named(connection))  # Again changes nothing.
    assert (connection.state, connection.should_close) == (ConnectionState.DRAINING, True)
    (third,) = await admit(pool)
    assert third.transport is not first.transport
    await let_time_pass(1000)
    first.leave()
    await let_time_pass(1000)
    assert connection.transport.times_closed == 0
    second.leave()
    await wait_until_blocked()
    assert connection.transport.times_closed == 1
    assert connection.state is ConnectionState.CLOSED


async def test_expiring_what_the_pool_does_not_hold_changes_nothing(make_pool: MakePool) -> None:
    """Unknown connections, and those of a pool that is not open, are ignored by expire and report."""
    pool, other = make_pool(), make_pool()
    (client,), (stranger,) = await admit(pool), await admit(other)
    pool.expire(stranger.transport)
    pool.report(stranger.transport, Broken())
    make_pool().expire(client.transport)
    make_pool().report(client.transport, Broken())
    assert (pool.ready_connection_count, other.ready_connection_count) == (1, 1)
    assert pool.stats().totals.reported_errors == 0


async def test_closing_a_connection_takes_close_timeout_at_most(
    make_pool: MakePool, connector: ScriptedConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """A close() that hangs is cancelled after close_timeout, and the connection is done with."""
    connector.close_seconds = None
    pool = make_pool(close_timeout=3)
    (client,) = await admit(pool)
    client.leave()
    pool.expire(client.transport)
    await let_time_pass(2.5)
    assert pool.stats().draining == 1
    await let_time_pass(0.5)
    assert (pool.stats().draining, pool.stats().totals.closed) == (0, 1)
    assert "failed with TimeoutError" in caplog.text


async def test_a_close_that_raises_is_logged_without_its_text(
    make_pool: MakePool, connector: ScriptedConnector, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever close() raises, the connection is CLOSED, and the log names the type alone."""
    connector.close_error = OSError("AccountKey=hush")
    pool = make_pool()
    (client,) = await admit(pool)
    connection = pool.connections[0]
    client.leave()
    pool.expire(client.transport)
    await wait_until_blocked()
    assert connection.state is ConnectionState.CLOSED
    assert f"closing connection {connection.id} failed with OSError" in caplog.text
    assert "hush" not in caplog.text


@pytest.fixture(params=[None, 1])
async def pool_at_its_cap(
    make_pool: MakePool, telling_connector: TellingConnector, request: pytest.FixtureRequest
) -> ConnectionPool[Transport]:
    """A pool of two READY connections and three that drain under clients who stay: five, its cap."""
    telling_connector.fatal = (Broken,)
    telling_connector.probe_seconds = request.param
    pool = make_pool(
        telling_connector, client_limit=1, max_size=2, min_size=2, max_idle_seconds=100, max_lifespan_seconds=200
    )
    await pool.open()
    for _ in range(3):
        (client,) = await admit(pool)
        pool.expire(client.transport)
        await wait_until_blocked()
    return pool


async def test_at_the_cap_retirement_for_age_waits(
    pool_at_its_cap: ConnectionPool[Transport], telling_connector: TellingConnector
) -> None:
    """READY, OPENING and DRAINING stay within twice the limit plus one: there, idle and old ones stay, and no timer spins."""
    pool = pool_at_its_cap
    assert (pool.stats().ready, pool.stats().draining) == (2, 3)
    await let_time_pass(1000)
    assert (pool.stats().ready, pool.stats().draining, telling_connector.begun) == (2, 3, 5)


async def test_at_the_cap_what_is_broken_drains_and_its_successor_waits(
    pool_at_its_cap: ConnectionPool[Transport], telling_connector: TellingConnector
) -> None:
    """At the cap a fatal connection drains as ever; its successor is opened when another has been closed."""
    pool = pool_at_its_cap
    (client,) = await admit(pool)
    (other,) = await admit(pool)
    pool.report(client.transport, Broken())
    pool.report(other.transport, Broken())
    (late,) = await admit(pool)
    invariants.check(pool, leases=5)
    assert (pool.stats().ready, pool.stats().opening, pool.stats().draining) == (0, 0, 5)
    assert late.is_waiting
    client.leave()
    await wait_until_blocked()
    assert late.has_place
    assert telling_connector.begun == 6


@pytest.mark.parametrize("pool_at_its_cap", [1], indirect=True)
async def test_at_the_cap_idle_connections_are_still_probed(
    pool_at_its_cap: ConnectionPool[Transport], telling_connector: TellingConnector
) -> None:
    """A connection that dies at the cap is found by the probe, and makes room for its successor."""
    idle = pool_at_its_cap.connections[0].transport
    await let_time_pass(5)
    telling_connector.dead.add(idle)
    await let_time_pass(1)
    assert idle.times_closed == 1
    assert pool_at_its_cap.stats().ready == 2


async def test_a_forgotten_pool_costs_no_task_and_one_timer(make_pool: MakePool) -> None:
    """An idle pool has no task; all its times share one timer handle."""
    pool = make_pool(min_size=3, max_size=9, max_concurrent_creates=9, max_idle_seconds=100, max_lifespan_seconds=1000)
    await pool.open()
    for client in await admit(pool, 50):
        client.leave()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    live = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert len(live) == 1


async def test_a_drained_connection_is_idle_since_its_last_client(make_pool: MakePool) -> None:
    """The idle time of a DRAINING connection counts from its last client's leaving, not from an earlier one's."""
    pool = make_pool(client_limit=1, close_timeout=50)
    pool._connector.close_seconds = 40  # type: ignore[attr-defined]
    (client,) = await admit(pool)
    connection = pool.connections[0]
    await let_time_pass(30)
    pool.expire(client.transport)
    await let_time_pass(5)
    client.leave()
    await let_time_pass(2)
    assert connection.time_spent_idle == 2


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    """Catch what the pool logs."""
    caplog.set_level(logging.DEBUG, "fastapi_azure_pool")
