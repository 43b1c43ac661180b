"""The ways to send events, and what may be sent."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.taking_turns import yield_to_others
from fastapi_azure_pool.errors import MessageTooLarge

with extra("eventhub"):
    from azure.eventhub import EventData, EventDataBatch
    from azure.eventhub.amqp import AmqpAnnotatedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

Body: TypeAlias = "bytes | str"
Event: TypeAlias = "EventData | AmqpAnnotatedMessage"
Key: TypeAlias = "tuple[str | None, str | None]"
"""A partition's id and a partition key; at most one of them."""

_PARTITION_KEY = b"x-opt-partition-key"


class SendsEvents(ABC):
    """The ways to send events, alike for one connection and for a pool of them."""

    async def send_event(
        self, event: Body, partition_key: str | None = None, *, partition_id: str | None = None
    ) -> None:
        """Send one event and wait until the service has stored it.

        Events that others send at the same time join it. Those with the same partition key keep their order. A key of its own for
        each event leaves nothing to join: leave it out where order does not matter.

        Args:
            event: Its body.
            partition_key: Events of one key go to one partition, which the service chooses.
            partition_id: Or the partition itself, such as "0".

        Raises:
            TypeError: The body is neither bytes nor text.
            ValueError: Both a key and a partition are given.
            SendError: It was not confirmed; ``maybe_delivered`` says whether it may have been stored.
            PoolError: No connection could be had.
        """
        await self.send_event_data(make_event(event), partition_key, partition_id=partition_id)

    async def send_event_data(
        self, event: Event, partition_key: str | None = None, *, partition_id: str | None = None
    ) -> None:
        """Send one event that is an ``EventData`` already; as `send_event` else."""
        if not isinstance(event, (EventData, AmqpAnnotatedMessage)):
            raise TypeError(
                f"event must be an EventData, not {type(event).__name__}: send_event() takes bytes and text"
            )
        own_key = _own_key(event)
        if own_key and partition_key and own_key != partition_key:
            raise ValueError(
                f"partition_key={partition_key!r} and the event's own {own_key!r} differ: give one of them"
            )
        await self._deliver(event, make_key(partition_id, partition_key or own_key))

    async def send_events_batch(
        self, events_list: Iterable[Body], partition_key: str | None = None, *, partition_id: str | None = None
    ) -> EventDataBatch:
        """Send several events together: all of them are stored, or none.

        Args:
            events_list: Their bodies.
            partition_key: See `send_event`.
            partition_id: See `send_event`.

        Returns:
            The batch that was sent.

        Raises:
            MessageTooLarge: They do not fit into one batch; nothing was sent.
            ValueError: There are none.
            SendError: They were not confirmed.
            PoolError: No connection could be had.
        """
        if isinstance(events_list, (bytes, str)):
            raise TypeError("events_list must be several events: send_event() takes one")
        batch = await self.create_batch(partition_key=partition_key, partition_id=partition_id)
        for count, event in enumerate(events_list, 1):
            made = make_event(event)
            try:
                batch.add(made)
            except ValueError as error:
                check_without_size(made, batch)
                raise MessageTooLarge(
                    f"event {count} does not fit any more into a batch of {batch.max_size_in_bytes} bytes, and nothing was sent:"
                    " send fewer at once, or each with send_event()"
                ) from error
            await yield_to_others(count)
        return await self.send_events_data_batch(batch)

    async def send_events_data_batch(self, event_data_batch: EventDataBatch) -> EventDataBatch:
        """Send a batch that was made already, such as by `create_batch`, as it is; as `send_events_batch` else."""
        if not isinstance(event_data_batch, EventDataBatch):
            raise TypeError(
                f"event_data_batch must be an EventDataBatch, not {type(event_data_batch).__name__}:"
                " send_events_batch() takes a list"
            )
        if not len(event_data_batch):
            raise ValueError("the batch holds no event: add some, or do not send it")
        key = make_key(event_data_batch._partition_id, event_data_batch._partition_key)  # noqa: SLF001 - it has no public name
        await self._deliver(event_data_batch, key, is_whole=True)
        return event_data_batch

    @abstractmethod
    async def create_batch(
        self, *, partition_key: str | None = None, partition_id: str | None = None, max_size_in_bytes: int | None = None
    ) -> EventDataBatch:
        """Make an empty batch as large as the service takes.

        Args:
            partition_key: See `send_event`.
            partition_id: See `send_event`.
            max_size_in_bytes: A lower limit, or None.

        Raises:
            ValueError: ``max_size_in_bytes`` is more than the service takes.
            PoolError: No connection could be had.
        """

    @abstractmethod
    async def _deliver(self, item: Any, key: Key, *, is_whole: bool = False) -> None: ...


def make_event(body: object) -> EventData:
    """Give an event with this body; an event is given as it is.

    Raises:
        TypeError: It is neither bytes nor text.
    """
    if isinstance(body, EventData):
        return body
    if not isinstance(body, (bytes, str)):
        raise TypeError(
            f"an event must be bytes or text, not {type(body).__name__}: json.dumps() makes text of most things"
        )
    return EventData(body)


def check_without_size(event: Event, batch: EventDataBatch) -> None:
    """Find out whether it is the size of an event that keeps it out of a batch: the SDK raises ValueError for other things too.

    Raises:
        ValueError: What is wrong with it besides.
    """
    key = batch._partition_key  # noqa: SLF001 - it has no public name
    EventDataBatch(max_size_in_bytes=sys.maxsize, partition_key=key).add(event)


def _own_key(event: Event) -> str | None:
    """Give the partition key that is in an event already, and write it as the SDK's batches compare it.

    In a received event it is bytes, and in a raw message its name may be a text.
    """
    message = event.raw_amqp_message if isinstance(event, EventData) else event
    annotations: Any = message.annotations
    if not annotations:
        return None
    key = annotations.pop(_PARTITION_KEY.decode(), None) or annotations.get(_PARTITION_KEY)
    if isinstance(key, bytes):
        key = key.decode()
    if key is not None:
        annotations[_PARTITION_KEY] = key
    return None if key is None else str(key)


def make_key(partition_id: object, partition_key: object) -> Key:
    """Give what events are grouped by.

    Raises:
        TypeError: One of them is no text.
        ValueError: Both are given.
    """
    if partition_id is not None and partition_key:
        raise ValueError("give a partition_key or a partition_id, not both: the key chooses a partition by itself")
    if partition_key is not None and not isinstance(partition_key, str):
        raise TypeError(f"partition_key must be a text, not {type(partition_key).__name__}: write str(...)")
    if partition_id is not None and not isinstance(partition_id, str):
        raise TypeError(f"partition_id must be a text such as '0', not {type(partition_id).__name__}")
    return partition_id or None, partition_key or None
