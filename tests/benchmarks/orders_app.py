"""One route, ``GET /orders/{order_id}``, five ways to come by the container: a server process of the end-to-end benchmark."""

from __future__ import annotations

import argparse
import os
import socket
from contextlib import asynccontextmanager

# FastAPI evaluates the annotations of the handlers when the application is built.
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from aio_azure_clients_toolbox import ManagedCosmos as ToolboxCosmos  # type: ignore[import-untyped]  # the peer ships no types
from azure.cosmos.aio import ContainerProxy, CosmosClient
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from fastapi_azure_pool import ManagedCosmos, install_error_handlers, managed, open_pools, pooled

from .loops import LOOPS, run_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

DATABASE = "shop"
CONTAINER = "orders"


class OrderLine(BaseModel):
    """One line of an order."""

    article: str
    quantity: int
    price: float


class Order(BaseModel):
    """What the route answers."""

    id: str
    customer_id: str
    lines: list[OrderLine]
    total: float


class Key(str):
    """An account's key where aio-azure-clients-toolbox wants a credential, so that it pays for tokens no more than the others."""

    __slots__ = ()

    async def close(self) -> None:
        """Do nothing: the toolbox closes what its factory made."""


SAMPLE: dict[str, Any] = {
    "customer_id": "c-1001",
    "lines": [
        {"article": "kettle", "quantity": 1, "price": 39.9},
        {"article": "cup", "quantity": 6, "price": 4.5},
        {"article": "green tea, 250 g", "quantity": 2, "price": 11.25},
    ],
    "total": 89.4,
}


def per_request(endpoint: str, key: str) -> FastAPI:
    """Make a client in every request, as many a first version does."""
    app = FastAPI()

    @app.get("/orders/{order_id}", response_model=Order)
    async def read_order(order_id: str) -> Any:
        async with CosmosClient(endpoint, key) as client:
            container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
            return await container.read_item(order_id, partition_key=order_id)

    return app


def kept(endpoint: str, key: str) -> FastAPI:
    """Keep one client on ``app.state``, with the SDK's defaults: what the SDK's documentation asks for."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with CosmosClient(endpoint, key) as client:
            app.state.orders = client.get_database_client(DATABASE).get_container_client(CONTAINER)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/orders/{order_id}", response_model=Order)
    async def read_order(order_id: str, request: Request) -> Any:
        return await request.app.state.orders.read_item(order_id, partition_key=order_id)

    return app


def toolbox(endpoint: str, key: str) -> FastAPI:
    """Keep aio-azure-clients-toolbox's ManagedCosmos on ``app.state``, and check out as its documentation has it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.orders = ToolboxCosmos(endpoint, DATABASE, CONTAINER, lambda: Key(key))
        yield
        await app.state.orders.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/orders/{order_id}", response_model=Order)
    async def read_order(order_id: str, request: Request) -> Any:
        async with request.app.state.orders.get_container_client() as container:
            return await container.read_item(order_id, partition_key=order_id)

    return app


def _with_pool(endpoint: str, key: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(app, orders=ManagedCosmos(endpoint, DATABASE, CONTAINER, credential=key)) as state:
            yield state

    app = FastAPI(lifespan=lifespan)
    install_error_handlers(app)
    return app


PooledOrders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]
ManagedOrders = Annotated[ManagedCosmos, Depends(managed("orders"))]


def with_pooled(endpoint: str, key: str) -> FastAPI:
    """Depend on a pooled connection."""
    app = _with_pool(endpoint, key)

    @app.get("/orders/{order_id}", response_model=Order)
    async def read_order(order_id: str, orders: PooledOrders) -> Any:
        return await orders.read_item(order_id, partition_key=order_id)

    return app


def with_managed(endpoint: str, key: str) -> FastAPI:
    """Depend on the managed client, and check out in the handler."""
    app = _with_pool(endpoint, key)

    @app.get("/orders/{order_id}", response_model=Order)
    async def read_order(order_id: str, orders: ManagedOrders) -> Any:
        async with orders.get_container_client() as container:
            return await container.read_item(order_id, partition_key=order_id)

    return app


VARIANTS: dict[str, Callable[[str, str], FastAPI]] = {
    "per request": per_request,
    "kept": kept,
    "toolbox": toolbox,
    "pooled": with_pooled,
    "managed": with_managed,
}


def main() -> None:
    """Serve one variant on a free loopback port, which is written to standard output; the key comes in the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, required=True)
    parser.add_argument("--loop", choices=LOOPS, required=True)
    parser.add_argument("--endpoint", required=True)
    options = parser.parse_args()
    app = VARIANTS[options.variant](options.endpoint, os.environ["COSMOS_KEY"])
    # asyncio turns Nagle's algorithm off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning", http="h11", ws="none"))
    run_on(options.loop, server.serve(sockets=[listener]))


if __name__ == "__main__":
    main()
