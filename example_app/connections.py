"""The managed clients of the service: to the account and namespaces that the settings name, or to an emulator in this process."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi_azure_pool import (
    EventGridConfig,
    EventGridTopicConfig,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    ManagedEventGridPublisher,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.core.credentials_async import AsyncTokenCredential

    from example_app.settings import Settings

PARTITION_KEY = "/customer_id"

TOPIC = "order-news"
"""What the service calls the Event Grid topic, and what the emulator's is called."""

# By default the SDKs try a request that a busy service turned away again for up to 30 s. Who calls this service rather hears within
# a few that it should come back, and meanwhile the request holds no place in the pool.
_COSMOS_OPTIONS = {"retry_total": 3, "retry_backoff_max": 5}
_BLOB_OPTIONS = {"retry_total": 1}

# The senders retry by themselves; the worker's receiver is opened anew by the worker, which can be stopped while it waits.
_SERVICEBUS_OPTIONS = {"retry_total": 0, "retry_backoff_factor": 0}


@dataclass(frozen=True, slots=True)
class Clients:
    """The service's managed clients, each under the name of its pool.

    Attributes:
        orders: The container of orders.
        events: The hub in which orders are announced.
        confirmations: The queue of orders to be confirmed.
        invoices: The container of invoices.
        news: The Event Grid topic in which confirmed orders are announced.
        credential: What those authenticate with that have nothing of their own.
    """

    orders: ManagedCosmos
    events: ManagedAzureEventhubProducer
    confirmations: ManagedAzureServiceBusSender
    invoices: ManagedAzureBlobStorage
    news: ManagedEventGridPublisher
    credential: AsyncTokenCredential | None = None


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Clients]:
    """Give the managed clients, not opened yet."""
    if settings.azure_cosmos_endpoint is None:
        async with _connect_to_emulator(settings) as clients:
            yield clients
    else:
        async with _connect_to_azure(settings) as clients:
            yield clients


@asynccontextmanager
async def _connect_to_azure(settings: Settings) -> AsyncIterator[Clients]:
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 - not needed on the emulator

    # One for all: each finds out by itself, by trying one after the other, where its tokens come from.
    async with DefaultAzureCredential() as credential:
        yield Clients(
            orders=ManagedCosmos(
                str(settings.azure_cosmos_endpoint),
                settings.azure_cosmos_database,
                settings.azure_cosmos_container,
                client_options=_COSMOS_OPTIONS,
            ),
            events=ManagedAzureEventhubProducer(settings.azure_eventhub_namespace, settings.azure_eventhub_name),
            confirmations=ManagedAzureServiceBusSender(
                settings.azure_servicebus_namespace,
                settings.azure_servicebus_queue,
                client_options=_SERVICEBUS_OPTIONS,
            ),
            invoices=ManagedAzureBlobStorage(
                str(settings.azure_storage_blob_endpoint),
                settings.azure_storage_container,
                client_options=_BLOB_OPTIONS,
            ),
            news=ManagedEventGridPublisher(
                EventGridConfig(EventGridTopicConfig(TOPIC, str(settings.azure_eventgrid_topic_endpoint)))
            ),
            credential=credential,
        )


@asynccontextmanager
async def _connect_to_emulator(settings: Settings) -> AsyncIterator[Clients]:
    from fastapi_azure_pool.emulator import Emulator  # noqa: PLC0415 - production does without it

    database, container = settings.azure_cosmos_database, settings.azure_cosmos_container
    async with Emulator() as azure:
        await azure.create_cosmos_container(database, container, partition_key=PARTITION_KEY)
        await azure.create_eventhub(settings.azure_eventhub_name)
        await azure.create_queue(settings.azure_servicebus_queue)
        await azure.create_blob_container(settings.azure_storage_container)
        await azure.create_eventgrid_topic(TOPIC)
        sys.stdout.write(
            f"No AZURE_COSMOS_ENDPOINT: using the local emulator at {azure.cosmos_endpoint} (data is lost at exit)\n"
        )
        sys.stdout.flush()
        yield Clients(
            orders=ManagedCosmos(
                azure.cosmos_endpoint,
                database,
                container,
                credential=azure.cosmos_key,
                client_options=_COSMOS_OPTIONS,
                use_env_settings=False,  # A company's proxy does not lead to this process.
            ),
            events=ManagedAzureEventhubProducer(
                eventhub_name=settings.azure_eventhub_name, connection_string=azure.eventhub_connection_string
            ),
            confirmations=ManagedAzureServiceBusSender(
                service_bus_queue_name=settings.azure_servicebus_queue,
                connection_string=azure.servicebus_connection_string,
                client_options=_SERVICEBUS_OPTIONS,
            ),
            invoices=ManagedAzureBlobStorage(
                azure.blob_endpoint,
                settings.azure_storage_container,
                credential=azure.storage_key,
                client_options=_BLOB_OPTIONS,
                use_env_settings=False,
            ),
            news=ManagedEventGridPublisher(
                EventGridConfig(EventGridTopicConfig(TOPIC, azure.eventgrid_endpoint(TOPIC))),
                credential=azure.eventgrid_key,
                use_env_settings=False,
            ),
        )
