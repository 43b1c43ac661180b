"""The health routes: what they say about pools, with which status, and what they leave alone."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException

from fastapi_azure_pool import ManagedCosmos, PoolState, UnknownPool, health_router, open_pools
from tests.clients.waiting import eventually
from tests.fastapi.driver import client_of, request, serving
from tests.fastapi.scripted import ScriptedClient, app_with
from tests.support.scripted_connector import ScriptedConnector

if TYPE_CHECKING:
    import httpx2

    from fastapi_azure_pool.clients.managed import ManagedClient
    from fastapi_azure_pool.emulator import Emulator


def healthy_app(critical: list[str] | None = None, **clients: ManagedClient[Any]) -> FastAPI:
    """Make an application with health routes that starts also without its pools."""
    app = app_with(fail_fast=False, **clients)
    app.include_router(health_router(critical=critical))
    return app


def broken(**sizes: Any) -> ScriptedClient:
    """Give a client whose service cannot be reached."""
    connector = ScriptedConnector()
    connector.create_error = OSError("no route to planted-host")
    return ScriptedClient(connector, **sizes)


async def statuses(http: httpx2.AsyncClient, path: str = "/health/pools") -> tuple[int, str, dict[str, str]]:
    """Give a route's HTTP status, the status of the whole, and that of each pool."""
    answer = await http.get(path)
    document = answer.json()
    pools = {name: pool["status"] for name, pool in document.get("pools", {}).items()}
    return answer.status_code, document["status"], pools


async def test_the_document_is_as_documented() -> None:
    """GET /health/pools shows exactly the documented fields, with the values of a pool that is in use."""
    orders = ScriptedClient(max_size=10)
    async with serving(healthy_app(orders=orders)) as http:
        for _ in range(3):
            async with orders.get():
                pass
        async with orders.get(), orders.get():
            answer = await http.get("/health/pools")
        document = answer.json()
        (connection,) = document["pools"]["orders"]["connections"]
        age = connection.pop("age_seconds")
        assert 0 <= age < 5
        assert age == round(age, 3)
        (held,) = orders.pool.connections
        assert document == {
            "status": "pass",
            "process_id": os.getpid(),
            "pools": {
                "orders": {
                    "status": "pass",
                    "service": "scripted",
                    "ready_connection_count": 1,
                    "opening": 0,
                    "max_size": 10,
                    "client_limit": 100,
                    "current_client_count": 2,
                    "waiting": 0,
                    "connections": [{"id": held.id, "state": "ready", "current_client_count": 2, "idle_seconds": 0.0}],
                    "totals": {
                        "checkouts": 5,
                        "opened": 1,
                        "closed": 0,
                        "open_failures": 0,
                        "timeouts": 0,
                        "waited": 0,
                    },
                    "last_error": None,
                }
            },
        }
        assert list(document) == ["status", "process_id", "pools"]
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"


async def test_one_pool_is_as_in_the_whole() -> None:
    """GET /health/pools/{name} shows what the whole shows of that pool."""
    orders = ScriptedClient()
    async with serving(healthy_app(orders=orders, events=ScriptedClient())) as http, orders.get():
        whole = (await http.get("/health/pools")).json()["pools"]["orders"]
        answer = await http.get("/health/pools/orders")
        assert answer.status_code == 200
        times = ("age_seconds", "idle_seconds")
        for document in (one := answer.json(), whole):
            for connection in document["connections"]:
                for name in times:
                    assert connection.pop(name) >= 0
        assert one == whole


async def test_an_unknown_pool_is_404_with_the_names() -> None:
    """An unknown name is 404 and lists the names."""
    async with serving(healthy_app(orders=ScriptedClient())) as http:
        answer = await http.get("/health/pools/ordres")
        assert answer.status_code == 404
        assert answer.json() == {"detail": "there is no pool 'ordres'; the pools are: orders"}
    async with serving(healthy_app()) as http:
        assert (await http.get("/health/pools/x")).json() == {"detail": "there is no pool 'x'; the pools are: none"}


async def test_a_pool_that_nobody_asked_passes() -> None:
    """A pool that opened nothing because nobody asked is well."""
    async with serving(healthy_app(orders=ScriptedClient(min_size=0))) as http:
        assert await statuses(http) == (200, "pass", {"orders": "pass"})
        assert await statuses(http, "/health/ready") == (200, "pass", {})
    async with serving(healthy_app()) as http:
        assert await statuses(http) == (200, "pass", {})


async def test_a_full_pool_and_one_with_waiting_callers_warn() -> None:
    """A pool without a free place warns, so does one whose callers wait; both still count as ready."""
    orders = ScriptedClient(client_limit=1, max_size=1)
    async with serving(healthy_app(orders=orders)) as http:
        async with orders.get():
            assert await statuses(http) == (200, "warn", {"orders": "warn"})
            waiting = asyncio.create_task(orders.get().__aenter__())
            await eventually(lambda: orders.pool.stats().waiting == 1)
            document = (await http.get("/health/pools/orders")).json()
            assert (document["status"], document["waiting"], document["totals"]["waited"]) == ("warn", 1, 1)
            assert await statuses(http, "/health/ready") == (200, "warn", {})
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert await statuses(http) == (200, "pass", {"orders": "pass"})


async def test_callers_who_wait_for_the_first_connection_warn() -> None:
    """While callers wait for a connection that is being opened, the pool warns and shows the opening."""
    connector = ScriptedConnector()
    connector.create_seconds = None
    orders = ScriptedClient(connector, min_size=0)
    async with serving(healthy_app(orders=orders)) as http:
        waiting = asyncio.create_task(orders.get().__aenter__())
        await eventually(lambda: connector.in_flight)
        document = (await http.get("/health/pools/orders")).json()
        assert (document["status"], document["opening"], document["waiting"]) == ("warn", 1, 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (await statuses(http))[1] == "pass"
        await orders.close(0)


async def test_a_pool_that_cannot_open_fails_and_heals() -> None:
    """With nothing ready and the last opening failed, the pool, the whole and readiness fail with 503, until it has healed."""
    orders = broken()
    async with serving(healthy_app(orders=orders)) as http:
        assert await statuses(http) == (503, "fail", {"orders": "fail"})
        answer = await http.get("/health/pools/orders")
        document = answer.json()
        assert (answer.status_code, document["status"], document["ready_connection_count"]) == (503, "fail", 0)
        assert document["totals"]["open_failures"] >= 1
        assert (document["last_error"]["type"], document["last_error"]["seconds_ago"] >= 0) == ("OSError", True)
        assert set(document["last_error"]) == {"type", "seconds_ago"}
        assert await statuses(http, "/health/ready") == (503, "fail", {})
        assert await statuses(http, "/health/live") == (200, "pass", {})
        orders.connector.create_error = None
        await eventually(lambda: orders.pool.ready_connection_count == 1)
        assert await statuses(http) == (200, "pass", {"orders": "pass"})
        assert await statuses(http, "/health/ready") == (200, "pass", {})


async def test_opening_that_fails_beside_a_ready_connection_warns() -> None:
    """While opening fails and something is ready, the pool warns and still counts as ready."""
    orders = ScriptedClient(client_limit=1, max_size=2)
    async with serving(healthy_app(orders=orders)) as http:
        orders.connector.create_error = OSError("no")
        async with orders.get():
            waiting = asyncio.create_task(orders.get().__aenter__())
            await eventually(lambda: orders.pool.stats().is_failing)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert await statuses(http) == (200, "warn", {"orders": "warn"})
        assert await statuses(http, "/health/ready") == (200, "warn", {})


async def test_a_draining_connection_is_shown() -> None:
    """A connection that drains is listed as such, with its clients."""
    orders = ScriptedClient()
    async with serving(healthy_app(orders=orders)) as http, orders.get() as transport:
        orders.pool.expire(transport)
        await eventually(lambda: orders.pool.ready_connection_count == 1)
        document = (await http.get("/health/pools/orders")).json()
        shown = sorted((one["state"], one["current_client_count"]) for one in document["connections"])
        assert shown == [("draining", 1), ("ready", 0)]
        assert (document["ready_connection_count"], document["current_client_count"]) == (1, 1)


@pytest.mark.parametrize(
    ("critical", "whole", "ready"),
    [
        (None, (503, "fail"), (503, "fail")),
        (["good", "bad"], (503, "fail"), (503, "fail")),
        (["bad"], (503, "fail"), (503, "fail")),
        (["good"], (200, "warn"), (200, "warn")),
        ([], (200, "warn"), (200, "warn")),
    ],
)
async def test_only_critical_pools_fail_the_whole(
    critical: list[str] | None, whole: tuple[int, str], ready: tuple[int, str]
) -> None:
    """A pool that is not critical makes the whole warn, never fail; its own route says fail all the same."""
    async with serving(healthy_app(critical, good=ScriptedClient(), bad=broken())) as http:
        assert (await statuses(http))[:2] == whole
        assert (await statuses(http))[2] == {"good": "pass", "bad": "fail"}
        assert (await statuses(http, "/health/ready"))[:2] == ready
        assert (await http.get("/health/pools/bad")).status_code == 503
        assert (await http.get("/health/pools/good")).status_code == 200


async def test_a_warning_of_any_pool_shows_in_the_whole() -> None:
    """The whole has the worst status of its pools, and a warning is 200."""
    full = ScriptedClient(client_limit=1, max_size=1)
    async with serving(healthy_app(["good"], good=ScriptedClient(), full=full)) as http, full.get():
        assert await statuses(http) == (200, "warn", {"good": "pass", "full": "warn"})


async def test_an_unknown_critical_pool_is_told() -> None:
    """A name in critical that no pool has raises UnknownPool when a request comes, and never fails liveness."""
    app = healthy_app(["ordres"], orders=ScriptedClient())
    async with serving(app) as http:
        for path in ("/health/pools", "/health/ready"):
            with pytest.raises(UnknownPool, match="no pool 'ordres'; the pools are: 'orders'"):
                await request(app, path)
        assert (await http.get("/health/live")).status_code == 200


async def test_critical_is_read_when_the_router_is_made() -> None:
    """Any iterable of names will do, also one that can be read only once; a text is refused, for it is a collection of letters."""
    app = app_with(fail_fast=False, bad=broken())
    app.include_router(health_router(critical=(name for name in ["bad"])))  # type: ignore[arg-type]
    async with serving(app) as http:
        for _ in range(2):
            assert (await http.get("/health/ready")).status_code == 503
    with pytest.raises(TypeError, match=r"critical must be a collection of names: write critical=\['orders'\]"):
        health_router(critical="orders")


@pytest.mark.parametrize(("critical", "ready"), [(None, 503), (["other"], 200)])
async def test_a_closing_critical_pool_is_not_ready(critical: list[str] | None, ready: int) -> None:
    """While a critical pool drains, /ready is 503, so that no new request comes; the whole only warns, and the process lives."""
    orders = ScriptedClient()
    app = FastAPI()
    app.include_router(health_router(critical=critical))
    context = open_pools(app, orders=orders, other=ScriptedClient())
    state = await context.__aenter__()
    async with client_of(app, state) as http:
        assert (await http.get("/health/ready")).status_code == 200
        async with orders.get():
            await app.state.azure_pools["other"].close()
            await app.state.azure_pools["other"].open()
            closing = asyncio.create_task(orders.close())
            await eventually(lambda: orders.pool.state is PoolState.CLOSING)
            assert (await http.get("/health/ready")).status_code == ready
            assert (await statuses(http))[:2] == (200, "warn")
            assert (await http.get("/health/live")).status_code == 200
        await closing
        assert (await http.get("/health/ready")).status_code == ready
    await context.__aexit__(None, None, None)


async def test_reading_asks_azure_nothing(azure: Emulator) -> None:
    """The routes open nothing and send nothing, neither for a pool that is open nor for one that nobody has asked."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    lazy = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key, min_size=0)
    async with serving(healthy_app(orders=orders, lazy=lazy)) as http:
        await eventually(lambda: azure.cosmos_requests.count("GET", "/") == 2)
        asked, accepted = azure.cosmos_requests.total, azure.connections("cosmos").accepted
        checkouts = orders.pool.stats().totals.checkouts
        for path in ("live", "ready", "pools", "pools/orders", "pools/lazy"):
            for _ in range(5):
                assert (await http.get(f"/health/{path}")).status_code == 200
        assert (azure.cosmos_requests.total, azure.connections("cosmos").accepted) == (asked, accepted)
        assert orders.pool.stats().totals.checkouts == checkouts
        assert (await http.get("/health/pools")).json()["pools"]["orders"]["service"] == "cosmos"


async def test_nothing_of_the_service_shows(azure: Emulator) -> None:
    """No endpoint, key or text of an exception is in any answer, also when opening failed."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential="cGxhbnRlZA==")
    host = azure.cosmos_endpoint.removeprefix("http://").rstrip("/")
    async with serving(healthy_app(orders=orders, bad=broken())) as http:
        for path in ("live", "ready", "pools", "pools/orders", "pools/bad"):
            text = (await http.get(f"/health/{path}")).text
            for secret in (host, azure.cosmos_key, "cGxhbnRlZA", "planted-host", "Traceback", "no route"):
                assert secret not in text
        document = (await http.get("/health/pools/orders")).json()
        assert document["last_error"]["type"] == "CosmosHttpResponseError"


async def test_liveness_needs_no_pools() -> None:
    """GET /health/live is 200 while the process serves, also before any lifespan ran."""
    app = FastAPI()
    app.include_router(health_router())
    async with client_of(app) as http:
        assert await statuses(http, "/health/live") == (200, "pass", {})


async def test_the_prefix_and_the_dependencies_are_the_caller_s() -> None:
    """The routes are where the prefix says, and behind the dependencies that are given."""

    def refuse() -> None:
        raise HTTPException(401)

    app = app_with(orders=ScriptedClient())
    app.include_router(health_router("/internal"))
    app.include_router(health_router("/guarded", dependencies=[Depends(refuse)]))
    paths = ("/live", "/ready", "/pools", "/pools/orders")
    async with serving(app) as http:
        assert [(await http.get(f"/internal{path}")).status_code for path in paths] == [200] * 4
        assert [(await http.get(f"/guarded{path}")).status_code for path in paths] == [401] * 4
        assert (await http.get("/health/pools")).status_code == 404


async def test_a_mounted_application_shows_the_same_pools() -> None:
    """Health routes in a mounted application find its parent's pools."""
    app, sub = app_with(orders=ScriptedClient()), FastAPI()
    sub.include_router(health_router())
    app.mount("/sub", sub)
    async with serving(app) as http:
        assert await statuses(http, "/sub/health/pools") == (200, "pass", {"orders": "pass"})


async def test_openapi_describes_what_is_answered() -> None:
    """The routes are in OpenAPI with their models, their 503 and their 404, and with no parameter but the name."""
    app = FastAPI()
    app.include_router(health_router())
    paths = app.openapi()["paths"]
    assert set(paths) == {"/health/live", "/health/ready", "/health/pools", "/health/pools/{name}"}
    responses = {path: set(item["get"]["responses"]) for path, item in paths.items()}
    assert responses["/health/live"] == {"200"}
    assert responses["/health/ready"] == responses["/health/pools"] == {"200", "503"}
    assert responses["/health/pools/{name}"] >= {"200", "404", "503"}
    parameters = [parameter["name"] for item in paths.values() for parameter in item["get"].get("parameters", [])]
    assert parameters == ["name"]
