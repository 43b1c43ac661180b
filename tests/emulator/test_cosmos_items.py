"""Items of a container, through the official SDK over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy


async def test_item_is_stored_read_replaced_patched_and_deleted(orders: ContainerProxy) -> None:
    """An item goes through its whole life and each step shows in the next read."""
    await orders.create_item({"id": "1", "customer_id": "ada", "total": 3})
    assert (await orders.read_item("1", "ada"))["total"] == 3
    await orders.replace_item("1", {"id": "1", "customer_id": "ada", "total": 4})
    assert (await orders.read_item("1", "ada"))["total"] == 4
    await orders.patch_item("1", "ada", [{"op": "incr", "path": "/total", "value": 2}])
    found = [
        item["total"]
        async for item in orders.query_items(
            "SELECT * FROM c WHERE c.total = @total", parameters=[{"name": "@total", "value": 6}], partition_key="ada"
        )
    ]
    assert found == [6]
    await orders.delete_item("1", "ada")
    assert [item async for item in orders.read_all_items()] == []
