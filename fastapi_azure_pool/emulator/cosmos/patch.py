"""Partial document update: the operations of a PATCH request, applied in order or not at all.

Source: "Partial document update in Azure Cosmos DB", supported operations and their rules.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, bad_request
from fastapi_azure_pool.emulator.cosmos.json_values import is_number, within_64_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.cosmos.partitioning import PartitionKeyDefinition

# The service takes this many operations in one request.
MAX_OPERATIONS = 10

Item = dict[str, Any]
Target = dict[str, Any] | list[Any]

_SYSTEM_PROPERTIES = frozenset({"_rid", "_self", "_etag", "_attachments", "_ts"})


def apply_patch(document: Item, operations: object, definition: PartitionKeyDefinition) -> Item:
    """Return a new document with the operations of a patch applied to it.

    Args:
        document: The item; it is not changed.
        operations: What the request's ``operations`` holds.
        definition: The container's partition key, whose paths cannot be patched.

    Raises:
        CosmosError: 400, an operation is malformed, forbidden, or meets a document that it does not fit.
    """
    if not isinstance(operations, list) or not operations:
        raise bad_request("The patch request needs at least one operation.")
    if len(operations) > MAX_OPERATIONS:
        message = f"The number of patch operations can't exceed '{MAX_OPERATIONS}'."
        raise bad_request(message)
    patched = copy.deepcopy(document)
    for number, operation in enumerate(operations, start=1):
        if not isinstance(operation, dict):
            raise _invalid(number, "it must be an object")
        kind = operation.get("op")
        apply = _OPERATIONS.get(kind) if isinstance(kind, str) else None
        if apply is None:
            raise _invalid(number, f"'op' must be one of {', '.join(_OPERATIONS)}")
        apply(patched, operation, number, definition)
    return patched


def _add(document: Item, operation: Item, number: int, definition: PartitionKeyDefinition) -> None:
    target, name = _parent(document, _writable_path(operation, "path", number, definition), number)
    _insert(target, name, _value(operation, number), number)


def _set(document: Item, operation: Item, number: int, definition: PartitionKeyDefinition) -> None:
    target, name = _parent(document, _writable_path(operation, "path", number, definition), number)
    value = _value(operation, number)
    if isinstance(target, dict):
        target[name] = value
    elif name == "-":
        target.append(value)
    else:
        index = _index(target, name, number, end=len(target))
        target[index : index + 1] = [value]


def _replace(document: Item, operation: Item, number: int, definition: PartitionKeyDefinition) -> None:
    target, name = _parent(document, _writable_path(operation, "path", number, definition), number)
    _get(target, name, number)
    _put(target, name, _value(operation, number), number)


def _remove(document: Item, operation: Item, number: int, definition: PartitionKeyDefinition) -> None:
    target, name = _parent(document, _writable_path(operation, "path", number, definition), number)
    _take(target, name, number)


def _increment(document: Item, operation: Item, number: int, definition: PartitionKeyDefinition) -> None:
    target, name = _parent(document, _writable_path(operation, "path", number, definition), number)
    step = _value(operation, number)
    if not is_number(step):
        raise _invalid(number, "the value of 'incr' must be a number")
    if isinstance(target, dict) and name not in target:
        target[name] = step
        return
    current = _get(target, name, number)
    if not is_number(current):
        raise _invalid(number, f"'incr' needs a number at its path, and '{name}' holds none")
    total = current + step
    if isinstance(total, int) and not within_64_bits(total):
        total = float(total)
    _put(target, name, total, number)


def _move(document: Item, operation: Item, number: int, definition: PartitionKeyDefinition) -> None:
    source = _writable_path(operation, "from", number, definition)
    destination = _writable_path(operation, "path", number, definition)
    if destination[: len(source)] == source and len(destination) > len(source):
        raise _invalid(number, "the target of 'move' must not lie within its source")
    target, name = _parent(document, source, number)
    value = _get(target, name, number)
    if source == destination:
        return
    _take(target, name, number)
    target, name = _parent(document, destination, number)
    if isinstance(target, dict):
        target[name] = value
    else:
        _insert(target, name, value, number)


_OPERATIONS: dict[str, Callable[[Item, Item, int, PartitionKeyDefinition], None]] = {
    "add": _add,
    "set": _set,
    "replace": _replace,
    "remove": _remove,
    "incr": _increment,
    "move": _move,
}


def _writable_path(operation: Item, member: str, number: int, definition: PartitionKeyDefinition) -> list[str]:
    path = operation.get(member)
    if not isinstance(path, str) or not path.startswith("/") or path == "/":
        raise _invalid(number, f"'{member}' must be a path such as /address/street")
    # the escapes of RFC 6901, section 4: "~1" first, or "~01" would turn into "/"
    names = [name.replace("~1", "/").replace("~0", "~") for name in path[1:].split("/")]
    if names[0] == "id" or names[0] in _SYSTEM_PROPERTIES:
        raise _invalid(number, f"'{path}' is a system property or the id, which cannot be patched")
    for key_path in definition.steps:
        shared = min(len(key_path), len(names))
        if tuple(names[:shared]) == key_path[:shared]:
            raise _invalid(number, f"'{path}' is part of the partition key, which cannot be patched")
    return names


def _parent(document: Item, names: list[str], number: int) -> tuple[Target, str]:
    target: Any = document
    for name in names[:-1]:
        target = _get(target, name, number)
        if not isinstance(target, (dict, list)):
            raise _invalid(number, f"there is nothing below '{name}', which holds no object or array")
    return target, names[-1]


def _get(target: Target, name: str, number: int) -> Any:
    if isinstance(target, list):
        return target[_index(target, name, number, end=len(target) - 1)]
    if name not in target:
        raise _invalid(number, f"'{name}' does not exist")
    return target[name]


def _put(target: Target, name: str, value: object, number: int) -> None:
    if isinstance(target, list):
        target[_index(target, name, number, end=len(target) - 1)] = value
    else:
        target[name] = value


def _take(target: Target, name: str, number: int) -> None:
    _get(target, name, number)
    if isinstance(target, list):
        del target[int(name)]
    else:
        del target[name]


def _insert(target: Target, name: str, value: object, number: int) -> None:
    if isinstance(target, dict):
        target[name] = value
    elif name == "-":
        target.append(value)
    else:
        target.insert(_index(target, name, number, end=len(target)), value)


def _index(target: list[Any], name: str, number: int, *, end: int) -> int:
    # ASCII digits only: str.isdigit takes others, which int may not
    is_index = name.isascii() and name.isdigit() and len(name) < 10
    if not is_index or not 0 <= int(name) <= end:
        raise _invalid(number, f"'{name}' is not an index of the array of {len(target)}")
    return int(name)


def _value(operation: Item, number: int) -> Any:
    if "value" not in operation:
        raise _invalid(number, "'value' is missing")
    # a deep copy: two operations must not share a list
    return copy.deepcopy(operation["value"])


def _invalid(number: int, reason: str) -> CosmosError:
    return bad_request(f"For Operation({number}): {reason}. Learn more: https://aka.ms/cosmos-patch-docs")
