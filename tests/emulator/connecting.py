"""A program that connects with each SDK as the environment says, and tells that it could: with keys, or with tokens over TLS."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import AzureKeyCredential
from azure.cosmos.aio import CosmosClient
from azure.eventgrid import EventGridEvent
from azure.eventgrid.aio import EventGridPublisherClient
from azure.eventhub import TransportType
from azure.eventhub.aio import EventHubProducerClient
from azure.identity.aio import DefaultAzureCredential, WorkloadIdentityCredential
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.storage.blob import BlobServiceClient as SyncBlobServiceClient
from azure.storage.blob.aio import BlobServiceClient

ENVIRONMENT = os.environ
EVENT = EventGridEvent(subject="orders/1", event_type="placed", data={}, data_version="1")


def clients_with_keys() -> tuple[Any, ...]:
    """Make a client of each service with its key or connection string."""
    return (
        CosmosClient(ENVIRONMENT["AZURE_COSMOS_ENDPOINT"], ENVIRONMENT["AZURE_COSMOS_KEY"]),
        EventHubProducerClient.from_connection_string(
            ENVIRONMENT["AZURE_EVENTHUB_CONNECTION_STRING"], eventhub_name="events", retry_total=0
        ),
        ServiceBusClient.from_connection_string(ENVIRONMENT["AZURE_SERVICEBUS_CONNECTION_STRING"], retry_total=0),
        BlobServiceClient.from_connection_string(ENVIRONMENT["AZURE_STORAGE_CONNECTION_STRING"]),
        EventGridPublisherClient(
            ENVIRONMENT["AZURE_EVENTGRID_TOPIC_ENDPOINT"], AzureKeyCredential(ENVIRONMENT["AZURE_EVENTGRID_KEY"])
        ),
    )


def clients_with_tokens(credential: DefaultAzureCredential) -> tuple[Any, ...]:
    """Make a client of each service with a credential; those of AMQP are told the port and the certificate."""
    host = urlsplit(ENVIRONMENT["AZURE_EVENTHUB_CONNECTION_STRING"].split(";")[0].removeprefix("Endpoint=")).netloc
    amqp: dict[str, Any] = {
        "custom_endpoint_address": f"sb://{host}",
        "transport_type": TransportType.Amqp,
        "connection_verify": ENVIRONMENT["SSL_CERT_FILE"],
        "retry_total": 0,
    }
    return (
        CosmosClient(ENVIRONMENT["AZURE_COSMOS_ENDPOINT"], credential),
        EventHubProducerClient(host, "events", credential, **amqp),
        ServiceBusClient(host, credential, **amqp),
        BlobServiceClient(ENVIRONMENT["AZURE_STORAGE_BLOB_ENDPOINT"], credential),
        EventGridPublisherClient(ENVIRONMENT["AZURE_EVENTGRID_TOPIC_ENDPOINT"], credential),
    )


async def use(cosmos: Any, hub: Any, bus: Any, blob: Any, topic: Any) -> None:
    """Do something with each client, and write what was found."""
    async with AsyncExitStack() as stack:
        for client in (cosmos, hub, bus, blob, topic):
            await stack.enter_async_context(client)
        orders = cosmos.get_database_client("shop").get_container_client("orders")
        print("partitions of shop/orders:", len([one async for one in orders.read_feed_ranges()]))
        print("partitions of events:", len(await hub.get_partition_ids()))
        for sender in (bus.get_queue_sender("jobs"), bus.get_topic_sender("news")):
            async with sender:
                await sender.send_messages(ServiceBusMessage("sent"))
        for subscription in ("audit", "mail"):
            async with bus.get_subscription_receiver("news", subscription) as receiver:
                (message,) = await receiver.receive_messages(max_wait_time=10)
                print(f"{subscription}: {message}")
        print("containers of blobs:", [container.name async for container in blob.list_containers()])
        await topic.send(EVENT)
        print("Event Grid: published")


async def main(way: str) -> None:
    """Connect with keys, or with tokens."""
    if way == "keys":
        await use(*clients_with_keys())
        return
    async with DefaultAzureCredential() as credential:
        await use(*clients_with_tokens(credential))
    async with WorkloadIdentityCredential() as workload:
        await workload.get_token("https://storage.azure.com/.default")
        print("Entra ID: a token")
    # A sync SDK, which looks for certificates elsewhere than the async ones.
    with SyncBlobServiceClient.from_connection_string(ENVIRONMENT["AZURE_STORAGE_CONNECTION_STRING"]) as blobs:
        print("sync:", [container.name for container in blobs.list_containers()])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
