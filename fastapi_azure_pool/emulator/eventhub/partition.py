"""One partition: a log of events, kept as they came and decoded when somebody looks."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.amqp.message import Sections
from fastapi_azure_pool.emulator.amqp.values import Symbol, Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEQUENCE_NUMBER = Symbol("x-opt-sequence-number")
OFFSET = Symbol("x-opt-offset")
ENQUEUED_TIME = Symbol("x-opt-enqueued-time")
PARTITION_KEY = Symbol("x-opt-partition-key")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of the log: its message as it was sent, and what the service noted about it."""

    payload: bytes
    sequence_number: int
    offset: int
    enqueued_at: int  # milliseconds since 1970
    partition_key: str | None


class Partition:
    """An append-only log; what it keeps for a batch it keeps once.

    Attributes:
        id: Its number, as text.
    """

    def __init__(self, partition_id: str) -> None:
        self.id = partition_id
        self._payloads: list[bytes] = []
        # where each event begins in the log, in bytes
        self._offsets = array("q")
        self._end = 0
        # by batch: its first sequence number, when it came, and its key
        self._firsts = array("q")
        self._times = array("q")
        self._keys: list[str | None] = []
        self._watchers: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._payloads)

    def append(self, payloads: Sequence[bytes], partition_key: str | None) -> None:
        """Store a batch, all of it or, by an exception, nothing; then tell the watchers."""
        if not payloads:
            return
        now = int(time.time() * 1000)
        self._firsts.append(len(self._payloads))
        # a log's times never go back, whatever the clock does
        self._times.append(max(now, self._times[-1]) if self._times else now)
        self._keys.append(partition_key)
        *offsets, self._end = accumulate(map(len, payloads), initial=self._end)
        self._offsets.extend(offsets)
        self._payloads.extend(payloads)
        for watcher in tuple(self._watchers):
            watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call it whenever events have come."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers.remove(watcher)

    def event(self, sequence_number: int) -> StoredEvent:
        """Return one event.

        Raises:
            IndexError: It is not there.
        """
        batch = bisect_right(self._firsts, sequence_number) - 1
        return StoredEvent(
            self._payloads[sequence_number],
            sequence_number,
            self._offsets[sequence_number],
            self._times[batch],
            self._keys[batch],
        )

    def last(self) -> StoredEvent | None:
        """Return the latest event."""
        return self.event(len(self) - 1) if self._payloads else None

    def position(self, name: str, bound: str, *, is_inclusive: bool) -> int:
        """Return the sequence number of the first event behind a position.

        Args:
            name: The annotation that the position is about: offset, sequence number or enqueued time.
            bound: Its value; ``"@latest"`` is behind all there is, ``"-1"`` before it.
            is_inclusive: Whether an event at the position is wanted.

        Raises:
            ValueError: The annotation or its value is none.
        """
        if bound == "@latest":
            return len(self)
        value = int(bound)
        if name == SEQUENCE_NUMBER:
            return min(max(value + (not is_inclusive), 0), len(self))
        bisect = bisect_left if is_inclusive else bisect_right
        if name == OFFSET:
            return bisect(self._offsets, value)
        if name == ENQUEUED_TIME:
            batch = bisect(self._times, value)
            return self._firsts[batch] if batch < len(self._firsts) else len(self)
        raise ValueError(f"{name} is no position")


def annotated(event: StoredEvent, delivery_annotations: dict[Any, Any] | None = None) -> bytes:
    """Return an event's message with what the service noted about it.

    Raises:
        AmqpDecodeError: What was sent is no message.
    """
    sections = Sections(event.payload)
    annotations = dict(sections.message_annotations or {})
    annotations[SEQUENCE_NUMBER] = event.sequence_number
    annotations[OFFSET] = str(event.offset)
    annotations[ENQUEUED_TIME] = Timestamp(event.enqueued_at)
    if event.partition_key is not None:
        annotations[PARTITION_KEY] = event.partition_key
    if delivery_annotations is None:
        return sections.encode(message_annotations=annotations)
    return sections.encode(message_annotations=annotations, delivery_annotations=delivery_annotations)
