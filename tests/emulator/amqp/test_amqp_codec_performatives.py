"""Performatives: each field of each one, as the SDKs' own encoder and decoder have it, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from azure.eventhub._pyamqp import _decode as eventhub_decode
from azure.eventhub._pyamqp import _encode as eventhub_encode
from azure.servicebus._pyamqp import _decode as servicebus_decode
from azure.servicebus._pyamqp import _encode as servicebus_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp.performatives import (
    Accepted,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Error,
    Flow,
    Modified,
    Open,
    Received,
    Rejected,
    Released,
    SaslChallenge,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    SaslResponse,
    Source,
    Target,
    Transfer,
    decode_performative,
    encode_performative,
)
from fastapi_azure_pool.emulator.amqp.values import (
    AmqpDecodeError,
    Array,
    Described,
    Symbol,
    UInt,
    ULong,
    decode,
    encode,
)
from tests.emulator.amqp.amqp_performatives import PERFORMATIVES, TWINS, any_pair, for_servicebus
from tests.emulator.amqp.amqp_values import as_the_sdks_read, form, plain_form

# a busy machine is no failure
no_deadline = settings(deadline=None, max_examples=80)

# One of each, with what the standard demands and nothing more: descriptor, number of fields.
LEAST: list[tuple[Any, int, int]] = [
    (Open("container"), 0x10, 10),
    (Begin(None, 0, 1, 2), 0x11, 8),
    (Attach("link", 0, role=False), 0x12, 14),
    (Flow(None, 0, 1, 2), 0x13, 11),
    (Transfer(0), 0x14, 11),
    (Disposition(role=True, first=0), 0x15, 6),
    (Detach(0), 0x16, 3),
    (End(), 0x17, 1),
    (Close(), 0x18, 1),
    (SaslMechanisms([]), 0x40, 1),
    (SaslInit("ANONYMOUS"), 0x41, 3),
    (SaslChallenge(b""), 0x42, 1),
    (SaslResponse(b""), 0x43, 1),
    (SaslOutcome(0), 0x44, 2),
]
# Those that come within others.
LEAST_WITHIN: list[tuple[Any, int, int]] = [
    (Error("amqp:internal-error"), 0x1D, 3),
    (Received(0, 0), 0x23, 2),
    (Accepted(), 0x24, 0),
    (Rejected(), 0x25, 1),
    (Released(), 0x26, 0),
    (Modified(), 0x27, 3),
    (Source(), 0x28, 11),
    (Target(), 0x29, 7),
]
# The SDKs call these differently from the standard.
RENAMED = {"idle_timeout": "idle_time_out", "send_settle_mode": "snd_settle_mode", "filters": "filter"}


def within(composite: Any) -> Any:
    """Return a performative that carries a described list."""
    if isinstance(composite, Error):
        return Close(composite)
    if isinstance(composite, Source):
        return Attach("", 0, role=True, source=composite)
    if isinstance(composite, Target):
        return Attach("", 0, role=True, target=composite)
    return Disposition(role=True, first=0, state=composite)


def name_of(value: Any) -> str:
    """Return a test's name for a described list."""
    return type(value).__name__ if dataclasses.is_dataclass(value) else ""


@pytest.mark.parametrize(("performative", "descriptor", "count"), LEAST, ids=name_of)
def test_every_field_is_written(performative: Any, descriptor: int, count: int) -> None:
    """A performative comes with all its fields, trailing nulls too: the SDKs index them without looking."""
    described, _ = decode(encode_performative(performative))
    assert form(described.descriptor) == form(ULong(descriptor))
    assert len(described.value) == count == len(dataclasses.fields(performative))


@pytest.mark.parametrize(("composite", "descriptor", "count"), LEAST_WITHIN, ids=name_of)
def test_every_field_within_is_written(composite: Any, descriptor: int, count: int) -> None:
    """The same holds for sources, targets, errors and outcomes, wherever they are."""
    described, _ = decode(encode_performative(within(composite)))
    inner: Any = next(value for value in described.value if isinstance(value, Described))
    assert form(inner.descriptor) == form(ULong(descriptor))
    assert len(inner.value) == count == len(dataclasses.fields(composite))


@pytest.mark.parametrize("kind", TWINS, ids=lambda kind: kind.__name__)
def test_fields_are_called_as_in_the_standard(kind: type) -> None:
    """The names are the SDKs', but where these depart from the standard."""
    sdk_names = [definition.name for definition in TWINS[kind]._definition if definition is not None]
    assert [field.name for field in dataclasses.fields(kind)] == [RENAMED.get(name, name) for name in sdk_names]


@pytest.mark.parametrize("sdk", [eventhub_encode, servicebus_encode], ids=["eventhub", "servicebus"])
@no_deadline
@given(pair=any_pair(PERFORMATIVES), payload=st.binary(max_size=5))
def test_what_the_sdks_write_is_read_right(sdk: Any, pair: tuple[Any, Any], payload: bytes) -> None:
    """Each field that the SDKs' own encoder writes has that value here, and the payload begins where it ends."""
    mine, twin = pair
    if sdk is servicebus_encode:
        twin = for_servicebus(twin)
    encoded = bytearray()
    sdk.encode_value(encoded, sdk.describe_performative(twin))
    decoded, end = decode_performative(bytes(encoded) + payload)
    assert form(decoded) == form(mine)
    assert end == len(encoded)


@pytest.mark.parametrize("sdk", [eventhub_decode, servicebus_decode], ids=["eventhub", "servicebus"])
@no_deadline
@given(pair=any_pair(PERFORMATIVES), payload=st.binary(max_size=5))
def test_the_sdks_read_what_is_written(sdk: Any, pair: tuple[Any, Any], payload: bytes) -> None:
    """The SDKs' own decoder finds each field at its place, and a transfer's payload behind them."""
    mine, twin = pair
    code, found = sdk.decode_frame(memoryview(encode_performative(mine) + payload))
    expected = as_the_sdks_read([getattr(mine, field.name) for field in dataclasses.fields(mine)])
    if sdk is servicebus_decode:
        defaults = [definition.default for definition in twin._definition if definition is not None]
        expected = [default if value is None else value for value, default in zip(expected, defaults, strict=True)]
    if isinstance(mine, Transfer):
        assert bytes(found.pop()) == payload
    assert code == twin._code
    assert plain_form(found) == plain_form(expected)


@no_deadline
@given(any_pair(PERFORMATIVES), st.binary(max_size=5), st.binary(max_size=5))
def test_a_round_trip_changes_nothing(pair: tuple[Any, Any], before: bytes, payload: bytes) -> None:
    """What was written is read back, wherever it lies in the data."""
    mine, _ = pair
    encoded = encode_performative(mine)
    for data in (before + encoded + payload, bytearray(before + encoded + payload)):
        decoded, end = decode_performative(data, len(before))
        assert form(decoded) == form(mine)
        assert end == len(before) + len(encoded)


@pytest.mark.parametrize(
    "encoded",
    [
        Described(ULong(0x14), [UInt(7)]),
        Described(Symbol("amqp:transfer:list"), [UInt(7)]),
        Described(ULong(0x14), [UInt(7), *[None] * 10]),
    ],
)
def test_trailing_fields_may_be_left_out(encoded: Any) -> None:
    """Other peers leave trailing nulls out, and may name a performative by its symbol."""
    data = encode(encoded)
    assert decode_performative(data) == (Transfer(7), len(data))


def test_a_long_descriptor_and_a_long_list_are_read() -> None:
    """Descriptor and list may come in their longest forms."""
    data = bytes.fromhex("00 80 0000000000000017 d0 00000005 00000001 40")
    assert decode_performative(data) == (End(), len(data))
    assert decode_performative(bytes.fromhex("00 5317 45")) == (End(), 4)


def test_several_values_may_come_alone() -> None:
    """A field of several symbols may be one symbol, as the standard's "multiple" allows."""
    data = encode(Described(ULong(0x40), [Symbol("ANONYMOUS")]))
    assert decode_performative(data)[0] == SaslMechanisms((Symbol("ANONYMOUS"),))


MALFORMED: dict[str, Any] = {
    "no described value": [UInt(7)],
    "an unknown number": Described(ULong(0x19), []),
    "an unknown symbol": Described(Symbol("amqp:transfers:list"), [UInt(7)]),
    "a descriptor that is a list": Described([], [UInt(7)]),
    "a descriptor's descriptor": Described(Described(ULong(0x14), []), [UInt(7)]),
    "a source alone": Described(ULong(0x28), []),
    "a message's section": Described(ULong(0x70), []),
    "a map of fields": Described(ULong(0x14), {UInt(7): None}),
    "an array of fields": Described(ULong(0x14), Array((UInt(7),))),
    "no list at all": Described(ULong(0x14), None),
    "one field too many": Described(ULong(0x14), [UInt(7), *[None] * 11]),
    "no handle": Described(ULong(0x14), []),
    "a null handle": Described(ULong(0x14), [None, UInt(1)]),
    "a handle of another width": Described(ULong(0x14), [ULong(7)]),
    "a handle that is text": Described(ULong(0x14), ["7"]),
    "a tag that is text": Described(ULong(0x14), [UInt(7), None, "tag"]),
    "a flag that is a number": Described(ULong(0x14), [UInt(7), None, None, None, UInt(1)]),
    "a state that is a number": Described(ULong(0x14), [UInt(7), *[None] * 6, UInt(1)]),
    "a state that is a source": Described(ULong(0x14), [UInt(7), *[None] * 6, Described(ULong(0x28), [])]),
    "a state that is another performative": Described(ULong(0x14), [UInt(7), *[None] * 6, Described(ULong(0x17), [])]),
    "a state of wrong fields": Described(ULong(0x14), [UInt(7), *[None] * 6, Described(ULong(0x25), [UInt(1)])]),
    "a target where a source belongs": Described(
        ULong(0x12), ["", UInt(0), True, None, None, Described(ULong(0x29), [])]
    ),
    "an error without its condition": Described(ULong(0x18), [Described(ULong(0x1D), [None, "text"])]),
    "a condition that is a string": Described(ULong(0x18), [Described(ULong(0x1D), ["amqp:internal-error"])]),
    "properties that are a list": Described(ULong(0x10), ["", *[None] * 8, [Symbol("a"), 1]]),
    "capabilities that are strings": Described(ULong(0x10), ["", *[None] * 6, Array(("a",))]),
    "a channel too wide": Described(ULong(0x11), [UInt(1), UInt(0), UInt(0), UInt(0)]),
    "a null window": Described(ULong(0x13), [None, None, UInt(0), UInt(0)]),
    "mechanisms that are null": Described(ULong(0x40), [None]),
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_malformed_performatives_are_refused(value: Any) -> None:
    """Whoever handles a performative may rely on its fields' types, and on the mandatory ones being there."""
    with pytest.raises(AmqpDecodeError):
        decode_performative(encode(value))


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "00",
        "00 53",
        "00 5314",
        "00 5314 c0",
        "00 5314 c0 02",
        "00 5314 c0 02 01",
        "00 5314 d0 000000",
        "00 5314 c0 00 00",
        "00 5314 c0 02 02 43",
        "00 5314 c0 01 01 43",
        "00 5314 c0 03 01 43 40",
        "00 5314 d0 ffffffff 00000001 43",
        "00 5314 d0 00000005 ffffffff 43",
    ],
)
def test_cut_off_and_ill_sized_performatives_are_refused(octets: str) -> None:
    """A list of fields that ends early, late or nowhere is malformed."""
    with pytest.raises(AmqpDecodeError):
        decode_performative(bytes.fromhex(octets))


def test_an_error_names_the_field() -> None:
    """Who writes a client finds the field that is wrong in the message, and the type that it should have."""
    with pytest.raises(AmqpDecodeError, match="amqp:transfer:list's delivery_tag is of type binary, and came as 0xa1"):
        decode_performative(encode(Described(ULong(0x14), [UInt(7), None, "tag"])))


def test_an_error_names_what_is_no_performative() -> None:
    """Bytes that are no described value at all are told from an unknown descriptor."""
    with pytest.raises(AmqpDecodeError, match="A described value begins with 0x00, and byte 0 is 0xc0"):
        decode_performative(encode([UInt(7)]))
    with pytest.raises(AmqpDecodeError, match="is 25, and none of amqp:attach:list, amqp:begin:list"):
        decode_performative(encode(Described(ULong(0x19), [])))


@pytest.mark.parametrize(
    "performative",
    [Transfer(None), Flow(None, None, 1, 1), Close(Error(None)), Disposition(role=None, first=1), Open()],  # type: ignore[arg-type]
)
def test_a_mandatory_field_is_not_forgotten(performative: Any) -> None:
    """What the standard demands and nobody set is not written as null."""
    with pytest.raises(ValueError, match="needs its"):
        encode_performative(performative)


def test_a_number_too_large_for_its_field_is_not_written() -> None:
    """A uint field takes no more than 32 bits."""
    with pytest.raises(ValueError, match="does not fit"):
        encode_performative(Transfer(2**32))


def test_only_described_lists_of_amqp_are_written() -> None:
    """A class that AMQP does not know is a mistake of the caller's."""
    with pytest.raises(TypeError, match="str is no described list"):
        encode_performative("open")  # type: ignore[arg-type]  # on purpose
