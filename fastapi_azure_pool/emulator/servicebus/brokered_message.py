"""One message in the broker, and what may happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime


class MessageState(Enum):
    """ACTIVE <-> LOCKED, SCHEDULED -> ACTIVE, LOCKED -> DEFERRED <-> LOCKED; from each of them a message may be removed."""

    ACTIVE = "active"
    LOCKED = "locked"
    SCHEDULED = "scheduled"
    DEFERRED = "deferred"


class BrokeredMessage:
    """One message: the bytes that were sent, and what the broker knows about it. Times are seconds since 1970, in UTC.

    Attributes:
        payload: The message as it was sent, encoded.
        message_id: What the sender calls it, if anything.
        session_id: The session that it belongs to, if any.
        partition_key: The sender's partition key, if any.
        time_to_live: For how many seconds it is worth delivering, or None for ever.
        scheduled_time: When it is to be enqueued, or None for at once.
        sequence_number: The broker's number for it; a scheduled message gets another one when it is enqueued.
        enqueued_sequence_number: The first of its numbers.
        enqueued_time: When it was enqueued; for a scheduled one, when it will be.
        expires_at: When it is no longer worth delivering, or None.
        state: See MessageState.
        is_deferred: Whether it goes back to being deferred when it is no longer locked.
        delivery_count: How many deliveries of it failed.
        lock_token: The 16 bytes by which its receiver refers to it, while it is locked.
        locked_until: Until when it is locked.
        changed_properties: Application properties that a receiver or the broker has put over the sender's.
        dead_letter_reason: Why it is in a dead letter queue.
        dead_letter_description: The same in more words.
    """

    __slots__ = (
        "changed_properties",
        "dead_letter_description",
        "dead_letter_reason",
        "delivery_count",
        "enqueued_sequence_number",
        "enqueued_time",
        "expires_at",
        "is_deferred",
        "lock_token",
        "locked_until",
        "message_id",
        "partition_key",
        "payload",
        "scheduled_time",
        "sequence_number",
        "session_id",
        "state",
        "time_to_live",
    )

    def __init__(
        self,
        payload: bytes,
        *,
        message_id: object = None,
        session_id: str | None = None,
        partition_key: str | None = None,
        time_to_live: float | None = None,
        scheduled_time: float | None = None,
    ) -> None:
        self.payload = payload
        self.message_id = message_id
        self.session_id = session_id
        self.partition_key = partition_key
        self.time_to_live = time_to_live
        self.scheduled_time = scheduled_time
        self.sequence_number = 0
        self.enqueued_sequence_number = 0
        self.enqueued_time = 0.0
        self.expires_at: float | None = None
        self.state = MessageState.ACTIVE
        self.is_deferred = False
        self.delivery_count = 0
        self.lock_token: bytes | None = None
        self.locked_until = 0.0
        self.changed_properties: dict[str, Any] | None = None
        self.dead_letter_reason: str | None = None
        self.dead_letter_description: str | None = None

    def __repr__(self) -> str:
        return f"<BrokeredMessage {self.sequence_number} {self.state.value}>"

    def copy(self) -> BrokeredMessage:
        """Return the message for another queue, as if it had just been sent."""
        twin = BrokeredMessage(
            self.payload,
            message_id=self.message_id,
            session_id=self.session_id,
            partition_key=self.partition_key,
            time_to_live=self.time_to_live,
            scheduled_time=self.scheduled_time,
        )
        twin.enqueued_sequence_number = self.enqueued_sequence_number
        return twin

    def change_properties(self, properties: dict[str, Any] | None) -> None:
        """Put application properties over those that it has."""
        if properties:
            self.changed_properties = {**(self.changed_properties or {}), **properties}


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in a queue or subscription, for tests to look at.

    Attributes:
        body: The bytes of its data sections; a body that is one str or bytes is given as bytes, too.
        message_id: What the sender calls it.
        session_id: Its session.
        partition_key: Its partition key.
        application_properties: The sender's properties, with those that receivers changed.
        sequence_number: The broker's number for it.
        delivery_count: How many deliveries of it failed.
        state: "active", "locked", "scheduled", "deferred" or "dead-lettered".
        enqueued_time: When it was enqueued; None for a scheduled one.
        scheduled_time: When it is to be enqueued, or was; None for one that was not scheduled.
        dead_letter_reason: Why it is in the dead letter queue.
        dead_letter_description: The same in more words.
    """

    body: bytes
    message_id: Any
    session_id: str | None
    partition_key: str | None
    application_properties: dict[str, Any]
    sequence_number: int
    delivery_count: int
    state: str
    enqueued_time: datetime | None
    scheduled_time: datetime | None
    dead_letter_reason: str | None
    dead_letter_description: str | None
