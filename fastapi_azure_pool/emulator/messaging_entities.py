"""What an emulator's owner makes in Event Hubs and Service Bus, and looks at, without a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi_azure_pool.emulator.eventhub.events import ReceivedEvent
    from fastapi_azure_pool.emulator.messaging import Messaging
    from fastapi_azure_pool.emulator.request_log import RequestLog
    from fastapi_azure_pool.emulator.servicebus.brokered_message import QueuedMessage


class MessagingEntities:
    """The part of an Emulator that is about Event Hubs and Service Bus.

    Entities may be made before the start and after. Both services share one namespace: a hub and a queue need two names.
    """

    _messaging: Messaging

    @property
    def amqp_key(self) -> str:
        """The shared access key of Event Hubs and Service Bus, whose name is RootManageSharedAccessKey."""
        return self._messaging.key

    @property
    def amqp_requests(self) -> RequestLog:
        """What Event Hubs and Service Bus were asked so far: by operation (ATTACH, TRANSFER, PUT-TOKEN, ...) and address."""
        return self._messaging.server.requests

    async def create_eventhub(
        self,
        name: str,
        *,
        partitions: int = 4,
        consumer_groups: Sequence[str] = ("$Default",),
        max_message_bytes: int = 1_048_576,
    ) -> None:
        """Make an event hub.

        Args:
            name: Its name.
            partitions: How many partitions it has, 1 to 1,024.
            consumer_groups: Their names; at least one.
            max_message_bytes: The largest event or batch that it takes, at least 1.

        Raises:
            ValueError: The name is taken, or a value is out of its bounds.
        """
        self._messaging.event_hubs.create_hub(
            self._messaging.require_free(name),
            partitions=partitions,
            consumer_groups=consumer_groups,
            max_message_bytes=max_message_bytes,
        )

    async def create_queue(
        self,
        name: str,
        *,
        lock_seconds: float = 60.0,
        max_delivery_count: int = 10,
        max_message_bytes: int = 262_144,
        requires_session: bool = False,
        duplicate_detection_seconds: float | None = None,
        dead_letter_on_expiry: bool = False,
        default_time_to_live_seconds: float | None = None,
        partitioned: bool = False,
    ) -> None:
        """Make a queue, with its dead letter queue.

        Args:
            name: Its name.
            lock_seconds: For how long a received message is locked, above 0 and at most 300.
            max_delivery_count: After how many failed deliveries a message is dead-lettered, 1 to 2,000.
            max_message_bytes: The largest message or batch that it takes, 1 byte to 100 MB.
            requires_session: Whether every message belongs to a session, and is received in it.
            duplicate_detection_seconds: For how long message ids are remembered, above 0; default: not at all.
            dead_letter_on_expiry: Whether a message that expires is dead-lettered rather than dropped.
            default_time_to_live_seconds: The longest that a message lives, above 0; default: as long as its sender says.
            partitioned: Whether it is partitioned, which matters to batches when it also detects duplicates.

        Raises:
            ValueError: The name is taken, or a value is out of its bounds.
        """
        self._messaging.service_bus.create_queue(
            self._messaging.require_free(name),
            EntitySettings(
                lock_seconds=lock_seconds,
                max_delivery_count=max_delivery_count,
                max_message_bytes=max_message_bytes,
                requires_session=requires_session,
                duplicate_detection_seconds=duplicate_detection_seconds,
                dead_letter_on_expiry=dead_letter_on_expiry,
                default_time_to_live_seconds=default_time_to_live_seconds,
                partitioned=partitioned,
            ),
        )

    async def create_topic(
        self,
        name: str,
        *,
        max_message_bytes: int = 262_144,
        duplicate_detection_seconds: float | None = None,
        default_time_to_live_seconds: float | None = None,
        partitioned: bool = False,
    ) -> None:
        """Make a topic, without subscriptions; arguments and errors as for a queue."""
        self._messaging.service_bus.create_topic(
            self._messaging.require_free(name),
            EntitySettings(
                max_message_bytes=max_message_bytes,
                duplicate_detection_seconds=duplicate_detection_seconds,
                default_time_to_live_seconds=default_time_to_live_seconds,
                partitioned=partitioned,
            ),
        )

    async def create_subscription(
        self,
        topic: str,
        name: str,
        *,
        lock_seconds: float = 60.0,
        max_delivery_count: int = 10,
        requires_session: bool = False,
        dead_letter_on_expiry: bool = False,
        default_time_to_live_seconds: float | None = None,
    ) -> None:
        """Make a subscription, which gets all that is sent to its topic from now on.

        Args:
            topic: The topic's name.
            name: The subscription's.
            lock_seconds: As for a queue, as all that follow.
            max_delivery_count: See above.
            requires_session: See above.
            dead_letter_on_expiry: See above.
            default_time_to_live_seconds: See above.

        Raises:
            ValueError: There is no such topic, or as for a queue.
        """
        self._messaging.service_bus.create_subscription(
            topic,
            name,
            EntitySettings(
                lock_seconds=lock_seconds,
                max_delivery_count=max_delivery_count,
                requires_session=requires_session,
                dead_letter_on_expiry=dead_letter_on_expiry,
                default_time_to_live_seconds=default_time_to_live_seconds,
            ),
        )

    def received_events(self, name: str) -> list[ReceivedEvent]:
        """Return what an event hub has stored, by partition and in order.

        Raises:
            ValueError: There is no such hub.
        """
        return self._messaging.event_hubs.received_events(name)

    def queue_messages(self, address: str) -> list[QueuedMessage]:
        """Return what a queue, or ``"topic/Subscriptions/name"``, holds, dead letters last; nothing is changed by it.

        Raises:
            ValueError: There is no such queue or subscription.
        """
        return self._messaging.service_bus.messages(address)
