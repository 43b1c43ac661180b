"""Health routes: whether the process lives, whether it is ready, and what its pools look like."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads the annotation when the application is built

from fastapi_azure_pool.pool import ConnectionState, PoolState
from fastapi_azure_pool.registry import find_pools

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fastapi.params import Depends

    from fastapi_azure_pool.clients.managed import AnyManagedClient
    from fastapi_azure_pool.pool import PoolStats
    from fastapi_azure_pool.registry import AzurePools


class HealthStatus(StrEnum):
    """How well a pool, or all of them together, can serve."""

    PASS = "pass"  # noqa: S105 - a status, no password
    WARN = "warn"
    FAIL = "fail"


class ConnectionHealth(BaseModel):
    """One connection."""

    id: str = Field(examples=["a1b2c3"])
    state: Literal["ready", "draining"]
    current_client_count: int = Field(description="Clients that share it now.", ge=0)
    idle_seconds: float = Field(description="How long it has had no client; 0 while it has one.", ge=0)
    age_seconds: float = Field(description="How long ago it became ready.", ge=0)


class TotalsHealth(BaseModel):
    """Counters that only rise."""

    checkouts: int = Field(description="Places given to callers.")
    opened: int = Field(description="Connections that became ready.")
    closed: int = Field(description="Connections, once ready, that have been closed.")
    open_failures: int = Field(description="Attempts to open a connection that failed.")
    timeouts: int = Field(description="Callers who gave up waiting.")
    waited: int = Field(description="Callers who had to wait.")


class LastErrorHealth(BaseModel):
    """What last went wrong with a connection, by its type alone."""

    type: str = Field(examples=["ServiceRequestError"])
    seconds_ago: float


class PoolHealth(BaseModel):
    """One pool."""

    status: HealthStatus
    service: str = Field(examples=["cosmos"])
    ready_connection_count: int
    opening: int
    max_size: int
    client_limit: int
    current_client_count: int
    waiting: int
    connections: list[ConnectionHealth]
    totals: TotalsHealth
    last_error: LastErrorHealth | None


class PoolsHealth(BaseModel):
    """The pools of this process; every worker process shows only its own."""

    status: HealthStatus
    process_id: int
    pools: dict[str, PoolHealth]


class ReadinessHealth(BaseModel):
    """Whether this process should get requests."""

    status: HealthStatus


def health_router(
    prefix: str = "/health", dependencies: Sequence[Depends] | None = None, critical: Collection[str] | None = None
) -> APIRouter:
    """Make a router with ``GET {prefix}/live``, ``/ready``, ``/pools`` and ``/pools/{name}``.

    The routes read state that is already there: they open nothing, send nothing and hold no lock, and they show no endpoint, key or
    exception text.

    Args:
        prefix: Where the routes are, such as "/health".
        dependencies: Dependencies of every route, such as ``[Depends(require_operator)]``.
        critical: Names of the pools without which the application cannot serve; None means all. The others can make the whole
            ``warn`` but never ``fail``, so that one service's outage does not take every replica out of rotation.

    Returns:
        A router for ``app.include_router``.

    Raises:
        TypeError: ``critical`` is a text instead of a collection of names.
        UnknownPool: When a request comes: ``critical`` names a pool that there is not.
    """
    if isinstance(critical, str):
        raise TypeError(f"critical must be a collection of names: write critical=[{critical!r}]")
    required = None if critical is None else tuple(critical)
    router = APIRouter(prefix=prefix, dependencies=dependencies, tags=["health"])

    @router.get("/live", summary="Whether the process lives")
    async def read_liveness() -> ReadinessHealth:
        return ReadinessHealth(status=HealthStatus.PASS)

    @router.get(
        "/ready", summary="Whether the process should get requests", responses={503: {"model": ReadinessHealth}}
    )
    async def read_readiness(connection: HTTPConnection, response: Response) -> ReadinessHealth:
        pools = find_pools(connection)
        names = _critical_names(pools, required)
        status = _status_of_all(pools, names)
        if any(pools[name].pool.state > PoolState.OPEN for name in names):
            status = HealthStatus.FAIL
        _set_head(response, status)
        return ReadinessHealth(status=status)

    @router.get("/pools", summary="The pools of this process", responses={503: {"model": PoolsHealth}})
    async def read_pools(connection: HTTPConnection, response: Response) -> PoolsHealth:
        pools = find_pools(connection)
        status = _status_of_all(pools, _critical_names(pools, required))
        _set_head(response, status)
        return PoolsHealth(
            status=status, process_id=os.getpid(), pools={name: _describe(pools[name]) for name in pools}
        )

    @router.get(
        "/pools/{name}",
        summary="One pool of this process",
        responses={404: {"description": "There is no pool of this name."}, 503: {"model": PoolHealth}},
    )
    async def read_pool(connection: HTTPConnection, response: Response, name: str) -> PoolHealth:
        pools = find_pools(connection)
        if name not in pools:
            raise HTTPException(404, f"there is no pool {name!r}; the pools are: {', '.join(pools) or 'none'}")
        health = _describe(pools[name])
        _set_head(response, health.status)
        return health

    return router


def status_of(stats: PoolStats) -> HealthStatus:
    """Tell how well a pool can serve.

    It fails while nothing is ready and the last attempt to open a connection failed. It warns while callers wait, while opening
    fails, when it is full, and when it is closing. A pool that has opened nothing because nobody asked passes.
    """
    if stats.is_failing and not stats.ready:
        return HealthStatus.FAIL
    if stats.waiting or stats.is_failing or stats.is_full or stats.state > PoolState.OPEN:
        return HealthStatus.WARN
    return HealthStatus.PASS


def _critical_names(pools: AzurePools, critical: Collection[str] | None) -> list[str]:
    for name in critical or ():
        pools[name]  # Raises UnknownPool.
    return list(pools if critical is None else critical)


def _status_of_all(pools: AzurePools, critical: Collection[str]) -> HealthStatus:
    statuses = {name: status_of(pools[name].pool.stats()) for name in pools}
    if any(statuses[name] is HealthStatus.FAIL for name in critical):
        return HealthStatus.FAIL
    if any(status is not HealthStatus.PASS for status in statuses.values()):
        return HealthStatus.WARN
    return HealthStatus.PASS


def _set_head(response: Response, status: HealthStatus) -> None:
    response.headers["Cache-Control"] = "no-store"
    if status is HealthStatus.FAIL:
        response.status_code = 503


def _describe(client: AnyManagedClient) -> PoolHealth:
    stats = client.pool.stats()
    totals, last_error = stats.totals, stats.last_error
    return PoolHealth(
        status=status_of(stats),
        service=client.service,
        ready_connection_count=stats.ready,
        opening=stats.opening,
        max_size=stats.max_size,
        client_limit=stats.client_limit,
        current_client_count=stats.clients,
        waiting=stats.waiting,
        connections=[
            ConnectionHealth(
                id=connection.id,
                state="ready" if connection.state is ConnectionState.READY else "draining",
                current_client_count=connection.current_client_count,
                idle_seconds=round(connection.idle_seconds, 3),
                age_seconds=round(connection.age_seconds, 3),
            )
            for connection in stats.connections
        ],
        totals=TotalsHealth(
            checkouts=totals.checkouts,
            opened=totals.opened,
            closed=totals.closed,
            open_failures=totals.open_failures,
            timeouts=totals.timeouts,
            waited=totals.waited,
        ),
        last_error=None
        if last_error is None
        else LastErrorHealth(type=last_error.type, seconds_ago=round(last_error.seconds_ago, 3)),
    )
