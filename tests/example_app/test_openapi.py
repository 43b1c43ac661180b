"""What the service says of itself at /openapi.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from example_app.app import create_app
from example_app.models import NewOrder, Order, OrderChange

if TYPE_CHECKING:
    from pydantic import BaseModel

ROUTES = {
    ("/orders", "post"),
    ("/orders", "get"),
    ("/orders/{order_id}", "get"),
    ("/orders/{order_id}", "patch"),
    ("/orders/{order_id}/invoice", "get"),
}


@pytest.fixture
def document() -> dict[str, Any]:
    """The OpenAPI document; it needs no lifespan."""
    return create_app().openapi()


def test_every_route_is_documented(document: dict[str, Any]) -> None:
    """There are the five routes of orders and the four of health, each with a summary."""
    health = {(f"/health/{path}", "get") for path in ("live", "ready", "pools", "pools/{name}")}
    operations = {
        (path, method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == ROUTES | health
    assert all(operation["summary"] for operation in operations.values())


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/orders", "post", ["201", "400", "422", "502", "503"]),
        ("/orders", "get", ["200", "400", "422", "502", "503"]),
        ("/orders/{order_id}", "get", ["200", "404", "422", "502", "503"]),
        ("/orders/{order_id}", "patch", ["200", "400", "404", "412", "422", "428", "502", "503"]),
        ("/orders/{order_id}/invoice", "get", ["200", "404", "422", "502", "503"]),
    ],
)
def test_every_answer_is_documented_with_an_example(
    document: dict[str, Any], path: str, method: str, statuses: list[str]
) -> None:
    """Each route documents its statuses, every error as a problem document with an example, and 503 with Retry-After."""
    responses = document["paths"][path][method]["responses"]
    assert sorted(responses) == statuses
    for status, response in responses.items():
        if status >= "400":
            assert list(response["content"]) == ["application/problem+json"]
            example = response["content"]["application/problem+json"]["example"]
            assert example["detail"]
            assert example.get("status", 503) == int(status)
    assert "Retry-After" in responses["503"]["headers"]


def test_every_parameter_and_body_has_an_example(document: dict[str, Any]) -> None:
    """Each parameter of an order's route has an example and each body a schema that has one."""
    schemas = document["components"]["schemas"]
    for path, method in ROUTES:
        operation = document["paths"][path][method]
        for parameter in operation.get("parameters", []):
            assert parameter["schema"].get("examples") or parameter.get("example"), parameter["name"]
        if method in {"post", "patch"}:
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert schemas[reference.rpartition("/")[2]]["examples"]


@pytest.mark.parametrize("model", [NewOrder, Order, OrderChange])
def test_examples_are_true(document: dict[str, Any], model: type[BaseModel]) -> None:
    """What a model's example shows is what the model takes and gives."""
    examples = document["components"]["schemas"][model.__name__]["examples"]
    assert [model.model_validate(example).model_dump(mode="json") for example in examples] == examples


def test_etag_and_location_are_documented(document: dict[str, Any]) -> None:
    """The headers that a client needs for its next request are told where they come."""
    paths = document["paths"]
    assert set(paths["/orders"]["post"]["responses"]["201"]["headers"]) == {"ETag", "Location"}
    assert set(paths["/orders/{order_id}"]["get"]["responses"]["200"]["headers"]) == {"ETag"}
    assert set(paths["/orders/{order_id}"]["patch"]["responses"]["200"]["headers"]) == {"ETag"}
