"""What Event Grid answers when it refuses: status, code, message and detail.

Sources: "Troubleshoot Azure Event Grid errors" and the answers quoted in Azure/azure-sdk-for-python#16055 and #15941.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid

_CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "RequestEntityTooLarge",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
INPUT_JSON_INVALID = "InputJsonInvalid"


class EventGridError(Exception):
    """A refusal by the emulated Event Grid, raised where the rule is and answered by the service.

    Attributes:
        status: The HTTP status.
        message: What the body says.
        detail: The code in the body's details; by default the status's own.
    """

    def __init__(self, status: int, message: str, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail

    def body(self) -> bytes:
        """Return the answer's body, in the form that Azure gives it."""
        code = _CODES.get(self.status, str(self.status))
        now = dt.datetime.now(dt.UTC).strftime("%m/%d/%Y %I:%M:%S %p (UTC)")
        message = (
            f"{self.message} Report '{uuid.uuid4()}:0:{now}' to our forums for assistance or raise a support ticket."
        )
        details = [{"code": self.detail or code, "message": message}]
        return json.dumps({"error": {"code": code, "message": message, "details": details}}).encode()


def invalid_input(message: str) -> EventGridError:
    """Return the 400 for a body that the topic's schema does not allow."""
    return EventGridError(400, message, detail=INPUT_JSON_INVALID)


def unauthorized(message: str) -> EventGridError:
    """Return the 401 for a request without good authorization."""
    return EventGridError(401, message)


def injected(status: int) -> EventGridError:
    """Return the refusal for a fault that was asked for."""
    messages = {
        401: "The request authorization key is not authorized for this topic. This is due to the reason: it was rotated.",
        429: "The topic receives more events than its limit allows; please retry later.",
        503: "The service is currently unavailable; please retry later.",
    }
    return EventGridError(status, messages.get(status, f"The emulator was asked to answer {status}."))
