"""An application that uses every kind of client in every way, behind uvicorn: the process of the soak's second part."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import uvicorn
from azure.cosmos.aio import ContainerProxy
from azure.cosmos.exceptions import CosmosResourceNotFoundError
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse

from fastapi_azure_pool import (
    AbstractConnector,
    AzureBlobError,
    EventGridConfig,
    EventGridTopicConfig,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedClient,
    ManagedCosmos,
    ManagedEventGridPublisher,
    health_router,
    install_error_handlers,
    managed,
    open_pools,
    pooled,
)

from .measuring import Measurement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi_azure_pool.emulator import Emulator

ENVIRONMENT = "SOAK_AZURE"
"""Where the process finds how to reach the emulator."""

LEAK = 100
"""How many objects a planted leak keeps at a time."""


@dataclass(frozen=True, slots=True)
class Azure:
    """How to reach an emulator that has what the application needs."""

    cosmos_endpoint: str
    cosmos_key: str
    eventhub: str
    servicebus: str
    blob_endpoint: str
    storage_key: str
    topic: str
    topic_key: str

    @classmethod
    async def of(cls, emulator: Emulator) -> Self:
        """Make what the application needs in an emulator that runs."""
        await emulator.create_cosmos_container("shop", "orders", partition_key="/id")
        await emulator.create_eventhub("events")
        await emulator.create_queue("confirmations")
        await emulator.create_blob_container("files")
        await emulator.create_eventgrid_topic("news")
        return cls(
            emulator.cosmos_endpoint,
            emulator.cosmos_key,
            emulator.eventhub_connection_string,
            emulator.servicebus_connection_string,
            emulator.blob_endpoint,
            emulator.storage_key,
            emulator.eventgrid_endpoint("news"),
            emulator.eventgrid_key,
        )

    def write(self) -> str:
        """Give it as JSON."""
        return json.dumps(asdict(self))


class Broken(Exception):
    """Breaks a connection."""


class NothingConnector(AbstractConnector[object]):
    """Opens connections to nothing, so that a request costs only what FastAPI and the pool cost."""

    async def create(self) -> object:
        await asyncio.sleep(0)
        return bytearray(4096)

    async def ready(self, connection: object) -> bool:
        return True

    async def close(self, connection: object) -> None:
        await asyncio.sleep(0)

    def is_fatal(self, error: BaseException) -> bool:
        return isinstance(error, Broken)


def clients_of(azure: Azure) -> dict[str, ManagedClient[Any]]:
    """Make a client of every kind, of an emulator and of nothing."""
    topics = EventGridConfig(EventGridTopicConfig("news", azure.topic))
    return {
        "orders": ManagedCosmos(
            azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key, max_lifespan_seconds=20
        ),
        "events": ManagedAzureEventhubProducer(connection_string=azure.eventhub, eventhub_name="events"),
        "confirmations": ManagedAzureServiceBusSender(
            connection_string=azure.servicebus, service_bus_queue_name="confirmations", leak_warning_seconds=60
        ),
        "files": ManagedAzureBlobStorage(azure.blob_endpoint, "files", credential=azure.storage_key),
        "news": ManagedEventGridPublisher(topics, credential=azure.topic_key),
        "plenty": ManagedClient(NothingConnector(), service="nothing", leak_warning_seconds=60),
        "scarce": ManagedClient(
            NothingConnector(),
            service="nothing",
            client_limit=1,
            max_size=2,
            max_waiting=4,
            max_lifespan_seconds=1,
            max_idle_seconds=1,
            pool_get_timeout=0.01,
        ),
    }


Orders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]
OrdersClient = Annotated[ManagedCosmos, Depends(managed("orders"))]
Events = Annotated[ManagedAzureEventhubProducer, Depends(managed("events"))]
Confirmations = Annotated[ManagedAzureServiceBusSender, Depends(managed("confirmations"))]
Files = Annotated[ManagedAzureBlobStorage, Depends(managed("files"))]
News = Annotated[ManagedEventGridPublisher, Depends(managed("news"))]
Plenty = Annotated[object, Depends(pooled("plenty"), scope="function")]
PlentyToTheEnd = Annotated[object, Depends(pooled("plenty"))]
Scarce = Annotated[object, Depends(pooled("scarce"), scope="function")]


def create_app(clients: dict[str, ManagedClient[Any]], *, leak_from: float = math.inf) -> FastAPI:
    """Make the application.

    Args:
        clients: Its clients.
        leak_from: Keep `LEAK` small objects for each request for a place from this number on, to show that they are found.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(app, clients) as state:
            await clients["files"].upload_blob("sample", b"sample" * 200)  # type: ignore[attr-defined]  # a ManagedAzureBlobStorage
            yield state

    app = FastAPI(lifespan=lifespan)
    install_error_handlers(app)
    app.include_router(health_router())
    kept: list[list[int]] = []
    _add_services(app)
    _add_troubles(app)

    @app.get("/plenty/{number}")
    async def take(number: int, connection: Plenty) -> int:
        if number >= leak_from:
            kept.extend([number] for _ in range(LEAK))
        return number

    @app.get("/measurement/{operations}")
    async def measure(operations: int, with_lines: bool = False) -> dict[str, Any]:
        return asdict(Measurement.take(operations, with_lines=with_lines))

    return app


def _add_services(app: FastAPI) -> None:
    """Add a route for whatever the services are used for."""

    @app.put("/orders/{order_id}")
    async def write_order(order_id: str, orders: OrdersClient) -> str:
        async with orders.get_container_client() as container:
            item = await container.upsert_item({"id": order_id, "total": 12})
        return str(item["id"])

    @app.get("/orders/{order_id}")
    async def read_order(order_id: str, orders: Orders) -> Any:
        try:
            return (await orders.read_item(order_id, partition_key=order_id))["total"]
        except CosmosResourceNotFoundError:
            raise HTTPException(404) from None

    @app.post("/events/{number}")
    async def send_event(number: int, events: Events) -> None:
        await events.send_event(f"event {number}")

    @app.post("/confirmations/{number}")
    async def send_message(number: int, confirmations: Confirmations) -> None:
        await confirmations.send_message(f"message {number}")

    @app.post("/news/{number}")
    async def emit_event(number: int, news: News) -> None:
        await news.emit_event("news", "shop.order.placed", f"/orders/{number}", {"number": number})

    @app.put("/files/{name}")
    async def upload(name: str, files: Files) -> None:
        await files.upload_blob(name, b"content" * 100, overwrite=True)

    @app.get("/files/{name}")
    async def download(name: str, files: Files) -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            async with files.get_blob_download_stream(name) as stream:
                async for chunk in stream.chunks():
                    yield chunk

        if name == "missing":
            try:
                await files.download_blob(name)
            except AzureBlobError:
                raise HTTPException(404) from None
        return StreamingResponse(content())


def _add_troubles(app: FastAPI) -> None:
    """Add a route for whatever goes wrong, or takes long."""

    @app.get("/scarce")
    async def wait_for_a_place(connection: Scarce) -> None:
        await asyncio.sleep(0.002)

    @app.get("/broken")
    async def break_the_connection(connection: Scarce) -> None:
        raise Broken

    @app.get("/background")
    async def work_in_background(tasks: BackgroundTasks, connection: PlentyToTheEnd) -> None:
        tasks.add_task(asyncio.sleep, 0.001)

    @app.get("/stream")
    async def stream(connection: PlentyToTheEnd) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"x" * 10_000
                await asyncio.sleep(0.001)

        return StreamingResponse(body())


def main() -> None:
    """Serve on a free loopback port, which is written to standard output, until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leak-from", type=float, default=math.inf)
    options = parser.parse_args()
    app = create_app(clients_of(Azure(**json.loads(os.environ[ENVIRONMENT]))), leak_from=options.leak_from)
    # Warnings of connections that the requests break are part of it; nobody reads them.
    logging.getLogger("fastapi_azure_pool").addHandler(logging.NullHandler())
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, access_log=False, log_level="critical", loop="asyncio", ws="none", timeout_keep_alive=600
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
