"""Dictionaries that come and go, in a pool that idles most of the time."""

from __future__ import annotations

from typing import Any, TypeVar

KeyT = TypeVar("KeyT")


def discard(held: dict[KeyT, Any], key: KeyT) -> None:
    """Take a key out, if it is there; a dictionary that is empty then gives its memory back (160 bytes), or would keep it."""
    held.pop(key, None)
    if not held:
        held.clear()
