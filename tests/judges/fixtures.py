"""The same account from two makers: tests that ask for one of these fixtures run against the emulator and against a judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.judges.servers import CosmosServer, StorageServer, running_azurite, running_cosmosdb_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["azurite", "cosmos_server", "cosmosdb_server", "storage_server"]


@pytest.fixture(scope="session")
def azurite() -> Iterator[StorageServer]:
    """Azurite, running; what earlier tests left is in it."""
    with running_azurite() as server:
        yield server


@pytest.fixture(scope="session")
def cosmosdb_server() -> Iterator[CosmosServer]:
    """cosmosdb-server, running; what earlier tests left is in it."""
    with running_cosmosdb_server() as server:
        yield server


@pytest.fixture(params=["emulator", "azurite"])
async def storage_server(request: pytest.FixtureRequest) -> AsyncIterator[StorageServer]:
    """A storage account without containers: the emulator's, then Azurite's."""
    from azure.storage.blob.aio import BlobServiceClient

    from fastapi_azure_pool.emulator import Emulator

    if request.param == "emulator":
        async with Emulator() as azure:
            yield StorageServer.of_emulator(azure)
        return
    server: StorageServer = request.getfixturevalue("azurite")
    async with BlobServiceClient.from_connection_string(server.connection_string) as client:
        for container in [one.name async for one in client.list_containers()]:
            await client.delete_container(container)
    yield server


@pytest.fixture(params=["emulator", "cosmosdb-server"])
async def cosmos_server(request: pytest.FixtureRequest) -> AsyncIterator[CosmosServer]:
    """A Cosmos DB account with nothing but the empty container shop/orders: the emulator's, then cosmosdb-server's."""
    from azure.cosmos import PartitionKey
    from azure.cosmos.aio import CosmosClient

    from fastapi_azure_pool.emulator import Emulator

    if request.param == "emulator":
        async with Emulator() as azure:
            await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
            yield CosmosServer.of_emulator(azure)
        return
    server: CosmosServer = request.getfixturevalue("cosmosdb_server")
    async with CosmosClient(server.endpoint, server.key, **server.client_options) as client:
        for database in [one["id"] async for one in client.list_databases()]:
            await client.delete_database(database)
        shop = await client.create_database("shop")
        await shop.create_container("orders", PartitionKey("/customer_id"))
    yield server
