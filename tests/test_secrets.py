"""Keys, tokens and connection strings are planted, and looked for in whatever is logged, shown, raised or answered."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Annotated, Any, Self

import pytest
from azure.core.credentials import AccessToken
from azure.cosmos.aio import ContainerProxy
from fastapi import Depends, FastAPI

from fastapi_azure_pool import (
    Cosmos,
    ManagedCosmos,
    PoolError,
    SharedCredential,
    health_router,
    install_error_handlers,
    managed,
    open_pools,
    pooled,
)
from fastapi_azure_pool.clients.cosmos import CosmosAccess, CosmosConnector
from fastapi_azure_pool.emulator import Emulator
from tests.clients.waiting import eventually
from tests.fastapi.driver import serving
from tests.fastapi.scripted import app_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# A key that authenticates, one that does not, and a token: each is easy to recognise in any text.
GOOD_KEY = base64.b64encode(b"planted-good-key-" * 3).decode()
BAD_KEY = base64.b64encode(b"planted-bad-key-" * 3).decode()
TOKEN = "planted.token.value"
SECRETS = (GOOD_KEY, BAD_KEY, TOKEN, "planted", GOOD_KEY[:20], BAD_KEY[:20])

Orders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]
Client = Annotated[ManagedCosmos, Depends(managed("orders"))]


class PlantedCredential:
    """An async credential whose token is planted; its repr does not help."""

    def __init__(self) -> None:
        self.secret = TOKEN

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Give the planted token."""
        return AccessToken(TOKEN, 4_000_000_000)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


def assert_clean(*texts: str) -> None:
    """Check that no text holds a secret."""
    for text in texts:
        assert [secret for secret in SECRETS if secret in text] == []


def texts_of(error: BaseException) -> list[str]:
    """Give what an error shows: text, repr, data, and what survives a pickle and a copy; causes are the SDK's."""
    return [str(error), repr(error), repr(error.args), repr(vars(error))]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK asks an account that refuses it four times, half a second apart; here, without waiting."""
    monkeypatch.setenv("AZURE_COSMOS_HEALTH_CHECK_RETRY_AFTER_MS", "1")


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the good key."""
    async with Emulator(cosmos_key=GOOD_KEY) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        yield azure


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that this library logs, down to DEBUG."""
    caplog.set_level(logging.DEBUG, "fastapi_azure_pool")
    return caplog


def ours(log: pytest.LogCaptureFixture) -> list[str]:
    """Give what this library logged, with the tracebacks."""
    formatter = logging.Formatter("%(message)s %(name)s")
    return [formatter.format(record) for record in log.records if record.name.startswith("fastapi_azure_pool")]


def connection_string(azure: Emulator, key: str) -> dict[str, str]:
    """Give a connection string as an argument."""
    return {"connection_string": f"AccountEndpoint={azure.cosmos_endpoint};AccountKey={key};"}


def key(azure: Emulator, key: str) -> dict[str, str]:
    """Give endpoint and key as arguments."""
    return {"endpoint": azure.cosmos_endpoint, "credential": key}


ways = pytest.mark.parametrize("way", [key, connection_string])


@ways
async def test_reprs_show_no_secret(azure: Emulator, way: Callable[[Emulator, str], dict[str, str]]) -> None:
    """Clients, connectors, pools, connections, statistics and credentials show no key, before, while and after they are open."""
    arguments = way(azure, GOOD_KEY)
    orders = ManagedCosmos(dbname="shop", container_name="orders", **arguments)  # type: ignore[arg-type]
    basic = Cosmos(dbname="shop", container_name="orders", **arguments)  # type: ignore[arg-type]
    shown: list[object] = [orders, basic, basic._client, orders._connector, orders.pool, pooled("orders"), managed("o")]
    assert_clean(*map(repr, shown), *map(str, shown))
    app = FastAPI()
    async with open_pools(app, orders=orders) as state, orders.get_container_client() as container:
        shown += [state, app.state.azure_pools, container, orders.pool.stats(), *orders.pool.connections]
        shown += [task.get_name() for task in asyncio.all_tasks()]
        assert_clean(*map(repr, shown), *map(str, shown))
    assert_clean(*map(repr, shown), *map(str, shown))


def test_reprs_of_tokens_show_no_secret() -> None:
    """A shared credential, and what holds one, shows nothing of it."""
    credential = PlantedCredential()
    shared = SharedCredential(credential=credential)
    access = CosmosAccess("https://shop.documents.azure.com", "shop", "orders", None, credential, None)
    orders = ManagedCosmos("https://shop.documents.azure.com", "shop", "orders", PlantedCredential)
    shown = [shared, access, CosmosConnector(access), orders, orders.pool, orders._shared]
    assert_clean(*map(repr, shown), *map(str, shown))


@ways
async def test_a_refused_key_shows_nowhere(
    azure: Emulator, way: Callable[[Emulator, str], dict[str, str]], log: pytest.LogCaptureFixture
) -> None:
    """A key that Azure refuses is in no error, no log, no response and no health document, nor is the endpoint in ours."""
    orders = ManagedCosmos(dbname="shop", container_name="orders", **way(azure, BAD_KEY))  # type: ignore[arg-type]
    with pytest.raises(PoolError) as raised:
        await open_pools(FastAPI(), orders=orders).__aenter__()
    error = raised.value
    again = [pickle.loads(pickle.dumps(error)), copy.copy(error)]
    assert_clean(*(text for each in (error, *again) for text in texts_of(each)))
    assert_clean("".join(traceback.format_exception(error)))
    app = app_with(fail_fast=False, orders=orders)
    app.include_router(health_router())
    install_error_handlers(app)

    @app.get("/pooled")
    async def read(orders: Orders) -> None: ...

    @app.get("/managed")
    async def read_managed(client: Client) -> None:
        async with client.get_container_client():
            pass

    async with serving(app) as http:
        for path in ("/pooled", "/managed", "/health/pools", "/health/pools/orders", "/health/ready"):
            answer = await http.get(path)
            assert answer.status_code == 503
            text = answer.text + json.dumps(dict(answer.headers))
            assert_clean(text)
            assert azure.cosmos_endpoint.removeprefix("http://").rstrip("/") not in text
    assert any("CosmosHttpResponseError" in line for line in ours(log))
    assert_clean(*ours(log))
    assert not any(azure.cosmos_endpoint in line for line in ours(log))


async def test_what_breaks_later_shows_no_secret(azure: Emulator, log: pytest.LogCaptureFixture) -> None:
    """Broken connections, a full pool, a closed one and wrong uses are told without the key that opened them."""
    options = {"retry_total": 0, "retry_connect": 0, "retry_read": 0}
    orders = ManagedCosmos(
        azure.cosmos_endpoint,
        "shop",
        "orders",
        credential=GOOD_KEY,
        client_limit=1,
        max_size=1,
        pool_get_timeout=0.01,
        client_options=options,
    )
    app = app_with(orders=orders)
    app.include_router(health_router())
    install_error_handlers(app)

    @app.get("/broken")
    async def broken(orders: Orders) -> None:
        await orders.read_item("1", partition_key="c")

    @app.get("/full")
    async def full(client: Client) -> None:
        async with client.get_container_client(), client.get_container_client():
            pass

    async with serving(app) as http:
        with azure.faults.drop(path="*/docs*"):
            assert (await http.get("/broken")).status_code == 500
        await eventually(lambda: orders.pool.ready_connection_count == 1)
        assert (await http.get("/full")).status_code == 503
        document = (await http.get("/health/pools")).text
        assert "ServiceRe" in document
        assert_clean(document)
        await orders.close()
        closed = await http.get("/full")
        assert closed.status_code == 503
        assert_clean(closed.text)
    with pytest.raises(PoolError) as raised:
        await orders.get().__aenter__()
    assert_clean(*texts_of(raised.value), *ours(log))
    assert any("is broken" in line for line in ours(log))


async def test_a_token_shows_nowhere(log: pytest.LogCaptureFixture) -> None:
    """A token that Cosmos DB refuses is in no error and no log of ours."""
    async with Emulator(tls=True) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", PlantedCredential)
        with pytest.raises(PoolError) as raised:
            await orders.__aenter__()
        assert type(raised.value.__cause__).__name__ == "CosmosHttpResponseError"
        assert_clean(*texts_of(raised.value), "".join(traceback.format_exception(raised.value)), *ours(log))


def test_the_search_finds_what_is_planted() -> None:
    """The search itself would find each of the secrets."""
    for secret in SECRETS:
        with pytest.raises(AssertionError):
            assert_clean(f"before {secret} after")
