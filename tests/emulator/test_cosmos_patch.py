"""Partial updates, operation by operation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
from fastapi_azure_pool.emulator.cosmos.partitioning import PartitionKeyDefinition
from fastapi_azure_pool.emulator.cosmos.patch import MAX_OPERATIONS, apply_patch

# a busy machine is no failure
no_deadline = settings(deadline=None)

KEY = PartitionKeyDefinition.parse({"paths": ["/customer/id"]})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
paths = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "9", "id", "customer", "", "~1", "_etag"]), max_size=3).map(
    lambda names: "/" + "/".join(names)
)


def patch(document: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    """Return the document with these operations applied."""
    return apply_patch(document, list(operations), KEY)


def test_sum_beyond_64_bits_is_a_float() -> None:
    """An increment that leaves the integers of 64 bits goes on as a floating-point number, as Azure stores it."""
    total = patch({"a": 2**63 - 1}, {"op": "incr", "path": "/a", "value": 1})["a"]
    assert (type(total), total) == (float, 2.0**63)


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({}, {"op": "add", "path": "/a", "value": 1}, {"a": 1}),
        ({"a": 1}, {"op": "add", "path": "/a", "value": 2}, {"a": 2}),
        ({"a": {}}, {"op": "add", "path": "/a/b", "value": [1]}, {"a": {"b": [1]}}),
        ({"a": [1, 3]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"a": [1]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({}, {"op": "set", "path": "/a", "value": None}, {"a": None}),
        ({"a": [1, 3]}, {"op": "set", "path": "/a/1", "value": 2}, {"a": [1, 2]}),
        ({"a": [1]}, {"op": "set", "path": "/a/1", "value": 2}, {"a": [1, 2]}),
        ({"a": [1]}, {"op": "set", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": [{"b": 1}]}, {"op": "set", "path": "/a/0/b", "value": 2}, {"a": [{"b": 2}]}),
        ({"a": 1}, {"op": "replace", "path": "/a", "value": 2}, {"a": 2}),
        ({"a": [1, 3]}, {"op": "replace", "path": "/a/1", "value": 2}, {"a": [1, 2]}),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"a": [1, 2, 3]}, {"op": "remove", "path": "/a/1"}, {"a": [1, 3]}),
        ({"a": 1}, {"op": "incr", "path": "/a", "value": 2}, {"a": 3}),
        ({"a": 1}, {"op": "incr", "path": "/a", "value": -1.5}, {"a": -0.5}),
        ({}, {"op": "incr", "path": "/a", "value": 2}, {"a": 2}),
        ({"a": [1]}, {"op": "incr", "path": "/a/0", "value": 2}, {"a": [3]}),
        ({"a": 2**63 - 2}, {"op": "incr", "path": "/a", "value": 1}, {"a": 2**63 - 1}),
        ({"a": 1}, {"op": "move", "from": "/a", "path": "/b"}, {"b": 1}),
        ({"a": 1, "b": 2}, {"op": "move", "from": "/a", "path": "/b"}, {"b": 1}),
        ({"a": {"b": 1}}, {"op": "move", "from": "/a/b", "path": "/a"}, {"a": 1}),
        ({"a": [1, 2, 3]}, {"op": "move", "from": "/a/0", "path": "/a/2"}, {"a": [2, 3, 1]}),
        ({"a": 1}, {"op": "move", "from": "/a", "path": "/a"}, {"a": 1}),
        ({"a/b": 1, "m~n": 1}, {"op": "set", "path": "/a~1b", "value": 2}, {"a/b": 2, "m~n": 1}),
        ({"~1": 1}, {"op": "set", "path": "/~01", "value": 2}, {"~1": 2}),
        ({}, {"op": "set", "path": "/customers", "value": 1}, {"customers": 1}),
    ],
)
def test_operations_do_what_azure_does(document: dict[str, Any], operation: dict[str, Any], expected: object) -> None:
    """Each operation changes the document as Azure's table of operations says, and not the one it was given."""
    before = copy.deepcopy(document)
    assert patch(document, operation) == expected
    assert document == before


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ({"op": "add", "path": "/a/3", "value": 1}, "not an index"),
        ({"op": "add", "path": "/a/x", "value": 1}, "not an index"),
        ({"op": "add", "path": "/a/٣", "value": 1}, "not an index"),
        ({"op": "add", "path": "/a/-1", "value": 1}, "not an index"),
        ({"op": "add", "path": "/none/b", "value": 1}, "'none' does not exist"),
        ({"op": "add", "path": "/n/b", "value": 1}, "nothing below 'n'"),
        ({"op": "add", "path": "/a"}, "'value' is missing"),
        ({"op": "set", "path": "/a/3", "value": 1}, "not an index"),
        ({"op": "replace", "path": "/none", "value": 1}, "'none' does not exist"),
        ({"op": "replace", "path": "/a/2", "value": 1}, "not an index"),
        ({"op": "replace", "path": "/a/-", "value": 1}, "not an index"),
        ({"op": "remove", "path": "/none"}, "'none' does not exist"),
        ({"op": "remove", "path": "/a/2"}, "not an index"),
        ({"op": "incr", "path": "/t", "value": 1}, "holds none"),
        ({"op": "incr", "path": "/yes", "value": 1}, "holds none"),
        ({"op": "incr", "path": "/n", "value": "1"}, "must be a number"),
        ({"op": "incr", "path": "/n", "value": True}, "must be a number"),
        ({"op": "incr", "path": "/a/7", "value": 1}, "not an index"),
        ({"op": "move", "from": "/none", "path": "/b"}, "'none' does not exist"),
        ({"op": "move", "from": "/o", "path": "/o/b"}, "must not lie within"),
        ({"op": "move", "path": "/b"}, "'from' must be a path"),
        ({"op": "set", "path": "a", "value": 1}, "'path' must be a path"),
        ({"op": "set", "path": "/", "value": 1}, "'path' must be a path"),
        ({"op": "set", "path": 7, "value": 1}, "'path' must be a path"),
        ({"op": "set", "path": "/id", "value": "2"}, "system property or the id"),
        ({"op": "set", "path": "/_etag", "value": "2"}, "system property or the id"),
        ({"op": "set", "path": "/customer", "value": {}}, "partition key"),
        ({"op": "set", "path": "/customer/id", "value": "bob"}, "partition key"),
        ({"op": "remove", "path": "/customer/id/more"}, "partition key"),
        ({"op": "move", "from": "/customer/id", "path": "/b"}, "partition key"),
        ({"op": "test", "path": "/a", "value": 1}, "'op' must be one of add, set, replace, remove, incr, move"),
        ({"op": []}, "'op' must be one of"),
        ({}, "'op' must be one of"),
        ("remove", "must be an object"),
    ],
)
def test_operations_that_do_not_fit_are_refused(operation: Any, reason: str) -> None:
    """An operation that Azure would refuse gets 400, says which and why, and undoes the ones before it."""
    document = {"customer": {"id": "ada"}, "a": [1, 2], "n": 1, "t": "x", "o": {}, "yes": True}
    before = copy.deepcopy(document)
    with pytest.raises(CosmosError) as caught:
        patch(document, {"op": "set", "path": "/n", "value": 2}, operation)
    assert caught.value.status == 400
    assert "For Operation(2)" in caught.value.message
    assert reason in caught.value.message
    assert document == before


def test_number_of_operations_is_bounded() -> None:
    """Ten operations are taken, eleven and none are refused."""
    operations = [{"op": "incr", "path": "/n", "value": 1}] * MAX_OPERATIONS
    assert patch({"n": 0}, *operations) == {"n": 10}
    for wrong in ([*operations, operations[0]], [], None, {"op": "add"}):
        with pytest.raises(CosmosError):
            apply_patch({"n": 0}, wrong, KEY)


def test_operations_share_no_values() -> None:
    """A value used by two operations is not one list in two places."""
    shared: list[int] = []
    result = patch({}, {"op": "set", "path": "/a", "value": shared}, {"op": "set", "path": "/b", "value": shared})
    result["a"].append(1)
    assert (result["b"], shared) == ([], [])


operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "set", "replace", "remove", "incr", "move"]), "path": paths},
    optional={"value": json_values, "from": paths},
)


@no_deadline
@given(st.dictionaries(st.sampled_from(["a", "b", "id", "customer"]), json_values), st.lists(operations, max_size=4))
def test_any_patch_applies_or_is_refused(document: dict[str, Any], patches: list[dict[str, Any]]) -> None:
    """Whatever is patched with whatever, the result is a document or the specific error, and the original is unharmed."""
    before = copy.deepcopy(document)
    result: dict[str, Any] | int
    try:
        result = apply_patch(document, patches, KEY)
    except CosmosError as error:
        result = error.status
    assert result == 400 or (isinstance(result, dict) and repr(result.get("id")) == repr(before.get("id")))
    assert repr(document) == repr(before)
