"""Service Bus through the official SDK and the emulator: opening, the ways to send, joining, scheduling, and receivers."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusMessageBatch,
)
from azure.servicebus.amqp import AmqpAnnotatedMessage
from azure.servicebus.exceptions import MessageSizeExceededError, ServiceBusError

from fastapi_azure_pool import MessageTooLarge, SendRejected
from fastapi_azure_pool.clients.servicebus import PooledServiceBusSender
from fastapi_azure_pool.emulator.amqp.link import IncomingLink
from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi_azure_pool.clients.message_sending import SendsMessages
    from tests.clients.messaging import Queue


@pytest.fixture(params=["managed", "pooled", "basic"])
async def sender(queue: Queue, request: pytest.FixtureRequest) -> AsyncIterator[SendsMessages]:
    """Each of the three that send messages."""
    if request.param == "basic":
        basic = queue.basic()
        yield basic
        await basic.close()
        return
    async with queue.client() as client:
        if request.param == "managed":
            yield client
            return
        async with client.get() as connection:
            yield connection


@pytest.fixture
def formats(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The message formats of what reaches the queue, as the service reads them."""
    seen: list[int] = []
    take = IncomingLink.take

    def look(link: IncomingLink, transfer: Any, payload: bytes) -> None:
        if link.address == "work":
            seen.append(transfer.message_format or 0)
        take(link, transfer, payload)

    monkeypatch.setattr(IncomingLink, "take", look)
    return seen


async def send_batch(sender: SendsMessages) -> None:
    """Fill a batch by hand, and send it."""
    batch = await sender.create_message_batch()
    batch.add_message(ServiceBusMessage(b"one"))
    batch.add_message(AmqpAnnotatedMessage(data_body=b"two"))
    await sender.send_messages(batch)


LIST: list[Any] = [ServiceBusMessage("one"), {"body": b"two"}, AmqpAnnotatedMessage(data_body=b"three")]
WAYS: dict[str, tuple[Callable[[SendsMessages], Awaitable[Any]], list[bytes], bool]] = {
    "bytes": (lambda sender: sender.send_message(b"\x00\xff"), [b"\x00\xff"], False),
    "text": (lambda sender: sender.send_message("grün"), ["grün".encode()], False),
    "nothing in it": (lambda sender: sender.send_message(b""), [b""], False),
    "a message": (lambda sender: sender.send_messages(ServiceBusMessage("one")), [b"one"], False),
    "a raw message": (
        lambda sender: sender.send_messages(AmqpAnnotatedMessage(data_body=b"one")),
        [b"one"],
        False,
    ),
    "a mapping": (lambda sender: sender.send_messages({"body": "one", "subject": "s"}), [b"one"], False),
    "a list": (lambda sender: sender.send_messages(LIST), [b"one", b"two", b"three"], True),
    "a generator": (
        lambda sender: sender.send_messages(ServiceBusMessage(body) for body in ("one", "two")),
        [b"one", b"two"],
        True,
    ),
    "a batch": (send_batch, [b"one", b"two"], True),
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_send(queue: Queue, sender: SendsMessages, formats: list[int], way: str) -> None:
    """Whatever is sent, by whatever sends it, is stored as one transfer, a message alone as a plain one, several as a batch."""
    send, bodies, is_batch = WAYS[way]
    await send(sender)
    assert (queue.stored(), queue.transfers) == (bodies, 1)
    assert formats == [BATCH_FORMAT if is_batch else 0]


async def test_nothing_to_send_sends_nothing(queue: Queue, sender: SendsMessages) -> None:
    """An empty list and an empty batch are sent in no time, as by the SDK."""
    await sender.send_messages([])
    await sender.send_messages(await sender.create_message_batch())
    assert queue.transfers == 0


async def test_a_message_keeps_all_that_is_in_it(queue: Queue) -> None:
    """The arguments of a ServiceBusMessage arrive, alone and joined."""
    async with queue.client() as client, client.get_receiver() as receiver:
        for _ in range(3):  # The first goes alone, the others together.
            await asyncio.gather(
                *(
                    client.send_message(
                        b"{}",
                        unique_msg_id=f"id-{number}",
                        session_id="s",
                        subject="order",
                        application_properties={"size": 3},
                        content_type="application/json",
                        time_to_live=dt.timedelta(minutes=5),
                    )
                    for number in range(3)
                )
            )
        received = await receiver.receive_messages(max_message_count=9, max_wait_time=5)
        while len(received) < 9:
            received += await receiver.receive_messages(max_message_count=9, max_wait_time=5)
    assert sorted(str(message.message_id) for message in received) == sorted(f"id-{n % 3}" for n in range(9))
    for message in received:
        assert (message.session_id, message.subject, message.content_type) == ("s", "order", "application/json")
        assert (message.application_properties, message.time_to_live) == ({b"size": 3}, dt.timedelta(minutes=5))


# Opening -----------------------------------------------------------------------------------------------------------------------


async def test_opening_attaches_the_link_and_sends_nothing(queue: Queue) -> None:
    """A connection is ready when its send link is attached: one connection, one link, no transfer, nothing stored."""
    async with queue.client() as client:
        assert (client.service, client.pool.ready_connection_count) == ("servicebus", 1)
        assert (queue.count("OPEN"), queue.count("ATTACH", "work"), queue.transfers) == (1, 1, 0)
        assert queue.stored() == []
    await eventually(lambda: queue.open_connections == 0)


async def test_the_first_message_needs_one_transfer_and_nothing_else(queue: Queue) -> None:
    """A warm connection sends its first message as one request."""
    async with queue.client() as client:
        queue.azure.amqp_requests.clear()
        await client.send_message("one")
        assert (queue.transfers, queue.azure.amqp_requests.total) == (1, 1)


async def test_what_a_checkout_gives_is_shared(queue: Queue) -> None:
    """Several callers get the same sender, and may use it at once."""
    async with queue.client() as client, client.get() as one, client.get() as other:
        assert isinstance(one, PooledServiceBusSender)
        assert one is other
        await asyncio.gather(*(one.send_message(str(number)) for number in range(10)))
    assert len(queue.stored()) == 10


# Joining and sizes -------------------------------------------------------------------------------------------------------------


async def test_a_thousand_messages_need_few_transfers(queue: Queue, formats: list[int]) -> None:
    """A thousand sends at once are joined into a few transfers, each stored once; the first finds the way free and goes alone."""
    async with queue.client(max_size=1) as client:
        await asyncio.gather(*(client.send_message(str(number)) for number in range(1_000)))
        assert queue.transfers <= 25
    assert sorted(queue.stored(), key=int) == [str(number).encode() for number in range(1_000)]
    assert set(formats[1:-1]) == {BATCH_FORMAT}


async def test_joining_may_be_turned_off(queue: Queue, formats: list[int]) -> None:
    """With coalesce=False each message is a plain transfer of its own, over the same connection."""
    async with queue.client(coalesce=False, max_size=1) as client:
        await asyncio.gather(*(client.send_message(str(number)) for number in range(50)))
        assert (queue.transfers, queue.count("OPEN")) == (50, 1)
    assert queue.stored() == [str(number).encode() for number in range(50)]
    assert set(formats) == {0}


async def test_messages_of_a_session_keep_their_order_and_are_joined_with_no_other_s(queue: Queue) -> None:
    """Callers of one session who send one after the other find their messages stored in that order, each in its session."""

    async def caller(session_id: str) -> None:
        for number in range(10):
            await client.send_message(f"{session_id} {number}", session_id=session_id)

    async with queue.client() as client:
        await asyncio.gather(*(caller(f"s{number}") for number in range(16)))
    stored = queue.azure.queue_messages("work")
    for session_id in (f"s{number}" for number in range(16)):
        mine = [message.body for message in stored if message.session_id == session_id]
        assert mine == [f"{session_id} {number}".encode() for number in range(10)]


async def test_sessions_and_partition_keys_make_groups_of_their_own(queue: Queue) -> None:
    """Messages with and without a session, and with a partition key, given in whatever way, go out in different batches."""
    annotated = AmqpAnnotatedMessage(data_body=b"raw", properties={"group_id": "s"})
    annotations: Any = {b"x-opt-partition-key": "k"}
    keyed = AmqpAnnotatedMessage(data_body=b"raw key", annotations=annotations)
    async with queue.client(max_size=1) as client:
        await asyncio.gather(
            *(client.send_message("plain") for _ in range(3)),
            *(client.send_message("session", session_id="s") for _ in range(3)),
            *(client.send_message("key", partition_key="k") for _ in range(3)),
            client.send_messages(annotated),
            client.send_messages(keyed),
        )
        assert queue.transfers == 3
    groups = {
        (message.body, message.session_id, message.partition_key) for message in queue.azure.queue_messages("work")
    }
    assert {(session, key) for _, session, key in groups} == {(None, None), ("s", None), (None, "k")}


async def test_a_message_too_large_for_a_batch_goes_alone(queue: Queue, formats: list[int]) -> None:
    """A message that the link takes but no batch does leaves by itself, as a plain one, between batches of its neighbours."""
    await queue.azure.create_queue("large", max_message_bytes=4_000_000)
    large = b"x" * 2_000_000
    async with queue.client(service_bus_queue_name="large", max_size=1) as client:
        sends = [client.send_message(str(number)) for number in range(10)]
        sends.insert(5, client.send_message(large))
        await asyncio.gather(*sends)
        with pytest.raises(MessageTooLarge):
            await client.send_messages([ServiceBusMessage(large)])
    stored = [message.body for message in queue.azure.queue_messages("large")]
    assert stored == [*(str(n).encode() for n in range(5)), large, *(str(n).encode() for n in range(5, 10))]


async def test_a_message_too_large_for_the_link_fails_alone(queue: Queue) -> None:
    """A message that the link does not take fails by itself, before it is sent; those beside it arrive."""
    async with queue.client() as client:
        sends = [client.send_message(str(number)) for number in range(10)]
        sends.insert(5, client.send_message(b"x" * 300_000))
        answers = await asyncio.gather(*sends, return_exceptions=True)
        error = answers.pop(5)
        assert isinstance(error, MessageTooLarge)
        assert isinstance(error, ValueError)
        assert isinstance(error, MessageSizeExceededError)
        assert not error.maybe_delivered
        assert "larger than the 262144 bytes that work takes" in str(error)
        assert answers == [[]] * 10
        assert client.pool.ready_connection_count == 1
    assert sorted(queue.stored()) == [str(number).encode() for number in range(10)]


async def test_a_list_that_does_not_fit_is_not_sent_at_all(queue: Queue) -> None:
    """A list is stored as a whole or not at all: one that is too long raises MessageTooLarge that says where it ended."""
    async with queue.client() as client:
        with pytest.raises(MessageTooLarge, match="message 3 does not fit any more") as raised:
            await client.send_messages([ServiceBusMessage(b"x" * 100_000)] * 12)
        assert isinstance(raised.value, MessageSizeExceededError)
        assert queue.transfers == 0


async def test_a_batch_may_be_smaller(queue: Queue, sender: SendsMessages) -> None:
    """create_message_batch gives a batch of at most so many bytes, and refuses more than the link takes."""
    batch: ServiceBusMessageBatch = await sender.create_message_batch(max_size_in_bytes=200)
    batch.add_message(ServiceBusMessage(b"small"))
    with pytest.raises(MessageSizeExceededError):
        batch.add_message(ServiceBusMessage(b"x" * 100))
    await sender.send_messages(batch)
    assert queue.stored() == [b"small"]
    with pytest.raises(ValueError, match="too large"):
        await sender.create_message_batch(max_size_in_bytes=2_000_000)


async def test_mixed_batches_that_the_service_refuses_are_sent_one_by_one(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the service takes no batch of different message ids, messages go one by one from then on, and the log says so once."""
    await queue.azure.create_queue("careful", partitioned=True, duplicate_detection_seconds=60)
    async with queue.client(service_bus_queue_name="careful", max_size=1) as client:
        for turn in range(2):
            numbers = range(turn * 20, turn * 20 + 20)
            await asyncio.gather(*(client.send_message(str(n), unique_msg_id=f"id-{n}") for n in numbers))
    bodies = [message.body for message in queue.azure.queue_messages("careful")]
    assert bodies == [str(number).encode() for number in range(40)]
    warnings = [record.getMessage() for record in caplog.records if "coalesce=False" in record.getMessage()]
    assert len(warnings) == 1
    assert "careful refuses messages with different ids in one batch" in warnings[0]


# Scheduling --------------------------------------------------------------------------------------------------------------------


async def test_a_delay_schedules(queue: Queue, sender: SendsMessages) -> None:
    """A delayed message is stored at once, seen later, and can be cancelled by the number that the send returns."""
    before = dt.datetime.now(dt.UTC)
    (number,) = await sender.send_message("later", delay=60, unique_msg_id="id", session_id="s")
    (message,) = queue.azure.queue_messages("work")
    assert (message.body, message.state, message.sequence_number) == (b"later", "scheduled", number)
    assert (message.message_id, message.session_id) == ("id", "s")
    assert message.scheduled_time is not None
    assert 59 <= (message.scheduled_time - before).total_seconds() <= 66
    await sender.cancel_scheduled_messages(number)
    assert queue.stored() == []
    assert queue.transfers == 0


async def test_scheduling_together(queue: Queue, sender: SendsMessages) -> None:
    """schedule_messages takes one of each kind or several, gives their numbers, and is one request for each call."""
    when = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    one = await sender.schedule_messages(ServiceBusMessage("one"), when)
    raw = await sender.schedule_messages(AmqpAnnotatedMessage(data_body=b"raw"), when)
    mapping = await sender.schedule_messages({"body": "mapping"}, when)
    several = await sender.schedule_messages([ServiceBusMessage("a"), {"body": "b"}], when)
    stored = queue.azure.queue_messages("work")
    assert sorted(one + raw + mapping + several) == sorted(message.sequence_number for message in stored)
    assert queue.count("com.microsoft:schedule-message") == 4
    await sender.cancel_scheduled_messages([*one, *several])
    assert queue.stored() == [b"raw", b"mapping"]


async def test_scheduled_messages_of_many_callers_each_get_their_numbers(queue: Queue) -> None:
    """Twenty callers who schedule at once, amid others who send, each get their own number, over one connection."""
    async with queue.client(max_size=1) as client:
        answers = await asyncio.gather(
            *(client.send_message(f"later {n}", delay=60) for n in range(20)),
            *(client.send_message(f"now {n}") for n in range(20)),
        )
    by_number = {message.sequence_number: message.body for message in queue.azure.queue_messages("work")}
    assert [by_number[number] for (number,) in answers[:20]] == [f"later {n}".encode() for n in range(20)]
    assert answers[20:] == [[]] * 20
    assert (queue.count("OPEN"), len(queue.stored())) == (1, 40)


async def test_what_cannot_be_cancelled_is_told(queue: Queue) -> None:
    """Cancelling what the service does not know is refused with its error, and the connection stays."""
    async with queue.client() as client:
        (connection,) = client.pool.connections
        with pytest.raises(SendRejected) as raised:
            await client.cancel_scheduled_messages(4711)
        assert isinstance(raised.value, ServiceBusError)
        assert not raised.value.maybe_delivered
        await client.send_message("after")
        assert client.pool.connections == (connection,)


async def test_an_argument_that_the_sdk_does_not_know(queue: Queue) -> None:
    """A misspelt argument of a message, which the SDK would drop in silence, is a TypeError that names it; nothing is sent."""
    async with queue.client() as client:
        with pytest.raises(TypeError, match="ServiceBusMessage has no argument 'sesion_id'"):
            await client.send_message("body", sesion_id="s")
        with pytest.raises(TypeError, match="ServiceBusMessage has no argument 'sesion_id'"):
            await client.send_messages({"body": "body", "sesion_id": "s"})
        assert queue.transfers == 0
