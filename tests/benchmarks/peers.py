"""Connectors without a network, for the pool and for its peers: only the pools' own cost and manners are left to measure."""

from __future__ import annotations

import asyncio

from aio_azure_clients_toolbox.connection_pooling import (  # type: ignore[import-untyped]  # the peer ships no types
    AbstractorConnector as ToolboxConnector,
)
from asyncio_connection_pool import ConnectionStrategy

from fastapi_azure_pool.pool import AbstractConnector


class Connection:
    """A connection to nothing."""

    async def close(self) -> None:
        """Do nothing: the toolbox awaits it."""


class OwnConnector(AbstractConnector[Connection]):
    """For this library; counts what it opens.

    Args:
        seconds: What opening takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.opened = 0

    async def create(self) -> Connection:
        self.opened += 1
        await asyncio.sleep(self._seconds)
        return Connection()

    async def ready(self, connection: Connection) -> bool:
        return True


class TellingConnector(OwnConnector):
    """For this library, with an ``is_closed`` of its own: the pool asks it at every checkout, as it asks those of the services."""

    def is_closed(self, connection: Connection) -> bool:
        return False


class PeerToolboxConnector(ToolboxConnector):  # type: ignore[misc]  # untyped, see above
    """For aio-azure-clients-toolbox; counts what it opens.

    Args:
        seconds: What opening takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.opened = 0

    async def create(self) -> Connection:
        self.opened += 1
        await asyncio.sleep(self._seconds)
        return Connection()

    async def ready(self, connection: Connection) -> bool:
        return True


class PeerStrategy(ConnectionStrategy[Connection]):
    """For asyncio-connection-pool; counts what it opens.

    Args:
        seconds: What opening takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.opened = 0

    async def make_connection(self) -> Connection:
        self.opened += 1
        await asyncio.sleep(self._seconds)
        return Connection()

    def connection_is_closed(self, conn: Connection) -> bool:
        return False

    async def close_connection(self, conn: Connection) -> None:
        await conn.close()
