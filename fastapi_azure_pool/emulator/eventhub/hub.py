"""One event hub: its partitions, and what writes into them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, Sections, data_sections
from fastapi_azure_pool.emulator.amqp.node import ACCEPTED, Node, Outcome, rejected
from fastapi_azure_pool.emulator.eventhub.partition import PARTITION_KEY, Partition
from fastapi_azure_pool.emulator.eventhub.partitioning import partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi_azure_pool.emulator.amqp.link import IncomingDelivery, IncomingLink

MAX_PARTITIONS = 1024


class Hub:
    """A hub.

    Args:
        name: Its name.
        partitions: How many partitions it has, 1 to 1,024.
        consumer_groups: Their names; at least one.
        max_message_bytes: The largest message or batch that it takes; at least 1.

    Attributes:
        name: See the arguments.
        partitions: Its partitions, by number.
        consumer_groups: See the arguments.
        max_message_bytes: See the arguments.
        created_at: When it was made, in milliseconds since 1970.
    """

    def __init__(self, name: str, *, partitions: int, consumer_groups: Sequence[str], max_message_bytes: int) -> None:
        if not 1 <= partitions <= MAX_PARTITIONS:
            raise ValueError(f"partitions={partitions} must be from 1 to {MAX_PARTITIONS}")
        if isinstance(consumer_groups, str) or not consumer_groups:
            raise ValueError(f"consumer_groups={consumer_groups!r} must be names, such as ('$Default',)")
        if max_message_bytes < 1:
            raise ValueError(f"max_message_bytes={max_message_bytes} must be at least 1")
        self.name = name
        self.partitions = [Partition(str(number)) for number in range(partitions)]
        self.consumer_groups = tuple(consumer_groups)
        self.max_message_bytes = max_message_bytes
        self.created_at = int(time.time() * 1000)
        self._turn = 0

    def choose(self, partition_key: str | None) -> Partition:
        """Return the partition of a key, or without one the next in turn."""
        count = len(self.partitions)
        if partition_key is not None:
            return self.partitions[partition_of(partition_key, count)]
        self._turn = (self._turn + 1) % count
        return self.partitions[self._turn - 1]


class SendNode(Node):
    """Where producers send: a hub, or one partition of it.

    Args:
        address: Its address.
        hub: The hub.
        partition: The partition; None: the key chooses, or it is the next in turn.
    """

    def __init__(self, address: str, hub: Hub, partition: Partition | None = None) -> None:
        super().__init__(address, entity=address, max_message_bytes=hub.max_message_bytes)
        self._hub = hub
        self._partition = partition

    def open_incoming(self, link: IncomingLink) -> None:
        """Take a producer."""
        link.accept()

    def receive(self, link: IncomingLink, delivery: IncomingDelivery) -> Outcome:  # noqa: ARG002 - see Node
        """Store an event or a batch: all of it in one partition."""
        payload = delivery.payload
        annotations = Sections(payload).message_annotations or {}
        key = annotations.get(PARTITION_KEY)
        if key is not None and not isinstance(key, str):
            return rejected("amqp:invalid-field", "The partition key must be a string.")
        if self._partition is not None and key is not None:
            return rejected(
                "amqp:not-allowed",
                "A partition key cannot be set on events that are sent to a partition: the sender is bound to "
                f"'{self.address}'.",
            )
        members = data_sections(payload) if delivery.message_format == BATCH_FORMAT else [payload]
        partition = self._hub.choose(key) if self._partition is None else self._partition
        partition.append(members, key)
        return ACCEPTED
