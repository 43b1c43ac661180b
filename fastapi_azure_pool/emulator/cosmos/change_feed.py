"""The change feed in its mode "latest version": a partition's items in the order of their last changes.

A client reads on with the etag of the page before, which stands for all that was committed by then. Items that were deleted or
have expired are missing, and of an item that was changed several times only the last version is told.

Sources: "Change feed in Azure Cosmos DB" and "Change feed modes"; "List Documents" (REST reference): ``A-IM``, ``If-None-Match``,
``If-Modified-Since`` and 304.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.cosmos.errors import bad_request, not_supported
from fastapi_azure_pool.emulator.cosmos.json_values import dump_json
from fastapi_azure_pool.emulator.cosmos.request_headers import page_items
from fastapi_azure_pool.emulator.cosmos.responses import cosmos_response, feed_response
from fastapi_azure_pool.emulator.cosmos.scope import feed_scope
from fastapi_azure_pool.emulator.cosmos.sessions import check_session, session_headers
from fastapi_azure_pool.emulator.signing import http_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.responses import Response

    from fastapi_azure_pool.emulator.cosmos.account import Container
    from fastapi_azure_pool.emulator.cosmos.items import PhysicalPartition, StoredItem
    from fastapi_azure_pool.emulator.http_service import HttpRequest

_LATEST_VERSION = "incremental feed"
_ALL_VERSIONS = "full-fidelity feed"
# "Azure Cosmos DB service quotas": maximum response size of one page.
_MAX_PAGE_BYTES = 4 * 1024 * 1024
_LSN = re.compile(r'("?)([0-9]{1,19})\1\Z')


def change_feed(request: HttpRequest, container: Container) -> Response:
    """Answer a list of ``/docs`` with ``A-IM``: 200 with what has changed, or 304.

    Raises:
        CosmosError: 400, a header is invalid, or several partitions are asked at once; 404 with sub-status 1002; 410.
    """
    headers = request.headers
    _check_mode(headers["a-im"])
    scope = feed_scope(headers, container)
    if len(scope.partitions) > 1:
        raise bad_request(
            "The change feed is read one partition at a time: send x-ms-documentdb-partitionkeyrangeid or "
            "x-ms-documentdb-partitionkey."
        )
    (partition,) = scope.partitions
    check_session(headers, [partition])
    start, since = _start(headers, partition), _since(headers)
    changed = (item for item in scope.select(partition.changed_since(start)) if item.document["_ts"] > since)
    page, last = _take(changed, page_items(headers))
    etag = f'"{partition.lsn if last is None else last}"'
    told = session_headers(container, partition)
    if not page:
        return cosmos_response(request, status=304, etag=etag, headers=told)
    return feed_response(request, "Documents", container.rid, page, etag=etag, headers=told)


def _take(changed: Iterable[StoredItem], max_items: int) -> tuple[list[bytes], int | None]:
    """Return a page, and the last transaction on it when there is more: what one transaction wrote is never torn."""
    page: list[bytes] = []
    size, last = 0, None
    for lsn, transaction in itertools.groupby(changed, key=_lsn):
        if len(page) >= max_items or size > _MAX_PAGE_BYTES:
            return page, last
        rows = [dump_json(item.document | {"_lsn": lsn}) for item in transaction]
        page += rows
        size += sum(map(len, rows))
        last = lsn
    return page, None


def _lsn(item: StoredItem) -> int:
    return item.lsn


def _check_mode(header: str) -> None:
    mode = header.lower()
    if mode == _ALL_VERSIONS:
        raise not_supported("The change feed's mode AllVersionsAndDeletes")
    if mode != _LATEST_VERSION:
        raise bad_request(f"The A-IM header '{header}' is invalid: it must be 'Incremental Feed'.")


def _start(headers: Mapping[str, str], partition: PhysicalPartition) -> int:
    header = headers.get("if-none-match")
    if header is None:
        return 0
    if header == "*":
        return partition.lsn
    match = _LSN.match(header)
    if match is None:
        raise bad_request(f"The If-None-Match header '{header}' is no etag of this change feed.")
    return int(match[2])


def _since(headers: Mapping[str, str]) -> float:
    header = headers.get("if-modified-since")
    if header is None:
        return float("-inf")
    moment = http_timestamp(header)
    if moment is None:
        raise bad_request(f"The If-Modified-Since header '{header}' is no date such as RFC 1123 has it.")
    return moment
