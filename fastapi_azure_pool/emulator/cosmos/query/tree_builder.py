"""Builds the syntax tree of a query while lark parses it."""

from __future__ import annotations

import math
import re

from lark import Token, Transformer, v_args

from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.refusals import semantic_error
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
    SelectList,
    SelectValue,
    SortItem,
    Source,
    Subquery,
    Unary,
)

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

# How tightly an operator binds: the grammar of Azure's .NET SDK (sql.g4), which is C's, and || last of all.
_BINDING = {
    operator: strength
    for strength, operators in enumerate(
        ("||", "|", "^", "&", "= != <>", "< <= > >=", "<< >> >>>", "+ -", "* / %"), start=1
    )
    for operator in operators.split()
}


def tree_builder() -> Transformer[Token, Query]:
    """Return what lark calls for each rule of the grammar that it recognises."""
    return _TreeBuilder()


def _join(operator: str, left: Expression, right: Expression) -> Expression:
    # a AND b AND c is one node of three, not a tree whose depth is the length of the query
    if isinstance(left, Logical) and left.operator == operator:
        return Logical(operator, (*left.operands, right))
    return Logical(operator, (left, right))


def _negated(negation: Token | None, expression: Expression) -> Expression:
    return expression if negation is None else Unary("NOT", expression)


def _count(value: Literal | Parameter) -> int | Parameter:
    if isinstance(value, Parameter):
        return value
    return int(value.value)  # type: ignore[arg-type]  # an integer, by the grammar


def _unquote(token: str) -> str:
    text = _ESCAPE.sub(_unescape, token[1:-1])
    # two escapes may spell one character, as in JSON
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 5:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code)


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Query]):
    """The methods are named after the grammar's rules."""

    def query(
        self,
        is_distinct: bool,
        top: int | Parameter | None,
        selection: SelectAll | SelectValue | SelectList,
        sources: tuple[Source, ...],
        where: Expression | None,
        group_by: tuple[Expression, ...],
        order_by: tuple[SortItem, ...],
        page: tuple[int | Parameter, int | Parameter] | None,
    ) -> Query:
        offset, limit = page or (None, None)
        return Query(selection, sources, where, group_by, order_by, is_distinct, top, offset, limit)

    def distinct(self, *words: Token) -> bool:
        return bool(words)

    def top_clause(self, *counts: Literal | Parameter) -> int | Parameter | None:
        return _count(counts[0]) if counts else None

    def select_all(self, _star: Token) -> SelectAll:
        return SelectAll()

    def select_value(self, expression: Expression) -> SelectValue:
        return SelectValue(expression)

    def select_list(self, *projections: Projection) -> SelectList:
        return SelectList(projections)

    def projection(self, expression: Expression, alias: Token | None) -> Projection:
        return Projection(expression, None if alias is None else str(alias))

    def from_clause(self, *sources: Source) -> tuple[Source, ...]:
        return sources

    def source(self, collection: Expression, alias: Token | None) -> Source:
        return Source(collection, None if alias is None else str(alias), is_iterated=False)

    def iterated_source(self, alias: Token, collection: Expression) -> Source:
        return Source(collection, str(alias), is_iterated=True)

    def where_clause(self, *expressions: Expression) -> Expression | None:
        return expressions[0] if expressions else None

    def group_by_clause(self, *expressions: Expression) -> tuple[Expression, ...]:
        return expressions

    def order_by_clause(self, *items: SortItem) -> tuple[SortItem, ...]:
        return items

    def sort_item(self, expression: Expression, direction: Token | None) -> SortItem:
        return SortItem(expression, direction is not None and direction.type == "DESC")

    def offset_limit_clause(self, *counts: Literal | Parameter) -> tuple[int | Parameter, int | Parameter] | None:
        return (_count(counts[0]), _count(counts[1])) if counts else None

    def conditional(self, condition: Expression, if_true: Expression, otherwise: Expression) -> Expression:
        return Conditional(condition, if_true, otherwise)

    def coalesce(self, first: Expression, second: Expression) -> Expression:
        return Coalesce(first, second)

    def or_(self, left: Expression, right: Expression) -> Expression:
        return _join("OR", left, right)

    def and_(self, left: Expression, right: Expression) -> Expression:
        return _join("AND", left, right)

    def in_(self, operand: Expression, negation: Token | None, choices: tuple[Expression, ...]) -> Expression:
        return _negated(negation, In(operand, choices))

    def between(self, operand: Expression, negation: Token | None, low: Expression, high: Expression) -> Expression:
        return _negated(negation, Between(operand, low, high))

    def like(
        self, operand: Expression, negation: Token | None, pattern: Expression, escape: Token | None
    ) -> Expression:
        character = None if escape is None else _unquote(escape)
        if character is not None and len(character) != 1:
            raise semantic_error("SC2070", "The ESCAPE clause of LIKE must be a single character.")
        return _negated(negation, Like(operand, pattern, character))

    def operation(self, *parts: Expression | Token) -> Expression:
        # "shunting yard": what binds at least as tightly as the operator at hand is put together first
        operands: list[Expression] = [parts[0]]  # type: ignore[list-item]  # operands and operators take turns
        operators: list[str] = []

        def reduce() -> None:
            right = operands.pop()
            operands.append(Binary(operators.pop(), operands.pop(), right))

        for operator, operand in zip(map(str, parts[1::2]), parts[2::2], strict=True):
            while operators and _BINDING[operators[-1]] >= _BINDING[operator]:
                reduce()
            operators.append("!=" if operator == "<>" else operator)
            operands.append(operand)  # type: ignore[arg-type]  # as above
        while operators:
            reduce()
        return operands[0]

    def unary(self, operator: Token, operand: Expression) -> Expression:
        return Unary(operator.upper(), operand)

    def identifier(self, name: Token) -> Expression:
        return Identifier(str(name))

    def call(self, name: Token, arguments: tuple[Expression, ...] | None) -> Expression:
        return Call(name.upper(), arguments or (), str(name))

    def member(self, base: Expression, name: Token) -> Expression:
        return Member(base, str(name))

    def element(self, base: Expression, key: Expression) -> Expression:
        if isinstance(key, Literal) and isinstance(key.value, (str, int)) and not isinstance(key.value, bool):
            return Member(base, key.value)
        return Member(base, key)

    def array(self, items: tuple[Expression, ...] | None) -> Expression:
        return Array(items or ())

    def object(self, *fields: tuple[str, Expression] | None) -> Expression:
        return Object(tuple(field for field in fields if field is not None))

    def field(self, name: Token, value: Expression) -> tuple[str, Expression]:
        return _unquote(name) if name.type == "STRING" else str(name), value

    def scalar_subquery(self, query: Query) -> Expression:
        return Subquery(query)

    def array_subquery(self, query: Query) -> Expression:
        return Subquery(query, "ARRAY")

    def exists_subquery(self, query: Query) -> Expression:
        return Subquery(query, "EXISTS")

    def arguments(self, *expressions: Expression) -> tuple[Expression, ...]:
        return expressions

    def parameter(self, name: Token) -> Parameter:
        return Parameter(str(name))

    def string(self, token: Token) -> Literal:
        return Literal(_unquote(token))

    def integer(self, token: Token) -> Literal:
        if len(token) <= 18:
            return Literal(int(token))
        value = self._float(token)
        # an integer of 64 bits is kept, a greater number is a float as the service's are
        return Literal(int(token) if value < 2.0**64 and int(token) < 2**64 else value)

    def decimal(self, token: Token) -> Literal:
        return Literal(self._float(token))

    def true(self) -> Literal:
        return Literal(value=True)

    def false(self) -> Literal:
        return Literal(value=False)

    def null(self) -> Literal:
        return Literal(None)

    def undefined(self) -> Literal:
        return Literal(UNDEFINED)

    @staticmethod
    def _float(token: str) -> float:
        value = float(token)
        if math.isinf(value):
            raise semantic_error("SC1012", "The number is out of range.")
        return value
