"""An emulator with a hub and a queue, and the official clients connected to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.servicebus.aio import ServiceBusClient

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the hub ``hub``, of four partitions, and the queue ``orders``."""
    async with Emulator() as azure:
        await azure.create_eventhub("hub")
        await azure.create_queue("orders")
        yield azure


@pytest.fixture
async def producer(azure: Emulator) -> AsyncIterator[EventHubProducerClient]:
    """The official producer of the hub, which tries nothing again."""
    async with make_producer(azure) as producer:
        yield producer


def make_producer(azure: Emulator, **options: Any) -> EventHubProducerClient:
    """Return an official producer that tries nothing again and does not wait."""
    given: dict[str, Any] = {"eventhub_name": "hub", "retry_total": 0, "retry_backoff_factor": 0} | options
    producer: EventHubProducerClient = EventHubProducerClient.from_connection_string(
        azure.eventhub_connection_string, **given
    )
    return producer


def make_consumer(azure: Emulator, **options: Any) -> EventHubConsumerClient:
    """Return an official consumer that tries nothing again and does not wait."""
    given: dict[str, Any] = {"eventhub_name": "hub", "retry_total": 0, "retry_backoff_factor": 0} | options
    return EventHubConsumerClient.from_connection_string(azure.eventhub_connection_string, "$Default", **given)


def make_service_bus(azure: Emulator, **options: Any) -> ServiceBusClient:
    """Return an official Service Bus client that tries nothing again and does not wait."""
    options = {"retry_total": 0, "retry_backoff_factor": 0} | options
    return ServiceBusClient.from_connection_string(azure.servicebus_connection_string, **options)


async def until(is_so: Callable[[], object]) -> None:
    """Return when something is so, which another task or the emulator brings about; fail after ten seconds."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for is the emulator's state, which has no event
            await asyncio.sleep(0)
