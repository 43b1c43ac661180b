"""The example's ``GET /orders/{order_id}``, its container come by in five ways: a server process of the end-to-end benchmark."""

from __future__ import annotations

import argparse
import os
import socket
from contextlib import asynccontextmanager

# FastAPI evaluates the annotations of the handlers when the application is built.
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from aio_azure_clients_toolbox import ManagedCosmos as ToolboxCosmos  # type: ignore[import-untyped]  # the peer ships no types
from azure.cosmos.aio import CosmosClient
from fastapi import Depends, FastAPI, Request, Response

from example_app.dependencies import Orders, RequestedOrder  # noqa: TC001 - FastAPI evaluates the handlers' annotations
from example_app.models import NewOrder, Order, OrderLine, customer_of
from fastapi_azure_pool import ManagedCosmos, install_error_handlers, managed, open_pools

from .loops import LOOPS, run_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

DATABASE = "shop"
CONTAINER = "orders"


class Key(str):
    """An account's key where aio-azure-clients-toolbox wants a credential, so that it pays for tokens no more than the others."""

    __slots__ = ()

    async def close(self) -> None:
        """Do nothing: the toolbox closes what its factory made."""


SAMPLE = Order.place(
    NewOrder(
        customer_id="ada",
        lines=[
            OrderLine(sku="kettle", quantity=1, unit_price=3990),
            OrderLine(sku="cup", quantity=6, unit_price=450),
            OrderLine(sku="tea-250g", quantity=2, unit_price=1125),
        ],
    )
)


async def read(container: Any, order_id: str, response: Response) -> Order:
    """Do what the example's handler does with the container that it is given."""
    item = await container.read_item(order_id, partition_key=customer_of(order_id))
    response.headers["ETag"] = item["_etag"]
    return Order.model_validate(item)


def per_request(endpoint: str, key: str) -> FastAPI:
    """Make a client in every request, as many a first version does."""
    app = FastAPI()

    @app.get("/orders/{order_id}")
    async def read_order(order_id: RequestedOrder, response: Response) -> Order:
        async with CosmosClient(endpoint, key) as client:
            container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
            return await read(container, order_id, response)

    return app


def kept(endpoint: str, key: str) -> FastAPI:
    """Keep one client on ``app.state``, with the SDK's defaults: what the SDK's documentation asks for."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with CosmosClient(endpoint, key) as client:
            app.state.orders = client.get_database_client(DATABASE).get_container_client(CONTAINER)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/orders/{order_id}")
    async def read_order(order_id: RequestedOrder, request: Request, response: Response) -> Order:
        return await read(request.app.state.orders, order_id, response)

    return app


def toolbox(endpoint: str, key: str) -> FastAPI:
    """Keep aio-azure-clients-toolbox's ManagedCosmos on ``app.state``, and check out as its documentation has it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.orders = ToolboxCosmos(endpoint, DATABASE, CONTAINER, lambda: Key(key))
        yield
        await app.state.orders.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/orders/{order_id}")
    async def read_order(order_id: RequestedOrder, request: Request, response: Response) -> Order:
        async with request.app.state.orders.get_container_client() as container:
            return await read(container, order_id, response)

    return app


def _with_pool(endpoint: str, key: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(app, orders=ManagedCosmos(endpoint, DATABASE, CONTAINER, credential=key)) as state:
            yield state

    app = FastAPI(lifespan=lifespan)
    install_error_handlers(app)
    return app


ManagedOrders = Annotated[ManagedCosmos, Depends(managed("orders"))]


def with_pooled(endpoint: str, key: str) -> FastAPI:
    """Depend on a pooled connection."""
    app = _with_pool(endpoint, key)

    @app.get("/orders/{order_id}")
    async def read_order(order_id: RequestedOrder, orders: Orders, response: Response) -> Order:
        return await read(orders, order_id, response)

    return app


def with_managed(endpoint: str, key: str) -> FastAPI:
    """Depend on the managed client, and check out in the handler."""
    app = _with_pool(endpoint, key)

    @app.get("/orders/{order_id}")
    async def read_order(order_id: RequestedOrder, orders: ManagedOrders, response: Response) -> Order:
        async with orders.get_container_client() as container:
            return await read(container, order_id, response)

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
    listener.listen()  # From now on connections queue, until the application has started.
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning", ws="none"))
    run_on(options.loop, server.serve(sockets=[listener]))


if __name__ == "__main__":
    main()
