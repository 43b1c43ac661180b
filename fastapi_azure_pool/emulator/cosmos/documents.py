"""What can be asked of the items of a container: operations on one of them, batches, feeds and queries.

Sources: the REST reference's pages on documents ("List Documents", "Query Documents"), and the common request headers.
"""

from __future__ import annotations

import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.batch import run_batch
from fastapi_azure_pool.emulator.cosmos.change_feed import change_feed
from fastapi_azure_pool.emulator.cosmos.errors import CROSS_PARTITION_QUERY_NOT_SERVABLE, CosmosError, bad_request
from fastapi_azure_pool.emulator.cosmos.item_operations import create_or_upsert, operate_on_item
from fastapi_azure_pool.emulator.cosmos.json_values import dump_json, parse_object
from fastapi_azure_pool.emulator.cosmos.query.compiler import CompiledQuery, compile_query
from fastapi_azure_pool.emulator.cosmos.query.continuation import START, fingerprint, seal, unseal
from fastapi_azure_pool.emulator.cosmos.query.execution import Page, run_page
from fastapi_azure_pool.emulator.cosmos.query.indexing import check_order_by
from fastapi_azure_pool.emulator.cosmos.query.plan import needs_plan, plan_for_refusal, query_plan
from fastapi_azure_pool.emulator.cosmos.request_headers import is_true, page_items
from fastapi_azure_pool.emulator.cosmos.responses import WRITE_CHARGE, cosmos_response, feed_response
from fastapi_azure_pool.emulator.cosmos.scope import check_container, feed_scope, required_key
from fastapi_azure_pool.emulator.cosmos.sessions import check_session, session_headers
from fastapi_azure_pool.emulator.cosmos.transaction import Transaction

if TYPE_CHECKING:
    from starlette.responses import Response

    from fastapi_azure_pool.emulator.cosmos.account import Container
    from fastapi_azure_pool.emulator.http_service import HttpRequest

_PARAMETER_NAME = re.compile(r"@[^\W\d]\w*")

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
        """Answer a request for ``/docs``: create, upsert, batch, query, list or change feed."""
        headers = request.headers
        check_container(headers, container)
        container.items.expire()
        if request.method == "GET":
            if "a-im" in headers:
                return change_feed(request, container)
            return self._run(request, container, compile_query("SELECT * FROM c"), {}, is_query=False)
        if is_true(headers.get("x-ms-cosmos-is-batch-request")):
            return run_batch(request, container)
        if is_true(headers.get("x-ms-cosmos-is-query-plan-request")):
            query, parameters = _parse_query(request)
            features = headers.get("x-ms-cosmos-supported-query-features")
            return cosmos_response(request, dump_json(query_plan(query, parameters, features)))
        content_type = headers.get("content-type", "")
        if is_true(headers.get("x-ms-documentdb-isquery")) or content_type.startswith("application/query+json"):
            query, parameters = _parse_query(request)
            return self._run(request, container, query, parameters, is_query=True)
        return create_or_upsert(request, container)

    def item(self, request: HttpRequest, container: Container, name: str) -> Response:
        """Answer a request for ``/docs/{id}``."""
        check_container(request.headers, container)
        container.items.expire()
        return operate_on_item(request, container, name)

    def delete_partition_key(self, request: HttpRequest, container: Container) -> Response:
        """Answer a request to delete all items of one partition key, which Azure does in the background and this at once."""
        check_container(request.headers, container)
        container.items.expire()
        transaction = Transaction(container.items, required_key(request.headers, container))
        for item in container.items.in_logical_partition(transaction.key):
            transaction.delete(item.id)
        transaction.commit()
        headers = session_headers(container, transaction.partition)
        return cosmos_response(request, charge=WRITE_CHARGE, headers=headers)

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
        scope = feed_scope(headers, container)
        check_session(headers, scope.partitions)
        if "x-ms-documentdb-partitionkey" not in headers and "x-ms-documentdb-partitionkeyrangeid" not in headers:
            _check_gateway_serves(headers, query, parameters, is_query=is_query)
        where = [headers.get(name) for name in _SCOPE_HEADERS]
        mark = fingerprint(container.rid, str(query.syntax), sorted(parameters.items()), where)
        token = headers.get("x-ms-continuation")
        position = START if not token else unseal(token, self._secret, mark)
        sources = [partial(scope.scan, partition) for partition in scope.partitions]
        page = run_page(query, parameters, sources, max_items=page_items(headers), position=position)
        return feed_response(
            request,
            "Documents",
            container.rid,
            page.rows,
            headers=session_headers(container, scope.partitions[position.source]),
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


def _check_gateway_serves(
    headers: dict[str, str], query: CompiledQuery, parameters: dict[str, Any], *, is_query: bool
) -> None:
    if is_query and not is_true(headers.get("x-ms-documentdb-query-enablecrosspartition")):
        raise bad_request(_NOT_ENABLED)
    if needs_plan(query):
        plan = plan_for_refusal(query, parameters)
        info = None if plan is None else dump_json(plan).decode()
        raise CosmosError(400, _NOT_SERVABLE, substatus=CROSS_PARTITION_QUERY_NOT_SERVABLE, additional_info=info)


def _parse_query(request: HttpRequest) -> tuple[CompiledQuery, dict[str, Any]]:
    body = parse_object(request.body)
    text, listed = body.get("query"), body.get("parameters")
    if not isinstance(text, str):
        raise bad_request("The query body must have a 'query' of text.")
    parameters: dict[str, Any] = {}
    for parameter in [] if listed is None else listed if isinstance(listed, list) else [listed]:
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if not isinstance(name, str) or "value" not in parameter:
            raise bad_request("The query's parameters must be objects with a 'name' and a 'value'.")
        if not _PARAMETER_NAME.fullmatch(name):
            raise bad_request("Parameter names should be in the format of symbol '@' followed by a valid identifier.")
        if name in parameters:
            raise bad_request("Specified duplicate parameter name.")
        parameters[name] = parameter["value"]
    return compile_query(text), parameters
