"""Continuation tokens: where the next page begins, sealed so that only this account's own tokens are taken."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from fastapi_azure_pool.emulator.cosmos.errors import bad_request
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED

_SEAL_BYTES = 16
# aiohttp refuses a response whose header is longer than 8,190 bytes; base64 makes four of three.
_MAX_STATE_BYTES = 5_000


@dataclass(frozen=True, slots=True)
class Position:
    """What the pages so far have used up.

    Attributes:
        source: The number of the physical partition within the query's, from 0.
        sequence: The sequence number of the last item, 0 for none.
        matched: How many items of this source have matched so far.
        sort_values: With ORDER BY, the last item's values; None when they were too long to be told.
        ordinal: Which of its item's rows the last one was, from 0; only JOIN makes several of one item.
    """

    source: int = 0
    sequence: int = 0
    matched: int = 0
    sort_values: tuple[Any, ...] | None = None
    ordinal: int = 0


START = Position()


def fingerprint(*parts: object) -> bytes:
    """Return what ties a token to its query: the text, the parameters, the partition."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()


def seal(position: Position, secret: bytes, query: bytes) -> str:
    """Return a position as a token that fits into a header."""
    state = _dump(position)
    if len(state) > _MAX_STATE_BYTES:
        state = _dump(Position(position.source, position.sequence, position.matched, ordinal=position.ordinal))
    mark = hmac.digest(secret, state + query, "sha256")[:_SEAL_BYTES]
    return base64.urlsafe_b64encode(mark + state).decode()


def unseal(token: str, secret: bytes, query: bytes) -> Position:
    """Return the position that a token tells.

    Raises:
        CosmosError: 400, the token was not given for this query by this account.
    """
    try:
        sealed = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        sealed = b""
    mark, state = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
    if not hmac.compare_digest(mark, hmac.digest(secret, state + query, "sha256")[:_SEAL_BYTES]):
        raise bad_request("Invalid Continuation Token")
    source, sequence, matched, values, ordinal = json.loads(state)
    sort_values = None if values is None else tuple(value[0] if value else UNDEFINED for value in values)
    return Position(source, sequence, matched, sort_values, ordinal)


def _dump(position: Position) -> bytes:
    values = position.sort_values
    # undefined is not JSON: each value stands in a list of its own, an empty one for undefined
    wrapped = None if values is None else [[] if value is UNDEFINED else [value] for value in values]
    state = [position.source, position.sequence, position.matched, wrapped, position.ordinal]
    return json.dumps(state, separators=(",", ":")).encode()
