"""Receiving from the emulator's queues and subscriptions with the official SDK, over sockets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusMessageState,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.exceptions import MessageLockLostError, MessageNotFoundError, ServiceBusError

from fastapi_azure_pool.emulator import Emulator
from tests.emulator.amqp.servicebus_sdk import Sdk, body, take, take_one

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.servicebus import ServiceBusReceivedMessage


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the queue orders."""
    async with Emulator() as azure:
        await azure.create_queue("orders", lock_seconds=30, max_delivery_count=3)
        yield azure


@pytest.fixture
async def sdk(azure: Emulator) -> AsyncIterator[Sdk]:
    """The SDK, connected to it."""
    async with Sdk(azure) as sdk:
        yield sdk


def states(azure: Emulator, address: str = "orders") -> list[tuple[bytes, str, int]]:
    """Return body, state and delivery count of what is in a queue."""
    return [(m.body, m.state, m.delivery_count) for m in azure.queue_messages(address)]


async def test_a_message_arrives_with_all_that_it_carries(sdk: Sdk) -> None:
    """The sender's properties are untouched, and the broker's are those that the SDK shows."""
    before = datetime.now(UTC)
    await sdk.send(
        ServiceBusMessage(
            b"body",
            application_properties={"number": 7, "text": "x"},
            message_id="m1",
            session_id="s1",
            partition_key="s1",
            correlation_id="c1",
            subject="sub",
            reply_to="back",
            to="there",
            content_type="text/plain",
            time_to_live=timedelta(hours=1),
        )
    )
    message = await take_one(await sdk.receiver())
    after = datetime.now(UTC)
    assert body(message) == b"body"
    assert message.application_properties == {b"number": 7, b"text": b"x"}
    assert (message.message_id, message.session_id, message.partition_key) == ("m1", "s1", "s1")
    assert (message.correlation_id, message.subject, message.reply_to, message.to) == ("c1", "sub", "back", "there")
    assert (message.content_type, message.time_to_live) == ("text/plain", timedelta(hours=1))
    assert (message.sequence_number, message.enqueued_sequence_number, message.delivery_count) == (1, 1, 0)
    assert message.state is ServiceBusMessageState.ACTIVE
    assert message.enqueued_time_utc is not None
    assert message.locked_until_utc is not None
    millisecond = timedelta(milliseconds=1)
    assert before - millisecond <= message.enqueued_time_utc <= after + millisecond
    assert (
        timedelta(0) <= message.locked_until_utc - message.enqueued_time_utc - timedelta(seconds=30) <= after - before
    )
    assert message.dead_letter_reason is None


async def test_a_message_without_properties_arrives(sdk: Sdk) -> None:
    """Nothing but a body gets the broker's header and annotations all the same."""
    await sdk.send(ServiceBusMessage("text"))
    message = await take_one(await sdk.receiver())
    assert str(message) == "text"
    assert (message.sequence_number, message.enqueued_sequence_number, message.delivery_count) == (1, 1, 0)
    assert message.enqueued_time_utc is not None
    assert message.locked_until_utc is not None


async def test_completing_removes_a_message(azure: Emulator, sdk: Sdk) -> None:
    """It is locked until then."""
    await sdk.send(ServiceBusMessage(b"a"))
    receiver = await sdk.receiver()
    message = await take_one(receiver)
    assert states(azure) == [(b"a", "locked", 0)]
    await receiver.complete_message(message)
    assert states(azure) == []


async def test_abandoning_gives_a_message_back_and_counts(azure: Emulator, sdk: Sdk) -> None:
    """After the last of three deliveries it is a dead letter."""
    await sdk.send(ServiceBusMessage(b"a"))
    receiver = await sdk.receiver()
    for count in range(3):
        message = await take_one(receiver)
        assert message.delivery_count == count
        await receiver.abandon_message(message)
    assert states(azure) == [(b"a", "dead-lettered", 3)]
    assert azure.queue_messages("orders")[0].dead_letter_reason == "MaxDeliveryCountExceeded"


async def test_a_dead_letter_is_received_from_its_own_queue(azure: Emulator, sdk: Sdk) -> None:
    """It says why it is there, and is completed there."""
    await sdk.send(ServiceBusMessage(b"a", application_properties={"k": "v"}))
    receiver = await sdk.receiver()
    await receiver.dead_letter_message(await take_one(receiver), reason="bad", error_description="no total")
    (dead,) = azure.queue_messages("orders")
    assert (dead.state, dead.dead_letter_reason, dead.dead_letter_description) == ("dead-lettered", "bad", "no total")
    assert azure.queue_messages("orders/$DeadLetterQueue") == [dead]
    graveyard = await sdk.receiver(sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    message = await take_one(graveyard)
    assert (message.dead_letter_reason, message.dead_letter_error_description) == ("bad", "no total")
    assert message.application_properties is not None
    assert message.application_properties[b"k"] == b"v"
    await graveyard.complete_message(message)
    assert states(azure) == []


async def test_a_deferred_message_is_received_by_its_number(azure: Emulator, sdk: Sdk) -> None:
    """It is settled over the management link, abandoned once and completed then."""
    await sdk.send(ServiceBusMessage(b"a"), ServiceBusMessage(b"b"))
    receiver = await sdk.receiver()
    message = await take_one(receiver)
    await receiver.defer_message(message)
    assert states(azure) == [(b"a", "deferred", 1), (b"b", "active", 0)]
    assert message.sequence_number is not None
    (deferred,) = await receiver.receive_deferred_messages(message.sequence_number)
    assert (body(deferred), deferred.state) == (b"a", ServiceBusMessageState.DEFERRED)
    assert deferred.locked_until_utc is not None
    assert states(azure)[0] == (b"a", "locked", 1)
    await receiver.abandon_message(deferred)
    assert states(azure)[0] == (b"a", "deferred", 2)
    (deferred,) = await receiver.receive_deferred_messages([message.sequence_number])
    await receiver.complete_message(deferred)
    assert states(azure) == [(b"b", "active", 0)]
    with pytest.raises(MessageNotFoundError):
        await receiver.receive_deferred_messages(message.sequence_number)


async def test_deferred_messages_are_settled_in_every_way(azure: Emulator, sdk: Sdk) -> None:
    """Dead-lettering with its reason, deferring again, and deleting as they are received."""
    await sdk.send(ServiceBusMessage(b"a"), ServiceBusMessage(b"b"))
    receiver = await sdk.receiver()
    for message in await take(receiver, 2):
        await receiver.defer_message(message)
    first, second = await receiver.receive_deferred_messages([1, 2])
    await receiver.dead_letter_message(first, reason="bad", error_description="no total")
    await receiver.defer_message(second)
    dead = azure.queue_messages("orders")[-1]
    assert (dead.body, dead.dead_letter_reason, dead.dead_letter_description) == (b"a", "bad", "no total")
    assert states(azure)[0] == (b"b", "deferred", 2)
    deleting = await sdk.receiver(receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)
    (last,) = await deleting.receive_deferred_messages(2)
    assert body(last) == b"b"
    assert [state for _, state, _ in states(azure)] == ["dead-lettered"]


async def test_receive_and_delete_leaves_nothing(azure: Emulator, sdk: Sdk) -> None:
    """What was received is gone at once."""
    await sdk.send(ServiceBusMessage(b"a"), ServiceBusMessage(b"b"))
    receiver = await sdk.receiver(receive_mode="receiveanddelete")
    assert [body(m) for m in await take(receiver, 2)] == [b"a", b"b"]
    assert states(azure) == []


async def test_peeking_shows_states_and_changes_nothing(azure: Emulator, sdk: Sdk) -> None:
    """From the last seen number on, or from a given one; an empty rest is an empty list."""
    await sdk.send(ServiceBusMessage(b"deferred"), ServiceBusMessage(b"active"))
    sender = await sdk.sender()
    await sender.schedule_messages(ServiceBusMessage(b"scheduled"), datetime.now(UTC) + timedelta(hours=1))
    receiver = await sdk.receiver()
    await receiver.defer_message(await take_one(receiver))
    before = azure.queue_messages("orders")
    peeked = await receiver.peek_messages(10, sequence_number=1)
    assert [(body(m), m.state, m.sequence_number) for m in peeked] == [
        (b"deferred", ServiceBusMessageState.DEFERRED, 1),
        (b"active", ServiceBusMessageState.ACTIVE, 2),
        (b"scheduled", ServiceBusMessageState.SCHEDULED, 3),
    ]
    assert [m.locked_until_utc for m in peeked] == [None, None, None]
    assert await receiver.peek_messages(10) == []
    assert [body(m) for m in await receiver.peek_messages(1, sequence_number=2)] == [b"active"]
    assert azure.queue_messages("orders") == before


async def test_renewing_lengthens_a_lock(sdk: Sdk) -> None:
    """The new end is the one that the broker tells."""
    await sdk.send(ServiceBusMessage(b"a"))
    receiver = await sdk.receiver()
    message = await take_one(receiver)
    before = message.locked_until_utc
    assert before is not None
    renewed = await receiver.renew_message_lock(message)
    assert before <= renewed <= datetime.now(UTC) + timedelta(seconds=30, milliseconds=1)
    await receiver.complete_message(message)


async def test_an_expired_lock_gives_the_message_to_who_waits(azure: Emulator, sdk: Sdk) -> None:
    """The first receiver learns it from the broker when it settles or renews after that."""
    await azure.create_queue("brief", lock_seconds=0.05)
    await sdk.send(ServiceBusMessage(b"a"), to="brief")
    first, second = await sdk.receiver("brief"), await sdk.receiver("brief")
    message = await take_one(first)
    again = await take_one(second)
    assert (body(again), again.delivery_count) == (b"a", 1)
    with pytest.raises(MessageLockLostError, match="lock supplied is invalid"):
        await first.renew_message_lock(message)
    message._expiry = datetime.now(UTC) + timedelta(hours=1)  # or the SDK would not even ask
    with pytest.raises(MessageLockLostError, match="lock supplied is invalid"):
        await first.complete_message(message)
    assert azure.amqp_requests.count("com.microsoft:renew-lock", "brief") == 1
    assert azure.amqp_requests.count("DISPOSITION", "brief") == 1


async def test_a_receiver_that_waits_gets_what_comes(sdk: Sdk) -> None:
    """A message that is sent later, and one that is scheduled."""
    receiver, sender = await sdk.receiver(), await sdk.sender()
    iterator = receiver.__aiter__()
    await sender.send_messages(ServiceBusMessage(b"now"))
    await sender.schedule_messages(ServiceBusMessage(b"later"), datetime.now(UTC) + timedelta(seconds=0.2))
    assert [body(await anext(iterator)) for _ in range(2)] == [b"now", b"later"]


async def test_a_modified_outcome_changes_properties(azure: Emulator, sdk: Sdk) -> None:
    """Its annotations are application properties, as the other SDKs send them; abandoned so, or deferred."""
    await sdk.send(ServiceBusMessage(b"a", application_properties={"kept": 1}))
    receiver = await sdk.receiver()
    for step, (is_deferred, state) in enumerate(((False, "active"), (True, "deferred"))):
        message = await take_one(receiver)
        await receiver._handler.settle_messages_async(
            message._delivery_id,
            message._delivery_tag,
            "modified",
            undeliverable_here=is_deferred,
            message_annotations={"step": step},
            await_outcome=True,
        )
        (queued,) = azure.queue_messages("orders")
        assert (queued.state, queued.delivery_count) == (state, step + 1)
        assert queued.application_properties == {"kept": 1, "step": step}


async def test_prefetched_messages_go_back_uncounted(sdk: Sdk) -> None:
    """A receiver that closes releases what nobody has taken from its buffer."""
    await sdk.send(*(ServiceBusMessage(b"%d" % number) for number in range(5)))
    receiver = await sdk.receiver(prefetch_count=10)
    message = await take_one(receiver)
    await receiver.complete_message(message)
    await receiver.close()
    rest = await take(await sdk.receiver(), 4)
    assert [(body(m), m.delivery_count) for m in rest] == [(b"%d" % number, 0) for number in range(1, 5)]


async def test_large_messages_take_several_frames_each_way(azure: Emulator, sdk: Sdk) -> None:
    """200,000 bytes arrive as they were sent."""
    payload = bytes(range(250)) * 800
    await sdk.send(ServiceBusMessage(payload))
    assert azure.queue_messages("orders")[0].body == payload
    assert body(await take_one(await sdk.receiver())) == payload


async def test_locks_outlive_their_connections(azure: Emulator) -> None:
    """After a drop the message is still its receiver's, who settles it over another connection."""
    async with Sdk(azure, retry_total=1, retry_backoff_factor=0) as sdk:
        await sdk.send(ServiceBusMessage(b"a"))
        receiver = await sdk.receiver()
        message = await take_one(receiver)
        azure.faults.drop_connections("amqp")
        assert states(azure) == [(b"a", "locked", 0)]
        await receiver.complete_message(message)
    assert states(azure) == []
    assert azure.amqp_requests.count("com.microsoft:update-disposition", "orders") == 1


async def test_a_subscription_is_received_like_a_queue(azure: Emulator, sdk: Sdk) -> None:
    """Each subscription has its own copy and its own dead letters."""
    await azure.create_topic("news")
    await azure.create_subscription("news", "all")
    await azure.create_subscription("news", "few")
    await (await sdk.topic_sender()).send_messages([ServiceBusMessage(b"a"), ServiceBusMessage(b"b")])
    receiver = await sdk.subscription_receiver("news", "all")
    first, second = await take(receiver, 2)
    await receiver.complete_message(first)
    await receiver.dead_letter_message(second, reason="bad")
    assert states(azure, "news/Subscriptions/few") == [(b"a", "active", 0), (b"b", "active", 0)]
    assert states(azure, "news/Subscriptions/all") == [(b"b", "dead-lettered", 0)]
    graveyard = await sdk.subscription_receiver("news", "all", sub_queue="deadletter")
    message: ServiceBusReceivedMessage = await take_one(graveyard)
    assert (body(message), message.dead_letter_reason) == (b"b", "bad")


async def test_what_is_no_queue_gives_no_messages(azure: Emulator, sdk: Sdk) -> None:
    """A topic refuses receivers as Azure does."""
    await azure.create_topic("news")
    with pytest.raises(ServiceBusError, match="gives no messages"):
        await sdk.receiver("news")
