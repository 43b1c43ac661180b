"""Which connections have served long enough, and which are more than the pool needs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Generic

from fastapi_azure_pool.pool.connector import ConnT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastapi_azure_pool.pool.connection import SharedTransportConnection
    from fastapi_azure_pool.pool.ledger import Ledger
    from fastapi_azure_pool.pool.limits import PoolLimits

EARLIEST_RETIREMENT = 0.9
"""The part of its lifespan after which a connection may fall due; spread up to 1.0, so that they do not all fall due together."""


class Retirement(Generic[ConnT]):
    """Tells, whenever it is asked, which ready connections should leave; decides only, and acts on none.

    A connection leaves for one of four reasons. Its lifespan nears its end: it falls due, and leaves once it has a successor. Its
    lifespan is over: it leaves. It has been idle for ``max_idle_seconds``: it leaves, or falls due where ``min_size`` needs it. And
    when the peak of clients during a whole ``max_idle_seconds`` would have fitted fewer connections, the surplus leaves, however
    the choice had spread the clients.

    Attributes:
        due: Ready connections that leave as soon as they have a successor, in the order in which they fell due.
    """

    __slots__ = ("_ledger", "_limits", "_period_ends_at", "_previous_peak", "due")

    def __init__(self, limits: PoolLimits, ledger: Ledger[ConnT]) -> None:
        self._limits = limits
        self._ledger = ledger
        self._period_ends_at: float | None = None
        self._previous_peak = 0
        self.due: dict[SharedTransportConnection[ConnT], None] = {}

    @property
    def kept(self) -> int:
        """How many of the ready connections the recent peak justifies replacing."""
        return min(len(self._ledger), self._limits.fit(max(self._ledger.peak, self._previous_peak)))

    def begin(self, connection: SharedTransportConnection[ConnT], now: float) -> None:
        """Start the times of a connection that has just become ready."""
        connection.opened_at = connection.idle_since = now
        max_idle = self._limits.max_idle_seconds
        if not len(self._ledger) and max_idle is not None:
            # The pool had none to give up: it is watched from now on.
            self._period_ends_at = now + max_idle
        lifespan = self._limits.max_lifespan_seconds
        if lifespan is not None:
            connection.expires_at = now + lifespan
            connection.retires_at = now + lifespan * random.uniform(EARLIEST_RETIREMENT, 1.0)  # noqa: S311 - guards no secret

    def leaving(self, now: float) -> Iterable[SharedTransportConnection[ConnT]]:
        """Note what has fallen due, and give the connections that should leave now, successor or not."""
        leaving: dict[SharedTransportConnection[ConnT], None] = {}
        for connection in self._ledger:
            if connection.expires_at is not None and connection.expires_at <= now:
                leaving[connection] = None
            elif connection.retires_at is not None and connection.retires_at <= now:
                self.due[connection] = None
        self._add_idle(leaving, now)
        self._add_surplus(leaving, now)
        return leaving

    def times(self, connections: Iterable[SharedTransportConnection[ConnT]], now: float) -> Iterator[float]:
        """Give the times at which `leaving` must be asked again because of these ready connections."""
        limits = self._limits
        if limits.probe_seconds is not None:
            yield now + limits.probe_seconds
        if self._period_ends_at is not None:
            # Whoever becomes idle in this period falls due after its end.
            yield self._period_ends_at
        for connection in connections:
            if connection.expires_at is not None:
                yield connection.expires_at
            if connection in self.due:
                continue
            if connection.retires_at is not None:
                yield connection.retires_at
            if (
                limits.max_idle_seconds is not None
                and connection.idle_since is not None
                and not connection.current_client_count
            ):
                yield connection.idle_since + limits.max_idle_seconds

    def _add_idle(self, leaving: dict[SharedTransportConnection[ConnT], None], now: float) -> None:
        limits = self._limits
        if limits.max_idle_seconds is None:
            return
        for connection in self._ledger.idle():
            if connection.idle_since is None or connection.idle_since + limits.max_idle_seconds > now:
                break  # The longest idle come first.
            if connection in leaving:
                continue  # Its lifespan is over as well.
            if len(self._ledger) - len(leaving) > limits.min_size:
                leaving[connection] = None
            else:
                self.due[connection] = None

    def _add_surplus(self, leaving: dict[SharedTransportConnection[ConnT], None], now: float) -> None:
        limits = self._limits
        if limits.max_idle_seconds is None or self._period_ends_at is None or now < self._period_ends_at:
            return
        needed = max(limits.min_size, limits.fit(self._ledger.peak))
        surplus = len(self._ledger) - len(leaving) - needed
        for connection in self._ledger:
            if surplus <= 0:
                break
            if connection not in leaving:
                leaving[connection] = None
                surplus -= 1
        self._previous_peak, self._ledger.peak = self._ledger.peak, self._ledger.clients
        self._period_ends_at = now + limits.max_idle_seconds
