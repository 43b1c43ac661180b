"""What Blob Storage answers when it refuses: status, code and message.

Sources: "Status and error codes", "Common REST API error codes" and "Blob service error codes" (REST reference).
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class BlobError(Exception):
    """A refusal by the emulated Blob Storage, raised where the rule is and answered by the service.

    Attributes:
        status: The HTTP status.
        code: The value of ``x-ms-error-code``.
        message: What the body says.
        details: More elements of the body, by their names.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})

    def body(self, request_id: str, time: str) -> bytes:
        """Return the answer's body, in the form that Azure gives it."""
        details = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in self.details.items())
        message = escape(f"{self.message}\nRequestId:{request_id}\nTime:{time}")
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{self.code}</Code><Message>{message}</Message>'
            f"{details}</Error>"
        )
        # a header or a name can hold what no XML document may
        return text.translate(_NOT_IN_XML).encode("utf-8", "replace")


_NOT_IN_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], "?")


def not_supported(what: str) -> BlobError:
    """Return the 501 for what Azure can do and this emulator cannot."""
    return BlobError(501, "NotImplemented", f"{what} is not supported by this emulator.")


def authentication_failed(detail: str, status: int = 403) -> BlobError:
    """Return the 403 for a signature that does not hold."""
    message = (
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
        "including the signature."
    )
    return BlobError(status, "AuthenticationFailed", message, details={"AuthenticationErrorDetail": detail})


def container_not_found() -> BlobError:
    """Return the 404 for a container that is not there."""
    return BlobError(404, "ContainerNotFound", "The specified container does not exist.")


def blob_not_found() -> BlobError:
    """Return the 404 for a blob that is not there."""
    return BlobError(404, "BlobNotFound", "The specified blob does not exist.")


def blob_already_exists() -> BlobError:
    """Return the 409 for a blob that must not be there."""
    return BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")


def condition_not_met() -> BlobError:
    """Return the 412 for a conditional header that does not hold."""
    return BlobError(412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")


def wrong_blob_type() -> BlobError:
    """Return the 409 for an operation that is another blob type's."""
    return BlobError(409, "InvalidBlobType", "The blob type is invalid for this operation.")


def invalid_header(name: str, value: str) -> BlobError:
    """Return the 400 for a header whose value cannot be."""
    return BlobError(
        400,
        "InvalidHeaderValue",
        "The value for one of the HTTP headers is not in the correct format.",
        details={"HeaderName": name, "HeaderValue": value},
    )


def missing_header(name: str) -> BlobError:
    """Return the 400 for a header that must be there."""
    return BlobError(
        400,
        "MissingRequiredHeader",
        "An HTTP header that's mandatory for this request is not specified.",
        details={"HeaderName": name},
    )


def invalid_query(name: str, value: str, reason: str = "") -> BlobError:
    """Return the 400 for a query parameter whose value cannot be."""
    details = {"QueryParameterName": name, "QueryParameterValue": value}
    return BlobError(
        400,
        "InvalidQueryParameterValue",
        "Value for one of the query parameters specified in the request URI is invalid.",
        details=details | ({"Reason": reason} if reason else {}),
    )


def missing_query(name: str) -> BlobError:
    """Return the 400 for a query parameter that must be there."""
    return BlobError(
        400,
        "MissingRequiredQueryParameter",
        "A query parameter that's mandatory for this request is not specified.",
        details={"QueryParameterName": name},
    )


def out_of_range_query(name: str, value: str, lowest: int, highest: int) -> BlobError:
    """Return the 400 for a number in the query that is out of its bounds."""
    return BlobError(
        400,
        "OutOfRangeQueryParameterValue",
        "One of the query parameters specified in the request URI is outside the permissible range.",
        details={
            "QueryParameterName": name,
            "QueryParameterValue": value,
            "MinimumAllowed": str(lowest),
            "MaximumAllowed": str(highest),
        },
    )


def invalid_xml() -> BlobError:
    """Return the 400 for a body that is no XML, or not the XML that is asked for."""
    return BlobError(400, "InvalidXmlDocument", "XML specified is not syntactically valid.")


def too_large(limit: int) -> BlobError:
    """Return the 413 for a body beyond what the operation takes."""
    return BlobError(
        413,
        "RequestBodyTooLarge",
        "The request body is too large and exceeds the maximum permissible limit.",
        details={"MaxLimit": str(limit)},
    )


def md5_mismatch() -> BlobError:
    """Return the 400 for a body that is not what its hash says."""
    return BlobError(
        400,
        "Md5Mismatch",
        "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
    )


def injected(status: int) -> BlobError:
    """Return the refusal for a fault that was asked for."""
    if status in {429, 503}:
        return BlobError(
            503, "ServerBusy", "The server is currently unable to receive requests. Please retry your request."
        )
    if status == 401:
        return authentication_failed("The emulator was asked to reject the authorization.")
    if status == 500:
        return BlobError(500, "InternalError", "The server encountered an internal error. Please retry the request.")
    return BlobError(status, "InjectedFault", f"The emulator was asked to answer {status}.")
