"""Event Hubs and Service Bus seen alike, so that a test can be written for both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from azure.eventhub.exceptions import EventHubError
from azure.servicebus.exceptions import ServiceBusError

from fastapi_azure_pool import (
    AzureServiceBus,
    Eventhub,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
)
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from fastapi_azure_pool.clients.amqp.channel import TunedChannel
    from fastapi_azure_pool.clients.eventhub import PooledEventhub
    from fastapi_azure_pool.clients.servicebus import PooledServiceBusSender
    from fastapi_azure_pool.emulator import Emulator

Client: TypeAlias = ManagedAzureEventhubProducer | ManagedAzureServiceBusSender
Pooled: TypeAlias = "PooledEventhub | PooledServiceBusSender"


class Messaging(ABC):
    """One of the two services in one emulator.

    Args:
        azure: The emulator.

    Attributes:
        azure: See the argument.
        service: What the client calls the service.
        entity: The hub or the queue that it sends to.
        sdk: The SDK's package.
        error: What every error of the SDK is.
    """

    service: str
    entity: str
    sdk: str
    error: type[Exception]

    def __init__(self, azure: Emulator) -> None:
        self.azure = azure

    @abstractmethod
    def client(self, **options: Any) -> Client:
        """Make a managed client of the entity; with the connection string where no other authentication is given."""

    @abstractmethod
    def basic(self, **options: Any) -> Any:
        """Make a basic client of the entity."""

    @abstractmethod
    async def send(self, sender: Any, body: bytes | str, key: str | None = None) -> None:
        """Send one, in a partition key or a session."""

    @abstractmethod
    def stored(self) -> list[bytes]:
        """Give the bodies of what is stored, in order for each key."""

    def count(self, method: str, path: str | None = None) -> int:
        """Count the requests of this method to the entity, or to another path."""
        return self.azure.amqp_requests.count(method, path)

    @property
    def transfers(self) -> int:
        """Transfers to the entity so far, those below it included."""
        return self.count("TRANSFER", f"{self.entity}*")

    @property
    def open_connections(self) -> int:
        """Connections that are open now, as the service sees it."""
        return self.azure.connections("amqp").open

    async def settle_down(self, client: Client, count: int = 1) -> None:
        """Wait until so many connections are ready, and no other is open."""
        await eventually(lambda: client.pool.ready_connection_count == count == self.open_connections)


class Hub(Messaging):
    """Event Hubs, with the hub "orders" of four partitions."""

    service = "eventhub"
    entity = "orders"
    sdk = "azure.eventhub"
    error = EventHubError

    def client(self, **options: Any) -> ManagedAzureEventhubProducer:
        """See `Messaging`."""
        if not {"credential", "credential_factory", "connection_string"} & options.keys():
            options["connection_string"] = self.azure.eventhub_connection_string
        return ManagedAzureEventhubProducer(**{"eventhub_name": self.entity, **options})

    def basic(self, **options: Any) -> Eventhub:
        """See `Messaging`."""
        options = {"connection_string": self.azure.eventhub_connection_string, **options}
        return Eventhub(**{"eventhub_name": self.entity, **options})

    async def send(self, sender: Any, body: bytes | str, key: str | None = None) -> None:
        """See `Messaging`."""
        await sender.send_event(body, partition_key=key)

    def stored(self) -> list[bytes]:
        """See `Messaging`."""
        return [event.body for event in self.azure.received_events(self.entity)]


class Queue(Messaging):
    """Service Bus, with the queue "work"."""

    service = "servicebus"
    entity = "work"
    sdk = "azure.servicebus"
    error = ServiceBusError

    def client(self, **options: Any) -> ManagedAzureServiceBusSender:
        """See `Messaging`."""
        if not {"credential", "credential_factory", "connection_string"} & options.keys():
            options["connection_string"] = self.azure.servicebus_connection_string
        return ManagedAzureServiceBusSender(**{"service_bus_queue_name": self.entity, **options})

    def basic(self, **options: Any) -> AzureServiceBus:
        """See `Messaging`."""
        options = {"connection_string": self.azure.servicebus_connection_string, **options}
        return AzureServiceBus(**{"service_bus_queue_name": self.entity, **options})

    async def send(self, sender: Any, body: bytes | str, key: str | None = None) -> None:
        """See `Messaging`."""
        await sender.send_message(body, session_id=key)

    def stored(self) -> list[bytes]:
        """See `Messaging`."""
        return [message.body for message in self.azure.queue_messages(self.entity)]


def pooled(client: Client) -> Pooled:
    """Give the only connection that is ready."""
    (connection,) = client.pool.connections
    transport: Pooled = connection.transport
    return transport


def channel_of(connection: Pooled) -> TunedChannel:
    """Give what drives the SDK's handler of a connection."""
    channel: Any = connection.commit._channel
    return channel  # type: ignore[no-any-return]  # the caller knows whether the shape was known


def tls_context_of(handler: Any) -> Any:
    """Give the TLS context that a handler of the SDK has connected with."""
    return handler._connection._transport.sslopts
