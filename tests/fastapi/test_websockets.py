"""Pools on WebSockets: found, given back, and refused before and after the WebSocket is accepted."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket, WebSocketException
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from fastapi_azure_pool import PoolsNotFound, install_error_handlers, managed, open_pools, pooled
from fastapi_azure_pool.clients.managed import ManagedClient
from tests.fastapi.driver import Lifespan, websocket
from tests.fastapi.scripted import ScriptedClient, app_with
from tests.support.scripted_connector import Transport

Place = Annotated[Transport, Depends(pooled("orders"), scope="function")]
Client = Annotated[ManagedClient[Transport], Depends(managed("orders"))]


async def accept(socket: WebSocket) -> None:
    """Accept a WebSocket before the dependencies after this one are asked."""
    await socket.accept()


Accepted = Annotated[None, Depends(accept)]


def app_of(orders: ScriptedClient, *, installed: bool) -> FastAPI:
    """Make an application with a WebSocket that checks out before it is accepted, after, and by hand."""
    app = app_with(orders=orders)
    if installed:
        install_error_handlers(app)

    @app.websocket("/before")
    async def before(socket: WebSocket, transport: Place) -> None:
        await socket.accept()
        await socket.send_json([transport.number, orders.clients])

    @app.websocket("/after")
    async def after(socket: WebSocket, accepted: Accepted, transport: Place) -> None:
        await socket.send_json([transport.number, orders.clients])

    @app.websocket("/by-hand")
    async def by_hand(socket: WebSocket, client: Client) -> None:
        await socket.accept()
        async with client.get() as transport:
            await socket.send_json([transport.number, orders.clients])

    @app.websocket("/by-hand-before")
    async def by_hand_before(socket: WebSocket, client: Client) -> None:
        async with client.get():
            await socket.accept()

    return app


with_and_without = pytest.mark.parametrize("installed", [False, True], ids=["plain", "handlers installed"])


def full() -> ScriptedClient:
    """Give a client that has one place."""
    return ScriptedClient(client_limit=1, max_size=1, pool_get_timeout=0.01)


@with_and_without
@pytest.mark.parametrize("path", ["/before", "/after", "/by-hand"])
async def test_a_websocket_gets_a_connection_and_gives_it_back(path: str, installed: bool) -> None:
    """The dependencies work on a WebSocket as they do on a request."""
    orders = ScriptedClient()
    app = app_of(orders, installed=installed)
    async with Lifespan(app):
        messages = await websocket(app, path)
        assert [message["type"] for message in messages] == ["websocket.accept", "websocket.send"]
        assert messages[1]["text"] == "[0,1]"
        assert orders.clients == 0


@with_and_without
async def test_before_it_is_accepted_the_answer_is_503(installed: bool) -> None:
    """A WebSocket that is not accepted yet is denied with HTTP 503, Retry-After and a problem document."""
    orders = full()
    app = app_of(orders, installed=installed)
    async with Lifespan(app), orders.get():
        start, body = await websocket(app, "/before")
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    headers = dict(start["headers"])
    assert (headers[b"retry-after"], headers[b"content-type"]) == (b"1", b"application/problem+json")
    detail = b"pool 'orders' has no free connection at the moment"
    assert (body["type"], detail in body["body"], b'"title"' in body["body"]) == (
        "websocket.http.response.body",
        True,
        installed,
    )


@with_and_without
async def test_after_it_is_accepted_the_close_code_is_1013(installed: bool) -> None:
    """An accepted WebSocket is closed with code 1013 (try again later) and the reason."""
    orders = full()
    app = app_of(orders, installed=installed)
    async with Lifespan(app), orders.get():
        messages = await websocket(app, "/after")
    assert [message["type"] for message in messages] == ["websocket.accept", "websocket.close"]
    assert (messages[1]["code"], messages[1]["reason"]) == (1013, "pool 'orders' has no free connection at the moment")


async def test_a_handler_s_own_checkout_is_covered_by_the_handlers() -> None:
    """With the handlers installed, a checkout by hand is refused in the same two ways."""
    orders = full()
    app = app_of(orders, installed=True)
    async with Lifespan(app), orders.get():
        accepted, closed = await websocket(app, "/by-hand")
        assert (accepted["type"], closed["type"], closed["code"]) == ("websocket.accept", "websocket.close", 1013)
        denied, _ = await websocket(app, "/by-hand-before")
        assert (denied["type"], denied["status"]) == ("websocket.http.response.start", 503)


async def test_a_reason_fits_a_close_frame() -> None:
    """A close frame has room for 123 bytes of reason (RFC 6455, section 5.5): a long name of a pool is cut, not an error."""
    name = "ö" * 100
    place = Depends(pooled(name), scope="function")
    client = full()

    for installed in (False, True):
        app = FastAPI()
        if installed:
            install_error_handlers(app)

        @app.websocket("/")
        async def after(socket: WebSocket, accepted: Accepted, transport: Any = place) -> None: ...

        async with open_pools(app, {name: client}), client.get():
            _, closed = await websocket(app, "/")
        assert closed["code"] == 1013
        assert closed["reason"].startswith("pool 'öö")
        assert 100 < len(closed["reason"].encode()) <= 123


async def test_what_the_handler_raises_reaches_it() -> None:
    """A WebSocketException of the handler itself is not touched."""
    app = app_with(orders=ScriptedClient())
    install_error_handlers(app)

    @app.websocket("/")
    async def read(socket: WebSocket, accepted: Accepted, transport: Place) -> None:
        raise WebSocketException(1008, "mine")

    async with Lifespan(app):
        messages = await websocket(app, "/")
    assert (messages[-1]["code"], messages[-1]["reason"]) == (1008, "mine")


def test_as_a_browser_sees_it() -> None:
    """Through TestClient: accepted and served, denied with 503, closed with 1013, and an error without a lifespan."""
    orders = full()
    app = app_of(orders, installed=False)
    with pytest.raises(PoolsNotFound), TestClient(app).websocket_connect("/before"):
        pass
    with TestClient(app) as http:
        with http.websocket_connect("/before") as socket:
            assert socket.receive_json() == [0, 1]
        assert http.portal is not None
        lease = orders.get()
        http.portal.call(lease.__aenter__)
        with pytest.raises(WebSocketDenialResponse) as denied, http.websocket_connect("/before"):
            pass
        assert denied.value.status_code == 503
        assert denied.value.headers["retry-after"] == "1"
        with http.websocket_connect("/after") as socket, pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1013
        http.portal.call(lease.__aexit__, None, None, None)
