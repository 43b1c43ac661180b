"""Event Hubs as the official consumer, and raw sockets, read it."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from azure.eventhub import EventData

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, Message, decode_message, encode_message
from fastapi_azure_pool.emulator.amqp.performatives import Attach, Detach, Transfer
from fastapi_azure_pool.emulator.amqp.values import Described, Long, Symbol
from tests.emulator.amqp.amqp_peer import PATIENCE, Peer, connected, event
from tests.emulator.amqp.conftest import make_consumer, until

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

    from fastapi_azure_pool.emulator import Emulator

READ_FIRST = "hub/ConsumerGroups/$Default/Partitions/0"


async def read(consumer: EventHubConsumerClient, count: int, **options: Any) -> list[EventData]:
    """Return the first events that a consumer gets."""
    got: list[EventData] = []
    enough = asyncio.Event()

    async def take(_context: object, one: EventData | None) -> None:
        assert one is not None
        got.append(one)
        if len(got) >= count:
            enough.set()

    async with consumer:
        task = asyncio.create_task(consumer.receive(take, **({"starting_position": "-1"} | options)))
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return got


async def test_a_consumer_reads_what_was_sent(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Body, properties, key, offset, sequence number and time are those of the hub's own record."""
    sent = EventData("hello")
    sent.properties = {"kind": "greeting"}
    sent.correlation_id = "c"
    await producer.send_batch([sent, EventData("world")], partition_key="ada")
    events = await read(make_consumer(azure), 2)
    stored = azure.received_events("hub")
    assert [one.body_as_str() for one in events] == ["hello", "world"]
    assert events[0].properties[b"kind"] == b"greeting"
    assert events[0].correlation_id == "c"
    assert [(one.partition_key, one.offset, one.sequence_number, one.enqueued_time) for one in events] == [
        (b"ada", one.offset, one.sequence_number, one.enqueued_time) for one in stored
    ]


async def test_a_consumer_reads_all_partitions_in_order(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Without a partition id the consumer reads each partition from the start, each in its order."""
    for number in range(40):
        await producer.send_batch([EventData(str(number))], partition_id=str(number % 4))
    events = await read(make_consumer(azure), 40)
    for residue in range(4):
        numbers = [int(one.body_as_str()) for one in events if int(one.body_as_str()) % 4 == residue]
        assert numbers == list(range(residue, 40, 4))


async def test_a_consumer_waits_for_what_comes(azure: Emulator, producer: EventHubProducerClient) -> None:
    """A reader of the latest position gets events sent after it has come, and none from before."""
    await producer.send_batch([EventData("old")], partition_id="0")
    consumer = make_consumer(azure)
    reading = asyncio.create_task(read(consumer, 1, partition_id="0", starting_position="@latest"))
    await until(lambda: azure.amqp_requests.count("ATTACH", READ_FIRST))
    await producer.send_batch([EventData("new")], partition_id="0")
    assert [one.body_as_str() for one in await reading] == ["new"]


@pytest.mark.parametrize(
    ("position", "is_inclusive", "expected"),
    [
        ("-1", False, 0),
        ("@latest", False, None),
        (2, False, 3),
        (2, True, 2),
        (99, True, None),
        ("OFFSET", False, 4),
        ("OFFSET", True, 3),
        (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), False, 0),
        (dt.datetime(2099, 1, 1, tzinfo=dt.UTC), False, None),
    ],
)
async def test_where_reading_starts(
    azure: Emulator, producer: EventHubProducerClient, position: Any, is_inclusive: bool, expected: int | None
) -> None:
    """An offset, a sequence number and a time each name the first event that is read, or the end."""
    await producer.send_batch([EventData(str(number)) for number in range(5)], partition_id="0")
    if position == "OFFSET":
        position = azure.received_events("hub")[3].offset
    consumer = make_consumer(azure)
    reading = asyncio.create_task(
        read(consumer, 1, partition_id="0", starting_position=position, starting_position_inclusive=is_inclusive)
    )
    if expected is None:
        await until(lambda: azure.amqp_requests.count("ATTACH", READ_FIRST))
        await producer.send_batch([EventData("5")], partition_id="0")
        expected = 5
    assert (await reading)[0].body_as_str() == str(expected)


async def test_a_time_names_the_first_event_since(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Reading from the time of an event on begins behind what came before it."""
    await producer.send_batch([EventData("old")], partition_id="0")
    (old,) = azure.received_events("hub")
    # times are told in milliseconds
    await until(lambda: dt.datetime.now(dt.UTC) - old.enqueued_time >= dt.timedelta(milliseconds=2))
    await producer.send_batch([EventData("new")], partition_id="0")
    new = azure.received_events("hub")[1].enqueued_time
    for position, is_inclusive in ((old.enqueued_time, False), (new, True)):
        events = await read(
            make_consumer(azure),
            1,
            partition_id="0",
            starting_position=position,
            starting_position_inclusive=is_inclusive,
        )
        assert [one.body_as_str() for one in events] == ["new"]


async def test_consumer_groups_read_alike(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Each consumer group reads everything for itself."""
    await azure.create_eventhub("shared", partitions=1, consumer_groups=("$Default", "audit"))
    async with connected(azure) as peer:
        await peer.sender("shared")
        await peer.outcome(event())
        for handle, group in ((1, "$Default"), (2, "audit")):
            peer.attach_receiver(f"shared/ConsumerGroups/{group}/Partitions/0", handle=handle)
            await peer.expect(Attach)
            peer.grant(1, handle=handle)
            assert (await peer.expect(Transfer)).handle == handle


async def test_who_asks_is_told_about_the_partition(azure: Emulator, producer: EventHubProducerClient) -> None:
    """A consumer that tracks the last enqueued event gets it with each event."""
    await producer.send_batch([EventData("1"), EventData("2")], partition_id="0")
    first = (await read(make_consumer(azure), 1, partition_id="0", track_last_enqueued_event_properties=True))[0]
    # the SDK gives them to the partition's context; they came with the event
    annotations: Any = first._message.delivery_annotations
    last = azure.received_events("hub")[-1]
    assert annotations[b"last_enqueued_sequence_number"] == 1
    assert annotations[b"last_enqueued_offset"] == last.offset.encode()


async def attach_reader(peer: Peer, handle: int, *, epoch: int | None = None, selector: Any = None) -> str | None:
    """Attach a reader of the first partition; return the condition with which it was refused."""
    filters = None if selector is None else {Symbol("apache.org:selector-filter:string"): selector}
    properties = None if epoch is None else {Symbol("com.microsoft:epoch"): Long(epoch)}
    peer.attach_receiver(READ_FIRST, handle=handle, filters=filters, properties=properties)
    while not isinstance(attach := (await peer.read()).performative, Attach):
        pass
    if attach.source is not None:
        return None
    detach = await peer.expect(Detach)
    assert detach.error is not None
    return detach.error.condition


async def test_the_higher_epoch_has_the_partition_alone(azure: Emulator) -> None:
    """A reader with a higher epoch takes the partition from all others; a lower one, or none, is refused."""
    async with connected(azure) as peer:
        assert await attach_reader(peer, 1) is None
        peer.attach_receiver(READ_FIRST, handle=2, properties={Symbol("com.microsoft:epoch"): Long(5)})
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert (detach.handle, detach.error.condition) == (1, "amqp:link:stolen")
        await peer.expect(Attach)
        assert await attach_reader(peer, 3, epoch=4) == "amqp:link:stolen"
        assert await attach_reader(peer, 4) == "amqp:link:stolen"
        peer.send(Detach(2, closed=True))
        await peer.expect(Detach)
        assert await attach_reader(peer, 5) is None


async def test_five_readers_share_a_partition(azure: Emulator) -> None:
    """A sixth reader of one consumer group is refused, as Azure's quota has it."""
    async with connected(azure) as peer:
        conditions = [await attach_reader(peer, handle) for handle in range(1, 7)]
    assert conditions == [None] * 5 + ["amqp:resource-limit-exceeded"]


@pytest.mark.parametrize(
    "selector",
    [
        "amqp.annotation.x-opt-offset > 'abc'",
        "amqp.annotation.x-opt-partition-key > '1'",
        "amqp.annotation.x-opt-offset < '1'",
        "1 = 1",
        7,
    ],
)
async def test_a_filter_that_is_none_is_refused(azure: Emulator, selector: object) -> None:
    """Another selector than a position is refused by name."""
    async with connected(azure) as peer:
        assert await attach_reader(peer, 1, selector=selector) == "amqp:invalid-field"


@pytest.mark.parametrize("is_described", [True, False])
async def test_a_filter_may_be_described(azure: Emulator, is_described: bool) -> None:
    """The selector counts whether or not its value says what it is."""
    text = "amqp.annotation.x-opt-sequence-number >= '1'"
    selector = Described(Symbol("apache.org:selector-filter:string"), text) if is_described else text
    async with connected(azure) as peer:
        await peer.sender("hub/Partitions/0")
        await peer.outcome(event(b"0"))
        await peer.outcome(event(b"1"))
        assert await attach_reader(peer, 1, selector=selector) is None
        peer.grant(1)
        frame = await peer.read()
        assert decode_message(frame.payload).body == [b"1"]


async def test_an_event_that_is_no_message_is_passed_over(azure: Emulator) -> None:
    """Members of a batch are taken unread; one that is no message reaches nobody, and those around it do."""
    async with connected(azure) as peer:
        await peer.sender("hub/Partitions/0")
        payload = encode_message(Message(body=[event(b"1"), b"\xff\xff", event(b"3")]))
        await peer.outcome(payload, message_format=BATCH_FORMAT)
        assert await attach_reader(peer, 1) is None
        peer.grant(10)
        assert [decode_message((await peer.read()).payload).body for _ in range(2)] == [[b"1"], [b"3"]]
    assert [one.body for one in azure.received_events("hub")] == [b"1", b"3"]


async def test_a_slow_reader_is_not_sent_everything_at_once(azure: Emulator) -> None:
    """Unlimited credit does not fill the server's memory: what a client has not read is not sent yet."""
    async with connected(azure) as peer:
        await peer.sender("hub/Partitions/0")
        body = b"x" * 50_000
        for _ in range(400):
            await peer.outcome(event(body))
        assert await attach_reader(peer, 1) is None
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        peer.grant(0x7FFFFFFF, incoming_window=0x7FFFFFFF)
        await peer.writer.drain()
        (connection,) = azure._messaging.server._connections
        await until(lambda: connection.is_full)
        for _ in range(100):
            await asyncio.sleep(0)
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 4_000_000
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # see above
        for number in range(400):
            transfer = await peer.expect(Transfer)
            assert transfer.delivery_id == number
