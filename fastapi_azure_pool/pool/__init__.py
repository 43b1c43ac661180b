"""The pool itself: connections that many clients share. Needs asyncio and the standard library only."""

from __future__ import annotations

from .connection import ConnectionState, SharedTransportConnection
from .connection_pool import ConnectionPool
from .connector import AbstractConnector, AbstractorConnector
from .lease import Lease
from .lifecycle import PoolState
from .stats import ConnectionStats, LastError, PoolStats, PoolTotals

__all__ = [
    "AbstractConnector",
    "AbstractorConnector",
    "ConnectionPool",
    "ConnectionState",
    "ConnectionStats",
    "LastError",
    "Lease",
    "PoolState",
    "PoolStats",
    "PoolTotals",
    "SharedTransportConnection",
]
