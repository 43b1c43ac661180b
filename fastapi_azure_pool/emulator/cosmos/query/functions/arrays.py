"""Array functions, and those that pick from a list or turn an object into one.

Source: "Array functions" in the query language reference of Azure Cosmos DB for NoSQL, a page for each.
"""

from __future__ import annotations

from typing import Any

from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.functions.signature import by_name, function
from fastapi_azure_pool.emulator.cosmos.query.values import are_equal, distinct_key, without_duplicates


def _concatenate(*arrays: list[Any]) -> list[Any]:
    return [value for array in arrays for value in array]


def _has(array: list[Any], wanted: Any) -> bool:
    return any(are_equal(value, wanted) for value in array)


def _is_part(value: Any, wanted: Any) -> bool:
    if isinstance(value, dict) and isinstance(wanted, dict):
        return all(name in value and are_equal(value[name], inner) for name, inner in wanted.items())
    return are_equal(value, wanted)


def _contains(array: list[Any], wanted: Any, is_partial: bool = False) -> bool:
    return any(_is_part(value, wanted) for value in array) if is_partial else _has(array, wanted)


def _contains_any(array: list[Any], *wanted: Any) -> Any:
    # as OR does: one that is there decides, else one that is undefined leaves it open
    if any(value is not UNDEFINED and _has(array, value) for value in wanted):
        return True
    return UNDEFINED if UNDEFINED in wanted else False


def _contains_all(array: list[Any], *wanted: Any) -> Any:
    # as AND does
    if any(value is not UNDEFINED and not _has(array, value) for value in wanted):
        return False
    return UNDEFINED if UNDEFINED in wanted else True


def _slice(array: list[Any], start: float, count: float | None = None) -> list[Any]:
    first = int(start)
    if first < 0:
        first = max(len(array) + first, 0)
    return array[first:] if count is None else array[first : first + max(int(count), 0)]


def _intersection(left: list[Any], right: list[Any]) -> list[Any]:
    # the documented examples have the order of the second
    known = {distinct_key(value) for value in left}
    return list(without_duplicates(value for value in right if distinct_key(value) in known))


def _union(left: list[Any], right: list[Any]) -> list[Any]:
    return list(without_duplicates([*left, *right]))


def _choose(index: float, *choices: Any) -> Any:
    return choices[int(index) - 1] if 1 <= index <= len(choices) else UNDEFINED


def _object_to_array(value: dict[str, Any], name_key: str = "k", value_key: str = "v") -> list[dict[str, Any]]:
    return [{name_key: name, value_key: inner} for name, inner in value.items()]


ARRAY_FUNCTIONS = by_name(
    [
        function("ARRAY_CONCAT", "aa+", _concatenate),
        function("ARRAY_CONTAINS", "ad?b", _contains),
        function("ARRAY_CONTAINS_ALL", "ax+", _contains_all),
        function("ARRAY_CONTAINS_ANY", "ax+", _contains_any),
        function("ARRAY_LENGTH", "a", len),
        function("ARRAY_SLICE", "an?n", _slice),
        function("CHOOSE", "nx+", _choose),
        function("OBJECTTOARRAY", "o?ss", _object_to_array),
        function("SETINTERSECT", "aa", _intersection),
        function("SETUNION", "aa", _union),
    ]
)
