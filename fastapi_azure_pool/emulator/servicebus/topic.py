"""A topic: what is sent to it goes to each of its subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.servicebus.entity import Entity

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage
    from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue
    from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings

SUBSCRIPTIONS = "/Subscriptions/"


class Topic(Entity):
    """Copies each message to every subscription, without rules; scheduled ones when their time has come.

    Attributes:
        subscriptions: Its subscriptions.
    """

    def __init__(
        self, address: str, settings: EntitySettings, clock: Callable[[], float], wake_by: Callable[[float], None]
    ) -> None:
        super().__init__(address, settings, clock, wake_by)
        self.subscriptions: list[MessageQueue] = []

    def _enqueue(self, message: BrokeredMessage) -> None:
        longest = self.settings.default_time_to_live_seconds
        for subscription in self.subscriptions:
            copy = message.copy()
            copy.enqueued_time = message.enqueued_time
            if longest is not None and (copy.time_to_live is None or longest < copy.time_to_live):
                copy.time_to_live = longest
            subscription.take(copy)
