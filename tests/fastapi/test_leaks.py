"""`leak_warning_seconds` in an application: the warning names the method and the route's template, and nothing of the request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from fastapi_azure_pool import managed, pooled
from fastapi_azure_pool.clients.managed import ManagedClient
from tests.clients.waiting import eventually
from tests.fastapi.driver import Lifespan, serving, websocket
from tests.fastapi.scripted import ScriptedClient, app_with
from tests.support.scripted_connector import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Place = Annotated[Transport, Depends(pooled("orders"), scope="function")]
LongPlace = Annotated[Transport, Depends(pooled("orders"))]
Client = Annotated[ManagedClient[Transport], Depends(managed("orders"))]


@pytest.fixture
def orders() -> ScriptedClient:
    """A client that warns as soon as the loop gets to it."""
    return ScriptedClient(leak_warning_seconds=0.001)


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], Awaitable[None]]:
    """Wait for the first warning."""
    caplog.set_level(logging.WARNING)

    async def wait() -> None:
        await eventually(lambda: caplog.messages)

    return wait


def place(caplog: pytest.LogCaptureFixture) -> str:
    """Give what the one warning calls the place, of the pool "orders"."""
    (message,) = caplog.messages
    assert message.startswith("pool orders: a place on connection ")
    return message.partition(" by ")[2]


async def test_a_request_s_place_is_its_method_and_its_route(
    orders: ScriptedClient, warned: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """The warning has the route's template: no path parameter's value, no query, no header."""
    app = app_with(orders=orders)

    @app.put("/customers/{customer_id}/orders/{order_id}")
    async def put(customer_id: str, order_id: str, transport: Place) -> None:
        await warned()

    async with serving(app) as http:
        answer = await http.put(
            "/customers/ada/orders/secret-7?token=secret", headers={"authorization": "Bearer secret"}
        )
    assert answer.status_code == 200
    assert place(caplog) == "PUT /customers/{customer_id}/orders/{order_id}"


async def test_the_route_of_an_included_router_has_its_prefixes(
    orders: ScriptedClient, warned: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever prefixes routers are included under are part of the template."""
    app = app_with(orders=orders)
    inner, outer = APIRouter(prefix="/orders"), APIRouter()

    @inner.get("/{order_id}")
    async def read(order_id: str, transport: Place) -> None:
        await warned()

    outer.include_router(inner, prefix="/{tenant}")
    app.include_router(outer, prefix="/api")
    async with serving(app) as http:
        assert (await http.get("/api/secret/orders/secret")).status_code == 200
    assert place(caplog) == "GET /api/{tenant}/orders/{order_id}"


async def test_a_mounted_application_tells_its_own_route(
    orders: ScriptedClient, warned: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """What an application is mounted under may hold values, and is left out."""
    app, mounted = app_with(orders=orders), FastAPI()

    @mounted.get("/orders/{order_id}")
    async def read(order_id: str, transport: Place) -> None:
        await warned()

    app.mount("/{tenant}", mounted)
    async with serving(app) as http:
        assert (await http.get("/secret/orders/secret")).status_code == 200
    assert place(caplog) == "GET /orders/{order_id}"


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_websocket_s_place_is_its_route(
    orders: ScriptedClient, warned: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    """A place that is held over a WebSocket is told in the same way."""
    app, router = app_with(orders=orders), APIRouter()

    @router.websocket("/orders/{order_id}")
    async def follow(socket: WebSocket, order_id: str, transport: Place) -> None:
        await socket.accept()
        await warned()

    app.include_router(router, prefix=prefix)
    async with Lifespan(app):
        await websocket(app, f"{prefix}/orders/secret")
    assert place(caplog) == f"WebSocket {prefix}/orders/{{order_id}}"


@pytest.mark.parametrize("how", ["background", "stream"])
async def test_what_comes_after_the_handler_holds_the_place_of_the_default_scope(
    orders: ScriptedClient, warned: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """A place of the default scope is held over background tasks and streams, and warned of as the request's."""
    app = app_with(orders=orders)

    @app.get("/background")
    async def background(tasks: BackgroundTasks, transport: LongPlace) -> None:
        tasks.add_task(warned)

    @app.get("/stream")
    async def stream(transport: LongPlace) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            await warned()
            yield b"done"

        return StreamingResponse(body())

    async with serving(app) as http:
        assert (await http.get(f"/{how}")).status_code == 200
    assert place(caplog) == f"GET /{how}"


@pytest.mark.parametrize("how", ["background", "stream"])
async def test_with_scope_function_it_holds_none(caplog: pytest.LogCaptureFixture, how: str) -> None:
    """A place of scope="function" is back by then: there is nothing to warn of, however long the rest takes."""
    caplog.set_level(logging.WARNING)
    orders, control = ScriptedClient(leak_warning_seconds=0.02), ScriptedClient(leak_warning_seconds=0.05)
    app = app_with(orders=orders, control=control)

    async def take_long() -> None:
        async with control.get():  # Held for longer than a leak of the request's place would take to be seen.
            await eventually(lambda: caplog.messages)

    @app.get("/background")
    async def background(tasks: BackgroundTasks, transport: Place) -> None:
        tasks.add_task(take_long)

    @app.get("/stream")
    async def stream(transport: Place) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            await take_long()
            yield b"done"

        return StreamingResponse(body())

    async with serving(app) as http:
        assert (await http.get(f"/{how}")).status_code == 200
    (message,) = caplog.messages
    assert message.startswith("pool control: ")


async def test_a_handler_s_own_checkout_is_told_by_its_line(
    orders: ScriptedClient, warned: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """With managed, the place is the line of the handler that checks out."""
    app = app_with(orders=orders)
    lines: list[int] = []

    @app.get("/orders/{order_id}")
    async def read(order_id: str, client: Client) -> None:
        async with client.get():
            await warned()

    lines.append(read.__code__.co_firstlineno + 2)
    async with serving(app) as http:
        assert (await http.get("/orders/secret")).status_code == 200
    name = "test_a_handler_s_own_checkout_is_told_by_its_line.<locals>.read"
    assert place(caplog) == f"{name} ({__file__}:{lines[0]})"


@pytest.mark.parametrize("scope", [{"type": "http", "method": "GET"}, {"type": "http", "method": "GET", "route": None}])
async def test_a_dependency_outside_a_route_is_told_as_such(
    orders: ScriptedClient,
    warned: Callable[[], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
    scope: dict[str, Any],
) -> None:
    """Where somebody else than FastAPI calls the dependency there may be no route; that is no reason to fail."""
    from starlette.requests import HTTPConnection

    app = app_with(orders=orders)
    async with Lifespan(app) as lifespan:
        place_of = pooled("orders")(HTTPConnection({**scope, "app": app, "state": lifespan.state}))
        async for _ in place_of:
            await warned()
    assert place(caplog) == "GET (a route without a path)"
