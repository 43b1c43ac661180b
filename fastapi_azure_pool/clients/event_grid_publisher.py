"""A publisher: the SDK's clients of several Event Grid topics over one HTTP session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    map_error,
)
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    AzureKeyCredentialPolicy,
    HeadersPolicy,
)
from azure.core.rest import HttpRequest

from fastapi_azure_pool.clients.event_grid_access import SCOPE
from fastapi_azure_pool.clients.event_grid_events import batches, checked_events, make_event
from fastapi_azure_pool.clients.extras import extra

with extra("eventgrid"):
    from azure.eventgrid.aio import EventGridPublisherClient

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi_azure_pool.clients.event_grid_access import AsyncAccess
    from fastapi_azure_pool.clients.event_grid_events import Event
    from fastapi_azure_pool.clients.event_grid_topics import EventGridConfig
    from fastapi_azure_pool.clients.http_transport import PooledTransport

TIMEOUTS = {"connection_timeout": 5.0, "read_timeout": 30.0}
"""By default azure-core waits 300 s for a connection and 300 s for an answer, in which a request would hold its place."""

# What each of a topic's clients is given by its publisher, and what would make it a client of something else.
_OURS = ("credential", "endpoint", "namespace_topic", "transport")

_API_VERSION = "2018-01-01"
_CONTENT_TYPES = {
    "EventGridSchema": "application/json; charset=utf-8",
    "CloudEventSchemaV1_0": "application/cloudevents-batch+json; charset=utf-8",
}

# Answers to a probe that tell what is wrong with the configuration; others below 500 come from a topic that works.
_MISCONFIGURED = frozenset({401, 403, 404})
_ERRORS = {401: ClientAuthenticationError, 403: ClientAuthenticationError, 404: ResourceNotFoundError}


class EventGridPublisher:
    """Publishes events to the topics of one configuration; safe to share between any number of tasks.

    Applications get it from `ManagedEventGridPublisher` or ``pooled(name)``.

    Args:
        config: The topics.
        access: With what it authenticates.
        transport: What it sends over, closed by `close`.
        client_options: Further keyword arguments of every topic's `EventGridPublisherClient`.

    Attributes:
        config: The topics.

    Raises:
        ValueError: ``client_options`` hold what the publisher itself gives.
    """

    def __init__(
        self,
        config: EventGridConfig,
        access: AsyncAccess,
        transport: PooledTransport,
        client_options: dict[str, Any],
    ) -> None:
        self.config = config
        self._access = access
        self._transport = transport
        # A SharedCredential gives tokens as an AsyncTokenCredential does, and more.
        credential: Any = access
        self._clients = {
            topic: EventGridPublisherClient(config.url(topic), credential, transport=transport, **client_options)
            for topic in config.topics()
        }

    def get_client(self, topic: str) -> EventGridPublisherClient:
        """Give the SDK's client of a topic; closing it closes the connections of every topic.

        Raises:
            KeyError: There is no such topic; the message lists those that there are.
        """
        self.config.config(topic)
        return self._clients[topic]

    async def emit_event(
        self, topic: str, event_type: str, subject: str, data: Any, data_version: str = "v1", **kwargs: Any
    ) -> None:
        """Publish one event, in the topic's schema.

        Args:
            topic: The topic's name in the configuration.
            event_type: What has happened, such as "shop.order.confirmed".
            subject: What it is about, such as "orders/4711".
            data: The rest of it, anything that JSON can say; in a CloudEvent also bytes.
            data_version: The version of the data's schema (default "v1"); a CloudEvent has no place for it.
            kwargs: Further arguments of `azure.eventgrid.EventGridEvent`, such as ``id`` and ``event_time``, or of
                `azure.core.messaging.CloudEvent`, such as ``source``, ``id``, ``time`` and ``extensions``.

        Raises:
            KeyError: There is no such topic.
            azure.core.exceptions.HttpResponseError: Event Grid refused it; nothing was published.
            azure.core.exceptions.AzureError: It could not be sent, or no answer came: it may have been published.
        """
        event = make_event(self.config.config(topic), event_type, subject, data, data_version, **kwargs)
        await self._clients[topic].send(event)

    async def emit_events(self, topic: str, events: Iterable[Event]) -> None:
        """Publish any number of events in order, in as few requests of at most 1 MB as they fit in; none for no event.

        Each request is taken or refused as a whole. When one fails, those before it are published, and a note on the error tells
        how many events they held.

        Args:
            topic: The topic's name in the configuration.
            events: `EventGridEvent` or `CloudEvent`, as the topic's schema is, or dicts like them.

        Raises:
            KeyError: There is no such topic.
            TypeError: An event is not in the topic's schema; nothing is published.
            azure.core.exceptions.HttpResponseError: Event Grid refused a request, 413 for an event beyond 1 MB.
            azure.core.exceptions.AzureError: A request could not be sent, or no answer came: it may have been published.
        """
        topic_config = self.config.config(topic)
        checked = checked_events(topic_config, events)
        published = 0
        try:
            for batch in batches(checked):
                await self._clients[topic].send(batch)
                published += len(batch)
        except AzureError as error:
            error.add_note(f"{published} of {len(checked)} events were published before this one failed")
            raise

    async def probe(self, topic: str) -> None:
        """Prove that a topic takes what is sent with this authentication, without publishing.

        It posts an empty list of events. Event Grid checks who asks, then answers 400, as it does for any body that holds no event;
        the topic's metrics count it as a failed publication. Of the answers below 500 only 401, 403 and 404 say that the topic
        would not take an event. None of them can mean that one was published: there was none.

        Raises:
            azure.core.exceptions.HttpResponseError: The answer was one of those, or 500 and above.
            azure.core.exceptions.AzureError: There was no answer, or no token.
        """
        config = self.config.config(topic)
        request = HttpRequest(
            "POST",
            config.url,
            params={"api-version": _API_VERSION},
            headers={"Content-Type": _CONTENT_TYPES[config.schema]},
            content=b"[]",
        )
        pipeline: AsyncPipeline[HttpRequest, Any] = AsyncPipeline(self._transport, [self._authentication()])
        response = (await pipeline.run(request)).http_response
        if response.status_code in _MISCONFIGURED or response.status_code >= 500:
            map_error(response.status_code, response, _ERRORS)
            raise HttpResponseError(response=response)

    @property
    def is_closed(self) -> bool:
        """Whether it, or one of the SDK's clients, was closed."""
        return self._transport.is_closed

    async def close(self) -> None:
        """Close the connections to every topic; may be called again."""
        await self._transport.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self.config.topics())}>"

    def _authentication(self) -> Any:
        access = self._access
        if isinstance(access, AzureKeyCredential):
            return AzureKeyCredentialPolicy(access, "aeg-sas-key")
        if isinstance(access, AzureSasCredential):
            return HeadersPolicy({"aeg-sas-token": access.signature})
        credential: Any = access
        return AsyncBearerTokenCredentialPolicy(credential, SCOPE)


def checked_client_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """Give the options of every topic's client.

    Raises:
        ValueError: They hold what the publisher itself gives.
    """
    options = dict(options or {})
    ours = [name for name in _OURS if name in options]
    if ours:
        raise ValueError(
            f"client_options must not hold {ours[0]!r}: each topic's EventGridPublisherClient is given its own, and a namespace's"
            " topic is none of these"
        )
    return options
