"""From a query's text to its syntax tree, or to the error that Azure would answer."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from fastapi_azure_pool.emulator.cosmos.errors import bad_request, not_supported
from fastapi_azure_pool.emulator.cosmos.query.refusals import end_of_file, invalid_token, syntax_error
from fastapi_azure_pool.emulator.cosmos.query.tree_builder import tree_builder

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.cosmos.query.syntax import Query

# "Azure Cosmos DB service quotas": maximum length of a query.
_MAX_QUERY_LENGTH = 512 * 1024
_WORD = re.compile(r"\w+|[<>!]=|<>|.", re.DOTALL)

# What Azure understands where this grammar stops; said instead of "syntax error", which would send people searching.
_LATER = {"UDF": "A user-defined function", "FULLTEXTSCORE": "ORDER BY RANK", "RRF": "ORDER BY RANK"}


def parse_query(text: str) -> Query:
    """Return a query's syntax tree.

    Raises:
        CosmosError: 400, with the place of the first word that does not fit, or the name of what this emulator lacks.
    """
    if len(text) > _MAX_QUERY_LENGTH:
        raise bad_request(f"The SQL query text exceeded the maximum limit of {_MAX_QUERY_LENGTH} characters.")
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
        transformer=tree_builder(),
    )


def prepare_parser() -> None:
    """Build the parser now, so that the first query need not wait for it."""
    _lark()


def _refuse(text: str, error: UnexpectedInput) -> NoReturn:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        raise end_of_file(len(text), is_empty=not text.strip()) from None
    start: int = getattr(error, "pos_in_stream", None) or 0  # lark declares it None where it is set
    match = _WORD.match(text, start)
    word = match[0] if match else ""
    if word.upper() in _LATER:
        raise not_supported(_LATER[word.upper()]) from None
    raise (invalid_token if isinstance(error, UnexpectedCharacters) else syntax_error)(word, start) from None
