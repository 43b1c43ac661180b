"""Event Grid: a client for scripts and jobs, sync or async, and one that pools connections."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from fastapi_azure_pool.clients.credentials import SharedCredential
from fastapi_azure_pool.clients.event_grid_access import async_access, sync_access
from fastapi_azure_pool.clients.event_grid_events import make_event
from fastapi_azure_pool.clients.event_grid_publisher import (
    TIMEOUTS,
    EventGridPublisher,
    checked_client_options,
)
from fastapi_azure_pool.clients.event_grid_topics import EventGridConfig, EventGridTopicConfig, checked_config
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.http_connector import HttpConnector
from fastapi_azure_pool.clients.http_transport import PooledTransport
from fastapi_azure_pool.clients.managed import ManagedClient, Sizes, check_sizes
from fastapi_azure_pool.pool.forks import leave_to_parent_when_forked

with extra("eventgrid"):
    from azure.eventgrid import EventGridPublisherClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from azure.core.credentials import AzureKeyCredential, AzureSasCredential, TokenCredential
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.eventgrid.aio import EventGridPublisherClient as AsyncEventGridPublisherClient

    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.clients.event_grid_access import AsyncAccess
    from fastapi_azure_pool.clients.event_grid_events import Event
    from fastapi_azure_pool.pool import Lease

__all__ = [
    "EventGridClient",
    "EventGridConfig",
    "EventGridConnector",
    "EventGridPublisher",
    "EventGridTopicConfig",
    "ManagedEventGridPublisher",
]

_logger = logging.getLogger(__name__)


class EventGridConnector(HttpConnector[EventGridPublisher]):
    """Opens publishers, each with an HTTP session of its own, over which it reaches every topic.

    Args:
        config: The topics.
        access: With what to authenticate.
        client_options: Further keyword arguments of every topic's `EventGridPublisherClient`.
        use_env_settings: See `PooledTransport`.
    """

    def __init__(
        self,
        config: EventGridConfig,
        access: AsyncAccess,
        client_options: dict[str, Any] | None = None,
        *,
        use_env_settings: bool | None = None,
    ) -> None:
        super().__init__(use_env_settings=use_env_settings)
        self._config = config
        self._access = access
        self._client_options = checked_client_options(client_options)
        self._proven: set[str] = set()

    async def create(self) -> EventGridPublisher:
        """Open a session and make the topics' clients."""
        transport = PooledTransport(
            throttled=self._count_throttled,
            use_env_settings=self._use_env_settings,
            connection_options={**TIMEOUTS, **self._client_options},
        )
        publisher = EventGridPublisher(self._config, self._access, transport, self._client_options)
        transport.report = partial(self._report, publisher)
        await transport.open()
        return publisher

    async def ready(self, connection: EventGridPublisher) -> bool:
        """Connect to every topic and prove the authentication, without publishing; see `EventGridPublisher.probe`.

        At first every topic must answer, so that a wrong URL or key is told at the start. Later one that has answered before may be
        down as long as another one is not: its outage must not take along the events of the others.
        """
        topics = self._config.topics()
        answers = await asyncio.gather(*map(connection.probe, topics), return_exceptions=True)
        failed = {topic: error for topic, error in zip(topics, answers, strict=True) if error is not None}
        self._proven.update(topic for topic in topics if topic not in failed)
        for topic, error in failed.items():
            if topic not in self._proven or len(failed) == len(topics):
                raise error
            _logger.warning("the Event Grid topic %r does not answer (%s); the others do", topic, type(error).__name__)
        return True

    async def close(self, connection: EventGridPublisher) -> None:
        """Close the publisher's session."""
        await connection.close()

    def is_closed(self, connection: EventGridPublisher) -> bool:
        """Tell whether someone has closed the publisher, or one of the SDK's clients in it."""
        return connection.is_closed


class EventGridClient:
    """Publishes events to several topics, either sync or async, over connections that are kept until it is closed.

    For scripts and jobs; an application that serves requests wants `ManagedEventGridPublisher`.

    Args:
        config: The topics.
        credential: Makes it a sync client: a credential from ``azure.identity``, the topics' key (text or AzureKeyCredential),
            or an AzureSasCredential.
        async_credential: Makes it an async client: a credential from ``azure.identity.aio`` (which stays yours to close), or a
            key as above.
        client_options: Further keyword arguments of every async `EventGridPublisherClient`; the sync one of azure-eventgrid passes
            none on.

    Attributes:
        config: The topics.
        credential: What was given.
        async_credential: What was given.

    Raises:
        TypeError: The credential is a sync one in the place of an async one, or the other way round.
        ValueError: Not exactly one is given, or a key is malformed.
    """

    def __init__(
        self,
        config: EventGridConfig,
        credential: TokenCredential | AzureKeyCredential | AzureSasCredential | str | None = None,
        async_credential: AsyncTokenCredential | AzureKeyCredential | AzureSasCredential | str | None = None,
        *,
        client_options: dict[str, Any] | None = None,
    ) -> None:
        if (credential is None) == (async_credential is None):
            given = "none" if credential is None else "both"
            raise ValueError(f"Event Grid needs exactly one of credential= and async_credential=, not {given}")
        self.config = checked_config(config)
        self.credential = credential
        self.async_credential = async_credential
        self._publisher: EventGridPublisher | None = None
        self._shared: SharedCredential | None = None
        self._clients: dict[str, EventGridPublisherClient] = {}
        self._make_client: Callable[[str], EventGridPublisherClient]
        self._make_publisher: Callable[[], EventGridPublisher]
        self._is_closed = False
        if credential is not None:
            if client_options:
                raise ValueError("client_options are for the async client: the sync one of azure-eventgrid takes none")
            access = sync_access(config, credential)
            self._make_client = lambda topic: EventGridPublisherClient(config.url(topic), access)
            self._clients = {topic: self._make_client(topic) for topic in config.topics()}
        else:
            shared = async_access(config, None, async_credential, what="async_credential")
            self._shared = shared if isinstance(shared, SharedCredential) else None
            options = checked_client_options(client_options)
            self._make_publisher = lambda: EventGridPublisher(
                config,
                shared,
                PooledTransport(throttled=_nothing, connection_options={**TIMEOUTS, **options}),
                options,
            )
            self._publisher = self._make_publisher()
        leave_to_parent_when_forked(self)

    def is_sync(self) -> bool:
        """Tell whether this client is a sync one."""
        return self.credential is not None

    def leave_to_parent(self) -> object:
        """Use connections of the child's own, unless it was closed; see `Inherited`."""
        left = self._publisher, self._clients
        if not self._is_closed:
            self._publisher, self._clients = None, {}
        return left

    def get_client(self, topic: str) -> EventGridPublisherClient:
        """Give the SDK's sync client of a topic.

        Raises:
            KeyError: There is no such topic; the message lists those that there are.
            RuntimeError: This is an async client.
        """
        self._require_sync("get_async_client(topic)")
        self.config.config(topic)
        client = self._clients.get(topic)
        if client is None:
            client = self._clients.setdefault(topic, self._make_client(topic))  # Another thread may have been as fast.
        return client

    def get_async_client(self, topic: str) -> AsyncEventGridPublisherClient:
        """Give the SDK's async client of a topic; closing it closes the connections of every topic.

        Raises:
            KeyError: There is no such topic; the message lists those that there are.
            RuntimeError: This is a sync client.
        """
        return self._require_async("get_client(topic)").get_client(topic)

    def emit_event(
        self, topic: str, event_type: str, subject: str, data: Any, data_version: str = "v1", **kwargs: Any
    ) -> None:
        """Publish one event; see `EventGridPublisher.emit_event`.

        Raises:
            KeyError: There is no such topic.
            RuntimeError: This is an async client.
            azure.core.exceptions.AzureError: Event Grid refused it, or could not be reached.
        """
        client = self.get_client(topic)
        client.send(make_event(self.config.config(topic), event_type, subject, data, data_version, **kwargs))

    async def async_emit_event(
        self, topic: str, event_type: str, subject: str, data: Any, data_version: str = "v1", **kwargs: Any
    ) -> None:
        """Publish one event; see `EventGridPublisher.emit_event`.

        Raises:
            KeyError: There is no such topic.
            RuntimeError: This is a sync client.
            azure.core.exceptions.AzureError: Event Grid refused it, or could not be reached.
        """
        publisher = self._require_async("emit_event(...)")
        await publisher.emit_event(topic, event_type, subject, data, data_version, **kwargs)

    def close(self) -> None:
        """Close the connections of a sync client, for good; may be called again.

        Raises:
            RuntimeError: This is an async client.
        """
        self._require_sync("await aclose()")
        self._is_closed = True
        for client in self._clients.values():
            client.close()

    async def aclose(self) -> None:
        """Close the connections of an async client, for good; may be called again.

        Raises:
            RuntimeError: This is a sync client.
        """
        publisher = self._require_async("close()")
        self._is_closed = True
        await publisher.close()
        if self._shared is not None:
            await self._shared.close()

    def __enter__(self) -> Self:
        self._require_sync("async with")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._require_async("with")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'sync' if self.is_sync() else 'async'} {', '.join(self.config.topics())}>"

    def _require_sync(self, instead: str) -> None:
        if not self.is_sync():
            raise RuntimeError(f"this EventGridClient is async, since it has an async_credential: use {instead}")

    def _require_async(self, instead: str) -> EventGridPublisher:
        if self.is_sync():
            raise RuntimeError(f"this EventGridClient is sync, since it has a credential: use {instead}")
        if self._publisher is None:
            self._publisher = self._make_publisher()
        return self._publisher


class ManagedEventGridPublisher(ManagedClient[EventGridPublisher]):
    """A pool of connections to the topics of one configuration.

    Args:
        config: The topics.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``; called once, and what
            it made is closed with this client.
        credential: Instead of that, an async credential (which stays yours to close), the topics' key (text or AzureKeyCredential),
            or an AzureSasCredential. With neither, the credential of ``open_pools(app, credential=...)``.
        client_options: Further keyword arguments of every topic's `EventGridPublisherClient`, such as ``{"retry_total": 0}``. The
            time-outs are ``connection_timeout`` (5 s) and ``read_timeout`` (30 s).
        use_env_settings: Whether each request looks for a proxy and a netrc file in the environment. None looks once per
            connection and goes on only where there is one; True is the SDK's own way.
        sizes: See `Sizes`. One publisher carries 100 calls at once over its own HTTP connections, hence ``client_limit=100``.

    Raises:
        TypeError: The credential is a sync one, or the config is none.
        ValueError: An argument is malformed or out of bounds, or two kinds of authentication are given.
    """

    service = "eventgrid"

    def __init__(
        self,
        config: EventGridConfig,
        credential_factory: CredentialFactory | None = None,
        *,
        credential: AsyncTokenCredential | AzureKeyCredential | AzureSasCredential | str | None = None,
        client_options: dict[str, Any] | None = None,
        use_env_settings: bool | None = None,
        **sizes: Unpack[Sizes],
    ) -> None:
        check_sizes(ManagedEventGridPublisher, sizes)
        self.config = checked_config(config)
        access = async_access(config, credential_factory, credential, may_borrow=True)
        connector = EventGridConnector(config, access, client_options, use_env_settings=use_env_settings)
        shared = access if isinstance(access, SharedCredential) else None
        super().__init__(connector, service=self.service, shared=shared, **sizes)
        connector.report = self.pool.report
        self._connector = connector

    def get_publisher(self, timeout: float | None = None) -> Lease[EventGridPublisher]:
        """Check out a publisher: ``async with events.get_publisher() as publisher:``.

        Args:
            timeout: Seconds to wait for a place; None means the client's ``pool_get_timeout``.

        Raises:
            PoolError: Any that `ConnectionPool.get` raises.
        """
        return self.get(timeout)

    async def emit_event(
        self, topic: str, event_type: str, subject: str, data: Any, data_version: str = "v1", **kwargs: Any
    ) -> None:
        """Publish one event; see `EventGridPublisher.emit_event`.

        Raises:
            KeyError: There is no such topic.
            PoolError: Any that `ConnectionPool.get` raises.
            azure.core.exceptions.AzureError: Event Grid refused it, or could not be reached.
        """
        async with self.get() as publisher:
            await publisher.emit_event(topic, event_type, subject, data, data_version, **kwargs)

    async def emit_events(self, topic: str, events: Iterable[Event]) -> None:
        """Publish any number of events in order; see `EventGridPublisher.emit_events`.

        Raises:
            KeyError: There is no such topic.
            TypeError: An event is not in the topic's schema; nothing is published.
            PoolError: Any that `ConnectionPool.get` raises.
            azure.core.exceptions.AzureError: Event Grid refused a request, or could not be reached.
        """
        async with self.get() as publisher:
            await publisher.emit_events(topic, events)

    @property
    def throttled_count(self) -> int:
        """How many requests Event Grid has answered 429 so far, those included that the SDK tried again."""
        return self._connector.throttled_count


def _nothing() -> None:
    """Count nothing."""
