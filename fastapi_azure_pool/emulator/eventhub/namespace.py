"""The hubs of one namespace, and the addresses by which clients find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.node import Directory, Node
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError
from fastapi_azure_pool.emulator.eventhub.consumers import ConsumerNode
from fastapi_azure_pool.emulator.eventhub.events import ReceivedEvent, received_event
from fastapi_azure_pool.emulator.eventhub.hub import Hub, SendNode
from fastapi_azure_pool.emulator.eventhub.management import ManagementNode

if TYPE_CHECKING:
    from collections.abc import Sequence


class EventHubs(Directory):
    """All hubs."""

    def __init__(self) -> None:
        self._hubs: dict[str, Hub] = {}
        self._nodes: dict[str, Node] = {}
        self._management = ManagementNode(self.find_hub)

    def create_hub(self, name: str, *, partitions: int, consumer_groups: Sequence[str], max_message_bytes: int) -> None:
        """Make a hub.

        Raises:
            ValueError: There is one, or a value is out of its bounds.
        """
        if not name or "/" in name or name.startswith("$"):
            raise ValueError(f"name={name!r} must be a hub's name, without a slash")
        if name.lower() in self._hubs:
            raise ValueError(f"there is an event hub {name!r} already")
        hub = Hub(name, partitions=partitions, consumer_groups=consumer_groups, max_message_bytes=max_message_bytes)
        nodes: list[Node] = [SendNode(name, hub)]
        for partition in hub.partitions:
            nodes.append(SendNode(f"{name}/Partitions/{partition.id}", hub, partition))
            nodes += [
                ConsumerNode(f"{name}/ConsumerGroups/{group}/Partitions/{partition.id}", hub, partition)
                for group in hub.consumer_groups
            ]
        self._hubs[name.lower()] = hub
        self._nodes |= {node.address.lower(): node for node in nodes}

    def find_hub(self, name: str) -> Hub | None:
        """Return a hub by its name."""
        return self._hubs.get(name.lower())

    def find(self, address: str) -> Node | None:
        """Return what an address names."""
        if address == "$management":
            return self._management
        return self._nodes.get(address.lower())

    def has_entity(self, path: str) -> bool:
        """Whether a path is a hub's, or lies within one."""
        return self.find_hub(path.partition("/")[0]) is not None

    def received_events(self, name: str) -> list[ReceivedEvent]:
        """Return what a hub has stored, by partition and in order.

        Raises:
            ValueError: There is no such hub.
        """
        hub = self.find_hub(name)
        if hub is None:
            raise ValueError(f"there is no event hub {name!r}: make it with create_eventhub")
        events = []
        for partition in hub.partitions:
            for number in range(len(partition)):
                try:
                    events.append(received_event(partition.event(number), partition.id))
                except AmqpDecodeError:
                    continue  # no SDK sends such a thing, and no consumer gets it
        return events
