"""What can be asked of one item: create, upsert, read, replace, patch and delete it.

Source: the REST reference's pages on documents ("Create a Document" and its siblings) and "Patch a Document".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, bad_request, precondition_failed, too_large
from fastapi_azure_pool.emulator.cosmos.json_values import parse_object
from fastapi_azure_pool.emulator.cosmos.patch import apply_patch
from fastapi_azure_pool.emulator.cosmos.preconditions import Preconditions
from fastapi_azure_pool.emulator.cosmos.query.compiler import compile_query
from fastapi_azure_pool.emulator.cosmos.query.continuation import START
from fastapi_azure_pool.emulator.cosmos.query.execution import run_page
from fastapi_azure_pool.emulator.cosmos.request_headers import is_minimal, is_true
from fastapi_azure_pool.emulator.cosmos.responses import WRITE_CHARGE, cosmos_response, error_response
from fastapi_azure_pool.emulator.cosmos.scope import key_of, required_key
from fastapi_azure_pool.emulator.cosmos.sessions import check_session, session_headers
from fastapi_azure_pool.emulator.cosmos.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from fastapi_azure_pool.emulator.cosmos.account import Container
    from fastapi_azure_pool.emulator.cosmos.items import Item, StoredItem
    from fastapi_azure_pool.emulator.cosmos.partitioning import PartitionKey, PartitionKeyDefinition
    from fastapi_azure_pool.emulator.http_service import HttpRequest


def create_or_upsert(request: HttpRequest, container: Container) -> Response:
    """Answer a POST to ``/docs`` that is neither a query nor a batch."""
    document = _sent_object(request)

    def operate(transaction: Transaction) -> Response:
        is_new = True
        if is_true(request.headers.get("x-ms-documentdb-is-upsert")):
            item, is_new = transaction.upsert(document, Preconditions.of(request.headers))
        else:
            item = transaction.create(document)
        return _written(request, container, transaction, item, 201 if is_new else 200)

    return _transact(request, container, key_of(request.headers, container, document), operate)


def operate_on_item(request: HttpRequest, container: Container, name: str) -> Response:
    """Answer a request for ``/docs/{id}``."""
    return _OPERATIONS[request.method](request, container, name)


def modification(body: Item, definition: PartitionKeyDefinition) -> Callable[[StoredItem], Item]:
    """Return what a patch's body makes of an item: a function that gives the new document.

    The function raises CosmosError: 400 when an operation does not fit the document, 412 when the patch's condition does not.

    Raises:
        CosmosError: 400, the condition is none.
    """
    condition = body.get("condition")
    if condition is None:
        return lambda item: apply_patch(item.document, body.get("operations"), definition)
    if not isinstance(condition, str):
        raise bad_request("The patch's condition must be text such as: from c where c.status = 'open'")
    query = compile_query(f"SELECT * {condition}")

    def modify(item: StoredItem) -> Item:
        if not run_page(query, {}, [lambda: [item]], max_items=1, position=START).rows:
            raise precondition_failed()
        return apply_patch(item.document, body.get("operations"), definition)

    return modify


def _read(request: HttpRequest, container: Container, name: str) -> Response:
    def operate(transaction: Transaction) -> Response:
        check_session(request.headers, [transaction.partition])
        item = transaction.read(name)
        headers = session_headers(container, transaction.partition)
        if Preconditions.of(request.headers).is_not_modified(item.etag):
            return cosmos_response(request, status=304, etag=item.etag, headers=headers)
        return cosmos_response(request, item.body, etag=item.etag, headers=headers)

    return _transact(request, container, required_key(request.headers, container), operate)


def _replace(request: HttpRequest, container: Container, name: str) -> Response:
    document = _sent_object(request)

    def operate(transaction: Transaction) -> Response:
        item = transaction.replace(name, document, Preconditions.of(request.headers))
        return _written(request, container, transaction, item, 200)

    return _transact(request, container, key_of(request.headers, container, document), operate)


def _patch(request: HttpRequest, container: Container, name: str) -> Response:
    modify = modification(_sent_object(request), container.items.definition)

    def operate(transaction: Transaction) -> Response:
        item = transaction.modify(name, modify, Preconditions.of(request.headers))
        return _written(request, container, transaction, item, 200)

    return _transact(request, container, required_key(request.headers, container), operate)


def _delete(request: HttpRequest, container: Container, name: str) -> Response:
    def operate(transaction: Transaction) -> Response:
        transaction.delete(name, Preconditions.of(request.headers))
        transaction.commit()
        headers = session_headers(container, transaction.partition)
        return cosmos_response(request, status=204, charge=WRITE_CHARGE, headers=headers)

    return _transact(request, container, required_key(request.headers, container), operate)


_OPERATIONS: dict[str, Callable[[HttpRequest, Container, str], Response]] = {
    "GET": _read,
    "PUT": _replace,
    "PATCH": _patch,
    "DELETE": _delete,
}


def _transact(
    request: HttpRequest, container: Container, key: PartitionKey, operate: Callable[[Transaction], Response]
) -> Response:
    transaction = Transaction(container.items, key)
    try:
        return operate(transaction)
    except CosmosError as error:
        # a refusal tells too how far the partition has come: who gets 409 must find the item with his next read
        return error_response(request, error, headers=session_headers(container, transaction.partition))


def _sent_object(request: HttpRequest) -> dict[str, Any]:
    if request.is_too_large:
        raise too_large()
    return parse_object(request.body)


def _written(
    request: HttpRequest, container: Container, transaction: Transaction, item: StoredItem, status: int
) -> Response:
    transaction.commit()
    body = b"" if is_minimal(request.headers) else item.body
    headers = session_headers(container, transaction.partition)
    return cosmos_response(request, body, status, charge=WRITE_CHARGE, etag=item.etag, headers=headers)
