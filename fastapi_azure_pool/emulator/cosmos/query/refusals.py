"""How Azure words its refusals of a query: a code, a message and, for wrong syntax, the place.

Sources: the answers that Azure's SDKs have in their tests (azure-cosmos-dotnet-v3, "QueryPlanBaselineTests"), and those
that people report.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import bad_request

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.cosmos.errors import CosmosError

NOT_FINITE = 4001


def syntax_error(word: str, start: int) -> CosmosError:
    """Return the 400 for a query whose syntax breaks at a word."""
    return _at(start, word, "SC1001", f"Syntax error, incorrect syntax near '{word}'.")


def end_of_file(end: int, *, is_empty: bool) -> CosmosError:
    """Return the 400 for a query that ends too early, or that has not begun."""
    return _at(end, "", "SC1002" if is_empty else "SC1001", "Syntax error, unexpected end-of-file.")


def invalid_token(word: str, start: int) -> CosmosError:
    """Return the 400 for a query with what begins no word of the language, such as a semicolon or a quote left open."""
    return _at(start, word, "SC1010", f"Syntax error, invalid token '{word}'.")


def semantic_error(code: str, message: str) -> CosmosError:
    """Return the 400 for a query that parses and makes no sense."""
    return _refusal({"code": code, "message": message})


def not_finite() -> CosmosError:
    """Return the 400 for a result that is no number to JSON, such as a division by zero."""
    error = {"severity": "Error", "code": NOT_FINITE, "message": "A numeric result is not finite."}
    details = json.dumps({"errors": [error]}, separators=(",", ":"))
    return bad_request(f"Message: {details}", substatus=NOT_FINITE)


def too_deep() -> CosmosError:
    """Return the 400 for a query that nests more than can be worked through."""
    return bad_request("The query is nested too deeply.")


def _at(start: int, word: str, code: str, message: str) -> CosmosError:
    return _refusal({"location": {"start": start, "end": start + len(word)}, "code": code, "message": message})


def _refusal(error: dict[str, Any]) -> CosmosError:
    details = {"errors": [{"severity": "Error"} | error]}
    return bad_request(f"Message: {json.dumps(details, separators=(',', ':'))}")
