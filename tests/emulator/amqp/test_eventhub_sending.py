"""Event Hubs as the official producer meets it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from azure.eventhub import EventData
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from azure.eventhub.exceptions import EventHubError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.eventhub.partitioning import hash_code, partition_of
from tests.emulator.amqp.conftest import make_producer

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubProducerClient


# a busy machine is no failure
on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


async def test_a_batch_is_one_transfer_and_stays_together(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Events of a batch without a key land in one partition, in order, with one transfer."""
    batch = await producer.create_batch()
    for number in range(100):
        batch.add(EventData(str(number)))
    await producer.send_batch(batch)
    events = azure.received_events("hub")
    assert [one.body for one in events] == [str(number).encode() for number in range(100)]
    assert len({one.partition_id for one in events}) == 1
    assert [one.sequence_number for one in events] == list(range(100))
    assert azure.amqp_requests.count("TRANSFER", "hub") == 1


async def test_batches_without_a_key_go_round(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Every partition has its turn."""
    for number in range(8):
        await producer.send_batch([EventData(str(number))])
    events = azure.received_events("hub")
    assert sorted(one.partition_id for one in events) == [*"00112233"]


async def test_a_key_has_one_partition(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Events with one key land in the partition that the service's hash names, and show the key."""
    for key in ("ada", "grace", "ada"):
        await producer.send_batch([EventData("x")], partition_key=key)
    events = azure.received_events("hub")
    assert sorted((one.partition_key, one.partition_id) for one in events) == sorted(
        (key, str(partition_of(key, 4))) for key in ("ada", "grace", "ada")
    )


async def test_a_partition_may_be_named(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Events sent to a partition land in it; one that is not there is an error."""
    await producer.send_batch([EventData("x")], partition_id="3")
    assert [one.partition_id for one in azure.received_events("hub")] == ["3"]
    with pytest.raises(EventHubError):
        await producer.send_batch([EventData("x")], partition_id="4")


async def test_what_an_event_carries_is_kept(azure: Emulator, producer: EventHubProducerClient) -> None:
    """Properties, message id and body come through; the service notes when and where."""
    event = EventData(b"\0\xff" * 1000)
    properties: dict[str, Any] = {"kind": "order", "count": 3, "ok": True}
    event.properties = dict[str | bytes, Any](properties.items())
    event.message_id = "id-1"
    before = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    await producer.send_event(event)
    (stored,) = azure.received_events("hub")
    assert (stored.body, stored.message_id, stored.offset) == (b"\0\xff" * 1000, "id-1", "0")
    assert {name: stored.properties[str(name)] for name in properties} == properties
    assert before <= stored.enqueued_time <= dt.datetime.now(dt.UTC)


async def test_a_batch_of_the_largest_size_takes_many_frames(azure: Emulator, producer: EventHubProducerClient) -> None:
    """A batch fills the link's maximum of 1 MB, travels in many frames, and is stored as a whole."""
    batch = await producer.create_batch()
    assert batch.max_size_in_bytes == 1_048_576
    for _ in range(103):
        batch.add(EventData(b"x" * 10_000))
    with pytest.raises(ValueError, match="size limit"):
        batch.add(EventData(b"x" * 100_000))
    await producer.send_batch(batch)
    assert len(azure.received_events("hub")) == 103


async def test_the_limit_may_be_smaller(azure: Emulator) -> None:
    """A hub's own limit reaches the SDK, and what exceeds it the caller, as an error; nothing is stored."""
    await azure.create_eventhub("small", max_message_bytes=2000)
    async with make_producer(azure, eventhub_name="small") as producer:
        assert (await producer.create_batch()).max_size_in_bytes == 2000
        await producer.send_batch([EventData(b"x" * 1500)])
        with pytest.raises(EventHubError, match="message-size-exceeded"):
            await producer.send_event(EventData(b"x" * 2000))
    assert len(azure.received_events("small")) == 1


async def test_properties_of_hub_and_partitions(azure: Emulator, producer: EventHubProducerClient) -> None:
    """READ tells the hub's partitions, and what each holds."""
    await producer.send_batch([EventData("1"), EventData("2")], partition_id="2")
    properties = await producer.get_eventhub_properties()
    assert (properties["eventhub_name"], properties["partition_ids"]) == ("hub", ["0", "1", "2", "3"])
    assert abs(properties["created_at"] - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    full, empty = await producer.get_partition_properties("2"), await producer.get_partition_properties("0")
    last = azure.received_events("hub")[-1]
    assert (full["is_empty"], full["beginning_sequence_number"], full["last_enqueued_sequence_number"]) == (False, 0, 1)
    assert (full["last_enqueued_offset"], full["last_enqueued_time_utc"]) == (last.offset, last.enqueued_time)
    assert (empty["is_empty"], empty["last_enqueued_sequence_number"], empty["last_enqueued_offset"]) == (
        True,
        -1,
        "-1",
    )
    with pytest.raises(EventHubError):
        await producer.get_partition_properties("9")


async def test_a_buffered_producer_agrees_about_partitions(azure: Emulator) -> None:
    """The SDK's own buffered producer, which hashes keys itself, sends to the partitions of the hub."""

    async def on_success(*_event: object) -> None: ...

    async def on_error(*_event: object) -> None: ...

    async with make_producer(
        azure, buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=1
    ) as producer:
        for number in range(20):
            await producer.send_event(EventData(str(number)))
        await producer.flush()
    assert len(azure.received_events("hub")) == 20


@on_a_busy_machine
@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=40))
def test_the_hash_is_the_sdks(key: str) -> None:
    """Keys hash as in the SDK's buffered producer, which can do it for ASCII only."""
    assert hash_code(key) == generate_hash_code(key)  # type: ignore[no-untyped-call]  # the SDK's own


@on_a_busy_machine
@given(st.text(max_size=40), st.integers(1, 1024))
def test_every_key_has_a_partition(key: str, count: int) -> None:
    """Whatever the key and however many partitions, it is one of them, always the same."""
    assert 0 <= partition_of(key, count) < count
    assert partition_of(key, count) == partition_of(key, count)


def test_keys_spread_over_the_partitions() -> None:
    """A thousand keys leave no partition of eight with less than half of its share."""
    counts = [0] * 8
    for number in range(1000):
        counts[partition_of(f"customer-{number}", 8)] += 1
    assert min(counts) > 62


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partitions": 0}, "partitions=0"),
        ({"partitions": 1025}, "partitions=1025"),
        ({"consumer_groups": ()}, "consumer_groups"),
        ({"consumer_groups": "$Default"}, "consumer_groups"),
        ({"max_message_bytes": 0}, "max_message_bytes=0"),
        ({"name": "a/b"}, "name='a/b'"),
        ({"name": "HUB"}, "'HUB' already"),
        ({"name": "orders"}, "'orders' already"),
    ],
)
async def test_hubs_that_cannot_be(azure: Emulator, options: dict[str, object], message: str) -> None:
    """Wrong values and taken names are refused in words."""
    with pytest.raises(ValueError, match=message):
        await azure.create_eventhub(**({"name": "new"} | options))  # type: ignore[arg-type]  # that is the test


def test_an_unknown_hub_has_no_events() -> None:
    """Looking at a hub that was never made says how to make it."""
    with pytest.raises(ValueError, match="create_eventhub"):
        Emulator().received_events("nothing")
