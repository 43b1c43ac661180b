"""One pooled connection: its state, its clients, its age."""

from __future__ import annotations

import secrets
from enum import IntEnum
from typing import TYPE_CHECKING, Generic

from fastapi_azure_pool.pool.connector import ConnT

if TYPE_CHECKING:
    from collections.abc import Callable


class ConnectionState(IntEnum):
    """Where a connection is in its life; `TRANSITIONS` says what may follow what."""

    OPENING = 1
    READY = 2
    DRAINING = 3
    CLOSED = 4


TRANSITIONS = {
    ConnectionState.OPENING: {ConnectionState.READY, ConnectionState.CLOSED},
    ConnectionState.READY: {ConnectionState.DRAINING, ConnectionState.CLOSED},
    ConnectionState.DRAINING: {ConnectionState.CLOSED},
    ConnectionState.CLOSED: frozenset[ConnectionState](),
}
"""Which states may follow each. READY goes straight to CLOSED only when its event loop has gone, so that nothing can drain."""


class SharedTransportConnection(Generic[ConnT]):
    """One connection that up to ``client_limit`` clients share.

    The pool makes, counts and closes it; everyone else reads it. All durations are float seconds on the event loop's clock.

    Attributes:
        id: Six hexadecimal digits that name it in logs and at the health route.
        state: A `ConnectionState`.
        current_client_count: Clients that hold a place now, 0 to ``client_limit``.
        client_limit: Clients that may share it, at least 1.
        transport: What the connector's ``create()`` returned; not set until then.
    """

    __slots__ = (
        "_clock",
        "_max_idle_seconds",
        "client_limit",
        "current_client_count",
        "expires_at",
        "id",
        "idle_since",
        "is_closing",
        "opened_at",
        "retires_at",
        "state",
        "transport",
    )

    transport: ConnT

    def __init__(self, client_limit: int, max_idle_seconds: float | None, clock: Callable[[], float]) -> None:
        self.id = secrets.token_hex(3)
        self.state = ConnectionState.OPENING
        self.client_limit = client_limit
        self.current_client_count = 0
        self.opened_at: float | None = None
        self.idle_since: float | None = None
        self.retires_at: float | None = None
        self.expires_at: float | None = None
        self.is_closing = False
        self._max_idle_seconds = max_idle_seconds
        self._clock = clock

    def become(self, state: ConnectionState) -> None:
        """Go on to the next state.

        Raises:
            RuntimeError: `TRANSITIONS` does not allow it.
        """
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a connection that is {self.state.name} cannot become {state.name}")
        self.state = state

    @property
    def is_ready(self) -> bool:
        """Whether it is open, proven, and gets new clients."""
        return self.state is ConnectionState.READY

    @property
    def available(self) -> bool:
        """Whether it is ready and has room for one more client."""
        return self.is_ready and self.current_client_count < self.client_limit

    @property
    def should_close(self) -> bool:
        """Whether it has been retired: it gets no new client, and is closed when its last one leaves."""
        return self.state >= ConnectionState.DRAINING

    @property
    def lifetime(self) -> float:
        """Seconds since it became ready; 0.0 before."""
        return 0.0 if self.opened_at is None else self._clock() - self.opened_at

    @property
    def time_spent_idle(self) -> float:
        """Seconds since its last client left, or since it became ready without one; 0.0 while it has clients."""
        return 0.0 if self.current_client_count or self.idle_since is None else self._clock() - self.idle_since

    @property
    def expired(self) -> bool:
        """Whether it has outlived ``max_lifespan_seconds``, or has been idle for ``max_idle_seconds``."""
        if self.expires_at is not None and self._clock() >= self.expires_at:
            return True
        return self._max_idle_seconds is not None and self.time_spent_idle >= self._max_idle_seconds

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state.name}, {self.current_client_count} of {self.client_limit} clients>"
