"""Operations on many items at once: read_items, and deleting all of a partition key, through the official SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos.exceptions import CosmosHttpResponseError

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]


@pytest.fixture
async def wide(azure: Emulator, client: CosmosClient) -> ContainerProxy:
    """A container of three physical partitions with twenty items of five customers."""
    await azure.create_cosmos_container("shop", "wide", partition_key="/customer_id", partitions=3)
    wide = client.get_database_client("shop").get_container_client("wide")
    for number in range(20):
        await wide.create_item({"id": str(number), "customer_id": f"c{number % 5}"})
    return wide


async def test_many_items_are_read_in_the_order_asked(wide: ContainerProxy) -> None:
    """Items of several partitions come in the order in which they were named; those that are not there are left out."""
    wanted = [(str(number), f"c{number % 5}") for number in (19, 3, 8, 0, 11)]
    found = await wide.read_items([*wanted, ("99", "c4"), ("3", "c4")])
    assert [(item["id"], item["customer_id"]) for item in found] == wanted
    assert [item["id"] for item in await wide.read_items([("7", "c2")])] == ["7"]
    assert list(await wide.read_items([("99", "c2")])) == []


async def test_many_items_of_one_partition_key_are_read(wide: ContainerProxy) -> None:
    """Items of one partition key, which the SDK asks for with IN, come in the order asked."""
    found = await wide.read_items([("15", "c0"), ("0", "c0"), ("5", "c0"), ("99", "c0")])
    assert [item["id"] for item in found] == ["15", "0", "5"]


async def test_many_items_under_hierarchical_and_missing_keys(azure: Emulator, client: CosmosClient) -> None:
    """Items of a hierarchical key, and those whose id is the key, are found as well."""
    await azure.create_cosmos_container("shop", "deep", partition_key=["/tenant", "/user"], partitions=3)
    await azure.create_cosmos_container("shop", "byid", partition_key="/id", partitions=3)
    deep = client.get_database_client("shop").get_container_client("deep")
    byid = client.get_database_client("shop").get_container_client("byid")
    for number in range(6):
        await deep.create_item({"id": str(number), "tenant": "a", "user": number})
        await byid.create_item({"id": str(number)})
    found = await deep.read_items([("4", ["a", 4]), ("1", ["a", 1]), ("2", ["a", 3])])
    assert [item["id"] for item in found] == ["4", "1"]
    assert [item["id"] for item in await byid.read_items([(str(number), str(number)) for number in (5, 0, 3)])] == [
        "5",
        "0",
        "3",
    ]


async def test_all_items_of_a_partition_key_are_deleted(wide: ContainerProxy) -> None:
    """Deleting a partition key's items leaves the others; it may be done again, and needs a partition key."""
    await wide.delete_all_items_by_partition_key("c2")
    await wide.delete_all_items_by_partition_key("c2")
    left = [item["id"] async for item in wide.read_all_items()]
    assert sorted(left, key=int) == [str(number) for number in range(20) if number % 5 != 2]
    with pytest.raises(CosmosHttpResponseError, match="PartitionKey"):
        await wide.client_connection.DeleteAllItemsByPartitionKey(wide.container_link)


async def test_other_operations_of_a_container_are_refused(azure: Emulator, signed: Signed) -> None:
    """Only the deletion of a partition key is an operation of a container; it is asked with POST."""
    # with a token, the signature that the fixture makes for an item's path does not matter
    headers = {
        "authorization": f"type=aad&ver=1.0&sig={azure.issue_token()}",
        "x_ms_documentdb_partitionkey": '["ada"]',
    }
    path = "/dbs/shop/colls/orders/operations"
    assert (await signed("POST", f"{path}/other", **headers))[0] == 400
    assert (await signed("GET", f"{path}/partitionkeydelete", **headers))[0] == 405
