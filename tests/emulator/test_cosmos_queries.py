"""Queries through the official SDK, within one partition and across several, page by page."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos.exceptions import CosmosHttpResponseError

from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query import execution
from fastapi_azure_pool.emulator.cosmos.query.continuation import Position, seal, unseal
from fastapi_azure_pool.emulator.cosmos.query.values import sort_key

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
CITIES = ("Ghent", "Oslo", "Turin")
COMPOSITE = {"compositeIndexes": [[{"path": "/city"}, {"path": "/n", "order": "descending"}]]}


@pytest.fixture(params=[1, 4], ids=["one partition", "four partitions"])
async def places(request: pytest.FixtureRequest, azure: Emulator, client: CosmosClient) -> ContainerProxy:
    """A container with thirty items under ten partition keys, on one or four physical partitions."""
    await azure.create_cosmos_container(
        "shop", "places", partition_key="/key", partitions=request.param, indexing_policy=COMPOSITE
    )
    places = client.get_database_client("shop").get_container_client("places")
    for n in range(30):
        await places.create_item(
            {"id": f"i{n:02}", "key": f"k{n % 10}", "n": n, "city": CITIES[n % 3], "tags": {"a": n}}
        )
    return places


async def rows(found: Any) -> list[Any]:
    """Return what a query finds, in its order."""
    return [row async for row in found]


async def ids(found: Any) -> list[str]:
    """Return the ids of what a query finds, in its order."""
    return [item["id"] async for item in found]


async def test_filter_within_one_partition(places: ContainerProxy) -> None:
    """A query with a partition key finds that key's matching items, in the order in which they were created."""
    found = places.query_items(
        "SELECT * FROM c WHERE c.n >= @low", parameters=[{"name": "@low", "value": 5}], partition_key="k4"
    )
    assert await ids(found) == ["i14", "i24"]
    assert await ids(places.query_items("SELECT * FROM c", partition_key="none")) == []


async def test_filter_across_partitions(places: ContainerProxy) -> None:
    """A query without a partition key finds the matching items of every partition, each once."""
    found = places.query_items("SELECT * FROM c WHERE c.city = @city", parameters=[{"name": "@city", "value": "Oslo"}])
    assert sorted(await ids(found)) == [f"i{n:02}" for n in range(30) if n % 3 == 1]
    assert sorted(await ids(places.read_all_items())) == [f"i{n:02}" for n in range(30)]


@pytest.mark.parametrize(
    "condition", ["c.nothing = 1", "NOT (c.nothing = 1)", "c.n", "c.city > 1", "undefined", "null", "'true'"]
)
async def test_only_true_is_true(places: ContainerProxy, condition: str) -> None:
    """A condition that is undefined, or any value but true, finds nothing."""
    assert await rows(places.query_items(f"SELECT * FROM c WHERE {condition}")) == []


@pytest.mark.parametrize("page_size", [1, 7, 30, 100, -1])
async def test_pages_hold_what_was_asked_for(places: ContainerProxy, page_size: int) -> None:
    """No page is longer than asked for, and the pages together are the whole."""
    pages = places.query_items("SELECT c.id FROM c", max_item_count=page_size).by_page()
    lengths = []
    found: list[str] = []
    async for page in pages:
        names = await ids(page)
        lengths.append(len(names))
        found += names
    assert sorted(found) == [f"i{n:02}" for n in range(30)]
    assert max(lengths) <= (page_size if page_size > 0 else 30)


async def test_paging_goes_on_from_a_token(places: ContainerProxy) -> None:
    """A new iteration that is given a token begins after the page that came with it, even if items come and go."""
    pages = places.query_items("SELECT * FROM c", partition_key="k1", max_item_count=2).by_page()
    first = [item["id"] async for item in await pages.__anext__()]
    token = pages.continuation_token  # type: ignore[attr-defined]  # azure-core's type lacks it
    assert first == ["i01", "i11"]
    await places.delete_item("i01", "k1")
    await places.create_item({"id": "late", "key": "k1"})
    again = places.query_items("SELECT * FROM c", partition_key="k1", max_item_count=2).by_page(token)
    assert [await ids(page) async for page in again] == [["i21", "late"]]


async def test_order_by_one_path(places: ContainerProxy) -> None:
    """ORDER BY sorts in either direction, within one partition and across them, and survives paging."""
    descending = places.query_items("SELECT c.id FROM c WHERE c.n < 25 ORDER BY c.n DESC", max_item_count=4)
    assert await ids(descending) == [f"i{n:02}" for n in range(24, -1, -1)]
    ascending = places.query_items("SELECT * FROM c ORDER BY c.tags.a", max_item_count=7)
    assert await ids(ascending) == [f"i{n:02}" for n in range(30)]
    single = places.query_items("SELECT * FROM c ORDER BY c.n DESC", partition_key="k3", max_item_count=1)
    assert await ids(single) == ["i23", "i13", "i03"]
    value = places.query_items("SELECT VALUE c.n FROM c WHERE c.city = 'Oslo' ORDER BY c.n DESC")
    assert await rows(value) == list(range(28, 0, -3))


async def test_order_by_two_paths_needs_a_composite_index(places: ContainerProxy) -> None:
    """ORDER BY with two paths works in the directions of a composite index or the opposite ones, and gets 400 else."""
    by_city = sorted(range(30), key=lambda n: (CITIES[n % 3], -n))
    found = places.query_items("SELECT c.id FROM c ORDER BY c.city, c.n DESC", max_item_count=7)
    assert await ids(found) == [f"i{n:02}" for n in by_city]
    found = places.query_items("SELECT c.id FROM c ORDER BY c.city DESC, c.n ASC")
    assert await ids(found) == [f"i{n:02}" for n in reversed(by_city)]
    found = places.query_items("SELECT c.id FROM c ORDER BY c.city, c.n DESC", partition_key="k0", max_item_count=1)
    assert await ids(found) == [f"i{n:02}" for n in by_city if n % 10 == 0]
    for order in ("c.city, c.n", "c.n, c.city", "c.city, c.tags[0]"):
        with pytest.raises(CosmosHttpResponseError, match="composite index"):
            await ids(places.query_items(f"SELECT * FROM c ORDER BY {order}", partition_key="k0"))


async def test_order_by_mixes_types_and_missing_values(orders: ContainerProxy) -> None:
    """ORDER BY sorts any types, undefined first, and pages go on where they ended among equal and missing values."""
    values: list[Any] = ["b", 2, None, True, "a", 1, False, None, 1]
    for number, value in enumerate(values):
        await orders.create_item({"id": str(number), "customer_id": "ada", "v": value})
    await orders.create_item({"id": "none", "customer_id": "ada"})
    expected = ["none", "2", "7", "6", "3", "5", "8", "1", "4", "0"]
    for page_size in (1, 3, 100):
        found = orders.query_items("SELECT c.id FROM c ORDER BY c.v", partition_key="ada", max_item_count=page_size)
        assert await ids(found) == expected
    found = orders.query_items("SELECT c.id FROM c ORDER BY c.v DESC", partition_key="ada", max_item_count=2)
    assert await ids(found) == ["0", "4", "1", "5", "8", "3", "6", "2", "7", "none"]


async def test_order_by_looks_at_each_value_once(places: ContainerProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of ORDER BY makes one sort key for each row and expression, and for each value where the last page ended."""
    made: list[object] = []

    def make(value: object) -> tuple[int, object]:
        made.append(value)
        return sort_key(value)

    monkeypatch.setattr(execution, "sort_key", make)
    query = "SELECT c.id FROM c ORDER BY c.city, c.n DESC"
    found = await ids(places.query_items(query, partition_key="k0", max_item_count=100))
    assert len(made) == 2 * len(found)
    made.clear()
    pages = places.query_items(query, partition_key="k0", max_item_count=len(found) - 1).by_page()
    assert [len([item async for item in page]) async for page in pages] == [len(found) - 1, 1]
    assert len(made) == 2 * (2 * len(found) + 1)


async def test_long_sort_values_fit_into_tokens(orders: ContainerProxy) -> None:
    """Paging over sort values too long for a header still gives every item once, in order."""
    for number in range(5):
        await orders.create_item({"id": str(number), "customer_id": "ada", "v": "x" * 20_000 + str(number)})
    found = orders.query_items("SELECT c.id FROM c ORDER BY c.v DESC", partition_key="ada", max_item_count=2)
    assert await ids(found) == ["4", "3", "2", "1", "0"]


async def test_offset_and_limit(places: ContainerProxy) -> None:
    """OFFSET and LIMIT cut out the rows asked for, also from parameters, across partitions and across pages."""
    found = places.query_items("SELECT c.id FROM c ORDER BY c.n OFFSET 3 LIMIT 5", max_item_count=2)
    assert await ids(found) == ["i03", "i04", "i05", "i06", "i07"]
    found = places.query_items("SELECT c.id FROM c OFFSET 1 LIMIT 1", partition_key="k2")
    assert await ids(found) == ["i12"]
    parameters = [{"name": "@skip", "value": 28}, {"name": "@take", "value": 9}]
    found = places.query_items("SELECT c.id FROM c ORDER BY c.n OFFSET @skip LIMIT @take", parameters=parameters)
    assert await ids(found) == ["i28", "i29"]
    assert len(await ids(places.query_items("SELECT c.id FROM c OFFSET 25 LIMIT 100"))) == 5
    assert await ids(places.query_items("SELECT * FROM c OFFSET 0 LIMIT 0", partition_key="k2")) == []
    for value, refusal in (
        (-1, "must be"),
        ("1", "must be"),
        (1.5, "must be"),
        (True, "must be"),
        (2**32, "exceeds the max"),
    ):
        parameters = [{"name": "@take", "value": value}]
        with pytest.raises(CosmosHttpResponseError, match=f"LIMIT count value {refusal}"):
            await ids(
                places.query_items("SELECT * FROM c OFFSET 0 LIMIT @take", parameters=parameters, partition_key="k2")
            )


async def test_count(places: ContainerProxy) -> None:
    """COUNT counts what matches and is defined, within one partition and across them."""
    assert await rows(places.query_items("SELECT VALUE COUNT(1) FROM c")) == [30]
    found = places.query_items("SELECT VALUE COUNT(1) FROM c WHERE c.n < 3")
    assert await rows(found) == [3]
    assert await rows(places.query_items("SELECT VALUE COUNT(c.nothing) FROM c", partition_key="k1")) == [0]
    named = places.query_items("SELECT COUNT(1) AS n, COUNT(c.x) FROM c", partition_key="k1")
    assert await rows(named) == [{"n": 3, "$1": 0}]


async def test_what_the_client_cannot_put_together_is_refused(places: ContainerProxy) -> None:
    """GROUP BY and aggregates that are not VALUE get 400 across partitions, also where there is only one."""
    for query, refusal in (
        ("SELECT COUNT(1) AS n FROM c", "does not support:\nNone NonValueAggregate"),
        ("SELECT COUNT(1), MAX(c.n) FROM c", "does not support:\nNone MultipleAggregates NonValueAggregate"),
        ("SELECT c.city, COUNT(1) AS n FROM c GROUP BY c.city", "does not support:\nNone GroupBy NonValueAggregate"),
        ("SELECT VALUE c.city FROM c GROUP BY c.city", "does not support:\nNone GroupBy"),
        ("SELECT VALUE {n: COUNT(1)} FROM c", "only supports 'VALUE <AggregateFunc>' for aggregates"),
        ("SELECT VALUE COUNT(1) + 1 FROM c", "only supports 'VALUE <AggregateFunc>' for aggregates"),
    ):
        with pytest.raises(CosmosHttpResponseError) as caught:
            await rows(places.query_items(query))
        assert caught.value.status_code == 400
        assert refusal in str(caught.value)


async def test_aggregates(places: ContainerProxy) -> None:
    """An aggregate over several partitions is put together by the client to what one partition would give."""
    for aggregate, expected in {
        "SUM(c.n)": 435,
        "AVG(c.n)": 14.5,
        "MIN(c.n + 0.5)": 0.5,
        "MAX(c.city)": "Turin",
        "COUNT(c.city)": 30,
        "COUNTIF(c.n > 9)": 20,
    }.items():
        assert await rows(places.query_items(f"SELECT VALUE {aggregate} FROM c")) == [expected]
    parameters = [{"name": "@low", "value": 28}]
    late = places.query_items("SELECT VALUE SUM(c.n) FROM c WHERE c.n >= @low", parameters=parameters)
    assert await rows(late) == [57]


async def test_groups_within_one_partition(azure: Emulator, places: ContainerProxy) -> None:
    """GROUP BY works within one partition key, page by page, with a request for each page and none more."""
    query = "SELECT c.city, COUNT(1) AS n, SUM(c.n) AS sum FROM c GROUP BY c.city"
    expected = [
        {"city": "Oslo", "n": 1, "sum": 1},
        {"city": "Turin", "n": 1, "sum": 11},
        {"city": "Ghent", "n": 1, "sum": 21},
    ]
    for page_size, lengths in ((1, [1, 1, 1]), (2, [2, 1]), (100, [3])):
        before = azure.cosmos_requests.count("POST", "/dbs/shop/colls/places/docs")
        pages = places.query_items(query, partition_key="k1", max_item_count=page_size).by_page()
        found = [await rows(page) async for page in pages]
        assert [group for page in found for group in page] == expected
        assert [len(page) for page in found] == lengths
        assert azure.cosmos_requests.count("POST", "/dbs/shop/colls/places/docs") == before + len(lengths)
    limited = places.query_items(f"{query} OFFSET 1 LIMIT 1", partition_key="k1")
    assert await rows(limited) == expected[1:2]


@pytest.mark.parametrize("page_size", [2, 100])
async def test_distinct(places: ContainerProxy, page_size: int) -> None:
    """DISTINCT gives each result once, over several partitions and pages, sorted or not, and is cut only afterwards."""

    async def ask(query: str) -> list[Any]:
        return await rows(places.query_items(query, max_item_count=page_size))

    assert sorted(await ask("SELECT DISTINCT VALUE c.city FROM c")) == list(CITIES)
    assert await ask("SELECT DISTINCT VALUE c.city FROM c ORDER BY c.city DESC") == list(reversed(CITIES))
    assert await ask("SELECT DISTINCT c.city FROM c ORDER BY c.city") == [{"city": city} for city in CITIES]
    assert await ask("SELECT DISTINCT VALUE c.city FROM c ORDER BY c.n") == list(CITIES)
    assert await ask("SELECT DISTINCT VALUE c.city FROM c ORDER BY c.city OFFSET 1 LIMIT 9") == ["Oslo", "Turin"]
    assert len(await ask("SELECT DISTINCT TOP 2 VALUE c.city FROM c")) == 2
    found = places.query_items("SELECT DISTINCT VALUE c.city FROM c", partition_key="k1", max_item_count=page_size)
    assert await rows(found) == ["Oslo", "Turin", "Ghent"]


async def test_top(places: ContainerProxy) -> None:
    """TOP cuts what all partitions give together, also from a parameter and after sorting."""
    assert await rows(places.query_items("SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n DESC")) == [29, 28, 27]
    parameters = [{"name": "@top", "value": 7}]
    assert len(await rows(places.query_items("SELECT TOP @top * FROM c", parameters=parameters, max_item_count=2))) == 7
    assert await rows(places.query_items("SELECT TOP 0 * FROM c")) == []
    assert await ids(places.query_items("SELECT TOP 2 c.id FROM c", partition_key="k1")) == ["i01", "i11"]


@pytest.mark.parametrize("page_size", [3, 100])
async def test_joins(places: ContainerProxy, page_size: int) -> None:
    """A join gives a row for each combination, each once, however the pages cut an item's rows; it can be sorted by item."""
    query = "SELECT VALUE {n: c.n, x: x} FROM c JOIN x IN [1, 2, 3] WHERE x != 2"
    query = query.replace("[1, 2, 3]", "(SELECT VALUE [1, 2, 3])")
    expected = [{"n": n, "x": x} for n in range(30) for x in (1, 3)]
    found = await rows(places.query_items(query, max_item_count=page_size))
    assert sorted(found, key=lambda row: (row["n"], row["x"])) == expected
    by_n = places.query_items(f"{query} ORDER BY c.n", max_item_count=page_size)
    assert await rows(by_n) == expected
    single = places.query_items(query, partition_key="k1", max_item_count=page_size)
    assert await rows(single) == [{"n": n, "x": x} for n in (1, 11, 21) for x in (1, 3)]
    sorted_single = places.query_items(f"{query} ORDER BY c.n DESC", partition_key="k1", max_item_count=page_size)
    assert await rows(sorted_single) == [{"n": n, "x": x} for n in (21, 11, 1) for x in (1, 3)]


async def test_order_by_an_element_is_refused(places: ContainerProxy) -> None:
    """ORDER BY takes a path into the item, not into what a join made of it."""
    for query in (
        "SELECT VALUE x.a FROM c JOIN x IN c.list ORDER BY x.a",
        "SELECT VALUE x.a FROM x IN c.list ORDER BY x.a",
    ):
        with pytest.raises(CosmosHttpResponseError, match="Order-by over correlated collections is not supported"):
            await rows(places.query_items(query, partition_key="k1"))


async def test_query_without_a_container(places: ContainerProxy) -> None:
    """A query without FROM has one row, whatever the container holds and wherever it is asked."""
    assert await rows(places.query_items("SELECT 1 AS one, ABS(-2) AS two")) == [{"one": 1, "two": 2}]
    assert await rows(places.query_items("SELECT VALUE @v", parameters=[{"name": "@v", "value": [1]}])) == [[1]]
    assert await rows(places.query_items("SELECT VALUE 1 WHERE false", partition_key="k1")) == []


async def test_numbers_that_json_has_not_are_refused(places: ContainerProxy) -> None:
    """A result such as a division by zero gets 400 with sub-status 4001."""
    for expression in ("1/0", "0/0", "{a: [NaN]}"):
        with pytest.raises(CosmosHttpResponseError, match="4001") as caught:
            await rows(places.query_items(f"SELECT VALUE {expression} FROM c", partition_key="k1"))
        assert (caught.value.status_code, caught.value.sub_status) == (400, 4001)
    assert len(await rows(places.query_items("SELECT * FROM c WHERE 1/0 > 5", partition_key="k1"))) == 3


async def test_time_of_a_query(places: ContainerProxy) -> None:
    """The static functions of time are the same for every item of a page."""
    found = await rows(places.query_items("SELECT VALUE GetCurrentTicksStatic() FROM c", partition_key="k1"))
    assert len(found) == 3
    assert len(set(found)) == 1


async def test_projection_of_nothing(places: ContainerProxy) -> None:
    """SELECT VALUE of an undefined value gives no row; a list of undefined values gives an empty object."""
    assert await rows(places.query_items("SELECT VALUE c.nothing FROM c")) == []
    assert await rows(places.query_items("SELECT c.nothing FROM c", partition_key="k1")) == [{}, {}, {}]


async def test_cross_partition_queries_are_split_up_by_the_client(azure: Emulator, client: CosmosClient) -> None:
    """A filter is served by the gateway in one request a page; an ORDER BY is planned and asked of each partition."""
    await azure.create_cosmos_container("shop", "wide", partition_key="/id", partitions=3)
    wide = client.get_database_client("shop").get_container_client("wide")
    for n in range(12):
        await wide.create_item({"id": str(n), "n": n})
    path = "/dbs/shop/colls/wide/docs"
    before = azure.cosmos_requests.count("POST", path)
    assert len(await ids(wide.query_items("SELECT * FROM c"))) == 12
    assert azure.cosmos_requests.count("POST", path) == before + 3
    before = azure.cosmos_requests.count("POST", path)
    assert len(await ids(wide.query_items("SELECT * FROM c ORDER BY c.n"))) == 12
    # refused by the gateway, the plan, and one page from each of three partitions
    assert azure.cosmos_requests.count("POST", path) == before + 5


async def test_gateway_says_what_it_does_not_serve(signed: Signed) -> None:
    """Over HTTP, a query across partitions must be enabled, and one that needs a plan gets 1004 with the plan."""
    body = json.dumps({"query": "SELECT * FROM c ORDER BY c.n OFFSET 2 LIMIT 3"}).encode()
    query = {"x_ms_documentdb_isquery": "True", "content_type": "application/query+json"}
    status, answer, headers = await signed("POST", ITEMS, body, **query)
    assert (status, headers["x-ms-substatus"]) == (400, "0")
    assert "Cross partition query is required but disabled" in answer["message"]
    enabled = query | {"x_ms_documentdb_query_enablecrosspartition": "True"}
    status, answer, headers = await signed("POST", ITEMS, body, **enabled)
    assert (status, headers["x-ms-substatus"]) == (400, "1004")
    plan = json.loads(answer["additionalErrorInfo"])
    asked = {"x_ms_cosmos_is_query_plan_request": "True", "content_type": "application/json"}
    status, answer, _ = await signed("POST", ITEMS, body, **asked)
    assert status == 400
    assert "Query contained OrderBy, which the calling client does not support." in answer["message"]
    asked["x_ms_cosmos_supported_query_features"] = "OrderBy, OffsetAndLimit"
    status, answer, _ = await signed("POST", ITEMS, body, **asked)
    assert (status, answer) == (200, plan)
    assert plan["queryInfo"]["orderBy"] == ["Ascending"]
    assert (plan["queryInfo"]["offset"], plan["queryInfo"]["limit"]) == (2, 3)
    assert plan["queryInfo"]["rewrittenQuery"].endswith("OFFSET 0 LIMIT 5")
    assert plan["queryRanges"] == [{"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}]


async def test_plan_of_a_simple_query_rewrites_nothing(signed: Signed) -> None:
    """A query that needs nothing of the client has an empty rewritten query in its plan."""
    asked = {"x_ms_cosmos_is_query_plan_request": "True", "content_type": "application/json"}
    _, plan, _ = await signed("POST", ITEMS, b'{"query": "SELECT VALUE c.a FROM c"}', **asked)
    assert plan["queryInfo"]["rewrittenQuery"] == ""
    assert plan["queryInfo"]["hasSelectValue"] is True


async def test_range_that_is_gone(signed: Signed) -> None:
    """A query of a partition key range that does not exist gets 410 with sub-status 1002, which makes clients look anew."""
    query = {"x_ms_documentdb_isquery": "True", "x_ms_documentdb_partitionkeyrangeid": "7"}
    status, answer, headers = await signed("POST", ITEMS, b'{"query": "SELECT * FROM c"}', **query)
    assert (status, answer["code"], headers["x-ms-substatus"]) == (410, "Gone", "1002")


async def test_tokens_are_the_accounts_own(signed: Signed, orders: ContainerProxy) -> None:
    """A continuation token that was changed, made up, or given for another query gets 400."""
    for number in range(3):
        await orders.create_item({"id": str(number), "customer_id": "ada"})
    query = {
        "x_ms_documentdb_isquery": "True",
        "x_ms_documentdb_partitionkey": '["ada"]',
        "x_ms_max_item_count": "1",
    }
    body = b'{"query": "SELECT * FROM c"}'
    _, _, headers = await signed("POST", ITEMS, body, **query)
    token = headers["x-ms-continuation"]
    status, answer, _ = await signed("POST", ITEMS, body, **query, x_ms_continuation=token)
    assert (status, [item["id"] for item in answer["Documents"]]) == (200, ["1"])
    changed = bytearray(base64.urlsafe_b64decode(token))
    changed[-2] ^= 1
    other_body = b'{"query": "SELECT * FROM c WHERE true"}'
    other_key = query | {"x_ms_documentdb_partitionkey": '["bob"]'}
    for wrong_body, wrong_query, wrong_token in (
        (body, query, base64.urlsafe_b64encode(changed).decode()),
        (body, query, "nonsense"),
        (body, query, "\xff"),
        (body, query, token[:-4]),
        (other_body, query, token),
        (body, other_key, token),
    ):
        status, answer, _ = await signed("POST", ITEMS, wrong_body, **wrong_query, x_ms_continuation=wrong_token)
        assert (status, answer["code"]) == (400, "BadRequest")
        assert "Invalid Continuation Token" in answer["message"]


def test_tokens_carry_any_position() -> None:
    """Every part of a position survives in its token, undefined too; sort values too long for a header are left out."""
    position = Position(2, 17, 5, (UNDEFINED, None, "é", 1.5), 3)
    assert unseal(seal(position, b"secret", b"query"), b"secret", b"query") == position
    long = Position(0, 17, 5, ("x" * 10_000,), 3)
    token = seal(long, b"secret", b"query")
    assert len(token) < 8_190
    assert unseal(token, b"secret", b"query") == Position(0, 17, 5, None, 3)


async def test_big_items_make_short_pages(orders: ContainerProxy) -> None:
    """A page ends soon after 4 MB, whatever number of items was asked for."""
    for number in range(6):
        await orders.create_item({"id": str(number), "customer_id": "ada", "text": "x" * 1_000_000})
    pages = orders.query_items("SELECT * FROM c", partition_key="ada", max_item_count=100).by_page()
    assert [len(await ids(page)) async for page in pages] == [5, 1]


@pytest.mark.parametrize("size", ["0", "-2", "many", ""])
async def test_wrong_page_sizes_are_refused(signed: Signed, size: str) -> None:
    """A page size that is no number, 0 or below -1 gets 400."""
    status, answer, _ = await signed("GET", ITEMS, x_ms_max_item_count=size)
    assert (status, answer["code"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ([{"name": "n", "value": 1}], "Parameter names should be in the format of symbol '@'"),
        ([{"name": "@1", "value": 1}], "Parameter names should be in the format of symbol '@'"),
        ([{"name": "@n", "value": 1}, {"name": "@n", "value": 1}], "Specified duplicate parameter name"),
    ],
)
async def test_wrong_parameters_are_refused(
    orders: ContainerProxy, parameters: list[dict[str, Any]], refusal: str
) -> None:
    """A parameter whose name is no name, or is given twice, gets 400 in Azure's words."""
    with pytest.raises(CosmosHttpResponseError, match=refusal) as caught:
        await ids(orders.query_items("SELECT * FROM c", parameters=parameters, partition_key="ada"))
    assert caught.value.status_code == 400


async def test_text_of_any_script(orders: ContainerProxy) -> None:
    """Names and texts of any script survive being planned, rewritten and sent back by the client."""
    await orders.create_item({"id": "1", "customer_id": "ada", "größe": "😀", "n": 1})
    await orders.create_item({"id": "2", "customer_id": "ada", "größe": "\u00e9", "n": 2})
    for text in ("'😀'", "'\\ud83d\\ude00'"):
        assert await ids(orders.query_items(f"SELECT * FROM c WHERE c.größe = {text} ORDER BY c.n")) == ["1"]


async def test_a_query_says_what_is_wrong_with_it(orders: ContainerProxy) -> None:
    """A syntax error reaches the caller in the SDK's error, with Azure's code and the place."""
    with pytest.raises(CosmosHttpResponseError, match="SC1001") as caught:
        await ids(orders.query_items("SELECT * FORM c", partition_key="ada"))
    assert caught.value.status_code == 400
    assert '"location":{"start":9,"end":13}' in str(caught.value)
