"""How many of its results a query gives: TOP, OFFSET and LIMIT, which may be parameters.

Source: "OFFSET LIMIT clause" and "TOP keyword" in the query language reference of Azure Cosmos DB for NoSQL; the refusals are
those in the tests of Azure's .NET SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from fastapi_azure_pool.emulator.cosmos.json_values import is_number
from fastapi_azure_pool.emulator.cosmos.query.refusals import semantic_error
from fastapi_azure_pool.emulator.cosmos.query.syntax import Parameter

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.cosmos.query.expressions import Parameters
    from fastapi_azure_pool.emulator.cosmos.query.syntax import Query

# The service takes more than its clients do: they add OFFSET to LIMIT in what they ask of each partition.
MAX_COUNT = 2**32 - 1


def row_limits(query: Query, parameters: Parameters) -> tuple[int, int | None]:
    """Return how many results a query skips and how many it gives at most.

    Raises:
        CosmosError: 400, a parameter is no such number.
    """
    if query.top is not None:
        return 0, top_count(query, parameters)
    if query.limit is None or query.offset is None:
        return 0, None
    return _row_count("OFFSET", query.offset, parameters), _row_count("LIMIT", query.limit, parameters)


def top_count(query: Query, parameters: Parameters) -> int | None:
    """Return the number of TOP, None without one.

    Raises:
        CosmosError: 400, a parameter is no such number.
    """
    if query.top is None:
        return None
    count = parameters.get(query.top.name) if isinstance(query.top, Parameter) else query.top
    if not _is_count(count):
        raise semantic_error("SC2060", "The count value provided for a TOP clause must be an integer.")
    return count


def _row_count(clause: str, value: int | Parameter, parameters: Parameters) -> int:
    count = parameters.get(value.name) if isinstance(value, Parameter) else value
    if is_number(count) and count > MAX_COUNT:
        raise semantic_error("SC2062", f"The {clause} count value exceeds the maximum allowed value.")
    if not _is_count(count):
        raise semantic_error("SC2062", f"The {clause} count value must be an integer from 0 to {MAX_COUNT}.")
    return count


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
