"""The example application on its emulator, and on an account that it reaches with a credential, as it would Azure's."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import certifi
import httpx2
import pytest

from example_app.app import create_app
from example_app.settings import Settings
from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from fastapi import FastAPI


LOCK_SECONDS = 4.0
"""For how long a message is locked: the time after which that of a killed process comes back."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting but this: only tests of the worker have one, since stopping its receiver takes the SDK a second or two."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("CONFIRM_ORDERS", "false")


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
async def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Emulator]:
    """An account with what the service expects, reached over TLS with a managed identity; the settings name it."""
    async with Emulator(tls=True) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        await azure.create_eventhub("order-events")
        await azure.create_queue("confirmations", lock_seconds=LOCK_SECONDS)
        await azure.create_blob_container("invoices")
        await azure.create_eventgrid_topic("order-news")
        namespaces = dict.fromkeys(("AZURE_EVENTHUB_NAMESPACE", "AZURE_SERVICEBUS_NAMESPACE"), azure.amqp_authority)
        for name, value in (azure.environment | namespaces).items():
            monkeypatch.setenv(name, value)
        certificate = tmp_path / "certificate.pem"
        certificate.write_text(azure.certificate, encoding="ascii")
        # All but Cosmos DB's SDK verify certificates also on loopback.
        monkeypatch.setattr(certifi, "where", lambda: str(certificate))
        monkeypatch.setattr(
            "aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cadata=azure.certificate)
        )
        yield azure


@pytest.fixture
def confirming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are confirmed by the services that start from now on."""
    monkeypatch.setenv("CONFIRM_ORDERS", "true")


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
