"""Receivers of Service Bus: each has a connection of its own, and is no part of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.servicebus import ServiceBusReceiveMode, ServiceBusSubQueue

from tests.clients.messaging import pooled, tls_context_of
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from tests.clients.messaging import Queue


async def test_a_topic_and_its_subscription(queue: Queue) -> None:
    """A topic is sent to like a queue, and get_receiver(subscription_name=...) receives from a subscription."""
    async with queue.client(service_bus_queue_name="news") as client:
        await client.send_message("headline")
        await client.send_message("later", delay=60)
        async with client.get_receiver(subscription_name="audit", max_wait_time=5) as receiver:
            (message,) = await receiver.receive_messages()
            assert str(message) == "headline"
            await receiver.complete_message(message)
    assert queue.azure.queue_messages("news/Subscriptions/audit") == []


@pytest.mark.parametrize("kind", ["managed", "basic"])
async def test_a_receiver_locks_and_settles(queue: Queue, kind: str) -> None:
    """A receiver of either client locks what it gets: completed it is gone, abandoned it comes again, dead-lettered it moves."""
    client: Any = queue.client() if kind == "managed" else queue.basic()
    for body in ("done", "again", "bad"):
        await client.open() if kind == "managed" else None
        await client.send_message(body)
    async with client.get_receiver(max_wait_time=5) as receiver:
        done, again, bad = [await anext(receiver) for _ in range(3)]
        assert [message.state for message in queue.azure.queue_messages("work")] == ["locked"] * 3
        await receiver.complete_message(done)
        await receiver.abandon_message(again)
        await receiver.dead_letter_message(bad, reason="spoilt")
        (back,) = await receiver.receive_messages()
        assert (str(back), back.delivery_count) == ("again", 1)
        await receiver.complete_message(back)
    async with client.get_receiver(sub_queue=ServiceBusSubQueue.DEAD_LETTER, max_wait_time=5) as receiver:
        (dead,) = await receiver.receive_messages()
        assert (str(dead), dead.dead_letter_reason) == ("bad", "spoilt")
        await receiver.complete_message(dead)
    assert queue.stored() == []
    await client.close()
    await eventually(lambda: queue.open_connections == 0)


async def test_receivers_are_no_part_of_the_pool(queue: Queue) -> None:
    """Each receiver has a connection of its own, whatever the pool's size, opened when it is entered."""
    async with queue.client(max_size=1) as client:
        one, other = client.get_receiver(), client.get_receiver(receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)
        assert queue.open_connections == 1
        async with one, other:
            assert queue.open_connections == 3
            # Not one of their own each, for which the SDK would read a file, though there is no TLS here.
            contexts = {
                id(tls_context_of(handler)) for handler in (pooled(client).handler, one._handler, other._handler)
            }
            assert len(contexts) == 1
            await client.send_message("only one gets it")
        assert client.pool.ready_connection_count == 1
    await eventually(lambda: queue.open_connections == 0)


async def test_a_receiver_of_a_session(queue: Queue) -> None:
    """get_receiver(session_id=...) receives the messages of one session, in order."""
    await queue.azure.create_queue("sessions", requires_session=True)
    async with queue.client(service_bus_queue_name="sessions") as client:
        for number in range(4):
            await client.send_message(str(number), session_id="odd" if number % 2 else "even")
        async with client.get_receiver(session_id="odd", max_wait_time=5) as receiver:
            bodies = []
            for _ in range(2):
                message = await anext(receiver)
                bodies.append(str(message))
                await receiver.complete_message(message)
    assert bodies == ["1", "3"]
