"""Clients of every service of an emulator, with every way to authenticate there."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from azure.core.credentials import AzureKeyCredential, AzureNamedKeyCredential, AzureSasCredential
from azure.eventgrid import generate_sas
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from fastapi_azure_pool import (
    AzureBlobStorageClient,
    AzureServiceBus,
    Cosmos,
    EventGridClient,
    EventGridConfig,
    EventGridTopicConfig,
    Eventhub,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    ManagedEventGridPublisher,
)
from fastapi_azure_pool.emulator.amqp.authorization import KEY_NAME, shared_access_signature
from tests.secrets.planted import BAD_KEY, BODY, GOOD_KEY, TOKEN, FixedCredential

if TYPE_CHECKING:
    from fastapi_azure_pool import ManagedClient
    from fastapi_azure_pool.testing import BackgroundEmulator

KEY = "key"
NAMED_KEY = "named key"
CONNECTION_STRING = "connection string"
SIGNATURE = "signature"
SIGNED_CONNECTION_STRING = "signed connection string"
TOKENS = "tokens"


@dataclass(frozen=True)
class Given:
    """What a client is given to authenticate with.

    Attributes:
        arguments: The client's arguments.
        secrets: What must not show; a signature that was made with a key is one as much as the key.
    """

    arguments: dict[str, Any]
    secrets: tuple[str, ...]


class Service(ABC):
    """One service of an emulator with TLS, and what authenticates there.

    Args:
        azure: The emulator, whose keys are planted.
        certificate: The file with its certificate.

    Attributes:
        ways: How one can authenticate.
        scope: What tokens are for.
        use_fault: What narrows a fault to the use of an open connection.
        refusal: What the SDK calls the refusal of a secret.
    """

    ways: ClassVar[tuple[str, ...]]
    scope: ClassVar[str]
    use_fault: ClassVar[dict[str, Any]]
    refusal: ClassVar[str]

    def __init__(self, azure: BackgroundEmulator, certificate: str) -> None:
        self.azure = azure
        self.trust = {"connection_verify": certificate}

    @property
    @abstractmethod
    def where(self) -> dict[str, Any]:
        """The arguments that tell where it is, beside a credential."""

    @property
    @abstractmethod
    def authority(self) -> str:
        """Host and port."""

    @abstractmethod
    def client(self, **arguments: Any) -> ManagedClient[Any]:
        """Make a managed client."""

    @abstractmethod
    def basic(self, **arguments: Any) -> Any:
        """Make a client of one connection."""

    @abstractmethod
    async def use(self, client: Any) -> None:
        """Send or store the planted body."""

    def connection_string(self, key: str) -> str:
        """Give a connection string with a key."""
        raise NotImplementedError

    def signature(self, key: str) -> str:
        """Give a shared access signature that was made with a key."""
        raise NotImplementedError

    def signed(self, signature: str) -> str:
        """Give a connection string with a signature."""
        raise NotImplementedError

    def key_credential(self, key: str) -> Any:
        """Give the credential of Azure's libraries that holds a key."""
        return AzureNamedKeyCredential(KEY_NAME, key)

    def given(self, way: str, *, is_good: bool = True) -> Given:
        """Give what authenticates, or with ``is_good=False`` what is refused."""
        key = GOOD_KEY if is_good else BAD_KEY
        if way == KEY:
            return Given({**self.where, "credential": key}, (key,))
        if way == NAMED_KEY:
            return Given({**self.where, "credential": self.key_credential(key)}, (key,))
        if way == CONNECTION_STRING:
            return Given({"connection_string": self.connection_string(key)}, (key,))
        if way == TOKENS:
            token = self.azure.issue_token(self.scope) if is_good else TOKEN
            # All tokens begin alike.
            return Given({**self.where, "credential": FixedCredential(token)}, (token[-20:],))
        signature = self.signature(key)
        secrets = tuple(part[4:] for part in signature.replace("&s=", "&sig=").split("&") if part.startswith("sig="))
        assert len(secrets) == 1
        if way == SIGNATURE:
            return Given({**self.where, "credential": AzureSasCredential(signature)}, secrets)
        return Given({"connection_string": self.signed(signature)}, secrets)


class CosmosDB(Service):
    """Cosmos DB, with the container shop/orders."""

    ways = (KEY, CONNECTION_STRING, TOKENS)
    scope = "https://cosmos.azure.com"
    use_fault: ClassVar[dict[str, Any]] = {"service": "cosmos", "path": "*/docs*"}
    refusal = "CosmosHttpResponseError"

    @property
    def where(self) -> dict[str, Any]:
        """See `Service`."""
        return {"endpoint": self.azure.cosmos_endpoint}

    @property
    def authority(self) -> str:
        """See `Service`."""
        return self.azure.cosmos_endpoint.split("/")[2]

    def client(self, **arguments: Any) -> ManagedCosmos:
        """See `Service`."""
        options = {"retry_total": 0, "retry_connect": 0, "retry_read": 0}  # It trusts any certificate of loopback.
        return ManagedCosmos(dbname="shop", container_name="orders", client_options=options, **arguments)

    def basic(self, **arguments: Any) -> Cosmos:
        """See `Service`."""
        return Cosmos(dbname="shop", container_name="orders", **arguments)

    async def use(self, client: Any) -> None:
        """See `Service`."""
        async with client.get_container_client() as orders:
            await orders.upsert_item({"id": "1", "customer_id": "ada", "note": BODY})

    def connection_string(self, key: str) -> str:
        """See `Service`."""
        return f"AccountEndpoint={self.azure.cosmos_endpoint};AccountKey={key};"


class _Messaging(Service):
    ways = (NAMED_KEY, CONNECTION_STRING, SIGNATURE, SIGNED_CONNECTION_STRING, TOKENS)
    use_fault: ClassVar[dict[str, Any]] = {"service": "amqp", "method": "TRANSFER"}

    @property
    def authority(self) -> str:
        """See `Service`."""
        return self.azure.amqp_authority

    def connection_string(self, key: str) -> str:
        """See `Service`."""
        return self.azure.eventhub_connection_string.replace(GOOD_KEY, key)

    def signed(self, signature: str) -> str:
        """See `Service`."""
        return f"Endpoint=sb://{self.authority}/;SharedAccessSignature={signature}"


class EventHubs(_Messaging):
    """Event Hubs, with the hub "orders"."""

    scope = "https://eventhubs.azure.net"
    refusal = "AuthenticationError"

    @property
    def where(self) -> dict[str, Any]:
        """See `Service`."""
        return {"eventhub_namespace": self.authority}

    def client(self, **arguments: Any) -> ManagedAzureEventhubProducer:
        """See `Service`."""
        return ManagedAzureEventhubProducer(eventhub_name="orders", client_options=self.trust, **arguments)

    def basic(self, **arguments: Any) -> Eventhub:
        """See `Service`."""
        return Eventhub(eventhub_name="orders", client_options=self.trust, **arguments)

    async def use(self, client: Any) -> None:
        """See `Service`."""
        await client.send_event(BODY)

    def signature(self, key: str) -> str:
        """See `Service`."""
        return shared_access_signature(f"sb://{self.authority}/orders", key, time.time() + 600)


class ServiceBus(_Messaging):
    """Service Bus, with the queue "invoices"."""

    scope = "https://servicebus.azure.net"
    refusal = "ServiceBusConnectionError"  # as it calls any that it meets on a port of its own

    @property
    def where(self) -> dict[str, Any]:
        """See `Service`."""
        return {"service_bus_namespace_url": self.authority}

    def client(self, **arguments: Any) -> ManagedAzureServiceBusSender:
        """See `Service`."""
        return ManagedAzureServiceBusSender(service_bus_queue_name="invoices", client_options=self.trust, **arguments)

    def basic(self, **arguments: Any) -> AzureServiceBus:
        """See `Service`."""
        return AzureServiceBus(service_bus_queue_name="invoices", client_options=self.trust, **arguments)

    async def use(self, client: Any) -> None:
        """See `Service`."""
        await client.send_message(BODY)

    def signature(self, key: str) -> str:
        """See `Service`."""
        # The SDK of Service Bus names the resource without the port.
        host = self.authority.partition(":")[0]
        return shared_access_signature(f"sb://{host}/invoices", key, time.time() + 600)


class BlobStorage(Service):
    """Blob Storage, with the container "files"."""

    ways = (KEY, NAMED_KEY, CONNECTION_STRING, SIGNATURE, SIGNED_CONNECTION_STRING, TOKENS)
    scope = "https://storage.azure.com"
    use_fault: ClassVar[dict[str, Any]] = {"service": "blob", "path": "*/files/*"}
    refusal = "ClientAuthenticationError"

    @property
    def where(self) -> dict[str, Any]:
        """See `Service`."""
        return {"az_storage_url": self.azure.blob_endpoint}

    @property
    def authority(self) -> str:
        """See `Service`."""
        return self.azure.blob_endpoint.split("/")[2]

    def client(self, **arguments: Any) -> ManagedAzureBlobStorage:
        """See `Service`."""
        options = {**self.trust, "retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}
        return ManagedAzureBlobStorage(container_name="files", client_options=options, **arguments)

    def basic(self, **arguments: Any) -> AzureBlobStorageClient:
        """See `Service`."""
        return AzureBlobStorageClient(container_name="files", client_options=self.trust, **arguments)

    async def use(self, client: Any) -> None:
        """See `Service`."""
        await client.upload_blob("a.txt", BODY, overwrite=True)

    def key_credential(self, key: str) -> Any:
        """See `Service`."""
        return AzureNamedKeyCredential(self.azure.storage_account, key)

    def connection_string(self, key: str) -> str:
        """See `Service`."""
        return self.azure.blob_connection_string.replace(GOOD_KEY, key)

    def signature(self, key: str) -> str:
        """See `Service`."""
        return generate_container_sas(
            self.azure.storage_account,
            "files",
            account_key=key,
            permission=ContainerSasPermissions.from_string("rwdl"),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )

    def signed(self, signature: str) -> str:
        """See `Service`."""
        return f"BlobEndpoint={self.azure.blob_endpoint};SharedAccessSignature={signature}"


class EventGrid(Service):
    """Event Grid, with the topic "orders"."""

    ways = (KEY, NAMED_KEY, SIGNATURE, TOKENS)
    scope = "https://eventgrid.azure.net"
    use_fault: ClassVar[dict[str, Any]] = {"service": "eventgrid", "method": "POST"}
    refusal = "ClientAuthenticationError"

    @property
    def where(self) -> dict[str, Any]:
        """See `Service`."""
        topic = EventGridTopicConfig("orders", self.azure.eventgrid_endpoint("orders"))
        return {"config": EventGridConfig(topic)}

    @property
    def authority(self) -> str:
        """See `Service`."""
        return self.azure.eventgrid_endpoint("orders").split("/")[2]

    def client(self, **arguments: Any) -> ManagedEventGridPublisher:
        """See `Service`."""
        return ManagedEventGridPublisher(client_options={**self.trust, "retry_total": 0}, **arguments)

    def basic(self, **arguments: Any) -> EventGridClient:
        """See `Service`."""
        config, credential = arguments["config"], arguments["credential"]
        return EventGridClient(config, async_credential=credential, client_options=self.trust)

    async def use(self, client: Any) -> None:
        """See `Service`."""
        emit = client.async_emit_event if isinstance(client, EventGridClient) else client.emit_event
        await emit("orders", "order.paid", "orders/7", {"note": BODY})

    def key_credential(self, key: str) -> Any:
        """See `Service`."""
        return AzureKeyCredential(key)

    def signature(self, key: str) -> str:
        """See `Service`."""
        until = datetime.now(UTC) + timedelta(minutes=10)
        return generate_sas(self.azure.eventgrid_endpoint("orders"), key, until)


SERVICES: tuple[type[Service], ...] = (CosmosDB, EventHubs, ServiceBus, BlobStorage, EventGrid)
