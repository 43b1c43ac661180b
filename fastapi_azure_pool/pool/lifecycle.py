"""Where a pool is in its life."""

from __future__ import annotations

from enum import IntEnum


class PoolState(IntEnum):
    """Where a pool is in its life: NEW -> OPEN -> CLOSING -> CLOSED, and from CLOSED to NEW when it is opened again."""

    NEW = 1
    OPEN = 2
    CLOSING = 3
    CLOSED = 4
