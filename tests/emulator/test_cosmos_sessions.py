"""Session consistency with several physical partitions, through the official SDK over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceExistsError, CosmosResourceNotFoundError

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
ADA = {"x_ms_documentdb_partitionkey": '["ada"]'}
UNAVAILABLE = "The read session is not available for the input session token."


@pytest.fixture
async def wide(azure: Emulator, client: CosmosClient) -> ContainerProxy:
    """A container of four physical partitions."""
    await azure.create_cosmos_container("shop", "wide", partition_key="/customer_id", partitions=4)
    return client.get_database_client("shop").get_container_client("wide")


def held_tokens(container: ContainerProxy) -> dict[str, str]:
    """Return the session tokens that the SDK holds, by partition key range."""
    session = container.client_connection.session
    assert session is not None
    (tokens,) = session.session_container.rid_to_session_token.values()
    return {range_id: token.session_token for range_id, token in tokens.items()}


async def test_sdk_keeps_a_token_for_each_partition(wide: ContainerProxy) -> None:
    """The SDK learns every partition's token from its writes, and each operation with these tokens is served."""
    for number in range(20):
        await wide.create_item({"id": str(number), "customer_id": f"c{number}"})
    tokens = held_tokens(wide)
    assert sorted(tokens) == ["0", "1", "2", "3"]
    assert sum(int(token.removeprefix("-1#")) - 1 for token in tokens.values()) == 20
    read = await asyncio.gather(*(wide.read_item(str(number), f"c{number}") for number in range(20)))
    assert [item["id"] for item in read] == [str(number) for number in range(20)]
    assert len([item async for item in wide.query_items("SELECT * FROM c")]) == 20
    assert len([item async for item in wide.query_items("SELECT * FROM c ORDER BY c.id")]) == 20
    assert len([item async for item in wide.read_all_items()]) == 20
    assert len([item async for item in wide.query_items_change_feed(start_time="Beginning")]) == 20
    assert len(await wide.execute_item_batch([("read", ("7",))], "c7")) == 1
    assert held_tokens(wide) == tokens


async def test_answers_tell_the_partition_and_how_far_it_is(signed: Signed) -> None:
    """Writes, reads, queries and refusals carry the token, the container's path and the partition's log sequence number."""
    body = b'{"id": "1", "customer_id": "ada"}'
    query = {"x_ms_documentdb_isquery": "True", "x_ms_documentdb_query_enablecrosspartition": "True"}
    for method, path, content, more, status, lsn in (
        ("POST", ITEMS, body, {}, 201, 2),
        ("POST", ITEMS, body, {}, 409, 2),
        ("GET", f"{ITEMS}/1", None, ADA, 200, 2),
        ("GET", f"{ITEMS}/2", None, ADA, 404, 2),
        ("PUT", f"{ITEMS}/1", body, {"if_match": "old"}, 412, 2),
        ("POST", ITEMS, b'{"query": "SELECT * FROM c"}', query, 200, 2),
        ("DELETE", f"{ITEMS}/1", None, ADA, 204, 3),
    ):
        found, _, headers = await signed(method, path, content, **more)
        assert found == status
        assert headers["x-ms-session-token"] == f"0:-1#{lsn}"
        assert headers["x-ms-alt-content-path"] == "dbs/shop/colls/orders"
        assert headers["x-ms-documentdb-partitionkeyrangeid"] == "0"
        assert headers["lsn"] == str(lsn)


async def test_token_from_the_future_is_refused(orders: ContainerProxy) -> None:
    """A read with a token that the partition has not come to gets 404 with sub-status 1002, whatever kind of read it is."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    ahead = "0:-1#3"
    reads: list[Callable[[], Awaitable[Any]]] = [
        lambda: orders.read_item("1", "ada", session_token=ahead),
        lambda: anext(aiter(orders.query_items("SELECT * FROM c", partition_key="ada", session_token=ahead))),
        lambda: anext(aiter(orders.query_items("SELECT * FROM c", session_token=ahead))),
        lambda: anext(aiter(orders.read_all_items(session_token=ahead))),
        lambda: orders.execute_item_batch([("read", ("1",))], "ada", session_token=ahead),
    ]
    for read in reads:
        with pytest.raises(CosmosResourceNotFoundError, match=UNAVAILABLE) as caught:
            await read()
        assert caught.value.sub_status == 1002
    await orders.create_item({"id": "2", "customer_id": "ada"})
    for read in reads:
        await read()


@pytest.mark.parametrize(
    "token",
    ["0:-1#2", "0:0#2#3=-1", "0:-1#1,1:-1#99", "7:-1#99", "0:-1#-5", " 0:-1#2 , 1:-1#2"],
)
async def test_tokens_that_the_partition_has_reached_pass(signed: Signed, token: str) -> None:
    """A token is a list of ranges; only that of the partition that is read counts, in any of the forms that Azure uses."""
    await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada"}')
    status, answer, _ = await signed("GET", f"{ITEMS}/1", x_ms_session_token=token, **ADA)
    assert (status, answer["id"]) == (200, "1")


@pytest.mark.parametrize("token", ["2", "0:2", "0:-1#", "a:-1#2", "0:-1#2,", "0:-1#2#3", "0:-1#" + "9" * 5000])
async def test_malformed_tokens_are_refused(signed: Signed, token: str) -> None:
    """What is no session token gets 400."""
    status, answer, _ = await signed("GET", f"{ITEMS}/1", x_ms_session_token=token, **ADA)
    assert (status, answer["code"]) == (400, "BadRequest")
    assert answer["message"].startswith("The session token provided '")


async def test_weaker_levels_need_no_session(signed: Signed) -> None:
    """A read at a weaker level than the account's is served whatever its token."""
    await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada"}')
    ahead = {"x_ms_session_token": "0:-1#99", **ADA}
    for level, expected in (("Eventual", 200), ("ConsistentPrefix", 200), ("Session", 404)):
        status, _, _ = await signed("GET", f"{ITEMS}/1", x_ms_consistency_level=level, **ahead)
        assert (level, status) == (level, expected)


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        ("Strong", "not stronger than the service consistency level"),
        ("BoundedStaleness", "not stronger than the service consistency level"),
        ("Best", "'Best' is invalid"),
    ],
)
async def test_levels_that_the_account_has_not_are_refused(signed: Signed, level: str, reason: str) -> None:
    """A read at a level above the account's, or at none that exists, gets 400."""
    status, answer, _ = await signed("GET", f"{ITEMS}/1", x_ms_consistency_level=level, **ADA)
    assert (status, answer["code"]) == (400, "BadRequest")
    assert reason in answer["message"]


async def test_writes_ask_no_session(signed: Signed) -> None:
    """Writes go to the primary replica, which is never behind: their tokens are not looked at."""
    ahead = {"x_ms_session_token": "0:-1#99"}
    assert (await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada"}', **ahead))[0] == 201
    assert (await signed("DELETE", f"{ITEMS}/1", **ahead, **ADA))[0] == 204


async def test_token_of_another_client_brings_its_writes(
    azure: Emulator, wide: ContainerProxy, connect_client: Callable[..., CosmosClient]
) -> None:
    """A token handed from one client to another, as applications do, is served; the other learns from what it reads."""
    created = await wide.create_item({"id": "1", "customer_id": "ada"})
    token = created.get_response_headers()["x-ms-session-token"]
    async with connect_client(azure) as other:
        container = other.get_database_client("shop").get_container_client("wide")
        assert (await container.read_item("1", "ada", session_token=token))["id"] == "1"
        range_id, _, lsn = token.partition(":")
        assert held_tokens(container) == {range_id: lsn}


async def test_refused_write_brings_the_session_forward(
    azure: Emulator, orders: ContainerProxy, connect_client: Callable[..., CosmosClient]
) -> None:
    """A client whose create finds the id taken learns how far the partition is, so that its next read finds the item."""
    async with connect_client(azure) as other:
        container = other.get_database_client("shop").get_container_client("orders")
        await container.create_item({"id": "0", "customer_id": "ada"})
        await orders.create_item({"id": "1", "customer_id": "ada"})
        with pytest.raises(CosmosResourceExistsError):
            await container.create_item({"id": "1", "customer_id": "ada"})
        assert held_tokens(container) == {"0": "-1#3"}


async def test_sessions_of_a_container_with_any_name(client: CosmosClient) -> None:
    """A container whose name no header can hold as it is has sessions as well."""
    database = client.get_database_client("shop")
    container = await database.create_container("Bücher & 🎉", PartitionKey("/customer_id"))
    created = await container.create_item({"id": "1", "customer_id": "ada"})
    headers = created.get_response_headers()
    assert headers["x-ms-alt-content-path"] == "dbs/shop/colls/B%C3%BCcher%20%26%20%F0%9F%8E%89"
    assert held_tokens(container) == {"0": "-1#2"}
    assert (await container.read_item("1", "ada"))["id"] == "1"


async def test_container_that_was_made_again_starts_a_new_session(client: CosmosClient) -> None:
    """Tokens of a container that is gone do not stand in the way of its successor of the same name."""
    database = client.get_database_client("shop")
    first = await database.create_container("again", PartitionKey("/customer_id"))
    for number in range(5):
        await first.create_item({"id": str(number), "customer_id": "ada"})
    await database.delete_container("again")
    second = await database.create_container("again", PartitionKey("/customer_id"))
    await second.create_item({"id": "new", "customer_id": "ada"})
    assert (await second.read_item("new", "ada"))["id"] == "new"
    with pytest.raises(CosmosHttpResponseError) as caught:
        await second.read_item("0", "ada")
    assert (caught.value.status_code, caught.value.sub_status) == (404, 0)
