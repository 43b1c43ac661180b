"""The operators of the query language as plain functions over one row, in which undefined is neither true nor false.

Sources: "Logical operators", "Equality and comparison operators", "Arithmetic operators", "Bitwise operators", "Ternary and
coalesce operators" and "Keywords" in the query language reference of Azure Cosmos DB for NoSQL.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from fastapi_azure_pool.emulator.cosmos.json_values import is_number
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.values import are_equal, as_number, compare, is_finite

Parameters = Mapping[str, Any]
# The values of a query's sources, the item itself first.
Row = tuple[Any, ...]
Evaluator = Callable[[Row, Parameters], Any]

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def always(_row: Row, _parameters: Parameters) -> bool:
    """Return true: the condition of a query without WHERE."""
    return True


def constant(value: Any) -> Evaluator:
    """Return what gives one value always."""
    return lambda _row, _parameters: value


def parameter(name: str) -> Evaluator:
    """Return what gives a parameter's value, undefined for one that did not come with the query."""
    return lambda _row, parameters: parameters.get(name, UNDEFINED)


def slot(index: int) -> Evaluator:
    """Return what gives a source's value."""
    return lambda row, _parameters: row[index]


def property_of_slot(index: int, name: str) -> Evaluator:
    """Return what gives a property of a source's value: the commonest of all expressions, in one step."""

    def evaluate(row: Row, _parameters: Parameters) -> Any:
        value = row[index]
        return value.get(name, UNDEFINED) if isinstance(value, dict) else UNDEFINED

    return evaluate


def path(base: Evaluator, keys: tuple[str | int | Evaluator, ...]) -> Evaluator:
    """Return what follows names and numbers into a value."""

    def evaluate(row: Row, parameters: Parameters) -> Any:
        value = base(row, parameters)
        for step in keys:
            key = step(row, parameters) if callable(step) else step
            if isinstance(value, dict) and isinstance(key, str):
                value = value.get(key, UNDEFINED)
            elif (
                isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(value)
            ):
                value = value[key]
            else:
                return UNDEFINED
        return value

    return evaluate


def array(items: tuple[Evaluator, ...]) -> Evaluator:
    """Return what makes an array; an undefined element becomes null, as a live account was seen to answer."""

    def evaluate(row: Row, parameters: Parameters) -> list[Any]:
        values = (evaluator(row, parameters) for evaluator in items)
        return [None if value is UNDEFINED else value for value in values]

    return evaluate


def object_(fields: tuple[tuple[str, Evaluator], ...]) -> Evaluator:
    """Return what makes an object, without the undefined fields."""

    def evaluate(row: Row, parameters: Parameters) -> dict[str, Any]:
        values = ((name, evaluator(row, parameters)) for name, evaluator in fields)
        return {name: value for name, value in values if value is not UNDEFINED}

    return evaluate


def unary(kind: str, operand: Evaluator) -> Evaluator:
    """Return NOT, which takes a boolean, or a sign or ~, which take a number; undefined of anything else."""
    if kind == "NOT":

        def negate(row: Row, parameters: Parameters) -> Any:
            value = operand(row, parameters)
            return not value if isinstance(value, bool) else UNDEFINED

        return negate
    calculate = _SIGNS[kind]

    def evaluate(row: Row, parameters: Parameters) -> Any:
        value = operand(row, parameters)
        return calculate(value) if is_number(value) else UNDEFINED

    return evaluate


def logical(kind: str, operands: tuple[Evaluator, ...]) -> Evaluator:
    """Return AND or OR, undefined where one that is no boolean leaves it open."""
    # what decides the whole whatever the others are: one false for AND, one true for OR
    decisive = kind == "OR"

    def evaluate(row: Row, parameters: Parameters) -> Any:
        result: Any = not decisive
        for operand in operands:
            value = operand(row, parameters)
            if value is decisive:
                return decisive
            if not isinstance(value, bool):
                result = UNDEFINED
        return result

    return evaluate


def binary(kind: str, left: Evaluator, right: Evaluator) -> Evaluator:
    """Return the operator of that spelling."""
    if kind in {"=", "!="}:
        return _equality(left, right, wanted=kind == "=")
    if kind in _COMPARISONS:
        return comparison(kind, left, right)
    if kind == "||":
        return _concatenation(left, right)
    return _calculation(_CALCULATIONS[kind], left, right)


def _equality(left: Evaluator, right: Evaluator, *, wanted: bool) -> Evaluator:
    def evaluate(row: Row, parameters: Parameters) -> Any:
        one, other = left(row, parameters), right(row, parameters)
        if one is UNDEFINED or other is UNDEFINED:
            return UNDEFINED
        return are_equal(one, other) is wanted

    return evaluate


def comparison(kind: str, left: Evaluator, right: Evaluator) -> Evaluator:
    """Return the comparison of two values, undefined across types."""
    holds = _COMPARISONS[kind]

    def evaluate(row: Row, parameters: Parameters) -> Any:
        order = compare(left(row, parameters), right(row, parameters))
        return UNDEFINED if order is None else holds(order, 0)

    return evaluate


def _concatenation(left: Evaluator, right: Evaluator) -> Evaluator:
    def evaluate(row: Row, parameters: Parameters) -> Any:
        one, other = left(row, parameters), right(row, parameters)
        return one + other if isinstance(one, str) and isinstance(other, str) else UNDEFINED

    return evaluate


def _calculation(calculate: Callable[[Any, Any], int | float], left: Evaluator, right: Evaluator) -> Evaluator:
    def evaluate(row: Row, parameters: Parameters) -> Any:
        one, other = left(row, parameters), right(row, parameters)
        if not is_number(one) or not is_number(other):
            return UNDEFINED
        try:
            return as_number(calculate(one, other))
        except ArithmeticError:  # a float's range is left: infinite, as in the service's doubles
            return math.inf

    return evaluate


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left)


def _modulo(left: float, right: float) -> float:
    return math.fmod(left, right) if right and is_finite(left) else math.nan


def _to_int32(value: float) -> int:
    """Return a number as the bitwise operators of JavaScript, and so of Azure, take it: an integer of 32 bits."""
    return _signed(int(value)) if is_finite(value) else 0


def _signed(bits: int) -> int:
    return ((bits + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _shift_left(left: float, right: float) -> int:
    return _signed(_to_int32(left) << (_to_int32(right) & 31))


def _shift_right(left: float, right: float) -> int:
    return _to_int32(left) >> (_to_int32(right) & 31)


def _shift_in_zeros(left: float, right: float) -> int:
    return (_to_int32(left) & 0xFFFFFFFF) >> (_to_int32(right) & 31)


_SIGNS: dict[str, Callable[[Any], int | float]] = {
    "-": operator.neg,
    "+": operator.pos,
    "~": lambda value: ~_to_int32(value),
}
_CALCULATIONS: dict[str, Callable[[Any, Any], int | float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _modulo,
    "&": lambda left, right: _to_int32(left) & _to_int32(right),
    "|": lambda left, right: _to_int32(left) | _to_int32(right),
    "^": lambda left, right: _to_int32(left) ^ _to_int32(right),
    "<<": _shift_left,
    ">>": _shift_right,
    ">>>": _shift_in_zeros,
}


def in_(operand: Evaluator, choices: tuple[Evaluator, ...]) -> Evaluator:
    """Return whether a value equals one of several."""

    def evaluate(row: Row, parameters: Parameters) -> Any:
        value = operand(row, parameters)
        if value is UNDEFINED:
            return UNDEFINED
        candidates = (choice(row, parameters) for choice in choices)
        return any(candidate is not UNDEFINED and are_equal(value, candidate) for candidate in candidates)

    return evaluate


def like(operand: Evaluator, pattern: Evaluator, escape: str | None) -> Evaluator:
    """Return whether a text matches a pattern of %, _ and brackets; undefined unless both are texts."""

    def evaluate(row: Row, parameters: Parameters) -> Any:
        text, wanted = operand(row, parameters), pattern(row, parameters)
        if not isinstance(text, str) or not isinstance(wanted, str):
            return UNDEFINED
        return _like_pattern(wanted, escape).fullmatch(text) is not None

    return evaluate


@lru_cache(maxsize=512)
def _like_pattern(pattern: str, escape: str | None) -> re.Pattern[str]:
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == escape and position < len(pattern):
            parts.append(re.escape(pattern[position]))
            position += 1
        elif character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        elif character == "[" and (end := pattern.find("]", position + 1)) > 0:
            parts.append(_bracket(pattern[position:end]))
            position = end + 1
        else:
            parts.append(re.escape(character))
    return re.compile("".join(parts), re.DOTALL)


def _bracket(inside: str) -> str:
    """Return the regular expression of a set such as a-f or ^abc; a range whose ends are swapped holds nothing."""
    negation, members = ("^", inside[1:]) if inside.startswith("^") and len(inside) > 1 else ("", inside)
    parts: list[str] = []
    position = 0
    while position < len(members):
        if members[position + 1 : position + 2] == "-" and position + 2 < len(members):
            low, high = members[position], members[position + 2]
            if low <= high:
                parts.append(f"{re.escape(low)}-{re.escape(high)}")
            position += 3
        else:
            parts.append(re.escape(members[position]))
            position += 1
    if not parts:
        return "." if negation else r"(?!)"
    return f"[{negation}{''.join(parts)}]"


def conditional(condition: Evaluator, if_true: Evaluator, otherwise: Evaluator) -> Evaluator:
    """Return one value where a condition is true and another everywhere else, as Azure's reference evaluator does."""

    def evaluate(row: Row, parameters: Parameters) -> Any:
        return (if_true if condition(row, parameters) is True else otherwise)(row, parameters)

    return evaluate


def coalesce(first: Evaluator, second: Evaluator) -> Evaluator:
    """Return the first value, or the second where that is undefined; null is defined."""

    def evaluate(row: Row, parameters: Parameters) -> Any:
        value = first(row, parameters)
        return second(row, parameters) if value is UNDEFINED else value

    return evaluate


def call(function: Callable[..., Any], arguments: tuple[Evaluator, ...]) -> Evaluator:
    """Return what calls a function with its arguments' values."""
    if len(arguments) == 1:
        (only,) = arguments
        return lambda row, parameters: function(only(row, parameters))
    return lambda row, parameters: function(*(argument(row, parameters) for argument in arguments))
