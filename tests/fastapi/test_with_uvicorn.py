"""An application behind a real server, with clients that come and go over real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import pytest
from azure.cosmos.aio import ContainerProxy
from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

from fastapi_azure_pool import ManagedCosmos, health_router, pooled
from tests.clients.waiting import eventually
from tests.fastapi.driver import serving_with_uvicorn
from tests.fastapi.scripted import ScriptedClient, app_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi_azure_pool.emulator import Emulator

Orders = Annotated[ContainerProxy, Depends(pooled("orders"))]


async def ask(port: int, method: str, path: str, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the head of a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([f"{method} {path} HTTP/1.1", "host: test", *headers, "", ""]).encode())
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("leaving", ["while it is answered", "while it sends"])
async def test_a_browser_that_leaves_gives_its_place_back_and_breaks_nothing(azure: Emulator, leaving: str) -> None:
    """A client that hangs up, in the middle of the answer or of its own body, frees its place; the connection stays."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    app = app_with(orders=orders)

    @app.get("/stream")
    async def stream(orders: Orders) -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"chunk" * 1000
                await asyncio.sleep(0.001)

        return StreamingResponse(chunks())

    @app.post("/body")
    async def body(request: Request, orders: Orders) -> int:
        return len(await request.body())

    async with serving_with_uvicorn(app) as port:
        (connection,) = orders.pool.connections
        if leaving == "while it is answered":
            reader, writer = await ask(port, "GET", "/stream")
            await reader.readuntil(b"chunk")
        else:
            _, writer = await ask(port, "POST", "/body", "content-length: 1000")
        await eventually(lambda: orders.pool.stats().clients == 1)
        writer.close()
        await eventually(lambda: orders.pool.stats().clients == 0)
        assert orders.pool.connections == (connection,)
        assert connection.is_ready


async def test_a_server_that_stops_closes_the_pools() -> None:
    """When the server is told to stop, the lifespan closes every connection."""
    orders = ScriptedClient(min_size=3)
    app = app_with(orders=orders)
    app.include_router(health_router())
    async with serving_with_uvicorn(app) as port:
        reader, writer = await ask(port, "GET", "/health/ready", "connection: close")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        assert orders.pool.ready_connection_count == 3
    assert [transport.times_closed for transport in orders.connector.created] == [1, 1, 1]
