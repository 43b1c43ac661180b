"""A queue, a subscription or a dead letter queue: where messages wait, are locked, and end."""

from __future__ import annotations

import heapq
import math
import os
from typing import TYPE_CHECKING, Any, Protocol

from fastapi_azure_pool.emulator.due import DueTimes
from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage, MessageState
from fastapi_azure_pool.emulator.servicebus.entity import Entity
from fastapi_azure_pool.emulator.servicebus.errors import ServiceBusError, message_lock_lost, message_not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings

# What the broker itself gives as reasons (Azure: "Overview of Service Bus dead-letter queues").
EXPIRED = "TTLExpiredException"
TOO_MANY_DELIVERIES = "MaxDeliveryCountExceeded"


class Consumer(Protocol):
    """Who waits for messages, or for a session."""

    def serve(self) -> None:
        """Take what there is and is wanted; whoever wants no more stops waiting."""


class MessageQueue(Entity):
    """Messages in the order of their sequence numbers, each active, locked, scheduled or deferred.

    Args:
        address: Its address.
        settings: How it behaves.
        clock: As in Entity.
        wake_by: As in Entity.
        dead_letters: Its dead letter queue; None in a dead letter queue, where messages neither expire nor fail.
    """

    def __init__(
        self,
        address: str,
        settings: EntitySettings,
        clock: Callable[[], float],
        wake_by: Callable[[float], None],
        dead_letters: MessageQueue | None = None,
    ) -> None:
        super().__init__(address, settings, clock, wake_by)
        self.dead_letters = dead_letters
        self._messages: dict[int, BrokeredMessage] = {}
        self._locks: dict[bytes, BrokeredMessage] = {}
        self._ready: list[int] = []
        self._expiries: DueTimes[BrokeredMessage] = DueTimes()
        self._waiting: dict[Consumer, None] = {}

    def __len__(self) -> int:
        return len(self._messages) + len(self._scheduled)

    @property
    def next_due(self) -> float:
        """When something falls due next; infinity for never."""
        return min(super().next_due, self._next_lock_expiry(), self._expiries.next_due)

    # Receiving

    def wait(self, consumer: Consumer) -> None:
        """Have a consumer served when there is something, until it stops waiting; those who wait already come first."""
        self._waiting[consumer] = None

    def stop_waiting(self, consumer: Consumer) -> None:
        """No longer serve a consumer."""
        self._waiting.pop(consumer, None)

    def receive(self, *, deletes: bool = False) -> BrokeredMessage | None:
        """Return the next message, locked, or already deleted if so asked; None when there is none.

        Args:
            deletes: Whether the message is gone with that (RECEIVE_AND_DELETE).
        """
        now = self._let_time_pass()
        return self._take_next(self._ready, now, deletes=deletes)

    def receive_deferred(
        self, sequence_numbers: Sequence[int], session_id: str | None = None, *, deletes: bool = False
    ) -> list[BrokeredMessage]:
        """Return deferred messages by their numbers, all or none, locked, or already deleted if so asked.

        Raises:
            ServiceBusError: One of them is not deferred here, or is received already, or a session's lock is lost.
        """
        now = self._let_time_pass()
        self._require_session_lock(session_id)
        messages = []
        for number in dict.fromkeys(sequence_numbers):
            message = self._messages.get(number)
            if message is not None and message.state is MessageState.DEFERRED and is_expired(message, now):
                self._expire(message)
                message = None
            if (
                message is None
                or message.state is not MessageState.DEFERRED
                or session_id not in {None, message.session_id}
            ):
                raise message_not_found(number)
            messages.append(message)
        for message in messages:
            if deletes:
                self._remove(message)
            else:
                self._lock(message, now)
        return messages

    def peek(self, from_sequence_number: int, count: int, session_id: str | None = None) -> list[BrokeredMessage]:
        """Return messages in whatever state, from a sequence number on, without changing anything."""
        now = self._let_time_pass()
        everything = {**self._messages, **self._scheduled}
        chosen: list[BrokeredMessage] = []
        for number in sorted(number for number in everything if number >= from_sequence_number):
            if len(chosen) >= count:
                break
            message = everything[number]
            if session_id in {None, message.session_id} and not is_expired(message, now):
                chosen.append(message)
        return chosen

    def messages(self) -> list[BrokeredMessage]:
        """Return every message by sequence number, in whatever state."""
        self.tend()
        return sorted(
            (*self._messages.values(), *self._scheduled.values()), key=lambda message: message.sequence_number
        )

    # Settling

    def complete(self, lock_token: bytes) -> None:
        """Remove a message that is done.

        Raises:
            ServiceBusError: The lock is lost; so in each of these.
        """
        self._let_time_pass()
        self._remove(self._unlock(lock_token))

    def abandon(self, lock_token: bytes, properties: dict[str, Any] | None = None, *, has_failed: bool = True) -> None:
        """Give a message back, for the next receiver.

        Args:
            lock_token: Which.
            properties: Application properties to change.
            has_failed: Whether the delivery counts as a failed one; with enough of them the message is dead-lettered.
        """
        now = self._let_time_pass()
        message = self._unlock(lock_token)
        message.change_properties(properties)
        self._give_back(message, now, has_failed=has_failed)
        self._announce()

    def defer(self, lock_token: bytes, properties: dict[str, Any] | None = None) -> None:
        """Put a message aside, to be received by its sequence number only."""
        self._let_time_pass()
        message = self._unlock(lock_token)
        message.change_properties(properties)
        message.delivery_count += 1
        message.is_deferred = True
        message.state = MessageState.DEFERRED

    def dead_letter(
        self,
        lock_token: bytes,
        reason: str | None = None,
        description: str | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Move a message to the dead letter queue; in one, it is given back."""
        self._let_time_pass()
        message = self._unlock(lock_token)
        message.change_properties(properties)
        self._bury(message, reason, description)
        self._announce()

    def renew_lock(self, lock_token: bytes) -> float:
        """Lock a message anew from now on, and return until when."""
        now = self._let_time_pass()
        message = self._locks.pop(lock_token, None)
        if message is None:
            raise self._lock_lost()
        self._hold(message, now)
        self._locks[lock_token] = message
        return message.locked_until

    # From other entities

    def take(self, message: BrokeredMessage) -> None:
        """Store a message that a topic gives to its subscriptions, its time of enqueueing set."""
        self._last_number = message.sequence_number = self._last_number + 1
        self._enqueue(message)
        self._announce()

    def take_dead(self, message: BrokeredMessage, reason: str | None, description: str | None) -> None:
        """Store a message that its queue gives up, under the number that it had there."""
        message.dead_letter_reason = reason
        message.dead_letter_description = description
        message.expires_at = None
        message.is_deferred = False
        self._messages[message.sequence_number] = message
        self._make_ready(message)
        self._announce()

    # What happens inside

    def _let_time_pass(self) -> float:
        now = super()._let_time_pass()
        self._end_expired_locks(now)
        for message in self._expiries.pop_due(now):
            # what is locked expires when it is given back, what is deferred when it is asked for
            if message.state is MessageState.ACTIVE:
                self._expire(message)
        return now

    def _end_expired_locks(self, now: float) -> None:
        while self._locks:
            token, message = next(iter(self._locks.items()))
            if message.locked_until > now:
                return
            self._unlock(token)
            self._give_back(message, now, has_failed=True)

    def _next_lock_expiry(self) -> float:
        # They are in the order of their expiry: all are locked for equally long, and renewing puts one last.
        return next(iter(self._locks.values())).locked_until if self._locks else math.inf

    def _announce(self) -> None:
        for consumer in tuple(self._waiting):
            consumer.serve()

    def _enqueue(self, message: BrokeredMessage) -> None:
        message.expires_at = self._expiry(message)
        self._messages[message.sequence_number] = message
        self._make_ready(message)
        if message.expires_at is not None:
            self._expiries.add(message.expires_at, message)
            self._wake_by(message.expires_at)

    def _expiry(self, message: BrokeredMessage) -> float | None:
        wanted, longest = message.time_to_live, self.settings.default_time_to_live_seconds
        if wanted is None or (longest is not None and longest < wanted):
            wanted = longest
        return None if wanted is None else message.enqueued_time + wanted

    def _make_ready(self, message: BrokeredMessage) -> None:
        message.state = MessageState.ACTIVE
        heapq.heappush(self._ready, message.sequence_number)

    def _take_next(self, ready: list[int], now: float, *, deletes: bool) -> BrokeredMessage | None:
        """Take the first of ready messages."""
        while ready:
            # the numbers of those that have expired meanwhile are still there
            message = self._messages.get(heapq.heappop(ready))
            if message is None:
                continue
            if deletes:
                self._remove(message)
            else:
                self._lock(message, now)
            return message
        return None

    def _remove(self, message: BrokeredMessage) -> None:
        del self._messages[message.sequence_number]
        self._expiries.discard(message)

    def _lock(self, message: BrokeredMessage, now: float) -> None:
        message.lock_token = os.urandom(16)
        message.state = MessageState.LOCKED
        self._locks[message.lock_token] = message
        self._hold(message, now)

    def _hold(self, message: BrokeredMessage, now: float) -> None:
        """Set until when a message is locked."""
        message.locked_until = now + self.settings.lock_seconds
        self._wake_by(message.locked_until)

    def _unlock(self, lock_token: bytes) -> BrokeredMessage:
        message = self._locks.pop(lock_token, None)
        if message is None:
            raise self._lock_lost()
        message.lock_token = None
        return message

    def _lock_lost(self) -> ServiceBusError:
        return message_lock_lost()

    def _require_session_lock(self, session_id: str | None) -> None:
        """Refuse who does not hold the session that is needed here."""

    def _give_back(self, message: BrokeredMessage, now: float, *, has_failed: bool) -> None:
        message.delivery_count += has_failed
        times = self.settings.max_delivery_count
        if has_failed and self.dead_letters is not None and message.delivery_count >= times:
            self._bury(message, TOO_MANY_DELIVERIES, f"Message could not be consumed after {times} delivery attempts.")
        elif message.is_deferred:
            message.state = MessageState.DEFERRED
        elif is_expired(message, now):
            self._expire(message)
        else:
            self._make_ready(message)

    def _expire(self, message: BrokeredMessage) -> None:
        if self.settings.dead_letter_on_expiry:
            self._bury(message, EXPIRED, "The message expired and was dead lettered.")
        else:
            self._remove(message)

    def _bury(self, message: BrokeredMessage, reason: str | None, description: str | None) -> None:
        if self.dead_letters is None:
            self._make_ready(message)
        else:
            self._remove(message)
            self.dead_letters.take_dead(message, reason, description)


def is_expired(message: BrokeredMessage, now: float) -> bool:
    """Whether a message is no longer worth delivering."""
    return message.expires_at is not None and message.expires_at <= now
