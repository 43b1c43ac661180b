"""An application that runs for tests: its lifespan is entered, and clients call it without a socket."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from starlette.applications import Starlette

from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.errors import PoolsNotFound
from fastapi_azure_pool.registry import pools_of

with extra("testing"):
    import httpx2
    from starlette.testclient import TestClient
    from uvicorn.importer import import_from_string

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from anyio.from_thread import BlockingPortal
    from fastapi import FastAPI

    from fastapi_azure_pool.registry import AzurePools

    Application = Starlette | Callable[[], Starlette] | str

ResultT = TypeVar("ResultT")

BASE_URL = "http://testserver"
"""What requests' URLs begin with; Starlette's own."""


class RunningApplication:
    """An application on an event loop in a thread of its own, started; ``with RunningApplication(app) as running:``.

    Its lifespan has run up to its ``yield``, so its pools are open; it ends with the block. All clients and `run` use that one
    event loop, to which the pools belong.

    Args:
        application: The application, a function without arguments that makes it, or where one of these is found:
            ``"shop.main:app"``, which is imported when it is started.
        raise_server_exceptions: Whether an error that no handler of the application answers is raised in the test (default), or
            becomes a response 500.

    Attributes:
        app: The application: ``running.app.dependency_overrides``.
        client: A ``TestClient`` of Starlette, which is an httpx client: ``running.client.get("/orders")``.

    Raises:
        TypeError: It is neither a FastAPI or Starlette application nor a function that makes one.
        Exception: Whatever the lifespan raises, when the block is entered or left.
    """

    app: FastAPI
    client: TestClient

    def __init__(self, application: Application, *, raise_server_exceptions: bool = True) -> None:
        self._application = application
        self._raise_server_exceptions = raise_server_exceptions
        self._afterwards = ExitStack()

    def __enter__(self) -> Self:
        self.app = _load(self._application)
        client = TestClient(self.app, BASE_URL, raise_server_exceptions=self._raise_server_exceptions)
        try:
            self._afterwards.enter_context(client)
        except Exception as error:
            error.add_note(f"The lifespan of {self.app!r} raised this while a test started the application.")
            _close_streams(client)
            raise
        self.client = client
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._afterwards.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._application!r}>"

    @property
    def pools(self) -> AzurePools:
        """The application's pools by name: ``running.pools.client("orders", ManagedCosmos)``.

        Raises:
            PoolsNotFound: Its lifespan opens none.
        """
        pools = pools_of(self.app)
        if pools is None:
            raise PoolsNotFound
        return pools

    def async_client(self, **options: Any) -> httpx2.AsyncClient:
        """Make a client for tests that are coroutines: ``async with running.async_client() as http:``.

        Requests run at the same time as others, on the application's event loop; a response's body is complete when it comes.

        Args:
            options: Those of ``httpx2.AsyncClient``, such as ``headers``.
        """
        transport = _LoopTransport(self._with_state, self._portal, raise_app_exceptions=self._raise_server_exceptions)
        return httpx2.AsyncClient(**{"transport": transport, "base_url": BASE_URL, **options})

    def run(self, function: Callable[..., Awaitable[ResultT]], *arguments: Any) -> ResultT:
        """Call a coroutine function on the application's event loop and return its result: ``running.run(count_orders, app)``.

        Raises:
            RuntimeError: It is called on that event loop: write ``await`` there.
        """
        return self._portal.call(function, *arguments)

    @property
    def _portal(self) -> BlockingPortal:
        portal = self.client.portal if hasattr(self, "client") else None
        if portal is None:
            raise RuntimeError("the application does not run: use it inside `with RunningApplication(app) as running:`")
        return portal

    async def _with_state(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope, "state": dict(self.client.app_state)}, receive, send)


class _LoopTransport(httpx2.AsyncBaseTransport):
    """Hands the requests of one event loop to an application on another.

    Args:
        app: The application.
        portal: What runs functions on its event loop.
        raise_app_exceptions: Whether its errors are raised.
    """

    def __init__(self, app: Any, portal: BlockingPortal, *, raise_app_exceptions: bool) -> None:
        self._portal = portal
        self._transport = httpx2.ASGITransport(app, raise_app_exceptions=raise_app_exceptions)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request; cancelled, it is cancelled over there."""
        await request.aread()  # Its body may come from what belongs to this event loop.
        answer = self._portal.start_task_soon(self._transport.handle_async_request, request)
        return await asyncio.wrap_future(answer)


def _close_streams(client: Any) -> None:
    """Close what the TestClient of older versions of Starlette leaves open when a lifespan fails."""
    for stream in (client.stream_send, client.stream_receive):
        stream.send_stream.close()
        stream.receive_stream.close()


def _load(application: object) -> FastAPI:
    if isinstance(application, str):
        application = import_from_string(application)
    if callable(application) and not isinstance(application, Starlette):
        application = application()
    if not isinstance(application, Starlette):
        raise TypeError(
            "an application must be a FastAPI or Starlette application, a function without arguments that makes one, or"
            f' "module:name" of one of these, not {type(application).__name__}'
        )
    return cast("FastAPI", application)  # Starlette's own are taken, too, but rare.
