"""An emulator, what is needed to connect to it, and the check that nothing is left of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator import Emulator
from tests.clients.credentials import CountingCredential
from tests.clients.messaging import Hub, Messaging, Queue
from tests.support.leftovers import nothing_is_left_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What aiohttp and azure-identity look at; a test sets what it needs of it.
ENVIRONMENT = (
    "ALL_PROXY",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "MSI_ENDPOINT",
    "NETRC",
    "NO_PROXY",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No proxy, no netrc file and no identity in the environment."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # The SDK asks an account that refuses it four times, half a second apart; here, without waiting.
    monkeypatch.setenv("AZURE_COSMOS_HEALTH_CHECK_RETRY_AFTER_MS", "1")
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
async def nothing_is_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Every test ends without a task, without an unclosed session, and without an error that only asyncio has seen."""
    CountingCredential.made.clear()
    with nothing_is_left_of(request):
        yield


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container shop/orders."""
    async with Emulator() as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        yield azure


@pytest.fixture
async def azure_with_tls(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """An emulator that takes tokens as well, with the container shop/orders; azure-identity finds its token endpoint."""
    async with Emulator(tls=True) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        for name, value in azure.environment.items():
            monkeypatch.setenv(name, value)
        yield azure


@pytest.fixture
async def amqp() -> AsyncIterator[Emulator]:
    """An emulator with the hub "orders", the queue "work" and the topic "news" with its subscription "audit"."""
    async with Emulator() as azure:
        await azure.create_eventhub("orders")
        await azure.create_queue("work")
        await azure.create_topic("news")
        await azure.create_subscription("news", "audit")
        yield azure


@pytest.fixture(params=[Hub, Queue], ids=["eventhub", "servicebus"])
async def messaging(amqp: Emulator, request: pytest.FixtureRequest) -> Messaging:
    """Event Hubs, and Service Bus, in an emulator."""
    kind: type[Messaging] = request.param
    return kind(amqp)


@pytest.fixture
def hub(amqp: Emulator) -> Hub:
    """Event Hubs in an emulator."""
    return Hub(amqp)


@pytest.fixture
def queue(amqp: Emulator) -> Queue:
    """Service Bus in an emulator."""
    return Queue(amqp)
