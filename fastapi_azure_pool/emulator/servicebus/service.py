"""The emulated Service Bus as the emulator holds it: a namespace on the time of day, and the directory of its nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.servicebus.alarm import Alarm, SteadyClock
from fastapi_azure_pool.emulator.servicebus.namespace import Namespace
from fastapi_azure_pool.emulator.servicebus.nodes import ServiceBusDirectory
from fastapi_azure_pool.emulator.servicebus.wire import describe

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.servicebus.brokered_message import QueuedMessage
    from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings


class ServiceBusService:
    """One namespace. What is stored in it stays when it is stopped; time goes by meanwhile.

    Attributes:
        directory: Finds the nodes of its entities, for the AMQP server.
    """

    def __init__(self) -> None:
        clock = SteadyClock()
        self._alarm = Alarm(clock, self._tend)
        self._namespace = Namespace(clock, self._alarm.wake_by)
        self.directory = ServiceBusDirectory(self._namespace)

    def start(self) -> None:
        """Let time pass on the running event loop: locks expire, scheduled messages are enqueued."""
        self._alarm.start(asyncio.get_running_loop())

    def stop(self) -> None:
        """Leave the event loop alone."""
        self._alarm.stop()

    def create_queue(self, name: str, settings: EntitySettings) -> None:
        """Make a queue.

        Raises:
            ValueError: The name is taken, or none that Azure takes.
        """
        self._namespace.create_queue(name, settings)

    def create_topic(self, name: str, settings: EntitySettings) -> None:
        """Make a topic; ValueError as for a queue."""
        self._namespace.create_topic(name, settings)

    def create_subscription(self, topic: str, name: str, settings: EntitySettings) -> None:
        """Make a subscription; ValueError as for a queue, and when there is no such topic."""
        self._namespace.create_subscription(topic, name, settings)

    def messages(self, address: str) -> list[QueuedMessage]:
        """Return the messages of a queue or subscription, those in its dead letter queue last; nothing is changed.

        Raises:
            ValueError: There is no such queue or subscription.
        """
        queue = self._namespace.find_queue(address)
        if queue.dead_letters is None:
            return [describe(message, is_dead=True) for message in queue.messages()]
        return [
            *(describe(message, is_dead=False) for message in queue.messages()),
            *(describe(message, is_dead=True) for message in queue.dead_letters.messages()),
        ]

    def _tend(self) -> float:
        self._namespace.tend()
        return self._namespace.next_due
