"""What holds of a pool after every step, whatever happened to it: the invariants of its design, a function each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastapi_azure_pool.pool import ConnectionPool, ConnectionState

if TYPE_CHECKING:
    from fastapi_azure_pool.pool import SharedTransportConnection
    from fastapi_azure_pool.pool.generation import Generation
    from fastapi_azure_pool.pool.limits import PoolLimits

    from .scripted_connector import Transport


class Creator(Protocol):
    """A connector that remembers what it has created.

    Attributes:
        created: What create() has returned, in order.
    """

    created: list[Transport]


@dataclass(frozen=True, slots=True)
class Census:
    """A pool's life, counted once: what each rule looks at.

    Attributes:
        generation: The life.
        limits: Its sizes.
        ready: The READY connections, in the order of choice.
        draining: Those DRAINING.
        opening: Those OPENING.
    """

    generation: Generation[Transport]
    limits: PoolLimits
    ready: tuple[SharedTransportConnection[Transport], ...]
    draining: tuple[SharedTransportConnection[Transport], ...]
    opening: tuple[SharedTransportConnection[Transport], ...]

    @classmethod
    def of(cls, generation: Generation[Transport]) -> Census:
        """Count."""
        return cls(
            generation,
            generation.limits,
            tuple(generation.ledger),
            tuple(generation.draining),
            tuple(generation.tasks.opening),
        )

    @property
    def existing(self) -> int:
        """How many connections there are that are not CLOSED."""
        return len(self.ready) + len(self.draining) + len(self.opening)

    @property
    def is_at_the_cap(self) -> bool:
        """Whether the cap forbids to open one more, and retirement waits."""
        return self.existing >= 2 * self.limits.burst_limit + 1

    @property
    def is_busy_opening(self) -> bool:
        """Whether no more may be opened at once; who is failing is asked by one attempt at a time."""
        at_once = 1 if self.generation.backoff.is_failing else self.limits.max_concurrent_creates
        return len(self.opening) >= at_once

    @property
    def is_pausing(self) -> bool:
        """Whether the next attempt comes later, since the last one failed."""
        return self.generation.backoff.retry_at is not None


def check(pool: ConnectionPool[Transport], *, leases: int) -> None:
    """Check every invariant of a pool in which so many places are held."""
    generation = pool._generation
    if generation is not None:
        census = Census.of(generation)
        clients_stay_within_their_connection_s_limit(census)
        every_lease_is_counted_once(census, leases)
        only_ready_and_draining_connections_have_clients(census)
        nobody_waits_while_a_ready_connection_has_room(census)
        ready_and_opening_stay_within_the_limit_in_force(census)
        everything_stays_within_the_cap(census)
        openings_stay_within_max_concurrent_creates(census)
        the_counts_that_are_kept_are_those_that_are_found(census)
        who_waits_has_something_to_wait_for(census)
        the_alarm_rings_for_what_falls_due_next(census)
        the_alarm_rings_for_the_lease_held_longest(census)


def check_at_rest(pool: ConnectionPool[Transport]) -> None:
    """Check what holds of a pool besides, whenever nothing can go on without time passing."""
    generation = pool._generation
    if generation is not None:
        census = Census.of(generation)
        every_opening_goes_on(census)
        if not generation.is_closing:
            who_waits_is_being_helped(census)
            min_size_is_there_or_on_its_way(census)
            nothing_is_overdue(census)


def clients_stay_within_their_connection_s_limit(census: Census) -> None:
    """0 <= clients <= client_limit for each connection."""
    for connection in (*census.ready, *census.draining, *census.opening):
        assert 0 <= connection.current_client_count <= census.limits.client_limit


def every_lease_is_counted_once(census: Census, leases: int) -> None:
    """The sum of the clients is the number of leases."""
    assert sum([connection.current_client_count for connection in (*census.ready, *census.draining)]) == leases
    assert census.generation.clients == leases


def only_ready_and_draining_connections_have_clients(census: Census) -> None:
    """A connection with clients is READY or DRAINING, and the pool holds each where its state says."""
    for connection in census.ready:
        assert connection.state is ConnectionState.READY
    for connection in census.draining:
        assert connection.state is ConnectionState.DRAINING
    for connection in census.opening:
        assert connection.state is ConnectionState.OPENING
        assert connection.current_client_count == 0


def nobody_waits_while_a_ready_connection_has_room(census: Census) -> None:
    """Someone is in line only while every READY connection is full."""
    if census.generation.waiters:
        assert not any(connection.available for connection in census.ready)


def ready_and_opening_stay_within_the_limit_in_force(census: Census) -> None:
    """READY and OPENING together stay within the limit in force and one replacement."""
    limits, limit = census.limits, census.generation._limit()
    assert len(census.ready) + len(census.opening) <= min(limit, limits.burst_limit) + 1
    assert limits.max_size <= limit <= limits.burst_limit
    assert census.generation.retirement.due.keys() <= set(census.ready)


def everything_stays_within_the_cap(census: Census) -> None:
    """READY, OPENING and DRAINING together stay within twice the limit, and one."""
    assert census.existing <= 2 * census.limits.burst_limit + 1


def openings_stay_within_max_concurrent_creates(census: Census) -> None:
    """No more connections are being opened at once than ``max_concurrent_creates``."""
    assert len(census.opening) <= census.limits.max_concurrent_creates


def the_counts_that_are_kept_are_those_that_are_found(census: Census) -> None:
    """The ledger's running numbers agree with a recount of its buckets."""
    ledger = census.generation.ledger
    counts = [connection.current_client_count for connection in census.ready]
    assert len(ledger) == len(counts)
    assert counts == sorted(counts)
    assert ledger.lowest == (counts[0] if counts else census.limits.client_limit)
    assert ledger.clients == sum(counts)
    assert ledger.peak >= ledger.clients


def who_waits_has_something_to_wait_for(census: Census) -> None:
    """Someone is in line only while a connection is ready or being opened, or the cap keeps one from being opened."""
    if any(not place.done() for place in census.generation.waiters.line or ()):
        assert census.ready or census.opening or census.is_at_the_cap


def the_alarm_rings_for_what_falls_due_next(census: Census) -> None:
    """The one timer is set to the next attempt, or to when the next connection falls due, or before."""
    generation = census.generation
    if generation.is_closing:
        return
    rings_at = math.inf if generation._alarm._handle is None else generation._alarm._when
    if generation.backoff.retry_at is not None:
        assert rings_at <= generation.backoff.retry_at
    if census.ready and not census.is_at_the_cap:
        assert rings_at <= min(generation.retirement.times(census.ready, generation._now()), default=math.inf)


def the_alarm_rings_for_the_lease_held_longest(census: Census) -> None:
    """Where the pool warns of leaks, its timer is set to the first lease that it has to warn of, or before."""
    seconds, generation = census.limits.leak_warning_seconds, census.generation
    if seconds is None or (generation._drained is not None and generation._drained.done()):
        return
    oldest = next(iter(generation.leaks._held), None)
    if oldest is not None:
        assert generation._alarm._handle is not None
        assert generation._alarm._when <= oldest.held_since + seconds


def every_opening_goes_on(census: Census) -> None:
    """What is being opened has a task that does so."""
    for task in census.generation.tasks.opening.values():
        assert task is not None
        assert not task.done()


def who_waits_is_being_helped(census: Census) -> None:
    """While someone is in line, one more connection is on its way, unless a limit or the pause after a failure forbids it."""
    waiting = len(census.generation.waiters)
    if waiting and not census.is_pausing:
        limits, present = census.limits, len(census.ready) + len(census.opening)
        demand = -(-(census.generation.clients + waiting) // limits.client_limit)
        allowed = limits.burst_limit if len(census.ready) >= limits.max_size else limits.max_size
        assert present >= min(demand, allowed) or census.is_busy_opening or census.is_at_the_cap


def min_size_is_there_or_on_its_way(census: Census) -> None:
    """At least ``min_size`` connections are ready or being opened, unless the cap or the pause after a failure forbids it."""
    if not census.is_pausing:
        present = len(census.ready) + len(census.opening)
        assert present >= census.limits.min_size or census.is_busy_opening or census.is_at_the_cap


def nothing_is_overdue(census: Census) -> None:
    """No attempt, no end of a lifespan and no end of idleness has been missed; at the cap, retirement waits."""
    generation, limits, now = census.generation, census.limits, census.generation._now()
    assert generation.backoff.retry_at is None or generation.backoff.retry_at > now
    if census.is_at_the_cap:
        return
    for connection in census.ready:
        assert connection.expires_at is None or connection.expires_at > now
    if limits.max_idle_seconds is not None and len(census.ready) > limits.min_size:
        # One that is being replaced waits for its successor.
        for connection in set(generation.ledger.idle()) - set(generation.retirement.due):
            assert connection.idle_since is not None
            assert connection.idle_since + limits.max_idle_seconds > now


def every_connection_was_closed_exactly_once(connector: Creator) -> None:
    """By the end of ``close()``, each connection that create() returned has been closed exactly once."""
    assert [transport.times_closed for transport in connector.created] == [1] * len(connector.created)
