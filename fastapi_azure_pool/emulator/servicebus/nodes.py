"""Queues, topics, subscriptions and dead letter queues as the AMQP server sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT
from fastapi_azure_pool.emulator.amqp.node import ACCEPTED, Directory, Node, Outcome, rejected
from fastapi_azure_pool.emulator.amqp.values import ULong
from fastapi_azure_pool.emulator.servicebus.errors import needs_session_receiver, not_allowed
from fastapi_azure_pool.emulator.servicebus.management import MANAGEMENT_SUFFIX, ManagementNode
from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue
from fastapi_azure_pool.emulator.servicebus.receivers import SESSION_FILTER, PlainReceiver, Receiver, SessionReceiver
from fastapi_azure_pool.emulator.servicebus.session_queue import SessionQueue
from fastapi_azure_pool.emulator.servicebus.topic import Topic
from fastapi_azure_pool.emulator.servicebus.wire import read_delivery

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.link import (
        IncomingDelivery,
        IncomingLink,
        Link,
        OutgoingDelivery,
        OutgoingLink,
    )
    from fastapi_azure_pool.emulator.servicebus.entity import Entity
    from fastapi_azure_pool.emulator.servicebus.namespace import Namespace

# A batch is never larger, not even where single messages may be.
_MAX_BATCH_BYTES = 1024 * 1024


class Inlet:
    """Where messages come into an entity, from any link."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._max_batch_bytes = min(entity.settings.max_message_bytes, _MAX_BATCH_BYTES)

    def open(self, link: IncomingLink) -> None:
        """Take a link on which a client will send."""
        link.accept({"com.microsoft:max-message-batch-size": ULong(self._max_batch_bytes)})

    def receive(self, delivery: IncomingDelivery) -> Outcome:
        """Store a message, or a batch's messages, all or none."""
        size = len(delivery.payload)
        if delivery.message_format == BATCH_FORMAT and size > self._max_batch_bytes:
            return rejected(
                "amqp:link:message-size-exceeded",
                f"The received batch (size:{size} bytes) exceeds the limit ({self._max_batch_bytes} bytes).",
            )
        self._entity.send(read_delivery(delivery.payload, delivery.message_format, self._entity.settings))
        return ACCEPTED


class TopicNode(Node):
    """A topic: clients send to it."""

    def __init__(self, topic: Topic) -> None:
        super().__init__(topic.address, entity=topic.address, max_message_bytes=topic.settings.max_message_bytes)
        self._inlet = Inlet(topic)

    def open_incoming(self, link: IncomingLink) -> None:
        """Take a link on which a client will send."""
        self._inlet.open(link)

    def receive(self, link: IncomingLink, delivery: IncomingDelivery) -> Outcome:  # noqa: ARG002 - all links are alike
        """Give a message, or a batch's messages, to the subscriptions."""
        return self._inlet.receive(delivery)


class QueueNode(Node):
    """A queue, a subscription or a dead letter queue: clients receive from it, and send to a queue.

    Args:
        queue: Which.
        takes_messages: Whether clients may send to it.
    """

    def __init__(self, queue: MessageQueue, *, takes_messages: bool) -> None:
        super().__init__(queue.address, entity=queue.address, max_message_bytes=queue.settings.max_message_bytes)
        self._queue = queue
        self._inlet = Inlet(queue)
        self._takes_messages = takes_messages
        self._receivers: dict[Link, Receiver] = {}

    def open_incoming(self, link: IncomingLink) -> None:
        """Take a link on which a client will send, or refuse it."""
        if not self._takes_messages:
            super().open_incoming(link)
        self._inlet.open(link)

    def receive(self, link: IncomingLink, delivery: IncomingDelivery) -> Outcome:  # noqa: ARG002 - all links are alike
        """Store a message, or a batch's messages, all or none."""
        return self._inlet.receive(delivery)

    def open_outgoing(self, link: OutgoingLink) -> None:
        """Take a link on which a client will receive, from a session where the queue requires that."""
        queue = self._queue
        wants_session = SESSION_FILTER in link.filters
        receiver: Receiver
        if isinstance(queue, SessionQueue):
            if not wants_session:
                raise needs_session_receiver()
            receiver = SessionReceiver(queue, link)
        elif wants_session:
            raise not_allowed(
                "A sessionful message receiver cannot be created on an entity that does not require sessions. Ensure "
                "RequiresSession is set to true when creating a Queue or Subscription to enable sessionful behavior."
            )
        else:
            receiver = PlainReceiver(queue, link)
        self._receivers[link] = receiver
        receiver.open()

    def feed(self, link: OutgoingLink) -> None:
        """Send what there is."""
        self._receivers[link].serve()

    def settle(self, link: OutgoingLink, delivery: OutgoingDelivery, outcome: Outcome) -> Outcome:
        """Do what a client decided about a message."""
        return self._receivers[link].settle(delivery, outcome)

    def close(self, link: Link) -> None:
        """Learn that a link is gone."""
        receiver = self._receivers.pop(link, None)
        if receiver is not None:
            receiver.close()


class ServiceBusDirectory(Directory):
    """Finds the nodes of a namespace's entities."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._nodes: dict[str, Node] = {}

    def find(self, address: str) -> Node | None:
        """Return the node of an entity, or of an entity's management."""
        key = address.lower()
        node = self._nodes.get(key)
        if node is None and (node := self._make(key)) is not None:
            self._nodes[key] = node
        return node

    def has_entity(self, path: str) -> bool:
        """Whether there is such an entity."""
        return self._namespace.find(path.lower().removesuffix(MANAGEMENT_SUFFIX)) is not None

    def _make(self, address: str) -> Node | None:
        if address.endswith(MANAGEMENT_SUFFIX):
            managed = self._namespace.find(address.removesuffix(MANAGEMENT_SUFFIX))
            return None if managed is None else ManagementNode(managed)
        entity = self._namespace.find(address)
        if isinstance(entity, Topic):
            return TopicNode(entity)
        if isinstance(entity, MessageQueue):
            return QueueNode(entity, takes_messages=self._namespace.takes_messages(entity))
        return None
