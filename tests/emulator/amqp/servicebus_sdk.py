"""The official Service Bus SDK, connected to an emulator, opening its links without its pauses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

from azure.servicebus.aio import ServiceBusClient

if TYPE_CHECKING:
    from types import TracebackType

    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver, ServiceBusSender

    from fastapi_azure_pool.emulator import Emulator

HandlerT = TypeVar("HandlerT", "ServiceBusReceiver", "ServiceBusSender")

# Nothing here takes so long; a test that waits in vain says so after it.
PATIENCE = 10.0


class Sdk:
    """Clients of one emulator, each closed at the end.

    Args:
        azure: The emulator.
        **options: What the SDK's client gets; by default it tries nothing again.
    """

    def __init__(self, azure: Emulator, **options: Any) -> None:
        options = {"retry_total": 0} | options
        self.client = ServiceBusClient.from_connection_string(azure.servicebus_connection_string, **options)
        self._handlers: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # at once: a receiver drains its link for half a second
        await asyncio.gather(*(handler.close() for handler in self._handlers))
        await self.client.close()

    async def sender(self, name: str = "orders") -> ServiceBusSender:
        """Open a sender of a queue."""
        return await self._open(self.client.get_queue_sender(name))

    async def topic_sender(self, name: str = "news") -> ServiceBusSender:
        """Open a sender of a topic."""
        return await self._open(self.client.get_topic_sender(name))

    async def receiver(self, name: str = "orders", **options: Any) -> ServiceBusReceiver:
        """Open a receiver of a queue."""
        return await self._open(self.client.get_queue_receiver(name, **options))

    async def subscription_receiver(self, topic: str, name: str, **options: Any) -> ServiceBusReceiver:
        """Open a receiver of a subscription."""
        return await self._open(self.client.get_subscription_receiver(topic, name, **options))

    async def send(self, *messages: Any, to: str = "orders") -> None:
        """Send messages to a queue, one as it is, several as a batch."""
        sender = await self.sender(to)
        await sender.send_messages(messages[0] if len(messages) == 1 else list(messages))

    async def _open(self, opening: HandlerT) -> HandlerT:
        handler: Any = opening  # what is changed here is none of the SDK's public shape
        create = handler._create_handler

        def create_without_pauses(auth: Any) -> None:
            create(auth)
            handler._handler._keep_alive_interval = 0  # the task that beats is waited for at close, for up to a second
            is_ready = handler._handler.client_ready_async

            async def wait_until_ready() -> bool:
                while not await is_ready():  # noqa: ASYNC110 - the SDK sets no event
                    await asyncio.sleep(0)
                return True

            handler._handler.client_ready_async = wait_until_ready

        handler._create_handler = create_without_pauses
        self._handlers.append(handler)
        await opening.__aenter__()
        return opening


async def take(receiver: ServiceBusReceiver, count: int = 1) -> list[ServiceBusReceivedMessage]:
    """Receive so many messages, which must come."""
    messages: list[ServiceBusReceivedMessage] = []
    while len(messages) < count:
        came = await receiver.receive_messages(count - len(messages), max_wait_time=PATIENCE)
        assert came, f"{len(messages)} of {count} messages came"
        messages += came
    return messages


async def take_one(receiver: ServiceBusReceiver) -> ServiceBusReceivedMessage:
    """Receive one message, which must come."""
    (message,) = await take(receiver)
    return message


def body(message: ServiceBusReceivedMessage) -> bytes:
    """Return a received message's body."""
    return b"".join(message.body)
