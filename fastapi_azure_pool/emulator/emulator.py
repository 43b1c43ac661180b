"""Azure's services on loopback, in this process and on its event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

from fastapi_azure_pool.emulator.blob_containers import BlobContainers
from fastapi_azure_pool.emulator.cosmos.account import Account
from fastapi_azure_pool.emulator.cosmos.authorization import DEFAULT_KEY, Authorization
from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
from fastapi_azure_pool.emulator.cosmos.query.parser import prepare_parser
from fastapi_azure_pool.emulator.cosmos.service import CosmosService
from fastapi_azure_pool.emulator.eventgrid.authorization import DEFAULT_KEY as DEFAULT_EVENTGRID_KEY
from fastapi_azure_pool.emulator.eventgrid.authorization import Authorization as EventGridAuthorization
from fastapi_azure_pool.emulator.eventgrid.service import EventGridService
from fastapi_azure_pool.emulator.eventgrid_topics import EventGridTopics
from fastapi_azure_pool.emulator.faults import Faults
from fastapi_azure_pool.emulator.identity import APP_SERVICE_PATH, IMDS_PATH, IdentityService, TokenRequest
from fastapi_azure_pool.emulator.messaging import Messaging
from fastapi_azure_pool.emulator.messaging_entities import MessagingEntities
from fastapi_azure_pool.emulator.server import LoopbackServer
from fastapi_azure_pool.emulator.storage import Storage
from fastapi_azure_pool.emulator.tokens import SYSTEM_ASSIGNED_CLIENT_ID, TokenIssuer
from fastapi_azure_pool.emulator.workload_identity import WorkloadIdentity

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from fastapi_azure_pool.emulator.amqp.server import AmqpServer
    from fastapi_azure_pool.emulator.loopback import ConnectionCounts
    from fastapi_azure_pool.emulator.request_log import RequestLog

_MAX_PARTITIONS = 100


class Emulator(MessagingEntities, EventGridTopics, BlobContainers, WorkloadIdentity):
    """Local Azure: the five services, and the token endpoints of managed identities and Entra ID, for tests and development.

    ``async with Emulator() as azure:`` starts it on free ports and stops it; ``start()`` and ``stop()`` do the same. What
    is stored stays in the object: an emulator that is stopped and started again has the same data, on the same ports. It is
    a test double, bound to loopback only: no quota, no throughput limit, no durability, no security.

    Args:
        host: A loopback address, or "localhost" (default "127.0.0.1"; the only two that the Cosmos SDK trusts without
            verifying certificates).
        cosmos_port: The account's port, 0 to 65535; 0 (default) for a free one.
        identity_port: The token endpoint's port, likewise.
        entra_port: The port of Entra ID's token endpoint, likewise; that one is served with ``tls`` only.
        cosmos_key: The account's key, in base64; default: the same for every emulator, so that it can be pasted once.
        cosmos_partitions: How many physical partitions a new container has, 1 (default) to 100. With more than one,
            queries across partitions are split up and put together by the SDK as they are for large containers on Azure.
        cosmos_clock: Gives the seconds since 1970 by which Cosmos DB sets ``_ts`` and lets items expire (default
            ``time.time``): with a clock of its own, a test needs not wait for a time to live.
        amqp_port: The port of Event Hubs and Service Bus, likewise.
        amqp_key: The shared access key of RootManageSharedAccessKey; default: the same for every emulator.
        amqp_idle_timeout_seconds: After how long without a frame a connection of these two is closed (default 240, as on
            Azure; more than 0).
        eventgrid_port: The port of the Event Grid topics, likewise.
        eventgrid_key: The key of every topic, in base64; default: the same for every emulator.
        blob_port: The port of Blob Storage, likewise.
        storage_account: The storage account's name (default that of Azurite and of every emulator before it).
        storage_key: The storage account's key, in base64; default likewise.
        tls: Serve all but a managed identity's token endpoint over TLS, with a self-signed certificate (default False). Azure's
            SDKs refuse to send a token over plain http, so a credential needs it; a key does not.

    Attributes:
        faults: What goes wrong on demand; see Faults.

    Raises:
        ValueError: The host is not loopback, or a value is out of its bounds.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        cosmos_port: int = 0,
        identity_port: int = 0,
        entra_port: int = 0,
        cosmos_key: str | None = None,
        cosmos_partitions: int = 1,
        cosmos_clock: Callable[[], float] = time.time,
        amqp_port: int = 0,
        amqp_key: str | None = None,
        amqp_idle_timeout_seconds: float = 240.0,
        eventgrid_port: int = 0,
        eventgrid_key: str | None = None,
        blob_port: int = 0,
        storage_account: str | None = None,
        storage_key: str | None = None,
        tls: bool = False,
    ) -> None:
        if not 1 <= cosmos_partitions <= _MAX_PARTITIONS:
            raise ValueError(f"cosmos_partitions={cosmos_partitions} must be from 1 to {_MAX_PARTITIONS}")
        self._tls = tls
        self._tls_context: ssl.SSLContext | None = None
        self._certificate = ""
        self._preparing: asyncio.Future[None] | None = None
        self._cosmos_key = DEFAULT_KEY if cosmos_key is None else cosmos_key
        self._cosmos_partitions = cosmos_partitions
        self._tokens = TokenIssuer()
        self._account = Account(cosmos_clock)
        self._authorization = Authorization(self._cosmos_key, self._tokens)
        self.faults = Faults(("cosmos", "identity", "amqp", "eventgrid", "blob"), self._drop_connections)
        self._cosmos = CosmosService(self.faults, self._account, self._authorization, partition_count=cosmos_partitions)
        self._identity = IdentityService(self.faults, self._tokens)
        self._eventgrid_key = DEFAULT_EVENTGRID_KEY if eventgrid_key is None else eventgrid_key
        self._eventgrid = EventGridService(self.faults, EventGridAuthorization(self._eventgrid_key, self._tokens))
        self._messaging = Messaging(
            self.faults,
            self._tokens,
            host=host,
            port=amqp_port,
            key=amqp_key,
            idle_timeout_seconds=amqp_idle_timeout_seconds,
        )
        self._storage = Storage(
            self.faults, self._tokens, host=host, port=blob_port, name=storage_account, key=storage_key
        )
        self._eventgrid_server = LoopbackServer(self._eventgrid, name="eventgrid", host=host, port=eventgrid_port)
        http_servers = {
            "cosmos": LoopbackServer(self._cosmos, name="cosmos", host=host, port=cosmos_port),
            "identity": LoopbackServer(self._identity, name="identity", host=host, port=identity_port),
            "eventgrid": self._eventgrid_server,
        }
        self._servers: dict[str, LoopbackServer | AmqpServer] = {
            **http_servers,
            "amqp": self._messaging.server,
            "blob": self._storage.server,
        }
        # Entra ID and a managed identity are one service, whose faults strike both.
        self._entra = LoopbackServer(self._identity, name="entra", host=host, port=entra_port) if tls else None
        self._identity_servers = [http_servers["identity"]]
        if self._entra is not None:
            self._servers["entra"] = self._entra
            self._identity_servers.append(self._entra)

    def __repr__(self) -> str:
        if not self.is_running:
            return "<Emulator stopped>"
        urls = " ".join(f"{name}={server.url}" for name, server in self._servers.items())
        return f"<Emulator {urls}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def is_running(self) -> bool:
        """Whether its services accept connections."""
        return all(server.is_running for server in self._servers.values())

    async def start(self) -> None:
        """Start every service on the running event loop; it takes some milliseconds.

        Raises:
            ImportError: It is to serve over TLS, and the package cryptography is not installed. Nothing was started.
            OSError: A port is taken; the message names it. Nothing is left running.
            RuntimeError: It runs already.
        """
        if self.is_running:
            raise RuntimeError("the emulator runs already: stop() it first")
        if self._tls and self._tls_context is None:
            from fastapi_azure_pool.emulator.certificate import self_signed_context  # noqa: PLC0415 - cryptography is slow

            # Once: a client that trusts it must find the emulator again after an outage.
            self._tls_context, self._certificate = self_signed_context()
        tls = self._tls_context
        # It takes a sixth of a second, for which nobody is to wait: the first query does if it comes sooner.
        self._preparing = asyncio.get_running_loop().run_in_executor(None, prepare_parser)
        cosmos = self._servers["cosmos"]
        try:
            await cosmos.start(tls)
            await self._servers["identity"].start()
            if self._entra is not None:
                await self._entra.start(tls)
            await self._servers["amqp"].start(tls)
            await self._servers["eventgrid"].start(tls)
            await self._servers["blob"].start(tls)
        finally:
            if not self.is_running:
                await self.stop()
        self._cosmos.url = cosmos.url
        host = cosmos.authority.rpartition(":")[0]
        self._authorization.set_account_hosts((cosmos.authority, host))

    async def stop(self) -> None:
        """Stop every service and close every connection, in use or not; stopping a stopped emulator does nothing."""
        for server in self._servers.values():
            await server.stop()
        if self._preparing is not None:
            await self._preparing
            self._preparing = None

    @property
    def cosmos_endpoint(self) -> str:
        """The account's URL, such as ``http://127.0.0.1:50123/``."""
        return self._servers["cosmos"].url

    @property
    def cosmos_key(self) -> str:
        """The account's key."""
        return self._cosmos_key

    @property
    def cosmos_connection_string(self) -> str:
        """The account's connection string."""
        return f"AccountEndpoint={self.cosmos_endpoint};AccountKey={self.cosmos_key};"

    @property
    def certificate(self) -> str:
        """The certificate in PEM, for clients that verify it, as those of Event Hubs and Service Bus do.

        It is made at the first start and stays the same; "" before that, and without TLS.
        """
        return self._certificate

    @property
    def amqp_authority(self) -> str:
        """Host and port of Event Hubs and Service Bus."""
        return self._messaging.server.authority

    @property
    def eventhub_connection_string(self) -> str:
        """The connection string of the event hubs' namespace."""
        return self._messaging.connection_string(is_tls=self._tls)

    @property
    def servicebus_connection_string(self) -> str:
        """The connection string of the Service Bus namespace."""
        return self.eventhub_connection_string

    @property
    def identity_endpoint(self) -> str:
        """The token endpoint in App Service's form, for ``IDENTITY_ENDPOINT``."""
        return self._servers["identity"].url.rstrip("/") + APP_SERVICE_PATH

    @property
    def identity_header(self) -> str:
        """The secret that App Service's form asks for, for ``IDENTITY_HEADER``."""
        return self._identity.identity_header

    @property
    def imds_endpoint(self) -> str:
        """The token endpoint in the form of a virtual machine's metadata service (IMDS)."""
        return self._servers["identity"].url.rstrip("/") + IMDS_PATH

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which applications and azure-identity's default credential find the emulator."""
        return {
            "AZURE_COSMOS_ENDPOINT": self.cosmos_endpoint,
            "AZURE_COSMOS_KEY": self.cosmos_key,
            **self._eventgrid_environment(),
            "AZURE_EVENTHUB_CONNECTION_STRING": self.eventhub_connection_string,
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": self._servers["identity"].url.rstrip("/"),
            "AZURE_SERVICEBUS_CONNECTION_STRING": self.servicebus_connection_string,
            "AZURE_STORAGE_BLOB_ENDPOINT": self.blob_endpoint,
            "AZURE_STORAGE_CONNECTION_STRING": self.blob_connection_string,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "IDENTITY_ENDPOINT": self.identity_endpoint,
            "IDENTITY_HEADER": self.identity_header,
        }

    @property
    def token_requests(self) -> tuple[TokenRequest, ...]:
        """The last 1,000 requests to the token endpoint, oldest first."""
        return tuple(self._identity.token_requests)

    @property
    def cosmos_requests(self) -> RequestLog:
        """What the Cosmos DB account was asked so far."""
        return self._cosmos.requests

    @property
    def identity_requests(self) -> RequestLog:
        """What the token endpoint was asked so far, over HTTP."""
        return self._identity.requests

    def connections(self, service: str) -> ConnectionCounts:
        """Return how many TCP connections a service has open, accepted and dropped.

        Args:
            service: Its name, as ``faults`` takes it, such as ``"cosmos"``; or ``"entra"``, with TLS.

        Raises:
            ValueError: There is no such service.
        """
        if service not in self._servers:
            raise ValueError(f"service={service!r} is unknown: write one of {', '.join(self._servers)}")
        return self._servers[service].connections

    async def create_cosmos_container(
        self,
        database: str,
        container: str,
        *,
        partition_key: str | Sequence[str],
        partitions: int | None = None,
        indexing_policy: Mapping[str, Any] | None = None,
        default_ttl: int | None = None,
    ) -> None:
        """Make a container, and its database when there is none, without a client; before the start or after.

        Args:
            database: The database's id.
            container: The container's id.
            partition_key: The path of the partition key, such as ``/customer_id``, or up to three for a hierarchical key.
            partitions: How many physical partitions it has, 1 to 100; default: ``cosmos_partitions``.
            indexing_policy: As Azure has it; ORDER BY with several properties needs ``compositeIndexes``.
            default_ttl: After how many seconds without a change an item expires; -1 for never, unless it has a ``ttl`` of
                its own; None (default) for never in any case.

        Raises:
            ValueError: The container is there already, or a value is one that Azure refuses.
        """
        partitions = self._cosmos_partitions if partitions is None else partitions
        if not 1 <= partitions <= _MAX_PARTITIONS:
            raise ValueError(f"partitions={partitions} must be from 1 to {_MAX_PARTITIONS}")
        is_hierarchical = not isinstance(partition_key, str)
        paths = list(partition_key) if is_hierarchical else [partition_key]
        properties: dict[str, Any] = {
            "id": container,
            "partitionKey": {"paths": paths, "kind": "MultiHash" if is_hierarchical else "Hash"},
        }
        if indexing_policy is not None:
            properties["indexingPolicy"] = dict(indexing_policy)
        if default_ttl is not None:
            properties["defaultTtl"] = default_ttl
        try:
            owner = self._account.find_database(database) or self._account.create_database({"id": database})
            owner.create_container(properties, partitions)
        except CosmosError as error:
            raise ValueError(f"the container {database}/{container} was refused: {error.message}") from error

    def issue_token(
        self,
        resource: str = "https://cosmos.azure.com",
        *,
        client_id: str = SYSTEM_ASSIGNED_CLIENT_ID,
        lifetime: float | None = None,
    ) -> str:
        """Return a token as the token endpoint gives it, without asking the endpoint.

        Args:
            resource: What it is for.
            client_id: Whose it is.
            lifetime: For how many seconds it is good, negative for one that has expired; default what `set_token_lifetime`
                set, 24 hours if nothing was.
        """
        return self._tokens.issue(resource, client_id=client_id, lifetime=lifetime)

    def _drop_connections(self, service: str) -> int:
        servers = self._identity_servers if service == "identity" else (self._servers[service],)
        return sum(server.drop_connections() for server in servers)
