"""Items of a container, through the official SDK over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
import yarl
from azure.core import MatchConditions
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)
from azure.cosmos.partition_key import NonePartitionKeyValue

if TYPE_CHECKING:
    import aiohttp
    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
ADA = '["ada"]'


async def test_integers_have_64_bits(orders: ContainerProxy) -> None:
    """An integer of up to 64 bits is kept as it is, a longer one as the nearest floating-point number."""
    numbers = [2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**30]
    await orders.create_item({"id": "1", "customer_id": "ada", "numbers": numbers})
    kept = (await orders.read_item("1", "ada"))["numbers"]
    assert kept == [2**63 - 1, -(2**63), 2.0**63, -(2.0**63), 1e30]
    assert [type(number) for number in kept] == [int, int, float, float, float]


async def test_item_goes_through_its_life(orders: ContainerProxy) -> None:
    """An item is created, read, replaced, patched and deleted, and each step shows in the next read."""
    await orders.create_item({"id": "1", "customer_id": "ada", "total": 3})
    assert (await orders.read_item("1", "ada"))["total"] == 3
    await orders.replace_item("1", {"id": "1", "customer_id": "ada", "total": 4})
    assert (await orders.read_item("1", "ada"))["total"] == 4
    await orders.patch_item("1", "ada", [{"op": "incr", "path": "/total", "value": 2}])
    assert (await orders.read_item("1", "ada"))["total"] == 6
    await orders.delete_item("1", "ada")
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.read_item("1", "ada")


async def test_item_gets_what_the_service_adds(orders: ContainerProxy) -> None:
    """A stored item has the user's properties first and the system's after them, and the caller's own are overwritten."""
    created = await orders.create_item({"id": "1", "customer_id": "ada", "_etag": "mine", "name": "Ünïcode 🎉"})
    assert list(created)[:4] == ["id", "customer_id", "_etag", "name"]
    assert created["_etag"] != "mine"
    assert created["name"] == "Ünïcode 🎉"
    container = await orders.read()
    assert created["_self"] == f"{container['_self']}docs/{created['_rid']}/"
    assert created["_attachments"] == "attachments/"
    assert isinstance(created["_ts"], int)
    assert dict(await orders.read_item("1", "ada")) == dict(created)


async def test_ids_are_unique_within_a_partition_key(orders: ContainerProxy) -> None:
    """The same id is taken within one partition key and free in another."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    with pytest.raises(CosmosResourceExistsError):
        await orders.create_item({"id": "1", "customer_id": "ada"})
    await orders.create_item({"id": "1", "customer_id": "bob"})
    assert (await orders.read_item("1", "bob"))["customer_id"] == "bob"
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.read_item("1", "cleo")


async def test_upsert_creates_then_replaces(orders: ContainerProxy) -> None:
    """Upsert stores an item that is not there (201) and replaces one that is (200)."""
    statuses: list[int] = []

    def remember(headers: Any, _body: Any) -> None:
        statuses.append(int(headers["x-ms-request-charge"] == "5.52"))

    first = await orders.upsert_item({"id": "1", "customer_id": "ada", "total": 1}, response_hook=remember)
    second = await orders.upsert_item({"id": "1", "customer_id": "ada", "total": 2})
    assert (first["_rid"], first["_etag"]) != (second["_rid"], second["_etag"])
    assert first["_rid"] == second["_rid"]
    assert (await orders.read_item("1", "ada"))["total"] == 2
    assert statuses == [1]


async def test_statuses_of_writes(signed: Signed) -> None:
    """Create answers 201, upsert 201 then 200, replace 200, delete 204 without a body."""
    body = b'{"id": "1", "customer_id": "ada"}'
    key = {"x_ms_documentdb_partitionkey": ADA}
    upsert = key | {"x_ms_documentdb_is_upsert": "True"}
    assert (await signed("POST", ITEMS, body, **upsert))[0] == 201
    assert (await signed("POST", ITEMS, body, **upsert))[0] == 200
    assert (await signed("PUT", f"{ITEMS}/1", body, **key))[0] == 200
    assert (await signed("DELETE", f"{ITEMS}/1", **key))[:2] == (204, {})
    status, _, headers = await signed("POST", ITEMS, body)
    assert status == 201
    assert headers["etag"].startswith('"')
    assert headers["x-ms-session-token"] == "0:-1#6"
    assert headers["x-ms-request-charge"] == "5.52"


async def test_minimal_answer_to_a_write(client: CosmosClient, signed: Signed, orders: ContainerProxy) -> None:
    """A client that wants no answer's body gets none, and the item is stored."""
    await orders.create_item({"id": "1", "customer_id": "ada"}, no_response=True)
    assert (await orders.read_item("1", "ada"))["id"] == "1"
    body = b'{"id": "2", "customer_id": "ada"}'
    assert (await signed("POST", ITEMS, body, prefer="return=minimal"))[:2] == (201, {})


async def test_writes_under_an_old_etag_fail(orders: ContainerProxy) -> None:
    """Replace, upsert, patch and delete with an etag that is no longer the item's fail with 412 and change nothing."""
    old = await orders.create_item({"id": "1", "customer_id": "ada", "total": 1})
    new = await orders.replace_item("1", {**old, "total": 2})
    stale = {"etag": old["_etag"], "match_condition": MatchConditions.IfNotModified}
    for attempt in (
        orders.replace_item("1", {**old, "total": 3}, **stale),
        orders.upsert_item({**old, "total": 3}, **stale),
        orders.patch_item("1", "ada", [{"op": "set", "path": "/total", "value": 3}], **stale),
        orders.delete_item("1", "ada", **stale),
    ):
        with pytest.raises(CosmosAccessConditionFailedError):
            await attempt
    assert (await orders.read_item("1", "ada"))["total"] == 2
    current = {"etag": new["_etag"], "match_condition": MatchConditions.IfNotModified}
    patched = await orders.patch_item("1", "ada", [{"op": "set", "path": "/total", "value": 4}], **current)
    replaced = await orders.replace_item(
        "1", {**patched, "total": 5}, etag=patched["_etag"], match_condition=MatchConditions.IfNotModified
    )
    await orders.delete_item("1", "ada", etag=replaced["_etag"], match_condition=MatchConditions.IfNotModified)
    assert [item async for item in orders.read_all_items()] == []


async def test_read_of_a_known_version_is_304(signed: Signed) -> None:
    """A read with the item's etag in if-none-match gets 304 without a body, with another etag the item."""
    _, item, _ = await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada"}')
    key = {"x_ms_documentdb_partitionkey": ADA}
    status, answer, headers = await signed("GET", f"{ITEMS}/1", if_none_match=item["_etag"], **key)
    assert (status, answer, headers["etag"]) == (304, {}, item["_etag"])
    assert (await signed("GET", f"{ITEMS}/1", if_none_match='"other"', **key))[0] == 200


async def test_replace_may_rename_but_not_move(orders: ContainerProxy) -> None:
    """Replacing may give an item a new id, unless it is taken; its partition key it may not change."""
    created = await orders.create_item({"id": "1", "customer_id": "ada"})
    await orders.create_item({"id": "2", "customer_id": "ada"})
    renamed = await orders.replace_item("1", {"id": "3", "customer_id": "ada"})
    assert renamed["_rid"] == created["_rid"]
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.read_item("1", "ada")
    assert sorted([item["id"] async for item in orders.read_all_items()]) == ["2", "3"]
    with pytest.raises(CosmosResourceExistsError):
        await orders.replace_item("3", {"id": "2", "customer_id": "ada"})
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.replace_item("3", {"id": "3", "customer_id": "bob"})
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.replace_item("9", {"id": "9", "customer_id": "ada"})


async def test_header_and_body_must_agree_on_the_partition_key(signed: Signed) -> None:
    """A partition key in the header that is not the body's gets 400 with sub-status 1001 and stores nothing."""
    body = b'{"id": "1", "customer_id": "ada"}'
    for key in ('["bob"]', "[{}]", "[null]", "[]", '["ada", "bob"]'):
        status, answer, headers = await signed("POST", ITEMS, body, x_ms_documentdb_partitionkey=key)
        assert (key, status, answer["code"], headers["x-ms-substatus"]) == (key, 400, "BadRequest", "1001")
    assert (await signed("GET", ITEMS))[1]["_count"] == 0


async def test_operation_on_one_item_needs_a_partition_key(signed: Signed) -> None:
    """Reading, patching and deleting without a partition key get 400."""
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", b'{"operations": []}')):
        status, answer, _ = await signed(method, f"{ITEMS}/1", body)
        assert status == 400
        assert "PartitionKey value must be supplied" in answer["message"]


@pytest.mark.parametrize("value", ["ada", "", 1, 1.5, -0.0, 2**60, True, False, None])
async def test_every_kind_of_partition_key_value(orders: ContainerProxy, value: str | float | bool | None) -> None:
    """A partition key may be a string, a number, a boolean or null, and an item is found by it alone."""
    await orders.create_item({"id": "1", "customer_id": value})
    assert (await orders.read_item("1", value))["customer_id"] == value
    others = [one for one in ("ada", 1, True, None) if one is not value]
    for other in others:
        with pytest.raises(CosmosResourceNotFoundError):
            await orders.read_item("1", other)
    found = orders.query_items("SELECT * FROM c", partition_key=value)
    assert [item["id"] async for item in found] == ["1"]


async def test_item_without_a_partition_key_lies_under_undefined(orders: ContainerProxy) -> None:
    """An item that lacks the partition key's property is found by the SDK's value for none, not by null."""
    await orders.create_item({"id": "1"})
    await orders.create_item({"id": "1", "customer_id": None})
    assert "customer_id" not in await orders.read_item("1", NonePartitionKeyValue)
    assert (await orders.read_item("1", None))["customer_id"] is None
    await orders.delete_item("1", NonePartitionKeyValue)
    assert (await orders.read_item("1", None))["customer_id"] is None


async def test_hierarchical_partition_keys(azure: Emulator, client: CosmosClient) -> None:
    """Items of a hierarchical key are found by the whole key, and queried by its beginning, whatever the partitions."""
    paths = ["/tenant", "/user"]
    await azure.create_cosmos_container("shop", "deep", partition_key=paths, partitions=4)
    deep = client.get_database_client("shop").get_container_client("deep")
    for tenant in ("a", "b"):
        for user in range(5):
            await deep.create_item({"id": f"{tenant}{user}", "tenant": tenant, "user": user})
    await deep.create_item({"id": "lone", "tenant": "a"})
    assert (await deep.read_item("a3", ["a", 3]))["user"] == 3
    assert (await deep.read_item("lone", ["a", None]))["tenant"] == "a"
    whole = deep.query_items("SELECT * FROM c", partition_key=["b", 2])
    assert [item["id"] async for item in whole] == ["b2"]
    begun = deep.query_items("SELECT * FROM c", partition_key=["b"])
    assert sorted([item["id"] async for item in begun]) == ["b0", "b1", "b2", "b3", "b4"]
    with pytest.raises(CosmosHttpResponseError):
        await deep.read_item("a3", ["a"])
    listed = await client.get_database_client("shop").create_container("same", PartitionKey(paths))
    await listed.create_item({"id": "1", "tenant": "a", "user": 1})
    assert (await listed.read_item("1", ["a", 1]))["id"] == "1"


async def test_beginning_of_a_hierarchical_key_over_http(azure: Emulator, signed: Signed) -> None:
    """A query whose header has the first components of a hierarchical key finds what begins so, an empty one nothing."""
    await azure.create_cosmos_container("shop", "deep", partition_key=["/tenant", "/user"], partitions=4)
    path = "/dbs/shop/colls/deep/docs"
    for tenant in ("a", "b"):
        for user in range(4):
            body = json.dumps({"id": f"{tenant}{user}", "tenant": tenant, "user": user}).encode()
            assert (await signed("POST", path, body))[0] == 201
    query = {"x_ms_documentdb_isquery": "True", "x_ms_documentdb_query_enablecrosspartition": "True"}
    body = b'{"query": "SELECT VALUE c.id FROM c"}'
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        _, answer, headers = await signed("POST", path, body, **query, x_ms_documentdb_partitionkey='["a"]', **token)
        found += answer["Documents"]
        if "x-ms-continuation" not in headers:
            break
        token = {"x_ms_continuation": headers["x-ms-continuation"]}
    assert sorted(found) == ["a0", "a1", "a2", "a3"]
    assert (await signed("POST", path, body, **query, x_ms_documentdb_partitionkey="[]"))[0] == 400


async def test_id_may_have_any_other_character(orders: ContainerProxy) -> None:
    """An id with spaces, percent signs, Unicode and dots is stored and found as it is."""
    for name in ("a b", "50%", "100%25", "ü", "🎉", "a+b&c=d", "'\"", "x" * 1023, "é" * 511):
        await orders.create_item({"id": name, "customer_id": "ada"})
        assert (await orders.read_item(name, "ada"))["id"] == name


@pytest.mark.parametrize(
    "name", ["a/b", "a\\b", "a?b", "a#b", "x" * 1024, "é" * 512, "ends with space ", 7, "", None, "\ud800"]
)
async def test_invalid_ids_are_refused(signed: Signed, name: object) -> None:
    """An id that Azure would not take gets 400."""
    status, answer, _ = await signed("POST", ITEMS, json.dumps({"id": name, "customer_id": "ada"}).encode())
    assert (status, answer["code"]) == (400, "BadRequest")


async def test_slash_in_an_address_is_no_separator(
    azure: Emulator, session: aiohttp.ClientSession, signature: Callable[..., dict[str, str]]
) -> None:
    """An encoded slash stays part of the id that is asked for, which then does not exist, and leads nowhere else."""
    url = yarl.URL(azure.cosmos_endpoint + "dbs/shop%2Fcolls", encoded=True)
    headers = {"authorization": f"type=aad&ver=1.0&sig={azure.issue_token()}"}
    async with session.get(url, headers=headers) as response:
        assert response.status == 404
        assert (await response.json())["code"] == "NotFound"


async def test_id_is_made_by_the_sdk(orders: ContainerProxy) -> None:
    """An item created without an id gets one from the SDK when it is asked to."""
    created = await orders.create_item({"customer_id": "ada"}, enable_automatic_id_generation=True)
    assert (await orders.read_item(created["id"], "ada"))["id"] == created["id"]


# aiohttp advises against sending this much at once; the SDK does
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_items_up_to_two_megabytes(orders: ContainerProxy) -> None:
    """An item near 2 MB is stored; beyond it gets 413, whether it arrives so or a patch would make it so."""
    await orders.create_item({"id": "1", "customer_id": "ada", "text": "x" * (2 * 1024 * 1024 - 500)})
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.create_item({"id": "2", "customer_id": "ada", "text": "x" * 2 * 1024 * 1024})
    assert caught.value.status_code == 413
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.upsert_item({"id": "1", "customer_id": "ada", "text": "x" * 5 * 1024 * 1024})
    assert caught.value.status_code == 413
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.replace_item("1", {"id": "1", "customer_id": "ada", "text": "x" * 3 * 1024 * 1024})
    assert caught.value.status_code == 413
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.patch_item("1", "ada", [{"op": "add", "path": "/more", "value": "x" * 1024}])
    assert caught.value.status_code == 413
    assert len((await orders.read_item("1", "ada"))["text"]) == 2 * 1024 * 1024 - 500


async def test_fifty_writers_lose_nothing(orders: ContainerProxy) -> None:
    """Concurrent increments of one item all count: each operation is one step."""
    await orders.create_item({"id": "1", "customer_id": "ada", "total": 0})
    step = [{"op": "incr", "path": "/total", "value": 1}]
    await asyncio.gather(*(orders.patch_item("1", "ada", step) for _ in range(50)))
    assert (await orders.read_item("1", "ada"))["total"] == 50
