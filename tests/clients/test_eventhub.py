"""Event Hubs through the official SDK and the emulator: opening, the ways to send, joining, and what fits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.eventhub.exceptions import EventDataSendError

from fastapi_azure_pool import Eventhub, MessageTooLarge, SendRejected
from fastapi_azure_pool.clients.eventhub import PooledEventhub
from tests.clients.messaging import Hub, pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from azure.eventhub import EventDataBatch

    from fastapi_azure_pool.clients.event_sending import SendsEvents


class Holder(Protocol):
    """Gives a sender, whatever it is."""

    async def __aenter__(self) -> SendsEvents: ...

    async def __aexit__(self, *error: object) -> None: ...


@pytest.fixture(params=["managed", "pooled", "basic"])
async def sender(hub: Hub, request: pytest.FixtureRequest) -> AsyncIterator[SendsEvents]:
    """Each of the three that send events."""
    if request.param == "basic":
        async with _closing(hub.basic()) as basic:
            yield basic
        return
    async with hub.client() as client:
        if request.param == "managed":
            yield client
            return
        async with client.get() as connection:
            yield connection


class _closing:  # noqa: N801 - as contextlib's own, for a close that is awaited
    def __init__(self, sender: Eventhub) -> None:
        self._sender = sender

    async def __aenter__(self) -> Eventhub:
        return self._sender

    async def __aexit__(self, *error: object) -> None:
        await self._sender.close()


async def send_batch(sender: SendsEvents) -> None:
    """Fill a batch by hand, and send it."""
    batch = await sender.create_batch()
    batch.add(EventData(b"one"))
    batch.add(EventData("two"))
    assert await sender.send_events_data_batch(batch) is batch


async def send_list(sender: SendsEvents) -> None:
    """Send bodies together."""
    batch = await sender.send_events_batch(["one", b"two"])
    assert len(batch) == 2


async def send_generated(sender: SendsEvents) -> None:
    """Send bodies together that are made one by one."""
    assert len(await sender.send_events_batch(body for body in ("one", "two"))) == 2


WAYS: dict[str, tuple[Callable[[SendsEvents], Awaitable[Any]], list[bytes]]] = {
    "bytes": (lambda sender: sender.send_event(b"\x00\xff"), [b"\x00\xff"]),
    "text": (lambda sender: sender.send_event("grün"), ["grün".encode()]),
    "nothing in it": (lambda sender: sender.send_event(b""), [b""]),
    "an event": (lambda sender: sender.send_event_data(EventData(b"one")), [b"one"]),
    "a message": (lambda sender: sender.send_event_data(AmqpAnnotatedMessage(data_body=b"one")), [b"one"]),
    "a list": (send_list, [b"one", b"two"]),
    "a generator": (send_generated, [b"one", b"two"]),
    "a batch": (send_batch, [b"one", b"two"]),
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_send(hub: Hub, sender: SendsEvents, way: str) -> None:
    """Whatever is sent, by whatever sends it, is stored as one transfer, with its bytes unchanged."""
    send, bodies = WAYS[way]
    await send(sender)
    assert (hub.stored(), hub.transfers) == (bodies, 1)


async def test_an_event_keeps_all_that_is_in_it(hub: Hub) -> None:
    """Properties, ids and content types of an event and of a raw message arrive, alone and joined."""
    event = EventData(b"{}")
    event.properties = {"colour": "green", "size": 3}
    event.message_id, event.content_type, event.correlation_id = "id-1", "application/json", "c"
    message = AmqpAnnotatedMessage(
        data_body=b"{}", application_properties={"raw": True}, properties={"message_id": "2"}
    )
    async with hub.client() as client:
        await asyncio.gather(client.send_event_data(event), client.send_event_data(message))
        await client.send_event_data(event)
    received = {event.sequence_number: event for event in hub.azure.received_events("orders")}
    found = sorted((str(event.message_id), sorted(event.properties)) for event in hub.azure.received_events("orders"))
    assert found == [("2", ["raw"]), ("id-1", ["colour", "size"]), ("id-1", ["colour", "size"])]
    assert {event.body for event in received.values()} == {b"{}"}
    assert message.body_type == AmqpMessageBodyType.DATA


# Opening -----------------------------------------------------------------------------------------------------------------------


async def test_opening_attaches_the_link_and_sends_nothing(hub: Hub) -> None:
    """A connection is ready when its send link is attached: one connection, one link, no transfer, nothing stored."""
    async with hub.client() as client:
        assert (client.service, client.pool.ready_connection_count) == ("eventhub", 1)
        assert (hub.count("OPEN"), hub.count("ATTACH", "orders"), hub.transfers) == (1, 1, 0)
        assert (hub.stored(), hub.count("READ")) == ([], 0)
    await eventually(lambda: hub.open_connections == 0)


async def test_the_first_event_needs_one_transfer_and_nothing_else(hub: Hub) -> None:
    """A warm connection sends its first event as one request."""
    async with hub.client() as client:
        hub.azure.amqp_requests.clear()
        await client.send_event("one")
        assert (hub.transfers, hub.azure.amqp_requests.total) == (1, 1)


async def test_a_pooled_connection_is_an_eventhub(hub: Hub) -> None:
    """What a checkout gives can be used by annotations that say Eventhub, and several share one."""
    async with hub.client() as client, client.get() as one, client.get() as other:
        assert isinstance(one, Eventhub)
        assert isinstance(one, PooledEventhub)
        assert one is other
        await asyncio.gather(*(one.send_event(str(number)) for number in range(10)))
    assert len(hub.stored()) == 10


# Partitions --------------------------------------------------------------------------------------------------------------------


async def test_a_partition_key_chooses_one_partition(hub: Hub, sender: SendsEvents) -> None:
    """Events of one key go to one partition in order, with the key, however they are sent."""
    keyed = EventData(b"2")
    await sender.send_event("0", "customer")
    await sender.send_event("1", partition_key="customer")
    await sender.send_event_data(keyed, "customer")
    await sender.send_events_batch(["3", "4"], "customer")
    batch = await sender.create_batch(partition_key="customer")
    batch.add(EventData(b"5"))
    await sender.send_events_data_batch(batch)
    events = hub.azure.received_events("orders")
    assert [event.body for event in events] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert {event.partition_key for event in events} == {"customer"}
    assert len({event.partition_id for event in events}) == 1


@pytest.mark.parametrize(
    "annotations",
    [
        {b"x-opt-partition-key": b"customer"},
        {b"x-opt-partition-key": "customer"},
        {"x-opt-partition-key": "customer"},
    ],
    ids=["as received", "as sent", "by a text"],
)
async def test_a_key_that_an_event_has_already_is_its_key(hub: Hub, annotations: dict[Any, Any]) -> None:
    """An event that was received, or a raw message with a partition key, is sent with that key, and with no other one."""
    event = EventData(b"event")
    event.raw_amqp_message.annotations = dict(annotations)
    message = AmqpAnnotatedMessage(data_body=b"message", annotations=dict(annotations))
    async with hub.client() as client:
        await client.send_event_data(event)
        await client.send_event_data(event, "customer")
        await client.send_event_data(message)
        for given in (event, message):
            with pytest.raises(ValueError, match="partition_key='other' and the event's own 'customer' differ"):
                await client.send_event_data(given, "other")
    received = hub.azure.received_events("orders")
    assert [event.body for event in received] == [b"event", b"event", b"message"]
    assert {event.partition_key for event in received} == {"customer"}


async def test_a_partition_has_a_link_of_its_own_on_the_same_connection(hub: Hub, sender: SendsEvents) -> None:
    """The first event for a partition opens a link to it on the connection that is there; the others use that."""
    await sender.send_event("0", partition_id="2")
    await sender.send_event("1", partition_id="2")
    await sender.send_events_batch(["2"], partition_id="2")
    batch = await sender.create_batch(partition_id="2")
    batch.add(EventData(b"3"))
    await sender.send_events_data_batch(batch)
    await sender.send_event_data(EventData(b"4"), partition_id="2")
    events = hub.azure.received_events("orders")
    assert [(event.body, event.partition_id) for event in events] == [(str(n).encode(), "2") for n in range(5)]
    assert (hub.count("OPEN"), hub.count("ATTACH", "orders/Partitions/2"), hub.open_connections) == (1, 1, 1)
    assert hub.count("TRANSFER", "orders/Partitions/2") == 5


async def test_every_partition_has_its_link(hub: Hub) -> None:
    """Events to all partitions and to none leave at once by a link each, over one connection."""
    async with hub.client() as client:
        sends = (client.send_event(str(n), partition_id=None if n == 4 else str(n)) for n in range(5))
        await asyncio.gather(*sends)
        where = {event.body: event.partition_id for event in hub.azure.received_events("orders")}
        assert [where[str(n).encode()] for n in range(4)] == ["0", "1", "2", "3"]
        assert (hub.count("OPEN"), hub.count("ATTACH", "orders*"), len(where)) == (1, 5, 5)


async def test_a_partition_that_is_not_there_harms_no_other(hub: Hub) -> None:
    """An unknown partition is refused with the service's condition; the connection stays and its other links go on."""
    async with hub.client() as client:
        connection = pooled(client)
        refused, ok, other = await asyncio.gather(
            client.send_event("lost", partition_id="99"),
            client.send_event("kept"),
            client.send_event("kept too", partition_id="1"),
            return_exceptions=True,
        )
        assert isinstance(refused, SendRejected)
        assert (refused.maybe_delivered, ok, other) == (False, None, None)
        with pytest.raises(SendRejected, match=r"event hub orders did not take it \(amqp:"):
            await client.send_event("lost", partition_id="99")
        await client.send_event("after")
        assert pooled(client) is connection
    assert sorted(hub.stored()) == [b"after", b"kept", b"kept too"]


# Sizes -------------------------------------------------------------------------------------------------------------------------


async def test_an_event_too_large_fails_alone(hub: Hub) -> None:
    """An event that the link does not take fails by itself, before it is sent; those beside it arrive."""
    too_large = b"x" * 1_048_577
    async with hub.client() as client:
        small = [client.send_event(str(number)) for number in range(10)]
        small.insert(5, client.send_event(too_large))
        answers = await asyncio.gather(*small, return_exceptions=True)
        error = answers.pop(5)
        assert isinstance(error, MessageTooLarge)
        assert isinstance(error, ValueError)
        assert isinstance(error, EventDataSendError)
        assert not error.maybe_delivered
        assert "larger than the 1048576 bytes that event hub orders takes" in str(error)
        assert answers == [None] * 10
        assert client.pool.ready_connection_count == 1
    assert sorted(hub.stored()) == [str(number).encode() for number in range(10)]


async def test_what_does_not_fit_into_one_batch_takes_several(hub: Hub) -> None:
    """Events of 100 KB, each by itself, are split at the size that the link takes, and stored in their order."""
    async with hub.client() as client:
        await asyncio.gather(*(client.send_event(b"%02d" % n + b"x" * 100_000, "key") for n in range(25)))
        assert hub.transfers == 3
    assert [body[:2] for body in hub.stored()] == [b"%02d" % n for n in range(25)]


async def test_a_list_that_does_not_fit_is_not_sent_at_all(hub: Hub) -> None:
    """A list is stored as a whole or not at all: one that is too long raises MessageTooLarge that says where it ended."""
    async with hub.client() as client:
        with pytest.raises(MessageTooLarge, match="event 11 does not fit any more into a batch of 1048576 bytes"):
            await client.send_events_batch([b"x" * 100_000] * 12)
        assert hub.transfers == 0


async def test_a_batch_may_be_smaller(hub: Hub, sender: SendsEvents) -> None:
    """create_batch gives a batch of at most so many bytes, and refuses more than the link takes."""
    batch: EventDataBatch = await sender.create_batch(max_size_in_bytes=100)
    batch.add(EventData(b"small"))
    with pytest.raises(ValueError, match="size limit"):
        batch.add(EventData(b"x" * 100))
    await sender.send_events_data_batch(batch)
    assert hub.stored() == [b"small"]
    with pytest.raises(ValueError, match="too large"):
        await sender.create_batch(max_size_in_bytes=2_000_000)


# Joining -----------------------------------------------------------------------------------------------------------------------


async def test_a_thousand_events_need_few_transfers(hub: Hub) -> None:
    """A thousand sends at once are joined into a few transfers, each stored once."""
    async with hub.client(max_size=1) as client:
        await asyncio.gather(*(client.send_event(str(number)) for number in range(1_000)))
        assert hub.transfers <= 25
    assert sorted(hub.stored(), key=int) == [str(number).encode() for number in range(1_000)]


async def test_joining_may_be_turned_off(hub: Hub) -> None:
    """With coalesce=False each event is a transfer of its own, over the same connection."""
    async with hub.client(coalesce=False, max_size=1) as client:
        await asyncio.gather(*(client.send_event(str(number), "key") for number in range(50)))
        assert (hub.transfers, hub.count("OPEN")) == (50, 1)
    assert hub.stored() == [str(number).encode() for number in range(50)]


async def test_events_of_one_key_keep_their_order(hub: Hub) -> None:
    """Callers of one key who send one after the other find their events stored in that order, among many others."""

    async def caller(key: str) -> None:
        for number in range(20):
            await client.send_event(f"{key} {number}", key)

    async with hub.client() as client:
        await asyncio.gather(*(caller(f"k{number}") for number in range(16)))
    for key in (f"k{number}" for number in range(16)):
        mine = [event.body for event in hub.azure.received_events("orders") if event.partition_key == key]
        assert mine == [f"{key} {number}".encode() for number in range(20)]
