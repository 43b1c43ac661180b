"""A uvicorn server that lives inside the running event loop, on a loopback address, and can cut its connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from fastapi_azure_pool.emulator.loopback import (
    TLS_HANDSHAKE_SECONDS,
    TURNS_TO_CONNECT,
    ConnectionCounts,
    authority,
    bind_listener,
    require_loopback,
    require_port,
    reset_transport,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from fastapi_azure_pool.emulator.http_service import HttpService

# Azure's front ends keep an idle connection for minutes; uvicorn's own 5 s would close a client's pool under it.
_KEEP_ALIVE_SECONDS = 240


class LoopbackServer:
    """Serves one service on one loopback port, on the event loop that calls start.

    It is uvicorn's HTTP protocol on asyncio's server, without uvicorn's main loop: that one takes the process's signal
    handlers, polls ten times a second and waits for clients to close their idle connections.

    Args:
        app: The service, which is told how to drop its clients' connections to this port; several ports may have the same.
        name: What error messages call it, and the constructor argument of its port without ``_port``.
        host: A loopback address.
        port: 0 to 65535; 0 picks a free one at the first start, and keeps it for later starts, so that a client finds a
            stopped service again.
    """

    def __init__(self, app: HttpService, *, name: str, host: str, port: int) -> None:
        require_loopback(host)
        self._app = app
        self._name = name
        self._host = host
        self._port = require_port(port, name)
        self._scheme = "http"
        self._server: asyncio.Server | None = None
        self._state = ServerState()
        self._accepted = 0
        self._dropped = 0
        app.add_connection_dropper(self.drop_connection)

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
        """Host and port as they stand in a URL.

        Raises:
            RuntimeError: There is no port yet.
        """
        return authority(self._host, self._port)

    @property
    def url(self) -> str:
        """The base URL, with a trailing slash.

        Raises:
            RuntimeError: There is no port yet.
        """
        return f"{self._scheme}://{self.authority}/"

    @property
    def connections(self) -> ConnectionCounts:
        """How many connections are open, were accepted and were dropped on purpose."""
        return ConnectionCounts(open=len(self._state.connections), accepted=self._accepted, dropped=self._dropped)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Bind the port and serve.

        Raises:
            OSError: The port is taken; the message names it.
        """
        loop = asyncio.get_running_loop()
        self._scheme = "http" if tls is None else "https"
        self._state = ServerState()
        config = Config(
            self._app,
            access_log=True,  # False would take the handlers from the process's own uvicorn.access logger
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            ws="none",
        )
        config.load()
        protocol_class = self.protocol_class(config.http_protocol_class)
        listener = bind_listener(self._host, self._port, self._name)
        self._port = listener.getsockname()[1]

        def make_protocol() -> asyncio.Protocol:
            self._accepted += 1
            # uvicorn's protocol classes share these arguments and this attribute, which the base class it declares has not
            protocol: Any = protocol_class(
                config=config,
                server_state=self._state,
                app_state={},
                _loop=loop,
            )
            protocol.access_log = False
            return protocol  # type: ignore[no-any-return]  # see above

        # two steps: cancelled in the second, the server is already known to stop()
        self._server = await loop.create_server(
            make_protocol,
            sock=listener,
            ssl=tls,
            backlog=config.backlog,
            ssl_handshake_timeout=None if tls is None else TLS_HANDSHAKE_SECONDS,
            start_serving=False,
        )
        await self._server.start_serving()

    def protocol_class(self, chosen: Any) -> Any:
        """Return the class that speaks HTTP: the one that uvicorn chose, unless a service needs to see more of a request."""
        return chosen

    async def stop(self) -> None:
        """Free the port and close every connection, busy or idle; nothing of it is left when this returns."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for _ in range(TURNS_TO_CONNECT):
            await asyncio.sleep(0)
        for transport in self._transports():
            transport.abort()
        while self._state.tasks:
            await asyncio.wait(set(self._state.tasks))
        while self._state.connections:  # noqa: ASYNC110 - uvicorn's set has no event; an abort takes one turn of the loop
            await asyncio.sleep(0)
        await server.wait_closed()

    def drop_connections(self) -> int:
        """Reset every open connection at once and return how many there were."""
        transports = list(self._transports())
        for transport in transports:
            self._reset(transport)
        return len(transports)

    def drop_connection(self, client: tuple[str, int] | None) -> None:
        """Reset the connection of one client address, as an ASGI scope tells it."""
        for protocol in list(self._state.connections):
            if getattr(protocol, "client", None) == client:
                self._reset(protocol.transport)

    def _transports(self) -> Iterator[asyncio.Transport]:
        return (protocol.transport for protocol in list(self._state.connections))

    def _reset(self, transport: asyncio.Transport) -> None:
        self._dropped += 1
        reset_transport(transport)
