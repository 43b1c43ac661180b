"""Every error that a client sees, as a problem document (RFC 9457), without the SDK's or the database's own words."""

from __future__ import annotations

import json
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, HttpResponseError
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fastapi_azure_pool import install_error_handlers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

_logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"

# What Cosmos DB answers while it is busy, moving or failing over, when the SDK has given up trying again ("HTTP status codes for
# Azure Cosmos DB", REST reference).
_PASSING = frozenset({408, 410, 429, 449, 503})


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = PROBLEM_JSON

    def render(self, content: Any) -> bytes:
        """Write ASCII: what a client sent and gets back, such as the name of a field, may hold what has no UTF-8 form."""
        return json.dumps(content).encode()


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> ProblemResponse:
    """Give a problem document as a response."""
    content = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return ProblemResponse(content, status, headers=headers)


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the application, of its pools and of Azure with a problem document."""
    install_error_handlers(app)

    @app.exception_handler(HTTPException)
    async def answer_http_exception(_request: Request, error: HTTPException) -> ProblemResponse:
        return problem(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def answer_invalid_request(_request: Request, error: RequestValidationError) -> ProblemResponse:
        # Without the input: it need not be anything that JSON can say, such as NaN.
        errors = [{"loc": one["loc"], "msg": one["msg"], "type": one["type"]} for one in error.errors()]
        return problem(422, "The request is not valid.", errors=errors)

    @app.exception_handler(AzureError)
    async def answer_azure_error(request: Request, error: AzureError) -> ProblemResponse:
        # A request that got no answer has no status.
        status = error.status_code if isinstance(error, HttpResponseError) else None
        where = f"{request.method} {request.url.path}: {type(error).__name__} {status or ''}".rstrip()
        if isinstance(error, HttpResponseError) and status not in _PASSING:
            _logger.error("%s: %s", where, error)
            return problem(502, "The database did not accept the service's request.")
        _logger.warning("%s", where)
        return problem(
            503, "The database cannot answer at the moment.", {"Retry-After": str(_retry_after_seconds(error))}
        )


def document(detail: str, *, description: str) -> dict[str, Any]:
    """Describe a problem for ``responses=`` of a route, by an example."""
    return {
        "description": description,
        "content": {PROBLEM_JSON: {"schema": _SCHEMA, "example": {"detail": detail}}},
    }


_SCHEMA = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def _retry_after_seconds(error: AzureError) -> int:
    """Give the whole seconds, at least 1, after which Azure wants to be asked again."""
    milliseconds = getattr(error, "headers", {}).get("x-ms-retry-after-ms", 0)
    return max(1, math.ceil(float(milliseconds) / 1000))
