"""What a shared connection tells about itself, and which states follow which."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.pool import (
    AbstractConnector,
    AbstractorConnector,
    ConnectionPool,
    ConnectionState,
    SharedTransportConnection,
)
from tests.support.clients import admit
from tests.support.virtual_time import let_time_pass

if TYPE_CHECKING:
    from tests.support.pools import MakePool
    from tests.support.scripted_connector import ScriptedConnector

ALLOWED = {
    (ConnectionState.OPENING, ConnectionState.READY),
    (ConnectionState.OPENING, ConnectionState.CLOSED),
    (ConnectionState.READY, ConnectionState.DRAINING),
    (ConnectionState.READY, ConnectionState.CLOSED),  # Its event loop has gone.
    (ConnectionState.DRAINING, ConnectionState.CLOSED),
}


@pytest.mark.parametrize(("earlier", "later"), [*itertools.product(ConnectionState, repeat=2)])
def test_states_follow_one_another_in_order(earlier: ConnectionState, later: ConnectionState) -> None:
    """OPENING -> READY -> DRAINING -> CLOSED, or OPENING -> CLOSED; any other step is refused and changes nothing."""
    connection: SharedTransportConnection[str] = SharedTransportConnection(1, None, lambda: 0.0)
    connection.state = earlier
    if (earlier, later) in ALLOWED:
        connection.become(later)
        assert connection.state is later
    else:
        with pytest.raises(RuntimeError, match=f"that is {earlier.name} cannot become {later.name}"):
            connection.become(later)
        assert connection.state is earlier


async def test_a_connection_tells_its_clients_and_its_times(make_pool: MakePool) -> None:
    """Counts and seconds are those of the pool's clients and its clock."""
    pool = make_pool(client_limit=2, max_idle_seconds=50, max_lifespan_seconds=1000)
    first, second = await admit(pool, 2)
    (connection,) = pool.connections
    assert (connection.current_client_count, connection.client_limit, connection.available) == (2, 2, False)
    assert (connection.is_ready, connection.should_close, connection.expired) == (True, False, False)
    await let_time_pass(10)
    assert (connection.lifetime, connection.time_spent_idle) == (10, 0)
    first.leave()
    assert connection.available
    assert repr(connection) == f"<SharedTransportConnection {connection.id} READY, 1 of 2 clients>"
    second.leave()
    await let_time_pass(5)
    assert (connection.lifetime, connection.time_spent_idle) == (15, 5)


async def test_a_connection_expires_by_age_and_by_idleness(make_pool: MakePool) -> None:
    """``expired`` is true from the end of the lifespan on, and from max_idle_seconds without a client on."""
    pool = make_pool(max_idle_seconds=50, max_lifespan_seconds=100)
    (client,) = await admit(pool)
    (connection,) = pool.connections
    await let_time_pass(99)
    assert not connection.expired
    await let_time_pass(1)
    assert connection.expired
    pool = make_pool(max_idle_seconds=50)
    for client in await admit(pool, 1):
        client.leave()
    (connection,) = pool.connections
    await let_time_pass(49)
    assert not connection.expired
    await let_time_pass(1)
    assert connection.expired


def test_a_connection_that_is_opening_has_no_times_yet() -> None:
    """Before it is ready it has neither age nor idle time, is not expired, and has no room."""
    connection: SharedTransportConnection[str] = SharedTransportConnection(1, 10, lambda: 1000.0)
    assert (connection.lifetime, connection.time_spent_idle, connection.expired) == (0.0, 0.0, False)
    assert (connection.available, connection.is_ready, connection.should_close) == (False, False, False)
    assert connection.state is ConnectionState.OPENING


def test_ids_are_short_and_differ() -> None:
    """Six hexadecimal digits name a connection."""
    ids = {SharedTransportConnection[str](1, None, lambda: 0.0).id for _ in range(100)}
    assert len(ids) > 90
    assert all(len(name) == 6 and int(name, 16) >= 0 for name in ids)


async def test_a_connector_closes_by_the_connection_s_own_close() -> None:
    """A connector that says nothing of closing, of death and of fatal errors awaits ``connection.close()``, and sees none."""

    class Closeable:
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    class Plain(AbstractConnector[Closeable]):
        async def create(self) -> Closeable:
            return Closeable()

        async def ready(self, connection: Closeable) -> bool:
            return True

    pool = ConnectionPool(Plain())
    with pytest.raises(OSError, match="harmless"):
        async with pool.get() as transport:
            raise OSError("harmless")
    assert pool.ready_connection_count == 1
    await pool.close()
    assert transport.closed == 1


def test_the_toolbox_s_name_still_works(connector: ScriptedConnector) -> None:
    """``AbstractorConnector``, the name in aio-azure-clients-toolbox, is ``AbstractConnector``."""
    assert AbstractorConnector is AbstractConnector
    assert isinstance(connector, AbstractorConnector)
