"""Queues that take messages and keep them: enough to send to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, data_sections
from fastapi_azure_pool.emulator.amqp.node import ACCEPTED, Directory, Node, Outcome

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.link import IncomingDelivery, IncomingLink


class StoredQueue(Node):
    """A queue that only grows."""

    def __init__(self, name: str, max_message_bytes: int) -> None:
        super().__init__(name, entity=name, max_message_bytes=max_message_bytes)
        self.messages: list[bytes] = []

    def open_incoming(self, link: IncomingLink) -> None:
        """Take a sender."""
        link.accept()

    def receive(self, link: IncomingLink, delivery: IncomingDelivery) -> Outcome:  # noqa: ARG002 - see Node
        """Keep a message or a batch."""
        is_batch = delivery.message_format == BATCH_FORMAT
        self.messages += data_sections(delivery.payload) if is_batch else [delivery.payload]
        return ACCEPTED


class StoredQueues(Directory):
    """All such queues."""

    def __init__(self) -> None:
        self._queues: dict[str, StoredQueue] = {}

    def create(self, name: str, max_message_bytes: int) -> None:
        """Make a queue."""
        self._queues[name.lower()] = StoredQueue(name, max_message_bytes)

    def find(self, address: str) -> Node | None:
        """Return a queue."""
        return self._queues.get(address.lower())

    def has_entity(self, path: str) -> bool:
        """Whether there is a queue."""
        return path.lower() in self._queues
