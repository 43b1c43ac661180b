"""Which selections make sense when a result stands for many rows.

Source: "GROUP BY clause in Azure Cosmos DB for NoSQL": the SELECT clause may hold what GROUP BY groups by, aggregates, and
constants.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.query.aggregates import AGGREGATES
from fastapi_azure_pool.emulator.cosmos.query.refusals import semantic_error
from fastapi_azure_pool.emulator.cosmos.query.syntax import Call, Identifier, Member, SelectAll, Subquery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi_azure_pool.emulator.cosmos.query.syntax import Query


def aggregate_calls(node: Any) -> Iterator[Call]:
    """Return the aggregates in a part of a syntax tree, without those of its subqueries."""
    if isinstance(node, Call) and node.function in AGGREGATES:
        yield node
    elif not isinstance(node, Subquery):
        for child in _children(node):
            yield from aggregate_calls(child)


def check_grouping(query: Query) -> None:
    """Return if each result of a query with GROUP BY or aggregates has one value.

    Raises:
        CosmosError: 400, a property may differ between the rows of one group, or ORDER BY stands beside GROUP BY.
    """
    if query.group_by and query.order_by:
        raise semantic_error("SC2100", "'ORDER BY' is not supported in presence of GROUP BY.")
    if query.group_by and any(next(aggregate_calls(expression), None) for expression in query.group_by):
        raise semantic_error("SC2102", "Aggregate functions are allowed in the SELECT clause only.")
    if not query.group_by and next(aggregate_calls(query.selection), None) is None:
        return
    if isinstance(query.selection, SelectAll):
        raise semantic_error("SC2040", "'SELECT *' is only valid with a single input set.")
    _check(query.selection, query.group_by)


def _check(node: Any, group_by: tuple[Any, ...]) -> None:
    if node in group_by or isinstance(node, Subquery) or (isinstance(node, Call) and node.function in AGGREGATES):
        return
    if isinstance(node, (Identifier, Member)) and isinstance(_root(node), Identifier):
        raise semantic_error(
            "SC2102",
            f"Property reference '{node}' is invalid in the select list because it is not contained in either an aggregate "
            "function or the GROUP BY clause.",
        )
    for child in _children(node):
        _check(child, group_by)


def _root(node: Any) -> Any:
    while isinstance(node, Member):
        node = node.base
    return node


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, tuple):
        yield from node
    elif is_dataclass(node):
        for one in fields(node):
            yield getattr(node, one.name)
