"""One client's place on a shared connection, for the length of an ``async with``."""

from __future__ import annotations

from asyncio import get_running_loop
from threading import get_ident
from typing import TYPE_CHECKING, Final, Generic

from fastapi_azure_pool.pool.connection import ConnectionState
from fastapi_azure_pool.pool.connector import ConnT

if TYPE_CHECKING:
    from types import TracebackType

    from fastapi_azure_pool.pool.connection import SharedTransportConnection
    from fastapi_azure_pool.pool.connection_pool import ConnectionPool
    from fastapi_azure_pool.pool.generation import Generation

READY: Final = ConnectionState.READY
_IN_USE = "this lease is in use: call pool.get() once for each `async with`"


class Lease(Generic[ConnT]):
    """What `ConnectionPool.get` gives: entering it takes a place on a connection, leaving it gives the place back.

    A place that was taken before its pool was closed and opened again is gone; giving it back does nothing.
    """

    __slots__ = ("_connection", "_generation", "_pool", "_timeout")

    _generation: Generation[ConnT]

    def __init__(self, pool: ConnectionPool[ConnT], timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._connection: SharedTransportConnection[ConnT] | None = None

    async def __aenter__(self) -> ConnT:
        if self._connection is not None:
            raise RuntimeError(_IN_USE)
        generation = self._pool._serving  # noqa: SLF001 - a lease is the pool's other half
        # Whether the loop runs in this thread, which says the same as asyncio.get_running_loop() without its system call.
        if generation is None or generation.thread != get_ident() or not generation.loop.is_running():
            generation = self._pool._enter(get_running_loop())  # noqa: SLF001 - likewise
        connection = generation.take() if generation.needs_care else generation.ledger.take()
        if connection is None:
            connection = await generation.wait_for_place(self._timeout)
            if self._connection is not None:
                generation.give_back(connection)
                raise RuntimeError(_IN_USE)
        self._generation = generation
        self._connection = connection
        return connection.transport

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        generation = self._generation
        if error is None and connection.state is READY and not generation.waiters.line:
            generation.ledger.give(connection)  # The usual case, short.
        else:
            generation.give_back(connection, error)
