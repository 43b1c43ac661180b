"""The change feed in its mode "latest version", through the official SDK over a real socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos.exceptions import CosmosHttpResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
FEED = {"a_im": "Incremental feed"}


@pytest.fixture
async def wide(azure: Emulator, client: CosmosClient) -> ContainerProxy:
    """A container of four physical partitions with thirty items of ten customers."""
    await azure.create_cosmos_container("shop", "wide", partition_key="/customer_id", partitions=4)
    wide = client.get_database_client("shop").get_container_client("wide")
    for number in range(30):
        await wide.create_item({"id": str(number), "customer_id": f"c{number % 10}"})
    return wide


async def ids(feed: AsyncIterator[dict[str, Any]]) -> list[str]:
    """Return the ids of a feed's items, in its order."""
    return [item["id"] async for item in feed]


async def test_every_item_is_told_once_in_the_order_of_changes(orders: ContainerProxy) -> None:
    """The feed has each item's last version, where it was changed last; deleted items are missing."""
    for name in "abcd":
        await orders.create_item({"id": name, "customer_id": "ada", "total": 0})
    await orders.upsert_item({"id": "a", "customer_id": "ada", "total": 1})
    await orders.patch_item("b", "ada", [{"op": "set", "path": "/total", "value": 2}])
    await orders.replace_item("a", {"id": "a", "customer_id": "ada", "total": 3})
    await orders.delete_item("c", "ada")
    changes = [item async for item in orders.query_items_change_feed(start_time="Beginning")]
    assert [(item["id"], item["total"]) for item in changes] == [("d", 0), ("b", 2), ("a", 3)]
    assert [item["_lsn"] for item in changes] == [5, 7, 8]
    stored = await orders.read_item("a", "ada")
    assert {name: value for name, value in changes[2].items() if name != "_lsn"} == dict(stored)


async def test_feed_of_many_partitions(wide: ContainerProxy) -> None:
    """The SDK reads every partition's feed from the beginning, and of one partition key the items in their order."""
    found = await ids(wide.query_items_change_feed(start_time="Beginning"))
    assert sorted(found, key=int) == [str(number) for number in range(30)]
    assert await ids(wide.query_items_change_feed(start_time="Beginning", partition_key="c3")) == ["3", "13", "23"]
    assert await ids(wide.query_items_change_feed(start_time="Beginning", partition_key="nobody")) == []


async def test_feed_ranges_split_the_feed(wide: ContainerProxy) -> None:
    """Each of the SDK's feed ranges tells its own part, together every item once."""
    parts = [
        await ids(wide.query_items_change_feed(start_time="Beginning", feed_range=feed_range))
        async for feed_range in wide.read_feed_ranges()
    ]
    assert len(parts) == 4
    assert sorted((name for part in parts for name in part), key=int) == [str(number) for number in range(30)]


async def test_reading_on_tells_what_came_since(wide: ContainerProxy) -> None:
    """Who reads on with the continuation of the last page gets what was changed after it, and else nothing."""
    feed = wide.query_items_change_feed(start_time="Beginning")
    assert len(await ids(feed)) == 30
    continuation = wide.client_connection.last_response_headers["etag"]
    assert await ids(wide.query_items_change_feed(continuation=continuation)) == []
    await wide.upsert_item({"id": "3", "customer_id": "c3", "total": 1})
    await wide.create_item({"id": "30", "customer_id": "c0"})
    await wide.delete_item("4", "c4")
    assert sorted(await ids(wide.query_items_change_feed(continuation=continuation))) == ["3", "30"]


async def test_pages_of_a_feed(wide: ContainerProxy) -> None:
    """A feed read by small pages tells each item once, within one iteration or with the continuation of the page before."""
    pages = wide.query_items_change_feed(start_time="Beginning", max_item_count=2).by_page()
    sizes = []
    async for page in pages:
        sizes.append(len([item async for item in page]))
        assert len(sizes) <= 30, "the feed does not end"
    assert (sum(sizes), max(sizes)) == (30, 2)
    feed_range = await anext(aiter(wide.read_feed_ranges()))
    part = await ids(wide.query_items_change_feed(start_time="Beginning", feed_range=feed_range))
    found: list[str] = []
    start: dict[str, Any] = {"start_time": "Beginning", "feed_range": feed_range}
    for _ in range(0, len(part), 2):
        page = await anext(wide.query_items_change_feed(max_item_count=2, **start).by_page())
        found += [item["id"] async for item in page]
        start = {"continuation": wide.client_connection.last_response_headers["etag"]}
    assert found == part
    assert len(part) > 4
    assert await ids(wide.query_items_change_feed(**start)) == []


async def test_feed_from_now_tells_the_future_alone(orders: ContainerProxy) -> None:
    """A feed that starts now, which is the default, is empty and gives a continuation for what comes."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    assert await ids(orders.query_items_change_feed()) == []
    continuation = orders.client_connection.last_response_headers["etag"]
    await orders.create_item({"id": "2", "customer_id": "ada"})
    assert await ids(orders.query_items_change_feed(continuation=continuation)) == ["2"]


async def test_transaction_is_not_torn_by_pages(orders: ContainerProxy) -> None:
    """What one batch wrote comes on one page, even when the page should be smaller."""
    await orders.create_item({"id": "0", "customer_id": "ada"})
    creates = [("create", ({"id": str(number), "customer_id": "ada"},)) for number in range(1, 6)]
    await orders.execute_item_batch(creates, "ada")
    await orders.create_item({"id": "6", "customer_id": "ada"})
    pages = orders.query_items_change_feed(start_time="Beginning", max_item_count=2).by_page()
    assert [[item["id"] async for item in page] async for page in pages] == [["0", "1", "2", "3", "4", "5"], ["6"]]


async def test_conditions_over_http(signed: Signed) -> None:
    """The etag of an answer is where the next begins: 304 without a body while nothing is new, and * means now."""
    status, _, headers = await signed("GET", ITEMS, **FEED)
    assert (status, headers["etag"]) == (304, '"1"')
    await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada"}')
    await signed("POST", ITEMS, b'{"id": "2", "customer_id": "ada"}')
    status, answer, headers = await signed("GET", ITEMS, x_ms_max_item_count="1", **FEED)
    assert (status, [item["id"] for item in answer["Documents"]], headers["etag"]) == (200, ["1"], '"2"')
    assert "x-ms-continuation" not in headers
    status, answer, headers = await signed("GET", ITEMS, if_none_match=headers["etag"], **FEED)
    assert (status, [item["id"] for item in answer["Documents"]], headers["etag"]) == (200, ["2"], '"3"')
    for etag in (headers["etag"], "3", "*", '"99"'):
        status, answer, headers = await signed("GET", ITEMS, if_none_match=etag, **FEED)
        assert (etag, status, answer, headers["etag"]) == (etag, 304, {}, '"3"')
    await signed("DELETE", f"{ITEMS}/1", x_ms_documentdb_partitionkey='["ada"]')
    assert (await signed("GET", ITEMS, if_none_match='"3"', **FEED))[0] == 304


@pytest.mark.parametrize(
    "headers",
    [
        {"a_im": "Feed"},
        {"a_im": "Incremental feed", "if_none_match": "yesterday"},
        {"a_im": "Incremental feed", "if_none_match": '"1'},
        {"a_im": "Incremental feed", "if_none_match": '"-1"'},
        {"a_im": "Incremental feed", "if_modified_since": "yesterday"},
        {"a_im": "Incremental feed", "x_ms_max_item_count": "0"},
    ],
)
async def test_malformed_conditions_are_refused(signed: Signed, headers: dict[str, str]) -> None:
    """A mode, an etag, a date or a page size that is none gets 400."""
    status, answer, _ = await signed("GET", ITEMS, **headers)
    assert (status, answer["code"]) == (400, "BadRequest")


async def test_feed_is_of_one_partition(wide: ContainerProxy, signed: Signed) -> None:
    """Over plain HTTP the feed of a large container is asked by partition; a range that is not there is gone."""
    assert wide.id == "wide"
    path = "/dbs/shop/colls/wide/docs"
    status, answer, _ = await signed("GET", path, **FEED)
    assert status == 400
    assert "one partition at a time" in answer["message"]
    status, answer, headers = await signed("GET", path, x_ms_documentdb_partitionkeyrangeid="2", **FEED)
    assert status == 200
    assert headers["x-ms-documentdb-partitionkeyrangeid"] == "2"
    status, _, headers = await signed("GET", path, x_ms_documentdb_partitionkeyrangeid="7", **FEED)
    assert (status, headers["x-ms-substatus"]) == (410, "1002")


async def test_all_versions_say_that_they_are_not_there(orders: ContainerProxy) -> None:
    """The mode that tells deletions and every version is refused by name."""
    with pytest.raises(CosmosHttpResponseError, match="mode AllVersionsAndDeletes is not supported by this emulator"):
        await ids(orders.query_items_change_feed(mode="AllVersionsAndDeletes"))


async def test_feed_from_a_time(orders: ContainerProxy) -> None:
    """A feed from a past time tells what was changed after it, one from a future time nothing yet."""
    stored = await orders.create_item({"id": "1", "customer_id": "ada"})
    past, future = (datetime.fromtimestamp(stored["_ts"] + offset, UTC) for offset in (-1, 60))
    assert await ids(orders.query_items_change_feed(start_time=past)) == ["1"]
    assert await ids(orders.query_items_change_feed(start_time=datetime.fromtimestamp(stored["_ts"], UTC))) == []
    assert await ids(orders.query_items_change_feed(start_time=future)) == []
