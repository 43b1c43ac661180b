"""The emulator with what the shop needs of Azure, whose memory outlives its process."""

from __future__ import annotations

import copyreg
import itertools
import pickle
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from example_app.connections import PARTITION_KEY, TOPIC
from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.certificate import make_certificate, server_context

from .stored import Stored

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage
    from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue

DATABASE = "shop"
CONTAINER = "orders"
HUB = "order-events"
QUEUE = "confirmations"
INVOICES = "invoices"

LOCK_SECONDS = 15.0
"""For how long a message is locked, and so how long that of a broken receiver stays away; the worker's attempts get a third."""

_PORTS = ("cosmos", "identity", "entra", "amqp", "eventgrid", "blob")
_NO_PORTS = dict.fromkeys(_PORTS, 0)


def _reduce_count(count: itertools.count[int]) -> tuple[type[itertools.count[int]], tuple[int]]:
    return itertools.count, (next(count),)


# From Python 3.14 on a counter cannot be pickled by itself.
copyreg.pickle(itertools.count, _reduce_count)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a service of Azure does not lose when its machines fail: data, keys and where it is found.

    Attributes:
        ports: Where each service listens.
        private_key: Of the certificate, in PEM.
        certificate: In PEM.
        token_key: What the tokens are signed with.
        continuation_key: What the continuations of queries are sealed with.
        databases: Of Cosmos DB.
        partitions: The state of each of the hub's partitions.
        messages: Those in the queue; what was locked is free again.
        dead_letters: Those in its dead letter queue.
        enqueued: How many messages came into the queue, by their id.
        blob_containers: Of Blob Storage.
        news: The events of the Event Grid topic.
    """

    ports: dict[str, int]
    private_key: bytes
    certificate: str
    token_key: bytes
    continuation_key: bytes
    databases: Any
    partitions: list[dict[str, Any]]
    messages: list[BrokeredMessage]
    dead_letters: list[BrokeredMessage]
    enqueued: Counter[str]
    blob_containers: Any
    news: Any


class Cloud:
    """The shop's Azure.

    Attributes:
        azure: The emulator, not started.

    Args:
        memory: What `remember` of another process gave; None to begin with nothing.
    """

    def __init__(self, memory: Memory | None) -> None:
        ports = _NO_PORTS if memory is None else memory.ports
        self.azure = Emulator(
            tls=True,
            cosmos_port=ports["cosmos"],
            identity_port=ports["identity"],
            entra_port=ports["entra"],
            amqp_port=ports["amqp"],
            eventgrid_port=ports["eventgrid"],
            blob_port=ports["blob"],
        )
        if memory is None:
            self._private_key, certificate = make_certificate()
        else:
            self._private_key, certificate = memory.private_key, memory.certificate
        self.azure._certificate = certificate
        self.azure._tls_context = server_context(self._private_key, certificate)
        self._memory = memory
        self._enqueued: Counter[str] = Counter()

    async def furnish(self) -> None:
        """Make the containers, the hub, the queue and the topic, with what the memory has of them."""
        azure, memory = self.azure, self._memory
        await azure.create_cosmos_container(DATABASE, CONTAINER, partition_key=PARTITION_KEY)
        await azure.create_eventhub(HUB)
        await azure.create_queue(QUEUE, lock_seconds=LOCK_SECONDS)
        await azure.create_blob_container(INVOICES)
        await azure.create_eventgrid_topic(TOPIC)
        if memory is not None:
            self._recall(memory)
        self._queue.wait(_EnqueuedMessages(self._queue, self._enqueued))

    @property
    def _queue(self) -> MessageQueue:
        return self.azure._messaging.service_bus._namespace.find_queue(QUEUE)

    @property
    def _dead_letters(self) -> MessageQueue:
        dead_letters = self._queue.dead_letters
        assert dead_letters is not None
        return dead_letters

    def remember(self) -> bytes:
        """Give everything that is stored now, for the next process; in one step of the event loop it is all of one moment."""
        azure = self.azure
        hub = azure._messaging.event_hubs.find_hub(HUB)
        assert hub is not None
        servers: dict[str, Any] = azure._servers
        memory = Memory(
            ports={name: servers[name].port for name in _PORTS},
            private_key=self._private_key,
            certificate=azure.certificate,
            token_key=azure._tokens._key,
            continuation_key=azure._cosmos._documents._secret,
            databases=azure._account.databases,
            partitions=[vars(partition) for partition in hub.partitions],
            messages=self._queue.messages(),
            dead_letters=self._dead_letters.messages(),
            enqueued=self._enqueued,
            blob_containers=azure._storage.account.containers,
            news=azure._eventgrid.topics[TOPIC].events,
        )
        return pickle.dumps(memory)

    def _recall(self, memory: Memory) -> None:
        azure = self.azure
        azure._tokens._key = memory.token_key
        azure._cosmos._documents._secret = memory.continuation_key
        azure._account.databases = memory.databases
        hub = azure._messaging.event_hubs.find_hub(HUB)
        assert hub is not None
        for partition, state in zip(hub.partitions, memory.partitions, strict=True):
            vars(partition).update(state)
        for message in memory.messages:
            message.lock_token = None
            self._queue.take(message)
        for message in memory.dead_letters:
            self._dead_letters.take_dead(message, message.dead_letter_reason, message.dead_letter_description)
        self._enqueued.update(memory.enqueued)
        azure._storage.account.containers = memory.blob_containers
        azure._eventgrid.topics[TOPIC].events = memory.news

    def look(self) -> Stored:
        """Give what is stored now."""
        azure = self.azure
        messages = azure.queue_messages(QUEUE)
        return Stored(
            orders=self._orders(),
            events=[event.body.decode() for event in azure.received_events(HUB)],
            enqueued=dict(self._enqueued),
            queued=[message.message_id for message in messages if message.state != "dead-lettered"],
            dead=[
                (message.message_id, message.dead_letter_reason or "")
                for message in messages
                if message.state == "dead-lettered"
            ],
            invoices={blob.name: blob.content.decode() for blob in azure.blobs(INVOICES)},
            news=[event.id for event in azure.eventgrid_events(TOPIC)],
        )

    def count_pending(self, mark: str) -> dict[str, int]:
        """Give how many orders have a mark still, and how many messages are in the queue."""
        return {"marked": sum(mark in order for order in self._orders()), "queued": len(self._queue)}

    def _orders(self) -> list[dict[str, Any]]:
        container = self.azure._account.databases[DATABASE].containers[CONTAINER]
        return [item.document for partition in container.items.partitions for item in partition.items.values()]


class _EnqueuedMessages:
    """Counts the messages that come into a queue. It waits there as a receiver does, before all others, and takes none.

    Args:
        queue: Which; what is in it now is not counted.
        counts: Where, by message id.
    """

    def __init__(self, queue: MessageQueue, counts: Counter[str]) -> None:
        self._queue = queue
        self._counts = counts
        self._last = max((message.sequence_number for message in queue.messages()), default=0)

    def serve(self) -> None:
        for message in self._queue.peek(self._last + 1, len(self._queue)):
            self._last = message.sequence_number
            self._counts[str(message.message_id)] += 1
