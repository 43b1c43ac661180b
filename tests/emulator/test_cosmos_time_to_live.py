"""Items that expire, under a clock of the test's own, through the official SDK over a real socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.core import MatchConditions
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceNotFoundError,
)

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.cosmos.aio import ContainerProxy, CosmosClient, DatabaseProxy

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
START = 1_800_000_000


class Clock:
    """Seconds since 1970 that go by when a test says so."""

    def __init__(self) -> None:
        self.now = START + 0.75

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the emulator."""
    return Clock()


@pytest.fixture
async def azure(clock: Clock) -> AsyncIterator[Emulator]:
    """An emulator under the clock with the container shop/orders, whose items expire after ten seconds."""
    async with Emulator(cosmos_clock=clock, cosmos_partitions=3) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id", default_ttl=10)
        yield azure


@pytest.fixture
def database(client: CosmosClient) -> DatabaseProxy:
    """The database shop."""
    return client.get_database_client("shop")


async def ids(items: AsyncIterator[dict[str, Any]]) -> list[str]:
    """Return the ids of items, sorted."""
    return sorted([item["id"] async for item in items])


async def test_expired_item_is_gone_from_everywhere(orders: ContainerProxy, clock: Clock) -> None:
    """An item is there until its last second, then it is gone from reads, queries, feeds and batches, and its id is free."""
    created = await orders.create_item({"id": "1", "customer_id": "ada"})
    assert created["_ts"] == START
    clock.now += 9.999
    assert (await orders.read_item("1", "ada"))["id"] == "1"
    clock.now += 0.001
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.read_item("1", "ada")
    assert await ids(orders.query_items("SELECT * FROM c")) == []
    assert await ids(orders.read_all_items()) == []
    assert await ids(orders.query_items_change_feed(start_time="Beginning")) == []
    assert list(await orders.read_items([("1", "ada")])) == []
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.delete_item("1", "ada")
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.patch_item("1", "ada", [{"op": "set", "path": "/a", "value": 1}])
    again = await orders.create_item({"id": "1", "customer_id": "ada"})
    assert again["_rid"] != created["_rid"]


async def test_expiry_is_found_by_each_operation(orders: ContainerProxy, clock: Clock) -> None:
    """Whichever operation comes first after the time, none of them finds the item."""

    async def batch() -> int:
        return int(
            (await orders.execute_item_batch([("create", ({"id": "1", "customer_id": "ada"},))], "ada"))[0][
                "statusCode"
            ]
        )

    firsts: list[tuple[Callable[[], Awaitable[object]], object]] = [
        (batch, 201),
        (lambda: ids(orders.query_items("SELECT * FROM c", partition_key="ada")), []),
        (lambda: ids(orders.query_items_change_feed(start_time="Beginning")), []),
        (lambda: ids(orders.read_all_items()), []),
    ]
    for first, expected in firsts:
        await orders.upsert_item({"id": "1", "customer_id": "ada"})
        clock.now += 10
        assert await first() == expected


async def test_change_prolongs_an_items_life(orders: ContainerProxy, clock: Clock) -> None:
    """The time counts from an item's last change, not from its creation or a read."""
    await orders.create_item({"id": "changed", "customer_id": "ada"})
    await orders.create_item({"id": "read", "customer_id": "ada"})
    clock.now += 6
    await orders.patch_item("changed", "ada", [{"op": "set", "path": "/a", "value": 1}])
    await orders.read_item("read", "ada")
    clock.now += 6
    assert await ids(orders.read_all_items()) == ["changed"]
    clock.now += 4
    assert await ids(orders.read_all_items()) == []


async def test_deleted_item_does_not_expire(orders: ContainerProxy, clock: Clock) -> None:
    """The time of an item that was deleted passes without effect, also on another that has taken its id."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    await orders.create_item({"id": "2", "customer_id": "ada"})
    await orders.delete_item("1", "ada")
    clock.now += 5
    await orders.delete_item("2", "ada")
    await orders.create_item({"id": "2", "customer_id": "ada"})
    clock.now += 9
    assert await ids(orders.read_all_items()) == ["2"]
    clock.now += 1
    assert await ids(orders.read_all_items()) == []


async def test_item_has_its_own_time_to_live(orders: ContainerProxy, clock: Clock) -> None:
    """An item's ttl goes before the container's: longer, shorter, or -1 for ever."""
    for name, more in (("default", {}), ("short", {"ttl": 5}), ("long", {"ttl": 20}), ("ever", {"ttl": -1})):
        await orders.create_item({"id": name, "customer_id": "ada", **more})
    for seconds, left in ((5, ["default", "ever", "long"]), (5, ["ever", "long"]), (10, ["ever"]), (10**9, ["ever"])):
        clock.now += seconds
        assert await ids(orders.read_all_items()) == left


async def test_ttl_may_be_patched(orders: ContainerProxy, clock: Clock) -> None:
    """A patch of ttl counts from the patch."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    await orders.patch_item("1", "ada", [{"op": "set", "path": "/ttl", "value": 100}])
    clock.now += 99
    assert await ids(orders.read_all_items()) == ["1"]
    clock.now += 1
    assert await ids(orders.read_all_items()) == []


@pytest.mark.parametrize(("default_ttl", "expires"), [(None, False), (-1, True)])
async def test_container_decides_whether_ttl_counts(
    database: DatabaseProxy, clock: Clock, default_ttl: int | None, *, expires: bool
) -> None:
    """Without a default an item's ttl is not looked at; with -1 only items that have one expire."""
    container = await database.create_container("other", PartitionKey("/customer_id"), default_ttl=default_ttl)
    await container.create_item({"id": "with", "customer_id": "ada", "ttl": 5})
    await container.create_item({"id": "without", "customer_id": "ada"})
    clock.now += 10**9
    assert await ids(container.read_all_items()) == (["without"] if expires else ["with", "without"])


async def test_default_may_be_changed(database: DatabaseProxy, orders: ContainerProxy, clock: Clock) -> None:
    """A container's new default holds for the items that are there, and taking it away lets them live."""
    assert (await orders.read())["defaultTtl"] == 10
    await orders.create_item({"id": "1", "customer_id": "ada"})
    await database.replace_container("orders", PartitionKey("/customer_id"), default_ttl=100)
    clock.now += 50
    assert await ids(orders.read_all_items()) == ["1"]
    await database.replace_container("orders", PartitionKey("/customer_id"))
    assert "defaultTtl" not in await orders.read()
    clock.now += 10**6
    assert await ids(orders.read_all_items()) == ["1"]
    await database.replace_container("orders", PartitionKey("/customer_id"), default_ttl=20)
    assert await ids(orders.read_all_items()) == []


async def test_expiry_moves_the_log(orders: ContainerProxy, clock: Clock) -> None:
    """Expiry is a change like any other: session tokens go forward, and a held etag is worth nothing afterwards."""
    old = await orders.create_item({"id": "1", "customer_id": "ada"})
    await orders.create_item({"id": "2", "customer_id": "ada", "ttl": -1})
    before = int((await orders.read_item("2", "ada")).get_response_headers()["lsn"])
    clock.now += 10
    assert int((await orders.read_item("2", "ada")).get_response_headers()["lsn"]) == before + 1
    new = await orders.create_item({"id": "1", "customer_id": "ada"})
    assert new["_etag"] != old["_etag"]
    with pytest.raises(CosmosAccessConditionFailedError):
        await orders.replace_item("1", old, etag=old["_etag"], match_condition=MatchConditions.IfNotModified)


@pytest.mark.parametrize("ttl", [0, -2, 2**31, 1.5, "10", None, True, [], {}])
async def test_invalid_ttl_is_refused(orders: ContainerProxy, signed: Signed, ttl: object) -> None:
    """A ttl that is no whole number of seconds from 1 to 2^31 - 1, nor -1, gets 400 on every way into the container."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    bad = {"id": "1", "customer_id": "ada", "ttl": ttl}
    for attempt in (
        orders.create_item(bad | {"id": "2"}),
        orders.upsert_item(bad),
        orders.replace_item("1", bad),
        orders.patch_item("1", "ada", [{"op": "add", "path": "/ttl", "value": ttl}]),
    ):
        with pytest.raises(CosmosHttpResponseError, match=r"The input ttl '.*' is invalid") as caught:
            await attempt
        assert caught.value.status_code == 400
    assert "ttl" not in await orders.read_item("1", "ada")


@pytest.mark.parametrize("ttl", [0, -2, 2**31, "10", True])
async def test_invalid_default_is_refused(database: DatabaseProxy, signed: Signed, ttl: Any) -> None:
    """A container's default that is no time to live gets 400, also when it is changed, and the old one stays."""
    with pytest.raises(CosmosHttpResponseError, match=r"The input ttl '.*' is invalid"):
        await database.create_container("other", PartitionKey("/customer_id"), default_ttl=ttl)
    with pytest.raises(CosmosHttpResponseError, match=r"The input ttl '.*' is invalid"):
        await database.replace_container("orders", PartitionKey("/customer_id"), default_ttl=ttl)
    assert (await signed("GET", "/dbs/shop/colls/orders"))[1]["defaultTtl"] == 10


async def test_container_of_the_emulators_own_making_checks_its_default() -> None:
    """create_cosmos_container refuses a default that is no time to live, and says what one is."""
    with pytest.raises(ValueError, match="nonzero positive integer"):
        await Emulator().create_cosmos_container("shop", "orders", partition_key="/id", default_ttl=0)
