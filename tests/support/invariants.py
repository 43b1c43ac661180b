"""What holds of a pool after every step, whatever happened to it: the invariants of its design, a function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.pool import ConnectionPool, ConnectionState

if TYPE_CHECKING:
    from fastapi_azure_pool.pool.generation import Generation

    from .scripted_connector import ScriptedConnector, Transport


def check(pool: ConnectionPool[Transport], *, leases: int) -> None:
    """Check every invariant of a pool in which so many places are held."""
    generation = pool._generation
    if generation is not None:
        clients_stay_within_their_connection_s_limit(generation)
        every_lease_is_counted_once(generation, leases)
        only_ready_and_draining_connections_have_clients(generation)
        nobody_waits_while_a_ready_connection_has_room(generation)
        ready_and_opening_stay_within_the_limit_in_force(generation)
        everything_stays_within_the_cap(generation)
        openings_stay_within_max_concurrent_creates(generation)
        the_counts_that_are_kept_are_those_that_are_found(generation)


def clients_stay_within_their_connection_s_limit(generation: Generation[Transport]) -> None:
    """0 <= clients <= client_limit for each connection."""
    for connection in (*generation.connections, *generation.tasks.opening):
        assert 0 <= connection.current_client_count <= generation.limits.client_limit


def every_lease_is_counted_once(generation: Generation[Transport], leases: int) -> None:
    """The sum of the clients is the number of leases."""
    assert sum(connection.current_client_count for connection in generation.connections) == leases
    assert generation.clients == leases


def only_ready_and_draining_connections_have_clients(generation: Generation[Transport]) -> None:
    """A connection with clients is READY or DRAINING, and the pool holds each where its state says."""
    assert all(connection.state is ConnectionState.READY for connection in generation.ledger)
    assert all(connection.state is ConnectionState.DRAINING for connection in generation.draining)
    for connection in generation.tasks.opening:
        assert connection.state is ConnectionState.OPENING
        assert connection.current_client_count == 0


def nobody_waits_while_a_ready_connection_has_room(generation: Generation[Transport]) -> None:
    """Someone is in line only while every READY connection is full."""
    if generation.waiters:
        assert all(not connection.available for connection in generation.ledger)


def ready_and_opening_stay_within_the_limit_in_force(generation: Generation[Transport]) -> None:
    """READY and OPENING together stay within the limit in force and one replacement."""
    assert len(generation.ledger) + len(generation.tasks.opening) <= generation._limit() + 1
    assert generation.limits.max_size <= generation._limit() <= generation.limits.burst_limit
    assert set(generation.retirement.due) <= set(generation.ledger)


def everything_stays_within_the_cap(generation: Generation[Transport]) -> None:
    """READY, OPENING and DRAINING together stay within twice the limit, and one."""
    existing = len(generation.ledger) + len(generation.tasks.opening) + len(generation.draining)
    assert existing <= 2 * generation.limits.burst_limit + 1


def openings_stay_within_max_concurrent_creates(generation: Generation[Transport]) -> None:
    """No more connections are being opened at once than ``max_concurrent_creates``."""
    assert len(generation.tasks.opening) <= generation.limits.max_concurrent_creates


def the_counts_that_are_kept_are_those_that_are_found(generation: Generation[Transport]) -> None:
    """The ledger's running numbers agree with a recount of its buckets."""
    ledger = generation.ledger
    counts = [connection.current_client_count for connection in ledger]
    assert len(ledger) == len(counts)
    assert counts == sorted(counts)
    assert ledger.lowest == min(counts, default=generation.limits.client_limit)
    assert ledger.clients == sum(counts)
    assert ledger.peak >= ledger.clients


def every_connection_was_closed_exactly_once(connector: ScriptedConnector) -> None:
    """By the end of ``close()``, each connection that create() returned has been closed exactly once."""
    assert [transport.times_closed for transport in connector.created] == [1] * len(connector.created)
