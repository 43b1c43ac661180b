"""An application that runs for tests, and its clients."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from uvicorn.importer import ImportFromStringError

from fastapi_azure_pool import AbstractConnector, ManagedClient, PoolsNotFound, health_router, open_pools, pooled
from fastapi_azure_pool.testing import RunningApplication

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class LoopConnector(AbstractConnector[asyncio.AbstractEventLoop]):
    """Its connections are the event loops on which they were opened."""

    async def create(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def ready(self, connection: asyncio.AbstractEventLoop) -> bool:
        return True

    async def close(self, connection: asyncio.AbstractEventLoop) -> None:
        return None


def make_app() -> FastAPI:
    """Make an application with a pool of loops and a mounted application, which shows what it gets."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(app, loops=ManagedClient(LoopConnector(), service="loops")) as state:
            app.state.running = asyncio.Event()
            yield state
        app.state.ended = True

    app = FastAPI(lifespan=lifespan)
    app.include_router(health_router())
    mounted = FastAPI()
    app.mount("/mounted", mounted)

    @mounted.get("/loop")
    async def is_own_loop(loop: Annotated[Any, Depends(pooled("loops"))]) -> bool:
        return loop is asyncio.get_running_loop()

    @app.post("/body")
    async def size_of_body(request: Request) -> int:
        return len(await request.body())

    @app.get("/broken")
    async def fail() -> None:
        raise ZeroDivisionError

    @app.get("/endless")
    async def wait() -> None:
        app.state.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            app.state.cancelled.set()

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    return app


async def test_both_clients_and_run_use_the_application_s_event_loop() -> None:
    """The pools' connections serve both clients, through a mounted application's own state too, and functions that run there."""
    with RunningApplication(make_app) as running:
        assert running.client.get("/mounted/loop").json() is True
        async with running.async_client(headers={"X-Test": "1"}) as http:
            assert http.headers["X-Test"] == "1"
            assert (await http.get("/mounted/loop")).json() is True

        async def loop_of_pool(name: str) -> asyncio.AbstractEventLoop:
            async with running.pools[name].get() as loop:
                assert loop is asyncio.get_running_loop()
                return loop

        assert running.run(loop_of_pool, "loops") is not asyncio.get_running_loop()
        assert running.client.get("/health/pools").json()["status"] == "pass"
        with running.client.websocket_connect("/echo") as websocket:
            websocket.send_text("hello")
            assert websocket.receive_text() == "hello"
    assert running.app.state.ended


async def test_requests_of_the_async_client_run_at_the_same_time() -> None:
    """Fifty requests, each with a body from this event loop, are answered together."""
    own_loop = asyncio.get_running_loop()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            assert asyncio.get_running_loop() is own_loop
            yield b"x"

    with RunningApplication(make_app()) as running:
        async with running.async_client() as http:
            answers = await asyncio.gather(*(http.post("/body", content=body()) for _ in range(50)))
    assert [answer.json() for answer in answers] == [3] * 50


async def test_a_cancelled_request_is_cancelled_in_the_application() -> None:
    """Whoever stops waiting for an answer stops the handler."""
    with RunningApplication(make_app) as running:
        running.app.state.cancelled = threading.Event()
        async with running.async_client() as http:
            request = asyncio.create_task(http.get("/endless"))
            await asyncio.to_thread(running.run, running.app.state.running.wait)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            assert await asyncio.to_thread(running.app.state.cancelled.wait, 10)


async def test_an_error_that_nothing_handles_is_raised_or_answered() -> None:
    """By default it is raised in the test, from both clients; if so asked it is a response 500."""
    with RunningApplication(make_app) as running:
        with pytest.raises(ZeroDivisionError):
            running.client.get("/broken")
        async with running.async_client() as http:
            with pytest.raises(ZeroDivisionError):
                await http.get("/broken")
    with RunningApplication(make_app, raise_server_exceptions=False) as running:
        assert running.client.get("/broken").status_code == 500
        async with running.async_client() as http:
            assert (await http.get("/broken")).status_code == 500


def test_a_lifespan_s_error_is_the_test_s() -> None:
    """What the lifespan raises before its yield, or after it, comes to the test; no thread is left."""
    before = threading.active_count()

    @asynccontextmanager
    async def starts_badly(app: FastAPI) -> AsyncIterator[None]:
        raise LookupError("no such container")
        yield

    @asynccontextmanager
    async def ends_badly(app: FastAPI) -> AsyncIterator[None]:
        yield
        raise LookupError("no such lock")

    with (
        pytest.raises(LookupError, match="no such container") as raised,
        RunningApplication(FastAPI(lifespan=starts_badly)),
    ):
        pass
    assert "while a test started the application" in raised.value.__notes__[0]
    with pytest.raises(LookupError, match="no such lock"), RunningApplication(FastAPI(lifespan=ends_badly)):
        pass
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("application", "told"),
    [
        (None, "application must be a FastAPI or Starlette application, .* not NoneType"),
        (dict, "application must be .*, not dict"),
        ("json:dumps.missing", '"dumps.missing" not found in module "json"'),
        ("json", 'must be in format "<module>:<attribute>"'),
    ],
)
def test_what_is_no_application_is_told(application: Any, told: str) -> None:
    """Anything else than an application, a function that makes one, and where one is, is refused."""
    with pytest.raises((TypeError, ImportFromStringError), match=told), RunningApplication(application):
        pass


def test_an_application_is_found_by_its_name() -> None:
    """``"module:name"`` of an application or of a function that makes one is imported when it is started."""
    with RunningApplication("fastapi:FastAPI") as running:
        assert isinstance(running.app, FastAPI)
        assert repr(running) == "<RunningApplication 'fastapi:FastAPI'>"


def test_outside_its_block_it_says_what_to_write() -> None:
    """Before it is started and after it has ended, nothing can be called; without pools it says that there are none."""
    running = RunningApplication(FastAPI)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="use it inside `with RunningApplication"):
            running.run(asyncio.sleep, 0)
        with pytest.raises(RuntimeError, match="use it inside `with RunningApplication"):
            running.async_client()
        with running, pytest.raises(PoolsNotFound):
            _ = running.pools
