"""From a query's text to its syntax tree, or to the error that Azure would answer."""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import NoReturn

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, UnexpectedToken

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, bad_request, not_supported
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
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
    SortItem,
    Unary,
)

# "Azure Cosmos DB service quotas": maximum length of a query.
_MAX_QUERY_LENGTH = 512 * 1024
_WORD = re.compile(r"[A-Za-z0-9_]+|[<>!]=|<>|.", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

# What Azure understands where this grammar stops; said instead of "syntax error", which would send people searching.
_LATER = frozenset(
    [
        "ARRAY",
        "DISTINCT",
        "ESCAPE",
        "EXISTS",
        "GROUP",
        "JOIN",
        "LIKE",
        "TOP",
        "UDF",
        "+",
        "-",
        "*",
        "/",
        "%",
        "&",
        "|",
        "^",
        "~",
        "||",
        "??",
        "?",
    ]
)


def parse_query(text: str) -> Query:
    """Return a query's syntax tree; the same text is parsed once.

    Raises:
        CosmosError: 400, with the place of the first word that does not fit, or the name of what this emulator lacks.
    """
    if len(text) > _MAX_QUERY_LENGTH:
        raise bad_request(f"The SQL query text exceeded the maximum limit of {_MAX_QUERY_LENGTH} characters.")
    return _parse(text)


@lru_cache(maxsize=512)
def _parse(text: str) -> Query:
    try:
        return _lark().parse(text)  # type: ignore[return-value]  # what the transformer returns for the grammar's start
    except UnexpectedInput as error:
        _refuse(text, error)


@lru_cache(maxsize=1)
def _lark() -> Lark:
    return Lark.open(
        "grammar.lark",
        rel_to=__file__,
        start="query",
        parser="lalr",
        maybe_placeholders=True,
        transformer=_TreeBuilder(),
    )


def prepare_parser() -> None:
    """Build the parser now, so that the first query need not wait for it."""
    _lark()


def _refuse(text: str, error: UnexpectedInput) -> NoReturn:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        raise _syntax_error("", len(text)) from None
    start: int = getattr(error, "pos_in_stream", None) or 0  # lark declares it None where it is set
    match = _WORD.match(text, start)
    word = match[0] if match else ""
    if word.upper() in _LATER or text[start : start + 2] in _LATER:
        raise not_supported(f"The query's '{word}' at position {start}") from None
    raise _syntax_error(word, start) from None


def semantic_error(code: str, message: str) -> CosmosError:
    """Return the 400 for a query that parses and makes no sense."""
    details = {"errors": [{"severity": "Error", "code": code, "message": message}]}
    return bad_request(f"Message: {json.dumps(details, separators=(',', ':'))}")


def _syntax_error(word: str, start: int) -> CosmosError:
    message = f"Syntax error, incorrect syntax near '{word}'." if word else "Syntax error, unexpected end-of-file."
    location = {"start": start, "end": start + len(word)}
    details = {"errors": [{"severity": "Error", "location": location, "code": "SC1001", "message": message}]}
    return bad_request(f"Message: {json.dumps(details, separators=(',', ':'))}")


def _join(operator: str, left: Expression, right: Expression) -> Expression:
    # a AND b AND c is one node of three, not a tree whose depth is the length of the query
    if isinstance(left, Logical) and left.operator == operator:
        return Logical(operator, (*left.operands, right))
    return Logical(operator, (left, right))


def _count(value: Literal | Parameter) -> int | Parameter:
    if isinstance(value, Parameter):
        return value
    return int(value.value)  # type: ignore[arg-type]  # an integer, by the grammar


def _unquote(token: str) -> str:
    return _ESCAPE.sub(_unescape, token[1:-1])


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 5:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code)


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Query]):
    """Builds the syntax tree while lark parses; the methods are named after the grammar's rules."""

    def query(
        self,
        selection: SelectAll | SelectValue | SelectList,
        alias: str | None,
        where: Expression | None,
        order_by: tuple[SortItem, ...] | None,
        page: tuple[int | Parameter, int | Parameter] | None,
    ) -> Query:
        offset, limit = page or (None, None)
        return Query(selection, alias, where, order_by or (), offset, limit)

    def select_all(self) -> SelectAll:
        return SelectAll()

    def select_value(self, expression: Expression) -> SelectValue:
        return SelectValue(expression)

    def select_list(self, *projections: Projection) -> SelectList:
        return SelectList(projections)

    def projection(self, expression: Expression, alias: Token | None) -> Projection:
        return Projection(expression, None if alias is None else str(alias))

    def from_clause(self, source: Token, alias: Token | None) -> str:
        return str(source if alias is None else alias)

    def where_clause(self, expression: Expression) -> Expression:
        return expression

    def order_by_clause(self, *items: SortItem) -> tuple[SortItem, ...]:
        return items

    def sort_item(self, expression: Expression, direction: Token | None) -> SortItem:
        return SortItem(expression, direction is not None and direction.type == "DESC")

    def offset_limit_clause(
        self, offset: Literal | Parameter, limit: Literal | Parameter
    ) -> tuple[int | Parameter, int | Parameter]:
        return _count(offset), _count(limit)

    def or_(self, left: Expression, right: Expression) -> Expression:
        return _join("OR", left, right)

    def and_(self, left: Expression, right: Expression) -> Expression:
        return _join("AND", left, right)

    def compare(self, left: Expression, operator: Token, right: Expression) -> Expression:
        return Binary("!=" if operator == "<>" else str(operator), left, right)

    def in_(self, operand: Expression, choices: tuple[Expression, ...]) -> Expression:
        return In(operand, choices)

    def not_in(self, operand: Expression, choices: tuple[Expression, ...]) -> Expression:
        return Unary("NOT", In(operand, choices))

    def between(self, operand: Expression, low: Expression, high: Expression) -> Expression:
        return Between(operand, low, high)

    def not_between(self, operand: Expression, low: Expression, high: Expression) -> Expression:
        return Unary("NOT", Between(operand, low, high))

    def not_(self, operand: Expression) -> Expression:
        return Unary("NOT", operand)

    def negate(self, operand: Expression) -> Expression:
        return Unary("-", operand)

    def plus(self, operand: Expression) -> Expression:
        return Unary("+", operand)

    def identifier(self, name: Token) -> Expression:
        return Identifier(str(name))

    def call(self, name: Token, arguments: tuple[Expression, ...] | None) -> Expression:
        return Call(name.upper(), arguments or ())

    def member(self, base: Expression, name: Token) -> Expression:
        return Member(base, str(name))

    def element(self, base: Expression, key: Literal | Parameter) -> Expression:
        if isinstance(key, Parameter):
            return Member(base, key)
        return Member(base, key.value)  # type: ignore[arg-type]  # a string or an integer, by the grammar

    def array(self, items: tuple[Expression, ...] | None) -> Expression:
        return Array(items or ())

    def object(self, *fields: tuple[str, Expression] | None) -> Expression:
        return Object(tuple(field for field in fields if field is not None))

    def field(self, name: Token, value: Expression) -> tuple[str, Expression]:
        return _unquote(name) if name.type == "STRING" else str(name), value

    def arguments(self, *expressions: Expression) -> tuple[Expression, ...]:
        return expressions

    def parameter(self, name: Token) -> Parameter:
        return Parameter(str(name))

    def string(self, token: Token) -> Literal:
        return Literal(_unquote(token))

    def integer(self, token: Token) -> Literal:
        try:
            return Literal(int(token))
        except ValueError as error:  # more digits than Python converts
            raise semantic_error("SC1012", "The number is out of range.") from error

    def decimal(self, token: Token) -> Literal:
        value = float(token)
        if math.isinf(value):
            raise semantic_error("SC1012", "The number is out of range.")
        return Literal(value)

    def true(self) -> Literal:
        return Literal(value=True)

    def false(self) -> Literal:
        return Literal(value=False)

    def null(self) -> Literal:
        return Literal(None)

    def undefined(self) -> Literal:
        return Literal(UNDEFINED)
