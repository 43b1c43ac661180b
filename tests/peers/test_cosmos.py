"""What they promise of Cosmos DB and no other test shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos.exceptions import CosmosAccessConditionFailedError

from fastapi_azure_pool import Cosmos, ManagedCosmos
from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container shop/orders."""
    async with Emulator() as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/id")
        yield azure


@pytest.mark.parametrize("kind", [Cosmos, ManagedCosmos])
async def test_match_conditions_are_at_hand_in_a_subclass(azure: Emulator, kind: type[Any]) -> None:
    """A subclass replaces an item if nobody has changed it, with `self.MatchConditions`."""

    class Orders(kind):  # type: ignore[misc]  # both kinds
        async def replace(self, order: dict[str, Any], etag: str) -> Any:
            async with self.get_container_client() as container:
                return await container.replace_item(
                    order["id"], order, etag=etag, match_condition=self.MatchConditions.IfNotModified
                )

    orders = Orders(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    async with orders.get_container_client() as container:
        stored = await container.create_item({"id": "1"})
    assert (await orders.replace({"id": "1", "total": 12}, stored["_etag"]))["total"] == 12
    with pytest.raises(CosmosAccessConditionFailedError):
        await orders.replace({"id": "1", "total": 13}, stored["_etag"])
    await orders.close()


async def test_the_patch_operations_of_their_documentation(azure: Emulator) -> None:
    """The dictionaries that the documentation of their `PatchOp` shows are what `patch_item` takes."""
    order = {"id": "1", "ttl": 60, "tax_amount": 1, "items": [{"sku": "tea"}], "total_due": 10, "freight": 3}
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": "/favorite_color", "value": "red"},
        {"op": "remove", "path": "/ttl"},
        {"op": "replace", "path": "/tax_amount", "value": 14},
        {"op": "set", "path": "/items/0/discount", "value": 20.0512},
        {"op": "incr", "path": "/total_due", "value": 5},
        {"op": "move", "from": "/freight", "path": "/service_addition"},
    ]
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    async with orders, orders.get_container_client() as container:
        await container.create_item(order)
        patched = await container.patch_item("1", "1", operations)
    assert {name: value for name, value in patched.items() if not name.startswith("_")} == {
        "id": "1",
        "favorite_color": "red",
        "tax_amount": 14,
        "items": [{"sku": "tea", "discount": 20.0512}],
        "total_due": 15,
        "service_addition": 3,
    }


async def test_an_error_of_the_block_harms_no_connection(azure: Emulator) -> None:
    """A RuntimeError that a caller raises leaves the connection to the others; theirs closes it under them."""
    async with ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key) as orders:
        with pytest.raises(RuntimeError, match="the caller's own"):
            async with orders.get_container_client():
                raise RuntimeError("the caller's own")
        async with orders.get_container_client() as container:
            await container.read()
        assert orders.pool.stats().totals.opened == 1
