"""JSON as the service reads and writes it: finite numbers only, and no integer of more than 64 bits."""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard

from fastapi_azure_pool.emulator.cosmos.errors import bad_request


def dump_json(value: object) -> bytes:
    """Return a value as the service writes JSON: compact, in UTF-8.

    Raises:
        CosmosError: 400, a number is beyond what JSON's readers hold.
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; JSON can still escape it
        return json.dumps(value, separators=(",", ":")).encode()
    except ValueError as error:
        raise bad_request("The input content is invalid: a number is out of range.") from error


def read_json(text: bytes | str) -> Any:
    """Return the value that a text spells.

    Raises:
        ValueError: It is not JSON, a number is too great for a floating-point one, or it nests too deep to be read.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("The JSON nests too deep.") from error


def parse_json(text: bytes) -> Any:
    """Return the value that a request's body spells.

    Raises:
        CosmosError: 400, it is not JSON.
    """
    try:
        return read_json(text)
    except ValueError as error:
        raise bad_request("The input content is invalid because it is not valid JSON.") from error


def parse_object(text: bytes) -> dict[str, Any]:
    """Return the object that a request's body spells.

    Raises:
        CosmosError: 400, it is not JSON or not an object.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise bad_request("The input content is invalid because it is not a JSON object.")
    return value


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number, which to Python true and false are as well."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def within_64_bits(number: float) -> bool:
    """Say whether the service stores an integer as such; of a longer one it keeps the nearest floating-point number.

    Source: ``Number64`` in the SDK for .NET, azure-cosmos-dotnet-v3.
    """
    return -(2**63) <= number < 2**63


def _refuse_constant(name: str) -> object:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _whole(text: str) -> int | float:
    # the quick way for all that has fewer digits than the largest
    return int(text) if len(text) < 19 or within_64_bits(int(text)) else _finite(text)
