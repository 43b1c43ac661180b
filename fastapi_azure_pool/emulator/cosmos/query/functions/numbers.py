"""Mathematical functions: of numbers, and of integers of 64 bits that wrap around as in C++.

Source: "Mathematical functions" in the query language reference of Azure Cosmos DB for NoSQL, a page for each.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.functions.signature import Function, by_name, function
from fastapi_azure_pool.emulator.cosmos.query.values import as_number

if TYPE_CHECKING:
    from collections.abc import Callable

_LONG_BITS = 64
_LONG_SIGN = 1 << (_LONG_BITS - 1)
_LONG_MASK = (1 << _LONG_BITS) - 1
# More than a number can have, before its point or behind it.
_MOST_DIGITS = 308


def _number(name: str, signature: str, calculate: Callable[..., float]) -> Function:
    """Return a function of numbers that is undefined where mathematics does not define it."""

    def apply(*values: float) -> Any:
        try:
            return as_number(calculate(*values))
        except (ValueError, ArithmeticError):
            return UNDEFINED

    return function(name, signature, apply)


def _integer(name: str, signature: str, calculate: Callable[..., int]) -> Function:
    """Return a function of integers of 64 bits, which is undefined for a division by zero."""

    def apply(*values: float) -> Any:
        try:
            result = calculate(*map(int, values))
        except (ValueError, ArithmeticError):
            return UNDEFINED
        return ((result + _LONG_SIGN) & _LONG_MASK) - _LONG_SIGN

    return function(name, signature, apply)


def _logarithm(value: float, base: float | None = None) -> float:
    return math.log(value) if base is None else math.log(value, base)


def _round(value: float, digits: float = 0) -> float:
    # away from zero at the midpoint, where Python's goes to the even neighbour
    if abs(digits) > _MOST_DIGITS:
        raise ValueError(digits)
    scale = 10 ** abs(int(digits))
    scaled = abs(value) * scale if digits >= 0 else abs(value) / scale
    rounded = math.floor(scaled + 0.5)
    return math.copysign(rounded / scale if digits >= 0 else rounded * scale, value)


def _sign(value: float) -> float:
    return (value > 0) - (value < 0)


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


def _bin(value: float, size: float = 1) -> float:
    # where the size is a fraction, dividing by how many go into 1 keeps 37.7 from becoming 37.7000000001
    whole = round(1 / size)
    if abs(size) < 1 and math.isclose(whole * size, 1):
        return math.floor(value * whole) / whole
    return math.floor(value / size) * size


def _divide(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _modulo(left: int, right: int) -> int:
    return left - right * _divide(left, right)


def _random() -> float:
    return random.random()  # noqa: S311 - a query's, and nobody's secret


NUMBER_FUNCTIONS = by_name(
    [
        _number("ABS", "n", abs),
        _number("ACOS", "n", math.acos),
        _number("ASIN", "n", math.asin),
        _number("ATAN", "n", math.atan),
        _number("ATN2", "nn", math.atan2),
        _number("CEILING", "n", math.ceil),
        _number("COS", "n", math.cos),
        _number("COT", "n", lambda value: 1 / math.tan(value)),
        _number("DEGREES", "n", math.degrees),
        _number("EXP", "n", math.exp),
        _number("FLOOR", "n", math.floor),
        _number("LOG", "n?n", _logarithm),
        _number("LOG10", "n", math.log10),
        _number("NUMBERBIN", "n?n", _bin),
        _number("PI", "", lambda: math.pi),
        _number("POWER", "nn", _power),
        _number("RADIANS", "n", math.radians),
        _number("RAND", "", _random),
        _number("ROUND", "n?i", _round),
        _number("SIGN", "n", _sign),
        _number("SIN", "n", math.sin),
        _number("SQRT", "n", math.sqrt),
        _number("SQUARE", "n", lambda value: value * value),
        _number("TAN", "n", math.tan),
        _number("TRUNC", "n", math.trunc),
        _integer("INTADD", "ii", lambda left, right: left + right),
        _integer("INTBITAND", "ii", lambda left, right: left & right),
        _integer("INTBITLEFTSHIFT", "ii", lambda left, right: left << (right % _LONG_BITS)),
        _integer("INTBITNOT", "i", lambda value: ~value),
        _integer("INTBITOR", "ii", lambda left, right: left | right),
        _integer("INTBITRIGHTSHIFT", "ii", lambda left, right: left >> (right % _LONG_BITS)),
        _integer("INTBITXOR", "ii", lambda left, right: left ^ right),
        _integer("INTDIV", "ii", _divide),
        _integer("INTMOD", "ii", _modulo),
        _integer("INTMUL", "ii", lambda left, right: left * right),
        _integer("INTSUB", "ii", lambda left, right: left - right),
    ]
)
