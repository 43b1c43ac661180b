"""One client's place on a shared connection, for the length of an ``async with``."""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Generic

from .connector import ConnT

if TYPE_CHECKING:
    from types import TracebackType

    from .connection import SharedTransportConnection
    from .connection_pool import ConnectionPool
    from .generation import Generation


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
            raise RuntimeError("this lease is in use: call pool.get() once for each `async with`")
        loop = get_running_loop()
        generation = self._pool._serving  # noqa: SLF001 - a lease is the pool's other half
        if generation is None or generation.loop is not loop:
            generation = self._pool._enter(loop)  # noqa: SLF001 - likewise
        connection = generation.take()
        if connection is None:
            connection = await generation.wait_for_place(self._timeout)
        self._generation = generation
        self._connection = connection
        return connection.transport

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection = self._connection
        if connection is not None:
            self._connection = None
            self._generation.give_back(connection, error)
