"""How a client is to run a query over several partitions: the query plan, and which queries need one.

Source: "Querying Azure Cosmos DB resources using the REST API": the gateway serves filters and projections across
partitions by itself and answers 400 with sub-status 1004 for the rest, which newer clients split up by the plan.
"""

from __future__ import annotations

from typing import Any

from fastapi_azure_pool.emulator.cosmos.errors import bad_request
from fastapi_azure_pool.emulator.cosmos.query.compiler import CompiledQuery, Parameters, result_names, row_limits
from fastapi_azure_pool.emulator.cosmos.query.syntax import Call, Object, Query, SelectAll, SelectList, SelectValue

_PLAN_VERSION = 2
# The client puts "true" or a condition for resuming in its place.
_FILTER_PLACEHOLDER = "{documentdb-formattableorderbyquery-filter}"
_AGGREGATE_NAMES = {"COUNT": "Count"}


def needs_plan(query: CompiledQuery) -> bool:
    """Say whether a query's parts over several partitions must be put together by the client."""
    return bool(query.sort_values or query.aggregates or query.syntax.limit is not None)


def query_plan(query: CompiledQuery, parameters: Parameters) -> dict[str, Any]:
    """Return the plan as the service spells it.

    Raises:
        CosmosError: 400, the query cannot be split up.
    """
    syntax = query.syntax
    offset, limit = row_limits(syntax, parameters)
    aggregates = _aggregates(query)
    return {
        "partitionedQueryExecutionInfoVersion": _PLAN_VERSION,
        "queryInfo": {
            "distinctType": "None",
            "top": None,
            "offset": None if limit is None else offset,
            "limit": limit,
            "orderBy": ["Descending" if item.is_descending else "Ascending" for item in syntax.order_by],
            "orderByExpressions": [str(item.expression) for item in syntax.order_by],
            "groupByExpressions": [],
            "groupByAliases": [],
            "aggregates": aggregates,
            "groupByAliasToAggregateType": {},
            "rewrittenQuery": _rewritten(query, offset, limit) if needs_plan(query) else "",
            "hasSelectValue": isinstance(syntax.selection, SelectValue),
            "hasNonStreamingOrderBy": False,
        },
        "queryRanges": [{"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}],
    }


def _aggregates(query: CompiledQuery) -> list[str]:
    if not query.aggregates:
        return []
    selection = query.syntax.selection
    if not isinstance(selection, SelectValue) or not isinstance(selection.expression, Call):
        raise bad_request("Cross partition query only supports 'VALUE <AggregateFunc>' for aggregates.")
    return [_AGGREGATE_NAMES[selection.expression.function]]


def _rewritten(query: CompiledQuery, offset: int, limit: int | None) -> str:
    syntax = query.syntax
    where = None if syntax.where is None else str(syntax.where)
    if query.aggregates and isinstance(syntax.selection, SelectValue):
        selection = f'VALUE [{{"item": {syntax.selection.expression}}}]'
    elif syntax.order_by:
        sort_values = ", ".join(f'{{"item": {item.expression}}}' for item in syntax.order_by)
        selection = f"{syntax.alias}._rid, [{sort_values}] AS orderByItems, {_payload(syntax)} AS payload"
        where = f"({_FILTER_PLACEHOLDER})" if where is None else f"({where}) AND ({_FILTER_PLACEHOLDER})"
    else:
        selection = str(syntax.selection)
    parts = [f"SELECT {selection}"]
    if syntax.alias is not None:
        parts.append(f"FROM {syntax.alias}")
    if where is not None:
        parts.append(f"WHERE {where}")
    if syntax.order_by:
        parts.append(f"ORDER BY {', '.join(map(str, syntax.order_by))}")
    if limit is not None:
        # the rows to be skipped may all come from one partition: each gives as many, and the client skips
        parts.append(f"OFFSET 0 LIMIT {offset + limit}")
    return "\n".join(parts)


def _payload(syntax: Query) -> str:
    match syntax.selection:
        case SelectAll():
            return str(syntax.alias)
        case SelectValue(expression):
            return str(expression)
        case SelectList(projections):
            return str(
                Object(tuple(zip(result_names(projections), (one.expression for one in projections), strict=True)))
            )
