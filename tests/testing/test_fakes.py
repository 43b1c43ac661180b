"""Fakes: they have the signatures of what they stand for, and an application finds them as it finds its pools."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from azure.cosmos.aio import ContainerProxy
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

import fastapi_azure_pool
from fastapi_azure_pool import (
    AzurePools,
    ConnectionFailed,
    ManagedAzureEventhubProducer,
    ManagedClient,
    ManagedCosmos,
    health_router,
    managed,
    open_pools,
    pooled,
)
from fastapi_azure_pool.testing import FakeManagedClient, fake_pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KINDS = [name for name in fastapi_azure_pool.__all__ if name.startswith("Managed") and name != "ManagedClient"]
OUTAGE = ConnectionFailed("orders", error="ServiceRequestError", retry_after=2)


def methods_of(thing: Any) -> dict[str, Callable[..., Any]]:
    """Give the public methods of a class, bound to no instance that was ever made."""
    unborn = object.__new__(thing)
    names = [name for name in dir(thing) if not name.startswith("_")]
    return {name: getattr(unborn, name) for name in names if inspect.isfunction(inspect.getattr_static(thing, name))}


async def as_coroutine(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function, and await what it returns if that can be awaited."""
    result = function(*arguments)
    return await result if inspect.isawaitable(result) else result


def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    """Give what a method takes."""
    return list(inspect.signature(method).parameters.values())


@pytest.mark.parametrize("name", KINDS)
async def test_a_fake_has_the_signatures_of_the_client_and_of_what_it_lends(name: str) -> None:
    """Every method of the client, and of the SDK's or our own connection, takes the same arguments and is awaited or is not."""
    kind = getattr(fastapi_azure_pool, name)
    fake = FakeManagedClient(kind)
    assert isinstance(fake, kind)
    assert isinstance(fake, FakeManagedClient)
    for thing, real in ((fake, kind), (fake.connection, fake.connection.__class__)):
        methods = methods_of(real)
        assert "close" in methods or "read_item" in methods
        for method_name, method in methods.items():
            ours = getattr(thing, method_name)
            assert parameters(ours) == parameters(method), method_name
            assert hasattr(ours, "assert_awaited") == inspect.iscoroutinefunction(method), method_name
            if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters(method)):
                with pytest.raises(TypeError):
                    await as_coroutine(ours, *range(20))


def test_there_are_fakes_for_every_service() -> None:
    """The clients are found by their names, so that a new one is tested as well."""
    assert {"ManagedCosmos", "ManagedAzureEventhubProducer", "ManagedAzureServiceBusSender"} <= set(KINDS)


async def test_a_call_that_the_real_client_would_refuse_raises() -> None:
    """A forgotten, a misspelt and a superfluous argument are TypeErrors."""
    events, orders = FakeManagedClient(ManagedAzureEventhubProducer), FakeManagedClient(ManagedCosmos)
    with pytest.raises(TypeError, match="'event'"):
        await events.send_event()
    with pytest.raises(TypeError, match="key"):
        await events.send_event("placed", key="ada")
    with pytest.raises(TypeError, match="partition_key"):
        await orders.connection.read_item("1")
    with pytest.raises(AttributeError):
        _ = orders.send_event
    assert await events.send_event("placed", partition_key="ada") is None
    events.send_event.assert_awaited_once_with("placed", "ada")


async def test_results_and_errors_are_what_the_test_says() -> None:
    """A method returns or raises what it was told to; pages of the SDK are lists; calls are recorded in order."""
    orders = FakeManagedClient(ManagedCosmos)
    assert isinstance(orders.connection, ContainerProxy)
    async with orders.get_container_client() as container:
        container.read_item.side_effect = [{"id": "1"}, KeyError("2")]
        assert await container.read_item("1", "ada") == {"id": "1"}
        with pytest.raises(KeyError):
            await container.read_item(item="2", partition_key="ada")
        container.query_items.return_value.__aiter__.return_value = [1, 2]
        assert [item async for item in container.query_items("SELECT VALUE c.n FROM c")] == [1, 2]
    names = [call[0] for call in orders.mock_calls if "__" not in call[0]]
    assert names == ["get_container_client", "connection.read_item", "connection.read_item", "connection.query_items"]


async def test_it_lends_and_counts_and_fails_as_a_client_does() -> None:
    """A checkout counts while it lasts; with an error set it raises that, as opening does; it can be used in `async with`."""
    lent = object()
    fake = FakeManagedClient(ManagedCosmos, connection=lent, service="shop")
    async with fake as client, client.get(1) as connection, fake.pool.get() as another:
        assert connection is another is lent
        assert (client.service, client.pool.stats().clients) == ("shop", 2)
    stats = fake.pool.stats()
    assert (stats.clients, stats.totals.checkouts, stats.ready, stats.is_failing) == (0, 2, 1, False)
    assert (fake.pool.ready_connection_count, fake.pool.connections) == (1, ())
    await fake.open()
    fake.error = OUTAGE
    with pytest.raises(ConnectionFailed):
        await fake.open()
    with pytest.raises(ConnectionFailed):
        await fake.get().__aenter__()
    stats = fake.pool.stats()
    assert (stats.ready, stats.is_failing, stats.last_error.type) == (0, True, "ConnectionFailed")
    assert fake.pool.ready_connection_count == 0


async def test_what_a_fake_cannot_stand_for_is_told() -> None:
    """Something else than a class of clients is refused, and one that does not tell what it lends needs a connection."""
    with pytest.raises(TypeError, match="such as ManagedCosmos, not <class 'dict'>"):
        FakeManagedClient(dict)
    with pytest.raises(
        TypeError, match="ManagedClient does not tell what it lends: give FakeManagedClient a connection="
    ):
        FakeManagedClient(ManagedClient)
    untold = FakeManagedClient(ManagedClient, connection=1)
    assert (untold.connection, untold.service) == (1, "fake")

    class OwnCosmos(ManagedCosmos):
        async def count(self, customer: str) -> int:
            raise NotImplementedError

    own = FakeManagedClient(OwnCosmos)
    assert isinstance(own.connection, ContainerProxy)
    own.count.return_value = 3
    with pytest.raises(TypeError):
        await own.count()


def make_app(lifespan: Any = None) -> FastAPI:
    """Make an application with one route for each way to reach a pool."""
    app = FastAPI(lifespan=lifespan)
    app.include_router(health_router())

    @app.get("/pooled")
    async def read(orders: Annotated[Any, Depends(pooled("orders"))]) -> Any:
        return await orders.read_item("1", "ada")

    @app.get("/managed")
    async def send(events: Annotated[Any, Depends(managed("events"))]) -> None:
        await events.send_event("placed")

    return app


def test_an_application_without_a_lifespan_finds_them() -> None:
    """`pooled`, `managed`, the health routes and AzurePools.client see the fakes, and afterwards nothing is left of them."""
    app = make_app()
    orders = FakeManagedClient(ManagedCosmos)
    orders.connection.read_item.return_value = {"id": "1"}
    events = FakeManagedClient(ManagedAzureEventhubProducer)
    with fake_pools(app, {"events": events}, orders=orders) as pools:
        http = TestClient(app)
        assert http.get("/pooled").json() == {"id": "1"}
        assert http.get("/managed").status_code == 200
        events.send_event.assert_awaited_once_with("placed")
        assert pools is app.state.azure_pools
        assert pools.client("orders", ManagedCosmos) is orders
        with pytest.raises(TypeError):
            pools.client("orders", ManagedAzureEventhubProducer)
        health = http.get("/health/pools").json()
        assert (health["status"], list(health["pools"]), health["pools"]["orders"]["service"]) == (
            "pass",
            ["events", "orders"],
            "cosmos",
        )
        assert orders.pool.name == "orders"
        orders.error = OUTAGE
        answer = http.get("/pooled")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert http.get("/health/ready").status_code == 503
        assert http.get("/health/pools/orders").json()["last_error"]["type"] == "ConnectionFailed"
    assert not hasattr(app.state, "azure_pools")


def test_they_take_the_places_of_pools_that_are_open() -> None:
    """Within the lifespan, where requests find the pools of its state, a fake stands in for one of them until its block ends."""
    real, other = FakeManagedClient(ManagedCosmos), FakeManagedClient(ManagedCosmos)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, AzurePools]]:
        async with open_pools(app, orders=real, others=other) as state:
            yield state

    app = make_app(lifespan)
    real.connection.read_item.return_value = "real"
    fake = FakeManagedClient(ManagedCosmos, error=OUTAGE)
    with TestClient(app) as http:
        with fake_pools(app, orders=fake):
            assert http.get("/pooled").status_code == 503
        assert http.get("/pooled").json() == "real"
        with pytest.raises(TypeError, match="pool 'orders' must be a managed client"), fake_pools(app, orders=object()):  # type: ignore[arg-type]  # that is refused
            pass
        assert http.get("/pooled").json() == "real"
        assert app.state.azure_pools["others"] is other
    real.close.assert_awaited_once()
