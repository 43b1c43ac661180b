"""A Service Bus namespace: its queues, topics and subscriptions, and the one time at which any of them must be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue
from fastapi_azure_pool.emulator.servicebus.session_queue import SessionQueue
from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings
from fastapi_azure_pool.emulator.servicebus.topic import SUBSCRIPTIONS, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi_azure_pool.emulator.servicebus.entity import Entity

DEAD_LETTER_SUFFIX = "/$DeadLetterQueue"

_MAX_NAME_LENGTH = 260


class Namespace:
    """Finds entities by address, and lets time pass in all of them.

    Args:
        clock: Gives seconds since 1970, never fewer than before.
        wake_by: Told when ``tend`` is to be called at the latest.
    """

    def __init__(self, clock: Callable[[], float], wake_by: Callable[[float], None]) -> None:
        self._clock = clock
        self._wake_by = wake_by
        self._entities: dict[str, Entity] = {}
        self._open_to_senders: set[Entity] = set()

    def __iter__(self) -> Iterator[Entity]:
        return iter(self._entities.values())

    def create_queue(self, name: str, settings: EntitySettings) -> MessageQueue:
        """Make a queue, with its dead letter queue.

        Raises:
            ValueError: The name is taken, or none that Azure takes.
        """
        queue = self._add_queue(self._free_name(name), settings)
        self._open_to_senders.add(queue)
        return queue

    def create_topic(self, name: str, settings: EntitySettings) -> Topic:
        """Make a topic without subscriptions; ValueError as for a queue."""
        topic = Topic(self._free_name(name), settings, self._clock, self._wake_by)
        self._add(topic)
        return topic

    def create_subscription(self, topic: str, name: str, settings: EntitySettings) -> MessageQueue:
        """Make a subscription that gets all that is sent to its topic from now on.

        Raises:
            ValueError: There is no such topic, or the name is as for a queue.
        """
        owner = self.find(topic)
        if not isinstance(owner, Topic):
            raise ValueError(f"there is no topic {topic!r}: create it first")  # noqa: TRY004 - the name is wrong, not a type
        if "/" in name:
            raise ValueError(f"subscription {name!r} must not contain a slash")
        subscription = self._add_queue(self._free_name(f"{owner.address}{SUBSCRIPTIONS}{name}"), settings)
        owner.subscriptions.append(subscription)
        return subscription

    def find(self, address: str) -> Entity | None:
        """Return what an address such as ``news/Subscriptions/all/$DeadLetterQueue`` names, in whatever case, or None."""
        return self._entities.get(address.lower())

    def find_queue(self, address: str) -> MessageQueue:
        """Return a queue, subscription or dead letter queue.

        Raises:
            ValueError: There is none; the message tells what there is.
        """
        entity = self.find(address)
        if not isinstance(entity, MessageQueue):
            known = ", ".join(entity.address for entity in self if isinstance(entity, MessageQueue)) or "none"
            raise ValueError(f"there is no queue or subscription {address!r}; there are: {known}")  # noqa: TRY004
        return entity

    def takes_messages(self, queue: MessageQueue) -> bool:
        """Whether clients send to a queue: not to a dead letter queue, nor to a subscription."""
        return queue in self._open_to_senders

    def tend(self) -> None:
        """Do what has fallen due in every entity."""
        for entity in list(self._entities.values()):
            entity.tend()

    @property
    def next_due(self) -> float:
        """When something falls due next; infinity for never."""
        return min((entity.next_due for entity in self._entities.values()), default=float("inf"))

    def _free_name(self, name: str) -> str:
        if not name or len(name) > _MAX_NAME_LENGTH or name != name.strip("/") or "$" in name:
            raise ValueError(
                f"name={name!r} must have 1 to {_MAX_NAME_LENGTH} characters, no '$', and no slash at either end"
            )
        if self.find(name) is not None:
            raise ValueError(f"the entity {name!r} is there already")
        return name

    def _add_queue(self, address: str, settings: EntitySettings) -> MessageQueue:
        plain = EntitySettings(lock_seconds=settings.lock_seconds, max_message_bytes=settings.max_message_bytes)
        dead_letters = MessageQueue(address + DEAD_LETTER_SUFFIX, plain, self._clock, self._wake_by)
        kind = SessionQueue if settings.requires_session else MessageQueue
        queue = kind(address, settings, self._clock, self._wake_by, dead_letters)
        self._add(queue)
        self._add(dead_letters)
        return queue

    def _add(self, entity: Entity) -> None:
        self._entities[entity.address.lower()] = entity
