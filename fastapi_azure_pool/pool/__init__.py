"""The pool itself: connections that many clients share. Needs asyncio and the standard library only."""

from __future__ import annotations

from fastapi_azure_pool.pool.connection import ConnectionState, SharedTransportConnection
from fastapi_azure_pool.pool.connection_pool import ConnectionPool
from fastapi_azure_pool.pool.connector import AbstractConnector, AbstractorConnector
from fastapi_azure_pool.pool.lease import Lease
from fastapi_azure_pool.pool.lifecycle import PoolState
from fastapi_azure_pool.pool.stats import ConnectionStats, LastError, PoolStats, PoolTotals

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
