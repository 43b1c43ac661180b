"""The 503 of a checkout that fails: what it says, with and without the error handlers, and in OpenAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse

from fastapi_azure_pool import (
    POOL_RESPONSES,
    ConnectionFailed,
    ConnectionsExhausted,
    PoolClosed,
    PoolError,
    PoolsNotFound,
    PoolUnavailable,
    UnknownPool,
    WrongLoopError,
    install_error_handlers,
    managed,
    pooled,
)
from fastapi_azure_pool.clients.managed import ManagedClient
from tests.clients.waiting import eventually
from tests.fastapi.driver import client_of, request, serving
from tests.fastapi.scripted import ScriptedClient, app_with
from tests.support.scripted_connector import ScriptedConnector, Transport

if TYPE_CHECKING:
    import httpx2

Place = Annotated[Transport, Depends(pooled("orders"), scope="function")]
Client = Annotated[ManagedClient[Transport], Depends(managed("orders"))]

EXHAUSTED = {
    "type": "urn:fastapi-azure-pool:connections-exhausted",
    "title": "Every connection is in use",
    "status": 503,
    "detail": "pool 'orders' has no free connection at the moment",
    "pool": "orders",
}
FAILED = {
    "type": "urn:fastapi-azure-pool:connection-failed",
    "title": "The service cannot be reached",
    "status": 503,
    "detail": "pool 'orders' cannot reach its service at the moment",
    "pool": "orders",
}
CLOSED = {
    "type": "urn:fastapi-azure-pool:pool-closed",
    "title": "The pool is closed",
    "status": 503,
    "detail": "pool 'orders' is closing",
    "pool": "orders",
}

with_and_without = pytest.mark.parametrize("installed", [False, True], ids=["plain", "handlers installed"])
by_dependency_and_by_hand = pytest.mark.parametrize("path", ["/pooled", "/managed"])


def add_routes(app: FastAPI) -> None:
    """Add a route whose dependency checks out, and one that checks out by itself."""

    @app.get("/pooled")
    async def read(transport: Place) -> int:
        return transport.number

    @app.get("/managed")
    async def read_managed(client: Client) -> int:
        async with client.get() as transport:
            return transport.number


def app_of(orders: ScriptedClient, *, installed: bool) -> FastAPI:
    """Make an application with both routes that starts without its pool."""
    app = app_with(fail_fast=False, orders=orders)
    if installed:
        install_error_handlers(app)
    add_routes(app)
    return app


def assert_problem(answer: httpx2.Response, document: dict[str, Any], *, whole: bool) -> None:
    """Check a 503, whose document is the whole one or its detail alone."""
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == (document if whole else {"detail": document["detail"]})
    assert answer.headers["retry-after"].isdecimal()
    assert int(answer.headers["retry-after"]) >= 1


@with_and_without
async def test_a_full_pool(installed: bool) -> None:
    """Without a free place in time, the dependency answers 503 and asks to come back in a second."""
    orders = ScriptedClient(client_limit=1, max_size=1, pool_get_timeout=0.01)
    async with serving(app_of(orders, installed=installed)) as http:
        async with orders.get():
            answer = await http.get("/pooled")
        assert_problem(answer, EXHAUSTED, whole=installed)
        assert answer.headers["retry-after"] == "1"
        assert (await http.get("/pooled")).status_code == 200


@with_and_without
async def test_a_service_that_cannot_be_reached(installed: bool) -> None:
    """While nothing can be opened, the dependency answers 503 at once, and 200 as soon as the pool has healed."""
    connector = ScriptedConnector()
    connector.create_error = OSError("no route to planted-host")
    orders = ScriptedClient(connector)
    async with serving(app_of(orders, installed=installed)) as http:
        answer = await http.get("/pooled")
        assert_problem(answer, FAILED, whole=installed)
        assert "planted-host" not in answer.text
        connector.create_error = None
        await eventually(lambda: orders.pool.ready_connection_count)
        assert (await http.get("/pooled")).status_code == 200


@with_and_without
async def test_a_pool_that_closes(installed: bool) -> None:
    """While its pool closes, the dependency answers 503."""
    orders = ScriptedClient()
    async with serving(app_of(orders, installed=installed)) as http:
        await orders.close()
        assert_problem(await http.get("/pooled"), CLOSED, whole=installed)


async def test_a_handler_s_own_checkout_needs_the_handlers() -> None:
    """What a handler checks out by itself is answered 503 with the handlers installed, and is an error of it without."""
    for installed, status in ((True, 503), (False, 500)):
        orders = ScriptedClient(client_limit=1, max_size=1, pool_get_timeout=0.01)
        async with serving(app_of(orders, installed=installed)) as http, orders.get():
            answer = await http.get("/managed")
            assert answer.status_code == status
            if installed:
                assert_problem(answer, EXHAUSTED, whole=True)


@by_dependency_and_by_hand
async def test_a_mounted_application_needs_its_own_handlers(path: str) -> None:
    """The parent's handlers do not cover a mounted application; its own do."""
    orders = ScriptedClient(client_limit=1, max_size=1, pool_get_timeout=0.01)
    app, bare, covered = app_of(orders, installed=True), FastAPI(), FastAPI()
    for sub in (bare, covered):
        add_routes(sub)
    install_error_handlers(covered)
    app.mount("/bare", bare)
    app.mount("/covered", covered)
    async with serving(app) as http, orders.get():
        assert_problem(await http.get(f"/covered{path}"), EXHAUSTED, whole=True)
        answer = await http.get(f"/bare{path}")
        if path == "/pooled":
            assert_problem(answer, EXHAUSTED, whole=False)
        else:
            assert answer.status_code == 500


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (12.3, "13"), (30.0, "30")]
)
async def test_retry_after_is_whole_seconds_and_at_least_one(seconds: float, header: str) -> None:
    """Retry-After says when the pool tries again, rounded up to whole seconds, never 0."""
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def read() -> None:
        raise ConnectionFailed("orders", error="ServiceRequestError", retry_after=seconds)

    async with client_of(app) as http:
        answer = await http.get("/")
        assert_problem(answer, FAILED, whole=True)
        assert answer.headers["retry-after"] == header


async def test_a_pool_without_a_name_is_called_the_pool() -> None:
    """A pool that was made by hand and has no name is told of without one."""
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def read() -> None:
        raise PoolClosed

    async with client_of(app) as http:
        answer = await http.get("/")
        document = {name: value for name, value in CLOSED.items() if name != "pool"}
        assert_problem(answer, {**document, "detail": "the pool is closing"}, whole=True)


@pytest.mark.parametrize(
    "error", [UnknownPool("ordres", ["orders"]), WrongLoopError("orders"), PoolsNotFound(), PoolError("other")]
)
async def test_mistakes_stay_errors_of_the_server(error: PoolError) -> None:
    """What does not pass by itself is a mistake in the application: it reaches the server, also with the handlers installed."""
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def read() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await request(app, "/")
    assert raised.value is error


async def test_the_application_s_own_handlers_come_first() -> None:
    """A PoolUnavailable is an HTTPException with the pool's error as its cause, which the application may answer as it likes."""
    orders = ScriptedClient(client_limit=1, max_size=1, pool_get_timeout=0.01)
    app = app_of(orders, installed=False)
    seen: list[HTTPException] = []

    @app.exception_handler(HTTPException)
    async def answer(_: Request, error: HTTPException) -> PlainTextResponse:
        seen.append(error)
        return PlainTextResponse("mine", error.status_code, error.headers)

    async with serving(app) as http, orders.get():
        given = await http.get("/pooled")
    assert (given.status_code, given.text, given.headers["retry-after"]) == (503, "mine", "1")
    (error,) = seen
    assert isinstance(error, PoolUnavailable)
    assert error.pool == "orders"
    assert isinstance(error.__cause__, ConnectionsExhausted)


async def test_other_errors_are_none_of_theirs() -> None:
    """The handlers leave a plain HTTPException, TimeoutError and ConnectionError to others."""
    app = FastAPI()
    install_error_handlers(app)
    errors: list[Exception] = [HTTPException(418, "tea"), TimeoutError(), ConnectionError()]

    @app.get("/{number}")
    async def read(number: int) -> None:
        raise errors[number]

    async with client_of(app) as http:
        assert [(await http.get(f"/{number}")).status_code for number in range(3)] == [418, 500, 500]


async def test_openapi_documents_the_503() -> None:
    """POOL_RESPONSES puts the 503, its header and its document into OpenAPI, and what is answered fits it."""
    app = FastAPI()

    @app.get("/", responses=POOL_RESPONSES)
    async def read(transport: Place) -> None: ...

    async with client_of(app) as http:
        responses = (await http.get("/openapi.json")).json()["paths"]["/"]["get"]["responses"]
    assert set(responses) == {"200", "503"}
    assert responses["503"] == POOL_RESPONSES[503]
    schema = responses["503"]["content"]["application/problem+json"]["schema"]
    assert responses["503"]["headers"]["Retry-After"]["schema"] == {"type": "integer", "minimum": 1}
    assert set(EXHAUSTED) == set(schema["properties"])
    kinds: dict[str, type] = {"string": str, "integer": int}
    assert all(isinstance(EXHAUSTED[name], kinds[part["type"]]) for name, part in schema["properties"].items())
    assert schema["required"] == ["detail"]


def test_responses_merge_with_a_route_s_own() -> None:
    """POOL_RESPONSES is a plain mapping that a route's own responses may be merged with."""
    app = FastAPI()

    @app.get("/", responses={**POOL_RESPONSES, 404: {"description": "no such order"}})
    async def read() -> None: ...

    assert set(app.openapi()["paths"]["/"]["get"]["responses"]) == {"200", "404", "503"}
