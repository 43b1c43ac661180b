"""The token endpoints: App Service's and a virtual machine's (IMDS), for managed identities, and Entra ID's, for workloads."""

from __future__ import annotations

import hmac
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import JSONResponse, Response

from fastapi_azure_pool.emulator.entra import EntraError, check_token_request, is_token_path, parameters_of
from fastapi_azure_pool.emulator.http_service import HttpRequest, HttpService
from fastapi_azure_pool.emulator.tokens import (
    SYSTEM_ASSIGNED_CLIENT_ID,
    TENANT_ID,
    TokenIssuer,
)

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.faults import Delivery, Faults

APP_SERVICE_PATH = "/msi/token"
IMDS_PATH = "/metadata/identity/oauth2/token"

# The resources that Azure's data services are known by; the account of a service is known by its own host name as well.
_RESOURCE_HOSTS = frozenset(
    {
        "cosmos.azure.com",
        "eventgrid.azure.net",
        "eventhubs.azure.net",
        "graph.microsoft.com",
        "management.azure.com",
        "management.core.windows.net",
        "servicebus.azure.net",
        "storage.azure.com",
        "vault.azure.net",
    }
)
_RESOURCE_DOMAINS = (
    ".blob.core.windows.net",
    ".documents.azure.com",
    ".eventgrid.azure.net",
    ".servicebus.windows.net",
)
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

# App Service makes a new secret for each instance; this one stays, so that it can be pasted once.
_IDENTITY_HEADER = "identity-header-of-the-emulator"

_MAX_REMEMBERED = 1_000

Form = Literal["app service", "imds", "entra"]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request to the token endpoint: which form it had, for what and whom, and the status of the answer."""

    form: Form
    resource: str | None
    client_id: str | None
    status: int


class IdentityService(HttpService):
    """Serves all forms of the token endpoint; Entra ID's on a port of its own, since that one is over TLS.

    Sources: "How to use managed identities for App Service and Azure Functions", REST endpoint reference; "How to use
    managed identities for Azure resources on an Azure VM to acquire an access token", with its error table.
    """

    def __init__(self, faults: Faults, issuer: TokenIssuer) -> None:
        super().__init__("identity", faults, max_body_bytes=16 * 1024)
        self.token_requests: deque[TokenRequest] = deque(maxlen=_MAX_REMEMBERED)
        self.identity_header = _IDENTITY_HEADER
        self._issuer = issuer

    def answer(self, request: HttpRequest) -> Response:
        """Give a token, or say as Azure does why not."""
        form = _form(request.path)
        if form is None:
            return JSONResponse({"error": "not_found", "error_description": "No such endpoint"}, 404)
        if form == "entra":
            return self._answer_entra(request)
        if request.method != "GET":
            return self._refuse(request, form, 405, "invalid_request", "Only GET is allowed")
        query = _parameters(request, form)
        if form == "imds":
            if request.headers.get("metadata", "").lower() != "true":
                return self._refuse(request, form, 400, "bad_request_102", "Required metadata header not specified")
            if "x-forwarded-for" in request.headers:
                return self._refuse(request, form, 400, "bad_request_102", "X-Forwarded-For header is not allowed")
        elif not hmac.compare_digest(
            request.headers.get("x-identity-header", "").encode("latin-1"), self.identity_header.encode("latin-1")
        ):
            return self._refuse(request, form, 401, "unauthorized_client", "X-IDENTITY-HEADER is missing or wrong")
        if "api-version" not in query:
            return self._refuse(
                request, form, 400, "invalid_request", "Required query variable 'api-version' is missing"
            )
        resource = query.get("resource")
        if not resource:
            return self._refuse(request, form, 400, "invalid_request", "Required query variable 'resource' is missing")
        if not _is_known_resource(resource):
            # azure-cosmos looks for this code and falls back to https://cosmos.azure.com
            return self._refuse(request, form, 400, "invalid_resource", f"AADSTS500011: {_not_found(resource)}")
        client_id = _client_id(query) or SYSTEM_ASSIGNED_CLIENT_ID
        self._remember(form, query, 200)
        return JSONResponse(self._token(form, resource, client_id))

    def fault_response(self, request: HttpRequest, delivery: Delivery) -> Response:
        """Refuse a token with the injected status."""
        form = _form(request.path) or "imds"
        error = {400: "invalid_request", 429: "too_many_requests"}.get(delivery.status, "unknown")
        message = {400: "Identity not found", 429: "Too many requests"}.get(
            delivery.status, "Failed to retrieve a token"
        )
        response = self._refuse(request, form, delivery.status, error, message)
        if delivery.retry_after is not None:
            response.headers["retry-after"] = str(math.ceil(delivery.retry_after))
        return response

    def _answer_entra(self, request: HttpRequest) -> Response:
        fields = _parameters(request, "entra")
        try:
            if request.method != "POST":
                raise EntraError(405, "invalid_request", 900561, "The endpoint only accepts POST requests.")
            check_token_request(request.path, fields, self._issuer)
            if not _is_known_resource(fields["resource"]):
                raise EntraError(400, "invalid_resource", 500011, _not_found(fields["resource"]))
        except EntraError as error:
            return self._refuse(
                request, "entra", error.status, error.error, f"AADSTS{error.code}: {error.message}", error.code
            )
        self._remember("entra", fields, 200)
        lifetime = int(self._issuer.lifetime_seconds)
        token: dict[str, object] = {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": self._issuer.issue(fields["resource"], client_id=fields["client_id"]),
        }
        if self._issuer.refresh_in_seconds is not None:
            token["refresh_in"] = math.ceil(self._issuer.refresh_in_seconds)
        return JSONResponse(token)

    def _token(self, form: Form, resource: str, client_id: str) -> dict[str, object]:
        now = int(time.time())
        lifetime = int(self._issuer.lifetime_seconds)
        token: dict[str, object] = {
            "access_token": self._issuer.issue(resource, client_id=client_id),
            "client_id": client_id,
            "expires_on": str(now + lifetime),
            "resource": resource,
            "token_type": "Bearer",
        }
        if form == "imds":
            token |= {
                "expires_in": str(lifetime),
                "ext_expires_in": str(lifetime),
                "not_before": str(now),
            }
        if self._issuer.refresh_in_seconds is not None:
            token["refresh_in"] = math.ceil(self._issuer.refresh_in_seconds)
        return token

    def _refuse(
        self, request: HttpRequest, form: Form, status: int, error: str, message: str, code: int | None = None
    ) -> Response:
        self._remember(form, _parameters(request, form), status)
        if form == "app service":
            return JSONResponse({"statusCode": status, "message": f"{error}: {message}"}, status)
        body: dict[str, object] = {"error": error, "error_description": message}
        if code is not None:
            body["error_codes"] = [code]
        return JSONResponse(body, status)

    def _remember(self, form: Form, query: dict[str, str], status: int) -> None:
        self.token_requests.append(TokenRequest(form, query.get("resource"), _client_id(query), status))


def _form(path: str) -> Form | None:
    path = path.rstrip("/")
    if path == APP_SERVICE_PATH:
        return "app service"
    if is_token_path(path):
        return "entra"
    return "imds" if path == IMDS_PATH else None


def _parameters(request: HttpRequest, form: Form) -> dict[str, str]:
    if form == "entra":
        return parameters_of(request.body)
    return dict(parse_qsl(request.query_string.decode("latin-1")))


def _not_found(resource: str) -> str:
    return f"The resource principal named {resource} was not found in the tenant named {TENANT_ID}."


def _client_id(query: dict[str, str]) -> str | None:
    # a user-assigned identity may be named in any of these ways
    return next(
        (query[name] for name in ("client_id", "object_id", "principal_id", "mi_res_id") if name in query), None
    )


def _is_known_resource(resource: str) -> bool:
    try:
        host = urlsplit(resource).hostname
    except ValueError:
        return False
    if host is None:
        return False
    return host in _RESOURCE_HOSTS or host in _LOOPBACK_HOSTS or host.endswith(_RESOURCE_DOMAINS)
