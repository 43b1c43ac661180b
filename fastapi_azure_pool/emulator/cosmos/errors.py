"""What Cosmos DB answers when it refuses: status, sub-status, code and message.

Sources: "HTTP status codes for Azure Cosmos DB" (REST reference), and the sub-status codes that azure-cosmos names.
"""

from __future__ import annotations

import json

_CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    410: "Gone",
    412: "PreconditionFailed",
    413: "RequestEntityTooLarge",
    429: "TooManyRequests",
    449: "RetryWith",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}

PARTITION_KEY_MISMATCH = 1001
READ_SESSION_NOT_AVAILABLE = 1002
OWNER_NOT_FOUND = 1003
CROSS_PARTITION_QUERY_NOT_SERVABLE = 1004
PARTITION_KEY_RANGE_GONE = 1002
COLLECTION_RID_MISMATCH = 1024
REQUEST_RATE_TOO_LARGE = 3200
AAD_REQUEST_NOT_AUTHORIZED = 5300


class CosmosError(Exception):
    """A refusal by the emulated Cosmos DB, raised where the rule is and answered by the service.

    Attributes:
        status: The HTTP status.
        message: What the body says.
        substatus: The value of ``x-ms-substatus``.
        additional_info: For the one answer that carries a query plan in ``additionalErrorInfo``.
    """

    def __init__(self, status: int, message: str, *, substatus: int = 0, additional_info: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.substatus = substatus
        self.additional_info = additional_info

    def body(self, activity_id: str) -> bytes:
        """Return the answer's body, in the form that Azure gives it."""
        body = {
            "code": _CODES.get(self.status, str(self.status)),
            "message": f"{self.message}\r\nActivityId: {activity_id}, fastapi-azure-pool emulator",
        }
        if self.additional_info is not None:
            body["additionalErrorInfo"] = self.additional_info
        return json.dumps(body, separators=(",", ":")).encode()


def backend_error(status: int, reason: str, *, substatus: int = 0) -> CosmosError:
    """Return a refusal worded as Azure's storage nodes word theirs."""
    return CosmosError(
        status, f"Message: {json.dumps({'Errors': [reason]}, separators=(',', ':'))}", substatus=substatus
    )


def bad_request(message: str, *, substatus: int = 0) -> CosmosError:
    """Return a 400 worded as Azure's gateway words it."""
    return CosmosError(400, message, substatus=substatus)


def not_supported(what: str) -> CosmosError:
    """Return the 400 for what Azure can do and this emulator cannot yet."""
    return CosmosError(400, f"{what} is not supported by this emulator yet.")


def not_found() -> CosmosError:
    """Return the 404 for a resource that is not there."""
    return backend_error(404, "Resource Not Found. Learn more: https://aka.ms/cosmosdb-tsg-not-found")


def owner_not_found() -> CosmosError:
    """Return the 404 for a resource whose database or container is not there."""
    return CosmosError(404, "Owner resource does not exist", substatus=OWNER_NOT_FOUND)


def already_exists() -> CosmosError:
    """Return the 409 for an id that is taken."""
    return backend_error(409, "Resource with specified id or name already exists.")


def not_unique() -> CosmosError:
    """Return the 409 for an item that agrees with another in a unique key."""
    return backend_error(409, "Unique index constraint violation.")


def precondition_failed() -> CosmosError:
    """Return the 412 for an etag that is no longer the resource's."""
    return backend_error(412, "One of the specified pre-condition is not met")


def too_large() -> CosmosError:
    """Return the 413 for an item beyond 2 MB."""
    return backend_error(413, "Request size is too large")


def injected(status: int) -> CosmosError:
    """Return the refusal for a fault that was asked for."""
    if status == 429:
        reason = (
            "Request rate is large. More Request Units may be needed, so no changes were made. Please retry this request "
            "later. Learn more: http://aka.ms/cosmosdb-error-429"
        )
        return backend_error(429, reason, substatus=REQUEST_RATE_TOO_LARGE)
    if status == 401:
        return CosmosError(401, "The input authorization token can't serve the request. The wrong key is being used.")
    if status == 503:
        return CosmosError(503, "Service is currently unavailable, please retry after a while.")
    return CosmosError(status, f"The emulator was asked to answer {status}.")
