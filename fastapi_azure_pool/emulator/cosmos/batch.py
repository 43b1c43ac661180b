"""The transactional batch: up to 100 operations on the items of one partition key, all done or none.

Sources: "Transactional batch operations in Azure Cosmos DB"; the answer's form as the SDKs read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, backend_error, bad_request, not_supported, too_large
from fastapi_azure_pool.emulator.cosmos.item_operations import modification
from fastapi_azure_pool.emulator.cosmos.json_values import dump_json, parse_json
from fastapi_azure_pool.emulator.cosmos.preconditions import Preconditions
from fastapi_azure_pool.emulator.cosmos.request_headers import is_minimal, is_true
from fastapi_azure_pool.emulator.cosmos.responses import READ_CHARGE, WRITE_CHARGE, cosmos_response
from fastapi_azure_pool.emulator.cosmos.scope import required_key
from fastapi_azure_pool.emulator.cosmos.sessions import check_session, session_headers
from fastapi_azure_pool.emulator.cosmos.transaction import Transaction

if TYPE_CHECKING:
    from starlette.responses import Response

    from fastapi_azure_pool.emulator.cosmos.account import Container
    from fastapi_azure_pool.emulator.cosmos.items import StoredItem
    from fastapi_azure_pool.emulator.cosmos.partitioning import PartitionKeyDefinition
    from fastapi_azure_pool.emulator.http_service import HttpRequest

# "Azure Cosmos DB service quotas": maximum number of operations in a transactional batch.
MAX_OPERATIONS = 100

_MULTI_STATUS = 207
_FAILED_DEPENDENCY = 424


@dataclass(frozen=True, slots=True)
class _Operation:
    """What one operation is given: the item's name and a document, each empty where its type needs none."""

    name: str
    document: dict[str, Any]
    preconditions: Preconditions
    definition: PartitionKeyDefinition


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of one operation."""

    status: int
    item: StoredItem | None = None
    substatus: int = 0
    charge: str = WRITE_CHARGE

    def dump(self, *, has_body: bool) -> bytes:
        """Return it as JSON, with the item or without."""
        members = [b'"statusCode":%d,"requestCharge":%s' % (self.status, self.charge.encode())]
        if self.substatus:
            members.append(b'"subStatusCode":%d' % self.substatus)
        if self.item is not None:
            members.append(b'"eTag":' + dump_json(self.item.etag))
            if has_body:
                members.append(b'"resourceBody":' + self.item.body)
        return b"{%s}" % b",".join(members)


def run_batch(request: HttpRequest, container: Container) -> Response:
    """Answer a batch: 200 with each operation's result, or 207 with the one that failed and 424 for every other.

    Raises:
        CosmosError: 400, it is no batch of 1 to 100 operations; 404 with sub-status 1002; 413, it is larger than 2 MB.
    """
    headers = request.headers
    if request.is_too_large:
        raise too_large()
    if not is_true(headers.get("x-ms-cosmos-batch-atomic")):
        raise not_supported("A batch that is not atomic")
    operations = _parse(parse_json(request.body), container.items.definition)
    transaction = Transaction(container.items, required_key(headers, container))
    check_session(headers, [transaction.partition])
    results: list[_Result] = []
    status = 200
    for perform, operation in operations:
        try:
            results.append(perform(transaction, operation))
        except CosmosError as error:
            status = _MULTI_STATUS
            others = _Result(_FAILED_DEPENDENCY, charge="0")
            failed = _Result(error.status, substatus=error.substatus)
            results = [others] * len(results) + [failed] + [others] * (len(operations) - len(results) - 1)
            break
    else:
        transaction.commit()
    leaves_out = is_minimal(headers)
    # a client that wants no item back from a write wants those that it reads
    rows = [
        result.dump(has_body=perform is _read or not leaves_out)
        for result, (perform, _) in zip(results, operations, strict=True)
    ]
    charge = f"{sum(float(result.charge) for result in results):.2f}"
    return cosmos_response(
        request,
        b"[%s]" % b",".join(rows),
        status,
        charge=charge,
        headers=session_headers(container, transaction.partition),
    )


def _create(transaction: Transaction, operation: _Operation) -> _Result:
    return _Result(201, transaction.create(operation.document))


def _upsert(transaction: Transaction, operation: _Operation) -> _Result:
    item, is_new = transaction.upsert(operation.document, operation.preconditions)
    return _Result(201 if is_new else 200, item)


def _replace(transaction: Transaction, operation: _Operation) -> _Result:
    return _Result(200, transaction.replace(operation.name, operation.document, operation.preconditions))


def _patch(transaction: Transaction, operation: _Operation) -> _Result:
    modify = modification(operation.document, operation.definition)
    return _Result(200, transaction.modify(operation.name, modify, operation.preconditions))


def _delete(transaction: Transaction, operation: _Operation) -> _Result:
    transaction.delete(operation.name, operation.preconditions)
    return _Result(204)


def _read(transaction: Transaction, operation: _Operation) -> _Result:
    item = transaction.read(operation.name)
    if operation.preconditions.is_not_modified(item.etag):
        return _Result(304, charge=READ_CHARGE)
    return _Result(200, item, charge=READ_CHARGE)


_Perform = Callable[[Transaction, _Operation], _Result]

# What does each type of operation, and whether it names an item and sends a document.
_OPERATIONS: dict[str, tuple[_Perform, bool, bool]] = {
    "Create": (_create, False, True),
    "Upsert": (_upsert, False, True),
    "Replace": (_replace, True, True),
    "Patch": (_patch, True, True),
    "Delete": (_delete, True, False),
    "Read": (_read, True, False),
}


def _parse(body: object, definition: PartitionKeyDefinition) -> list[tuple[_Perform, _Operation]]:
    if not isinstance(body, list):
        raise bad_request("A batch must be an array of operations.")
    if not body:
        raise backend_error(400, "Batch request has no operations.")
    if len(body) > MAX_OPERATIONS:
        raise backend_error(400, "Batch request has more operations than what is supported.")
    return [_parse_operation(number, member, definition) for number, member in enumerate(body)]


def _parse_operation(number: int, member: object, definition: PartitionKeyDefinition) -> tuple[_Perform, _Operation]:
    if not isinstance(member, dict):
        raise bad_request(f"Operation {number} of the batch must be an object.")
    kind = member.get("operationType")
    if not isinstance(kind, str) or kind not in _OPERATIONS:
        raise bad_request(f"Operation {number} of the batch needs an operationType: one of {', '.join(_OPERATIONS)}.")
    perform, needs_name, needs_document = _OPERATIONS[kind]
    name, document = member.get("id"), member.get("resourceBody")
    if needs_name and not isinstance(name, str):
        raise bad_request(f"Operation {number} of the batch, {kind}, needs the item's id.")
    if needs_document and not isinstance(document, dict):
        raise bad_request(f"Operation {number} of the batch, {kind}, needs an object as resourceBody.")
    etags = [member.get(condition) for condition in ("ifMatch", "ifNoneMatch")]
    if not all(etag is None or isinstance(etag, str) for etag in etags):
        raise bad_request(f"Operation {number} of the batch must have text as ifMatch or ifNoneMatch.")
    preconditions = Preconditions(*etags)
    return perform, _Operation(name or "", document or {}, preconditions, definition)
