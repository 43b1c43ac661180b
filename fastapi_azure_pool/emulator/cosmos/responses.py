"""Cosmos DB's HTTP answers: the headers that every one carries, and the bodies of lists and errors."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from fastapi_azure_pool.emulator.cosmos.json_values import dump_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
    from fastapi_azure_pool.emulator.http_service import HttpRequest

_SERVICE_VERSION = "2.0.0"

# What an operation on a small item costs, roughly: 1 request unit to read 1 KB, about five to write it
# ("Request Units in Azure Cosmos DB"). The emulator neither measures nor limits throughput.
READ_CHARGE = "1"
WRITE_CHARGE = "5.52"
_QUERY_CHARGE = "2.83"


def cosmos_response(
    request: HttpRequest,
    body: bytes = b"",
    status: int = 200,
    *,
    charge: str = READ_CHARGE,
    etag: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return an answer with the headers that Azure's gateway sends."""
    all_headers = {
        "content-type": "application/json",
        "x-ms-activity-id": activity_id(request),
        "x-ms-gatewayversion": _SERVICE_VERSION,
        "x-ms-request-charge": charge,
    }
    if etag is not None:
        all_headers["etag"] = etag
    if headers is not None:
        all_headers |= headers
    return Response(body, status, all_headers)


def resource_response(
    request: HttpRequest, properties: dict[str, Any], status: int = 200, *, charge: str = READ_CHARGE
) -> Response:
    """Return a database's or container's properties."""
    return cosmos_response(request, dump_json(properties), status, charge=charge, etag=properties["_etag"])


def feed_response(
    request: HttpRequest,
    name: str,
    rid: str,
    rows: Iterable[bytes],
    *,
    etag: str | None = None,
    continuation: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a list of resources, which stands under the name of their kind."""
    rows = list(rows)
    body = b'{"_rid":"%s","%s":[%s],"_count":%d}' % (rid.encode(), name.encode(), b",".join(rows), len(rows))
    all_headers = {"x-ms-item-count": str(len(rows))}
    if continuation is not None:
        all_headers["x-ms-continuation"] = continuation
    if headers is not None:
        all_headers |= headers
    return cosmos_response(request, body, charge=_QUERY_CHARGE, etag=etag, headers=all_headers)


def error_response(
    request: HttpRequest,
    error: CosmosError,
    *,
    retry_after: float | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a refusal."""
    all_headers = {"x-ms-substatus": str(error.substatus)}
    if retry_after is not None:
        all_headers["x-ms-retry-after-ms"] = str(round(retry_after * 1000))
    if headers is not None:
        all_headers |= headers
    return cosmos_response(request, error.body(activity_id(request)), error.status, charge="0", headers=all_headers)


def activity_id(request: HttpRequest) -> str:
    """Return what the client called this request, or a new id when it sent none that a header could repeat."""
    sent = request.headers.get("x-ms-activity-id", "")
    return sent if sent and len(sent) <= 64 and sent.isascii() and sent.isprintable() else str(uuid.uuid4())
