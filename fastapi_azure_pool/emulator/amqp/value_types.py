"""AMQP's types that Python has no type of its own for (OASIS AMQP 1.0, part 1), and the error for bytes that are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class AmqpDecodeError(ValueError):
    """Bytes that are no AMQP; the message says what is wrong with them."""


class Symbol(str):
    """A symbol: a name out of some agreed set, equal to the str that it spells."""

    __slots__ = ()


class Char(str):
    """One Unicode character."""

    __slots__ = ()


class UByte(int):
    """An unsigned integer of 8 bits."""

    __slots__ = ()


class UShort(int):
    """An unsigned integer of 16 bits."""

    __slots__ = ()


class UInt(int):
    """An unsigned integer of 32 bits."""

    __slots__ = ()


class ULong(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


class Byte(int):
    """A signed integer of 8 bits."""

    __slots__ = ()


class Short(int):
    """A signed integer of 16 bits."""

    __slots__ = ()


class Int(int):
    """A signed integer of 32 bits."""

    __slots__ = ()


class Long(int):
    """A signed integer of 64 bits, as a plain int is too."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970-01-01T00:00:00Z."""

    __slots__ = ()


class Float(float):
    """A floating point number of 32 bits; a plain float has 64."""

    __slots__ = ()


class DecimalBytes(bytes):
    """A decimal of 32, 64 or 128 bits as it came: nobody here calculates with it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor (most often a ULong or a Symbol) that says what it means."""

    descriptor: object
    value: object


@dataclass(frozen=True, slots=True)
class Array:
    """Values of one type, which the wire names once for all of them."""

    items: tuple[Any, ...] = ()
