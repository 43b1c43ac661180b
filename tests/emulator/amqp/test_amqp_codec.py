"""Values on the wire: the standard's own encodings, the SDKs' encoder and decoder as oracles, and what is refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.eventhub._pyamqp import _decode as eventhub_decode
from azure.eventhub._pyamqp import _encode as eventhub_encode
from azure.servicebus._pyamqp import _decode as servicebus_decode
from azure.servicebus._pyamqp import _encode as servicebus_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp.decoding import skip
from fastapi_azure_pool.emulator.amqp.values import (
    AmqpDecodeError,
    Array,
    Byte,
    Char,
    DecimalBytes,
    Described,
    Float,
    Int,
    Long,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
    decode,
    encode,
    encode_into,
)
from tests.emulator.amqp.amqp_values import (
    as_the_sdks_read,
    can_the_sdks_write,
    for_the_sdks,
    form,
    plain_form,
    values,
)

# a busy machine is no failure
no_deadline = settings(deadline=None, max_examples=100)

ENCODERS = pytest.mark.parametrize("sdk", [eventhub_encode, servicebus_encode], ids=["eventhub", "servicebus"])
DECODERS = pytest.mark.parametrize("sdk", [eventhub_decode, servicebus_decode], ids=["eventhub", "servicebus"])

UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")

# The standard's encodings, part 1, section 1.6: those that this codec writes, each the shortest for its value.
WRITTEN: list[tuple[str, Any]] = [
    ("40", None),
    ("41", True),
    ("42", False),
    ("50 ff", UByte(255)),
    ("60 ffff", UShort(65535)),
    ("43", UInt(0)),
    ("52 01", UInt(1)),
    ("52 ff", UInt(255)),
    ("70 00000100", UInt(256)),
    ("70 ffffffff", UInt(2**32 - 1)),
    ("44", ULong(0)),
    ("53 ff", ULong(255)),
    ("80 0000000000000100", ULong(256)),
    ("80 ffffffffffffffff", ULong(2**64 - 1)),
    ("51 80", Byte(-128)),
    ("61 8000", Short(-32768)),
    ("54 80", Int(-128)),
    ("71 ffffff7f", Int(-129)),
    ("71 00000080", Int(128)),
    ("55 7f", Long(127)),
    ("81 ffffffffffffff7f", Long(-129)),
    ("81 7fffffffffffffff", Long(2**63 - 1)),
    ("72 3fc00000", Float(1.5)),
    ("82 3ff8000000000000", 1.5),
    ("74 00000001", DecimalBytes(b"\0\0\0\1")),
    ("84 0000000000000001", DecimalBytes(b"\0\0\0\0\0\0\0\1")),
    ("94 00000000000000000000000000000001", DecimalBytes(b"\0" * 15 + b"\1")),
    ("73 0001f600", Char("\U0001f600")),
    ("83 0000018bcfe56800", Timestamp(1_700_000_000_000)),
    ("98 00112233445566778899aabbccddeeff", UUID),
    ("a0 00", b""),
    ("a0 02 0102", b"\x01\x02"),
    ("b0 00000100" + "61" * 256, b"a" * 256),
    ("a1 02 c3a9", "é"),
    ("b1 00000100" + "61" * 256, "a" * 256),
    ("a3 01 61", Symbol("a")),
    ("b3 00000100" + "61" * 256, Symbol("a" * 256)),
    ("45", []),
    ("c0 03 02 41 42", [True, False]),
    ("d0 00000104 00000100" + "40" * 256, [None] * 256),
    ("c0 ff fe" + "40" * 254, [None] * 254),
    ("d0 00000103 000000ff" + "40" * 255, [None] * 255),
    ("c0 07 02 73 0001f600 41", [Char("\U0001f600"), True]),
    ("c1 01 00", {}),
    ("c1 06 02 a30161 5201", {Symbol("a"): UInt(1)}),
    ("e0 01 00", Array()),
    ("e0 0a 02 70 00000001 00000002", Array((UInt(1), UInt(2)))),
    ("e0 04 02 56 01 00", Array((True, False))),
    ("e0 02 03 40", Array((None, None, None))),
    ("e0 12 02 81 000000000000007f ffffffffffffff80", Array((Long(127), Long(-128)))),
    ("e0 0a 02 71 0000007f ffffff80", Array((Int(127), Int(-128)))),
    ("e0 0d 02 b1 00000001 61 00000002 c3a9", Array(("a", "é"))),
    ("e0 13 02 d0 00000004 00000000 00000005 00000001 41", Array(([], [True]))),
    ("e0 07 02 005307 50 01 02", Array((Described(ULong(7), UByte(1)), Described(ULong(7), UByte(2))))),
    ("00 5324 45", Described(ULong(0x24), [])),
    ("00 a30161 5201", Described(Symbol("a"), UInt(1))),
    ("00 00530145 40", Described(Described(ULong(1), []), None)),
]

# What others may write, and this codec writes shorter.
READ: list[tuple[str, Any]] = [
    ("56 00", False),
    ("56 01", True),
    ("52 00", UInt(0)),
    ("70 00000001", UInt(1)),
    ("53 00", ULong(0)),
    ("80 0000000000000001", ULong(1)),
    ("71 ffffffff", Int(-1)),
    ("81 ffffffffffffffff", Long(-1)),
    ("b0 00000001 61", b"a"),
    ("b1 00000001 61", "a"),
    ("b3 00000001 61", Symbol("a")),
    ("c0 01 00", []),
    ("d0 00000004 00000000", []),
    ("d0 00000005 00000001 41", [True]),
    ("d1 00000004 00000000", {}),
    ("e0 02 00 50", Array()),
    ("f0 00000004 00000000", Array()),
    ("f0 00000006 00000001 50 07", Array((UByte(7),))),
    ("a3 02 c3a9", Symbol("é")),
]

MALFORMED = {
    "nothing at all": "",
    "no constructor of the standard": "01",
    "a descriptor's value is missing": "00 5324",
    "a descriptor is missing": "00",
    "a boolean that is neither": "56 02",
    "a number cut off": "70 000000",
    "a UUID cut off": "98 0011",
    "a decimal cut off": "94 00",
    "a string cut off": "a1 02 61",
    "a long string cut off": "b1 ffffffff 61",
    "a length cut off": "b0 0000",
    "text that is not UTF-8": "a1 02 c328",
    "a symbol that is not UTF-8": "a3 01 ff",
    "half a surrogate pair as UTF-8": "a1 03 eda080",
    "half a surrogate pair as a character": "73 0000d800",
    "a character beyond Unicode": "73 00110000",
    "a list cut off": "c0 03 02 41",
    "a list's header cut off": "c0",
    "a list smaller than its own count": "c0 00 00",
    "a long list smaller than its own count": "d0 00000000 00000000",
    "a list of more items than bytes": "c0 02 02 41",
    "a list of four billion items": "d0 00000005 ffffffff 41",
    "a list of four billion bytes": "d0 ffffffff 00000001 41",
    "bytes behind a list's last item": "c0 03 01 41 42",
    "an item beyond its list": "c0 03 01 a1 02 6161",
    "a list beyond its list": "c0 03 01 c0 05 01 a1 02 6161",
    "a map of more items than bytes": "c1 02 02 41",
    "a map of four billion items": "d1 00000006 fffffffe 41 41",
    "a key without a value": "c1 02 01 41",
    "a key twice": "c1 05 04 41 40 41 40",
    "a key twice, of two types": "c1 06 04 41 40 5201 40",
    "a list as a key": "c1 03 02 45 40",
    "a map as a key": "c1 05 02 c10100 40",
    "a list within an array as a key": "c1 06 02 e0020145 40",
    "bytes behind a map's last value": "c1 04 02 41 40 40",
    "an array smaller than its own count": "e0 00 00",
    "an array without a constructor": "e0 01 01",
    "an array of no type of the standard": "e0 03 01 01 00",
    "an array of more items than bytes": "e0 03 02 50 01",
    "an array of four billion items": "f0 00000006 ffffffff 50 01",
    "bytes behind an array's last item": "e0 04 01 50 01 02",
    "an array of four billion nulls": "f0 00000005 ffffffff 40",
    "an array of four billion trues": "f0 00000005 ffffffff 41",
    "an array of four billion empty lists": "f0 00000005 ffffffff 45",
    "an array of four billion outcomes": "f0 00000008 ffffffff 005324 45",
    "seventeen items of no width": "e0 02 11 40",
    "descriptors of an array's descriptors": "e0 09 01 005301 005301 50 01",
}


@pytest.mark.parametrize(("octets", "value"), WRITTEN, ids=[octets[:24] for octets, _ in WRITTEN])
def test_values_have_the_standards_encodings(octets: str, value: Any) -> None:
    """Each type is written as the standard says, in its shortest form, and read back as the same type."""
    assert encode(value).hex() == octets.replace(" ", "")
    decoded, end = decode(bytes.fromhex(octets))
    assert form(decoded) == form(value)
    assert end == len(bytes.fromhex(octets))


@pytest.mark.parametrize(("octets", "value"), READ)
def test_longer_encodings_are_read_too(octets: str, value: Any) -> None:
    """A peer may write a value longer than it needs to."""
    decoded, end = decode(bytes.fromhex(octets))
    assert (form(decoded), end) == (form(value), len(bytes.fromhex(octets)))


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
def test_malformed_values_are_refused(octets: str) -> None:
    """What breaks a rule of the standard is refused, with the codec's own error."""
    with pytest.raises(AmqpDecodeError):
        decode(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        ("d0 00000005 ffffffff 41", "claims 4294967295 items in 1 bytes"),
        ("d1 00000006 fffffffe 41 41", "claims 4294967294 items in 2 bytes"),
        ("f0 00000006 ffffffff 50 01", "claims 4294967295 items in 1 bytes"),
        ("d0 ffffffff 00000001 41", "ends at 4294967300, and the data at 10"),
        ("c1 02 01 41", "has a key without a value"),
        ("c0 03 01 41 42", "A list's items end at byte 4, and the list at 5"),
        ("c1 03 02 45 40", "is no simple value, but a list"),
        ("a1 02 c328", "Malformed value at byte 0: 'utf-8' codec can't decode"),
    ],
)
def test_an_error_says_what_is_wrong(octets: str, message: str) -> None:
    """Who writes a client reads in the error which rule its bytes break, and where; what is claimed is not read first."""
    with pytest.raises(AmqpDecodeError, match=message):
        decode(bytes.fromhex(octets))


def test_an_array_of_many_nulls_is_written_in_the_large_form() -> None:
    """The small form counts 255 items, though their bytes would have room."""
    assert encode(Array((None,) * 256)).hex() == "f0" + "00000005" + "00000100" + "40"


@no_deadline
@given(values(ours_only=True), st.binary(max_size=5), st.binary(max_size=5))
def test_a_round_trip_changes_nothing(value: Any, before: bytes, behind: bytes) -> None:
    """What was written is read back, types and all, wherever it lies in the data and whatever lies around it."""
    encoded = encode(value)
    end = len(before) + len(encoded)
    for data in (
        before + encoded + behind,
        bytearray(before + encoded + behind),
        memoryview(before + encoded + behind),
    ):
        decoded, found_end = decode(data, len(before))
        assert form(decoded) == form(value)
        assert found_end == end
    assert skip(before + encoded + behind, len(before)) == end


@pytest.mark.parametrize(
    ("value", "decoded"),
    [(5, Long(5)), (("a", 1), ["a", Long(1)]), (bytearray(b"a"), b"a"), (memoryview(b"a"), b"a")],
)
def test_pythons_types_become_the_nearest_of_amqps(value: Any, decoded: Any) -> None:
    """A plain int is a long, a tuple a list, and every kind of bytes binary."""
    assert form(decode(encode(value))[0]) == form(decoded)


def test_a_subclass_is_written_as_what_it_is_made_of() -> None:
    """A str or a dict of the application's own is a str or a dict on the wire."""

    class Name(str):
        __slots__ = ()

    class Names(dict[Name, Name]):
        pass

    assert decode(encode(Names({Name("a"): Name("b")})))[0] == {"a": "b"}


@pytest.mark.parametrize(
    "value",
    [
        UByte(256),
        UByte(-1),
        UShort(65536),
        UInt(-1),
        UInt(2**32),
        ULong(-1),
        ULong(2**64),
        Byte(128),
        Short(2**15),
        Int(2**31),
        Long(2**63),
        2**63,
        Timestamp(2**63),
        Float(1e300),
        Char("ab"),
        DecimalBytes(b"12345"),
        "\ud800",
        Array((UInt(1), ULong(1))),
        Array((1, "a")),
        Array((None, 1)),
        Array((Described(ULong(1), 1), Described(ULong(2), 1))),
        Array((Described(ULong(1), 1), 1)),
        Array((1, Described(ULong(1), 1))),
        Array((Described(ULong(1), Described(ULong(1), 1)),)),
        [{"a": UByte(256)}],
    ],
    ids=repr,
)
def test_what_does_not_fit_is_not_written(value: Any) -> None:
    """A number too large for its type, text that is no Unicode and an array of several types raise ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - UnicodeEncodeError has no message of ours
        encode(value)


def test_a_type_without_a_counterpart_is_named() -> None:
    """A set is no AMQP type, and the error says so."""
    with pytest.raises(TypeError, match="AMQP has no type for set"):
        encode([{1}])


@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: Described(ULong(1), v), lambda v: Array((v,))]
)
def test_values_nest_sixty_four_levels_deep(wrap: Any) -> None:
    """Sixty-four levels are read, as the SDKs do, and one more is refused."""
    value: Any = b"" if wrap(1) != Array((1,)) else Array((b"",))
    for _ in range(64 if value == b"" else 63):
        value = wrap(value)
    assert form(decode(encode(value))[0]) == form(value)
    with pytest.raises(AmqpDecodeError, match="nest deeper than 64"):
        decode(encode(wrap(value)))


@ENCODERS
@no_deadline
@given(value=values().filter(can_the_sdks_write))
def test_what_the_sdks_write_is_read_right(sdk: Any, value: Any) -> None:
    """What the SDKs' own encoder makes of a value is decoded to that value, with its type."""
    encoded = bytearray()
    sdk.encode_value(encoded, for_the_sdks(value))
    decoded, end = decode(bytes(encoded))
    assert form(decoded) == form(value)
    assert end == len(encoded)


@DECODERS
@no_deadline
@given(value=values())
def test_the_sdks_read_what_is_written(sdk: Any, value: Any) -> None:
    """The SDKs' own decoder reads from this codec's bytes the value that they were made of, and not a byte further."""
    encoded = encode(value)
    constructors = sdk._DECODE_BY_CONSTRUCTOR
    rest, decoded = constructors[encoded[0]](memoryview(encoded + b"behind")[1:])
    assert plain_form(decoded) == plain_form(as_the_sdks_read(value))
    assert bytes(rest) == b"behind"


def test_encoding_goes_on_where_the_buffer_ends() -> None:
    """A value is appended to what a buffer holds already."""
    buffer = bytearray(b"before")
    encode_into(buffer, [True])
    assert bytes(buffer) == b"before" + encode([True])
