"""What consumers read from: one partition, for one consumer group."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.node import Node, Refused
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError, Symbol, Timestamp
from fastapi_azure_pool.emulator.eventhub.partition import annotated

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.link import IncomingLink, OutgoingLink
    from fastapi_azure_pool.emulator.eventhub.hub import Hub
    from fastapi_azure_pool.emulator.eventhub.partition import Partition

_FILTER = "apache.org:selector-filter:string"
_SELECTOR = re.compile(r"\s*amqp\.annotation\.(x-opt-[a-z-]+)\s*(>=?)\s*'(@latest|-?\d{1,18})'\s*")
_EPOCH = "com.microsoft:epoch"
_METRIC = "com.microsoft:enable-receiver-runtime-metric"

# The quota of readers that share a partition in one consumer group.
_MAX_SHARED_READERS = 5


class _Reader:
    """One consumer's link and how far it has read."""

    def __init__(self, node: ConsumerNode, link: OutgoingLink, position: int, epoch: int | None) -> None:
        self.link = link
        self.position = position
        self.epoch = epoch
        self.node = node
        self.wants_metrics = _METRIC in (link.attach.desired_capabilities or ())

    def feed(self) -> None:
        """Send what has come since."""
        partition = self.node.partition
        while self.position < len(partition) and self.link.credit > 0:
            event = partition.event(self.position)
            self.position += 1
            try:
                payload = annotated(event, self.node.metrics() if self.wants_metrics else None)
            except AmqpDecodeError:
                continue  # it was taken unread, for speed; there is nothing in it that a consumer could be given
            self.link.send(payload, tag=self.link.session.next_tag(), is_settled=True)


class ConsumerNode(Node):
    """A partition as one consumer group reads it.

    Attributes:
        partition: The partition.
    """

    def __init__(self, address: str, hub: Hub, partition: Partition) -> None:
        super().__init__(address, entity=address, max_message_bytes=hub.max_message_bytes)
        self.partition = partition
        self._readers: dict[OutgoingLink, _Reader] = {}

    def open_outgoing(self, link: OutgoingLink) -> None:
        """Take a consumer, at the position that its filter names; without a filter at the beginning."""
        position = self._position(link.filters.get(_FILTER))
        epoch = link.properties.get(_EPOCH)
        self._make_way(link, epoch if isinstance(epoch, int) else None)
        reader = self._readers[link] = _Reader(self, link, position, epoch if isinstance(epoch, int) else None)
        self.partition.watch(reader.feed)
        link.accept()

    def feed(self, link: OutgoingLink) -> None:
        """Send what there is."""
        self._readers[link].feed()

    def close(self, link: IncomingLink | OutgoingLink) -> None:
        """Forget a consumer."""
        reader = self._readers.pop(link, None)  # type: ignore[arg-type]  # an incoming one was never in it
        if reader is not None:
            self.partition.unwatch(reader.feed)

    def metrics(self) -> dict[Symbol, object]:
        """Return what a consumer that asks for it is told about the partition with every event."""
        last = self.partition.last()
        told: dict[Symbol, object] = {Symbol("runtime_info_retrieval_time_utc"): Timestamp(int(time.time() * 1000))}
        if last is not None:
            told[Symbol("last_enqueued_sequence_number")] = last.sequence_number
            told[Symbol("last_enqueued_offset")] = str(last.offset)
            told[Symbol("last_enqueued_time_utc")] = Timestamp(last.enqueued_at)
        return told

    def _position(self, selector: object) -> int:
        if selector is None:
            return 0
        match = _SELECTOR.fullmatch(selector) if isinstance(selector, str) else None
        if match is not None:
            try:
                return self.partition.position(match[1], match[3], is_inclusive=match[2] == ">=")
            except ValueError:
                pass
        raise Refused("amqp:invalid-field", f"The filter '{selector!s:.200}' is not supported.")

    def _make_way(self, link: OutgoingLink, epoch: int | None) -> None:
        """Let the higher epoch have the partition alone."""
        highest = max((reader.epoch for reader in self._readers.values() if reader.epoch is not None), default=None)
        if highest is not None and (epoch is None or epoch < highest):
            raise Refused(
                "amqp:link:stolen",
                f"Receiver '{link.name}' with epoch '{epoch if epoch is not None else 0}' cannot be created: a receiver "
                f"with a higher epoch of '{highest}' already exists.",
            )
        if epoch is not None:
            for other in list(self._readers):
                other.detach(
                    "amqp:link:stolen",
                    f"New receiver '{link.name}' with higher epoch of '{epoch}' is created hence current receiver "
                    f"'{other.name}' is getting disconnected.",
                )
        elif len(self._readers) >= _MAX_SHARED_READERS:
            raise Refused(
                "amqp:resource-limit-exceeded",
                f"Exceeded the maximum number of allowed receivers per partition in a consumer group which is "
                f"{_MAX_SHARED_READERS}.",
            )
