"""Event Hubs: a producer that keeps one connection, and one that pools them; both safe to share between any number of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from fastapi_azure_pool.clients.amqp.access import AmqpAccess, check_authentication, port_options, tls_context
from fastapi_azure_pool.clients.amqp.connector import MAX_SIZE, SEND_TIMEOUT_SECONDS, WINDOW, AmqpConnector
from fastapi_azure_pool.clients.amqp.opening import open_or_cut, tune_handlers
from fastapi_azure_pool.clients.amqp.plain_channel import PlainChannel
from fastapi_azure_pool.clients.arguments import shown
from fastapi_azure_pool.clients.event_packing import EventPacking, event_encoder
from fastapi_azure_pool.clients.event_sending import SendsEvents, make_event, make_key
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.managed import ManagedClient, Sizes, check_sizes
from fastapi_azure_pool.clients.resending import check_sending, send_through
from fastapi_azure_pool.clients.token_request import is_made

with extra("eventhub"):
    from azure.eventhub import EventData, EventDataBatch, TransportType
    from azure.eventhub.aio import EventHubProducerClient

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.amqp.access import KeyCredential
    from fastapi_azure_pool.clients.coalescing import GroupCommit
    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.clients.event_sending import Body, Event, Key

MAX_IDLE_SECONDS = 220
"""Azure closes a connection that has been idle for 240 s."""

# As the SDK writes it, with two slashes.
_SCOPE = "https://eventhubs.azure.net//.default"

_OURS = frozenset(
    {"auth_timeout", "buffered_mode", "credential", "eventhub_name", "keep_alive", "transport_type", "uamqp_transport"}
)


class Eventhub(SendsEvents):
    """A producer over one connection, kept until `close` and opened at its first use; safe to share between tasks.

    A pool gives these too: `pooled` and ``ManagedAzureEventhubProducer.get()``. A program that serves requests wants the pool; this
    is for scripts and jobs.

    Args:
        eventhub_namespace: The namespace's host, such as "shop.servicebus.windows.net"; None with a connection string.
        eventhub_name: The hub's name; None with a connection string that has an EntityPath.
        credential_factory: Makes an async credential; or such a credential itself, as aio-azure-clients-toolbox has it.
        eventhub_transport_type: ``TransportType.AmqpOverWebsocket`` goes through port 443; None is plain AMQP.
        connection_string: Instead of a credential (and of the namespace).
        credential: Instead of a factory: an async credential, an ``AzureNamedKeyCredential`` or an ``AzureSasCredential``.
        send_timeout_seconds: Seconds that a send may take, above 0; by default 10.
        coalesce: Whether events of several callers are joined.
        client_options: Further keyword arguments of ``EventHubProducerClient``.

    Raises:
        TypeError: The credential is a sync one, or a text.
        ValueError: An argument is malformed, or not exactly one kind of authentication is given.
    """

    def __init__(
        self,
        eventhub_namespace: str | None = None,
        eventhub_name: str | None = None,
        credential_factory: CredentialFactory | AsyncTokenCredential | None = None,
        eventhub_transport_type: TransportType | None = None,
        connection_string: str | None = None,
        *,
        credential: AsyncTokenCredential | KeyCredential | None = None,
        send_timeout_seconds: float = SEND_TIMEOUT_SECONDS,
        coalesce: bool = True,
        client_options: dict[str, Any] | None = None,
    ) -> None:
        factory: Any = credential_factory
        if credential is None and is_made(factory):
            credential, factory = factory, None
        check_authentication(factory, credential, connection_string)
        self._client = ManagedAzureEventhubProducer(
            eventhub_namespace,
            eventhub_name,
            factory,
            eventhub_transport_type,
            connection_string=connection_string,
            credential=credential,
            send_timeout_seconds=send_timeout_seconds,
            coalesce=coalesce,
            client_options=client_options,
            max_size=1,
            client_limit=1_000_000,
            grow_at=1_000_000,
            max_idle_seconds=None,
        )

    async def create_batch(
        self, *, partition_key: str | None = None, partition_id: str | None = None, max_size_in_bytes: int | None = None
    ) -> EventDataBatch:
        """See `SendsEvents.create_batch`."""
        await self._client.open()
        return await self._client.create_batch(
            partition_key=partition_key, partition_id=partition_id, max_size_in_bytes=max_size_in_bytes
        )

    async def close(self) -> None:
        """Close the connection, and the credential if it was made here; the next use opens it again."""
        await self._client.close()

    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None:
        await self._client.open()
        await self._client._deliver(item, key, is_whole=is_whole)  # noqa: SLF001 - the pool of one behind this


class PooledEventhub(Eventhub):
    """The connection that a pool gives to several requests at once; the pool opens and closes it.

    Args:
        client: The SDK's client, whose link is open.
        commit: What sends over it.
        send_timeout_seconds: Seconds that a send may take.
    """

    def __init__(self, client: EventHubProducerClient, commit: GroupCommit[Event], send_timeout_seconds: float) -> None:
        self.commit = commit
        self._sdk = client
        self._send_timeout_seconds = send_timeout_seconds

    @property
    def handler(self) -> Any:
        """The SDK's handler of the hub's link."""
        return getattr(_producer_of(self._sdk), "_handler", None)

    async def create_batch(
        self, *, partition_key: str | None = None, partition_id: str | None = None, max_size_in_bytes: int | None = None
    ) -> EventDataBatch:
        """See `SendsEvents.create_batch`."""
        partition_id, partition_key = make_key(partition_id, partition_key)
        return await self._sdk.create_batch(
            partition_key=partition_key, partition_id=partition_id, max_size_in_bytes=max_size_in_bytes
        )

    async def close(self) -> None:
        """Close the connection; the pool does so when nobody uses it any more."""
        await self.commit.close()
        await self._sdk.close()

    async def deliver(self, item: Any, key: Key, seconds: float, *, is_whole: bool) -> None:
        """Send an event, or a whole batch, within so many seconds."""
        await self.commit.send(item, key, seconds, is_whole=is_whole)

    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None:
        await self.deliver(item, key, self._send_timeout_seconds, is_whole=is_whole)


class EventhubConnector(AmqpConnector[PooledEventhub]):
    """Opens producers, each with a connection and a send link of its own.

    Args:
        access: Where the hub is, and how to authenticate.
        transport_type: See `Eventhub`.
        client_options: Further keyword arguments of every ``EventHubProducerClient``.
        ready_message: An event that is sent over every new connection, or None.
        send_timeout_seconds: See `Eventhub`.
        window: Transfers in flight on one connection at most.
        coalesce: See `Eventhub`.
    """

    def __init__(
        self,
        access: AmqpAccess,
        *,
        transport_type: TransportType | None,
        client_options: dict[str, Any] | None,
        ready_message: Body | EventData | None,
        send_timeout_seconds: float,
        window: int,
        coalesce: bool,
    ) -> None:
        super().__init__(access, window=window, coalesce=coalesce, send_timeout_seconds=send_timeout_seconds)
        options = dict(client_options or {})
        ours = _OURS & options.keys()
        if ours:
            raise ValueError(
                f"client_options must not hold {min(ours)!r}: it has an argument of its own, or is the pool's"
            )
        if transport_type is not None:
            if not isinstance(transport_type, TransportType):
                raise ValueError(
                    "eventhub_transport_type must be an azure.eventhub.TransportType or None, not"
                    f" {shown(transport_type)}"
                )
            options["transport_type"] = transport_type
        # The SDK's own retries would outlast the opening's time, and hide the error that they met (a wrong key, say). Its
        # keep-alive holds the socket's lock while it listens, and on Python 3.12 and later it may store a message twice.
        self._options = {"retry_total": 0, "retry_backoff_factor": 0, **options, "keep_alive": 0}
        self._ready_message = None if ready_message is None else make_event(ready_message)
        self._send_timeout_seconds = send_timeout_seconds

    async def create(self) -> PooledEventhub:
        """Open a connection and its send link."""
        access = self.access
        options = {**self._options, "ssl_context": await tls_context(access, self._options)}
        options |= port_options(access, self._options, TransportType.Amqp)
        options.pop("connection_verify", None)  # Of which the SDK would warn beside a context.
        if access.connection_string is not None:
            client = EventHubProducerClient.from_connection_string(
                access.connection_string, eventhub_name=access.entity, **options
            )
        else:
            # A SharedCredential gives tokens as an AsyncTokenCredential does, and more.
            credential: Any = access.credential
            client = EventHubProducerClient(access.namespace, access.entity, credential, **options)
        producer = _producer_of(client)
        tune_handlers(producer)
        # Opens the link, to learn how much it takes; sends nothing.
        await open_or_cut(client.create_batch(), lambda: getattr(producer, "_handler", None))
        made: list[PooledEventhub] = []
        commit = self.commit(
            getattr(producer, "_handler", None),
            EventPacking(client, access.entity),
            encode=event_encoder(),
            plain=lambda: PlainChannel(_sdk_send(client, producer), lambda: bool(getattr(producer, "running", True))),
            connection=lambda: made[0] if made else None,
        )
        made.append(PooledEventhub(client, commit, self._send_timeout_seconds))
        return made[0]

    async def ready(self, connection: PooledEventhub) -> bool:
        """Tell whether the send link is still attached; sends the ready message, if there is one."""
        if self._ready_message is not None:
            await connection.send_event_data(self._ready_message)
        return not connection.commit.is_closed


class ManagedAzureEventhubProducer(ManagedClient[PooledEventhub], SendsEvents):
    """A pool of connections to one event hub, whose senders join what their callers send at the same time.

    Args:
        eventhub_namespace: The namespace's host, such as "shop.servicebus.windows.net"; None with a connection string.
        eventhub_name: The hub's name; None with a connection string that has an EntityPath.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``; called once, and what
            it made is closed with this client.
        eventhub_transport_type: ``TransportType.AmqpOverWebsocket`` goes through port 443, one transfer at a time; None is plain
            AMQP.
        connection_string: Instead of a credential (and of the namespace). With ``UseDevelopmentEmulator=true`` for a local emulator
            only.
        credential: Instead of a factory: an async credential (which stays yours to close), an ``AzureNamedKeyCredential`` or an
            ``AzureSasCredential``.
        ready_message: An event that is sent over every new connection to prove it; by default none: opening the link proves it.
        send_timeout_seconds: Seconds that each attempt to send may take, above 0; by default 10.
        send_attempts: Attempts for an event of which nobody knows whether it was stored, at least 1, the default. With more, it may
            be stored more than once. What was certainly not stored is tried again in any case, while the time allows.
        coalesce: Whether events of several callers are joined; True by default.
        window: Transfers in flight on one connection at most, at least 1; by default 8.
        client_options: Further keyword arguments of every ``EventHubProducerClient``.
        sizes: See `Sizes`. By default ``max_size=4``, ``grow_at=50`` and ``max_idle_seconds=220``: throughput comes from joining
            first, from connections second.

    Raises:
        TypeError: The credential is a sync one, or a text.
        ValueError: An argument is malformed or out of bounds, or more than one kind of authentication is given.
    """

    service = "eventhub"

    def __init__(
        self,
        eventhub_namespace: str | None = None,
        eventhub_name: str | None = None,
        credential_factory: CredentialFactory | None = None,
        eventhub_transport_type: TransportType | None = None,
        *,
        connection_string: str | None = None,
        credential: AsyncTokenCredential | KeyCredential | None = None,
        ready_message: Body | EventData | None = None,
        send_timeout_seconds: float = SEND_TIMEOUT_SECONDS,
        send_attempts: int = 1,
        coalesce: bool = True,
        window: int = WINDOW,
        client_options: dict[str, Any] | None = None,
        **sizes: Unpack[Sizes],
    ) -> None:
        check_sizes(ManagedAzureEventhubProducer, sizes)
        check_sending(send_timeout_seconds, send_attempts, window)
        access = AmqpAccess(
            eventhub_namespace,
            eventhub_name,
            credential_factory,
            credential,
            connection_string,
            scope=_SCOPE,
            entity_argument="eventhub_name",
            namespace_argument="eventhub_namespace",
        )
        connector = EventhubConnector(
            access,
            transport_type=eventhub_transport_type,
            client_options=client_options,
            ready_message=ready_message,
            send_timeout_seconds=send_timeout_seconds,
            window=window,
            coalesce=coalesce,
        )
        defaults: Sizes = {"max_size": MAX_SIZE, "max_idle_seconds": MAX_IDLE_SECONDS}
        super().__init__(connector, service=self.service, shared=access.shared, **(defaults | sizes))
        connector.report = self.pool.report
        self._send_timeout_seconds = send_timeout_seconds
        self._send_attempts = send_attempts

    async def create_batch(
        self, *, partition_key: str | None = None, partition_id: str | None = None, max_size_in_bytes: int | None = None
    ) -> EventDataBatch:
        """See `SendsEvents.create_batch`."""
        async with self.get() as connection:
            return await connection.create_batch(
                partition_key=partition_key, partition_id=partition_id, max_size_in_bytes=max_size_in_bytes
            )

    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None:
        await send_through(
            self,
            lambda connection, seconds: connection.deliver(item, key, seconds, is_whole=is_whole),
            seconds=self._send_timeout_seconds,
            attempts=self._send_attempts,
        )


def _producer_of(client: EventHubProducerClient) -> Any:
    """Give the SDK's producer for the hub itself; None where this version keeps it elsewhere."""
    producers: Any = getattr(client, "_producers", None)
    return producers.get("all-partitions") if isinstance(producers, dict) else None


def _sdk_send(client: EventHubProducerClient, producer: Any) -> Callable[[Any, float], Coroutine[Any, Any, None]]:
    """Give what sends a batch by the SDK: by its producer, since the client sends a second time after any error."""

    async def send(batch: EventDataBatch, seconds: float) -> None:
        if producer is not None and batch._partition_id is None:  # noqa: SLF001 - it has no public name
            await producer.send(batch, timeout=seconds)
        else:
            await client.send_batch(batch, timeout=seconds)

    return send
