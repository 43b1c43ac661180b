"""Every error that a client sees, as a problem document (RFC 9457), without the SDK's or Azure's own words."""

from __future__ import annotations

import json
import logging
import math
from http import HTTPMethod, HTTPStatus
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, HttpResponseError
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from fastapi_azure_pool import AzureBlobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

_logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
INVALID = "The request is not valid."
UNREADABLE = "There was an error parsing the body"  # FastAPI's words
REFUSED = "Azure did not accept the service's request."
UNAVAILABLE = "Azure cannot answer at the moment."

# What Cosmos DB and Blob Storage answer while they are busy, moving or failing over, when the SDK has given up trying again ("HTTP
# status codes for Azure Cosmos DB" and "Blob Storage error codes", REST reference).
_PASSING = frozenset({408, 410, 429, 449, 503})


_SCHEMA = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string", "description": "What the status means."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong here."},
        "errors": {
            "type": "array",
            "description": "With status 422: each value that is wrong.",
            "items": {"type": "object"},
        },
    },
}


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = PROBLEM_JSON

    def render(self, content: Any) -> bytes:
        """Write ASCII: what a client sent and gets back, such as the name of a field, may hold what has no UTF-8 form."""
        return json.dumps(content).encode()


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> ProblemResponse:
    """Give a problem document as a response."""
    return ProblemResponse(_content(status, detail, **more), status, headers=headers)


def no_such_order(order_id: str) -> HTTPException:
    """Give the error of a request for an order that there is not."""
    return HTTPException(404, f"There is no order {order_id}.")


def no_such_invoice(order_id: str) -> HTTPException:
    """Give the error of a request for an invoice that there is not, or not yet."""
    return HTTPException(404, f"There is no invoice for order {order_id}. An order gets one when it is confirmed.")


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of a request, of the application and of Azure with a problem document."""

    @app.exception_handler(HTTPException)
    async def answer_http_exception(request: Request, error: HTTPException) -> ProblemResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request))
        return problem(error.status_code, error.detail, headers)

    @app.exception_handler(RequestValidationError)
    async def answer_invalid_request(_request: Request, error: RequestValidationError) -> ProblemResponse:
        # Without the input: it need not be anything that JSON can say, such as NaN.
        errors = [{"loc": one["loc"], "msg": one["msg"], "type": one["type"]} for one in error.errors()]
        return problem(422, INVALID, errors=errors)

    @app.exception_handler(AzureBlobError)
    async def answer_blob_error(request: Request, error: AzureBlobError) -> ProblemResponse:
        cause = error.__cause__
        return await answer_azure_error(request, cause if isinstance(cause, AzureError) else AzureError(error.message))

    @app.exception_handler(AzureError)
    async def answer_azure_error(request: Request, error: AzureError) -> ProblemResponse:
        # A request that got no answer has no status.
        status = error.status_code if isinstance(error, HttpResponseError) else None
        where = f"{request.method} {request.url.path}: {type(error).__name__} {status or ''}".rstrip()
        if isinstance(error, HttpResponseError) and status not in _PASSING:
            _logger.error("%s: %s", where, error)
            return problem(502, REFUSED)
        _logger.warning("%s", where)
        return problem(503, UNAVAILABLE, {"Retry-After": str(_retry_after_seconds(error))})


def _methods(request: Request) -> list[str]:
    """Give the methods of a path, which may be those of several routes; the framework tells those of one."""
    return [
        method
        for method in HTTPMethod
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _content(status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}


def document(status: int, detail: str, description: str, **more: Any) -> dict[int | str, dict[str, Any]]:
    """Describe a problem for ``responses=`` of a route, by an example of what `problem` gives."""
    content = {PROBLEM_JSON: {"schema": _SCHEMA, "example": _content(status, detail, **more)}}
    return {status: {"description": description, "content": content}}


COMMON_PROBLEMS = {
    **document(
        422,
        INVALID,
        "The request is not valid; `errors` tells where.",
        errors=[{"loc": ["body", "lines"], "msg": "Field required", "type": "missing"}],
    ),
    **document(502, REFUSED, "Azure refused what the service asked of it."),
}
"""The problems of every route that uses Azure; its 503 is that of the pool, `POOL_RESPONSES`."""


UNREADABLE_BODY = document(400, UNREADABLE, "The body cannot be read as JSON.")
"""The problem of every route that takes a body."""


def _retry_after_seconds(error: AzureError) -> int:
    """Give the whole seconds, at least 1, after which Azure wants to be asked again."""
    milliseconds = getattr(error, "headers", {}).get("x-ms-retry-after-ms", 0)
    return max(1, math.ceil(float(milliseconds) / 1000))
