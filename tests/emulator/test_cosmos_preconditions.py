"""What a write may ask of the item before it: etags, and the condition of a patch, through the official SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.core import MatchConditions
from azure.cosmos.exceptions import CosmosAccessConditionFailedError, CosmosHttpResponseError

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
ADA = {"x_ms_documentdb_partitionkey": '["ada"]'}
UPSERT = ADA | {"x_ms_documentdb_is_upsert": "True"}
BODY = b'{"id": "1", "customer_id": "ada"}'
PATCH = b'{"operations": [{"op": "set", "path": "/a", "value": 1}]}'
SET_A = [{"op": "set", "path": "/a", "value": 1}]


@pytest.fixture
async def stored(orders: ContainerProxy) -> dict[str, Any]:
    """An item."""
    return dict(
        await orders.create_item({"id": "1", "customer_id": "ada", "status": "open", "n": 5, "lines": [{"sku": "x"}]})
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("PUT", f"{ITEMS}/1", BODY, ADA, 200),
        ("POST", ITEMS, BODY, UPSERT, 200),
        ("PATCH", f"{ITEMS}/1", PATCH, ADA, 200),
        ("DELETE", f"{ITEMS}/1", None, ADA, 204),
    ],
)
async def test_every_write_obeys_etags(
    signed: Signed,
    stored: dict[str, Any],
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
) -> None:
    """Each way to write passes with the item's etag and fails with any other, which changes nothing."""
    etag = stored["_etag"]
    for conditions in (
        {"if_match": '"old"'},
        {"if_match": etag + "x"},
        {"if_match": ""},
        {"if_none_match": etag},
        {"if_none_match": "*"},
        {"if_match": etag, "if_none_match": etag},
    ):
        found, answer, answered = await signed(method, path, body, **headers, **conditions)
        assert (conditions, found, answered["x-ms-substatus"]) == (conditions, 412, "0")
        assert answer["code"] == "PreconditionFailed"
    assert (await signed("GET", f"{ITEMS}/1", **ADA))[1] == stored
    assert (await signed(method, path, body, **headers, if_match=etag))[0] == status


async def test_forms_of_an_etag(signed: Signed, stored: dict[str, Any]) -> None:
    """An etag may stand without its quotes, a star for any; an etag that must not be the item's passes when it is not."""
    assert (await signed("PUT", f"{ITEMS}/1", BODY, if_match=stored["_etag"].strip('"')))[0] == 200
    assert (await signed("PUT", f"{ITEMS}/1", BODY, if_match="*"))[0] == 200
    assert (await signed("PUT", f"{ITEMS}/1", BODY, if_none_match=stored["_etag"]))[0] == 200


async def test_upsert_of_a_new_item_needs_no_etag(orders: ContainerProxy) -> None:
    """An upsert that says which version it replaces creates an item that is not there; once it is there, it fails."""
    condition: dict[str, Any] = {"etag": '"never"', "match_condition": MatchConditions.IfNotModified}
    await orders.upsert_item({"id": "1", "customer_id": "ada", "a": 1}, **condition)
    with pytest.raises(CosmosAccessConditionFailedError):
        await orders.upsert_item({"id": "1", "customer_id": "ada", "a": 2}, **condition)
    assert (await orders.read_item("1", "ada"))["a"] == 1


async def test_upsert_only_if_missing(orders: ContainerProxy) -> None:
    """An upsert that asks for the item to be missing creates it once."""
    await orders.upsert_item({"id": "1", "customer_id": "ada", "a": 1}, match_condition=MatchConditions.IfMissing)
    with pytest.raises(CosmosAccessConditionFailedError):
        await orders.upsert_item({"id": "1", "customer_id": "ada", "a": 2}, match_condition=MatchConditions.IfMissing)
    assert (await orders.read_item("1", "ada"))["a"] == 1


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "condition",
    [
        "from c where c.status = 'open'",
        "FROM c WHERE c.n > 4 AND c.status != 'closed'",
        " from root where IS_DEFINED(root.lines)",
        "from c where NOT IS_DEFINED(c.a)",
        "from c",
    ],
)
async def test_patch_is_done_when_its_condition_holds(orders: ContainerProxy, condition: str) -> None:
    """A patch whose condition the item meets is done."""
    patched = await orders.patch_item("1", "ada", SET_A, filter_predicate=condition)
    assert patched["a"] == 1


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "condition",
    [
        "from c where c.status = 'closed'",
        "from c where c.none = 1",
        "from c where c.id = '2'",
        "from c where c.status = 5",
    ],
)
async def test_patch_is_refused_when_its_condition_does_not_hold(orders: ContainerProxy, condition: str) -> None:
    """A patch whose condition the item does not meet, or leaves undefined, gets 412 and changes nothing."""
    before = await orders.read_item("1", "ada")
    with pytest.raises(CosmosAccessConditionFailedError, match="pre-condition is not met"):
        await orders.patch_item("1", "ada", SET_A, filter_predicate=condition)
    assert dict(await orders.read_item("1", "ada")) == dict(before)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "condition",
    ["c.status = 'open'", "where c.status = 'open'", "from c where", "from c where c.status = ", "from c; drop"],
)
async def test_malformed_condition_is_refused(orders: ContainerProxy, condition: str) -> None:
    """A condition that is no FROM with a WHERE gets 400."""
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.patch_item("1", "ada", SET_A, filter_predicate=condition)
    assert caught.value.status_code == 400


@pytest.mark.usefixtures("stored")
async def test_condition_comes_after_the_etag_and_before_the_operations(orders: ContainerProxy, signed: Signed) -> None:
    """An item that is not there is not found whatever the condition; one that fails it keeps the operations unread."""
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.patch_item("2", "ada", SET_A, filter_predicate="from c where c.status = 'open'")
    assert caught.value.status_code == 404
    impossible = [{"op": "remove", "path": "/none"}]
    with pytest.raises(CosmosAccessConditionFailedError):
        await orders.patch_item("1", "ada", impossible, filter_predicate="from c where c.status = 'closed'")
    status, answer, _ = await signed("PATCH", f"{ITEMS}/1", b'{"operations": [], "condition": 7}', **ADA)
    assert status == 400
    assert "The patch's condition must be text such as" in answer["message"]
