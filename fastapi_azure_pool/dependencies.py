"""Dependencies that give a request its connection or client, and the 503 of a checkout that fails."""

from __future__ import annotations

import math

# FastAPI evaluates the annotations of a dependency when the application is built, so what they name is imported then too.
from collections.abc import AsyncIterator  # noqa: TC003 - see above
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from fastapi import HTTPException, Request, WebSocket, WebSocketException
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection  # noqa: TC002 - see above
from starlette.websockets import WebSocketState

from fastapi_azure_pool.clients.managed import AnyManagedClient  # noqa: TC001 - see above
from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted, PoolClosed, PoolError
from fastapi_azure_pool.pool.leaks import WatchedLease
from fastapi_azure_pool.registry import find_pools

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import Scope

PROBLEM_JSON: Final = "application/problem+json"
TRY_AGAIN_LATER: Final = 1013
"""The WebSocket close code of a server that is overloaded for the moment (IANA's WebSocket Close Code registry)."""

_CLOSE_REASON_BYTES: Final = 123
"""What a control frame, of 125 bytes, has left for the reason (RFC 6455, section 5.5)."""

UNAVAILABLE: Final = (ConnectionsExhausted, ConnectionFailed, PoolClosed)
"""The errors of a pool that pass by themselves; every other one is a mistake in the application, and stays a 500."""

_PROBLEMS: Final = {
    ConnectionsExhausted: (
        "connections-exhausted",
        "Every connection is in use",
        "has no free connection at the moment",
    ),
    ConnectionFailed: ("connection-failed", "The service cannot be reached", "cannot reach its service at the moment"),
    PoolClosed: ("pool-closed", "The pool is closed", "is closing"),
}


class PoolUnavailable(HTTPException):
    """A checkout failed: HTTP 503 with ``Retry-After`` and a problem document (RFC 9457).

    Its ``__cause__`` is the `PoolError`. The document says which pool, and no more of the error's text.

    Attributes:
        pool: The pool's name; None where it has none.
    """

    def __init__(self, error: PoolError) -> None:
        self.pool = error.pool
        self.type, self.title, detail = next(problem for kind, problem in _PROBLEMS.items() if isinstance(error, kind))
        retry_after = error.retry_after if isinstance(error, ConnectionFailed) else 1.0
        super().__init__(
            status_code=503,
            detail=f"{'the pool' if error.pool is None else f'pool {error.pool!r}'} {detail}",
            headers={"Retry-After": str(max(1, math.ceil(retry_after))), "Content-Type": PROBLEM_JSON},
        )

    def response(self) -> Response:
        """Give the whole problem document as a response."""
        document: dict[str, Any] = {
            "type": f"urn:fastapi-azure-pool:{self.type}",
            "title": self.title,
            "status": self.status_code,
            "detail": self.detail,
        }
        if self.pool is not None:
            document["pool"] = self.pool
        return JSONResponse(document, status_code=self.status_code, headers=self.headers)

    @property
    def close_reason(self) -> str:
        """The detail, as much of it as a WebSocket's close frame has room for."""
        return self.detail.encode()[:_CLOSE_REASON_BYTES].decode(errors="ignore")


POOL_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    503: {
        "description": "No connection to a backing service is free or can be opened at the moment.",
        "headers": {
            "Retry-After": {
                "description": "Seconds after which to try again.",
                "schema": {"type": "integer", "minimum": 1},
            }
        },
        "content": {
            PROBLEM_JSON: {
                "schema": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {
                        "type": {"type": "string", "format": "uri"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "pool": {"type": "string"},
                    },
                },
                "example": {"detail": "pool 'orders' has no free connection at the moment"},
            }
        },
    }
}
"""For ``responses=`` of a route, router or application: documents the 503 of a failed checkout in OpenAPI."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """What `pooled` gives; equal ones are one dependency to FastAPI."""

    name: str
    timeout: float | None

    async def __call__(self, connection: HTTPConnection) -> AsyncIterator[Any]:
        """Check out a connection for the request."""
        client = find_pools(connection)[self.name]
        async with AsyncExitStack() as stack:
            try:
                pooled_connection = await stack.enter_async_context(_lease(client, self.timeout, connection))
            except UNAVAILABLE as error:
                raise _unavailable(error, connection) from error
            yield pooled_connection


@dataclass(frozen=True, slots=True)
class Managed:
    """What `managed` gives; equal ones are one dependency to FastAPI."""

    name: str

    async def __call__(self, connection: HTTPConnection) -> AnyManagedClient:
        """Give the managed client."""
        return find_pools(connection)[self.name]


def pooled(name: str, *, timeout: float | None = None) -> Pooled:
    """Make a dependency that checks out a connection of a pool for the request.

    ``Orders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]``. With ``scope="function"`` the place is
    given back before the response is sent; without, only after a stream's last byte and the background tasks. Equal names,
    time-outs and scopes share one checkout within a request, and ``app.dependency_overrides[pooled("orders")]`` replaces those of
    this name and time-out: give the time-out to the client, as ``pool_get_timeout``, unless one route needs another.

    Args:
        name: The pool's name in `open_pools`.
        timeout: Seconds to wait for a place, at least 0; None means the client's ``pool_get_timeout``.

    Raises:
        ValueError: The name is empty or the time-out is below 0.
        PoolUnavailable: When a request asks for it: no connection is free or can be opened; HTTP 503. On a WebSocket that is
            accepted already, it is closed with code 1013.
        UnknownPool: Likewise: there is no pool of this name.
        PoolsNotFound: Likewise: no lifespan has opened pools.
    """
    return Pooled(_checked(name), _checked_timeout(timeout))


def managed(name: str) -> Managed:
    """Make a dependency that gives the managed client of a pool: ``Annotated[ManagedCosmos, Depends(managed("orders"))]``.

    Nothing is checked out; the handler does so itself, for as short as it needs. Cheaper than `pooled`, and the one to use for
    streams, WebSockets and background work.

    Args:
        name: The pool's name in `open_pools`.

    Raises:
        ValueError: The name is empty.
        UnknownPool: When a request asks for it: there is no pool of this name.
        PoolsNotFound: Likewise: no lifespan has opened pools.
    """
    return Managed(_checked(name))


def install_error_handlers(app: FastAPI) -> None:
    """Answer every failed checkout with a whole problem document, also where a handler checks out by itself.

    Call it beside ``FastAPI()``, not in the lifespan, and for each mounted application: handlers that are added later, or to the
    parent, never take effect.
    """
    answer: Any = _answer  # Starlette's types know handlers of requests and handlers of WebSockets, but none of both.
    for kind in (PoolUnavailable, *UNAVAILABLE):
        app.add_exception_handler(kind, answer)


async def _answer(connection: Request | WebSocket, error: PoolUnavailable | PoolError) -> Response | None:
    unavailable = error if isinstance(error, PoolUnavailable) else PoolUnavailable(error)
    if _is_accepted(connection):
        await connection.close(TRY_AGAIN_LATER, unavailable.close_reason)
        return None
    return unavailable.response()


def _lease(
    client: AnyManagedClient, timeout: float | None, connection: HTTPConnection
) -> AbstractAsyncContextManager[Any]:
    lease = client.get(timeout)
    if isinstance(lease, WatchedLease):
        lease.place = _route_of(connection.scope)
    return lease


def _route_of(scope: Scope) -> str:
    """Give a request's method and its route's template, which has the names of path parameters and not their values."""
    route = scope.get("route")
    # Newer versions of FastAPI do not tell a route the prefix under which its router was included; what was included knows it.
    included = scope.get("fastapi", {}).get("effective_route_context")
    if included is not None and getattr(included, "original_route", None) is route:
        route = included
    return f"{scope.get('method', 'WebSocket')} {getattr(route, 'path', '(a route without a path)')}"


def _unavailable(error: PoolError, connection: HTTPConnection) -> PoolUnavailable | WebSocketException:
    unavailable = PoolUnavailable(error)
    if _is_accepted(connection):
        return WebSocketException(TRY_AGAIN_LATER, unavailable.close_reason)
    return unavailable


def _is_accepted(connection: HTTPConnection) -> TypeGuard[WebSocket]:
    return isinstance(connection, WebSocket) and connection.application_state is WebSocketState.CONNECTED


def _checked(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a pool must be a text that is not empty, such as 'orders', not {name!r}")
    return name


def _checked_timeout(value: object) -> float | None:
    if value is None or (isinstance(value, (int, float)) and value >= 0):
        return value
    raise ValueError(
        f"timeout must be a number of seconds, at least 0, or None for the client's pool_get_timeout, not {value!r}"
    )
