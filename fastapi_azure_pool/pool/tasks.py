"""The pool's own tasks: they open and close transports, so that no caller's cancellation or time-out reaches them."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Generic

from .connection import ConnectionState, SharedTransportConnection
from .connector import AbstractConnector, ConnT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .limits import PoolLimits

_logger = logging.getLogger(__name__)


class PoolTasks(Generic[ConnT]):
    """Opens and closes connections in the background and tells the pool how it went.

    Each task runs in an empty context: the one of the request that happened to start it would be kept alive by it.

    Args:
        loop: Where the tasks run.
        connector: What opens, proves and closes.
        limits: The pool's time-outs.
        label: What the tasks' names begin with.
        opened: Called with a connection that is open and proven, still OPENING.
        failed: Called with the error when a connection could not be opened; what was open of it is being closed.
        closed: Called with a connection that is CLOSED.

    Attributes:
        opening: Connections on their way, each with its task.
    """

    __slots__ = ("_closed", "_connector", "_failed", "_label", "_limits", "_loop", "_opened", "_tasks", "opening")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connector: AbstractConnector[ConnT],
        limits: PoolLimits,
        *,
        label: str,
        opened: Callable[[SharedTransportConnection[ConnT]], None],
        failed: Callable[[BaseException], None],
        closed: Callable[[SharedTransportConnection[ConnT]], None],
    ) -> None:
        self._loop = loop
        self._connector = connector
        self._limits = limits
        self._label = label
        self._opened = opened
        self._failed = failed
        self._closed = closed
        self._tasks: set[asyncio.Task[None]] = set()
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
        task = self._loop.create_task(work, name=f"{self._label}: {what}", context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle(self) -> None:
        """Wait until every task is done; give up on those that do not even end when their time is over."""
        patience = 2 * self._limits.close_timeout
        ours = asyncio.current_task()
        while waiting_for := {task for task in self._tasks if task is not ours}:
            done, pending = await asyncio.wait(waiting_for, timeout=patience)
            if not done:
                names = ", ".join(task.get_name() for task in pending)
                _logger.error(
                    "%s: gave up after %.1f s on tasks that ignore their cancellation: %s", self._label, patience, names
                )
                return

    def _end_unbegun(self, connection: SharedTransportConnection[ConnT]) -> None:
        # A task that is cancelled before its first step runs nothing of its own.
        if connection in self.opening:
            self._fail(connection, asyncio.CancelledError())

    def _fail(self, connection: SharedTransportConnection[ConnT], error: BaseException) -> None:
        del self.opening[connection]
        connection.become(ConnectionState.CLOSED)
        self._failed(error)

    async def _open(self, connection: SharedTransportConnection[ConnT]) -> None:
        has_transport = False
        try:
            async with asyncio.timeout(self._limits.create_timeout):
                connection.transport = await self._connector.create()
                has_transport = True
                if not await self._connector.ready(connection.transport):
                    raise ConnectionError("the connector's ready() says that the new connection does not work")
                # At its first checkout this would come too late: the next would be opened without a pause, and so on.
                if self._connector.is_closed(connection.transport):
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
            del self.opening[connection]
            self._opened(connection)

    async def _close(self, connection: SharedTransportConnection[ConnT]) -> None:
        try:
            async with asyncio.timeout(self._limits.close_timeout):
                await self._connector.close(connection.transport)
        except Exception as error:  # noqa: BLE001 - whatever a connector raises, the connection is done with
            _logger.warning(
                "%s: closing connection %s failed with %s", self._label, connection.id, type(error).__name__
            )
        finally:
            # Nothing can follow on an event loop that was closed over it.
            if not self._loop.is_closed():
                if connection.state is not ConnectionState.CLOSED:
                    connection.become(ConnectionState.CLOSED)
                self._closed(connection)
