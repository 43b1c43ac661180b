"""The example application on its emulator, and on an account that it reaches with a credential, as it would Azure's."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from example_app.app import create_app
from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from fastapi import FastAPI


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "AZURE_COSMOS_ENDPOINT", "AZURE_COSMOS_DATABASE", "AZURE_COSMOS_CONTAINER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def new_order() -> dict[str, Any]:
    """What a customer orders."""
    return {
        "customer_id": "ada",
        "currency": "EUR",
        "lines": [
            {"sku": "tea-500g", "quantity": 2, "unit_price": 1250},
            {"sku": "pot", "quantity": 1, "unit_price": 2999},
        ],
    }


@pytest.fixture
def serve() -> Callable[[], AbstractAsyncContextManager[httpx2.AsyncClient]]:
    """A function that starts the service with the settings of the moment, until the block's end, and gives a client of it."""
    return start


@pytest.fixture
async def shop() -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service without settings, on its own emulator."""
    async with start() as client:
        yield client


@pytest.fixture
async def azure(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """An account with the container shop/orders, reached over https with a managed identity; the settings name it."""
    async with Emulator(tls=True) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        for name, value in azure.environment.items():
            monkeypatch.setenv(name, value)
        yield azure


@pytest.fixture
async def app(azure: Emulator) -> AsyncIterator[FastAPI]:
    """The service with that account, started."""
    app = create_app()
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def remote_shop(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service with that account."""
    async with connect(app) as client:
        yield client


@asynccontextmanager
async def start() -> AsyncIterator[httpx2.AsyncClient]:
    """Start the service and connect to it."""
    app = create_app()
    async with app.router.lifespan_context(app), connect(app) as client:
        yield client


def connect(app: FastAPI) -> httpx2.AsyncClient:
    """Give a client that calls the application itself, on this event loop; an error that nothing handles is raised."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop")
