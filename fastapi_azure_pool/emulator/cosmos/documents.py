"""What can be asked of the items of a container: point operations, feeds and queries.

Sources: the REST reference's pages on documents ("Create a Document" and its siblings), "Query Documents", and the common
request headers.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import (
    COLLECTION_RID_MISMATCH,
    CROSS_PARTITION_QUERY_NOT_SERVABLE,
    PARTITION_KEY_MISMATCH,
    PARTITION_KEY_RANGE_GONE,
    CosmosError,
    bad_request,
    not_supported,
    too_large,
)
from fastapi_azure_pool.emulator.cosmos.items import (
    PhysicalPartition,
    StoredItem,
    dump_json,
    is_etag_current,
    parse_object,
)
from fastapi_azure_pool.emulator.cosmos.partitioning import HashRange, PartitionKey, missing_partition_key
from fastapi_azure_pool.emulator.cosmos.patch import apply_patch
from fastapi_azure_pool.emulator.cosmos.query.compiler import CompiledQuery, compile_query
from fastapi_azure_pool.emulator.cosmos.query.continuation import START, fingerprint, seal, unseal
from fastapi_azure_pool.emulator.cosmos.query.execution import Page, Source, run_page
from fastapi_azure_pool.emulator.cosmos.query.indexing import check_order_by
from fastapi_azure_pool.emulator.cosmos.query.plan import needs_plan, query_plan
from fastapi_azure_pool.emulator.cosmos.responses import WRITE_CHARGE, cosmos_response, feed_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from fastapi_azure_pool.emulator.cosmos.account import Container
    from fastapi_azure_pool.emulator.http_service import HttpRequest

# What a page holds at most when nobody says, and what -1 ("let the service choose") or more than it stands for.
_DEFAULT_PAGE_ITEMS = 100
_MAX_PAGE_ITEMS = 1000

_NOT_SERVABLE = (
    "The provided cross partition query can not be directly served by the gateway. This is a first chance (internal) "
    "exception that all newer clients will know how to handle gracefully. This exception is traced, but unless you see it "
    "bubble up as an exception (which only happens on older SDK clients), then you can safely ignore this message."
)
_NOT_ENABLED = (
    "Cross partition query is required but disabled. Please set x-ms-documentdb-query-enablecrosspartition to true, specify "
    "x-ms-documentdb-partitionkey, or revise your query to avoid this exception."
)


class Documents:
    """Answers the requests for ``docs``, once it is known in which container."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def feed(self, request: HttpRequest, container: Container) -> Response:
        """Answer a request for ``/docs``: create, upsert, query or list."""
        headers = request.headers
        _check_container(headers, container)
        if request.method == "GET":
            if "a-im" in headers:
                raise not_supported("The change feed")
            return self._run(request, container, compile_query("SELECT * FROM c"), {}, is_query=False)
        if _is_true(headers.get("x-ms-cosmos-is-batch-request")):
            raise not_supported("A transactional batch")
        if _is_true(headers.get("x-ms-cosmos-is-query-plan-request")):
            query, parameters = _parse_query(request)
            return cosmos_response(request, dump_json(query_plan(query, parameters)))
        content_type = headers.get("content-type", "")
        if _is_true(headers.get("x-ms-documentdb-isquery")) or content_type.startswith("application/query+json"):
            query, parameters = _parse_query(request)
            return self._run(request, container, query, parameters, is_query=True)
        return _create(request, container)

    def item(self, request: HttpRequest, container: Container, name: str) -> Response:
        """Answer a request for ``/docs/{id}``."""
        _check_container(request.headers, container)
        return _ITEM_OPERATIONS[request.method](request, container, name)

    def _run(
        self,
        request: HttpRequest,
        container: Container,
        query: CompiledQuery,
        parameters: dict[str, Any],
        *,
        is_query: bool,
    ) -> Response:
        headers = request.headers
        check_order_by(query.syntax.order_by, container.composite_indexes)
        partitions, sources = _sources(headers, container)
        if "x-ms-documentdb-partitionkey" not in headers and "x-ms-documentdb-partitionkeyrangeid" not in headers:
            _check_gateway_serves(headers, query, parameters, is_query=is_query)
        scope = [headers.get(name) for name in _SCOPE_HEADERS]
        mark = fingerprint(container.rid, str(query.syntax), sorted(parameters.items()), scope)
        token = headers.get("x-ms-continuation")
        position = START if not token else unseal(token, self._secret, mark)
        page = run_page(query, parameters, sources, max_items=_page_items(headers), position=position)
        return feed_response(
            request,
            "Documents",
            container.rid,
            page.rows,
            session_token=partitions[page.source].session_token,
            continuation=_continuation(page, self._secret, mark),
        )


_SCOPE_HEADERS = (
    "x-ms-documentdb-partitionkey",
    "x-ms-documentdb-partitionkeyrangeid",
    "x-ms-start-epk",
    "x-ms-end-epk",
)


def _continuation(page: Page, secret: bytes, mark: bytes) -> str | None:
    return None if page.next_position is None else seal(page.next_position, secret, mark)


def _create(request: HttpRequest, container: Container) -> Response:
    if request.is_too_large:
        raise too_large()
    document = parse_object(request.body)
    key = _key_of(request.headers, container, document)
    is_new = True
    if _is_true(request.headers.get("x-ms-documentdb-is-upsert")):
        item, is_new = container.items.upsert(document, key, request.headers.get("if-match"))
    else:
        item = container.items.create(document, key)
    return _written(request, item, 201 if is_new else 200)


def _read(request: HttpRequest, container: Container, name: str) -> Response:
    item = container.items.read(_key(request.headers, container), name)
    condition = request.headers.get("if-none-match")
    if condition is not None and is_etag_current(item.etag, condition):
        return cosmos_response(request, status=304, etag=item.etag, session_token=item.physical.session_token)
    return cosmos_response(request, item.body, etag=item.etag, session_token=item.physical.session_token)


def _replace(request: HttpRequest, container: Container, name: str) -> Response:
    if request.is_too_large:
        raise too_large()
    document = parse_object(request.body)
    key = _key_of(request.headers, container, document)
    item = container.items.replace(name, document, key, request.headers.get("if-match"))
    return _written(request, item, 200)


def _patch(request: HttpRequest, container: Container, name: str) -> Response:
    if request.is_too_large:
        raise too_large()
    body = parse_object(request.body)
    if "condition" in body:
        raise not_supported("A patch with a condition")

    def modify(document: dict[str, Any]) -> dict[str, Any]:
        return apply_patch(document, body.get("operations"), container.items.definition)

    key = _key(request.headers, container)
    return _written(request, container.items.modify(name, key, modify, request.headers.get("if-match")), 200)


def _delete(request: HttpRequest, container: Container, name: str) -> Response:
    item = container.items.delete(name, _key(request.headers, container), request.headers.get("if-match"))
    return cosmos_response(request, status=204, charge=WRITE_CHARGE, session_token=item.physical.session_token)


_ITEM_OPERATIONS: dict[str, Callable[[HttpRequest, Container, str], Response]] = {
    "GET": _read,
    "PUT": _replace,
    "PATCH": _patch,
    "DELETE": _delete,
}


def _written(request: HttpRequest, item: StoredItem, status: int) -> Response:
    body = b"" if "return=minimal" in request.headers.get("prefer", "") else item.body
    session_token = item.physical.session_token
    return cosmos_response(request, body, status, charge=WRITE_CHARGE, etag=item.etag, session_token=session_token)


def _key(headers: dict[str, str], container: Container) -> PartitionKey:
    header = headers.get("x-ms-documentdb-partitionkey")
    if header is None:
        raise missing_partition_key()
    key = container.items.definition.parse_header(header)
    if len(key) != len(container.items.definition.paths):
        message = (
            "Partition key provided either doesn't correspond to definition in the collection or doesn't match partition key "
            "field values specified in the document."
        )
        raise bad_request(message, substatus=PARTITION_KEY_MISMATCH)
    return key


def _key_of(headers: dict[str, str], container: Container, document: dict[str, Any]) -> PartitionKey:
    if "x-ms-documentdb-partitionkey" not in headers:
        # as the gateway does for clients that leave the header out, with what it finds in the body
        return container.items.definition.extract(document)
    return _key(headers, container)


def _sources(headers: dict[str, str], container: Container) -> tuple[list[PhysicalPartition], list[Source]]:
    """Return the physical partitions that a query or feed runs over, and what it scans in each."""
    items = container.items
    header = headers.get("x-ms-documentdb-partitionkey")
    if header is not None:
        key = items.definition.parse_header(header)
        if len(key) == len(items.definition.paths):
            return [items.partition_of(key)], [lambda: items.in_logical_partition(key)]
        if not key:
            raise bad_request(f"Partition key {header} is invalid.", substatus=PARTITION_KEY_MISMATCH)
        # the beginning of a hierarchical key: all that hash to places that begin alike
        return _ranged(items.partitions, _prefix_range(items.place_of(key)), items.place_of)
    partitions = items.partitions
    range_id = headers.get("x-ms-documentdb-partitionkeyrangeid")
    if range_id is not None:
        partitions = [partition for partition in partitions if partition.id == range_id]
        if not partitions:
            message = f"The requested partition key range {range_id} is gone."
            raise CosmosError(410, message, substatus=PARTITION_KEY_RANGE_GONE)
    if "x-ms-start-epk" in headers or "x-ms-end-epk" in headers:
        within = HashRange(headers.get("x-ms-start-epk", ""), headers.get("x-ms-end-epk", "FF"))
        return _ranged(partitions, within, items.place_of)
    return partitions, [partition.items.values for partition in partitions]


def _prefix_range(place: str) -> HashRange:
    return HashRange(place, place + "FF")


def _ranged(
    partitions: list[PhysicalPartition], within: HashRange, place_of: Callable[[PartitionKey], str]
) -> tuple[list[PhysicalPartition], list[Source]]:
    def scan(partition: PhysicalPartition) -> Source:
        return lambda: (item for item in partition.items.values() if within.holds(place_of(item.key)))

    return partitions, [scan(partition) for partition in partitions]


def _check_gateway_serves(
    headers: dict[str, str], query: CompiledQuery, parameters: dict[str, Any], *, is_query: bool
) -> None:
    if is_query and not _is_true(headers.get("x-ms-documentdb-query-enablecrosspartition")):
        raise bad_request(_NOT_ENABLED)
    if needs_plan(query):
        plan = dump_json(query_plan(query, parameters)).decode()
        raise CosmosError(400, _NOT_SERVABLE, substatus=CROSS_PARTITION_QUERY_NOT_SERVABLE, additional_info=plan)


def _check_container(headers: dict[str, str], container: Container) -> None:
    intended = headers.get("x-ms-cosmos-intended-collection-rid")
    if intended is not None and intended != container.rid:
        # the container was deleted and made again since the client looked
        raise CosmosError(400, "Collection rid does not match the intended one.", substatus=COLLECTION_RID_MISMATCH)


def _parse_query(request: HttpRequest) -> tuple[CompiledQuery, dict[str, Any]]:
    body = parse_object(request.body)
    text, listed = body.get("query"), body.get("parameters")
    if not isinstance(text, str) or not text:
        raise bad_request("The query body must have a 'query' of text.")
    parameters = {}
    for parameter in [] if listed is None else listed if isinstance(listed, list) else [listed]:
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if not isinstance(name, str) or not name.startswith("@") or "value" not in parameter:
            raise bad_request("The query's parameters must be objects with a 'name' that begins with @ and a 'value'.")
        parameters[name] = parameter["value"]
    return compile_query(text), parameters


def _page_items(headers: dict[str, str]) -> int:
    header = headers.get("x-ms-max-item-count")
    if header is None:
        return _DEFAULT_PAGE_ITEMS
    try:
        wanted = int(header)
    except ValueError:
        wanted = 0
    if wanted == -1:
        return _MAX_PAGE_ITEMS
    if wanted < 1:
        raise bad_request(f"The page size '{header}' is invalid: x-ms-max-item-count must be -1 or at least 1.")
    return min(wanted, _MAX_PAGE_ITEMS)


def _is_true(header: str | None) -> bool:
    return header is not None and header.lower() == "true"
