"""Unique keys: combinations of properties in which no two items of one partition key may agree.

Source: "Unique key constraints in Azure Cosmos DB"; its limits in "Azure Cosmos DB service quotas".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi_azure_pool.emulator.cosmos.errors import bad_request

_MAX_KEYS = 10
_MAX_PATHS = 16

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UniqueKeys:
    """The unique keys of a container, each a set of paths; none by default."""

    keys: tuple[tuple[_Path, ...], ...] = ()

    @classmethod
    def parse(cls, policy: object) -> UniqueKeys:
        """Return what a container's ``uniqueKeyPolicy`` spells.

        Raises:
            CosmosError: 400, it is malformed, or has more than 10 keys or 16 paths in one.
        """
        if policy is None:
            return cls()
        listed = policy.get("uniqueKeys", []) if isinstance(policy, dict) else None
        if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
            raise bad_request(f"The unique key policy must have a list of up to {_MAX_KEYS} uniqueKeys.")
        return cls(tuple(_parse_paths(key) for key in listed))

    def values(self, document: dict[str, Any]) -> tuple[str, ...]:
        """Return what an item has for each key, as text that is the same for equal values; what it lacks counts as null."""
        return tuple(json.dumps([_value(document, path) for path in paths], sort_keys=True) for paths in self.keys)


def _parse_paths(key: object) -> tuple[_Path, ...]:
    paths = key.get("paths") if isinstance(key, dict) else None
    if not isinstance(paths, list) or not 1 <= len(paths) <= _MAX_PATHS:
        raise bad_request(f"A unique key must have 1 to {_MAX_PATHS} paths.")
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/") or not all(path.split("/")[1:]):
            raise bad_request(f"The unique key path '{path}' is invalid: it must read like /address/street.")
    return tuple(tuple(path.split("/")[1:]) for path in paths)


def _value(document: dict[str, Any], path: _Path) -> object:
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    # 1 and 1.0 are one number to Azure
    return int(value) if isinstance(value, float) and value.is_integer() else value
