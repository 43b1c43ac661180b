"""What is written to the wire, compared with what the SDK would write, by the SDK's own encoder and decoder."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from azure.eventhub import EventData, EventDataBatch
from azure.eventhub._pyamqp._decode import decode_frame, decode_payload
from azure.eventhub._pyamqp._encode import encode_payload
from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus._pyamqp._encode import encode_payload as encode_service_bus
from azure.servicebus._pyamqp.message import BatchMessage

from fastapi_azure_pool.clients.amqp.encoding import encode_batch, encode_members_once, payload_encoder
from fastapi_azure_pool.clients.amqp.send_link import SendLink
from fastapi_azure_pool.clients.message_sending import _PlainMessage
from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, Outcome

MAX_FRAME_SIZE = 512


def make_link(**session: Any) -> tuple[SendLink, Any]:
    """Make a link as the SDK's is when it was attached, and its session."""
    counts = {"channel": 3, "next_outgoing_id": 7, "remote_incoming_window": 5, "outgoing_window": 9, **session}
    session_of_it = SimpleNamespace(**counts)
    sdk = SimpleNamespace(
        handle=2, delivery_count=4, current_link_credit=6, _pending_deliveries=[], _error=None, _incoming_flow=None
    )
    return SendLink(sdk, session_of_it, MAX_FRAME_SIZE), session_of_it


def frames_of(data: bytes) -> list[tuple[int, list[Any]]]:
    """Take frames apart: each one's channel, and the fields of its TRANSFER, by the SDK's decoder."""
    found = []
    while data:
        size, offset, kind, channel = struct.unpack(">IBBH", data[:8])
        assert (offset, kind) == (2, 0)
        assert size <= MAX_FRAME_SIZE
        performative, fields = decode_frame(memoryview(data[8:size]))
        assert performative == 20
        found.append((channel, list(fields)))
        data = data[size:]
    return found


@pytest.mark.parametrize("size", [1, 100, 471, 472, 473, 944, 945, 5000])
def test_a_payload_becomes_as_many_frames_as_it_needs(size: int) -> None:
    """Each frame says what it belongs to and whether more follow, and together they hold the payload, whatever its size."""
    link, session = make_link()
    payload = bytes(number % 251 for number in range(size))
    frames = frames_of(link.frames(0x80013700, payload, lambda outcome: None))
    for position, (channel, fields) in enumerate(frames):
        assert channel == session.channel
        assert fields[:5] == [2, 7, struct.pack(">I", 5), 0x80013700, False]
        assert fields[5] is (position < len(frames) - 1)
    assert b"".join(bytes(fields[-1]) for _, fields in frames) == payload
    assert all(len(fields[-1]) for _, fields in frames)


def test_what_the_sdk_counts_is_counted() -> None:
    """The SDK's link and session know of the transfer as if they had sent it."""
    link, session = make_link()
    link.frames(0, b"x", lambda outcome: None)
    assert (link.sdk.delivery_count, link.sdk.current_link_credit) == (5, 5)
    assert (session.next_outgoing_id, session.remote_incoming_window, session.outgoing_window) == (8, 4, 8)
    (delivery,) = link.sdk._pending_deliveries
    assert (delivery.sent, delivery.frame["delivery_id"], delivery.settled, delivery.timeout) == (True, 7, False, None)


def test_serial_numbers_wrap() -> None:
    """Counters are 32 bits wide on the wire, however long a connection lives."""
    link, _ = make_link(next_outgoing_id=2**32 + 1)
    link.sdk.delivery_count = 2**32 - 1
    ((_, fields),) = frames_of(link.frames(0, b"x", lambda outcome: None))
    assert (fields[1], fields[2]) == (1, bytes(4))


async def test_an_outcome_is_told_once() -> None:
    """The first disposition counts; the link's end after it tells nothing."""
    told: list[Outcome] = []
    link, _ = make_link()
    link.frames(0, b"x", told.append)
    (delivery,) = link.sdk._pending_deliveries
    await delivery.on_settled(SimpleNamespace(name="DISPOSITION_RECEIVED"), {"accepted": []})
    await delivery.on_settled(SimpleNamespace(name="NOT_DELIVERED"), None)
    assert told == [ACCEPTED]
    link.frames(0, b"x", told.append)
    await link.sdk._pending_deliveries[1].on_settled(SimpleNamespace(name="NOT_DELIVERED"), None)
    assert told == [ACCEPTED, LOST]


async def test_credit_is_what_the_last_flow_leaves() -> None:
    """Nothing may leave before the first FLOW; then the receiver's count and credit are the limit."""
    link, _ = make_link()
    assert link.credit == -4
    await link.sdk._incoming_flow([0, 1, 2, 3, 2, 4, 10])
    assert link.credit == 10
    link.frames(0, b"x", lambda outcome: None)
    assert link.credit == 9
    # A flow of the session says nothing about the link.
    await link.sdk._incoming_flow([0, 1, 2, 3, None, None, None])
    assert link.credit == 9
    await link.sdk._incoming_flow([0, 1, 2, 3, 2, None, 1])
    assert link.credit == 1 - 5


# Batches -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partition_key", [None, "ada"])
@pytest.mark.parametrize("sizes", [[0], [255 - 5, 256 - 5, 300], [1] * 70])
def test_a_batch_of_events_is_encoded_as_the_sdk_does(partition_key: str | None, sizes: list[int]) -> None:
    """The same bytes, whether its members were encoded once or by the SDK."""
    ours, theirs = (EventDataBatch(partition_key=partition_key) for _ in range(2))
    encode_members_once(ours, "azure.eventhub")
    for size in sizes:
        for batch in (ours, theirs):
            event = EventData("x" * size)
            event.properties = {"size": size}
            batch.add(event)
    assert len(ours) == len(theirs) == len(sizes)
    assert ours.size_in_bytes == theirs.size_in_bytes
    expected = bytearray()
    encode_payload(expected, theirs._message)
    assert encode_batch(ours._message, encode_payload) == expected
    decoded: Any = decode_payload(memoryview(bytes(expected)))
    assert len(decoded.data) == len(sizes)


@pytest.mark.parametrize("arguments", [{}, {"session_id": "s"}, {"partition_key": "p"}, {"subject": "t", "to": "u"}])
def test_a_batch_of_messages_is_encoded_as_the_sdk_does(arguments: dict[str, Any]) -> None:
    """The same bytes for our way of making messages and batches, the envelope included."""
    ours, theirs = ServiceBusMessageBatch(), ServiceBusMessageBatch()
    encode_members_once(ours, "azure.servicebus")
    for number in range(3):
        ours.add_message(_PlainMessage("x" * number * 130, message_id=f"{number}", **arguments))
        theirs.add_message(ServiceBusMessage("x" * number * 130, message_id=f"{number}", **arguments))
    assert ours.size_in_bytes == theirs.size_in_bytes
    their_message: Any = theirs._message
    expected = bytearray()
    encode_service_bus(expected, BatchMessage(*their_message))
    assert encode_batch(ours._message, encode_service_bus) == expected


def test_delivery_annotations_stay_where_the_sdk_writes_them() -> None:
    """An envelope with delivery annotations is left to the SDK, which writes them to the end."""
    message = BatchMessage(None, {b"x": 1}, None, None, None, [b"member"])
    expected = bytearray()
    encode_service_bus(expected, message)
    assert encode_batch(message, encode_service_bus) == expected


def test_an_encoder_that_is_not_there() -> None:
    """Where the SDK keeps its encoder elsewhere there is none, and batches stay as they are."""
    assert payload_encoder("azure.missing") is None
    batch = EventDataBatch()
    transport = batch._amqp_transport
    encode_members_once(batch, "azure.missing")
    assert batch._amqp_transport is transport
    encode_members_once(object(), "azure.eventhub")


def test_another_message_than_the_measured_one_is_added_as_the_sdk_does() -> None:
    """If a later SDK asks for sizes in another order, what is added is still what was given."""
    batch = EventDataBatch()
    encode_members_once(batch, "azure.eventhub")
    transport: Any = batch._amqp_transport
    event = EventData("one")
    event._message = transport.to_outgoing_amqp_message(event.raw_amqp_message)
    transport.get_message_encoded_size(transport.to_outgoing_amqp_message(EventData("other").raw_amqp_message))
    transport.add_batch(batch, event, event)
    (member,) = batch._message[5]
    assert b"one" in bytes(member)
