"""What the broker reads of the messages that it gets, and what it adds to those that it gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch, ServiceBusReceivedMessage
from azure.servicebus._pyamqp._encode import encode_payload
from azure.servicebus._pyamqp.message import BatchMessage
from azure.servicebus._transport._pyamqp_transport import PyamqpTransport

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, Message, Value, decode_message, encode_message
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError, Int, Long, Timestamp
from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage, MessageState
from fastapi_azure_pool.emulator.servicebus.errors import ServiceBusError
from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings
from fastapi_azure_pool.emulator.servicebus.wire import describe, read_delivery, read_message, write_message

DUE = datetime(2030, 1, 1, tzinfo=UTC)


def encoded(message: ServiceBusMessage) -> bytes:
    """Return a message as the SDK encodes it."""
    buffer = bytearray()
    encode_payload(buffer, PyamqpTransport.to_outgoing_amqp_message(message.raw_amqp_message))
    return bytes(buffer)


def encoded_batch(*messages: ServiceBusMessage) -> bytes:
    """Return a batch as the SDK encodes it."""
    batch = ServiceBusMessageBatch()
    for message in messages:
        batch.add_message(message)
    buffer = bytearray()
    encode_payload(buffer, BatchMessage(*batch._message))
    return bytes(buffer)


def stored(message: ServiceBusMessage) -> BrokeredMessage:
    """Return a message as it lies in a queue, locked."""
    read = read_message(encoded(message))
    read.sequence_number, read.enqueued_sequence_number, read.delivery_count = 7, 5, 2
    read.enqueued_time, read.locked_until = 1_000.5, 1_060.25
    read.state, read.lock_token = MessageState.LOCKED, b"t" * 16
    return read


def test_the_broker_reads_what_it_decides_by() -> None:
    """Message id, session, partition key, time to live and scheduled time, as the SDK writes them."""
    read = read_message(
        encoded(
            ServiceBusMessage(
                b"x",
                message_id="m",
                session_id="s",
                partition_key="s",
                time_to_live=timedelta(seconds=90),
                scheduled_enqueue_time_utc=DUE,
            )
        )
    )
    assert (read.message_id, read.session_id, read.partition_key) == ("m", "s", "s")
    assert (read.time_to_live, read.scheduled_time) == (90.0, DUE.timestamp())


def test_what_is_missing_is_none() -> None:
    """A message with nothing but a body decides nothing."""
    read = read_message(encode_message(Message(body=[b"x"])))
    assert (read.message_id, read.session_id, read.partition_key) == (None, None, None)
    assert (read.time_to_live, read.scheduled_time) == (None, None)


@pytest.mark.parametrize(
    "message",
    [
        ServiceBusMessage(b"body", message_id="m"),
        ServiceBusMessage(b"body", message_id="m", partition_key="p", time_to_live=timedelta(hours=1)),
        ServiceBusMessage(b"body", message_id="m", application_properties={"a": 1}),
        ServiceBusMessage(None, message_id="m"),
    ],
)
def test_a_delivered_message_carries_the_brokers_part(message: ServiceBusMessage) -> None:
    """Its own bytes stay, whether it had annotations before or none; the SDK reads both."""
    original = stored(message)
    payload = write_message(original)
    received = ServiceBusReceivedMessage.from_bytes(payload)
    assert (received.sequence_number, received.enqueued_sequence_number, received.delivery_count) == (7, 5, 2)
    assert received.enqueued_time_utc == datetime.fromtimestamp(1_000.5, UTC)
    assert received.locked_until_utc == datetime.fromtimestamp(1_060.25, UTC)
    assert (received.message_id, received.partition_key) == ("m", message.partition_key)
    assert received.time_to_live == message.time_to_live
    before, after = decode_message(original.payload), decode_message(payload)
    assert after.properties == before.properties
    assert after.application_properties == before.application_properties
    assert after.body == before.body
    own = {name: value for name, value in (after.message_annotations or {}).items() if name in BROKERS}
    assert own == BROKERS
    assert {name: type(value) for name, value in own.items()} == {name: type(v) for name, v in BROKERS.items()}


BROKERS: dict[str, Any] = {
    "x-opt-sequence-number": Long(7),
    "x-opt-enqueue-sequence-number": Long(5),
    "x-opt-enqueued-time": Timestamp(1_000_500),
    "x-opt-locked-until": Timestamp(1_060_250),
}


def test_an_unlocked_message_says_nothing_of_a_lock() -> None:
    """RECEIVE_AND_DELETE delivers without one; so does a message that came with an older lock's annotation."""
    message = stored(ServiceBusMessage(b"x"))
    message.lock_token = None
    annotations = decode_message(write_message(message)).message_annotations
    assert annotations is not None
    assert sorted(annotations) == ["x-opt-enqueue-sequence-number", "x-opt-enqueued-time", "x-opt-sequence-number"]
    message.payload = encode_message(Message(message_annotations={"x-opt-locked-until": Timestamp(1)}, body=[b"x"]))
    annotations = decode_message(write_message(message)).message_annotations
    assert annotations is not None
    assert "x-opt-locked-until" not in annotations


@pytest.mark.parametrize(
    ("state", "is_deferred", "number"),
    [
        (MessageState.ACTIVE, False, 0),
        (MessageState.LOCKED, False, 0),
        (MessageState.LOCKED, True, 1),
        (MessageState.DEFERRED, True, 1),
        (MessageState.SCHEDULED, False, 2),
    ],
)
def test_a_peeked_message_says_in_which_state_it_is(state: MessageState, is_deferred: bool, number: int) -> None:
    """As the SDK numbers them, and without a lock."""
    message = stored(ServiceBusMessage(b"x"))
    message.state, message.is_deferred = state, is_deferred
    annotations = decode_message(write_message(message, is_peeked=True)).message_annotations
    assert annotations is not None
    assert annotations["x-opt-message-state"] == Int(number)
    assert "x-opt-locked-until" not in annotations


def test_changed_properties_and_reasons_are_application_properties() -> None:
    """They lie over the sender's, on the wire as for who looks into the queue."""
    message = stored(ServiceBusMessage(b"x", application_properties={"kept": 1, "changed": 1}))
    message.change_properties({"changed": 2})
    message.dead_letter_reason, message.dead_letter_description = "bad", "no total"
    expected = {"kept": 1, "changed": 2, "DeadLetterReason": "bad", "DeadLetterErrorDescription": "no total"}
    assert decode_message(write_message(message)).application_properties == expected
    assert describe(message, is_dead=True).application_properties == expected


def test_bodies_of_every_kind_can_be_looked_at() -> None:
    """Data sections as one, text and bytes as bytes, and nothing for other values."""
    for body, octets in (
        ([b"a", b"b"], b"ab"),
        (Value("text"), b"text"),
        (Value(b"octets"), b"octets"),
        (Value(None), b""),
        (Value({"k": 1}), b""),
        (None, b""),
    ):
        message = read_message(encode_message(Message(body=body)))
        assert describe(message, is_dead=False).body == octets


def test_a_batch_is_its_members() -> None:
    """Each with its own bytes; the envelope is nothing to it."""
    first, second = ServiceBusMessage(b"a", session_id="s"), ServiceBusMessage(b"b", session_id="s")
    messages = read_delivery(encoded_batch(first, second), BATCH_FORMAT, EntitySettings())
    assert [decode_message(message.payload).body for message in messages] == [[b"a"], [b"b"]]


def test_an_envelope_that_says_nothing_agrees_with_its_members() -> None:
    """So the SDKs wrote batches before they copied the first member's session."""
    member = encoded(ServiceBusMessage(b"a", session_id="s"))
    (message,) = read_delivery(encode_message(Message(body=[member])), BATCH_FORMAT, EntitySettings())
    assert message.session_id == "s"


@pytest.mark.parametrize("name", ["session_id", "partition_key"])
def test_an_envelope_that_says_something_else_is_refused(name: str) -> None:
    """The service would route the batch by it."""
    envelope = decode_message(encoded_batch(ServiceBusMessage(b"a", **{name: "s"})))  # type: ignore[arg-type]  # by name
    envelope.body = [encoded(ServiceBusMessage(b"a", **{name: "t"}))]  # type: ignore[arg-type]  # see above
    with pytest.raises(ServiceBusError, match="distinct SessionId, PartitionKey"):
        read_delivery(encode_message(envelope), BATCH_FORMAT, EntitySettings())


@pytest.mark.parametrize(
    "payload",
    [
        encode_message(Message(body=None)),
        encode_message(Message(body=Value(1))),
        encode_message(Message(body=[b"no message"])),
        encode_message(Message(body=[encoded(ServiceBusMessage(b"a")), b"\x00"])),
    ],
)
def test_what_is_no_batch_is_refused(payload: bytes) -> None:
    """One malformed member spoils the whole."""
    with pytest.raises(AmqpDecodeError):
        read_delivery(payload, BATCH_FORMAT, EntitySettings())


def test_malformed_insides_are_nobodys_business_but_the_receivers() -> None:
    """The broker takes what it need not understand, delivers it as it is, and shows nothing of it."""
    malformed = b"\x00\x53\x74\xc1\x03\x02\xa1\x09" + b"\x00\x53\x77\xc1\x03\x02\xa1\x09"
    message = read_message(malformed)
    assert write_message(message).endswith(malformed)
    assert (describe(message, is_dead=False).body, describe(message, is_dead=False).application_properties) == (b"", {})
    message.dead_letter_reason = "bad"
    assert write_message(message).endswith(b"\xa1\x10DeadLetterReason\xa1\x03bad" + malformed[8:])
