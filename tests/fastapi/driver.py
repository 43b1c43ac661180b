"""An application served on the test's own event loop: its lifespan, requests, WebSockets, and each message it sends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx2
import uvicorn

from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
    from types import TracebackType

    from fastapi import FastAPI

    Message = dict[str, Any]
    OnMessage = Callable[[Message], Awaitable[None] | None]


class Lifespan:
    """Runs an application's lifespan as a server does, in a task of its own.

    Attributes:
        state: What the lifespan yielded; each request gets a copy, as from a server.
    """

    def __init__(self, app: FastAPI) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self.task = asyncio.create_task(self._app(scope, self._received.get, self._sent.put))  # type: ignore[arg-type]
        await self._tell("lifespan.startup")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tell("lifespan.shutdown")
        await self.task

    async def _tell(self, what: str) -> None:
        """Send a message and wait for the answer; raise what the application raises instead of it."""
        await self._received.put({"type": what})
        answer = asyncio.ensure_future(self._sent.get())
        await asyncio.wait({answer, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() or answer.result()["type"] != f"{what}.complete":
            answer.cancel()
            await self.task


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the lifespan and give an HTTP client; what a handler raises becomes the answer 500, as with a server."""
    async with Lifespan(app) as lifespan, client_of(app, lifespan.state) as client:
        yield client


@asynccontextmanager
async def serving_with_uvicorn(app: FastAPI) -> AsyncIterator[int]:
    """Serve an application on a free port of loopback; give the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_config=None, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve([listener]))
    await eventually(lambda: server.started or task.done())
    yield int(listener.getsockname()[1])
    server.should_exit = True
    await task


def client_of(app: FastAPI, state: dict[str, Any] | None = None) -> httpx2.AsyncClient:
    """Give an HTTP client of an application whose lifespan has yielded this state, or did not run."""

    async def with_state(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state or {})}, receive, send)

    transport = httpx2.ASGITransport(app=with_state, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://test")


async def request(
    app: FastAPI,
    path: str,
    *,
    method: str = "GET",
    incoming: Iterable[Message] = ({"type": "http.request", "body": b"", "more_body": False},),
    on_message: OnMessage | None = None,
) -> list[Message]:
    """Make one request by hand; give the messages that the application sent.

    Args:
        app: The application.
        path: The path.
        method: The method.
        incoming: What the application receives; when it is used up, nothing more comes.
        on_message: Called with each message that the application sends; what it raises, sending raises.
    """
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "state": {},
    }
    return await _run(app, scope, incoming, on_message)


async def websocket(
    app: FastAPI,
    path: str,
    *,
    texts: Iterable[str] = (),
) -> list[Message]:
    """Open a WebSocket, send these texts and go; give the messages that the application sent."""
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "ws",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    incoming: list[Message] = [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in texts),
        {"type": "websocket.disconnect", "code": 1000},
    ]
    return await _run(app, scope, incoming, None)


async def _run(
    app: FastAPI, scope: dict[str, Any], incoming: Iterable[Message], on_message: OnMessage | None
) -> list[Message]:
    sent: list[Message] = []
    left = iter(incoming)

    async def receive() -> Message:
        for message in left:
            return message
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def send(message: Any) -> None:
        sent.append(dict(message))
        if on_message is not None:
            answer = on_message(message)
            if answer is not None:
                await answer

    await app(scope, receive, send)
    return sent
