"""The pool's own tasks: they open and close transports, so that no caller's cancellation or time-out reaches them."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Generic, Protocol

from fastapi_azure_pool.pool.connection import ConnectionState, SharedTransportConnection
from fastapi_azure_pool.pool.connector import AbstractConnector, ConnT
from fastapi_azure_pool.pool.tidy import discard

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from fastapi_azure_pool.pool.limits import PoolLimits

_logger = logging.getLogger(__name__)


class Owner(Protocol[ConnT]):
    """Whose tasks they are, and who is told how it went.

    Attributes:
        loop: Where the tasks run.
        connector: What opens, proves and closes.
        limits: The pool's time-outs.
    """

    loop: asyncio.AbstractEventLoop
    connector: AbstractConnector[ConnT]
    limits: PoolLimits

    @property
    def label(self) -> str:
        """What the tasks' names begin with."""

    def note_opened(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Hear that a connection is open and proven; it is OPENING still."""

    def note_failed(self, error: BaseException) -> None:
        """Hear why a connection could not be opened; what was open of it is being closed."""

    def note_closed(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Hear that a connection is CLOSED."""


class PoolTasks(Generic[ConnT]):
    """Opens and closes connections in the background and tells their owner how it went.

    Each task runs in an empty context: the one of the request that happened to start it would be kept alive by it.

    Args:
        owner: Whose tasks they are.

    Attributes:
        opening: Connections on their way, each with its task.
    """

    __slots__ = ("_owner", "_tasks", "opening")

    def __init__(self, owner: Owner[ConnT]) -> None:
        self._owner = owner
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.opening: dict[SharedTransportConnection[ConnT], asyncio.Task[None] | None] = {}

    def open(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Begin to open a connection."""
        self.opening[connection] = None
        task = self.start(self._open(connection), f"open {connection.id}")
        # A loop with eager tasks may have finished it already.
        if connection in self.opening:
            self.opening[connection] = task
            task.add_done_callback(lambda _: self._end_unbegun(connection), context=Context())

    def close(self, connection: SharedTransportConnection[ConnT]) -> None:
        """Begin to close a connection that has a transport; to be called once for each."""
        connection.is_closing = True
        self.start(self._close(connection), f"close {connection.id}")

    def cancel_opening(self) -> None:
        """Cancel whatever is being opened; what ``create()`` has returned already will be closed."""
        for task in tuple(self.opening.values()):
            if task is not None:
                task.cancel()

    def start(self, work: Coroutine[None, None, None], what: str) -> asyncio.Task[None]:
        """Run a coroutine as a task of the pool."""
        task = self._owner.loop.create_task(work, name=f"{self._owner.label}: {what}", context=Context())
        self._tasks[task] = None
        task.add_done_callback(self._forget, context=Context())
        return task

    async def settle(self) -> None:
        """Wait until every task is done; give up on those that do not even end when their time is over."""
        patience = 2 * self._owner.limits.close_timeout
        ours = asyncio.current_task()
        while waiting_for := {task for task in self._tasks if task is not ours}:
            done, pending = await asyncio.wait(waiting_for, timeout=patience)
            if not done:
                names = ", ".join(task.get_name() for task in pending)
                _logger.error(
                    "%s: gave up after %.1f s on tasks that ignore their cancellation: %s",
                    self._owner.label,
                    patience,
                    names,
                )
                return

    def _end_unbegun(self, connection: SharedTransportConnection[ConnT]) -> None:
        # A task that is cancelled before its first step runs nothing of its own.
        if connection in self.opening:
            self._fail(connection, asyncio.CancelledError())

    def _forget(self, task: asyncio.Task[None]) -> None:
        discard(self._tasks, task)

    def _fail(self, connection: SharedTransportConnection[ConnT], error: BaseException) -> None:
        discard(self.opening, connection)
        connection.become(ConnectionState.CLOSED)
        self._owner.note_failed(error)

    async def _open(self, connection: SharedTransportConnection[ConnT]) -> None:
        has_transport = False
        try:
            async with asyncio.timeout(self._owner.limits.create_timeout):
                connection.transport = await self._owner.connector.create()
                has_transport = True
                _cancel_again()
                if not await self._owner.connector.ready(connection.transport):
                    raise ConnectionError("the connector's ready() says that the new connection does not work")
                # At its first checkout this would come too late: the next would be opened without a pause, and so on.
                if self._owner.connector.is_closed(connection.transport):
                    raise ConnectionError("the connector's is_closed() says that the new connection is dead")
        except GeneratorExit:
            raise  # The event loop was closed over it: nothing can be opened or closed any more.
        except BaseException as error:
            self._fail(connection, error)
            if has_transport:
                self.close(connection)
            if not isinstance(error, Exception):
                raise
        else:
            discard(self.opening, connection)
            self._owner.note_opened(connection)

    async def _close(self, connection: SharedTransportConnection[ConnT]) -> None:
        try:
            async with asyncio.timeout(self._owner.limits.close_timeout):
                await self._owner.connector.close(connection.transport)
        except Exception as error:  # noqa: BLE001 - whatever a connector raises, the connection is done with
            _logger.warning(
                "%s: closing connection %s failed with %s", self._owner.label, connection.id, type(error).__name__
            )
        finally:
            # Nothing can follow on an event loop that was closed over it.
            if not self._owner.loop.is_closed():
                if connection.state is not ConnectionState.CLOSED:
                    connection.become(ConnectionState.CLOSED)
                self._owner.note_closed(connection)


def _cancel_again() -> None:
    """Raise the cancellation that a create() has swallowed: no time-out, and no close(), would reach what follows."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
