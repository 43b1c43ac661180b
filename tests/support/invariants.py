"""What holds of a pool after every step, whatever happened to it: the invariants of its design, a function each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from fastapi_azure_pool.pool import ConnectionPool, ConnectionState

if TYPE_CHECKING:
    from fastapi_azure_pool.pool.generation import Generation

    from .scripted_connector import Transport


class Creator(Protocol):
    """A connector that remembers what it has created.

    Attributes:
        created: What create() has returned, in order.
    """

    created: list[Transport]


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
        who_waits_has_something_to_wait_for(generation)
        the_alarm_rings_for_what_falls_due_next(generation)


def check_at_rest(pool: ConnectionPool[Transport]) -> None:
    """Check what holds of an open pool besides, whenever nothing can go on without time passing."""
    generation = pool._generation
    assert generation is not None
    who_waits_is_being_helped(generation)
    min_size_is_there_or_on_its_way(generation)
    nothing_is_overdue(generation)


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
    assert len(generation.ledger) + len(generation.tasks.opening) <= generation.limits.burst_limit + 1
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


def who_waits_has_something_to_wait_for(generation: Generation[Transport]) -> None:
    """Someone is in line only while a connection is ready or being opened, or the cap keeps one from being opened."""
    if any(not place.done() for place in generation.waiters.line or ()):
        assert len(generation.ledger) or generation.tasks.opening or generation._existing >= generation.limits.cap


def the_alarm_rings_for_what_falls_due_next(generation: Generation[Transport]) -> None:
    """The one timer is set to the next attempt, or to when the next connection falls due, or before."""
    if generation.is_closing:
        return
    rings_at = math.inf if generation._alarm._handle is None else generation._alarm._when
    if generation.backoff.retry_at is not None:
        assert rings_at <= generation.backoff.retry_at
    elif len(generation.ledger) and generation._existing < generation.limits.cap:
        assert rings_at <= min(generation.retirement.times(generation.ledger, generation._now()), default=math.inf)


def who_waits_is_being_helped(generation: Generation[Transport]) -> None:
    """While someone is in line, one more connection is on its way, unless a limit or the pause after a failure forbids it."""
    if generation.waiters and generation.backoff.retry_at is None:
        limits, ready, opening = generation.limits, len(generation.ledger), len(generation.tasks.opening)
        demand = -(-(generation.clients + len(generation.waiters)) // limits.client_limit)
        allowed = limits.burst_limit if ready >= limits.max_size else limits.max_size
        at_once = 1 if generation.backoff.is_failing else limits.max_concurrent_creates
        assert ready + opening >= min(demand, allowed) or opening >= at_once or generation._existing >= limits.cap


def min_size_is_there_or_on_its_way(generation: Generation[Transport]) -> None:
    """At least ``min_size`` connections are ready or being opened, unless the cap or the pause after a failure forbids it."""
    if generation.backoff.retry_at is None:
        limits, ready, opening = generation.limits, len(generation.ledger), len(generation.tasks.opening)
        at_once = 1 if generation.backoff.is_failing else limits.max_concurrent_creates
        assert ready + opening >= limits.min_size or opening >= at_once or generation._existing >= limits.cap


def nothing_is_overdue(generation: Generation[Transport]) -> None:
    """No attempt, no end of a lifespan and no end of idleness has been missed; at the cap, retirement waits."""
    now, limits = generation._now(), generation.limits
    assert generation.backoff.retry_at is None or generation.backoff.retry_at > now
    if generation._existing >= limits.cap:
        return
    for connection in generation.ledger:
        assert connection.expires_at is None or connection.expires_at > now
    if limits.max_idle_seconds is not None and len(generation.ledger) > limits.min_size:
        for connection in generation.ledger.idle():
            assert connection.idle_since is not None
            assert connection.idle_since + limits.max_idle_seconds > now


def every_connection_was_closed_exactly_once(connector: Creator) -> None:
    """By the end of ``close()``, each connection that create() returned has been closed exactly once."""
    assert [transport.times_closed for transport in connector.created] == [1] * len(connector.created)
