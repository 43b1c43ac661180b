"""What a Cosmos DB account is asked through the official SDK, to see whether two servers answer alike.

What changes nothing meets one container with the items of ITEMS, each other operation has one of its own. An outcome is one line of
text: what came, without what the service adds (names that begin with "_"), or the status of the SDK's error.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, DatabaseProxy

    from tests.judges.comparing import Outcomes
    from tests.judges.servers import CosmosServer

ITEMS: tuple[dict[str, Any], ...] = (
    {"id": "1", "customer_id": "ada", "total": 3, "city": "Oslo", "tags": ["a", "b"], "open": True},
    {"id": "2", "customer_id": "ada", "total": 1.5, "city": "Bergen", "tags": [], "open": False, "note": None},
    {"id": "3", "customer_id": "bob", "total": 7, "city": "Oslo", "address": {"zip": "0150", "lines": ["x", "y"]}},
    {"id": "4", "customer_id": "bob", "total": "many", "city": "oslo"},
    {"id": "5", "customer_id": "cleo", "city": "Århus 🎉"},
)

Operation = Callable[["ContainerProxy"], Awaitable[Any]]
Managing = Callable[["DatabaseProxy"], Awaitable[Any]]


async def outcomes(server: CosmosServer) -> Outcomes:
    """Have a server do everything, and return what came of each operation by its name."""
    options = {"retry_total": 0, "transport": AioHttpTransport(use_env_settings=False), **server.client_options}
    async with CosmosClient(server.endpoint, server.key, **options) as client:
        database = await client.create_database("judged")
        found: Outcomes = {}
        for name, managing in MANAGEMENT.items():
            found[name] = {"outcome": await _outcome(managing(database))}
        for number, (name, operation) in enumerate(CHANGES.items()):
            found[name] = {"outcome": await _outcome(operation(await _container_with_items(database, str(number))))}
        container = await _container_with_items(database, "unchanged")
        for name, operation in READS.items():
            found[name] = {"outcome": await _outcome(operation(container))}
        await client.delete_database("judged")
        return found


async def _container_with_items(database: DatabaseProxy, name: str) -> ContainerProxy:
    container = await database.create_container(name, PartitionKey("/customer_id"))
    for item in ITEMS:
        await container.create_item(item)
    return container


async def _outcome(operation: Awaitable[Any]) -> str:
    try:
        return _text(await operation)
    except CosmosHttpResponseError as error:
        return f"{error.status_code}/{error.sub_status}" if error.sub_status else str(error.status_code)
    except AzureError as error:
        return type(error).__name__


def _text(value: Any) -> str:
    return json.dumps(_without_system_properties(value), ensure_ascii=False, sort_keys=True)


def _without_system_properties(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_system_properties(one) for name, one in value.items() if not name.startswith("_")}
    return [_without_system_properties(one) for one in value] if isinstance(value, list) else value


def query(text: str, *, key: str | None = None, **parameters: Any) -> Operation:
    """Return an operation that asks a query, across partition keys or, given one, only there, and gives its rows."""

    async def ask(container: ContainerProxy) -> list[Any]:
        named = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
        options: dict[str, Any] = {"parameters": named} | ({} if key is None else {"partition_key": key})
        return [row async for row in container.query_items(text, **options)]

    return ask


def value(expression: str) -> Operation:
    """Return an operation that asks for an expression's value in the item 1."""
    return query(f"SELECT VALUE {expression} FROM c WHERE c.id = '1'")


def patch(*operations: dict[str, Any]) -> Operation:
    """Return an operation that patches the item 1 and gives what it has become."""
    return lambda container: container.patch_item("1", "ada", list(operations))


async def _write_under_an_old_etag(container: ContainerProxy) -> Any:
    item = await container.read_item("1", "ada")
    await container.replace_item("1", {**item, "total": 4})
    stale = {"etag": item["_etag"], "match_condition": MatchConditions.IfNotModified}
    return await container.replace_item("1", {**item, "total": 5}, **stale)


async def _delete_under_an_old_etag(container: ContainerProxy) -> Any:
    item = await container.read_item("1", "ada")
    await container.replace_item("1", {**item, "total": 4})
    return await container.delete_item("1", "ada", etag=item["_etag"], match_condition=MatchConditions.IfNotModified)


async def _write_under_the_current_etag(container: ContainerProxy) -> Any:
    item = await container.read_item("1", "ada")
    current = {"etag": item["_etag"], "match_condition": MatchConditions.IfNotModified}
    return await container.replace_item("1", {**item, "total": 5}, **current)


async def _same_id_for_another_key(container: ContainerProxy) -> Any:
    await container.create_item({"id": "1", "customer_id": "bob", "total": 0})
    return [await container.read_item("1", "ada"), await container.read_item("1", "bob")]


async def _deleted(container: ContainerProxy) -> Any:
    await container.delete_item("1", "ada")
    return await container.read_item("1", "ada")


async def _pages(container: ContainerProxy) -> list[list[str]]:
    pages = container.query_items("SELECT * FROM c WHERE c.customer_id = 'ada'", max_item_count=1).by_page()
    return [[item["id"] async for item in page] async for page in pages]


async def _everything(container: ContainerProxy) -> list[str]:
    return sorted([item["id"] async for item in container.read_all_items()])


async def _system_properties(container: ContainerProxy) -> list[str]:
    item = await container.read_item("1", "ada")
    return [f"{name[1:]}: {type(item[name]).__name__}" for name in sorted(item) if name.startswith("_")]


async def _etag_is_quoted(container: ContainerProxy) -> bool:
    etag: str = (await container.read_item("1", "ada"))["_etag"]
    return etag.startswith('"')


async def _key_of_none(container: ContainerProxy) -> Any:
    await container.create_item({"id": "6", "customer_id": None})
    return await container.read_item("6", None)


async def _missing_key(container: ContainerProxy) -> Any:
    return await container.create_item({"id": "6", "total": 1})


async def _id_of(creating: Awaitable[ContainerProxy]) -> str:
    return (await creating).id


async def _ids(resources: AsyncIterable[Any]) -> list[str]:
    return sorted([one["id"] async for one in resources])


async def _replaced(database: DatabaseProxy, partition_key: PartitionKey | None = None, **changes: Any) -> Any:
    await database.replace_container("new", partition_key or PartitionKey("/key"), **changes)
    properties = await database.get_container_client("new").read()
    return {name: properties.get(name) for name in ("id", "defaultTtl")}


async def _partition_key(container: ContainerProxy) -> Any:
    return (await container.read())["partitionKey"]


def _create_with_id_of(length: int) -> Operation:
    async def create(container: ContainerProxy) -> int:
        return len((await container.create_item({"id": "x" * length, "customer_id": "ada"}))["id"])

    return create


MANAGEMENT: dict[str, Managing] = {
    "create a container": lambda database: _id_of(database.create_container("new", PartitionKey("/key"))),
    "create a container that is there": lambda database: _id_of(database.create_container("new", PartitionKey("/key"))),
    "list containers": lambda database: _ids(database.list_containers()),
    "change a container's time to live": lambda database: _replaced(database, default_ttl=60),
    "change a container's partition key": lambda database: _replaced(database, partition_key=PartitionKey("/other")),
    "create an item in a missing container": lambda database: database.get_container_client("none").create_item(
        {"id": "1", "key": "a"}
    ),
    "read a missing container": lambda database: database.get_container_client("none").read(),
    "delete a container": lambda database: database.delete_container("new"),
    "delete a missing container": lambda database: database.delete_container("new"),
    "list no containers": lambda database: _ids(database.list_containers()),
    "create a container without a path": lambda database: _id_of(database.create_container("other", PartitionKey("/"))),
}
"""What is done with containers, one after another, by the names under which the outcomes are known."""


async def _batch(items: ContainerProxy) -> list[Any]:
    created = ("create", ({"id": "6", "customer_id": "ada"},))
    results = await items.execute_item_batch([created, ("read", ("1",)), ("delete", ("2",))], partition_key="ada")
    return [[result["statusCode"], result.get("resourceBody")] for result in results]


async def _failing_batch(items: ContainerProxy) -> list[Any]:
    created = ("create", ({"id": "6", "customer_id": "ada"},))
    try:
        await items.execute_item_batch([created, ("create", (ITEMS[0],))], partition_key="ada")
    except CosmosBatchOperationError as error:
        statuses = [result["statusCode"] for result in error.operation_responses]
        return [error.error_index, statuses, sorted([item["id"] async for item in items.read_all_items()])]
    return ["no error"]


async def _change_feed(items: ContainerProxy) -> list[Any]:
    await items.upsert_item(ITEMS[0] | {"total": 4})
    feed = items.query_items_change_feed(start_time="Beginning", partition_key="ada")
    return [[item["id"], item.get("total")] async for item in feed]


def _create_with_time_to_live(ttl: int) -> Operation:
    return lambda items: items.create_item({"id": "6", "customer_id": "ada", "ttl": ttl})


CHANGES: dict[str, Operation] = {
    "create an item": lambda items: items.create_item({"id": "6", "customer_id": "ada", "deep": {"a": [1, {}]}}),
    "create an item that is there": lambda items: items.create_item(ITEMS[0]),
    "create an item without the key's property": _missing_key,
    "create an item with an id of 1,023 bytes": _create_with_id_of(1023),
    "create an item with an id of 1,024 bytes": _create_with_id_of(1024),
    "create an item with an empty id": lambda items: items.create_item({"id": "", "customer_id": "ada"}),
    "create an item with a time to live": _create_with_time_to_live(60),
    "create an item with no time to live": _create_with_time_to_live(0),
    "batch": _batch,
    "batch of which one operation fails": _failing_batch,
    "change feed of a partition key": _change_feed,
    "read an item of the key null": _key_of_none,
    "read a deleted item": _deleted,
    "read the same id with two keys": _same_id_for_another_key,
    "replace an item": lambda items: items.replace_item("1", {"id": "1", "customer_id": "ada", "total": 4}),
    "replace an item that is not there": lambda items: items.replace_item("none", {"id": "none", "customer_id": "ada"}),
    "replace an item under an old etag": _write_under_an_old_etag,
    "replace an item under its etag": _write_under_the_current_etag,
    "replace an item with another id": lambda items: items.replace_item("1", {"id": "9", "customer_id": "ada"}),
    "upsert an item that is there": lambda items: items.upsert_item({"id": "1", "customer_id": "ada", "total": 9}),
    "upsert an item that is not there": lambda items: items.upsert_item({"id": "9", "customer_id": "ada"}),
    "delete an item that is not there": lambda items: items.delete_item("none", "ada"),
    "delete an item under an old etag": _delete_under_an_old_etag,
    "patch: add": patch({"op": "add", "path": "/new", "value": 1}),
    "patch: add to an array": patch({"op": "add", "path": "/tags/1", "value": "between"}),
    "patch: append to an array": patch({"op": "add", "path": "/tags/-", "value": "c"}),
    "patch: set": patch({"op": "set", "path": "/total", "value": 4}),
    "patch: replace": patch({"op": "replace", "path": "/city", "value": "Bergen"}),
    "patch: replace what is not there": patch({"op": "replace", "path": "/none", "value": 1}),
    "patch: remove": patch({"op": "remove", "path": "/tags/0"}),
    "patch: remove what is not there": patch({"op": "remove", "path": "/none"}),
    "patch: increment": patch({"op": "incr", "path": "/total", "value": -1.5}),
    "patch: increment what is not there": patch({"op": "incr", "path": "/count", "value": 2}),
    "patch: increment a string": patch({"op": "incr", "path": "/city", "value": 2}),
    "patch: move": patch({"op": "move", "from": "/city", "path": "/town"}),
    "patch: the id": patch({"op": "set", "path": "/id", "value": "2"}),
    "patch: the partition key": patch({"op": "set", "path": "/customer_id", "value": "bob"}),
    "patch: eleven operations": patch(*[{"op": "incr", "path": "/total", "value": 1}] * 11),
}
"""What may change the items, by the names under which the outcomes are known."""

EXPRESSIONS = (
    "c.total + 2 * 3",
    "c.total % 2",
    "c.total / 2",
    "7 & 3",
    "c.total + 'x'",
    "'a' || 'b'",
    "c.nothing ?? 'else'",
    "c.open ? 'yes' : 'no'",
    "c.nothing ? 'yes' : 'no'",
    "ABS(-1.5)",
    "CEILING(1.2)",
    "FLOOR(-1.2)",
    "ROUND(2.5)",
    "POWER(2, 10)",
    "SQRT(2)",
    "TRUNC(-1.7)",
    "SIGN(-3)",
    "CONCAT('a', 'b', 'c')",
    "CONTAINS('abc', 'B')",
    "CONTAINS('abc', 'B', true)",
    "STARTSWITH('abc', 'A', true)",
    "ENDSWITH('abc', 'bc')",
    "INDEX_OF('abcabc', 'c')",
    "LEFT('abc', 2)",
    "RIGHT('abc', 2)",
    "LENGTH('Århus 🎉')",
    "LOWER('ÅB')",
    "UPPER('åb')",
    "LTRIM('  a ')",
    "REPLACE('aXbX', 'X', '-')",
    "REPLICATE('ab', 3)",
    "REVERSE('abc')",
    "SUBSTRING('abcdef', 2, 3)",
    "ToString(1.5)",
    "StringToNumber('1e2')",
    "StringToArray('[1, 2]')",
    "ARRAY_CONCAT([1], [2, 3])",
    "ARRAY_CONTAINS(c.tags, 'a')",
    "ARRAY_CONTAINS([{a: 1, b: 2}], {a: 1}, true)",
    "ARRAY_LENGTH(c.tags)",
    "ARRAY_SLICE([1, 2, 3, 4], 1, 2)",
    "ARRAY_SLICE([1, 2, 3, 4], -2)",
    "IS_ARRAY(c.tags)",
    "IS_BOOL(c.total)",
    "IS_NULL(null)",
    "IS_NUMBER(c.total)",
    "IS_OBJECT({})",
    "IS_PRIMITIVE('a')",
    "IS_STRING(c.city)",
    "IS_DEFINED(c.nothing)",
    "LOWER(1)",
    "ABS('a')",
    "RegexMatch('abcd', 'B', 'i')",
    "DateTimeAdd('yyyy', 1, '2020-07-09T23:20:13.4575530Z')",
    "DateTimePart('mm', '2020-05-29T08:30:00.1301617Z')",
)

READS: dict[str, Operation] = {
    "read an item": lambda items: items.read_item("1", "ada"),
    "read an item with Unicode": lambda items: items.read_item("5", "cleo"),
    "read an item that is not there": lambda items: items.read_item("none", "ada"),
    "read an item with another item's key": lambda items: items.read_item("1", "bob"),
    "read every item": _everything,
    "system properties of an item": _system_properties,
    "the etag is in quotes": _etag_is_quoted,
    "partition key of a container": _partition_key,
    "query: given a partition key": query("SELECT c.id, c.total FROM c", key="ada"),
    "query: given a partition key and asked for it": query("SELECT c.id FROM c WHERE c.customer_id = 'ada'", key="ada"),
    "query: nothing found": query("SELECT * FROM c WHERE c.customer_id = 'none'"),
    "query: filter": query("SELECT c.id FROM c WHERE c.total >= @low", low=3),
    "query: filter by nested property": query("SELECT c.id FROM c WHERE c.address.zip = '0150'"),
    "query: pages of one": _pages,
    "query: ORDER BY": query("SELECT c.id FROM c WHERE c.total < 100 ORDER BY c.total DESC"),
    "query: ORDER BY mixed types": query("SELECT VALUE c.id FROM c WHERE c.customer_id = 'bob' ORDER BY c.total"),
    "query: OFFSET and LIMIT": query("SELECT VALUE c.id FROM c ORDER BY c.id OFFSET 1 LIMIT 2"),
    "query: COUNT": query("SELECT VALUE COUNT(1) FROM c WHERE c.total > 1"),
    "query: alias": query("SELECT c.total AS amount FROM c WHERE c.customer_id = 'ada'"),
    "query: unnamed values": query("SELECT 1, c.nothing, c.tags[0] FROM c WHERE c.id = '1'"),
    "query: value that some lack": query("SELECT VALUE c.note FROM c"),
    "query: property that some lack": query("SELECT c.note FROM c WHERE c.customer_id = 'ada'"),
    "query: IS_DEFINED": query("SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.total)"),
    "query: IN": query("SELECT VALUE c.id FROM c WHERE c.city IN ('Oslo', 'Bergen') ORDER BY c.id"),
    "query: BETWEEN": query("SELECT VALUE c.id FROM c WHERE c.total BETWEEN 1 AND 3 ORDER BY c.id"),
    "query: case of strings": query("SELECT VALUE c.id FROM c WHERE c.city = 'oslo'"),
    "query: negated comparison with what is missing": query("SELECT VALUE c.id FROM c WHERE NOT (c.nothing = 1)"),
    "query: wrong syntax": query("SELECT * FORM c"),
    "query: unknown function": query("SELECT VALUE NOSUCH(c.id) FROM c"),
    "query: parameter without a value": query("SELECT * FROM c WHERE c.id = @none"),
    "query: TOP": query("SELECT TOP 2 VALUE c.id FROM c ORDER BY c.id"),
    "query: DISTINCT": query("SELECT DISTINCT VALUE c.customer_id FROM c"),
    "query: JOIN": query("SELECT c.id, t AS tag FROM c JOIN t IN c.tags"),
    "query: FROM an array": query("SELECT VALUE t FROM t IN c.tags"),
    "query: LIKE": query("SELECT VALUE c.id FROM c WHERE c.city LIKE 'O%'"),
    "query: EXISTS": query("SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t = 'b')"),
    "query: subquery for an array": query(
        "SELECT VALUE ARRAY(SELECT VALUE t FROM t IN c.tags) FROM c WHERE c.id = '1'"
    ),
    "query: SUM, AVG, MIN and MAX": query(
        "SELECT VALUE {sum: SUM(c.total), avg: AVG(c.total), min: MIN(c.total), max: MAX(c.total)} FROM c"
        " WHERE c.customer_id = 'ada'",
    ),
    "query: SUM of a string": query("SELECT VALUE SUM(c.total) FROM c"),
    "value: array": value("[1, c.total, undefined]"),
    "value: object": value('{a: c.total, "b c": c.nothing}'),
    "value: comparison across types": value("c.total = '3'"),
    "value: order across types": value("c.total < 'x'"),
    "value: null is null": value("null = null"),
    "value: false AND undefined": value("false AND c.nothing"),
    "value: undefined OR true": value("c.nothing OR true"),
    "value: equal arrays": value("c.tags = ['a', 'b']"),
    "value: equal objects": value("{a: 1, b: 2} = {b: 2, a: 1}"),
    **{f"value: {expression}": value(expression) for expression in EXPRESSIONS},
}
"""What changes nothing."""
