"""An order's way through the service."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx2

    from fastapi_azure_pool.emulator import Emulator

ABSENT = "/orders/ada-0123456789abcdef01234567"


async def test_placed_order_has_an_id_a_status_and_a_total(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """POST /orders answers 201 with what was ordered, an id that begins with the customer's, and the sum of the lines."""
    answer = await shop.post("/orders", json=new_order)
    order = answer.json()
    assert answer.status_code == 201
    assert {name: order[name] for name in new_order} == new_order
    assert (order["status"], order["total"]) == ("placed", 5499)
    assert order["id"].startswith("ada-")
    assert answer.headers["Location"] == f"/orders/{order['id']}"
    assert answer.headers["ETag"].startswith('"')


async def test_whole_numbers_may_be_written_with_a_point(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """2.0 is a whole number in JSON, as the document has it, and is stored and given as 2."""
    new_order["lines"] = [{"sku": "pot", "quantity": 2.0, "unit_price": 1e3}]
    answer = await shop.post("/orders", json=new_order)
    assert answer.status_code == 201
    assert '"quantity":2,"unit_price":1000}' in answer.text


async def test_placed_order_can_be_read(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """GET of the Location gives the same order with the same ETag."""
    placed = await shop.post("/orders", json=new_order)
    read = await shop.get(placed.headers["Location"])
    assert (read.status_code, read.json(), read.headers["ETag"]) == (200, placed.json(), placed.headers["ETag"])


async def test_order_is_placed_once_when_the_answer_to_its_storing_is_lost(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """The SDK stores an order again when it got no answer, and finds it stored: the client gets it, and there is one of it."""
    fault = azure.faults.drop("after", service="cosmos", method="POST", path="/dbs/shop/colls/orders/docs", times=1)
    placed = await remote_shop.post("/orders", json=new_order)
    assert (placed.status_code, fault.strikes) == (201, 1)
    read = await remote_shop.get(placed.headers["Location"])
    assert (read.json(), read.headers["ETag"]) == (placed.json(), placed.headers["ETag"])
    assert (await remote_shop.get("/orders", params={"customer": "ada"})).json()["items"] == [placed.json()]
    assert (len(azure.received_events("order-events")), len(azure.queue_messages("confirmations"))) == (1, 1)


async def test_reading_an_order_is_one_point_read(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """GET /orders/{id} asks Cosmos DB for that item once, and for nothing else."""
    placed = await remote_shop.post("/orders", json=new_order)
    azure.cosmos_requests.clear()
    assert (await remote_shop.get(placed.headers["Location"])).status_code == 200
    assert azure.cosmos_requests.count("GET", f"/dbs/shop/colls/orders/docs/{placed.json()['id']}") == 1
    assert azure.cosmos_requests.total == 1


async def test_order_that_is_not_there_is_not_found(shop: httpx2.AsyncClient) -> None:
    """GET of an id that no order has answers 404 with a problem document that names it."""
    answer = await shop.get(ABSENT)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "title": "Not Found",
        "status": 404,
        "detail": "There is no order ada-0123456789abcdef01234567.",
    }


@pytest.mark.parametrize(
    "order_id",
    [
        "ada",
        "ada-0123456789ABCDEF01234567",
        "ada-0123456789abcdef01234567%00",
        "ada%3F-0123456789abcdef01234567",
        "ada%23-0123456789abcdef01234567",
        "%C3%A4da-0123456789abcdef01234567",
        "%FF-0123456789abcdef01234567",
        "-0123456789abcdef01234567",
        "ada-0123456789abcdef01234567%0A",
        f"{65 * 'a'}-0123456789abcdef01234567",
        10_000 * "a",
        "ada%2F-0123456789abcdef01234567",
        "ada/lines",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_id_that_no_order_can_have_is_not_found(shop: httpx2.AsyncClient, method: str, order_id: str) -> None:
    """An id of another form is that of no order, never reaches Cosmos DB, and gets a problem document."""
    answer = await shop.request(method, f"/orders/{order_id}", json={"status": "paid"}, headers={"If-Match": "*"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["status"] == 404


async def test_list_gives_a_customers_orders_newest_first(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """GET /orders?customer= gives the orders of this customer alone, the newest first."""
    placed = [(await shop.post("/orders", json=new_order)).json() for _ in range(3)]
    await shop.post("/orders", json=new_order | {"customer_id": "bob"})
    answer = await shop.get("/orders", params={"customer": "ada"})
    assert (answer.status_code, answer.json()) == (200, {"items": placed[::-1], "continuation": None})


async def test_list_of_a_customer_without_orders_is_empty(shop: httpx2.AsyncClient) -> None:
    """A customer whom nobody knows has no orders."""
    answer = await shop.get("/orders", params={"customer": "nobody"})
    assert (answer.status_code, answer.json()) == (200, {"items": [], "continuation": None})


async def test_pages_give_every_order_once(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """With a limit of 2, five orders come in pages of 2, 2 and 1, and only the last has no continuation."""
    placed = [(await shop.post("/orders", json=new_order)).json() for _ in range(5)]
    pages = await read_pages(shop, "ada", limit=2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [order for page in pages for order in page] == placed[::-1]


async def test_pages_of_many_customers_at_once_are_not_mixed_up(
    remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """Customers who page over one shared connection at the same time each get their own orders, every one once."""
    customers = [f"customer-{number}" for number in range(10)]

    async def place_and_list(customer: str) -> bool:
        placed = {
            (await remote_shop.post("/orders", json=new_order | {"customer_id": customer})).json()["id"]
            for _ in range(5)
        }
        listed: list[str] = []
        query: dict[str, Any] = {"customer": customer, "limit": 1}
        while query.get("continuation", "") is not None:
            page = (await remote_shop.get("/orders", params=query)).json()
            listed += [order["id"] for order in page["items"]]
            query["continuation"] = page["continuation"]
        return sorted(listed, reverse=True) == listed and set(listed) == placed

    assert all(await asyncio.gather(*map(place_and_list, customers)))


@pytest.mark.parametrize(
    "continuation",
    [
        "!",
        "abc",
        "n\u00f6",
        base64.urlsafe_b64encode(b"not Cosmos DB's").decode(),
        base64.urlsafe_b64encode(b"a\r\nx-ms-header: b").decode(),
        base64.urlsafe_b64encode("n\u00f6".encode()).decode(),
    ],
)
async def test_continuation_that_was_never_given_is_refused(shop: httpx2.AsyncClient, continuation: str) -> None:
    """A made-up continuation answers 400 with a problem document."""
    answer = await shop.get("/orders", params={"customer": "ada", "continuation": continuation})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "The continuation is none that this list has given.",
    )


async def test_continuation_of_another_customer_is_refused(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """A continuation leads on in the list that gave it, and in no other customer's."""
    for _ in range(2):
        await shop.post("/orders", json=new_order)
    page = (await shop.get("/orders", params={"customer": "ada", "limit": 1})).json()
    answer = await shop.get("/orders", params={"customer": "bob", "continuation": page["continuation"]})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"customer": ""},
        {"customer": "a/b"},
        {"customer": 65 * "a"},
        {"customer": "ada", "limit": 0},
        {"customer": "ada", "limit": 101},
        {"customer": "ada", "limit": "many"},
        {"customer": "ada", "continuation": ""},
        {"customer": "ada", "continuation": 4097 * "a"},
    ],
)
async def test_list_refuses_what_is_out_of_bounds(shop: httpx2.AsyncClient, query: dict[str, str | int]) -> None:
    """A query parameter that is missing or out of bounds answers 422 and tells which."""
    answer = await shop.get("/orders", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", ([*query] or ["customer"])[-1]]


async def test_order_is_changed_by_who_has_read_it(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """PATCH with the order's ETag changes it, and gives the new order with the new ETag."""
    placed = await shop.post("/orders", json=new_order)
    url, etag = placed.headers["Location"], placed.headers["ETag"]
    changed = await shop.patch(url, json={"status": "paid"}, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()) == (200, placed.json() | {"status": "paid"})
    assert changed.headers["ETag"] != etag
    read = await shop.get(url)
    assert (read.json(), read.headers["ETag"]) == (changed.json(), changed.headers["ETag"])


@pytest.mark.parametrize("form", ["{etag}", "W/{etag}", "{etag}, {etag}", '"other"', "other", "\u00f6"])
async def test_changed_order_is_not_overwritten(shop: httpx2.AsyncClient, new_order: dict[str, Any], form: str) -> None:
    """PATCH with any other If-Match than the order's present ETag answers 412 and changes nothing."""
    placed = await shop.post("/orders", json=new_order)
    url, etag = placed.headers["Location"], placed.headers["ETag"]
    paid = await shop.patch(url, json={"status": "paid"}, headers={"If-Match": etag})
    if_match = form.format(etag=etag).encode("latin-1")
    answer = await shop.patch(url, json={"status": "cancelled"}, headers={b"If-Match": if_match})
    assert (answer.status_code, answer.json()["detail"]) == (412, "The order has changed. Read it again.")
    assert (await shop.get(url)).json() == paid.json()


async def test_any_version_may_be_changed_on_demand(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """``If-Match: *`` changes the order as it is (RFC 9110, section 13.1.1)."""
    url = (await shop.post("/orders", json=new_order)).headers["Location"]
    answer = await shop.patch(url, json={"status": "shipped"}, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["status"]) == (200, "shipped")


async def test_change_needs_a_precondition(shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """PATCH without If-Match, or with an empty one, answers 428 and changes nothing."""
    placed = await shop.post("/orders", json=new_order)
    for headers in ({}, {"If-Match": ""}):
        answer = await shop.patch(placed.headers["Location"], json={"status": "paid"}, headers=headers)
        assert (answer.status_code, answer.json()["title"]) == (428, "Precondition Required")
    assert (await shop.get(placed.headers["Location"])).json() == placed.json()


async def test_order_that_is_not_there_cannot_be_changed(shop: httpx2.AsyncClient) -> None:
    """PATCH of an id that no order has answers 404, whatever If-Match says."""
    for etag in ("*", '"1"'):
        answer = await shop.patch(ABSENT, json={"status": "paid"}, headers={"If-Match": etag})
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")


async def test_one_of_many_changes_at_once_wins(remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """Of twenty PATCHes with the same ETag at the same time, one is done and the others get 412."""
    placed = await remote_shop.post("/orders", json=new_order)
    url, headers = placed.headers["Location"], {"If-Match": placed.headers["ETag"]}
    answers = await asyncio.gather(
        *(remote_shop.patch(url, json={"status": "paid"}, headers=headers) for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200, *19 * [412]]


async def read_pages(shop: httpx2.AsyncClient, customer: str, *, limit: int) -> list[list[dict[str, Any]]]:
    """Follow the continuations to the end."""
    query: dict[str, Any] = {"customer": customer, "limit": limit}
    pages = []
    while query.get("continuation", "") is not None:
        page = (await shop.get("/orders", params=query)).json()
        pages.append(page["items"])
        query["continuation"] = page["continuation"]
    return pages
