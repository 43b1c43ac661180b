"""An emulator with one container, and the official Cosmos client connected to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos.aio import ContainerProxy, CosmosClient

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container shop/orders."""
    async with Emulator() as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        yield azure


@pytest.fixture
async def client(azure: Emulator) -> AsyncIterator[CosmosClient]:
    """The official client with the account's key."""
    transport = AioHttpTransport(use_env_settings=False)
    async with CosmosClient(azure.cosmos_endpoint, azure.cosmos_key, transport=transport) as client:
        yield client


@pytest.fixture
def orders(client: CosmosClient) -> ContainerProxy:
    """The container shop/orders."""
    return client.get_database_client("shop").get_container_client("orders")
