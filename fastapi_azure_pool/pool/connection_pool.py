"""A pool of connections that many clients share."""

from __future__ import annotations

import asyncio
import math
import warnings
from contextvars import Context
from typing import TYPE_CHECKING, Generic, Self

from fastapi_azure_pool.errors import PoolClosed, WrongLoopError
from fastapi_azure_pool.pool.connector import AbstractConnector, ConnT
from fastapi_azure_pool.pool.forks import leave_to_parent_when_forked
from fastapi_azure_pool.pool.generation import Generation
from fastapi_azure_pool.pool.leaks import WatchedLease
from fastapi_azure_pool.pool.lease import Lease
from fastapi_azure_pool.pool.lifecycle import PoolState
from fastapi_azure_pool.pool.limits import PoolLimits, check_count, check_drain
from fastapi_azure_pool.pool.stats import ConnectionStats, Counters, LastError, PoolStats

if TYPE_CHECKING:
    from types import TracebackType

    from fastapi_azure_pool.pool.connection import SharedTransportConnection


class ConnectionPool(Generic[ConnT]):
    """Opens connections, shares each between up to ``client_limit`` clients, replaces them in time, and closes them.

    Taking a place and giving it back are plain functions without a lock. Everything slow (opening, closing) happens in tasks of
    the pool, so that no caller's cancellation or time-out reaches them. A pool belongs to the event loop that it is opened on.

    Args:
        connector: Opens, proves, judges and closes the connections.
        client_limit: Clients that may share one connection, at least 1.
        max_size: Connections at most, at least 1.
        max_idle_seconds: Seconds without a client after which a connection is retired, above 0; None keeps idle ones. It is also
            the time over which the pool watches its peak of clients before it gives up connections it does not need.
        max_lifespan_seconds: Seconds after which a connection is retired, above 0; None keeps old ones. Each falls due at 90 to
            100 % of it, at random, so that those opened together are not replaced together.
        max_concurrent_creates: Connections that may be opened at once, at least 1; None means ``max(max_size // 3, 1)``.
        min_size: Connections to keep ready, 0 to ``max_size``.
        burst_limit: Connections at most while callers wait with every connection full, at least ``max_size``, which is what None
            means.
        grow_at: Clients on every connection at which one more is opened, 1 to ``client_limit``; None asks the connector, whose
            default is ``client_limit``: one more only when that is not enough.
        max_waiting: Callers in line at most, at least 0; None means any number.
        create_timeout: Seconds that opening one connection may take, ``create()`` and ``ready()`` together, above 0.
        close_timeout: Seconds that closing one connection may take, above 0.
        leak_warning_seconds: Seconds after which a place that is still held is warned of, above 0: one line in the log, which
            tells where it was asked for. None, the default, warns of none, and costs nothing.
        name: What messages and logs call the pool.

    Raises:
        ValueError: A size or time is out of bounds; the message names it and the bound.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_connector",
        "_counters",
        "_generation",
        "_lease",
        "_limits",
        "_serving",
        "_state",
        "name",
    )

    def __init__(
        self,
        connector: AbstractConnector[ConnT],
        client_limit: int = 100,
        max_size: int = 10,
        max_idle_seconds: float | None = 300,
        max_lifespan_seconds: float | None = None,
        max_concurrent_creates: int | None = None,
        *,
        min_size: int = 0,
        burst_limit: int | None = None,
        grow_at: int | None = None,
        max_waiting: int | None = None,
        create_timeout: float = 10.0,
        close_timeout: float = 5.0,
        leak_warning_seconds: float | None = None,
        name: str | None = None,
    ) -> None:
        # What others are derived from, first.
        check_count("client_limit", client_limit, at_least=1)
        check_count("max_size", max_size, at_least=1)
        if grow_at is None:
            grow_at = client_limit if connector.grow_at is None else min(connector.grow_at, client_limit)
        self._limits = PoolLimits(
            client_limit=client_limit,
            max_size=max_size,
            max_idle_seconds=max_idle_seconds,
            max_lifespan_seconds=max_lifespan_seconds,
            max_concurrent_creates=max(max_size // 3, 1) if max_concurrent_creates is None else max_concurrent_creates,
            min_size=min_size,
            burst_limit=max_size if burst_limit is None else burst_limit,
            grow_at=grow_at,
            max_waiting=max_waiting,
            create_timeout=create_timeout,
            close_timeout=close_timeout,
            probe_seconds=connector.probe_seconds,
            leak_warning_seconds=leak_warning_seconds,
        )
        # Chosen once, so that who wants no warnings does not pay for them at every checkout.
        self._lease: type[Lease[ConnT]] = Lease if leak_warning_seconds is None else WatchedLease
        self.name = name
        self._connector = connector
        self._counters = Counters()
        self._forget(PoolState.NEW)

    def _forget(self, state: PoolState) -> None:
        """Let go of the present generation; what it gave out is stale from now on."""
        self._state = state
        self._generation: Generation[ConnT] | None = None
        # The generation while the pool is OPEN, else None: what a checkout looks at first.
        self._serving: Generation[ConnT] | None = None
        self._closing: asyncio.Task[None] | None = None

    # Using it ------------------------------------------------------------------------------------------------------------------

    def get(self, timeout: float | None = 60.0) -> Lease[ConnT]:
        """Check out a place: ``async with pool.get() as connection:`` gives what the connector's ``create()`` returned.

        The connection is that with the fewest clients, among those the one longest idle. Where none has room the caller waits in
        line, and is served in order of arrival. A pool that was never opened opens itself.

        Args:
            timeout: Seconds to wait for a place, from the moment of entering; 0 or less takes only what is free at once, None waits
                for ever. Opening a connection is never cut short by it.

        Raises:
            ConnectionsExhausted: No place came free in time, or ``max_waiting`` callers are in line already.
            ConnectionFailed: No connection is ready and none can be opened; carries ``retry_after`` and the cause.
            PoolClosed: The pool is closing or closed.
            WrongLoopError: The pool is open on another event loop.
            ValueError: ``timeout`` is not a number.
        """
        return self._lease(self, timeout)

    async def open(self, timeout: float | None = 60.0) -> None:
        """Open the pool on the running event loop and wait until ``min_size`` connections are ready.

        Waits for a pool that is closing, and opens a closed one again; does nothing to one that is open and filled. A pool that
        could not be filled stays open and goes on trying: close it to give up.

        Args:
            timeout: Seconds to wait, None for ever.

        Raises:
            ConnectionFailed: Nothing is ready and an attempt failed; the SDK's error is the cause.
            ConnectionsExhausted: Some, but not ``min_size``, connections were ready in time.
            PoolClosed: The pool was closed meanwhile.
            WrongLoopError: The pool is open on another event loop.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(timeout):
                self._check_loop(loop)
                while self._closing is not None:
                    await asyncio.shield(self._closing)
                if self._state is PoolState.CLOSED:
                    self._state = PoolState.NEW
                await self._enter(loop).fill()
        except TimeoutError:
            raise self._enter(loop).exhausted(
                loop.time() - started, advice="see the last error, or raise the timeout"
            ) from None

    async def close(self, drain_seconds: float = 10.0) -> None:
        """Close the pool: who waits is sent away at once, who holds a connection may finish, then everything is closed.

        Closing goes on by itself when the caller is cancelled. Closing a pool that is closing waits for it (and may shorten its
        drain); closing a closed one does nothing.

        Args:
            drain_seconds: Seconds that clients may go on, at least 0; after that their connections are closed under them. 0 closes
                at once.

        Raises:
            ValueError: ``drain_seconds`` is below 0, or no number.
            WrongLoopError: The pool is open on another event loop.
        """
        check_drain(drain_seconds)
        loop = asyncio.get_running_loop()
        self._check_loop(loop)
        generation = self._generation
        if generation is None:
            self._state = PoolState.CLOSED
            return
        closing = self._closing
        if closing is None:
            self._state = PoolState.CLOSING
            self._serving = None
            drained = generation.begin_closing()
            closing = generation.tasks.start(self._finish_closing(generation, drained), "close")
            # A loop with eager tasks may have finished it already.
            if self._generation is generation:
                self._closing = closing
        if drain_seconds < math.inf:
            limit = loop.call_later(drain_seconds, generation.stop_draining, context=Context())
            closing.add_done_callback(lambda _: limit.cancel(), context=Context())
        await asyncio.shield(closing)

    closeall = close

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Telling it ----------------------------------------------------------------------------------------------------------------

    def expire(self, connection: ConnT | SharedTransportConnection[ConnT]) -> None:
        """Retire a connection: it gets no new client, and is closed when its last one leaves.

        Args:
            connection: What `get` gave, or a `SharedTransportConnection`; one that the pool does not hold is ignored.
        """
        generation, held = self._find(connection)
        if generation is not None and held is not None:
            generation.retire(held)

    expire_conn = expire

    def report(self, connection: ConnT | SharedTransportConnection[ConnT], error: BaseException) -> None:
        """Tell what a connection's transport met, also where the SDK retries or the caller swallows it.

        The connector's ``is_fatal`` decides whether the connection is retired.

        Args:
            connection: What ``create()`` returned, or a `SharedTransportConnection`; one that the pool does not hold is ignored.
            error: What the transport met.
        """
        generation, held = self._find(connection)
        if generation is not None and held is not None:
            self._counters.reported_errors += 1
            generation.judge(held, error)

    # Looking at it -------------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> PoolState:
        """Where the pool is in its life."""
        return self._state

    @property
    def connections(self) -> tuple[SharedTransportConnection[ConnT], ...]:
        """The connections that are READY (in the order of choice) and DRAINING."""
        return () if self._generation is None else self._generation.connections

    @property
    def ready_connection_count(self) -> int:
        """How many connections are READY."""
        return 0 if self._generation is None else len(self._generation.ledger)

    def stats(self) -> PoolStats:
        """Give a frozen snapshot; O(1) but for the tuple of connections."""
        limits, generation = self._limits, self._generation
        ready = opening = draining = clients = waiting = 0
        is_full = is_failing = False
        last_error = None
        if generation is not None:
            ready, opening, draining = len(generation.ledger), len(generation.tasks.opening), len(generation.draining)
            clients, waiting = generation.clients, len(generation.waiters)
            is_full = ready >= limits.max_size and generation.ledger.lowest == limits.client_limit
            is_failing = generation.backoff.is_failing
            if generation.last_error is not None:
                kind, when = generation.last_error
                last_error = LastError(kind, generation.loop.time() - when)
        return PoolStats(
            name=self.name,
            state=self._state,
            ready=ready,
            opening=opening,
            draining=draining,
            clients=clients,
            waiting=waiting,
            client_limit=limits.client_limit,
            min_size=limits.min_size,
            max_size=limits.max_size,
            burst_limit=limits.burst_limit,
            is_full=is_full,
            is_failing=is_failing,
            connections=tuple(
                ConnectionStats(
                    id=connection.id,
                    state=connection.state,
                    current_client_count=connection.current_client_count,
                    idle_seconds=connection.time_spent_idle,
                    age_seconds=connection.lifetime,
                )
                for connection in self.connections
            ),
            totals=self._counters.snapshot(0 if generation is None else generation.ledger.taken),
            last_error=last_error,
        )

    def __repr__(self) -> str:
        stats = self.stats()
        name = "" if self.name is None else f" {self.name!r}"
        return (
            f"<{type(self).__name__}{name} {self._state.name}, ready={stats.ready}, opening={stats.opening},"
            f" draining={stats.draining}, clients={stats.clients}, waiting={stats.waiting}>"
        )

    # Its generations -----------------------------------------------------------------------------------------------------------

    def _check_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raise WrongLoopError if the pool lives on another loop; forget a generation whose loop is gone."""
        generation = self._generation
        if generation is None or generation.loop is loop:
            return
        if not generation.loop.is_closed():
            raise WrongLoopError(self.name)
        message = (
            f"{self!r} was not closed before its event loop was, and its connections are lost: close it in the lifespan"
        )
        generation.abandon()
        self._counters.checkouts += generation.ledger.taken
        self._forget(PoolState.NEW)
        # Last, for it raises where warnings are errors.
        warnings.warn(message, ResourceWarning, stacklevel=3)

    def _enter(self, loop: asyncio.AbstractEventLoop) -> Generation[ConnT]:
        """Give the generation on this loop; begin one if the pool is NEW."""
        self._check_loop(loop)
        if self._state is PoolState.NEW:
            self._generation = self._serving = Generation(
                loop, self._connector, self._limits, self._counters, self.name
            )
            self._state = PoolState.OPEN
            leave_to_parent_when_forked(self)
        if self._serving is None:
            raise PoolClosed(self.name, state=self._state.name.lower())
        return self._serving

    def leave_to_parent(self) -> object:
        """Be NEW again, or CLOSED if it was closing, with none of the parent's connections; see `Inherited`."""
        generation = self._generation
        if generation is not None:
            self._forget(PoolState.CLOSED if generation.is_closing else PoolState.NEW)
            self._counters = Counters()
            # What was taken of it may be given back in the child, too, and that must not close anything.
            generation.abandon()
        return generation

    async def _finish_closing(self, generation: Generation[ConnT], drained: asyncio.Future[None]) -> None:
        try:
            await generation.finish_closing(drained)
        finally:
            # Unless the event loop went first and the pool has moved on.
            if self._generation is generation:
                self._counters.checkouts += generation.ledger.taken
                self._forget(PoolState.CLOSED)

    def _find(
        self, connection: ConnT | SharedTransportConnection[ConnT]
    ) -> tuple[Generation[ConnT] | None, SharedTransportConnection[ConnT] | None]:
        generation = self._generation
        # What a loop held that is gone cannot be closed any more.
        if generation is not None and not generation.loop.is_closed():
            for held in generation.connections:
                if held is connection or held.transport is connection:
                    return generation, held
        return None, None
