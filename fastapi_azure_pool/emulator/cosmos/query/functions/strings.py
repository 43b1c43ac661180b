"""String functions.

Source: "String functions" in the query language reference of Azure Cosmos DB for NoSQL, a page for each.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from fastapi_azure_pool.emulator.cosmos.json_values import read_json
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.functions.signature import by_name, function

# "REPLICATE": the maximum length of the result.
_MAX_REPLICATED = 10_000
_MODIFIERS = {"m": re.MULTILINE, "s": re.DOTALL, "i": re.IGNORECASE, "x": re.VERBOSE}


def _folded(test: Any) -> Any:
    """Return a test of two strings that takes, as a third argument, whether case is ignored."""

    def apply(text: str, part: str, ignores_case: bool = False) -> Any:
        return test(text.lower(), part.lower()) if ignores_case else test(text, part)

    return apply


def _index_of(text: str, part: str, start: float = 0) -> int:
    return text.find(part, max(int(start), 0))


def _left(text: str, count: float) -> str:
    return text[: max(int(count), 0)]


def _right(text: str, count: float) -> str:
    return text[max(len(text) - max(int(count), 0), 0) :]


def _substring(text: str, start: float, count: float) -> str:
    first = max(int(start), 0)
    return text[first : first + max(int(count), 0)]


def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old else text


def _replicate(text: str, count: float) -> Any:
    times = int(count)
    return UNDEFINED if times < 0 or len(text) * times > _MAX_REPLICATED else text * times


def _concatenate(*texts: str) -> str:
    return "".join(texts)


def _join(parts: list[Any], separator: str) -> Any:
    return separator.join(parts) if all(isinstance(part, str) for part in parts) else UNDEFINED


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else [text]


def _parsed_as(*kinds: type) -> Any:
    """Return a function that reads a string as JSON and gives what it spells if that has the type."""

    def apply(text: str) -> Any:
        try:
            value = read_json(text)
        except ValueError:
            return UNDEFINED
        # true is an int to Python, and none to JSON
        return value if type(value) in kinds else UNDEFINED

    return apply


def to_text(value: Any) -> Any:
    """Return a value as ToString does: a string as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=512)
def _pattern(pattern: str, modifiers: str) -> re.Pattern[str] | None:
    flags = re.NOFLAG
    for letter in modifiers:
        if letter not in _MODIFIERS:
            return None
        flags |= _MODIFIERS[letter]
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError):
        return None


def _matches(text: str, pattern: str, modifiers: str = "") -> Any:
    compiled = _pattern(pattern, modifiers)
    return UNDEFINED if compiled is None else compiled.search(text) is not None


STRING_FUNCTIONS = by_name(
    [
        function("CONCAT", "ss+", _concatenate),
        function("CONTAINS", "ss?b", _folded(str.__contains__)),
        function("ENDSWITH", "ss?b", _folded(str.endswith)),
        function("INDEX_OF", "ss?n", _index_of),
        function("LEFT", "sn", _left),
        function("LENGTH", "s", len),
        function("LOWER", "s", str.lower),
        function("LTRIM", "s?s", str.lstrip),
        function("REGEXMATCH", "ss?s", _matches),
        function("REPLACE", "sss", _replace),
        function("REPLICATE", "sn", _replicate),
        function("REVERSE", "s", lambda text: text[::-1]),
        function("RIGHT", "sn", _right),
        function("RTRIM", "s?s", str.rstrip),
        function("STARTSWITH", "ss?b", _folded(str.startswith)),
        function("STRINGEQUALS", "ss?b", _folded(str.__eq__)),
        function("STRINGJOIN", "as", _join),
        function("STRINGSPLIT", "ss", _split),
        function("STRINGTOARRAY", "s", _parsed_as(list)),
        function("STRINGTOBOOLEAN", "s", _parsed_as(bool)),
        function("STRINGTONULL", "s", _parsed_as(type(None))),
        function("STRINGTONUMBER", "s", _parsed_as(int, float)),
        function("STRINGTOOBJECT", "s", _parsed_as(dict)),
        function("SUBSTRING", "snn", _substring),
        function("TOSTRING", "d", to_text),
        function("TRIM", "s?s", str.strip),
        function("UPPER", "s", str.upper),
    ]
)
