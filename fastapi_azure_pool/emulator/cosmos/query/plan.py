"""How a client is to run a query over several partitions: the query plan, and which queries need one.

Sources: "Querying Azure Cosmos DB resources using the REST API": the gateway serves filters and projections across
partitions by itself and answers 400 with sub-status 1004 for the rest, which newer clients split up by the plan; the plans
themselves are those in the tests of Azure's .NET SDK (azure-cosmos-dotnet-v3, "QueryPlanBaselineTests").
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, backend_error, bad_request, not_supported
from fastapi_azure_pool.emulator.cosmos.query.compiler import result_names
from fastapi_azure_pool.emulator.cosmos.query.grouping import aggregate_calls
from fastapi_azure_pool.emulator.cosmos.query.limits import MAX_COUNT, row_limits, top_count
from fastapi_azure_pool.emulator.cosmos.query.syntax import (
    Array,
    Call,
    Expression,
    Identifier,
    Logical,
    Member,
    Object,
    Parameter,
    Projection,
    Query,
    SelectAll,
    SelectList,
    SelectValue,
)

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.cosmos.query.compiler import CompiledQuery
    from fastapi_azure_pool.emulator.cosmos.query.expressions import Parameters

_PLAN_VERSION = 2
# The client puts "true" or a condition for resuming in place of what is in braces.
_FILTER = Parameter("({documentdb-formattableorderbyquery-filter})")
_AGGREGATE_NAMES = {
    "AVG": "Average",
    "COUNT": "Count",
    "COUNTIF": "CountIf",
    "MAX": "Max",
    "MIN": "Min",
    "SUM": "Sum",
}
_ONLY_VALUE = "Cross partition query only supports 'VALUE <AggregateFunc>' for aggregates."


def needs_plan(query: CompiledQuery) -> bool:
    """Say whether a query's parts over several partitions must be put together by the client."""
    syntax = query.syntax
    if not syntax.sources:
        return False
    is_cut = syntax.limit is not None or syntax.top is not None
    return bool(syntax.order_by or query.block.is_grouped or syntax.is_distinct or is_cut)


def query_plan(query: CompiledQuery, parameters: Parameters, features: str | None) -> dict[str, Any]:
    """Return the plan as the service spells it.

    Args:
        query: The query to be split up.
        parameters: Values by name, the names with their @.
        features: What the client says that it can put together, from ``x-ms-cosmos-supported-query-features``.

    Raises:
        CosmosError: 400, the query cannot be split up, or not by this client.
    """
    syntax = query.syntax
    _check_features(_features(syntax), features)
    if syntax.group_by or _is_unnamed_aggregate(syntax):
        # no client of this emulator says that it can: the Python SDK has no GROUP BY across partitions
        raise not_supported("A query plan with GROUP BY or with aggregates that are not VALUE")
    return _plan(query, parameters)


def plan_for_refusal(query: CompiledQuery, parameters: Parameters) -> dict[str, Any] | None:
    """Return the plan that comes with the gateway's refusal; None for a query that the client must ask a plan for.

    Raises:
        CosmosError: 400, no client can split the query up.
    """
    syntax = query.syntax
    if syntax.group_by or _is_unnamed_aggregate(syntax):
        return None
    if isinstance(syntax.selection, SelectValue) and _is_within_expression(syntax.selection.expression):
        raise backend_error(400, _ONLY_VALUE)
    return _plan(query, parameters)


def _plan(query: CompiledQuery, parameters: Parameters) -> dict[str, Any]:
    syntax = query.syntax
    if query.block.aggregates:
        # the one result that there is needs no order
        syntax = replace(syntax, order_by=())
    offset, limit = (0, None) if syntax.limit is None else row_limits(syntax, parameters)
    return {
        "partitionedQueryExecutionInfoVersion": _PLAN_VERSION,
        "queryInfo": {
            "distinctType": _distinct_type(syntax),
            "top": top_count(syntax, parameters),
            "offset": None if limit is None else offset,
            "limit": limit,
            "orderBy": ["Descending" if item.is_descending else "Ascending" for item in syntax.order_by],
            "orderByExpressions": [str(item.expression) for item in syntax.order_by],
            "groupByExpressions": [],
            "groupByAliases": [],
            "aggregates": [_AGGREGATE_NAMES[call.function] for call in aggregate_calls(syntax.selection)],
            "groupByAliasToAggregateType": {},
            "rewrittenQuery": _rewritten(syntax, offset, limit),
            "hasSelectValue": isinstance(syntax.selection, SelectValue),
            "hasNonStreamingOrderBy": False,
        },
        "queryRanges": [{"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}],
    }


def _is_unnamed_aggregate(syntax: Query) -> bool:
    return not isinstance(syntax.selection, SelectValue) and any(True for _ in aggregate_calls(syntax.selection))


def _is_within_expression(expression: Expression) -> bool:
    """Say whether aggregates are parts of a greater expression, which nobody can put together."""
    calls = list(aggregate_calls(expression))
    return bool(calls) and calls != [expression]


def _features(syntax: Query) -> list[str]:
    """Return what a client must be able to do, in the order in which the service names it."""
    calls = list(aggregate_calls(syntax.selection))
    needed = {
        "Aggregate": bool(calls),
        "Distinct": syntax.is_distinct,
        "GroupBy": bool(syntax.group_by),
        "MultipleAggregates": len(calls) > 1,
        "MultipleOrderBy": len(syntax.order_by) > 1,
        "OffsetAndLimit": syntax.limit is not None,
        "OrderBy": bool(syntax.order_by),
        "Top": syntax.top is not None,
        "NonValueAggregate": _is_unnamed_aggregate(syntax),
        "CountIf": any(call.function == "COUNTIF" for call in calls),
    }
    return [name for name, is_needed in needed.items() if is_needed]


def _check_features(needed: list[str], features: str | None) -> None:
    if features is None:
        if needed:
            raise _unsupported(needed)
        return
    known = {name.strip() for name in features.split(",")}
    missing = [name for name in needed if name not in known]
    if missing:
        listed = " ".join(["None", *missing])
        raise bad_request(
            f"Query contains the following features, which the calling client does not support:\n{listed} "
        )


def _unsupported(needed: list[str]) -> CosmosError:
    lines = [f"Query contained {name}, which the calling client does not support." for name in needed]
    advice = "Upgrade your SDK to a version that does support the requested features:"
    return bad_request("\n".join([f"Query contains 1 or more unsupported features. {advice}", *lines]))


def _distinct_type(syntax: Query) -> str:
    if not syntax.is_distinct:
        return "None"
    projected = _projected(syntax)
    leading = {item.expression for item in syntax.order_by[: len(projected)]}
    # sorted by just what is selected, equal results come one after the other
    return "Ordered" if projected and leading == set(projected) else "Unordered"


def _projected(syntax: Query) -> list[Expression]:
    match syntax.selection:
        case SelectValue(expression):
            return [expression]
        case SelectList(projections):
            return [one.expression for one in projections]
        case SelectAll():
            return []


def _rewritten(syntax: Query, offset: int, limit: int | None) -> str:
    selection = syntax.selection
    if isinstance(selection, SelectValue) and isinstance(selection.expression, Call):
        parts = next(aggregate_calls(selection.expression), None)
        if parts is not None:
            return str(replace(syntax, selection=_partial(parts), is_distinct=False, top=None, offset=None, limit=None))
    # what is to be distinct is cut by the client, once it knows the others' results
    if syntax.is_distinct:
        rewritten = replace(syntax, top=None, offset=None, limit=None)
    elif limit is not None:
        # the rows to be skipped may all come from one partition: each gives as many, and the client skips
        rewritten = replace(syntax, offset=0, limit=min(offset + limit, MAX_COUNT))
    else:
        rewritten = syntax
    if syntax.order_by:
        return str(_ordered(rewritten))
    return "" if rewritten == syntax and limit is None else str(rewritten)


def _partial(call: Call) -> SelectValue:
    """Return what one partition tells of an aggregate."""
    counted = Call("COUNT", call.arguments)
    if call.function == "AVG":
        fields = (("item", Object((("sum", Call("SUM", call.arguments)), ("count", counted)))),)
        return SelectValue(Array((Object(fields),)))
    item: tuple[tuple[str, Expression], ...] = (("item", call),)
    if call.function in {"MIN", "MAX"}:
        # older clients read the item, newer ones the count as well, which tells nothing from null
        item = (*item, ("item2", Object(((call.function.lower(), call), ("count", counted)))))
    return SelectValue(Array((Object(item),)))


def _ordered(syntax: Query) -> Query:
    """Return a query whose results come with what they are sorted by, for the client to merge them."""
    root = Identifier(str(syntax.sources[0].name))
    sorted_by = Array(tuple(Object((("item", item.expression),)) for item in syntax.order_by))
    selection = SelectList(
        (
            Projection(Member(root, "_rid")),
            Projection(sorted_by, "orderByItems"),
            Projection(_payload(syntax.selection, root), "payload"),
        )
    )
    condition = _FILTER if syntax.where is None else Logical("AND", (syntax.where, _FILTER))
    return replace(syntax, selection=selection, is_distinct=False, where=condition)


def _payload(selection: SelectAll | SelectValue | SelectList, root: Identifier) -> Expression:
    match selection:
        case SelectAll():
            return root
        case SelectValue(expression):
            return expression
        case SelectList(projections):
            names = result_names(projections)
            return Object(tuple(zip(names, (one.expression for one in projections), strict=True)))
