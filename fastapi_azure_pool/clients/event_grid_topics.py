"""Which Event Grid topics a client publishes to, by the names that the application gives them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from fastapi_azure_pool.clients.arguments import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

EventGridSchema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]

_EXAMPLE = "https://<topic>.<region>-1.eventgrid.azure.net/api/events"


class UnknownTopic(KeyError):
    """A topic that the configuration does not name; a KeyError whose text reads as it was written."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class EventGridTopicConfig:
    """One topic.

    Attributes:
        name: What the application calls it; the topic's name on Azure need not be the same.
        url: Its endpoint, as the portal shows it: ``https://<topic>.<region>-1.eventgrid.azure.net/api/events``.
        schema: The schema that it takes, in Azure's own words: "EventGridSchema" (default) or "CloudEventSchemaV1_0".
        source: What its CloudEvents name as their source where the sender does not; None for the topic's name.

    Raises:
        ValueError: One of them is malformed.
    """

    name: str
    url: str
    schema: EventGridSchema = "EventGridSchema"
    source: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not _is_endpoint(self.url):
            # What was given instead is not repeated: it may be a key.
            raise ValueError(f"the url of topic {self.name!r} must be its endpoint, such as {_EXAMPLE}")
        if self.schema not in get_args(EventGridSchema):
            raise ValueError(
                f"the schema of topic {self.name!r} must be one of {', '.join(get_args(EventGridSchema))},"
                f" not {shown(self.schema)}"
            )
        if self.source is not None and not self.source:
            raise ValueError(
                f"the source of topic {self.name!r} must be a URI reference, such as /shop/orders, or None"
            )


class EventGridConfig:
    """All topics that one client publishes to.

    Args:
        topic_configs: One, or several with different names.

    Attributes:
        topic_configs: The topics, by name.

    Raises:
        TypeError: Something else than a topic's configuration is given.
        ValueError: There is none, or two have the same name.
    """

    def __init__(self, topic_configs: EventGridTopicConfig | Iterable[EventGridTopicConfig]) -> None:
        given = (topic_configs,) if isinstance(topic_configs, EventGridTopicConfig) else tuple(topic_configs)
        self.topic_configs: dict[str, EventGridTopicConfig] = {}
        for topic in given:
            if not isinstance(topic, EventGridTopicConfig):
                raise TypeError(f"topic_configs must hold EventGridTopicConfig(name, url), not {type(topic).__name__}")
            if topic.name in self.topic_configs:
                raise ValueError(f"topic_configs names {topic.name!r} twice: give each topic a name of its own")
            self.topic_configs[topic.name] = topic
        if not self.topic_configs:
            raise ValueError("topic_configs is empty: give at least one EventGridTopicConfig(name, url)")

    def topics(self) -> list[str]:
        """Give the topics' names, in the order in which they were given."""
        return list(self.topic_configs)

    def config(self, topic: str) -> EventGridTopicConfig:
        """Give a topic's configuration.

        Raises:
            KeyError: There is no such topic; the message lists those that there are.
        """
        try:
            return self.topic_configs[topic]
        except KeyError:
            raise UnknownTopic(
                f"there is no Event Grid topic {topic!r} in this EventGridConfig; there are {', '.join(self.topics())}"
            ) from None

    def url(self, topic: str) -> str:
        """Give a topic's endpoint.

        Raises:
            KeyError: There is no such topic; the message lists those that there are.
        """
        return self.config(topic).url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self.topics())}>"


def checked_config(config: object) -> EventGridConfig:
    """Give what was passed as a client's config.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(config, EventGridConfig):
        raise TypeError(
            "config must be an EventGridConfig, such as EventGridConfig([EventGridTopicConfig(name, url)]), not"
            f" {type(config).__name__}"
        )
    return config


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be what the application calls the topic, not {shown(name)}")


def _is_endpoint(url: object) -> bool:
    if isinstance(url, str):
        with suppress(ValueError):
            parts = urlsplit(url)
            return bool(
                parts.scheme in {"http", "https"}
                and parts.hostname
                and parts.port != 0
                and parts.username is None
                and parts.path.strip("/")
            )
    return False
