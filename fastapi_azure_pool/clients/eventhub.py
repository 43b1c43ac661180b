"""Event Hubs: a producer that keeps one connection, and one that pools them; both safe to share between any number of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from fastapi_azure_pool.clients.amqp_access import AmqpAccess, tls_context
from fastapi_azure_pool.clients.amqp_channel import PlainChannel, abort, hasten_opening
from fastapi_azure_pool.clients.amqp_connector import MAX_SIZE, SEND_TIMEOUT_SECONDS, WINDOW, AmqpConnector
from fastapi_azure_pool.clients.coalescing import yield_to_others
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.managed import ManagedClient, Sizes
from fastapi_azure_pool.clients.resending import check_sending, send_through
from fastapi_azure_pool.clients.transfers import Outcome, OutcomeKind, Packing
from fastapi_azure_pool.errors import MessageTooLarge, SendError, SendInterrupted, SendRejected, SendTimedOut

with extra("eventhub"):
    from azure.eventhub import EventData, EventDataBatch, TransportType
    from azure.eventhub.aio import EventHubProducerClient
    from azure.eventhub.amqp import AmqpAnnotatedMessage
    from azure.eventhub.exceptions import (
        ConnectionLostError,
        EventDataSendError,
        EventHubError,
        OperationTimeoutError,
    )

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.amqp_access import KeyCredential
    from fastapi_azure_pool.clients.coalescing import GroupCommit
    from fastapi_azure_pool.clients.credentials import CredentialFactory

Body: TypeAlias = "bytes | str"
Event: TypeAlias = "EventData | AmqpAnnotatedMessage"
Key: TypeAlias = "tuple[str | None, str | None]"

MAX_IDLE_SECONDS = 220
"""Azure closes a connection that has been idle for 240 s."""

_OURS = frozenset(
    {"auth_timeout", "buffered_mode", "credential", "eventhub_name", "keep_alive", "transport_type", "uamqp_transport"}
)


class SendsEvents(ABC):
    """The ways to send events, alike for one connection and for a pool of them."""

    async def send_event(
        self, event: Body, partition_key: str | None = None, *, partition_id: str | None = None
    ) -> None:
        """Send one event and wait until the service has stored it.

        Events that others send at the same time join it. Those with the same partition key keep their order. A key of its own for
        each event leaves nothing to join: leave it out where order does not matter.

        Args:
            event: Its body.
            partition_key: Events of one key go to one partition, which the service chooses.
            partition_id: Or the partition itself, such as "0".

        Raises:
            TypeError: The body is neither bytes nor text.
            ValueError: Both a key and a partition are given.
            SendError: It was not confirmed; ``maybe_delivered`` says whether it may have been stored.
            PoolError: No connection could be had.
        """
        await self.send_event_data(_event(event), partition_key, partition_id=partition_id)

    async def send_event_data(
        self, event: Event, partition_key: str | None = None, *, partition_id: str | None = None
    ) -> None:
        """Send one event that is an ``EventData`` already; as `send_event` else."""
        if not isinstance(event, (EventData, AmqpAnnotatedMessage)):
            raise TypeError(
                f"event must be an EventData, not {type(event).__name__}: send_event() takes bytes and text"
            )
        own_key = getattr(event, "partition_key", None)
        if isinstance(own_key, bytes):
            own_key = own_key.decode()
        if own_key and partition_key and own_key != partition_key:
            raise ValueError(
                f"partition_key={partition_key!r} and the event's own {own_key!r} differ: give one of them"
            )
        await self._deliver(event, _key(partition_id, partition_key or own_key))

    async def send_events_batch(
        self, events_list: Iterable[Body], partition_key: str | None = None, *, partition_id: str | None = None
    ) -> EventDataBatch:
        """Send several events together: all of them are stored, or none.

        Args:
            events_list: Their bodies.
            partition_key: See `send_event`.
            partition_id: See `send_event`.

        Returns:
            The batch that was sent.

        Raises:
            MessageTooLarge: They do not fit into one batch; nothing was sent.
            ValueError: There are none.
            SendError: They were not confirmed.
            PoolError: No connection could be had.
        """
        if isinstance(events_list, (bytes, str)):
            raise TypeError("events_list must be several events: send_event() takes one")
        batch = await self.create_batch(partition_key=partition_key, partition_id=partition_id)
        for count, event in enumerate(events_list, 1):
            try:
                batch.add(_event(event))
            except ValueError as error:
                raise MessageTooLarge(
                    f"event {count} does not fit any more into a batch of {batch.max_size_in_bytes} bytes, and nothing was sent:"
                    " send fewer at once, or each with send_event()"
                ) from error
            await yield_to_others(count)
        return await self.send_events_data_batch(batch)

    async def send_events_data_batch(self, event_data_batch: EventDataBatch) -> EventDataBatch:
        """Send a batch that was made already, such as by `create_batch`, as it is; as `send_events_batch` else."""
        if not isinstance(event_data_batch, EventDataBatch):
            raise TypeError(
                f"event_data_batch must be an EventDataBatch, not {type(event_data_batch).__name__}:"
                " send_events_batch() takes a list"
            )
        if not len(event_data_batch):
            raise ValueError("the batch holds no event: add some, or do not send it")
        key = _key(event_data_batch._partition_id, event_data_batch._partition_key)  # noqa: SLF001 - it has no public name
        await self._deliver(event_data_batch, key, is_whole=True)
        return event_data_batch

    @abstractmethod
    async def create_batch(
        self, *, partition_key: str | None = None, partition_id: str | None = None, max_size_in_bytes: int | None = None
    ) -> EventDataBatch:
        """Make an empty batch as large as the service takes.

        Args:
            partition_key: See `send_event`.
            partition_id: See `send_event`.
            max_size_in_bytes: A lower limit, or None.

        Raises:
            ValueError: ``max_size_in_bytes`` is more than the service takes.
            PoolError: No connection could be had.
        """

    @abstractmethod
    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None: ...


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
        if credential is None and hasattr(factory, "get_token") and not isinstance(factory, type):
            credential, factory = factory, None
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
        partition_id, partition_key = _key(partition_id, partition_key)
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
        super().__init__(access, window=window, coalesce=coalesce)
        options = dict(client_options or {})
        ours = _OURS & options.keys()
        if ours:
            raise ValueError(
                f"client_options must not hold {min(ours)!r}: it has an argument of its own, or is the pool's"
            )
        if transport_type is not None:
            if not isinstance(transport_type, TransportType):
                raise ValueError(
                    f"eventhub_transport_type must be an azure.eventhub.TransportType or None, not {transport_type!r}"
                )
            options["transport_type"] = transport_type
        # The SDK's own retries would outlast the opening's time, and hide the error that they met (a wrong key, say). Its
        # keep-alive holds the socket's lock while it listens, and on Python 3.12 and later it may store a message twice.
        self._options = {"retry_total": 0, "retry_backoff_factor": 0, **options, "keep_alive": 0}
        self._ready_message = None if ready_message is None else _event(ready_message)
        self._send_timeout_seconds = send_timeout_seconds

    async def create(self) -> PooledEventhub:
        """Open a connection and its send link."""
        access = self.access
        options = {**self._options, "ssl_context": await tls_context(access, self._options)}
        options.pop("connection_verify", None)
        if access.connection_string is not None:
            client = EventHubProducerClient.from_connection_string(
                access.connection_string, eventhub_name=access.entity, **options
            )
        else:
            # A SharedCredential gives tokens as an AsyncTokenCredential does, and more.
            credential: Any = access.credential
            client = EventHubProducerClient(access.namespace, access.entity, credential, **options)
        producer = _producer_of(client)
        hasten_opening(producer)
        try:
            await client.create_batch()  # Opens the link, to learn how much it takes; sends nothing.
        except BaseException:
            abort(getattr(producer, "_handler", None))
            raise
        made: list[PooledEventhub] = []
        commit = self.commit(
            getattr(producer, "_handler", None),
            EventPacking(client, access.entity),
            encode=_message_of,
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
        ValueError: An argument is malformed or out of bounds, or not exactly one kind of authentication is given.
    """

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
        check_sending(send_timeout_seconds, send_attempts, window)
        access = AmqpAccess(
            eventhub_namespace,
            eventhub_name,
            credential_factory,
            credential,
            connection_string,
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
        super().__init__(connector, service="eventhub", shared=access.shared, **(defaults | sizes))
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


class EventPacking(Packing[Any]):
    """Makes batches of events; see `Packing`.

    Args:
        client: The SDK's client, which knows how large a batch may be.
        entity: The hub's name.
    """

    def __init__(self, client: EventHubProducerClient, entity: str) -> None:
        self.entity = entity
        self._client = client

    async def new_batch(self, key: Key) -> EventDataBatch:
        """Make an empty batch; the link's limit is known since it was opened."""
        partition_id, partition_key = key
        return await self._client.create_batch(partition_id=partition_id, partition_key=partition_key)

    def add(self, batch: EventDataBatch, item: Event, *, is_first: bool) -> bool:
        """Add an event, if it fits."""
        try:
            batch.add(item)
        except ValueError as error:
            if is_first:
                raise MessageTooLarge(
                    f"the event is larger than the {batch.max_size_in_bytes} bytes that event hub {self.entity} takes: store the"
                    " content elsewhere, in a blob for example, and send where it is"
                ).like(EventDataSendError(str(error))) from error
            return False
        return True

    def payload(self, batch: EventDataBatch) -> EventDataBatch:
        """Give the batch itself."""
        return batch

    def address(self, key: Key) -> str | None:
        """Give the partition's address, if there is a partition."""
        partition_id = key[0]
        return None if partition_id is None else f"Partitions/{partition_id}"

    def error(self, outcome: Outcome) -> SendError:
        """Give the error for an outcome."""
        if outcome.kind is OutcomeKind.LOST:
            return self.interrupted(maybe_delivered=True, cause=outcome.error)
        condition = outcome.condition or outcome.kind.value
        text = f"event hub {self.entity} did not take it ({condition}): {outcome.description or 'it did not say why'}"
        kind = MessageTooLarge if self.refuses_joining(outcome) else SendRejected
        error = kind(text, condition=outcome.condition, maybe_delivered=outcome.maybe_delivered)
        return error.like(outcome.error if isinstance(outcome.error, EventHubError) else EventDataSendError(text))

    def translate(self, error: Exception) -> Exception:
        """Give the SDK's error as it is: no request of Event Hubs goes this way."""
        return error

    def timed_out(self, *, maybe_delivered: bool) -> SendTimedOut:
        """Give the error of a caller whose time is over."""
        state = "no answer came in time" if maybe_delivered else "it could not leave in time, and was not sent"
        text = f"sending to event hub {self.entity} timed out: {state}"
        return SendTimedOut(text, maybe_delivered=maybe_delivered).like(OperationTimeoutError(text))

    def interrupted(self, *, maybe_delivered: bool, cause: Exception | None = None) -> SendInterrupted:
        """Give the error of a caller whose connection is closed or broken."""
        state = "before it was confirmed: it may have been stored" if maybe_delivered else "before it was sent"
        text = f"the connection to event hub {self.entity} ended {state}"
        like = cause if isinstance(cause, EventHubError) else ConnectionLostError(text)
        return SendInterrupted(text, maybe_delivered=maybe_delivered).like(like)


def _producer_of(client: EventHubProducerClient) -> Any:
    """Give the SDK's producer for the hub itself; None where this version keeps it elsewhere."""
    producers: Any = getattr(client, "_producers", None)
    return producers.get("all-partitions") if isinstance(producers, dict) else None


def _sdk_send(client: EventHubProducerClient, producer: Any) -> Callable[[Any, float], Any]:
    """Give what sends a batch by the SDK: by its producer, since the client sends a second time after any error."""

    async def send(batch: EventDataBatch, seconds: float) -> None:
        if producer is not None and batch._partition_id is None:  # noqa: SLF001 - it has no public name
            await producer.send(batch, timeout=seconds)
        else:
            await client.send_batch(batch, timeout=seconds)

    return send


def _message_of(batch: EventDataBatch) -> Any:
    return batch._message  # noqa: SLF001 - the SDK's own sender takes it from there


def _event(body: object) -> EventData:
    if isinstance(body, EventData):
        return body
    if not isinstance(body, (bytes, str)):
        raise TypeError(
            f"an event must be bytes or text, not {type(body).__name__}: json.dumps() makes text of most things"
        )
    return EventData(body)


def _key(partition_id: object, partition_key: object) -> Key:
    if partition_id is not None and partition_key:
        raise ValueError("give a partition_key or a partition_id, not both: the key chooses a partition by itself")
    if partition_key is not None and not isinstance(partition_key, str):
        raise TypeError(f"partition_key must be a text, not {type(partition_key).__name__}: write str(...)")
    if partition_id is not None and not isinstance(partition_id, str):
        raise TypeError(f"partition_id must be a text such as '0', not {type(partition_id).__name__}")
    return partition_id or None, partition_key or None
