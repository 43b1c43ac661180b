"""What a pool looks like at one moment, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi_azure_pool.pool.connection import ConnectionState
    from fastapi_azure_pool.pool.lifecycle import PoolState


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """One connection at one moment.

    Attributes:
        id: Its six hexadecimal digits.
        state: READY or DRAINING.
        current_client_count: Clients that hold a place, 0 to the pool's ``client_limit``.
        idle_seconds: How long it has had no client; 0.0 while it has one.
        age_seconds: How long ago it became ready.
    """

    id: str
    state: ConnectionState
    current_client_count: int
    idle_seconds: float
    age_seconds: float


@dataclass(slots=True)
class Counters:
    """What a pool counts over all its generations; `PoolTotals` tells what each means.

    Checkouts of the present generation are counted by its ledger, on the fast path, and added when it ends.
    """

    checkouts: int = 0
    opened: int = 0
    closed: int = 0
    open_failures: int = 0
    timeouts: int = 0
    waited: int = 0
    reported_errors: int = 0

    def snapshot(self, present_checkouts: int) -> PoolTotals:
        """Give the counters as they stand, with the checkouts of the present generation."""
        return PoolTotals(
            checkouts=self.checkouts + present_checkouts,
            opened=self.opened,
            closed=self.closed,
            open_failures=self.open_failures,
            timeouts=self.timeouts,
            waited=self.waited,
            reported_errors=self.reported_errors,
        )


@dataclass(frozen=True, slots=True)
class PoolTotals:
    """Counters that only rise, over the life of the pool object.

    Attributes:
        checkouts: Places given to callers.
        opened: Connections that became ready.
        closed: Connections, once ready, that have been closed.
        open_failures: Attempts to open one that failed.
        timeouts: Callers who gave up waiting.
        waited: Callers who had to wait for a place.
        reported_errors: Errors that a transport reported with `ConnectionPool.report`.
    """

    checkouts: int
    opened: int
    closed: int
    open_failures: int
    timeouts: int
    waited: int
    reported_errors: int


@dataclass(frozen=True, slots=True)
class LastError:
    """What last went wrong with a connection: it could not be opened, or it broke.

    Attributes:
        type: The exception's type name; never its text, which may hold an address or a secret.
        seconds_ago: How long ago.
    """

    type: str
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment; what `ConnectionPool.stats` gives.

    Attributes:
        name: The pool's name, or None.
        state: A `PoolState`.
        ready: Connections that are open, proven, and get clients.
        opening: Connections being opened.
        draining: Connections being retired: no new client, closed when the last one leaves.
        clients: Places in use, over all connections.
        waiting: Callers in line.
        client_limit: Clients per connection at most.
        min_size: Connections the pool keeps ready.
        max_size: Connections at most, without callers who wait.
        burst_limit: Connections at most, while callers wait.
        is_full: Whether every connection that the pool may have is ready and carries ``client_limit`` clients.
        is_failing: Whether the last attempt to open a connection failed.
        connections: Those READY and DRAINING.
        totals: Counters that only rise.
        last_error: What last went wrong with a connection, or None.
    """

    name: str | None
    state: PoolState
    ready: int
    opening: int
    draining: int
    clients: int
    waiting: int
    client_limit: int
    min_size: int
    max_size: int
    burst_limit: int
    is_full: bool
    is_failing: bool
    connections: tuple[ConnectionStats, ...]
    totals: PoolTotals
    last_error: LastError | None
