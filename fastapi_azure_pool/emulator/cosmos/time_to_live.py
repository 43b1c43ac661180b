"""Time to live: for how long after its last change an item is there.

Source: "Time to Live (TTL) in Azure Cosmos DB". Azure deletes expired items in the background, yet shows them to nobody from the
moment on which they expire; here they are gone by the time that anybody looks.
"""

from __future__ import annotations

import math
from typing import Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, backend_error

_NEVER = -1
_MAX_SECONDS = 2**31 - 1


def parse_default_ttl(properties: dict[str, Any]) -> int | None:
    """Return a container's ``defaultTtl``: seconds, -1 for items that say themselves when they expire, None for off.

    Raises:
        CosmosError: 400, it is none of these.
    """
    ttl = properties.get("defaultTtl")
    if ttl is not None and not _is_ttl(ttl):
        raise _invalid(ttl)
    return ttl


def check_item_ttl(document: dict[str, Any]) -> None:
    """Let an item pass whose ``ttl``, if it has one, is a number of seconds from 1 to 2^31 - 1, or -1 for never.

    Raises:
        CosmosError: 400.
    """
    if "ttl" in document and not _is_ttl(document["ttl"]):
        raise _invalid(document["ttl"])


def expires_at(document: dict[str, Any], modified: float, default_ttl: int | None) -> float:
    """Return when an item last changed at ``modified`` (seconds since 1970) expires; infinity for never."""
    if default_ttl is None:
        return math.inf
    ttl = document.get("ttl", default_ttl)
    return math.inf if ttl == _NEVER else modified + float(ttl)


def _is_ttl(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (value == _NEVER or 1 <= value <= _MAX_SECONDS)


def _invalid(ttl: object) -> CosmosError:
    spelled = "null" if ttl is None else ttl
    return backend_error(
        400,
        f"The input ttl '{spelled}' is invalid. Ensure to provide a nonzero positive integer less than or equal to "
        f"'{_MAX_SECONDS}', or '-1' which means never expire.",
    )
