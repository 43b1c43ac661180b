"""What queues and topics do alike: take messages, know duplicates, enqueue scheduled messages when their time has come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.due import DueTimes
from fastapi_azure_pool.emulator.servicebus.brokered_message import MessageState
from fastapi_azure_pool.emulator.servicebus.errors import message_not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage
    from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings


class DuplicateHistory:
    """Remembers message ids for a while.

    Args:
        window: For how many seconds.
    """

    __slots__ = ("_seen", "_window")

    def __init__(self, window: float) -> None:
        self._window = window
        self._seen: dict[object, float] = {}

    def is_new(self, message_id: object, now: float) -> bool:
        """Remember an id; say whether it was unknown. Its first appearance counts, not the repetitions."""
        seen = self._seen
        while seen:
            oldest = next(iter(seen))
            if seen[oldest] + self._window > now:
                break
            del seen[oldest]
        if message_id in seen:
            return False
        seen[message_id] = now
        return True


class Entity(ABC):
    """A queue or a topic. Nothing in it waits or knows a network: time comes from a clock, and goes by when someone looks.

    Args:
        address: Its address, such as ``orders`` or ``news/Subscriptions/all``.
        settings: How it behaves.
        clock: Gives seconds since 1970, never fewer than before.
        wake_by: Told when the entity wants ``tend`` to be called at the latest.
    """

    def __init__(
        self, address: str, settings: EntitySettings, clock: Callable[[], float], wake_by: Callable[[float], None]
    ) -> None:
        self.address = address
        self.settings = settings
        self._clock = clock
        self._wake_by = wake_by
        self._last_number = 0
        self._scheduled: dict[int, BrokeredMessage] = {}
        self._schedule: DueTimes[BrokeredMessage] = DueTimes()
        window = settings.duplicate_detection_seconds
        self._history = None if window is None else DuplicateHistory(window)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def send(self, messages: Sequence[BrokeredMessage]) -> list[int]:
        """Store messages, all or none; those with a time to come are scheduled.

        Returns:
            Their sequence numbers. A duplicate gets one too, and is not stored.

        Raises:
            ServiceBusError: They cannot be here, such as one without a session id where one is required.
        """
        now = self._let_time_pass()
        self._check(messages)
        history = self._history
        numbers = []
        for message in messages:
            self._last_number = number = self._last_number + 1
            numbers.append(number)
            if history is not None and message.message_id is not None and not history.is_new(message.message_id, now):
                continue
            message.sequence_number = number
            message.enqueued_sequence_number = message.enqueued_sequence_number or number
            if message.scheduled_time is not None and message.scheduled_time > now:
                message.state = MessageState.SCHEDULED
                message.enqueued_time = message.scheduled_time
                self._scheduled[number] = message
                self._schedule.add(message.scheduled_time, message)
                self._wake_by(message.scheduled_time)
            else:
                message.enqueued_time = now
                self._enqueue(message)
        self._announce()
        return numbers

    def cancel_scheduled(self, sequence_numbers: Sequence[int]) -> None:
        """Drop scheduled messages, all or none.

        Raises:
            ServiceBusError: One is not there, or not any longer.
        """
        self._let_time_pass()
        for number in sequence_numbers:
            if number not in self._scheduled:
                raise message_not_found(number)
        for number in sequence_numbers:
            if (message := self._scheduled.pop(number, None)) is not None:
                self._schedule.discard(message)

    def tend(self) -> None:
        """Do what has fallen due."""
        self._let_time_pass()
        self._announce()

    @property
    def next_due(self) -> float:
        """When something falls due next; infinity for never."""
        return self._schedule.next_due

    def _let_time_pass(self) -> float:
        """Do what has fallen due, tell nobody, and return the time."""
        now = self._clock()
        for message in self._schedule.pop_due(now):
            del self._scheduled[message.sequence_number]
            self._last_number = message.sequence_number = self._last_number + 1
            self._enqueue(message)
        return now

    def _check(self, messages: Sequence[BrokeredMessage]) -> None:  # noqa: B027 - most refuse nothing
        """Refuse messages that cannot be here."""

    @abstractmethod
    def _enqueue(self, message: BrokeredMessage) -> None:
        """Make a message available, its number and time of enqueueing set."""

    def _announce(self) -> None:  # noqa: B027 - nobody waits at a topic
        """Tell those who wait for messages."""
