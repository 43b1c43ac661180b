"""What the connectors of Event Hubs and Service Bus share: a connection ends when its link does, and tells its pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fastapi_azure_pool.clients.amqp.channel import TunedChannel
from fastapi_azure_pool.clients.amqp.opening import has_known_shape
from fastapi_azure_pool.clients.amqp.wire import cut, wire_of
from fastapi_azure_pool.clients.coalescing import PATIENCE_SECONDS, GroupCommit, Joining
from fastapi_azure_pool.pool import AbstractConnector

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.clients.amqp.access import AmqpAccess
    from fastapi_azure_pool.clients.transfers import Channel, Packing

MAX_SIZE = 4
"""Connections of a pool by default: throughput comes from joining messages first, from connections second."""

GROW_AT = 50
"""Clients on every connection at which one more is opened."""

WINDOW = 8
"""Transfers in flight on one connection by default."""

SEND_TIMEOUT_SECONDS = 10.0
"""Seconds that a send may take by default."""


class ConnectionEnded(Exception):
    """What a connection reports to its pool when its link is closed or broken."""


class AmqpConnection(Protocol):
    """A connection as its connector sees it.

    Attributes:
        commit: What sends over it.
    """

    commit: GroupCommit[Any]

    @property
    def handler(self) -> Any:
        """The SDK's handler of the send link; None when it has none."""

    async def close(self) -> None:
        """Close it, as far as the service goes along."""


ConnectionT = TypeVar("ConnectionT", bound=AmqpConnection)


class AmqpConnector(AbstractConnector[ConnectionT]):
    """Judges and closes connections; subclasses open them.

    Args:
        access: Where the entity is, and how to authenticate.
        window: Transfers in flight on one connection at most.
        coalesce: Whether messages of several callers are joined.
        send_timeout_seconds: Seconds that a send may take.

    Attributes:
        report: Called with a connection and why it has ended; None for nobody.
    """

    grow_at = GROW_AT
    probe_seconds = 1.0

    def __init__(self, access: AmqpAccess, *, window: int, coalesce: bool, send_timeout_seconds: float) -> None:
        self.access = access
        self.report: Callable[[ConnectionT, BaseException], None] | None = None
        self._window = window
        self._patience = min(send_timeout_seconds, PATIENCE_SECONDS)
        self._joining = Joining(access.entity, is_allowed=coalesce)

    def commit(
        self,
        handler: Any,
        packing: Packing[Any],
        *,
        encode: Callable[[Any], Any] | None,
        plain: Callable[[], Channel],
        connection: Callable[[], ConnectionT | None],
    ) -> GroupCommit[Any]:
        """Let a task of its own send over a handler that was just opened.

        Args:
            handler: The SDK's.
            packing: How messages become a transfer.
            encode: Makes a transfer the SDK's own message; None where this version of the SDK is not known.
            plain: Makes the channel that leaves everything to the SDK.
            connection: Gives the connection that is to be reported, once there is one.
        """
        is_known = encode is not None and has_known_shape(handler)
        channel: Channel = TunedChannel(handler, encode, window=self._window) if encode and is_known else plain()

        def report_lost() -> None:
            ended = connection()
            if self.report is not None and ended is not None:
                self.report(ended, ConnectionEnded())

        return GroupCommit(
            channel,
            packing,
            self._joining,
            window=self._window,
            on_lost=report_lost,
            name=f"sender to {packing.entity}",
            patience=self._patience,
        )

    async def close(self, connection: ConnectionT) -> None:
        """Close a connection; where the service does not go along, it is cut."""
        # Taken before: closing may be cancelled before the SDK comes to it.
        wire = wire_of(connection.handler)
        try:
            await connection.close()
        finally:
            await cut(wire)

    def is_closed(self, connection: ConnectionT) -> bool:
        """Tell whether the link, its session or its connection is closed, also by a frame that nobody has read yet."""
        return connection.commit.is_closed

    def is_fatal(self, error: BaseException) -> bool:
        """Tell whether it is a connection's own report: an error's type says nothing, so the link is asked instead."""
        return isinstance(error, ConnectionEnded)
