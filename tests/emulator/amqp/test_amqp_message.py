"""Messages: their sections, against the SDKs' own encoder and decoder, and changed without touching the others."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.eventhub import EventData, EventDataBatch
from azure.eventhub._pyamqp import _decode as eventhub_decode
from azure.eventhub._pyamqp import _encode as eventhub_encode
from azure.eventhub._pyamqp import message as eventhub_message
from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus._pyamqp import _decode as servicebus_decode
from azure.servicebus._pyamqp import _encode as servicebus_encode
from azure.servicebus._pyamqp import message as servicebus_message
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp.message import (
    Header,
    Message,
    Properties,
    Sections,
    Sequences,
    Value,
    data_sections,
    decode_message,
    encode_message,
)
from fastapi_azure_pool.emulator.amqp.values import (
    AmqpDecodeError,
    Array,
    Described,
    Long,
    Symbol,
    Timestamp,
    ULong,
    encode,
)
from tests.emulator.amqp.amqp_performatives import for_servicebus, pairs, pairs_of_maps
from tests.emulator.amqp.amqp_values import (
    as_the_sdks_read,
    can_the_sdks_write,
    for_the_sdks,
    form,
    octets,
    plain_form,
    symbols,
    texts,
    values,
)

# a busy machine is no failure
no_deadline = settings(deadline=None, max_examples=40)

ENCODERS = pytest.mark.parametrize("sdk", [eventhub_encode, servicebus_encode], ids=["eventhub", "servicebus"])
DECODERS = pytest.mark.parametrize("sdk", [eventhub_decode, servicebus_decode], ids=["eventhub", "servicebus"])

writable = values(depth=1).filter(can_the_sdks_write)


@st.composite
def message_pairs(draw: st.DrawFn) -> tuple[Message, dict[str, Any]]:
    """Give a message, and the arguments that make the SDKs' twin of it."""
    mine, twin = Message(), dict[str, Any]()
    for name, kind in (("header", Header), ("properties", Properties)):
        if draw(st.booleans()):
            pair = draw(pairs(kind))
            setattr(mine, name, pair[0])
            twin[name] = pair[1]
    for name in ("delivery_annotations", "message_annotations", "footer"):
        if draw(st.booleans()):
            annotations = draw(pairs_of_maps())
            setattr(mine, name, annotations[0])
            twin[name] = annotations[1]
    if draw(st.booleans()):
        mine.application_properties = draw(st.dictionaries(texts, writable, min_size=1, max_size=3))
        twin["application_properties"] = {
            key: for_the_sdks(value) for key, value in mine.application_properties.items()
        }
    body = draw(st.sampled_from(["data", "sequence", "value"]))
    if body == "data":
        twin["data"] = mine.body = draw(st.lists(octets, min_size=1, max_size=3))
    elif body == "sequence":
        sequences = draw(st.lists(st.lists(writable, max_size=3), min_size=1, max_size=3))
        mine.body = Sequences(sequences)
        twin["sequence"] = [[for_the_sdks(value) for value in sequence] for sequence in sequences]
    else:
        # The SDKs do not write what is false: their own test is `if payload[7]`.
        value = draw(
            st.text(min_size=1) | st.binary(min_size=1) | st.uuids() | st.lists(writable, min_size=1, max_size=3)
        )
        mine.body = Value(value)
        twin["value"] = [for_the_sdks(item) for item in value] if isinstance(value, list) else value
    return mine, twin


messages = message_pairs().map(lambda pair: pair[0])


@ENCODERS
@no_deadline
@given(pair=message_pairs())
def test_what_the_sdks_write_is_read_right(sdk: Any, pair: tuple[Message, dict[str, Any]]) -> None:
    """Each section that the SDKs' own encoder writes has that content here, though they write delivery annotations last."""
    mine, twin = pair
    kind: Any = eventhub_message.Message
    if sdk is servicebus_encode:
        kind = servicebus_message.Message
        twin = {name: for_servicebus(section) for name, section in twin.items()}
    encoded = bytearray()
    sdk.encode_payload(encoded, kind(**twin))
    assert form(decode_message(bytes(encoded))) == form(mine)


@DECODERS
@no_deadline
@given(message=messages)
def test_the_sdks_read_what_is_written(sdk: Any, message: Message) -> None:
    """The SDKs' own decoder finds each section with its content."""
    found = sdk.decode_payload(memoryview(encode_message(message)))
    for name in ("header", "properties"):
        section = getattr(message, name)
        assert plain_form(getattr(found, name)) == plain_form(None if section is None else as_the_sdks_read(section))
    for name in ("delivery_annotations", "message_annotations", "application_properties", "footer"):
        assert plain_form(getattr(found, name)) == plain_form(as_the_sdks_read(getattr(message, name)))
    body = message.body
    assert found.data == (body if isinstance(body, list) else None)
    sequences = as_the_sdks_read(body.sections) if isinstance(body, Sequences) else None
    assert plain_form(found.sequence) == plain_form(sequences)
    assert plain_form(found.value) == plain_form(as_the_sdks_read(body.value) if isinstance(body, Value) else None)


@no_deadline
@given(messages)
def test_a_round_trip_changes_nothing(message: Message) -> None:
    """What was written is read back, types and all."""
    assert form(decode_message(encode_message(message))) == form(message)


@no_deadline
@given(messages, st.none() | pairs(Header).map(lambda pair: pair[0]), st.none() | st.dictionaries(symbols, writable))
def test_sections_are_replaced_without_touching_the_others(
    message: Message, header: Header | None, annotations: dict[Any, Any] | None
) -> None:
    """Header and annotations are what was given, and every other section has the bytes that it had."""
    sections = Sections(encode_message(message))
    changed = dataclasses.replace(message, header=header, message_annotations=annotations)
    assert sections.encode(header=header, message_annotations=annotations) == encode_message(changed)
    assert sections.encode() == encode_message(message)


@no_deadline
@given(messages)
def test_one_section_is_read_without_the_others(message: Message) -> None:
    """A section that is asked for is the one that decoding all of them gives."""
    sections = Sections(encode_message(message))
    for field in dataclasses.fields(Message):
        assert form(getattr(sections, field.name)) == form(getattr(message, field.name))


def test_a_replaced_section_may_be_malformed_elsewhere() -> None:
    """Only borders are read: what nobody asks for may be anything, and is passed on as it is."""
    bad_properties = bytes.fromhex("00 5374 c1 03 02 a1 ff")
    payload = encode_message(Message(Header(delivery_count=1))) + bad_properties + encode_message(Message(body=[b"1"]))
    sections = Sections(payload)
    assert sections.header == Header(delivery_count=1)
    assert sections.encode(header=None) == bad_properties + encode_message(Message(body=[b"1"]))
    with pytest.raises(AmqpDecodeError):
        _ = sections.application_properties


def test_a_section_that_does_not_exist_cannot_be_replaced() -> None:
    """A misspelt section, and the body, are mistakes of the caller's."""
    with pytest.raises(TypeError, match="has no section annotations that can be replaced"):
        Sections(b"").encode(annotations={})


def test_delivery_annotations_are_put_where_they_belong() -> None:
    """The SDKs write them last; encoding again puts every section in the standard's order."""
    encoded = bytearray()
    twin: Any = eventhub_message.Message(data=[b"1"], delivery_annotations={"a": True}, message_annotations={"b": True})
    eventhub_encode.encode_payload(encoded, twin)
    ordered = encode_message(Message(delivery_annotations={"a": True}, message_annotations={"b": True}, body=[b"1"]))
    assert Sections(bytes(encoded)).encode() == ordered.replace(b"\x41", b"\x56\x01").replace(
        bytes.fromhex("c10502"), bytes.fromhex("c10602")
    )


@pytest.mark.parametrize("message_id", [5, ULong(5), "5", b"5", uuid.UUID(int=5)])
def test_message_ids_keep_their_type(message_id: Any) -> None:
    """An id may be a number, text, bytes or a UUID, and a reply's correlation id is of the same type."""
    decoded = decode_message(encode_message(Message(properties=Properties(message_id=message_id))))
    assert decoded.properties is not None
    found = decoded.properties.message_id
    assert decode_message(encode_message(Message(properties=Properties(correlation_id=found)))) == Message(
        properties=Properties(correlation_id=message_id)
    )
    assert form(found) == form(ULong(5) if isinstance(message_id, int) else message_id)


def test_a_batch_is_split_into_its_members() -> None:
    """The data sections of a batch are its members, whatever stands around them."""
    members = [encode_message(Message(body=[bytes([index]) * index * 3])) for index in range(100)]
    batch = Message(message_annotations={"x-opt-partition-key": "key"}, body=members, footer={"a": 1})
    assert data_sections(encode_message(batch)) == members
    assert data_sections(b"") == []


def test_data_sections_may_be_named_by_their_symbol() -> None:
    """Another peer may write descriptors as symbols, or as long numbers."""
    by_symbol = encode(Described(Symbol("amqp:data:binary"), b"1"))
    by_long_number = bytes.fromhex("00 80 0000000000000075 b0 00000001 32")
    assert data_sections(by_symbol + by_long_number) == [b"1", b"2"]
    assert decode_message(by_symbol + by_long_number) == Message(body=[b"1", b"2"])


def test_an_event_hubs_batch_is_read() -> None:
    """What the Event Hubs SDK batches is found again: key, properties and body of each event."""
    event = EventData("body")
    event.properties = {"number": 5, "text": "x"}
    event.message_id = "id"
    batch: Any = EventDataBatch(1_000_000, partition_key="key")
    batch.add(event)
    batch.add(EventData(b"second"))
    encoded = bytearray()
    eventhub_encode.encode_payload(encoded, batch._message)
    payload = bytes(encoded)
    assert Sections(payload).message_annotations == {"x-opt-partition-key": "key"}
    first, second = map(decode_message, data_sections(payload))
    assert first.application_properties == {"number": 5, "text": "x"}
    assert first.body == [b"body"]
    assert first.properties is not None
    assert first.properties.message_id == "id"
    assert second.body == [b"second"]


def test_a_service_bus_batch_is_read() -> None:
    """What the Service Bus SDK batches is found again: session, time to live, scheduled time and body of each message."""
    batch: Any = ServiceBusMessageBatch()
    scheduled = datetime(2030, 1, 1, tzinfo=UTC)
    sent: dict[str, Any] = {"application_properties": {"number": 5}, "message_id": "id", "subject": "subject"}
    batch.add_message(ServiceBusMessage("body", session_id="one", time_to_live=timedelta(seconds=1), **sent))
    batch.add_message(ServiceBusMessage(b"second", session_id="one", scheduled_enqueue_time_utc=scheduled))
    encoded = bytearray()
    servicebus_encode.encode_payload(encoded, batch._message)
    first, second = map(decode_message, data_sections(bytes(encoded)))
    assert (first.body, second.body) == ([b"body"], [b"second"])
    assert first.application_properties == {"number": 5}
    assert first.header is not None
    assert first.header.ttl == 1000
    assert first.properties is not None
    assert (first.properties.message_id, first.properties.subject, first.properties.group_id) == (
        "id",
        "subject",
        "one",
    )
    milliseconds = Timestamp(scheduled.timestamp() * 1000)
    assert form(second.message_annotations) == form({Symbol("x-opt-scheduled-enqueue-time"): milliseconds})


MALFORMED: dict[str, bytes] = {
    "no section": b"\x40",
    "a descriptor cut off": b"\x00\x53",
    "no value": bytes.fromhex("00 5375"),
    "a section that is none": encode(Described(ULong(0x79), {})),
    "a section of an unknown name": encode(Described(Symbol("amqp:body"), b"")),
    "a performative": encode(Described(ULong(0x14), [])),
    "a descriptor that is a list": encode(Described([], b"")),
    "a descriptor that is a flag": encode(Described(True, b"")),
    "two headers": encode(Described(ULong(0x70), [])) * 2,
    "two values": encode(Described(ULong(0x77), 1)) * 2,
    "data and a value": encode(Described(ULong(0x75), b"")) + encode(Described(ULong(0x77), 1)),
    "data that is text": encode(Described(ULong(0x75), "text")),
    "data that is a described binary": encode(Described(ULong(0x75), Described(ULong(1), b""))),
    "a sequence that is a map": encode(Described(ULong(0x76), {})),
    "annotations that are a list": encode(Described(ULong(0x72), [])),
    "a header that is a map": encode(Described(ULong(0x70), {})),
    "a header of wrong types": encode(Described(ULong(0x70), [1])),
    "a message id that is a list": encode(Described(ULong(0x73), [[]])),
    "a message id of the wrong number": encode(Described(ULong(0x73), [Long(1)])),
    "a property too many": encode(Described(ULong(0x73), [None] * 14)),
    "an array of properties": encode(Described(ULong(0x73), Array())),
    "data longer than the message": bytes.fromhex("00 5375 b0 00000002 00"),
    "data's length cut off": bytes.fromhex("00 5375 b0 0000"),
    "data of sixteen megabytes that are not there": bytes.fromhex("00 5375 b0 01000000"),
    "no type of the standard": bytes.fromhex("00 5374 57 00"),
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
def test_malformed_messages_are_refused(payload: bytes) -> None:
    """What breaks a rule of the standard is refused, with the codec's own error."""
    with pytest.raises(AmqpDecodeError):
        decode_message(payload)


@pytest.mark.parametrize(
    "name", [name for name in MALFORMED if name.startswith(("data ", "data'", "no", "a descriptor"))]
)
def test_malformed_batches_are_refused(name: str) -> None:
    """Splitting a batch refuses what is not made of sections, or whose data is not binary."""
    if name == "data and a value":
        assert data_sections(MALFORMED[name]) == [b""]
    else:
        with pytest.raises(AmqpDecodeError):
            data_sections(MALFORMED[name])


def test_numbers_that_do_not_fit_are_not_written() -> None:
    """A header's fields have their widths."""
    with pytest.raises(ValueError, match="does not fit"):
        encode_message(Message(Header(priority=256)))
