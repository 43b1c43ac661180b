"""What sends in the benchmarks of sending: this library, the SDK as its documentation has it, and the nearest peer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from aio_azure_clients_toolbox import (  # type: ignore[import-untyped]  # the peer ships no types
    ManagedAzureEventhubProducer as ToolboxProducer,
)
from aio_azure_clients_toolbox import ManagedAzureServiceBusSender as ToolboxSender
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from fastapi_azure_pool import ManagedAzureEventhubProducer, ManagedAzureServiceBusSender

from .messaging_server import HUB, QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Sender(ABC):
    """Sends bodies to one entity; safe to share between tasks. Made of a connection string and options of what it stands for."""

    @abstractmethod
    async def open(self) -> None:
        """Open a connection and its send link, where that can be done without sending."""

    @abstractmethod
    async def send(self, body: str, key: str | None) -> None:
        """Send one message and wait until it is confirmed.

        Args:
            body: Its body.
            key: Its partition key or session, or None.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close what was opened."""


class OwnEvents(Sender):
    """This library's producer, with its defaults."""

    def __init__(self, connection_string: str, **options: Any) -> None:
        self._client = ManagedAzureEventhubProducer(eventhub_name=HUB, connection_string=connection_string, **options)

    async def open(self) -> None:
        await self._client.open()

    async def send(self, body: str, key: str | None) -> None:
        await self._client.send_event(body, partition_key=key)

    async def close(self) -> None:
        await self._client.close()


class OwnMessages(Sender):
    """This library's sender, with its defaults."""

    def __init__(self, connection_string: str, **options: Any) -> None:
        self._client = ManagedAzureServiceBusSender(
            service_bus_queue_name=QUEUE, connection_string=connection_string, **options
        )

    async def open(self) -> None:
        await self._client.open()

    async def send(self, body: str, key: str | None) -> None:
        await self._client.send_message(body, session_id=key)

    async def close(self) -> None:
        await self._client.close()


class SdkEvents(Sender):
    """One producer of the SDK, which all callers share."""

    def __init__(self, connection_string: str) -> None:
        self._client = EventHubProducerClient.from_connection_string(connection_string, eventhub_name=HUB)

    async def open(self) -> None:
        await self._client.create_batch()

    async def send(self, body: str, key: str | None) -> None:
        await self._client.send_batch([EventData(body)], partition_key=key)

    async def close(self) -> None:
        await self._client.close()


class SdkMessages(Sender):
    """One sender of the SDK, which all callers share behind a lock: without one it hangs."""

    def __init__(self, connection_string: str) -> None:
        self._lock = asyncio.Lock()
        self._client = ServiceBusClient.from_connection_string(connection_string)
        self._sender = self._client.get_queue_sender(QUEUE)

    async def open(self) -> None:
        await self._sender.create_message_batch()

    async def send(self, body: str, key: str | None) -> None:
        async with self._lock:
            await self._sender.send_messages(ServiceBusMessage(body, session_id=key))

    async def close(self) -> None:
        await self._sender.close()
        await self._client.close()


class ToolboxEvents(Sender):
    """aio-azure-clients-toolbox's producer, with its defaults; it opens at the first send."""

    def __init__(self, connection_string: str) -> None:
        self._client = ToolboxProducer("", HUB, connection_string=connection_string)

    async def open(self) -> None:
        pass

    async def send(self, body: str, key: str | None) -> None:
        await self._client.send_event(body, partition_key=key)

    async def close(self) -> None:
        await self._client.close()


class ToolboxMessages(Sender):
    """aio-azure-clients-toolbox's sender, with its defaults; it opens at the first send."""

    def __init__(self, connection_string: str) -> None:
        self._client = ToolboxSender("", QUEUE, connection_string=connection_string)

    async def open(self) -> None:
        pass

    async def send(self, body: str, key: str | None) -> None:
        await self._client.send_message(body, session_id=key)

    async def close(self) -> None:
        await self._client.close()


SENDERS: Mapping[tuple[str, str], Callable[..., Sender]] = {
    ("Event Hubs", "own"): OwnEvents,
    ("Event Hubs", "sdk"): SdkEvents,
    ("Event Hubs", "toolbox"): ToolboxEvents,
    ("Service Bus", "own"): OwnMessages,
    ("Service Bus", "sdk"): SdkMessages,
    ("Service Bus", "toolbox"): ToolboxMessages,
}
