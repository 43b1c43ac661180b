"""The AMQP server: one loopback port for everything that speaks AMQP."""

from __future__ import annotations

import asyncio
import uuid
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.authorization import entity_path
from fastapi_azure_pool.emulator.amqp.cbs import CbsNode
from fastapi_azure_pool.emulator.amqp.connection import AmqpConnection
from fastapi_azure_pool.emulator.amqp.link import IncomingLink, OutgoingLink
from fastapi_azure_pool.emulator.amqp.node import Node, Refused
from fastapi_azure_pool.emulator.amqp.requests import RequestNode
from fastapi_azure_pool.emulator.loopback import (
    TLS_HANDSHAKE_SECONDS,
    TURNS_TO_CONNECT,
    ConnectionCounts,
    authority,
    bind_listener,
    require_loopback,
    require_port,
)
from fastapi_azure_pool.emulator.request_log import RequestLog

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from fastapi_azure_pool.emulator.amqp.authorization import Access
    from fastapi_azure_pool.emulator.amqp.node import Directory
    from fastapi_azure_pool.emulator.faults import Faults

_BACKLOG = 2048


class AmqpServer:
    """Serves nodes over AMQP, on the event loop that calls start.

    Args:
        directories: Where the nodes are found.
        access: Who may use them.
        faults: Asked for every request.
        host: A loopback address.
        port: 0 to 65535; 0 picks a free one at the first start, and keeps it for later starts.
        idle_timeout_seconds: After how long without a frame a connection is closed; more than 0.
        on_start: Called before the first client is served.
        on_stop: Called after the last one is gone.

    Attributes:
        access: See the arguments.
        faults: See the arguments.
        requests: What it was asked so far, by operation and address.
        container_id: What it calls itself.
        idle_timeout_seconds: See the arguments.
    """

    def __init__(
        self,
        directories: Sequence[Directory],
        access: Access,
        faults: Faults,
        *,
        host: str,
        port: int,
        idle_timeout_seconds: float,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        if not 0 < idle_timeout_seconds <= 4_000_000:
            raise ValueError(f"amqp_idle_timeout_seconds={idle_timeout_seconds} must be more than 0, at most 4,000,000")
        require_loopback(host)
        self.access = access
        self.faults = faults
        self.requests = RequestLog()
        self.container_id = f"fastapi-azure-pool-emulator-{uuid.uuid4().hex}"
        self.idle_timeout_seconds = idle_timeout_seconds
        self._directories = directories
        self._on_start = on_start
        self._on_stop = on_stop
        self._cbs = CbsNode(access, self._has_entity)
        self._host = host
        self._port = require_port(port, "amqp")
        self._server: asyncio.Server | None = None
        self._connections: set[AmqpConnection] = set()
        self._accepted = 0
        self._dropped = 0

    @property
    def port(self) -> int:
        """The port; 0 before the first start when none was asked for."""
        return self._port

    @property
    def is_running(self) -> bool:
        """Whether it accepts connections."""
        return self._server is not None

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL."""
        return authority(self._host, self._port)

    @property
    def url(self) -> str:
        """The namespace's URL, with a trailing slash."""
        return f"sb://{self.authority}/"

    @property
    def connections(self) -> ConnectionCounts:
        """How many connections are open, were accepted and were dropped on purpose."""
        return ConnectionCounts(open=len(self._connections), accepted=self._accepted, dropped=self._dropped)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Bind the port and serve.

        Raises:
            OSError: The port is taken; the message names it.
        """
        loop = asyncio.get_running_loop()
        listener = bind_listener(self._host, self._port, "amqp")
        self._port = listener.getsockname()[1]
        # two steps: cancelled in the second, the server is already known to stop()
        self._server = await loop.create_server(
            lambda: AmqpConnection(self),
            sock=listener,
            ssl=tls,
            backlog=_BACKLOG,
            ssl_handshake_timeout=None if tls is None else TLS_HANDSHAKE_SECONDS,
            start_serving=False,
        )
        self._on_start()
        await self._server.start_serving()

    async def stop(self) -> None:
        """Free the port and close every connection; nothing of it is left when this returns."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for _ in range(TURNS_TO_CONNECT):
            await asyncio.sleep(0)
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.abort()
        while self._connections:  # noqa: ASYNC110 - an abort takes one turn of the loop
            await asyncio.sleep(0)
        self._on_stop()
        await server.wait_closed()

    def drop_connections(self) -> int:
        """Reset every open connection at once and return how many there were."""
        connections = [connection for connection in self._connections if connection.transport is not None]
        for connection in connections:
            connection.reset()
        return len(connections)

    # what connections call

    def add(self, connection: AmqpConnection) -> None:
        """Know a connection."""
        self._accepted += 1
        self._connections.add(connection)

    def discard(self, connection: AmqpConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def count_drop(self) -> None:
        """Count a connection that was dropped on purpose."""
        self._dropped += 1

    def resource(self, path: str) -> str:
        """Return the URL of an entity."""
        return f"{self.url}{path}"

    def find_node(self, address: object) -> Node:
        """Return the node of an address as a client writes it; an unknown one refuses every link."""
        if not isinstance(address, str):
            return _Nowhere("", "amqp:invalid-field", "The link names no address.")
        path = entity_path(address)
        if path == "$cbs":
            return self._cbs
        for directory in self._directories:
            node = directory.find(path)
            if node is not None:
                return node
        return _Nowhere(path, "amqp:not-found", f"The messaging entity '{self.resource(path)}' could not be found.")

    def _has_entity(self, path: str) -> bool:
        return any(directory.has_entity(path) for directory in self._directories)

    # what faults call

    def detach_links(self, path: str | None, condition: str, description: str) -> int:
        """Detach the links that are open; without a path all but those of requests."""
        links = [link for link in self._links(path) if path is not None or not isinstance(link.node, RequestNode)]
        for link in links:
            link.detach(condition, description.format(name=link.name))
        return len(links)

    def close_connections(self, condition: str, description: str) -> int:
        """Close the connections that are open."""
        connections = [connection for connection in self._connections if connection.is_open]
        for connection in connections:
            connection.close(condition, description)
        return len(connections)

    def send_flow(self, path: str | None) -> int:
        """Send a flow on the links that are open."""
        links = self._links(path)
        for link in links:
            link.send_flow()
        return len(links)

    def replenish(self) -> None:
        """Grant the credit that was withheld."""
        for link in self._links(None):
            if isinstance(link, IncomingLink):
                link.replenish()

    def _links(self, path: str | None) -> list[IncomingLink | OutgoingLink]:
        return [
            link
            for connection in self._connections
            for link in connection.links()
            if link.is_open
            and isinstance(link, (IncomingLink, OutgoingLink))
            and (path is None or fnmatchcase(link.address, path))
        ]


class _Nowhere(Node):
    """What an address names that names nothing."""

    def __init__(self, address: str, condition: str, description: str) -> None:
        super().__init__(address)
        self._refusal = (condition, description)

    def open_incoming(self, link: IncomingLink) -> None:  # noqa: ARG002 - see Node
        raise Refused(*self._refusal)

    def open_outgoing(self, link: OutgoingLink) -> None:  # noqa: ARG002 - see Node
        raise Refused(*self._refusal)
