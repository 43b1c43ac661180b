"""Type checking functions, and the conditional one: all of them take undefined for what it is.

Source: "Type checking functions" in the query language reference of Azure Cosmos DB for NoSQL, a page for each.
"""

from __future__ import annotations

from typing import Any

from fastapi_azure_pool.emulator.cosmos.json_values import is_number
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.functions.signature import by_name, function, is_integer
from fastapi_azure_pool.emulator.cosmos.query.values import is_finite


def _is_primitive(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _if(condition: Any, if_true: Any, otherwise: Any) -> Any:
    return if_true if condition is True else otherwise


TYPE_FUNCTIONS = by_name(
    [
        function("IIF", "xxx", _if),
        function("IS_ARRAY", "x", lambda value: isinstance(value, list)),
        function("IS_BOOL", "x", lambda value: isinstance(value, bool)),
        function("IS_DEFINED", "x", lambda value: value is not UNDEFINED),
        function("IS_FINITE_NUMBER", "x", is_finite),
        function("IS_INTEGER", "x", is_integer),
        function("IS_NULL", "x", lambda value: value is None),
        function("IS_NUMBER", "x", is_number),
        function("IS_OBJECT", "x", lambda value: isinstance(value, dict)),
        function("IS_PRIMITIVE", "x", _is_primitive),
        function("IS_STRING", "x", lambda value: isinstance(value, str)),
    ]
)
