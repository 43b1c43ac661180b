"""Sending to the emulator's queues and topics with the official SDK, over sockets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import MessageNotFoundError, MessageSizeExceededError, ServiceBusError

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.servicebus.brokered_message import QueuedMessage
from tests.emulator.amqp.servicebus_sdk import Sdk, body, take_one

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


MIXED = "Batching brokered messages with distinct SessionId, PartitionKey, or MessageId is not supported"


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the queue orders."""
    async with Emulator() as azure:
        await azure.create_queue("orders")
        yield azure


@pytest.fixture
async def sdk(azure: Emulator) -> AsyncIterator[Sdk]:
    """The SDK, connected to it."""
    async with Sdk(azure) as sdk:
        yield sdk


def bodies(azure: Emulator, address: str = "orders") -> list[bytes]:
    """Return the bodies of what is in a queue."""
    return [message.body for message in azure.queue_messages(address)]


async def test_a_sent_message_can_be_looked_at(azure: Emulator, sdk: Sdk) -> None:
    """What the sender said is there, and what the broker added."""
    before = datetime.now(UTC)
    await sdk.send(
        ServiceBusMessage(
            b"body", message_id="m", session_id="s", partition_key="s", application_properties={"n": 1, "t": "x"}
        )
    )
    (message,) = azure.queue_messages("orders")
    assert message.enqueued_time is not None
    assert abs(message.enqueued_time - before) < timedelta(seconds=10)
    assert message == QueuedMessage(
        body=b"body",
        message_id="m",
        session_id="s",
        partition_key="s",
        application_properties={"n": 1, "t": "x"},
        sequence_number=1,
        delivery_count=0,
        state="active",
        enqueued_time=message.enqueued_time,
        scheduled_time=None,
        dead_letter_reason=None,
        dead_letter_description=None,
    )


async def test_a_batch_is_stored_message_by_message(azure: Emulator, sdk: Sdk) -> None:
    """Each with its own id and properties, in order, by one transfer."""
    await sdk.send(
        *(ServiceBusMessage(b"%d" % n, message_id=f"m{n}", application_properties={"n": n}) for n in range(3))
    )
    assert [
        (m.body, m.message_id, m.application_properties, m.sequence_number) for m in azure.queue_messages("orders")
    ] == [
        (b"0", "m0", {"n": 0}, 1),
        (b"1", "m1", {"n": 1}, 2),
        (b"2", "m2", {"n": 2}, 3),
    ]
    assert azure.amqp_requests.count("TRANSFER", "orders") == 1


async def test_a_batch_of_one_session_is_taken(azure: Emulator, sdk: Sdk) -> None:
    """So is one of one partition key; the envelope says the same as the members."""
    await sdk.send(*(ServiceBusMessage(b"s", session_id="a") for _ in range(2)))
    await sdk.send(*(ServiceBusMessage(b"p", partition_key="b") for _ in range(2)))
    assert [(m.session_id, m.partition_key) for m in azure.queue_messages("orders")] == [
        ("a", None),
        ("a", None),
        (None, "b"),
        (None, "b"),
    ]


@pytest.mark.parametrize(
    "batch",
    [
        [{"session_id": "a"}, {"session_id": "b"}],
        [{"session_id": "a"}, {}],
        [{"partition_key": "a"}, {"partition_key": "b"}],
        [{}, {"partition_key": "b"}],
    ],
)
async def test_a_mixed_batch_is_refused(azure: Emulator, sdk: Sdk, batch: list[dict[str, str]]) -> None:
    """Distinct sessions or partition keys, or some messages without: nothing of it is stored."""
    with pytest.raises(ServiceBusError, match=MIXED):
        await sdk.send(
            *(
                ServiceBusMessage(b"x", session_id=m.get("session_id"), partition_key=m.get("partition_key"))
                for m in batch
            )
        )
    assert bodies(azure) == []


async def test_message_ids_count_where_partitions_know_duplicates(azure: Emulator, sdk: Sdk) -> None:
    """Distinct ids in one batch are refused there, unless a partition key decides; elsewhere they are nothing special."""
    await azure.create_queue("both", partitioned=True, duplicate_detection_seconds=60)
    await azure.create_queue("partitioned", partitioned=True)
    two = [ServiceBusMessage(b"x", message_id="1"), ServiceBusMessage(b"x", message_id="2")]
    with pytest.raises(ServiceBusError, match=f"{MIXED} .* partitioning and duplicate detection"):
        await sdk.send(*two, to="both")
    assert bodies(azure, "both") == []
    await sdk.send(*(ServiceBusMessage(b"k", message_id=str(n), partition_key="p") for n in range(2)), to="both")
    assert bodies(azure, "both") == [b"k", b"k"]
    await sdk.send(*two, to="partitioned")
    assert bodies(azure, "partitioned") == [b"x", b"x"]


async def test_duplicates_are_accepted_and_dropped(azure: Emulator, sdk: Sdk) -> None:
    """The sender cannot tell, and the queue has the first only."""
    await azure.create_queue("once", duplicate_detection_seconds=60)
    for number in range(2):
        await sdk.send(ServiceBusMessage(b"%d" % number, message_id="same"), to="once")
    assert bodies(azure, "once") == [b"0"]


async def test_scheduled_messages_are_numbered_seen_and_cancelled(azure: Emulator, sdk: Sdk) -> None:
    """The numbers are those by which they can be cancelled, once."""
    sender = await sdk.sender()
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    numbers = await sender.schedule_messages([ServiceBusMessage(b"a"), ServiceBusMessage(b"b")], due)
    assert numbers == [1, 2]
    assert [(m.body, m.state, m.enqueued_time, m.scheduled_time) for m in azure.queue_messages("orders")] == [
        (b"a", "scheduled", None, due),
        (b"b", "scheduled", None, due),
    ]
    await sender.cancel_scheduled_messages(numbers[0])
    assert bodies(azure) == [b"b"]
    with pytest.raises(MessageNotFoundError):
        await sender.cancel_scheduled_messages(numbers)
    assert bodies(azure) == [b"b"]
    assert azure.amqp_requests.count("com.microsoft:schedule-message", "orders") == 1


async def test_a_scheduled_message_comes_when_it_is_due(sdk: Sdk) -> None:
    """Whether the time came with the message or with the request."""
    sender, receiver = await sdk.sender(), await sdk.receiver()
    due = datetime.now(UTC) + timedelta(seconds=0.1)
    await sender.schedule_messages(ServiceBusMessage(b"request"), due)
    await sender.send_messages(ServiceBusMessage(b"message", scheduled_enqueue_time_utc=due + timedelta(seconds=0.1)))
    for expected, number in ((b"request", 3), (b"message", 4)):
        message = await take_one(receiver)
        assert (body(message), message.sequence_number) == (expected, number)
        assert message.enqueued_time_utc is not None
        assert message.enqueued_time_utc >= due - timedelta(milliseconds=1)
        await receiver.complete_message(message)


async def test_a_message_that_is_too_large_is_refused(azure: Emulator, sdk: Sdk) -> None:
    """The limit is the queue's, and the SDK knows it from the link."""
    await azure.create_queue("small", max_message_bytes=1000)
    sender = await sdk.sender("small")
    batch = await sender.create_message_batch()
    assert batch.max_size_in_bytes == 1000
    with pytest.raises(MessageSizeExceededError):
        batch.add_message(ServiceBusMessage(b"x" * 1000))
    with pytest.raises(ServiceBusError):
        await sender.send_messages(ServiceBusMessage(b"x" * 1000))
    with pytest.raises(ServiceBusError, match="exceeds the limit"):
        await sender.schedule_messages(ServiceBusMessage(b"x" * 1000), datetime.now(UTC) + timedelta(hours=1))
    assert bodies(azure, "small") == []
    await sender.send_messages(ServiceBusMessage(b"x" * 500))
    assert bodies(azure, "small") == [b"x" * 500]


async def test_a_batch_is_bounded_where_messages_are_larger(azure: Emulator, sdk: Sdk) -> None:
    """Where single messages may have 4 MB, a batch has 1 MB at most."""
    await azure.create_queue("large", max_message_bytes=4_000_000)
    sender = await sdk.sender("large")
    assert (await sender.create_message_batch()).max_size_in_bytes == 1024 * 1024
    await sender.send_messages(ServiceBusMessage(b"x" * 3_000_000))
    assert [len(message) for message in bodies(azure, "large")] == [3_000_000]


async def test_messages_without_a_session_are_refused_where_one_is_needed(azure: Emulator, sdk: Sdk) -> None:
    """Nothing is stored, neither by a send nor by a request."""
    await azure.create_queue("sessions", requires_session=True)
    sender = await sdk.sender("sessions")
    with pytest.raises(ServiceBusError, match="SessionId was not set"):
        await sender.send_messages(ServiceBusMessage(b"x"))
    with pytest.raises(ServiceBusError, match="SessionId was not set"):
        await sender.schedule_messages(ServiceBusMessage(b"x"), datetime.now(UTC) + timedelta(hours=1))
    assert bodies(azure, "sessions") == []


@pytest.mark.parametrize("address", ["orders/$DeadLetterQueue", "news/Subscriptions/all"])
async def test_dead_letter_queues_and_subscriptions_take_nothing(azure: Emulator, sdk: Sdk, address: str) -> None:
    """Only the broker puts messages there."""
    await azure.create_topic("news")
    await azure.create_subscription("news", "all")
    with pytest.raises(ServiceBusError, match="does not take messages"):
        await sdk.sender(address)


async def test_expired_messages_go_where_they_are_asked_to(azure: Emulator, sdk: Sdk) -> None:
    """A time to live of a second is over for a receiver that waits for the dead letter."""
    await azure.create_queue("strict", dead_letter_on_expiry=True, default_time_to_live_seconds=0.05)
    await sdk.send(ServiceBusMessage(b"old", time_to_live=timedelta(seconds=100)), to="strict")
    graveyard = await sdk.receiver("strict", sub_queue="deadletter")
    message = await take_one(graveyard)
    assert (body(message), message.dead_letter_reason) == (b"old", "TTLExpiredException")


async def test_a_topic_takes_what_a_queue_takes(azure: Emulator, sdk: Sdk) -> None:
    """Messages, batches, and scheduled ones until they are cancelled; subscriptions see those at their time."""
    await azure.create_topic("news")
    await azure.create_subscription("news", "all")
    sender = await sdk.topic_sender()
    await sender.send_messages(ServiceBusMessage(b"a"))
    await sender.send_messages([ServiceBusMessage(b"b"), ServiceBusMessage(b"c")])
    (number,) = await sender.schedule_messages(ServiceBusMessage(b"never"), datetime.now(UTC) + timedelta(hours=1))
    await sender.cancel_scheduled_messages(number)
    await sender.schedule_messages(ServiceBusMessage(b"d"), datetime.now(UTC))
    assert bodies(azure, "news/Subscriptions/all") == [b"a", b"b", b"c", b"d"]


async def test_what_is_stored_outlives_a_stop(azure: Emulator, sdk: Sdk) -> None:
    """Messages are there after a restart, and what fell due meanwhile is done."""
    await sdk.send(ServiceBusMessage(b"a"))
    sender = await sdk.sender()
    await sender.schedule_messages(ServiceBusMessage(b"b"), datetime.now(UTC) + timedelta(seconds=0.05))
    await azure.stop()
    await azure.start()
    async with Sdk(azure) as again:
        receiver = await again.receiver()
        assert [body(await take_one(receiver)) for _ in range(2)] == [b"a", b"b"]
