"""Receivers of one's own, by the official SDK against the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.servicebus import ServiceBusReceiveMode, ServiceBusSubQueue

from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from tests.clients.messaging import Queue


async def test_a_topic_takes_messages_for_its_subscriptions(queue: Queue) -> None:
    """A sender's entity may be a topic, and a receiver names the subscription."""
    async with queue.client(service_bus_queue_name="news") as news:
        await news.send_message("extra")
        async with news.get_receiver(subscription_name="audit") as receiver:
            (message,) = await receiver.receive_messages(max_wait_time=5)
            assert str(message) == "extra"
            await receiver.complete_message(message)
    assert queue.azure.queue_messages("news/Subscriptions/audit") == []


async def test_a_receiver_is_its_caller_s_own(queue: Queue) -> None:
    """Each receiver is the SDK's own, with its own connection, and the pool knows nothing of it."""
    async with queue.client() as client:
        for number in range(2):
            await client.send_message(f"{number}")
        async with client.get_receiver() as one, client.get_receiver(max_wait_time=1) as other:
            assert one is not other
            assert queue.open_connections == 3
            assert client.pool.ready_connection_count == 1
            (first,) = await one.receive_messages(max_message_count=1, max_wait_time=5)
            (second,) = await other.receive_messages(max_message_count=1, max_wait_time=5)
            await one.complete_message(first)
            await other.dead_letter_message(second, reason="bad", error_description="worse")
        async with client.get_receiver(
            sub_queue=ServiceBusSubQueue.DEAD_LETTER, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE
        ) as dead:
            (letter,) = await dead.receive_messages(max_wait_time=5)
            assert letter.dead_letter_reason == "bad"
    await eventually(lambda: queue.open_connections == 0)


async def test_a_receiver_of_the_basic_client(queue: Queue) -> None:
    """The basic client receives what it has sent."""
    basic = queue.basic()
    await basic.send_message("one")
    async with basic.get_receiver() as receiver:
        (message,) = await receiver.receive_messages(max_wait_time=5)
        await receiver.complete_message(message)
    await basic.close()
    assert queue.stored() == []
