"""The account, its databases and its containers, through the official SDK and plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import (
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]


async def test_account_advertises_its_own_address(azure: Emulator, signed: Signed) -> None:
    """The account document names the emulator's real address for reading and writing, and session consistency."""
    status, account, _ = await signed("GET", "/")
    assert status == 200
    assert account["writableLocations"] == account["readableLocations"]
    assert account["writableLocations"][0]["databaseAccountEndpoint"] == azure.cosmos_endpoint
    assert account["userConsistencyPolicy"] == {"defaultConsistencyLevel": "Session"}


async def test_databases_live_and_die(client: CosmosClient) -> None:
    """Databases are made once, read, listed and deleted; a missing one is the SDK's own not-found error."""
    await client.create_database("archive")
    with pytest.raises(CosmosResourceExistsError):
        await client.create_database("archive")
    assert await (await client.create_database_if_not_exists("archive")).read()
    assert sorted([database["id"] async for database in client.list_databases()]) == ["archive", "shop"]
    await client.delete_database("archive")
    with pytest.raises(CosmosResourceNotFoundError) as caught:
        await client.get_database_client("archive").read()
    assert not caught.value.sub_status
    with pytest.raises(CosmosResourceNotFoundError):
        await client.delete_database("archive")


async def test_containers_live_and_die(client: CosmosClient) -> None:
    """Containers are made once, read, listed, changed and deleted; what is in a deleted one is gone."""
    shop = client.get_database_client("shop")
    created = await shop.create_container("carts", PartitionKey("/user/id"))
    properties = await created.read()
    assert properties["partitionKey"] == {"paths": ["/user/id"], "kind": "Hash", "version": 2}
    assert properties["indexingPolicy"]["includedPaths"] == [{"path": "/*"}]
    with pytest.raises(CosmosResourceExistsError):
        await shop.create_container("carts", PartitionKey("/id"))
    await shop.create_container_if_not_exists("carts", PartitionKey("/user/id"))
    assert sorted([container["id"] async for container in shop.list_containers()]) == ["carts", "orders"]
    await shop.replace_container(created, PartitionKey("/user/id"), default_ttl=60)
    replaced = await created.read()
    assert replaced["defaultTtl"] == 60
    assert replaced["_etag"] != properties["_etag"]
    with pytest.raises(CosmosHttpResponseError, match="partition key cannot be changed"):
        await shop.replace_container(created, PartitionKey("/other"))
    await shop.delete_container("carts")
    with pytest.raises(CosmosResourceNotFoundError) as caught:
        await created.read()
    assert not caught.value.sub_status
    with pytest.raises(CosmosResourceNotFoundError) as caught:
        await created.create_item({"id": "1", "user": {"id": "ada"}})


async def test_missing_owner_has_its_own_substatus(signed: Signed) -> None:
    """What is asked of a missing database or container is 404 with sub-status 1003, a missing resource itself 0."""
    for path, substatus in (
        ("/dbs/none", "0"),
        ("/dbs/none/colls/orders", "1003"),
        ("/dbs/shop/colls/none", "0"),
        ("/dbs/shop/colls/none/docs/1", "1003"),
        ("/dbs/shop/colls/none/pkranges", "1003"),
        ("/dbs/none/colls/orders/docs/1", "1003"),
    ):
        status, answer, headers = await signed("GET", path, x_ms_documentdb_partitionkey='["ada"]')
        assert (path, status, answer["code"], headers["x-ms-substatus"]) == (path, 404, "NotFound", substatus)


async def test_conditions_on_databases_and_containers(client: CosmosClient, signed: Signed) -> None:
    """Deleting and replacing under an old etag fails with 412 and does nothing."""
    shop = client.get_database_client("shop")
    orders = shop.get_container_client("orders")
    assert (await signed("DELETE", "/dbs/shop/colls/orders", if_match='"old"'))[0] == 412
    assert (await signed("DELETE", "/dbs/shop", if_match='"old"'))[0] == 412
    body = json.dumps(await orders.read()).encode()
    assert (await signed("PUT", "/dbs/shop/colls/orders", body, if_match='"old"'))[0] == 412
    etag = (await orders.read())["_etag"]
    assert (await signed("DELETE", "/dbs/shop/colls/orders", if_match=etag))[0] == 204
    assert [container["id"] async for container in shop.list_containers()] == []


async def test_resources_are_found_by_their_resource_ids(client: CosmosClient, signed: Signed) -> None:
    """The address in _self reaches a resource as its name does, with the signature that goes with resource ids."""
    shop = await client.get_database_client("shop").read()
    orders = await client.get_database_client("shop").get_container_client("orders").read()
    assert orders["_self"] == f"dbs/{shop['_rid']}/colls/{orders['_rid']}/"
    listed = [one async for one in client.get_database_client(shop["_rid"]).list_containers()]
    assert [one["id"] for one in listed] == ["orders"]


async def test_container_made_again_is_noticed(azure: Emulator, client: CosmosClient, orders: ContainerProxy) -> None:
    """A client that knows a deleted and re-created container's old resource id learns of it and goes on."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    await client.get_database_client("shop").delete_container("orders")
    await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
    assert (await orders.create_item({"id": "2", "customer_id": "ada"}))["id"] == "2"
    assert [item["id"] async for item in orders.read_all_items()] == ["2"]


async def test_request_meant_for_another_container_is_refused(signed: Signed, orders: ContainerProxy) -> None:
    """A request that names the resource id it expects gets 400 with sub-status 1024 when the container has another."""
    path = "/dbs/shop/colls/orders/docs"
    rid = (await orders.read())["_rid"]
    assert (await signed("GET", path, x_ms_cosmos_intended_collection_rid=rid))[0] == 200
    status, answer, headers = await signed("GET", path, x_ms_cosmos_intended_collection_rid="AAAAAYAAAGM=")
    assert (status, answer["code"], headers["x-ms-substatus"]) == (400, "BadRequest", "1024")


async def test_partition_key_ranges_cover_the_hash_space(azure: Emulator, signed: Signed) -> None:
    """The ranges of a container go from "" to "FF" without gap or overlap, and are read as a change feed."""
    await azure.create_cosmos_container("shop", "wide", partition_key="/id", partitions=5)
    path = "/dbs/shop/colls/wide/pkranges"
    status, answer, headers = await signed("GET", path)
    ranges = answer["PartitionKeyRanges"]
    assert (status, answer["_count"], headers["x-ms-item-count"]) == (200, 5, "5")
    edges = [ranges[0]["minInclusive"], *(one["maxExclusive"] for one in ranges)]
    assert [one["minInclusive"] for one in ranges] == edges[:-1]
    assert (edges[0], edges[-1], edges) == ("", "FF", sorted(edges))
    assert [one["id"] for one in ranges] == ["0", "1", "2", "3", "4"]
    status, answer, again = await signed("GET", path, if_none_match=headers["etag"])
    assert (status, answer, again["etag"]) == (304, {}, headers["etag"])


async def test_account_has_no_throughput_of_its_own(orders: ContainerProxy) -> None:
    """Asked for its throughput, a container answers as one of a serverless account does: there is none."""
    with pytest.raises(CosmosHttpResponseError, match="not supported for serverless accounts") as caught:
        await orders.get_throughput()
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "required properties - 'id; '"),
        ({"id": ""}, "required properties - 'id; '"),
        ({"id": 7}, "must be a string"),
        ({"id": "a/b"}, "is invalid"),
        ({"id": "x" * 256}, "is invalid"),
        ({"id": "c"}, "must be an object"),
        ({"id": "c", "partitionKey": "/id"}, "must be an object"),
        ({"id": "c", "partitionKey": {}}, "at least one path"),
        ({"id": "c", "partitionKey": {"paths": []}}, "at least one path"),
        ({"id": "c", "partitionKey": {"paths": [7]}}, "at least one path"),
        ({"id": "c", "partitionKey": {"paths": ["id"]}}, "could not be accepted"),
        ({"id": "c", "partitionKey": {"paths": ["/"]}}, "could not be accepted"),
        ({"id": "c", "partitionKey": {"paths": ["/a"], "kind": "Range"}}, "kind 'Range'"),
        ({"id": "c", "partitionKey": {"paths": ["/a"], "kind": []}}, "kind"),
        ({"id": "c", "partitionKey": {"paths": ["/a", "/b"], "kind": "Hash"}}, "Too many"),
        ({"id": "c", "partitionKey": {"paths": ["/a", "/b", "/c", "/d"], "kind": "MultiHash"}}, "Too many"),
        ({"id": "c", "partitionKey": {"paths": ["/a"]}, "indexingPolicy": 7}, "indexing policy"),
        ({"id": "c", "partitionKey": {"paths": ["/a"]}, "indexingPolicy": {"compositeIndexes": [7]}}, "list of lists"),
        ({"id": "c", "partitionKey": {"paths": ["/a"]}, "indexingPolicy": {"compositeIndexes": [[7]]}}, "with a path"),
        (
            {
                "id": "c",
                "partitionKey": {"paths": ["/a"]},
                "indexingPolicy": {"compositeIndexes": [[{"path": "/a", "order": []}]]},
            },
            "must be ascending or descending",
        ),
    ],
)
async def test_invalid_containers_are_refused(signed: Signed, body: dict[str, Any], message: str) -> None:
    """A container whose definition Azure would refuse gets 400 with a message that names the fault."""
    status, answer, _ = await signed("POST", "/dbs/shop/colls", json.dumps(body).encode())
    assert (status, answer["code"]) == (400, "BadRequest")
    assert message in answer["message"]
    assert (await signed("GET", "/dbs/shop/colls"))[1]["_count"] == 1


async def test_container_cannot_be_renamed(signed: Signed, orders: ContainerProxy) -> None:
    """Replacing a container's properties with another id gets 400."""
    body = json.dumps({**await orders.read(), "id": "other"}).encode()
    status, answer, _ = await signed("PUT", "/dbs/shop/colls/orders", body)
    assert status == 400
    assert "id cannot be changed" in answer["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("PUT", "/dbs", 405, "PUT is not supported"),
        ("POST", "/", 405, "POST is not supported"),
        ("PATCH", "/dbs/shop", 405, "PATCH is not supported"),
        ("GET", "/dbs/shop/users", 400, "users is not supported by this emulator yet"),
        ("POST", "/dbs/shop/colls/orders/sprocs", 400, "sprocs is not supported by this emulator yet"),
        ("GET", "/dbs/shop/colls/orders/docs/1/attachments", 400, "not that of a resource"),
        ("GET", "/nonsense", 400, "not that of a resource"),
    ],
)
async def test_unknown_paths_and_verbs(signed: Signed, method: str, path: str, status: int, message: str) -> None:
    """A path or verb that is not served gets an answer in Azure's form that says so."""
    answer = await signed(method, path)
    assert answer[0] == status
    assert message in answer[1]["message"]


async def test_query_over_databases_is_not_there_yet(client: CosmosClient) -> None:
    """What is missing says that it is, instead of creating a database from a query."""
    with pytest.raises(CosmosHttpResponseError, match="not supported by this emulator yet"):
        _ = [one async for one in client.query_databases("SELECT * FROM c")]
