"""What the services check alike where keys and signatures authorize: the key itself, and the times that are signed with it."""

from __future__ import annotations

import base64
import datetime as dt
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache

# A request's signature is good for 15 minutes around its date ("Authorize with Shared Key"; "Access control on Azure Cosmos DB
# resources").
_MAX_SKEW_SECONDS = 15 * 60


def decode_key(key: str, option: str, owner: str) -> bytes:
    """Return the bytes of a key.

    Args:
        key: It, in base64.
        option: What the emulator's option for it is called.
        owner: What it opens, with its article, such as ``"an account"``.

    Raises:
        ValueError: It is not base64, or empty.
    """
    try:
        secret = base64.b64decode(key, validate=True)
    except ValueError as error:  # also of what is not ASCII
        raise ValueError(f"{option} must be base64, as {owner}'s keys are") from error
    if not secret:
        raise ValueError(f"{option} must not be empty")
    return secret


@lru_cache(maxsize=64)
def http_timestamp(date: str) -> float | None:
    """Return a date as HTTP headers write it (RFC 1123) in seconds since 1970; None if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def is_recent(sent_at: float) -> bool:
    """Tell whether what was signed at a time, in seconds since 1970, is good now."""
    return abs(time.time() - sent_at) <= _MAX_SKEW_SECONDS


@lru_cache(maxsize=256)
def iso_time(text: str) -> dt.datetime | None:
    """Return a time as ISO 8601 writes it; None if it is none. Without a zone it is UTC."""
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed
