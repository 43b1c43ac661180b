"""The type system of AMQP 1.0 (OASIS standard of 2012, part 1): Python values to bytes and back."""

from __future__ import annotations

from fastapi_azure_pool.emulator.amqp.decoding import decode
from fastapi_azure_pool.emulator.amqp.encoding import encode, encode_into
from fastapi_azure_pool.emulator.amqp.value_types import (
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
)

__all__ = [
    "AmqpDecodeError",
    "Array",
    "Byte",
    "Char",
    "DecimalBytes",
    "Described",
    "Float",
    "Int",
    "Long",
    "Short",
    "Symbol",
    "Timestamp",
    "UByte",
    "UInt",
    "ULong",
    "UShort",
    "decode",
    "encode",
    "encode_into",
]
