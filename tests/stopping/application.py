"""An application on three services that tells of its life; uvicorn runs it, in processes of their own."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import certifi
from azure.cosmos.aio import ContainerProxy
from azure.identity.aio import DefaultAzureCredential
from fastapi import Depends, FastAPI

from fastapi_azure_pool import (
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    SendError,
    managed,
    open_pools,
    pooled,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

# The SDKs of Event Hubs and Service Bus look for certificates there, and nowhere else.
certifi.where = lambda: os.environ["SSL_CERT_FILE"]

Orders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]
Events = Annotated[ManagedAzureEventhubProducer, Depends(managed("events"))]
Work = Annotated[ManagedAzureServiceBusSender, Depends(managed("work"))]

background: set[asyncio.Task[None]] = set()


def tell(what: str) -> None:
    """Write a line to the standard output, with the process's id; whole, also where several processes write to the same file."""
    os.write(1, f"{os.getpid()} {what}\n".encode())


class Credential(DefaultAzureCredential):
    """Tells when it is made and closed."""

    def __init__(self) -> None:
        super().__init__()
        tell("credential made")

    async def close(self) -> None:
        """Close it."""
        await super().close()
        tell("credential closed")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Open the pools, and tell when they are open and when they are closed."""
    namespace = os.environ["MESSAGING_NAMESPACE"]
    async with open_pools(
        app,
        credential=Credential,
        drain_seconds=float(os.environ["DRAIN_SECONDS"]),
        orders=ManagedCosmos(os.environ["AZURE_COSMOS_ENDPOINT"], "shop", "orders"),
        events=ManagedAzureEventhubProducer(namespace, "events"),
        work=ManagedAzureServiceBusSender(namespace, "work"),
    ) as state:
        tell("pools open")
        yield state
    tell("pools closed")


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{number}")
async def place(number: str, orders: Orders, events: Events, work: Work) -> str:
    """Use all three services; answer when each has confirmed."""
    tell(f"began {number}")
    await orders.create_item({"id": number, "customer_id": number})
    await asyncio.gather(events.send_event(number), work.send_message(number))
    return number


@app.post("/notes/{number}")
async def note(number: str, events: Events, work: Work) -> str:
    """Answer at once, and leave an event and a message to be sent."""

    async def send(what: str, sending: Coroutine[Any, Any, object]) -> None:
        try:
            await sending
        except SendError as error:
            tell(f"unsent {what} {number} {type(error).__name__}")

    for what, sending in (("event", events.send_event(number)), ("message", work.send_message(number))):
        task = asyncio.create_task(send(what, sending))
        background.add(task)
        task.add_done_callback(background.discard)
    return number
