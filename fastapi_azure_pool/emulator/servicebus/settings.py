"""What an entity is created with."""

from __future__ import annotations

from dataclasses import dataclass

# https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas; the lock is five minutes at most.
_MAX_LOCK_SECONDS = 300.0
_MAX_DELIVERY_COUNT = 2000
_LARGEST_MESSAGE = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitySettings:
    """How a queue, topic or subscription behaves.

    Attributes:
        lock_seconds: For how long a message or session is locked, above 0 and at most 300.
        max_delivery_count: After how many failed deliveries a message is dead-lettered, 1 to 2,000.
        max_message_bytes: The largest message or batch, 1 byte to 100 MB.
        requires_session: Whether every message belongs to a session, and is received in it.
        duplicate_detection_seconds: For how long message ids are remembered, above 0; None: not at all.
        dead_letter_on_expiry: Whether a message that expires is dead-lettered rather than dropped.
        default_time_to_live_seconds: The longest that a message lives, above 0; None: as long as its sender says.
        partitioned: Whether the entity is partitioned; with duplicate detection the messages of a batch then need one
            message id.

    Raises:
        ValueError: A value is out of its bounds.
    """

    lock_seconds: float = 60.0
    max_delivery_count: int = 10
    max_message_bytes: int = 262_144
    requires_session: bool = False
    duplicate_detection_seconds: float | None = None
    dead_letter_on_expiry: bool = False
    default_time_to_live_seconds: float | None = None
    partitioned: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.lock_seconds <= _MAX_LOCK_SECONDS:
            raise ValueError(f"lock_seconds={self.lock_seconds} must be above 0 and at most {_MAX_LOCK_SECONDS:g}")
        if not 1 <= self.max_delivery_count <= _MAX_DELIVERY_COUNT:
            raise ValueError(f"max_delivery_count={self.max_delivery_count} must be from 1 to {_MAX_DELIVERY_COUNT}")
        if not 1 <= self.max_message_bytes <= _LARGEST_MESSAGE:
            raise ValueError(f"max_message_bytes={self.max_message_bytes} must be from 1 to {_LARGEST_MESSAGE}")
        for name in ("duplicate_detection_seconds", "default_time_to_live_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name}={seconds} must be above 0, or None")
