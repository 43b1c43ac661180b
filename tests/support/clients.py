"""A pool's clients, each a task that takes a place and keeps it until it is told to leave."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .virtual_time import wait_until_blocked

if TYPE_CHECKING:
    from fastapi_azure_pool.pool import ConnectionPool

    from .scripted_connector import Transport


class Client:
    """Enters a lease in a task of its own; whoever made it lets it leave.

    Attributes:
        entering: The task; its result is the transport.
    """

    def __init__(self, pool: ConnectionPool[Transport], timeout: float | None = None) -> None:
        self._lease = pool.get(timeout)
        self.entering = asyncio.create_task(self._lease.__aenter__())
        self.entering.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    def is_waiting(self) -> bool:
        """Whether it has neither a place nor an error."""
        return not self.entering.done()

    @property
    def has_place(self) -> bool:
        """Whether it got one, and has not been sent away."""
        return self.entering.done() and not self.entering.cancelled() and self.entering.exception() is None

    @property
    def transport(self) -> Transport:
        """What it got."""
        return self.entering.result()

    @property
    def error(self) -> BaseException | None:
        """What it was sent away with."""
        return self.entering.exception()

    def leave(self, error: BaseException | None = None) -> None:
        """Give the place back at once, for checking in never awaits; with the error, if any, that left the body."""
        exiting = self._lease.__aexit__(type(error) if error else None, error, None)
        with contextlib.suppress(StopIteration):
            exiting.send(None)
            raise AssertionError("checking in has awaited something")


async def admit(pool: ConnectionPool[Transport], count: int = 1, timeout: float | None = None) -> list[Client]:
    """Let so many clients ask for a place, in order, and wait until each has one, waits for one, or was refused."""
    clients = [Client(pool, timeout) for _ in range(count)]
    await wait_until_blocked()
    return clients
