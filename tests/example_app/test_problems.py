"""What a client sees when its request is wrong, or when Azure cannot answer it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool import ManagedCosmos

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from fastapi import FastAPI

    from fastapi_azure_pool.emulator import Emulator, Fault

PROBLEM = "application/problem+json"
UNAVAILABLE = {
    "title": "Service Unavailable",
    "status": 503,
    "detail": "Azure cannot answer at the moment.",
}
REFUSED = {
    "title": "Bad Gateway",
    "status": 502,
    "detail": "Azure did not accept the service's request.",
}
LINES = '[{"sku": "pot", "quantity": 1, "unit_price": 1}]'


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("", ["body"]),
        ("{", ["body"]),
        ("[]", ["body"]),
        ("null", ["body"]),
        ("{}", ["body", "customer_id"]),
        (f'{{"customer_id": "a/b", "lines": {LINES}}}', ["body", "customer_id"]),
        (f'{{"customer_id": "ada\\n", "lines": {LINES}}}', ["body", "customer_id"]),
        (f'{{"customer_id": "\\ud800", "lines": {LINES}}}', ["body", "customer_id"]),
        (f'{{"customer_id": NaN, "lines": {LINES}}}', ["body", "customer_id"]),
        (f'{{"customer_id": "ada", "currency": "euro", "lines": {LINES}}}', ["body", "currency"]),
        ('{"customer_id": "ada", "lines": []}', ["body", "lines"]),
        (f'{{"customer_id": "ada", "lines": [{",".join(101 * [LINES[1:-1]])}]}}', ["body", "lines"]),
        (f'{{"customer_id": "ada", "id": "mine", "lines": {LINES}}}', ["body", "id"]),
        (f'{{"customer_id": "ada", "\\ud800": 1, "lines": {LINES}}}', ["body"]),
        (f'{{"customer_id": "ada", "lines": {LINES.replace("1,", "true,")}}}', ["body", "lines", 0, "quantity"]),
        (f'{{"customer_id": "ada", "lines": {LINES.replace("1,", "0,")}}}', ["body", "lines", 0, "quantity"]),
        (f'{{"customer_id": "ada", "lines": {LINES.replace("1,", "NaN,")}}}', ["body", "lines", 0, "quantity"]),
        (f'{{"customer_id": "ada", "lines": {LINES.replace("1}", "-1}")}}}', ["body", "lines", 0, "unit_price"]),
        (f'{{"customer_id": "ada", "lines": {LINES.replace("1}", "12.5}")}}}', ["body", "lines", 0, "unit_price"]),
        (f'{{"customer_id": "ada", "lines": {LINES.replace("1}", "1e400}")}}}', ["body", "lines", 0, "unit_price"]),
        (f'{{"customer_id": "ada", "lines": {LINES.replace("pot", 65 * "x")}}}', ["body", "lines", 0, "sku"]),
    ],
)
async def test_wrong_order_is_refused(shop: httpx2.AsyncClient, body: str, where: list[str | int]) -> None:
    """A body that is no order answers 422 with a problem document that tells where it is wrong."""
    answer = await shop.post("/orders", content=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM)
    assert (problem["title"], problem["detail"]) == (HTTPStatus(422).phrase, "The request is not valid.")
    assert problem["errors"][0]["loc"][: len(where)] == where


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 100_000, b"9" * 10_000])
async def test_body_that_cannot_be_read_is_refused(shop: httpx2.AsyncClient, body: bytes) -> None:
    """A body that Python's JSON reader gives up on is the client's error, and gets a problem document."""
    answer = await shop.post("/orders", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert (answer.headers["Content-Type"], answer.json()["status"]) == (PROBLEM, answer.status_code)


@pytest.mark.parametrize("body", ["{}", '{"status": null}', '{"status": "lost"}', '{"status": "paid", "total": 0}'])
async def test_wrong_change_is_refused(shop: httpx2.AsyncClient, body: str) -> None:
    """A body that is no change of an order answers 422."""
    answer = await shop.patch(
        "/orders/ada-0123456789abcdef01234567",
        content=body,
        headers={"Content-Type": "application/json", "If-Match": "*"},
    )
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM)


async def test_unknown_route_and_method_are_problems_too(shop: httpx2.AsyncClient) -> None:
    """404 of a path and 405 of a method come as problem documents, 405 with all methods that the path has in Allow."""
    missing = await shop.get("/invoices")
    assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")
    wrong = await shop.delete("/orders")
    assert (wrong.status_code, wrong.headers["Content-Type"]) == (405, PROBLEM)
    assert wrong.headers["Allow"] == "GET, POST"
    assert (await shop.delete("/health/live")).headers["Allow"] == "GET"


@pytest.mark.parametrize(
    ("inject", "retry_after", "document"),
    [
        (lambda azure: azure.faults.throttle(retry_after=0.01, service="cosmos"), "1", UNAVAILABLE),
        (lambda azure: azure.faults.throttle(retry_after=1.001, service="cosmos"), "2", UNAVAILABLE),
        (lambda azure: azure.faults.fail(503, service="cosmos"), "1", UNAVAILABLE),
        (lambda azure: azure.faults.fail(500, service="cosmos"), None, REFUSED),
        (lambda azure: azure.faults.fail(403, service="cosmos"), None, REFUSED),
        (lambda azure: azure.faults.reject_authorization(service="cosmos"), None, REFUSED),
    ],
    ids=["throttled", "throttled for longer", "outage", "error", "forbidden", "key rotated"],
)
async def test_azures_refusal_is_told_without_its_words(
    azure: Emulator,
    remote_shop: httpx2.AsyncClient,
    new_order: dict[str, Any],
    inject: Callable[[Emulator], Fault],
    retry_after: str | None,
    document: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What passes by itself answers 503 with Retry-After, anything else 502; the log tells the type of error and its status."""
    with inject(azure):
        answer = await remote_shop.post("/orders", json=new_order)
    assert (answer.status_code, answer.headers["Content-Type"]) == (document["status"], PROBLEM)
    assert (answer.json(), answer.headers.get("Retry-After")) == (document, retry_after)
    assert [record.name for record in caplog.records if record.name.startswith("example_app")] == [
        "example_app.problems"
    ]
    assert "POST /orders: CosmosHttpResponseError" in caplog.text
    assert azure.cosmos_key not in caplog.text


async def test_throttling_that_ends_is_not_seen(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """Three answers 429 are tried again by the SDK; the client of the service gets its order."""
    fault = azure.faults.throttle(retry_after=0.01, service="cosmos", times=3)
    answer = await remote_shop.post("/orders", json=new_order)
    assert (answer.status_code, fault.strikes) == (201, 3)


async def test_dropped_connection_is_told_and_then_the_pool_says_so(
    azure: Emulator, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]
) -> None:
    """While connections are cut, the request under way gets 503 with Retry-After, and the next ones the pool's own 503 at once."""
    with azure.faults.drop(service="cosmos"):
        first = await remote_shop.post("/orders", json=new_order)
        assert (first.status_code, first.headers["Retry-After"], first.json()) == (503, "1", UNAVAILABLE)
        second = await remote_shop.post("/orders", json=new_order)
        assert (second.status_code, second.headers["Content-Type"]) == (503, PROBLEM)
        assert second.json()["type"] == "urn:fastapi-azure-pool:connection-failed"
        assert int(second.headers["Retry-After"]) >= 1
        ready = await remote_shop.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "fail"})


async def test_full_pool_is_told(app: FastAPI, remote_shop: httpx2.AsyncClient, new_order: dict[str, Any]) -> None:
    """When every place is taken for as long as a request waits, it gets 503 with Retry-After and a problem document."""
    orders = app.state.azure_pools.client("orders", ManagedCosmos)
    async with AsyncExitStack() as others:
        for _ in range(1000):
            await others.enter_async_context(orders.get())
        orders.pool_get_timeout = 0
        answer = await remote_shop.post("/orders", json=new_order)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json() == {
            "type": "urn:fastapi-azure-pool:connections-exhausted",
            "title": "Every connection is in use",
            "status": 503,
            "detail": "pool 'orders' has no free connection at the moment",
            "pool": "orders",
        }
        ready = await remote_shop.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "warn"})
    assert (await remote_shop.post("/orders", json=new_order)).status_code == 201


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_refused_list_is_not_the_clients_fault(
    azure: Emulator, remote_shop: httpx2.AsyncClient, status: int
) -> None:
    """When Cosmos DB refuses the query of a first page, for whatever reason, the answer is 502, not 400."""
    with azure.faults.fail(status, service="cosmos"):
        answer = await remote_shop.get("/orders", params={"customer": "ada"})
    assert (answer.status_code, answer.json()) == (502, REFUSED)
