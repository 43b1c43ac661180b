"""What an emulator's owner makes in Event Grid, and looks at, without a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.eventgrid.topic import Topic

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.eventgrid.schemas import PublishedEvent, Schema
    from fastapi_azure_pool.emulator.eventgrid.service import EventGridService
    from fastapi_azure_pool.emulator.request_log import RequestLog
    from fastapi_azure_pool.emulator.server import LoopbackServer


class EventGridTopics:
    """The part of an Emulator that is about Event Grid; topics may be made before the start and after."""

    _eventgrid: EventGridService
    _eventgrid_key: str
    _eventgrid_server: LoopbackServer

    @property
    def eventgrid_key(self) -> str:
        """The key of every topic."""
        return self._eventgrid_key

    @property
    def eventgrid_requests(self) -> RequestLog:
        """What the topics were asked so far."""
        return self._eventgrid.requests

    async def create_eventgrid_topic(self, name: str, schema: Schema = "EventGridSchema") -> None:
        """Make a custom topic.

        Args:
            name: Its name, 3 to 50 letters, digits and hyphens.
            schema: The schema in which it takes events: "EventGridSchema" (default) or "CloudEventSchemaV1_0".

        Raises:
            ValueError: There is a topic of that name, or a value is not one that Azure allows.
        """
        topic = Topic(name, schema)
        if name in self._eventgrid.topics:
            raise ValueError(f"there is a topic {name!r} already")
        self._eventgrid.topics[name] = topic

    def eventgrid_endpoint(self, topic: str) -> str:
        """Return where a topic's events are posted, such as ``http://127.0.0.1:50123/topics/orders/api/events``.

        Raises:
            RuntimeError: The emulator has no ports yet.
            ValueError: There is no such topic.
        """
        return self._eventgrid_server.url.rstrip("/") + self._topic(topic).path

    def eventgrid_events(self, topic: str) -> tuple[PublishedEvent, ...]:
        """Return the last 100,000 events that a topic has received, oldest first.

        Raises:
            ValueError: There is no such topic.
        """
        return tuple(self._topic(topic).events)

    def _eventgrid_environment(self) -> dict[str, str]:
        """Return the environment variables for the topic that was made first; the key alone when there is none."""
        first = next(iter(self._eventgrid.topics), None)
        endpoint = {} if first is None else {"AZURE_EVENTGRID_TOPIC_ENDPOINT": self.eventgrid_endpoint(first)}
        return {"AZURE_EVENTGRID_KEY": self.eventgrid_key, **endpoint}

    def _topic(self, name: str) -> Topic:
        try:
            return self._eventgrid.topics[name]
        except KeyError:
            names = ", ".join(self._eventgrid.topics) or "none: make it with create_eventgrid_topic()"
            raise ValueError(f"there is no Event Grid topic {name!r}; there are {names}") from None
