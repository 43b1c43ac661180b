"""What a pool asks of the service that it pools connections to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

ConnT = TypeVar("ConnT")


class AbstractConnector(ABC, Generic[ConnT]):
    """Opens, proves, judges and closes connections of one kind, on behalf of a `ConnectionPool`.

    A subclass writes `create` and `ready`, and overrides the rest where its service can tell more.

    Attributes:
        grow_at: Clients per connection (1 to ``client_limit``) at which the pool opens one more; None means ``client_limit``.
        probe_seconds: How often `is_closed` is asked of idle connections, in seconds (above 0); None means at checkout only.
    """

    grow_at: int | None = None
    probe_seconds: float | None = None

    @abstractmethod
    async def create(self) -> ConnT:
        """Open the transport, within the pool's ``create_timeout`` (which covers `ready` too).

        A call that is cancelled or fails leaves nothing open behind it; what it has returned, the pool closes.
        """

    @abstractmethod
    async def ready(self, connection: ConnT) -> bool:
        """Tell whether the connection works, without sending a message or writing anything into the user's service."""

    async def close(self, connection: ConnT) -> None:
        """Close the connection, within the pool's ``close_timeout``; by default ``await connection.close()``."""
        closeable: Any = connection
        await closeable.close()

    def is_closed(self, connection: ConnT) -> bool:  # noqa: ARG002 - part of the contract, read by overrides
        """Tell whether the connection is known to be dead. Asked at every checkout: cheap, synchronous, without I/O."""
        return False

    def is_fatal(self, error: BaseException) -> bool:  # noqa: ARG002 - part of the contract, read by overrides
        """Tell whether an error that left a client's body, or that a transport reported, means the connection is broken."""
        return False


AbstractorConnector = AbstractConnector
"""Another name of `AbstractConnector`, the one that aio-azure-clients-toolbox uses."""
