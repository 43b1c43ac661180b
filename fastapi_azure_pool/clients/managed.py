"""What every managed client is: a pool of connections to one service, with a life of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypedDict, runtime_checkable

from fastapi_azure_pool.clients.arguments import refuse_unknown
from fastapi_azure_pool.errors import WrongLoopError
from fastapi_azure_pool.pool import AbstractConnector, ConnectionPool
from fastapi_azure_pool.pool.connector import ConnT
from fastapi_azure_pool.pool.forks import leave_to_parent_when_forked

if TYPE_CHECKING:
    from types import TracebackType

    from fastapi_azure_pool.pool import Lease


class Sizes(TypedDict, total=False):
    """The sizes and times of a managed client's pool; each has the meaning and the bounds that `ConnectionPool` tells.

    Attributes:
        client_limit: Clients that may share one connection, at least 1; by default 100.
        max_size: Connections at most, at least 1; by default 10.
        min_size: Connections kept ready, 0 to ``max_size``; by default 1, so that the first request finds one.
        max_idle_seconds: Seconds without a client after which a connection is retired, or None; by default 300.
        max_lifespan_seconds: Seconds after which a connection is replaced, or None, the default.
        max_concurrent_creates: Connections that may be opened at once; by default ``max(max_size // 3, 1)``.
        burst_limit: Connections at most while callers wait; by default ``max_size``.
        grow_at: Clients on every connection at which one more is opened; by default ``client_limit``.
        max_waiting: Callers in line at most, or None, the default.
        pool_connection_create_timeout: Seconds that opening one connection may take; by default 10.
        pool_get_timeout: Seconds that a caller waits for a place, at least 0, or None for ever; by default 10.
        close_timeout: Seconds that closing one connection may take; by default 5.
        leak_warning_seconds: Seconds after which a place that is still held is warned of in the log, or None, the default.
    """

    client_limit: int
    max_size: int
    min_size: int
    max_idle_seconds: float | None
    max_lifespan_seconds: float | None
    max_concurrent_creates: int | None
    burst_limit: int | None
    grow_at: int | None
    max_waiting: int | None
    pool_connection_create_timeout: float
    pool_get_timeout: float | None
    close_timeout: float
    leak_warning_seconds: float | None


def check_sizes(kind: type, sizes: Sizes) -> None:
    """Check the further arguments of a managed client, before the others: a misspelt one of those is among them.

    Raises:
        TypeError: One is none of `Sizes`; the message names it and what was probably meant.
    """
    refuse_unknown(kind, sizes, Sizes.__annotations__)


class Closeable(Protocol):
    """What connections share and their client closes after the last of them, such as a credential."""

    async def close(self) -> None:
        """Let go of everything; may be called again."""


@runtime_checkable
class Authentication(Closeable, Protocol):
    """What connections share where it is a credential: it can be prepared, and an application may lend it.

    Attributes:
        is_missing: Whether the client was given none, and no application has lent it one.
    """

    @property
    def is_missing(self) -> bool:  # noqa: D102 - see the class
        ...

    def prepare(self) -> None:
        """Begin to get what connections will need of it; called on the event loop whenever the client is opened."""

    def borrow(self, lender: Any) -> None:
        """Use an application's credential, if the client was given none."""

    def give_back(self) -> None:
        """Use the application's credential no longer."""


class ManagedClient(Generic[ConnT]):
    """A pool of connections to one service: open it, take connections from it, close it.

    Making one does no I/O and binds no event loop. It may be opened again after it was closed, on any loop.

    Args:
        connector: Opens, proves, judges and closes the connections.
        service: What the health route calls the service, such as "cosmos".
        shared: What the connections share, closed after the last of them.
        client_limit: See `Sizes` for this and all that follow.

    Attributes:
        pool: The `ConnectionPool`.
        service: The service's name.
        pool_get_timeout: Seconds that a caller waits for a place by default, or None for ever.

    Raises:
        ValueError: A size or time is out of bounds; the message names it and the bound.
    """

    def __init__(
        self,
        connector: AbstractConnector[ConnT],
        *,
        service: str,
        shared: Closeable | None = None,
        client_limit: int = 100,
        max_size: int = 10,
        min_size: int = 1,
        max_idle_seconds: float | None = 300,
        max_lifespan_seconds: float | None = None,
        max_concurrent_creates: int | None = None,
        burst_limit: int | None = None,
        grow_at: int | None = None,
        max_waiting: int | None = None,
        pool_connection_create_timeout: float = 10.0,
        pool_get_timeout: float | None = 10.0,
        close_timeout: float = 5.0,
        leak_warning_seconds: float | None = None,
    ) -> None:
        self.service = service
        self.pool_get_timeout = _checked_timeout(pool_get_timeout)
        self.pool: ConnectionPool[ConnT] = ConnectionPool(
            connector,
            client_limit=client_limit,
            max_size=max_size,
            max_idle_seconds=max_idle_seconds,
            max_lifespan_seconds=max_lifespan_seconds,
            max_concurrent_creates=max_concurrent_creates,
            min_size=min_size,
            burst_limit=burst_limit,
            grow_at=grow_at,
            max_waiting=max_waiting,
            create_timeout=pool_connection_create_timeout,
            close_timeout=close_timeout,
            leak_warning_seconds=leak_warning_seconds,
        )
        rounds = -(-min_size // (max_concurrent_creates or max(max_size // 3, 1)))
        # One second more than the attempts may take, so that the last one's own error comes first.
        self._fill_seconds = max(rounds, 1) * pool_connection_create_timeout + 1.0
        self._shared = shared
        self._authentication = shared if isinstance(shared, Authentication) else None
        self._closing: asyncio.Task[None] | None = None

    def get(self, timeout: float | None = None) -> Lease[ConnT]:
        """Check out a connection: ``async with client.get() as connection:``.

        Args:
            timeout: Seconds to wait for a place; None means the client's ``pool_get_timeout``.

        Raises:
            PoolError: Any that `ConnectionPool.get` raises.
            ValueError: The client has no authentication; see `open`.
        """
        self.check_authentication()
        return self.pool.get(self.pool_get_timeout if timeout is None else timeout)

    async def open(self) -> None:
        """Open the pool and wait until ``min_size`` connections are ready.

        Each attempt to open one has ``pool_connection_create_timeout``. A client that could not be filled stays open and goes on
        trying: close it to give up.

        Raises:
            PoolError: Any that `ConnectionPool.open` raises.
            ValueError: The client was given no authentication, and is not opened by ``open_pools(app, credential=...)``.
        """
        self.check_authentication()
        closing = self._closing_here()
        if closing is not None:
            await asyncio.shield(closing)
        if self._authentication is not None:
            self._authentication.prepare()
        await self.pool.open(self._fill_seconds)

    async def close(self, drain_seconds: float = 10.0) -> None:
        """Close the pool as `ConnectionPool.close` does, then what its connections shared. Goes on if the caller is cancelled.

        Args:
            drain_seconds: Seconds that clients may go on; after that their connections are closed under them.

        Raises:
            WrongLoopError: The client is open on another event loop, where it stays so.
        """
        closing = self._closing_here()
        if closing is None:
            closing = asyncio.get_running_loop().create_task(
                self._shut_down(drain_seconds), name=f"close {self!r}", context=Context()
            )
            if not closing.done():  # A loop with eager tasks may have finished it already.
                self._closing = closing
                leave_to_parent_when_forked(self)
        else:
            await self.pool.close(drain_seconds)
        await asyncio.shield(closing)

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.service} {self.pool!r}>"

    def check_authentication(self) -> None:
        """Raise ValueError if the client was given no authentication, and no application has lent it a credential."""
        if self._authentication is not None and self._authentication.is_missing:
            name = "" if self.pool.name is None else f" of pool {self.pool.name!r}"
            raise ValueError(
                f"the {type(self).__name__}{name} has no authentication: write open_pools(app, credential=DefaultAzureCredential,"
                " ...) to have one credential for all clients of the application, or give this client its own, such as"
                " credential_factory=DefaultAzureCredential"
            )

    def borrow_credential(self, lender: Any) -> None:
        """Use an application's credential until `give_back_credential`, if the client was given no authentication of its own.

        ``open_pools`` calls this before it opens the client.

        Raises:
            ValueError: The client uses that of another application already.
        """
        if self._authentication is not None:
            self._authentication.borrow(lender)

    def give_back_credential(self) -> None:
        """Use the application's credential no longer; ``open_pools`` calls this when it has closed the client."""
        if self._authentication is not None:
            self._authentication.give_back()

    def leave_to_parent(self) -> object:
        """Wait no longer for the parent's close; see `Inherited`. The pool and what its connections share see to themselves."""
        left, self._closing = self._closing, None
        return left

    def _closing_here(self) -> asyncio.Task[None] | None:
        """Give the task that is closing the client, if there is one.

        Raises:
            WrongLoopError: It is closing on another event loop.
        """
        closing = self._closing
        if closing is not None and closing.get_loop() is not asyncio.get_running_loop():
            if not closing.get_loop().is_closed():
                raise WrongLoopError(self.pool.name)
            closing = self._closing = None  # It will never end.
        return closing

    async def _shut_down(self, drain_seconds: float) -> None:
        try:
            async with AsyncExitStack() as afterwards:
                if self._shared is not None:
                    afterwards.push_async_callback(self._shared.close)
                try:
                    await self.pool.close(drain_seconds)
                except WrongLoopError:
                    afterwards.pop_all()  # Its connections go on using it.
                    raise
        finally:
            self._closing = None


AnyManagedClient = ManagedClient[Any]
"""A managed client of any kind of connection."""


def _checked_timeout(value: object) -> float | None:
    if value is None or (isinstance(value, (int, float)) and value >= 0):
        return value
    raise ValueError(
        f"pool_get_timeout must be a number of seconds, at least 0, or None to wait for ever, not {value!r}"
    )
