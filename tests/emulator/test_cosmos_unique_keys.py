"""Unique keys, through the official SDK and plain HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosResourceExistsError

from fastapi_azure_pool.emulator.cosmos.items import ItemStore, StoredItem
from fastapi_azure_pool.emulator.cosmos.unique_keys import UniqueKeys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator
    from fastapi_azure_pool.emulator.cosmos.partitioning import PartitionKey as PartitionKeyOfItem

ADA = {"id": "1", "customer_id": "ada", "name": {"first": "Ada"}, "number": 1}
POLICY: Any = {"uniqueKeys": [{"paths": ["/name/first", "/number"]}, {"paths": ["/mail"]}]}


@pytest.fixture
async def people(azure: Emulator, client: CosmosClient) -> ContainerProxy:
    """A container with two unique keys, one of two paths, and an item."""
    database = client.get_database_client("shop")
    people = await database.create_container("people", PartitionKey("/customer_id"), unique_key_policy=POLICY)
    await people.create_item(ADA)
    return people


async def test_items_that_agree_in_a_unique_key_are_refused(people: ContainerProxy) -> None:
    """Who would have all values of a unique key in common with another item gets 409, however he writes; null is a value."""
    for values in ({"mail": "a@b", "number": 1.0}, {"number": 2}, {"number": 2, "mail": None}):
        item = ADA | {"id": "2"} | values
        for write in (people.create_item, people.upsert_item):
            with pytest.raises(CosmosResourceExistsError, match="Unique index constraint violation"):
                await write(item)
    await people.create_item(ADA | {"id": "2", "number": 2, "mail": "a@b"})
    with pytest.raises(CosmosResourceExistsError, match="Unique index"):
        await people.patch_item("2", "ada", [{"op": "remove", "path": "/mail"}])
    with pytest.raises(CosmosResourceExistsError, match="Unique index"):
        await people.replace_item("2", ADA | {"id": "2", "mail": "c@d"})


async def test_items_that_differ_live_side_by_side(people: ContainerProxy) -> None:
    """Another partition key may have the same values, an item agrees with itself, and a deleted one with nobody."""
    await people.create_item(ADA | {"customer_id": "bob"})
    await people.replace_item("1", ADA | {"age": 36})
    await people.delete_item("1", "ada")
    await people.create_item(ADA | {"id": "2"})


async def test_batch_is_held_to_unique_keys(people: ContainerProxy) -> None:
    """Within a batch, an item counts that was written before, and one that was deleted before does not."""
    other = ADA | {"id": "2"}
    await people.execute_item_batch([("delete", ("1",)), ("create", (other,))], partition_key="ada")
    third = ADA | {"id": "3", "mail": "a@b", "number": 3}
    with pytest.raises(CosmosBatchOperationError) as caught:
        await people.execute_item_batch(
            [("create", (third,)), ("create", (third | {"id": "4", "number": 4},))], partition_key="ada"
        )
    assert [answer["statusCode"] for answer in caught.value.operation_responses] == [424, 409]


async def test_each_version_tells_its_unique_values_once(
    people: ContainerProxy, orders: ContainerProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write works out the values of its own item only, and looks at no other where there are no unique keys."""
    told: list[str] = []
    seen: list[str] = []
    values, in_logical_partition = UniqueKeys.values, ItemStore.in_logical_partition

    def tell(keys: UniqueKeys, document: dict[str, Any]) -> tuple[str, ...]:
        told.append(document["id"])
        return values(keys, document)

    def see(items: ItemStore, key: PartitionKeyOfItem) -> Iterator[StoredItem]:
        seen.extend(items.definition.paths)
        return in_logical_partition(items, key)

    monkeypatch.setattr(UniqueKeys, "values", tell)
    monkeypatch.setattr(ItemStore, "in_logical_partition", see)
    ids = [str(number) for number in range(2, 12)]
    for name in ids:
        await people.create_item(ADA | {"id": name, "number": int(name), "mail": f"{name}@b"})
    assert (told, len(seen)) == (ids, len(ids))
    seen.clear()
    await orders.create_item(ADA)
    assert not seen


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {"uniqueKeys": {}},
        {"uniqueKeys": [{}]},
        {"uniqueKeys": [{"paths": []}]},
        {"uniqueKeys": [{"paths": ["mail"]}]},
        {"uniqueKeys": [{"paths": ["/"]}]},
        {"uniqueKeys": [{"paths": ["/mail"] * 17}]},
        {"uniqueKeys": [{"paths": ["/mail"]}] * 11},
    ],
)
async def test_malformed_policy_is_refused(signed: Callable[..., Awaitable[Any]], policy: object) -> None:
    """A policy without lists of paths, or with too many, gets 400."""
    body = {"id": "people", "partitionKey": {"paths": ["/customer_id"]}, "uniqueKeyPolicy": policy}
    assert (await signed("POST", "/dbs/shop/colls", json.dumps(body).encode()))[0] == 400


async def test_policy_stays(people: ContainerProxy, signed: Callable[..., Awaitable[Any]]) -> None:
    """A container tells its unique keys, and cannot change them."""
    body = {"id": "people", "partitionKey": {"paths": ["/customer_id"]}}
    for policy, status in ((None, 400), (POLICY, 200)):
        sent = json.dumps(body | {"uniqueKeyPolicy": policy}).encode()
        assert (await signed("PUT", "/dbs/shop/colls/people", sent))[0] == status
    assert (await people.read())["uniqueKeyPolicy"] == POLICY
