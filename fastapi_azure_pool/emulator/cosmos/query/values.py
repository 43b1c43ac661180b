"""How JSON values compare: equality, order within a type, and the order of the types.

Sources: "Equality and comparison operators in Azure Cosmos DB for NoSQL", "ORDER BY clause in Azure Cosmos DB for NoSQL".
Two values of different types are unequal, not incomparable, as far as = and != go: that is how the service behaves
(``c.name != null`` finds the items that have a name), and how Azure's own reference evaluator in its .NET SDK does it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeGuard

from fastapi_azure_pool.emulator.cosmos.json_values import is_number, within_64_bits
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What comes first when values of different types are sorted, ascending.
_RANKS: dict[type, int] = {type(None): 1, bool: 2, int: 4, float: 4, str: 5, list: 6, dict: 7}


def rank(value: object) -> int:
    """Return the place of a value's type in the order of the types: undefined 0, then null, boolean, number, string."""
    return 0 if value is UNDEFINED else _RANKS[type(value)]


def is_finite(value: Any) -> TypeGuard[int | float]:
    """Say whether a value is a number, and neither infinite nor NaN; an integer may be greater than any float."""
    return is_number(value) and (isinstance(value, int) or math.isfinite(value))


def as_number(value: float) -> int | float:
    """Return the result of a calculation as the service writes it: 4 rather than 4.0, and no integer beyond 64 bits."""
    if isinstance(value, int):
        return value if within_64_bits(value) else _as_float(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def are_equal(left: Any, right: Any) -> bool:
    """Say whether two defined values are the same JSON value."""
    kind = rank(left)
    if kind != rank(right):
        return False
    if kind == 6:
        return len(left) == len(right) and all(map(are_equal, left, right))
    if kind == 7:
        return left.keys() == right.keys() and all(are_equal(value, right[name]) for name, value in left.items())
    return bool(left == right)


def compare(left: Any, right: Any) -> int | None:
    """Return which of two values is less (negative) or greater (positive), or None when that is undefined.

    It is undefined across types, between objects or arrays, and when either value is.
    """
    kind = rank(left)
    if kind != rank(right) or kind in {0, 6, 7}:
        return None
    return 0 if left is None else int(left > right) - int(left < right)


def sort_key(value: Any) -> tuple[int, Any]:
    """Return what Python can sort any values by, as ORDER BY does: first by type, then within it."""
    kind = rank(value)
    return (kind, value if kind in {2, 4, 5} else 0)


def distinct_key(value: Any) -> Any:
    """Return what Python can look any value up by, equal exactly where the values are; undefined has one too."""
    kind = rank(value)
    if kind == 6:
        return (kind, tuple(map(distinct_key, value)))
    if kind == 7:
        return (kind, frozenset((name, distinct_key(inner)) for name, inner in value.items()))
    return (kind, value)


def without_duplicates(values: Iterable[Any]) -> Iterator[Any]:
    """Return each of the values where it comes first."""
    seen: set[Any] = set()
    for value in values:
        key = distinct_key(value)
        if key not in seen:
            seen.add(key)
            yield value
