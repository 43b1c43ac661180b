"""Transactional batches, through the official SDK over a real socket, and against a model."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastapi_azure_pool.emulator.cosmos.account import Account, Container
from fastapi_azure_pool.emulator.cosmos.batch import MAX_OPERATIONS, run_batch
from fastapi_azure_pool.emulator.http_service import HttpRequest

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

# a batch's answer is an array, an error's an object
Signed = Callable[..., Awaitable[tuple[int, Any, dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
BATCH = {
    "x_ms_cosmos_is_batch_request": "True",
    "x_ms_cosmos_batch_atomic": "True",
    "x_ms_documentdb_partitionkey": '["ada"]',
}


def item(name: str, **more: Any) -> dict[str, Any]:
    """Return an item of ada's."""
    return {"id": name, "customer_id": "ada", **more}


async def failure_of(orders: ContainerProxy, *operations: Any) -> tuple[int, int, list[int]]:
    """Return the status and index of the operation that fails, and every operation's status."""
    with pytest.raises(CosmosBatchOperationError) as caught:
        await orders.execute_item_batch(list(operations), "ada")
    error = caught.value
    assert error.operation_responses is not None
    statuses = [one["statusCode"] for one in error.operation_responses]
    assert isinstance(error.status_code, int)
    assert isinstance(error.error_index, int)
    return error.status_code, error.error_index, statuses


async def contents(orders: ContainerProxy) -> dict[str, Any]:
    """Return every item by its id."""
    return {one["id"]: one async for one in orders.read_all_items()}


async def test_operations_of_a_batch_see_each_other(orders: ContainerProxy) -> None:
    """Each of the six operations does what it does alone, in order, on what the ones before it have left."""
    await orders.create_item(item("old", total=1))
    results = await orders.execute_item_batch(
        [
            ("create", (item("1", total=1),)),
            ("upsert", (item("1", total=2),)),
            ("upsert", (item("2"),)),
            ("replace", ("2", item("3", was="2"))),
            ("patch", ("1", [{"op": "incr", "path": "/total", "value": 5}])),
            ("read", ("1",)),
            ("delete", ("old",)),
            ("create", (item("old", total=9),)),
        ],
        "ada",
    )
    assert [one["statusCode"] for one in results] == [201, 200, 201, 200, 200, 200, 204, 201]
    assert results[5]["resourceBody"]["total"] == 7
    assert results[4]["eTag"] == results[5]["eTag"] == results[5]["resourceBody"]["_etag"]
    assert "resourceBody" not in results[6]
    assert {name: one.get("total") for name, one in (await contents(orders)).items()} == {"1": 7, "3": None, "old": 9}
    assert dict(await orders.read_item("1", "ada")) == results[5]["resourceBody"]


async def test_name_that_an_operation_gave_up_is_free(orders: ContainerProxy) -> None:
    """Within a batch a renamed item is no longer found under its old name, which another may take, and so is a deleted one."""
    await orders.create_item(item("1"))
    renaming = ("replace", ("1", item("2")))
    assert await failure_of(orders, renaming, ("read", ("1",))) == (404, 1, [424, 404])
    assert await failure_of(orders, ("delete", ("1",)), ("read", ("1",))) == (404, 1, [424, 404])
    results = await orders.execute_item_batch([renaming, ("create", (item("1", a=1),)), ("read", ("2",))], "ada")
    assert [one["statusCode"] for one in results] == [200, 201, 200]
    assert {name: one.get("a") for name, one in (await contents(orders)).items()} == {"1": 1, "2": None}


async def test_failed_batch_leaves_nothing_behind(azure: Emulator, client: CosmosClient) -> None:
    """When one operation fails, the others are failed dependencies, and items, etags, times and the log are as before."""
    await azure.create_cosmos_container("shop", "wide", partition_key="/customer_id", partitions=3)
    orders = client.get_database_client("shop").get_container_client("wide")
    await orders.create_item(item("1", total=1))
    await orders.create_item(item("2"))
    before = await contents(orders)
    lsn = (await orders.read_item("1", "ada")).get_response_headers()["lsn"]
    failure = await failure_of(
        orders,
        ("create", (item("3"),)),
        ("replace", ("1", item("1", total=2))),
        ("delete", ("2",)),
        ("create", (item("1"),)),
        ("read", ("1",)),
    )
    assert failure == (409, 3, [424, 424, 424, 409, 424])
    assert await contents(orders) == before
    assert (await orders.read_item("1", "ada")).get_response_headers()["lsn"] == lsn


async def test_batch_is_one_entry_of_the_log(orders: ContainerProxy) -> None:
    """A batch that writes moves the log sequence number by one, however many writes it has; one that reads by none."""
    await orders.create_item(item("0"))
    first = int((await orders.read_item("0", "ada")).get_response_headers()["lsn"])
    writes = await orders.execute_item_batch([("create", (item(str(number)),)) for number in range(1, 6)], "ada")
    reads = await orders.execute_item_batch([("read", ("1",)), ("read", ("2",))], "ada")
    assert int(writes.get_response_headers()["lsn"]) == int(reads.get_response_headers()["lsn"]) == first + 1
    changes = [one async for one in orders.query_items_change_feed(start_time="Beginning")]
    assert [one["_lsn"] for one in changes] == [first, *[first + 1] * 5]


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (("create", (item("1"),)), 409),
        (("create", ({"id": "9", "customer_id": "bob"},)), 400),
        (("create", ({"id": "9"},)), 400),
        (("create", ({"id": "a/b", "customer_id": "ada"},)), 400),
        (("create", (item("9", ttl=0),)), 400),
        (("upsert", ({"customer_id": "ada"},)), 400),
        (("upsert", (item("1"),), {"if_match_etag": "old"}), 412),
        (("replace", ("9", item("9"))), 404),
        (("replace", ("1", item("2"))), 409),
        (("replace", ("1", item("1")), {"if_match_etag": "old"}), 412),
        (("replace", ("1", item("1")), {"if_none_match_etag": "*"}), 412),
        (("patch", ("9", [{"op": "set", "path": "/a", "value": 1}])), 404),
        (("patch", ("1", [{"op": "set", "path": "/id", "value": 1}])), 400),
        (
            ("patch", ("1", [{"op": "set", "path": "/a", "value": 1}]), {"filter_predicate": "from c where c.a = 2"}),
            412,
        ),
        (("patch", ("1", [{"op": "set", "path": "/a", "value": 1}]), {"if_match_etag": "old"}), 412),
        (("delete", ("9",)), 404),
        (("delete", ("1",), {"if_match_etag": "old"}), 412),
        (("read", ("9",)), 404),
    ],
)
async def test_operation_fails_as_it_does_alone(orders: ContainerProxy, operation: Any, status: int) -> None:
    """What is refused outside a batch is refused within one, with the same status."""
    await orders.create_item(item("1", a=1))
    await orders.create_item(item("2"))
    before = await contents(orders)
    assert await failure_of(orders, ("upsert", (item("7"),)), copy.deepcopy(operation)) == (status, 1, [424, status])
    assert await contents(orders) == before


async def test_conditions_that_hold_let_operations_pass(orders: ContainerProxy) -> None:
    """Etags that are current, and conditions that the item meets, change nothing about an operation."""
    stored = await orders.create_item(item("1", a=1))
    etag = stored["_etag"]
    results = await orders.execute_item_batch(
        [
            ("read", ("1",), {"if_none_match_etag": etag}),
            ("replace", ("1", item("1", a=2)), {"if_match_etag": etag}),
            ("replace", ("1", item("1", a=3)), {"if_none_match_etag": etag}),
            ("patch", ("1", [{"op": "incr", "path": "/a", "value": 1}]), {"filter_predicate": "from c where c.a = 3"}),
        ],
        "ada",
    )
    assert [one["statusCode"] for one in results] == [304, 200, 200, 200]
    assert (await orders.read_item("1", "ada"))["a"] == 4
    # its own write before it has made the etag an old one
    current = {"if_match_etag": (await orders.read_item("1", "ada"))["_etag"]}
    failure = await failure_of(orders, ("upsert", (item("1"),)), ("delete", ("1",), current))
    assert failure == (412, 1, [424, 412])


# aiohttp advises against sending this much at once; the SDK does
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_limits_of_a_batch(orders: ContainerProxy) -> None:
    """A batch has 1 to 100 operations and at most 2 MB."""
    most = [("create", (item(str(number)),)) for number in range(MAX_OPERATIONS)]
    assert len(await orders.execute_item_batch(most, "ada")) == MAX_OPERATIONS
    with pytest.raises(CosmosHttpResponseError, match=r"Batch request has no operations\.") as caught:
        await orders.execute_item_batch([], "ada")
    assert caught.value.status_code == 400
    more = [("read", (str(number),)) for number in range(MAX_OPERATIONS)] + [("read", ("0",))]
    with pytest.raises(CosmosHttpResponseError, match="more operations than what is supported") as caught:
        await orders.execute_item_batch(more, "ada")
    assert caught.value.status_code == 400
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.execute_item_batch([("create", (item(name, text="x" * 1_100_000),)) for name in "ab"], "ada")
    assert caught.value.status_code == 413
    assert len(await contents(orders)) == MAX_OPERATIONS


async def test_batch_needs_a_whole_partition_key(azure: Emulator, client: CosmosClient, signed: Signed) -> None:
    """A batch without a partition key, or with the beginning of a hierarchical one, gets 400."""
    await azure.create_cosmos_container("shop", "deep", partition_key=["/tenant", "/user"])
    deep = client.get_database_client("shop").get_container_client("deep")
    operation = ("create", ({"id": "1", "tenant": "a", "user": 1},))
    assert len(await deep.execute_item_batch([operation], ["a", 1])) == 1
    with pytest.raises(CosmosHttpResponseError, match="doesn't correspond to definition"):
        await deep.execute_item_batch([operation], ["a"])
    headers = {name: value for name, value in BATCH.items() if "partitionkey" not in name}
    body = b'[{"operationType": "Read", "id": "1"}]'
    status, answer, _ = await signed("POST", ITEMS, body, **headers)
    assert status == 400
    assert "PartitionKey value must be supplied" in answer["message"]


async def test_minimal_answer_to_a_batch(signed: Signed) -> None:
    """A client that wants no items back from its writes gets statuses and etags alone, and what it reads."""
    create = {"operationType": "Create", "resourceBody": item("1")}
    body = json.dumps([create, {"operationType": "Read", "id": "1"}]).encode()
    status, (created, read), headers = await signed("POST", ITEMS, body, prefer="return=minimal", **BATCH)
    assert (status, sorted(created)) == (200, ["eTag", "requestCharge", "statusCode"])
    assert read["resourceBody"]["_etag"] == created["eTag"]
    assert headers["x-ms-request-charge"] == "6.52"


async def test_answer_to_a_failed_batch(signed: Signed) -> None:
    """The answer is 207, and tells the sub-status of what failed."""
    body = json.dumps([{"operationType": "Create", "resourceBody": {"id": "1", "customer_id": "bob"}}]).encode()
    status, results, _ = await signed("POST", ITEMS, body, **BATCH)
    assert (status, results) == (207, [{"statusCode": 400, "requestCharge": 5.52, "subStatusCode": 1001}])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "must be an array"),
        (["Create"], "Operation 0 of the batch must be an object"),
        ([{"id": "1"}], "needs an operationType: one of Create, Upsert"),
        ([{"operationType": ["Read"]}], "needs an operationType"),
        ([{"operationType": "Read"}], "Read, needs the item's id"),
        ([{"operationType": "Delete", "id": 7}], "Delete, needs the item's id"),
        ([{"operationType": "Create", "resourceBody": []}], "Create, needs an object as resourceBody"),
        ([{"operationType": "Patch", "id": "1"}], "Patch, needs an object as resourceBody"),
        ([{"operationType": "Read", "id": "1", "ifMatch": 1}], "must have text as ifMatch"),
    ],
)
async def test_malformed_batches_are_refused(signed: Signed, body: object, reason: str) -> None:
    """What is no batch gets 400 as a whole, with the operation that is wrong and what it lacks."""
    status, answer, _ = await signed("POST", ITEMS, json.dumps(body).encode(), **BATCH)
    assert (status, answer["code"]) == (400, "BadRequest")
    assert reason in answer["message"]


async def test_bulk_requests_say_so(signed: Signed) -> None:
    """A batch that is not atomic, which no SDK for Python sends, is refused by name."""
    status, answer, _ = await signed("POST", ITEMS, b"[]", **BATCH | {"x_ms_cosmos_batch_atomic": "False"})
    assert status == 400
    assert "A batch that is not atomic is not supported by this emulator yet" in answer["message"]


names = st.sampled_from("abcd")
kinds = st.sampled_from(["Create", "Upsert", "Replace", "Patch", "Delete", "Read"])
operations = st.tuples(kinds, names, names, st.sampled_from([None, None, "current", "old"]))


class BatchMachine(RuleBasedStateMachine):
    """Batches on one partition key, beside a dictionary that is copied before each and put back when it fails."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, int] = {}
        self.values = iter(range(1_000_000))

    @initialize()
    def make_container(self) -> None:
        """Start with an empty container."""
        properties = {"id": "orders", "partitionKey": {"paths": ["/customer_id"]}}
        self.container: Container = Account().create_database({"id": "shop"}).create_container(properties, 2)
        self.partition = self.container.items.partition_of(("ada",))

    @rule(batch=st.lists(operations, min_size=1, max_size=6))
    def run(self, batch: list[tuple[str, str, str, str | None]]) -> None:
        """Run a batch, and expect of it what the model says."""
        etags = {one.id: one.etag for one in self.container.items.in_logical_partition(("ada",))}
        draft, expected, members = dict(self.model), [], []
        touched: set[str] = set()
        for kind, name, other, condition in batch:
            member: dict[str, Any] = {"operationType": kind, "id": name}
            value = next(self.values)
            if kind in {"Create", "Upsert", "Replace"}:
                member["resourceBody"] = item(other if kind == "Replace" else name, value=value)
            elif kind == "Patch":
                member["resourceBody"] = {"operations": [{"op": "set", "path": "/value", "value": value}]}
            if condition is not None:
                member["ifMatch"] = etags.get(name, '"none"') if condition == "current" else '"old"'
            members.append(member)
            is_stale = condition == "old" or (condition == "current" and (name in touched or name not in etags))
            expected.append(self.expect(draft, member, value, is_stale=is_stale and kind not in {"Create", "Read"}))
            if kind != "Read":
                touched |= {name, other if kind == "Replace" else name}
            if expected[-1] >= 400:
                expected = [424] * (len(expected) - 1) + [expected[-1]] + [424] * (len(batch) - len(expected))
                break
        has_failed = any(status >= 400 for status in expected)
        lsn = self.partition.lsn
        statuses = self.send(members + [{"operationType": "Read", "id": "a"}] * (len(batch) - len(members)))
        assert statuses == expected
        if not has_failed:
            self.model = draft
        has_written = not has_failed and any(kind != "Read" for kind, *_ in batch)
        assert self.partition.lsn == lsn + has_written

    def expect(self, draft: dict[str, int], member: dict[str, Any], value: int, *, is_stale: bool) -> int:
        """Do an operation to the model; return the status that it must have."""
        kind, name = member["operationType"], member["id"]
        exists = name in draft
        if kind == "Create":
            status = 409 if exists else 201
        elif kind == "Upsert":
            status = 201 if not exists else 412 if is_stale else 200
        elif not exists:
            status = 404
        elif is_stale:
            status = 412
        elif kind == "Replace":
            new = member["resourceBody"]["id"]
            status = 409 if new != name and new in draft else 200
            if status == 200:
                del draft[name]
                name = new
        else:
            status = 204 if kind == "Delete" else 200
        if status < 400 and kind == "Delete":
            del draft[name]
        elif status < 400 and kind != "Read":
            draft[name] = value
        return status

    def send(self, members: list[dict[str, Any]]) -> list[int]:
        """Send a batch as the service would get it; return the statuses."""
        headers = {name.replace("_", "-"): value for name, value in BATCH.items()}
        scope = {"method": "POST", "path": ITEMS, "raw_path": ITEMS.encode(), "query_string": b"", "headers": []}
        request = HttpRequest(scope)
        request.headers = headers
        request.body = json.dumps(members).encode()
        return [result["statusCode"] for result in json.loads(bytes(run_batch(request, self.container).body))]

    @invariant()
    def stores_what_the_model_has(self) -> None:
        """Every index of the store holds the model's items and no others."""
        found = {one.id: one.document["value"] for one in self.container.items.in_logical_partition(("ada",))}
        assert found == self.model
        scanned = list(self.partition.items.values())
        assert {one.id: one.document["value"] for one in scanned} == self.model
        assert [one.sequence for one in scanned] == sorted(one.sequence for one in scanned)
        changes = self.partition.changed_since(0)
        assert {one.id for one in changes} == set(self.model)
        assert [one.lsn for one in changes] == sorted(one.lsn for one in changes)
        assert all(one.lsn <= self.partition.lsn for one in changes)


TestBatchesAgainstAModel = BatchMachine.TestCase
TestBatchesAgainstAModel.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
