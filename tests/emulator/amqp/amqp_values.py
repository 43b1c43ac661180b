"""AMQP values for Hypothesis, what the SDKs' own encoder wants for them, and what the SDKs' own decoder makes of them."""

from __future__ import annotations

import math
import uuid
from dataclasses import fields, is_dataclass
from typing import Any

from azure.eventhub._pyamqp.types import TYPE, VALUE, AMQPTypes
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp.values import (
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
)

RANGES: dict[type[int], tuple[int, int]] = {
    UByte: (0, 2**8 - 1),
    UShort: (0, 2**16 - 1),
    UInt: (0, 2**32 - 1),
    ULong: (0, 2**64 - 1),
    Byte: (-(2**7), 2**7 - 1),
    Short: (-(2**15), 2**15 - 1),
    Int: (-(2**31), 2**31 - 1),
    Long: (-(2**63), 2**63 - 1),
    Timestamp: (-(2**63), 2**63 - 1),
}


def whole_numbers(kind: type[int]) -> st.SearchStrategy[int]:
    """Give whole numbers of a type, those around the borders of the short forms more often."""
    low, high = RANGES[kind]
    edges = [n for n in (low, -129, -128, -1, 0, 1, 127, 128, 255, 256, high) if low <= n <= high]
    return (st.sampled_from(edges) | st.integers(low, high)).map(kind)


# Around 255 bytes the short form ends.
_long = st.sampled_from([254, 255, 256])
texts = st.text(max_size=12) | _long.map(lambda length: "x" * length) | st.just(128).map(lambda length: "é" * length)
symbols = texts.map(Symbol)
octets = st.binary(max_size=12) | _long.map(lambda length: b"x" * length)

# What the SDKs can write and read, by type, since the items of an array share theirs.
SIMPLE: dict[type, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    **{kind: whole_numbers(kind) for kind in RANGES},
    Float: st.floats(width=32).map(Float),
    float: st.floats(),
    uuid.UUID: st.uuids(),
    bytes: octets,
    str: texts,
    Symbol: symbols,
}
COMPOUND = (list, dict, Array, Described)
# What the SDKs know nothing of.
OURS_ONLY: dict[type, st.SearchStrategy[Any]] = {
    Char: st.characters(codec="utf-8").map(Char),
    DecimalBytes: st.sampled_from([4, 8, 16])
    .flatmap(lambda size: st.binary(min_size=size, max_size=size))
    .map(DecimalBytes),
}
# Two keys that the SDKs' decoder takes for one, such as "a" and the symbol a, are one too many.
_KEYS = (str, Symbol, bytes, ULong, Long, uuid.UUID)


@st.composite
def values(draw: st.DrawFn, *, ours_only: bool = False, kinds: tuple[type, ...] = (), depth: int = 3) -> Any:
    """Give values of any type, or of some.

    Args:
        draw: Hypothesis's own.
        ours_only: Also what the SDKs neither read nor write.
        kinds: The types to choose from; without any, all of them.
        depth: How deep they nest at most.
    """
    if not kinds:
        kinds = (*SIMPLE, *OURS_ONLY) if ours_only else tuple(SIMPLE)
        # as often a compound as not: with few of these, the short ones would hardly ever nest
        kinds = draw(st.sampled_from([kinds, COMPOUND])) if depth else kinds
    kind = draw(st.sampled_from(kinds))
    if kind in SIMPLE:
        return draw(SIMPLE[kind])
    if kind in OURS_ONLY:
        return draw(OURS_ONLY[kind])
    inner = values(ours_only=ours_only, depth=depth - 1)
    if kind is list:
        return draw(st.lists(inner, max_size=4))
    if kind is dict:
        keys = values(kinds=_KEYS)
        return dict(
            draw(st.lists(st.tuples(keys, inner), max_size=4, unique_by=lambda pair: as_the_sdks_read(pair[0])))
        )
    if kind is Described:
        return Described(draw(inner if ours_only else values(kinds=(ULong, Symbol))), draw(inner))
    simple = (*SIMPLE, Char) if ours_only else tuple(SIMPLE)
    item_kind = draw(st.sampled_from((*simple, list, dict, Array) if depth > 1 else simple))
    items = draw(st.lists(values(ours_only=ours_only, kinds=(item_kind,), depth=depth - 1), max_size=4))
    if ours_only and draw(st.booleans()):
        descriptor = draw(values(kinds=(ULong, Symbol)))
        items = [Described(descriptor, item) for item in items]
    return Array(tuple(items))


_SDK_TYPES: dict[type, str] = {
    type(None): AMQPTypes.null,
    bool: AMQPTypes.boolean,
    UByte: AMQPTypes.ubyte,
    UShort: AMQPTypes.ushort,
    UInt: AMQPTypes.uint,
    ULong: AMQPTypes.ulong,
    Byte: AMQPTypes.byte,
    Short: AMQPTypes.short,
    Int: AMQPTypes.int,
    Long: AMQPTypes.long,
    Timestamp: AMQPTypes.timestamp,
    Float: AMQPTypes.float,
    float: AMQPTypes.double,
    uuid.UUID: AMQPTypes.uuid,
    bytes: AMQPTypes.binary,
    str: AMQPTypes.string,
    Symbol: AMQPTypes.symbol,
}


def for_the_sdks(value: Any) -> dict[str, Any]:
    """Return the tree of types and values that the SDKs' encoder writes this value from."""
    if isinstance(value, list):
        return {TYPE: AMQPTypes.list, VALUE: [for_the_sdks(item) for item in value]}
    if isinstance(value, dict):
        return {TYPE: AMQPTypes.map, VALUE: [(for_the_sdks(key), for_the_sdks(item)) for key, item in value.items()]}
    if isinstance(value, Array):
        return {TYPE: AMQPTypes.array, VALUE: [for_the_sdks(item) for item in value.items]}
    if isinstance(value, Described):
        return {TYPE: AMQPTypes.described, VALUE: (for_the_sdks(value.descriptor), for_the_sdks(value.value))}
    return {TYPE: _SDK_TYPES[type(value)], VALUE: value}


def can_the_sdks_write(value: Any) -> bool:
    """Tell whether the SDKs' encoder writes a value right.

    In arrays, it gives booleans and zeros constructors of their own, and cuts nulls off.
    """
    if isinstance(value, list):
        return all(map(can_the_sdks_write, value))
    if isinstance(value, dict):
        return all(map(can_the_sdks_write, value.values()))
    if isinstance(value, Described):
        return can_the_sdks_write(value.value)
    if isinstance(value, Array):
        is_wrong = any(
            item is None or isinstance(item, bool) or (isinstance(item, UInt | ULong) and item == 0)
            for item in value.items
        )
        return not is_wrong and all(map(can_the_sdks_write, value.items))
    return True


_OUTCOMES = {0x23: "received", 0x24: "accepted", 0x25: "rejected", 0x26: "released", 0x27: "modified"}


def as_the_sdks_read(value: Any) -> Any:
    """Return what the SDKs' decoder makes of a value: text comes as bytes, a descriptor is lost, but for an outcome's."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | uuid.UUID) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [as_the_sdks_read(item) for item in value]
    if isinstance(value, Array):
        return [as_the_sdks_read(item) for item in value.items]
    if isinstance(value, dict):
        return {as_the_sdks_read(key): as_the_sdks_read(item) for key, item in value.items()}
    if isinstance(value, Described):
        read = as_the_sdks_read(value.value)
        if isinstance(value.descriptor, int) and value.descriptor in _OUTCOMES:
            return {_OUTCOMES[value.descriptor]: read}
        return read
    if is_dataclass(value):
        listed = [as_the_sdks_read(getattr(value, field.name)) for field in fields(value)]
        name = type(value).__name__.lower()
        return {name: listed} if name in _OUTCOMES.values() else listed
    if isinstance(value, bool):
        return value
    return float(value) if isinstance(value, float) else int(value)


def form(value: Any) -> Any:
    """Return what two values have in common exactly when they are the same: types count, NaN is NaN, and -0.0 is not 0.0."""
    if isinstance(value, Array):
        return ("Array", [form(item) for item in value.items])
    if isinstance(value, list):
        return ("list", [form(item) for item in value])
    if isinstance(value, dict):
        return ("dict", [(form(key), form(item)) for key, item in value.items()])
    if isinstance(value, Described):
        return ("Described", form(value.descriptor), form(value.value))
    if is_dataclass(value):
        return (type(value), [form(getattr(value, field.name)) for field in fields(value)])
    if isinstance(value, float) and math.isnan(value):
        return (type(value), "NaN")
    return (type(value), repr(value))


def plain_form(value: Any) -> Any:
    """Return the form of what the SDKs' decoder gives, which marks described values with subclasses."""
    if isinstance(value, list | tuple):
        return [plain_form(item) for item in value]
    if isinstance(value, dict):
        # The Service Bus SDK puts a described map's descriptor into the map, under a str: keys off the wire are bytes.
        return [(plain_form(key), plain_form(item)) for key, item in value.items() if not isinstance(key, str)]
    if isinstance(value, bytes):
        return form(bytes(value))
    if isinstance(value, float):
        return form(float(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return form(int(value))
    return form(value)
