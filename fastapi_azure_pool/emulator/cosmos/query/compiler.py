"""From a syntax tree to plain functions over the rows that its sources make of an item.

Sources: "FROM clause", "JOIN", "Subqueries" and "SELECT clause" in the query language reference of Azure Cosmos DB for NoSQL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.cosmos.errors import backend_error
from fastapi_azure_pool.emulator.cosmos.query import expressions as operators
from fastapi_azure_pool.emulator.cosmos.query.aggregates import AGGREGATES
from fastapi_azure_pool.emulator.cosmos.query.blocks import Aggregate, Block, Expansion, expansion_of, subquery
from fastapi_azure_pool.emulator.cosmos.query.functions.dates import STATIC_FUNCTIONS, now_in_ticks
from fastapi_azure_pool.emulator.cosmos.query.functions.library import find_function
from fastapi_azure_pool.emulator.cosmos.query.grouping import check_grouping
from fastapi_azure_pool.emulator.cosmos.query.parser import parse_query
from fastapi_azure_pool.emulator.cosmos.query.refusals import semantic_error, too_deep
from fastapi_azure_pool.emulator.cosmos.query.syntax import (
    Array,
    Between,
    Binary,
    Call,
    Coalesce,
    Conditional,
    Expression,
    Identifier,
    In,
    Like,
    Literal,
    Logical,
    Member,
    Object,
    Parameter,
    Projection,
    Query,
    SelectAll,
    SelectValue,
    Source,
    Subquery,
    Unary,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi_azure_pool.emulator.cosmos.query.expressions import Evaluator

# The parameter that holds when the query began, in ticks; no parameter of a query is without its @.
NOW = "now"

# How deep a query may nest, so that neither running nor printing it meets Python's own limit far from here.
_MAX_DEPTH = 100

# Names that stand for numbers where no source is called so.
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf}


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A query as functions of (row, parameters), in which the row of an item begins as ``(item,)``.

    Attributes:
        syntax: What was compiled.
        block: What it does with rows.
        sort_values: What ORDER BY sorts by.
        is_whole_item: Whether its results are the items as they are stored.
    """

    syntax: Query
    block: Block
    sort_values: tuple[Evaluator, ...]
    is_whole_item: bool


@lru_cache(maxsize=512)
def compile_query(text: str) -> CompiledQuery:
    """Return a query ready to run; the same text is compiled once.

    Raises:
        CosmosError: 400, the query is wrong or beyond this emulator.
    """
    try:
        query = parse_query(text)
        compiler = _Compiler(query, {}, 1, count(), 0, is_outermost=True)
        block = compiler.compile()
        is_whole_item = isinstance(query.selection, SelectAll) and block.width == 1
        return CompiledQuery(query, block, compiler.sort_values(), is_whole_item)
    except RecursionError as error:
        raise too_deep() from error


class _Compiler:
    """Compiles one SELECT; a SELECT within it gets a compiler of its own, which knows the sources around it."""

    def __init__(
        self,
        query: Query,
        scope: Mapping[str, int],
        width: int,
        numbers: Iterator[int],
        depth: int,
        *,
        is_outermost: bool = False,
    ) -> None:
        self._query = query
        self._scope = dict(scope)
        self._width = width
        self._numbers = numbers
        self._depth = depth
        self._is_outermost = is_outermost
        self._aggregates: list[Aggregate] = []
        self._may_aggregate = False

    def compile(self) -> Block:
        query = self._query
        if not self._is_outermost:
            _check_subquery(query)
        if query.top is not None and query.limit is not None:
            raise semantic_error("SC2061", "'OFFSET LIMIT' clause and 'TOP' cannot be used in the same query.")
        expansions = self._sources(query.sources)
        accepts = operators.always if query.where is None else self._expression(query.where)
        group_keys = tuple(map(self._expression, query.group_by))
        check_grouping(query)
        self._may_aggregate = True
        project = self._selection()
        self._may_aggregate = False
        return Block(self._width, expansions, accepts, group_keys, tuple(self._aggregates), project, query.is_distinct)

    def sort_values(self) -> tuple[Evaluator, ...]:
        """Return what gives the values of ORDER BY, each of which is a path into an item.

        Raises:
            CosmosError: 400, one is not.
        """
        values = []
        for item in self._query.order_by:
            root: Expression = item.expression
            values.append(self._expression(root))
            if not isinstance(root, Member):
                message = "Unsupported ORDER BY clause. ORDER BY item expression could not be mapped to a path."
                raise semantic_error("SC2103", message)
            while isinstance(root, Member):
                root = root.base
            if isinstance(root, Identifier) and self._scope.get(root.name, 0) != 0:
                raise backend_error(400, "Order-by over correlated collections is not supported.")
        return tuple(values)

    def _sources(self, sources: tuple[Source, ...]) -> tuple[Expansion, ...]:
        expansions: list[Expansion] = []
        names: set[str] = set()
        for number, source in enumerate(sources):
            name = source.name
            if name in names:
                message = f"The input alias '{name}' is specified more than once in the FROM clause."
                raise semantic_error("SC2011", message)
            is_container = self._is_outermost and number == 0 and not isinstance(source.collection, Subquery)
            if is_container and isinstance(source.collection, Identifier) and not source.is_iterated:
                place = 0
            else:
                expansions.append(self._expansion(source, is_container=is_container))
                place = self._width
                self._width += 1
            if name is not None:
                names.add(name)
                self._scope[name] = place
        return tuple(expansions)

    def _expansion(self, source: Source, *, is_container: bool) -> Expansion:
        collection = source.collection
        if isinstance(collection, Subquery):
            block = self._block(collection.query)
            return expansion_of(
                lambda row, parameters: block.results(block.rows(row, parameters), parameters),
                is_iterated=source.is_iterated,
            )
        # the container goes by any name, which stands for the item here and for nothing in the rest of the query
        outer = self._scope
        if is_container:
            self._scope = {_root_name(collection): 0}
        evaluate = self._expression(collection)
        self._scope = outer
        return expansion_of(lambda row, parameters: (evaluate(row, parameters),), is_iterated=source.is_iterated)

    def _block(self, query: Query) -> Block:
        return _Compiler(query, self._scope, self._width, self._numbers, self._depth).compile()

    def _selection(self) -> Evaluator:
        selection, sources = self._query.selection, self._query.sources
        if isinstance(selection, SelectAll):
            if not sources:
                raise semantic_error("SC2040", "'SELECT *' is not valid if FROM clause is omitted.")
            if len(sources) > 1:
                raise semantic_error("SC2040", "'SELECT *' is only valid with a single input set.")
            return operators.slot(self._scope.get(sources[0].name or "", self._width - 1))
        if isinstance(selection, SelectValue):
            return self._expression(selection.expression)
        names = result_names(selection.projections)
        values = (self._expression(projection.expression) for projection in selection.projections)
        return operators.object_(tuple(zip(names, values, strict=True)))

    def _expression(self, expression: Expression) -> Evaluator:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise too_deep()
        evaluate = self._compiled(expression)
        self._depth -= 1
        return evaluate

    def _compiled(self, expression: Expression) -> Evaluator:
        match expression:
            case Literal(value):
                return operators.constant(value)
            case Parameter(name):
                return operators.parameter(name)
            case Identifier(name):
                return self._identifier(name)
            case Member():
                return self._member(expression)
            case Array(items):
                return operators.array(self._all(items))
            case Object(fields):
                return operators.object_(tuple((name, self._expression(value)) for name, value in fields))
            case Call():
                return self._call(expression)
            case Unary(kind, operand):
                return operators.unary(kind, self._expression(operand))
            case Logical(kind, operands):
                return operators.logical(kind, self._all(operands))
            case Binary(kind, left, right):
                return operators.binary(kind, self._expression(left), self._expression(right))
            case In(operand, choices):
                return operators.in_(self._expression(operand), self._all(choices))
            case Between(operand, low, high):
                middle = self._expression(operand)
                return operators.logical(
                    "AND",
                    (
                        operators.comparison(">=", middle, self._expression(low)),
                        operators.comparison("<=", middle, self._expression(high)),
                    ),
                )
            case Like(operand, pattern, escape):
                return operators.like(self._expression(operand), self._expression(pattern), escape)
            case Conditional(condition, if_true, otherwise):
                return operators.conditional(*self._all((condition, if_true, otherwise)))
            case Coalesce(first, second):
                return operators.coalesce(self._expression(first), self._expression(second))
            case Subquery(query, kind):
                return subquery(self._block(query), kind)

    def _all(self, expressions: tuple[Expression, ...]) -> tuple[Evaluator, ...]:
        return tuple(map(self._expression, expressions))

    def _identifier(self, name: str) -> Evaluator:
        if name in self._scope:
            return operators.slot(self._scope[name])
        if name in _NUMBERS:
            return operators.constant(_NUMBERS[name])
        raise semantic_error("SC2001", f"Identifier '{name}' could not be resolved.")

    def _member(self, expression: Member) -> Evaluator:
        keys: list[str | int | Evaluator] = []
        base: Expression = expression
        while isinstance(base, Member):
            keys.append(base.key if isinstance(base.key, (str, int)) else self._expression(base.key))
            base = base.base
        if self._depth + len(keys) > _MAX_DEPTH:
            raise too_deep()
        keys.reverse()
        if isinstance(base, Identifier) and base.name in self._scope and len(keys) == 1 and isinstance(keys[0], str):
            return operators.property_of_slot(self._scope[base.name], keys[0])
        return operators.path(self._expression(base), tuple(keys))

    def _call(self, call: Call) -> Evaluator:
        if call.function in AGGREGATES:
            return self._aggregate(call)
        if call.function in STATIC_FUNCTIONS and not call.arguments:
            tell = STATIC_FUNCTIONS[call.function]
            return lambda _row, parameters: tell(parameters.get(NOW) or now_in_ticks())
        function = find_function(call)
        return operators.call(function, self._all(call.arguments))

    def _aggregate(self, call: Call) -> Evaluator:
        if not self._may_aggregate:
            raise semantic_error("SC2102", "Aggregate functions are allowed in the SELECT clause only.")
        if len(call.arguments) != 1:
            raise semantic_error("SC2050", f"The {call.function} function requires 1 argument(s).")
        self._may_aggregate = False
        operand = self._expression(call.arguments[0])
        self._may_aggregate = True
        # no parameter's name is without its @
        key = f"aggregate {next(self._numbers)}"
        self._aggregates.append(Aggregate(key, AGGREGATES[call.function], operand))
        return lambda _row, parameters: parameters[key]


def _check_subquery(query: Query) -> None:
    if query.order_by:
        raise semantic_error("SC2203", "'ORDER BY' is not supported in subqueries.")
    if query.top is not None:
        raise semantic_error("SC2202", "'TOP' is not supported in subqueries.")
    if query.limit is not None:
        raise semantic_error("SC2204", "'OFFSET LIMIT' clause is not supported in subqueries.")


def _root_name(expression: Expression) -> str:
    while isinstance(expression, Member):
        expression = expression.base
    return expression.name if isinstance(expression, Identifier) else ""


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
            raise semantic_error("SC2022", f"Column name '{name}' is specified more than once.")
        names.append(name)
    return names


def _implied_name(expression: Expression) -> str | None:
    if isinstance(expression, Identifier):
        return expression.name
    if isinstance(expression, Member) and isinstance(expression.key, str):
        return expression.key
    return None
