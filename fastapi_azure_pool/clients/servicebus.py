"""Service Bus: senders that many tasks may share, one connection or a pool of them, and receivers of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from fastapi_azure_pool.clients.amqp.access import (
    AmqpAccess,
    check_authentication,
    port_options,
    tls_context,
    tls_context_at_once,
)
from fastapi_azure_pool.clients.amqp.connector import MAX_SIZE, SEND_TIMEOUT_SECONDS, WINDOW, AmqpConnector
from fastapi_azure_pool.clients.amqp.opening import forget_broken_requests, open_or_cut, tune_handlers
from fastapi_azure_pool.clients.amqp.plain_channel import PlainChannel
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.managed import ManagedClient, Sizes, check_sizes
from fastapi_azure_pool.clients.message_packing import MessagePacking, PackedMessages, message_encoder
from fastapi_azure_pool.clients.message_sending import SendsMessages
from fastapi_azure_pool.clients.resending import check_sending, send_through

with extra("servicebus"):
    from azure.servicebus import TransportType
    from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.servicebus import ServiceBusMessageBatch

    from fastapi_azure_pool.clients.amqp.access import KeyCredential
    from fastapi_azure_pool.clients.coalescing import GroupCommit
    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.clients.message_sending import Body, Key, Made, Operation

MAX_IDLE_SECONDS = 200
"""Azure closes a connection that has been idle for 240 s, and some of its gateways one a little earlier."""

# As the SDK writes it, with two slashes.
_SCOPE = "https://servicebus.azure.net//.default"

_OURS = frozenset({"credential", "keep_alive", "uamqp_transport"})


class AzureServiceBus(SendsMessages):
    """A sender to one queue or topic over one connection, kept until `close` and opened at its first use; safe to share.

    For scripts and jobs; an application that serves requests wants `ManagedAzureServiceBusSender`.

    Args:
        service_bus_namespace_url: The namespace's host, such as "shop.servicebus.windows.net", or its URL; None with a connection
            string.
        service_bus_queue_name: The name of the queue or topic; None with a connection string that has an EntityPath.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``.
        socket_timeout: Seconds for which the SDK waits at the socket at a time, or None for its own 0.2.
        connection_string: Instead of a credential (and of the namespace).
        credential: Instead of a factory: an async credential, an ``AzureNamedKeyCredential`` or an ``AzureSasCredential``.
        send_timeout_seconds: Seconds that a send may take, above 0; by default 10.
        coalesce: Whether messages of several callers are joined.
        client_options: Further keyword arguments of ``ServiceBusClient``.

    Raises:
        TypeError: The credential is a sync one, or a text.
        ValueError: An argument is malformed, or not exactly one kind of authentication is given.
    """

    def __init__(
        self,
        service_bus_namespace_url: str | None = None,
        service_bus_queue_name: str | None = None,
        credential_factory: CredentialFactory | None = None,
        socket_timeout: float | None = None,
        connection_string: str | None = None,
        *,
        credential: AsyncTokenCredential | KeyCredential | None = None,
        send_timeout_seconds: float = SEND_TIMEOUT_SECONDS,
        coalesce: bool = True,
        client_options: dict[str, Any] | None = None,
    ) -> None:
        check_authentication(credential_factory, credential, connection_string)
        self._client = ManagedAzureServiceBusSender(
            service_bus_namespace_url,
            service_bus_queue_name,
            credential_factory,
            connection_string=connection_string,
            credential=credential,
            socket_timeout=socket_timeout,
            send_timeout_seconds=send_timeout_seconds,
            coalesce=coalesce,
            client_options=client_options,
            max_size=1,
            client_limit=1_000_000,
            grow_at=1_000_000,
            max_idle_seconds=None,
        )

    def get_receiver(self, *, subscription_name: str | None = None, **options: Any) -> ServiceBusReceiver:
        """See `ManagedAzureServiceBusSender.get_receiver`."""
        return self._client.get_receiver(subscription_name=subscription_name, **options)

    async def create_message_batch(self, max_size_in_bytes: int | None = None) -> ServiceBusMessageBatch:
        """See `SendsMessages.create_message_batch`."""
        await self._client.open()
        return await self._client.create_message_batch(max_size_in_bytes)

    async def close(self) -> None:
        """Close the connection, and the credential if it was made here; the next use opens it again."""
        await self._client.close()

    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None:
        await self._client.open()
        await self._client._deliver(item, key, is_whole=is_whole)  # noqa: SLF001 - the pool of one behind this

    async def _request(self, operation: Operation) -> Any:
        await self._client.open()
        return await self._client._request(operation)  # noqa: SLF001 - likewise


class PooledServiceBusSender(SendsMessages):
    """The sender that a pool gives to several requests at once; the pool opens and closes it.

    Args:
        sender: The SDK's, whose link is open.
        client: The SDK's client that made it.
        commit: What sends over it.
        send_timeout_seconds: Seconds that a send may take.
    """

    def __init__(
        self,
        sender: ServiceBusSender,
        client: ServiceBusClient,
        commit: GroupCommit[Made],
        send_timeout_seconds: float,
    ) -> None:
        self.commit = commit
        self._sender = sender
        self._client = client
        self._send_timeout_seconds = send_timeout_seconds

    @property
    def handler(self) -> Any:
        """The SDK's handler of the send link."""
        return getattr(self._sender, "_handler", None)

    async def create_message_batch(self, max_size_in_bytes: int | None = None) -> ServiceBusMessageBatch:
        """See `SendsMessages.create_message_batch`."""
        return await self._sender.create_message_batch(max_size_in_bytes)

    async def close(self) -> None:
        """Close the connection; the pool does so when nobody uses it any more."""
        await self.commit.close()
        await self._sender.close()
        await self._client.close()

    async def deliver(self, item: Any, key: Key, seconds: float, *, is_whole: bool) -> None:
        """Send a message, or a whole batch, within so many seconds."""
        await self.commit.send(item, key, seconds, is_whole=is_whole)

    async def request(self, operation: Operation, seconds: float) -> Any:
        """Carry out a management request within so many seconds."""

        async def carry_out(left: float) -> Any:
            forget_broken_requests(self.handler)
            return await operation(self._sender, left)

        return await self.commit.request(carry_out, seconds)

    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None:
        await self.deliver(item, key, self._send_timeout_seconds, is_whole=is_whole)

    async def _request(self, operation: Operation) -> Any:
        return await self.request(operation, self._send_timeout_seconds)


class ServiceBusConnector(AmqpConnector[PooledServiceBusSender]):
    """Opens senders, each with a connection and a send link of its own.

    Args:
        access: Where the queue or topic is, and how to authenticate.
        client_options: Further keyword arguments of every ``ServiceBusClient``.
        socket_timeout: See `AzureServiceBus`.
        ready_message: A message that is sent over every new connection, or None.
        send_timeout_seconds: See `AzureServiceBus`.
        window: Transfers in flight on one connection at most.
        coalesce: See `AzureServiceBus`.
    """

    def __init__(
        self,
        access: AmqpAccess,
        *,
        client_options: dict[str, Any] | None,
        socket_timeout: float | None,
        ready_message: Body | None,
        send_timeout_seconds: float,
        window: int,
        coalesce: bool,
    ) -> None:
        super().__init__(access, window=window, coalesce=coalesce, send_timeout_seconds=send_timeout_seconds)
        ours = _OURS & (client_options or {}).keys()
        if ours:
            raise ValueError(
                f"client_options must not hold {min(ours)!r}: it has an argument of its own, or is the pool's"
            )
        if ready_message is not None and not isinstance(ready_message, (bytes, str)):
            raise TypeError(f"ready_message must be bytes, text or None, not {type(ready_message).__name__}")
        self._client_options = client_options or {}
        self._socket_timeout = socket_timeout
        self._ready_message = ready_message
        self._send_timeout_seconds = send_timeout_seconds

    def client(self, **options: Any) -> ServiceBusClient:
        """Make a client of the SDK, which opens nothing yet."""
        access = self.access
        options |= port_options(access, options, TransportType.Amqp)
        if access.connection_string is not None:
            return ServiceBusClient.from_connection_string(access.connection_string, **options)
        # A SharedCredential gives tokens as an AsyncTokenCredential does, and more.
        credential: Any = access.credential
        return ServiceBusClient(access.namespace, credential, **options)

    async def create(self) -> PooledServiceBusSender:
        """Open a connection and its send link."""
        # The SDK's own retries would outlast the opening's time, and hide the error that they met (a wrong key, say).
        options = {"retry_total": 0, "retry_backoff_factor": 0, **self._client_options}
        options["ssl_context"] = await tls_context(self.access, options)
        client = self.client(**options)
        # Its keep-alive holds the socket's lock while it listens, and on Python 3.12 and later it may store a message twice.
        sender = client.get_queue_sender(self.access.entity, socket_timeout=self._socket_timeout, keep_alive=0)
        tune_handlers(sender)
        # Opens the link, to learn how much it takes; sends nothing.
        await open_or_cut(sender.create_message_batch(), lambda: getattr(sender, "_handler", None))
        made: list[PooledServiceBusSender] = []
        commit = self.commit(
            getattr(sender, "_handler", None),
            MessagePacking(sender, self.access.entity),
            encode=message_encoder(),
            plain=lambda: PlainChannel(_sdk_send(sender), lambda: bool(getattr(sender, "_running", True))),
            connection=lambda: made[0] if made else None,
        )
        made.append(PooledServiceBusSender(sender, client, commit, self._send_timeout_seconds))
        return made[0]

    async def ready(self, connection: PooledServiceBusSender) -> bool:
        """Tell whether the send link is still attached; sends the ready message, if there is one."""
        if self._ready_message is not None:
            await connection.send_message(self._ready_message)
        return not connection.commit.is_closed

    def receiver(self, subscription_name: str | None, options: dict[str, Any]) -> ServiceBusReceiver:
        """Make a receiver with a connection of its own, not opened yet."""
        # The senders' context is there already, as a rule.
        context = tls_context_at_once(self.access, self._client_options)
        client = self.client(**self._client_options | {"ssl_context": context})
        options.setdefault("socket_timeout", self._socket_timeout)
        entity = self.access.entity
        receiver = (
            client.get_queue_receiver(entity, **options)
            if subscription_name is None
            else client.get_subscription_receiver(entity, subscription_name, **options)
        )
        tune_handlers(receiver)
        return receiver


class ManagedAzureServiceBusSender(ManagedClient[PooledServiceBusSender], SendsMessages):
    """A pool of connections to one queue or topic, whose senders join what their callers send at the same time.

    Args:
        service_bus_namespace_url: The namespace's host, such as "shop.servicebus.windows.net", or its URL; None with a connection
            string.
        service_bus_queue_name: The name of the queue or topic; None with a connection string that has an EntityPath.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``; called once, and what
            it made is closed with this client.
        connection_string: Instead of a credential (and of the namespace). With ``UseDevelopmentEmulator=true`` for a local emulator
            only.
        credential: Instead of a factory: an async credential (which stays yours to close), an ``AzureNamedKeyCredential`` or an
            ``AzureSasCredential``.
        socket_timeout: Seconds for which the SDK waits at the socket at a time, or None for its own 0.2.
        ready_message: A message that is sent over every new connection to prove it; by default none: opening the link proves it.
        send_timeout_seconds: Seconds that each attempt to send may take, above 0; by default 10.
        send_attempts: Attempts for a message of which nobody knows whether it was stored, at least 1, the default. With more, it
            may be stored more than once, unless the entity detects duplicates and ``unique_msg_id`` is given. What was certainly
            not stored is tried again in any case, while the time allows.
        coalesce: Whether messages of several callers are joined; True by default.
        window: Transfers in flight on one connection at most, at least 1; by default 8.
        client_options: Further keyword arguments of every ``ServiceBusClient``.
        sizes: See `Sizes`. By default ``max_size=4``, ``grow_at=50`` and ``max_idle_seconds=200``: throughput comes from joining
            first, from connections second.

    Raises:
        TypeError: The credential is a sync one, or a text.
        ValueError: An argument is malformed or out of bounds, or more than one kind of authentication is given.
    """

    service = "servicebus"

    def __init__(
        self,
        service_bus_namespace_url: str | None = None,
        service_bus_queue_name: str | None = None,
        credential_factory: CredentialFactory | None = None,
        *,
        connection_string: str | None = None,
        credential: AsyncTokenCredential | KeyCredential | None = None,
        socket_timeout: float | None = None,
        ready_message: Body | None = None,
        send_timeout_seconds: float = SEND_TIMEOUT_SECONDS,
        send_attempts: int = 1,
        coalesce: bool = True,
        window: int = WINDOW,
        client_options: dict[str, Any] | None = None,
        **sizes: Unpack[Sizes],
    ) -> None:
        check_sizes(ManagedAzureServiceBusSender, sizes)
        check_sending(send_timeout_seconds, send_attempts, window)
        access = AmqpAccess(
            service_bus_namespace_url,
            service_bus_queue_name,
            credential_factory,
            credential,
            connection_string,
            scope=_SCOPE,
            entity_argument="service_bus_queue_name",
            namespace_argument="service_bus_namespace_url",
        )
        connector = ServiceBusConnector(
            access,
            client_options=client_options,
            socket_timeout=socket_timeout,
            ready_message=ready_message,
            send_timeout_seconds=send_timeout_seconds,
            window=window,
            coalesce=coalesce,
        )
        defaults: Sizes = {"max_size": MAX_SIZE, "max_idle_seconds": MAX_IDLE_SECONDS}
        super().__init__(connector, service=self.service, shared=access.shared, **(defaults | sizes))
        connector.report = self.pool.report
        self._connector = connector
        self._send_timeout_seconds = send_timeout_seconds
        self._send_attempts = send_attempts

    def get_receiver(self, *, subscription_name: str | None = None, **options: Any) -> ServiceBusReceiver:
        """Make a receiver for the queue, or for a subscription of the topic: ``async with client.get_receiver() as receiver:``.

        It has a connection of its own, is no part of the pool, and is its caller's alone: for one task, to be closed before this
        client, whose credential it uses.

        Args:
            subscription_name: The subscription, where the entity is a topic.
            options: Arguments of ``ServiceBusClient.get_queue_receiver``, such as ``receive_mode``, ``session_id``, ``sub_queue``,
                ``max_wait_time`` or ``prefetch_count``.

        Raises:
            TypeError: The SDK does not know an option.
        """
        return self._connector.receiver(subscription_name, options)

    async def create_message_batch(self, max_size_in_bytes: int | None = None) -> ServiceBusMessageBatch:
        """See `SendsMessages.create_message_batch`."""
        async with self.get() as connection:
            return await connection.create_message_batch(max_size_in_bytes)

    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None:
        await send_through(
            self,
            lambda connection, seconds: connection.deliver(item, key, seconds, is_whole=is_whole),
            seconds=self._send_timeout_seconds,
            attempts=self._send_attempts,
        )

    async def _request(self, operation: Operation) -> Any:
        return await send_through(
            self,
            lambda connection, seconds: connection.request(operation, seconds),
            seconds=self._send_timeout_seconds,
            attempts=self._send_attempts,
        )


def _sdk_send(sender: ServiceBusSender) -> Callable[[Any, float], Coroutine[Any, Any, None]]:
    async def send(payload: ServiceBusMessageBatch | PackedMessages, seconds: float) -> None:
        if isinstance(payload, PackedMessages):
            await sender.send_messages(payload.only or payload.batch, timeout=seconds)
        else:
            await sender.send_messages(payload, timeout=seconds)

    return send
