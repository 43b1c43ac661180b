"""The Cosmos DB clients against two servers, the emulator and one that others wrote: what they rest on is no whim of ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from azure.core import MatchConditions
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from fastapi_azure_pool import ConnectionFailed, ManagedCosmos, PoolState

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy

    from tests.judges.servers import CosmosServer

ITEM = {"id": "1", "customer_id": "c", "total": 12}


def orders_of(server: CosmosServer, **options: Any) -> ManagedCosmos:
    """Return a managed client of shop/orders with the account's key."""
    given = {"credential": server.key, "client_options": dict(server.client_options), **options}
    return ManagedCosmos(server.endpoint, "shop", "orders", **given)


async def read(container: ContainerProxy) -> int:
    """Read the one item and give its total."""
    item = await container.read_item("1", partition_key="c")
    total: int = item["total"]
    return total


async def test_an_item_goes_through_its_life(cosmos_server: CosmosServer) -> None:
    """Through pooled connections an item is created, read, replaced, patched, found and deleted."""
    async with orders_of(cosmos_server, min_size=2) as orders:
        assert (orders.service, orders.pool.ready_connection_count) == ("cosmos", 2)
        async with orders.get_container_client() as container:
            await container.create_item(ITEM)
        async with orders.get_container_client() as container:
            assert await read(container) == 12
            await container.replace_item("1", {**ITEM, "total": 13})
        async with orders.get_container_client() as container:
            assert await read(container) == 13
            await container.patch_item("1", "c", [{"op": "incr", "path": "/total", "value": 1}])
            assert await read(container) == 14
        async with orders.get_container_client() as container:
            found = container.query_items("SELECT * FROM c WHERE c.customer_id = 'c'", partition_key="c")
            assert [item["total"] async for item in found] == [14]
            await container.delete_item("1", "c")
            assert [item async for item in container.read_all_items()] == []


async def test_a_connection_string_authenticates(cosmos_server: CosmosServer) -> None:
    """The portal's connection string gives endpoint and key."""
    orders = ManagedCosmos(
        dbname="shop",
        container_name="orders",
        connection_string=cosmos_server.connection_string,
        client_options=dict(cosmos_server.client_options),
    )
    async with orders, orders.get_container_client() as container:
        await container.create_item(ITEM)
        assert await read(container) == 12


@pytest.mark.parametrize(
    "change", [{"container_name": "missing"}, {"dbname": "missing"}], ids=["container", "database"]
)
async def test_what_is_not_there_cannot_be_opened(cosmos_server: CosmosServer, change: dict[str, str]) -> None:
    """A missing database or container surfaces as ConnectionFailed with the SDK's error."""
    names = {"dbname": "shop", "container_name": "orders", **change}
    orders = ManagedCosmos(
        cosmos_server.endpoint,
        credential=cosmos_server.key,
        client_options=dict(cosmos_server.client_options),
        **names,  # type: ignore[arg-type]  # names of the two that are there
    )
    with pytest.raises(ConnectionFailed) as raised:
        await orders.open()
    assert isinstance(raised.value.__cause__, CosmosResourceNotFoundError)
    await orders.close()


async def test_errors_of_the_service_are_the_sdk_s_and_retire_nothing(cosmos_server: CosmosServer) -> None:
    """A conflict, an old etag and a missing item reach the caller as the SDK's errors, and the connection stays."""
    async with orders_of(cosmos_server) as orders:
        (connection,) = orders.pool.connections
        async with orders.get_container_client() as container:
            old = await container.create_item(ITEM)
            await container.replace_item("1", {**ITEM, "total": 13})
        under_old_etag = {"etag": old["_etag"], "match_condition": MatchConditions.IfNotModified}
        with pytest.raises(CosmosResourceExistsError):
            async with orders.get_container_client() as container:
                await container.create_item(ITEM)
        with pytest.raises(CosmosAccessConditionFailedError):
            async with orders.get_container_client() as container:
                await container.replace_item("1", {**old, "total": 14}, **under_old_etag)
        with pytest.raises(CosmosHttpResponseError) as raised:
            async with orders.get_container_client() as container:
                await container.read_item("none", partition_key="c")
        # cosmosdb-server fails itself when an item is missing
        expected = {"emulator": CosmosResourceNotFoundError, "cosmosdb-server": CosmosHttpResponseError}
        assert type(raised.value) is expected[cosmos_server.name]
        assert orders.pool.connections == (connection,)
        assert orders.pool.stats().totals.reported_errors == 0


async def test_many_callers_share_few_connections(cosmos_server: CosmosServer) -> None:
    """A hundred callers at once write and read through two connections, and each gets what it asked for."""
    async with orders_of(cosmos_server, max_size=2, client_limit=50) as orders:

        async def place(number: int) -> int:
            async with orders.get_container_client() as container:
                item = {"id": str(number), "customer_id": str(number % 7), "total": number}
                await container.create_item(item)
                stored = await container.read_item(str(number), partition_key=str(number % 7))
                total: int = stored["total"]
                return total

        assert await asyncio.gather(*(place(number) for number in range(100))) == list(range(100))
        assert orders.pool.ready_connection_count <= 2
        async with orders.get_container_client() as container:
            assert len([item async for item in container.read_all_items()]) == 100


async def test_pages_of_a_query(cosmos_server: CosmosServer) -> None:
    """A query's pages are as long as was asked for, and together they are the whole, in order."""
    async with orders_of(cosmos_server) as orders, orders.get_container_client() as container:
        for number in range(5):
            await container.create_item({"id": str(number), "customer_id": "c"})
        pages = container.query_items("SELECT * FROM c WHERE c.customer_id = 'c'", max_item_count=2).by_page()
        assert [[item["id"] async for item in page] async for page in pages] == [["0", "1"], ["2", "3"], ["4"]]


async def test_closing_and_opening_again(cosmos_server: CosmosServer) -> None:
    """A managed client that was closed opens new connections when it is opened again, and finds what it wrote."""
    orders = orders_of(cosmos_server)
    for total in range(3):
        async with orders, orders.get_container_client() as container:
            await container.upsert_item({**ITEM, "total": total})
            assert await read(container) == total
    assert orders.pool.state is PoolState.CLOSED
    assert orders._connector._open == {}


async def test_a_client_closed_by_its_user_is_replaced_at_the_next_checkout(cosmos_server: CosmosServer) -> None:
    """Leaving ``async with`` over the SDK's client closes it for all; the pool notices, and gives another one."""
    async with orders_of(cosmos_server) as orders:
        async with orders.get_container_client() as container:
            await container.create_item(ITEM)
            assert not orders._connector.is_closed(container)
            await orders._connector._open[container][0].close()
            assert orders._connector.is_closed(container)
        async with orders.get_container_client() as other:
            assert other is not container
            assert await read(other) == 12
