"""A tiny forward proxy on loopback, which remembers what went through it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType


@dataclass
class Proxied:
    """One request to the proxy: its method, its target as written, and the proxy's credentials that it carried."""

    method: str
    target: str
    proxy_authorization: str | None


@dataclass
class ForwardProxy:
    """Forwards requests for ``http://`` targets one by one, and tunnels CONNECT.

    Attributes:
        requests: What came, in order.
    """

    requests: list[Proxied] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens, as it stands in HTTP_PROXY."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, version = head[0].split(" ")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            self.requests.append(Proxied(method, target, headers.pop("proxy-authorization", None)))
            url = urlsplit(f"//{target}" if method == "CONNECT" else target)
            there, back = await asyncio.open_connection(url.hostname, url.port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = f"{url.path}?{url.query}" if url.query else url.path
                lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers.items())]
                # One request for each connection keeps this short.
                back.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1"))
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # Whoever was here has gone.
        finally:
            writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()
