"""A custom topic: what it is called, in which schema it takes events, and what it has received."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.eventgrid.schemas import SCHEMAS

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.eventgrid.schemas import PublishedEvent, Schema

# "Troubleshoot Azure Event Grid errors": what a topic's name may be.
_NAME = re.compile(r"[A-Za-z0-9-]{3,50}\Z")

# A load test must not fill the memory; older ones are forgotten.
_MAX_REMEMBERED = 100_000


class Topic:
    """One custom topic.

    Args:
        name: Its name, 3 to 50 letters, digits and hyphens.
        schema: The schema in which it takes events.

    Attributes:
        name: Its name.
        schema: Its schema.
        events: The last 100,000 events received, oldest first.

    Raises:
        ValueError: The name or the schema is not one that Azure allows.
    """

    def __init__(self, name: str, schema: Schema) -> None:
        if not _NAME.match(name):
            raise ValueError(f"the topic's name {name!r} must have 3 to 50 letters, digits or hyphens, such as orders")
        if schema not in SCHEMAS:
            raise ValueError(f"schema={schema!r} is unknown: write one of {', '.join(SCHEMAS)}")
        self.name = name
        self.schema: Schema = schema
        self.events: deque[PublishedEvent] = deque(maxlen=_MAX_REMEMBERED)

    @property
    def path(self) -> str:
        """Where its events are posted; on Azure, where each topic has a host of its own, ``/api/events``."""
        return f"/topics/{self.name}/api/events"

    @property
    def resource_id(self) -> str:
        """What Azure Resource Manager would call it."""
        return (
            "/subscriptions/00000000-0000-4000-8000-000000000000/resourceGroups/emulator/providers/Microsoft.EventGrid"
            f"/topics/{self.name}"
        )
