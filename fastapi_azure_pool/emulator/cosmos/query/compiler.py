"""From a syntax tree to plain functions over one item, in which undefined is neither true nor false.

Sources: "Logical operators", "Equality and comparison operators" and "IS_DEFINED" in the query language reference of Azure
Cosmos DB for NoSQL.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, bad_request, not_supported
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.parser import parse_query, semantic_error
from fastapi_azure_pool.emulator.cosmos.query.syntax import (
    Array,
    Between,
    Binary,
    Call,
    Expression,
    Identifier,
    In,
    Literal,
    Logical,
    Member,
    Object,
    Parameter,
    Projection,
    Query,
    SelectAll,
    SelectList,
    SelectValue,
    Unary,
)
from fastapi_azure_pool.emulator.cosmos.query.values import are_equal, compare

Parameters = Mapping[str, Any]
Evaluator = Callable[[Any, Parameters], Any]

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_AGGREGATES = frozenset({"COUNT"})
_AGGREGATES_FOR_LATER = frozenset({"AVG", "MAX", "MIN", "SUM", "COUNTIF"})


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate of a query: where its result is looked up, and what it is taken of."""

    key: str
    operand: Evaluator


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A query as functions of (item, parameters)."""

    syntax: Query
    accepts: Evaluator
    project: Evaluator
    sort_values: tuple[Evaluator, ...]
    aggregates: tuple[Aggregate, ...]


@lru_cache(maxsize=512)
def compile_query(text: str) -> CompiledQuery:
    """Return a query ready to run; the same text is compiled once.

    Raises:
        CosmosError: 400, the query is wrong or beyond this emulator.
    """
    query = parse_query(text)
    try:
        return _Compiler(query).compile()
    except RecursionError as error:
        raise bad_request("The query is nested too deeply.") from error


class _Compiler:
    def __init__(self, query: Query) -> None:
        self._query = query
        self._aggregates: list[Aggregate] = []
        self._may_aggregate = False

    def compile(self) -> CompiledQuery:
        query = self._query
        accepts = _always if query.where is None else self._expression(query.where)
        sort_values = tuple(self._expression(item.expression) for item in query.order_by)
        if any(not isinstance(item.expression, Member) for item in query.order_by):
            raise semantic_error(
                "SC2103", "Unsupported ORDER BY clause. ORDER BY item expression could not be mapped to a path."
            )
        self._may_aggregate = True
        project = self._selection(query.selection)
        return CompiledQuery(query, accepts, project, sort_values, tuple(self._aggregates))

    def _selection(self, selection: SelectAll | SelectValue | SelectList) -> Evaluator:
        if isinstance(selection, SelectAll):
            if self._query.alias is None:
                raise semantic_error("SC2040", "'SELECT *' is not valid if FROM clause is omitted.")
            return _item
        if isinstance(selection, SelectValue):
            return self._expression(selection.expression)
        names = result_names(selection.projections)
        values = (self._expression(projection.expression) for projection in selection.projections)
        return _object(tuple(zip(names, values, strict=True)))

    def _expression(self, expression: Expression) -> Evaluator:
        match expression:
            case Literal(value):
                return lambda _item, _parameters: value
            case Parameter(name):
                return lambda _item, parameters: _parameter(parameters, name)
            case Identifier(name):
                if name != self._query.alias:
                    raise semantic_error("SC2001", f"Identifier '{name}' could not be resolved.")
                return _item
            case Member():
                return self._member(expression)
            case Array(items):
                return _array(tuple(map(self._expression, items)))
            case Object(fields):
                return _object(tuple((name, self._expression(value)) for name, value in fields))
            case Call():
                return self._call(expression)
            case Unary("NOT", operand):
                return _not(self._expression(operand))
            case Unary(sign, operand):
                return _signed(sign, self._expression(operand))
            case Logical(kind, operands):
                return _logical(kind, tuple(map(self._expression, operands)))
            case Binary(kind, left, right):
                return _comparison(kind, self._expression(left), self._expression(right))
            case In(operand, choices):
                return _in(self._expression(operand), tuple(map(self._expression, choices)))
            case Between(operand, low, high):
                middle = self._expression(operand)
                return _logical(
                    "AND",
                    (
                        _comparison(">=", middle, self._expression(low)),
                        _comparison("<=", middle, self._expression(high)),
                    ),
                )

    def _member(self, expression: Member) -> Evaluator:
        names: list[str | int | Parameter] = []
        base: Expression = expression
        while isinstance(base, Member):
            names.append(base.key)
            base = base.base
        names.reverse()
        if isinstance(base, Identifier) and len(names) == 1 and isinstance(names[0], str):
            self._expression(base)
            return _property(names[0])
        return _path(self._expression(base), tuple(names))

    def _call(self, call: Call) -> Evaluator:
        if call.function in _AGGREGATES:
            return self._aggregate(call)
        if call.function in _AGGREGATES_FOR_LATER:
            raise not_supported(f"The aggregate {call.function}")
        if call.function != "IS_DEFINED":
            raise not_supported(f"The function {call.function}")
        if len(call.arguments) != 1:
            raise semantic_error("SC2050", "The IS_DEFINED function requires 1 argument(s).")
        operand = self._expression(call.arguments[0])
        return lambda item, parameters: operand(item, parameters) is not UNDEFINED

    def _aggregate(self, call: Call) -> Evaluator:
        if not self._may_aggregate:
            raise semantic_error("SC2102", "Aggregate functions are allowed in the SELECT clause only.")
        if len(call.arguments) != 1:
            raise semantic_error("SC2050", f"The {call.function} function requires 1 argument(s).")
        self._may_aggregate = False
        operand = self._expression(call.arguments[0])
        self._may_aggregate = True
        # no parameter's name is without its @
        key = f"aggregate {len(self._aggregates)}"
        self._aggregates.append(Aggregate(key, operand))
        return lambda _item, parameters: parameters[key]


def result_names(projections: tuple[Projection, ...]) -> list[str]:
    """Return what each expression of a SELECT list is called: by its alias, its last property, or $1 and so on.

    Raises:
        CosmosError: 400, two have one name.
    """
    names: list[str] = []
    unnamed = 0
    for projection in projections:
        name = projection.alias or _implied_name(projection.expression)
        if name is None:
            unnamed += 1
            name = f"${unnamed}"
        if name in names:
            raise semantic_error("SC2011", f"Column name '{name}' is specified more than once.")
        names.append(name)
    return names


def _implied_name(expression: Expression) -> str | None:
    if isinstance(expression, Identifier):
        return expression.name
    if isinstance(expression, Member) and isinstance(expression.key, str):
        return expression.key
    return None


def _always(_item: object, _parameters: Parameters) -> bool:
    return True


def _item(item: object, _parameters: Parameters) -> object:
    return item


def _parameter(parameters: Parameters, name: str) -> Any:
    if name not in parameters:
        raise semantic_error("SC2063", f"The parameter '{name}' is used in the query and has no value.")
    return parameters[name]


def _property(name: str) -> Evaluator:
    return lambda item, _parameters: item.get(name, UNDEFINED) if isinstance(item, dict) else UNDEFINED


def _path(base: Evaluator, names: tuple[str | int | Parameter, ...]) -> Evaluator:
    def evaluate(item: object, parameters: Parameters) -> Any:
        value = base(item, parameters)
        for name in names:
            key = _parameter(parameters, name.name) if isinstance(name, Parameter) else name
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


def _array(items: tuple[Evaluator, ...]) -> Evaluator:
    def evaluate(item: object, parameters: Parameters) -> list[Any]:
        values = (evaluator(item, parameters) for evaluator in items)
        return [value for value in values if value is not UNDEFINED]

    return evaluate


def _object(fields: tuple[tuple[str, Evaluator], ...]) -> Evaluator:
    def evaluate(item: object, parameters: Parameters) -> dict[str, Any]:
        values = ((name, evaluator(item, parameters)) for name, evaluator in fields)
        return {name: value for name, value in values if value is not UNDEFINED}

    return evaluate


def _not(operand: Evaluator) -> Evaluator:
    def evaluate(item: object, parameters: Parameters) -> Any:
        value = operand(item, parameters)
        return not value if isinstance(value, bool) else UNDEFINED

    return evaluate


def _signed(sign: str, operand: Evaluator) -> Evaluator:
    def evaluate(item: object, parameters: Parameters) -> Any:
        value = operand(item, parameters)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return UNDEFINED
        return -value if sign == "-" else value

    return evaluate


def _logical(kind: str, operands: tuple[Evaluator, ...]) -> Evaluator:
    # what decides the whole whatever the others are: one false for AND, one true for OR
    decisive = kind == "OR"

    def evaluate(item: object, parameters: Parameters) -> Any:
        result: Any = not decisive
        for operand in operands:
            value = operand(item, parameters)
            if value is decisive:
                return decisive
            if not isinstance(value, bool):
                result = UNDEFINED
        return result

    return evaluate


def _comparison(kind: str, left: Evaluator, right: Evaluator) -> Evaluator:
    if kind in {"=", "!="}:
        wanted = kind == "="

        def evaluate_equality(item: object, parameters: Parameters) -> Any:
            one, other = left(item, parameters), right(item, parameters)
            if one is UNDEFINED or other is UNDEFINED:
                return UNDEFINED
            return are_equal(one, other) is wanted

        return evaluate_equality
    holds = _COMPARISONS[kind]

    def evaluate_order(item: object, parameters: Parameters) -> Any:
        order = compare(left(item, parameters), right(item, parameters))
        return UNDEFINED if order is None else holds(order, 0)

    return evaluate_order


def _in(operand: Evaluator, choices: tuple[Evaluator, ...]) -> Evaluator:
    def evaluate(item: object, parameters: Parameters) -> Any:
        value = operand(item, parameters)
        if value is UNDEFINED:
            return UNDEFINED
        candidates = (choice(item, parameters) for choice in choices)
        return any(candidate is not UNDEFINED and are_equal(value, candidate) for candidate in candidates)

    return evaluate


def row_limits(query: Query, parameters: Parameters) -> tuple[int, int | None]:
    """Return how many rows a query skips and how many it takes at most.

    Raises:
        CosmosError: 400, a parameter is no such number.
    """
    if query.limit is None or query.offset is None:
        return 0, None
    return _row_count("OFFSET", query.offset, parameters), _row_count("LIMIT", query.limit, parameters)


def _row_count(clause: str, value: int | Parameter, parameters: Parameters) -> int:
    count = _parameter(parameters, value.name) if isinstance(value, Parameter) else value
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 2**31 - 1:
        raise _invalid_count(clause)
    return count


def _invalid_count(clause: str) -> CosmosError:
    return semantic_error("SC2062", f"The {clause} count value must be an integer from 0 to 2147483647.")
