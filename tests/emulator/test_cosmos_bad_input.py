"""Whatever a client sends, the answer is one of Azure's: never an error of the server's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
import yarl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.cosmos.account import Account
from fastapi_azure_pool.emulator.cosmos.authorization import DEFAULT_KEY, Authorization
from fastapi_azure_pool.emulator.cosmos.service import CosmosService
from fastapi_azure_pool.emulator.cosmos.transaction import Transaction
from fastapi_azure_pool.emulator.faults import Faults
from fastapi_azure_pool.emulator.http_service import HttpRequest
from fastapi_azure_pool.emulator.tokens import TokenIssuer

if TYPE_CHECKING:
    import aiohttp

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"id": NaN}',
        b'{"id": "1", "customer_id": "ada", "n": 1e999}',
        b'{"id": "1", "customer_id": "ada", "n": -Infinity}',
        b'{"id": "1", "customer_id": ' + b"9" * 5000 + b"}",
        b'{"id": "1", "customer_id": "ada", "n": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b'{"id": "1", "a":' * 50_000,
    ],
)
async def test_malformed_bodies_are_refused(signed: Signed, body: bytes) -> None:
    """A body that is not a JSON object gets 400 wherever one is expected, and nothing is stored."""
    key = {"x_ms_documentdb_partitionkey": '["ada"]'}
    query = {"x_ms_documentdb_isquery": "True"}
    for method, path, headers in (
        ("POST", ITEMS, {}),
        ("POST", ITEMS, query),
        ("PUT", f"{ITEMS}/1", key),
        ("PATCH", f"{ITEMS}/1", key),
        ("POST", "/dbs", {}),
        ("POST", "/dbs/shop/colls", {}),
        ("PUT", "/dbs/shop/colls/orders", {}),
    ):
        status, answer, _ = await signed(method, path, body, **headers)
        assert (method, path, status, answer["code"]) == (method, path, 400, "BadRequest")
    assert (await signed("GET", ITEMS))[1]["_count"] == 0


async def test_lone_surrogate_is_stored(signed: Signed) -> None:
    """A string that has no UTF-8 form is kept and given back as JSON can escape it."""
    body = b'{"id": "1", "customer_id": "ada", "text": "\\ud800"}'
    assert (await signed("POST", ITEMS, body))[0] == 201
    status, item, _ = await signed("GET", f"{ITEMS}/1", x_ms_documentdb_partitionkey='["ada"]')
    assert (status, item["text"]) == (200, "\ud800")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"query": ""},
        {"query": 7},
        {"query": None},
        {"query": ["SELECT * FROM c"]},
        {"query": "SELECT * FROM c", "parameters": 7},
        {"query": "SELECT * FROM c", "parameters": [7]},
        {"query": "SELECT * FROM c", "parameters": [{"name": "@a"}]},
        {"query": "SELECT * FROM c", "parameters": [{"name": "a", "value": 1}]},
        {"query": "SELECT * FROM c", "parameters": [{"value": 1}]},
    ],
)
async def test_malformed_queries_are_refused(signed: Signed, query: dict[str, Any]) -> None:
    """A query's body that lacks its text or whose parameters are malformed or missing gets 400."""
    await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada", "a": 1}')
    headers = {"x_ms_documentdb_isquery": "True", "x_ms_documentdb_partitionkey": '["ada"]'}
    status, answer, _ = await signed("POST", ITEMS, json.dumps(query).encode(), **headers)
    assert (status, answer["code"]) == (400, "BadRequest")


async def test_deep_items_can_be_compared(signed: Signed) -> None:
    """Comparing deeply nested values gives a result or 400, not a crash."""
    deep = b"[" * 400 + b"]" * 400
    assert (await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada", "a": ' + deep + b"}"))[0] == 201
    headers = {"x_ms_documentdb_isquery": "True", "x_ms_documentdb_partitionkey": '["ada"]'}
    parameters = b'[{"name": "@a", "value": ' + deep + b"}]"
    body = b'{"query": "SELECT * FROM c WHERE c.a = @a", "parameters": ' + parameters + b"}"
    assert (await signed("POST", ITEMS, body, **headers))[0] in {200, 400}


async def test_activity_id_is_given_back(signed: Signed) -> None:
    """A request's activity id comes back in its answer; one that no header could repeat is replaced."""
    _, _, headers = await signed("GET", "/", x_ms_activity_id="my-activity")
    assert headers["x-ms-activity-id"] == "my-activity"
    for odd in ("", "x" * 100, "ä"):
        _, _, headers = await signed("GET", "/", x_ms_activity_id=odd)
        assert len(headers["x-ms-activity-id"]) == 36


async def test_bytes_that_are_not_http(azure: Emulator) -> None:
    """Bytes that are not HTTP get 400 and the connection is closed; the next client is served."""
    port = int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01 this is no request\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()
    await writer.wait_closed()


async def test_client_that_leaves_in_the_middle_of_its_body(azure: Emulator, signed: Signed) -> None:
    """A request that is cut off before its body has arrived does nothing."""
    port = int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /dbs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    while azure.connections("cosmos").open == 0:  # noqa: ASYNC110 - the emulator learns of it in some turns of the loop
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    while azure.connections("cosmos").open:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)
    assert azure.cosmos_requests.total == 0
    assert (await signed("GET", "/"))[0] == 200


@pytest.mark.parametrize(
    "path", ["/%", "/%zz", "/dbs/%ff", "/dbs/shop%00", "//", "/dbs//", "/dbs/shop/colls/%2f%2F/docs", "/?a=b"]
)
async def test_odd_paths(azure: Emulator, session: aiohttp.ClientSession, path: str) -> None:
    """A path of any bytes gets an answer in Azure's form."""
    headers = {"authorization": f"type=aad&ver=1.0&sig={azure.issue_token()}"}
    url = yarl.URL(azure.cosmos_endpoint.rstrip("/") + path, encoded=True)
    async with session.get(url, headers=headers) as response:
        assert response.status in {200, 400, 404}
        assert isinstance(await response.json(), dict)


segments = st.sampled_from(
    ["", "dbs", "shop", "colls", "orders", "docs", "1", "pkranges", "offers", "users", "%2f", "ä", " "]
)
header_values = st.sampled_from(
    [
        "",
        "true",
        "True",
        "0",
        "-1",
        "1",
        '["ada"]',
        "[{}]",
        "[]",
        "{",
        '"old"',
        "*",
        "null",
        "application/query+json",
        "FF",
        "é",
        "Incremental feed",
        '"1"',
        "0:-1#1",
        "0:-1#99,1:-1#99",
        "Eventual",
        "Sat, 07 Nov 2026 10:00:00 GMT",
    ]
)
header_names = st.sampled_from(
    [
        "a-im",
        "content-type",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "prefer",
        "x-ms-consistency-level",
        "x-ms-continuation",
        "x-ms-cosmos-batch-atomic",
        "x-ms-cosmos-intended-collection-rid",
        "x-ms-cosmos-is-batch-request",
        "x-ms-cosmos-is-query-plan-request",
        "x-ms-documentdb-is-upsert",
        "x-ms-documentdb-isquery",
        "x-ms-documentdb-partitionkey",
        "x-ms-documentdb-partitionkeyrangeid",
        "x-ms-documentdb-query-enablecrosspartition",
        "x-ms-end-epk",
        "x-ms-max-item-count",
        "x-ms-session-token",
        "x-ms-start-epk",
    ]
)
bodies = st.sampled_from(
    [
        b"",
        b"{}",
        b"[]",
        b'{"id": "1", "customer_id": "ada"}',
        b'{"id": "1"}',
        b'{"id": "orders", "partitionKey": {"paths": ["/customer_id"]}, "indexingPolicy": []}',
        b'{"query": "SELECT * FROM c ORDER BY c.a"}',
        b'{"query": "SELECT VALUE COUNT(1) FROM c", "parameters": []}',
        b'{"query": "SELECT c.id, @a FROM c", "parameters": [{"name": "@a", "value": {}}]}',
        b'{"operations": [{"op": "set", "path": "/a", "value": 1}]}',
        b'{"operations": [{"op": "set", "path": "/a", "value": 1}], "condition": "from c where c.a = 1"}',
        b'[{"operationType": "Upsert", "resourceBody": {"id": "1", "customer_id": "ada"}}]',
        b'[{"operationType": "Read", "id": "1"}, {"operationType": "Delete", "id": "2", "ifMatch": "*"}]',
    ]
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]),
    st.sampled_from(["", "/dbs/shop", ITEMS, f"{ITEMS}/1", "/dbs/shop/colls/orders"])
    | st.lists(segments, max_size=7).map(lambda parts: "/" + "/".join(parts)),
    st.dictionaries(header_names, header_values, max_size=5),
    bodies | st.binary(max_size=20),
)
def test_any_request_gets_one_of_azures_answers(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    """Whatever verb, path, headers and body arrive, the answer has a status of Azure's and a JSON body."""
    account = Account()
    tokens = TokenIssuer()
    authorization = Authorization(DEFAULT_KEY, tokens)
    authorization.set_account_hosts(("127.0.0.1",))
    # the master key may do everything: the check is left out so that every path is reached
    authorization.check = lambda *_arguments: None  # type: ignore[method-assign]  # see above
    service = CosmosService(Faults((), lambda _service: 0), account, authorization, partition_count=2)
    container = account.create_database({"id": "shop"}).create_container(
        {"id": "orders", "partitionKey": {"paths": ["/customer_id"]}}, 2
    )
    transaction = Transaction(container.items, ("ada",))
    transaction.create({"id": "1", "customer_id": "ada"})
    transaction.commit()
    scope = {
        "method": method,
        "path": path or "/",
        "raw_path": (path or "/").encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    request = HttpRequest(scope)
    request.body = body
    response = service.answer(request)
    assert response.status_code in {200, 201, 204, 207, 304, 400, 404, 405, 409, 410, 412}
    assert not response.body or isinstance(json.loads(bytes(response.body)), (dict, list))
