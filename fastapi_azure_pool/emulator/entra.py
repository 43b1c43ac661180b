"""The token endpoint of Microsoft Entra ID (v2.0), for workloads that prove who they are with a token of their cluster's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fastapi_azure_pool.emulator.tokens import TENANT_ID, InvalidToken

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.tokens import TokenIssuer

_PATH = re.compile(r"/([^/]+)/oauth2/v2\.0/token")
_DEFAULT = "/.default"
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class EntraError(Exception):
    """A refusal in Entra ID's words.

    Args:
        status: The HTTP status.
        error: The name of the error, as OAuth 2.0 has it.
        code: The number behind "AADSTS".
        message: What it says.
    """

    def __init__(self, status: int, error: str, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.code = code
        self.message = message


def is_token_path(path: str) -> bool:
    """Tell whether a path is that of a tenant's token endpoint."""
    return _PATH.fullmatch(path) is not None


def parameters_of(body: bytes) -> dict[str, str]:
    """Give the fields of a form, and as "resource" the resource whose scope they name."""
    fields = dict(parse_qsl(body.decode("latin-1")))
    scope = fields.get("scope", "")
    if scope.endswith(_DEFAULT):
        fields["resource"] = scope.removesuffix(_DEFAULT)
    return fields


def check_token_request(path: str, fields: dict[str, str], issuer: TokenIssuer) -> None:
    """Check what a workload sends to get a token: client credentials with the federated token as assertion.

    Raises:
        EntraError: It is none that Entra ID would give a token for.

    Source:
        "Microsoft identity platform and the OAuth 2.0 client credentials flow", third case; "Microsoft Entra authentication and
        authorization error codes".
    """
    match = _PATH.fullmatch(path)
    tenant = match[1] if match is not None else ""
    if tenant != TENANT_ID:
        raise EntraError(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
    for name in ("grant_type", "client_id", "scope"):
        if not fields.get(name):
            message = f"The request body must contain the following parameter: '{name}'."
            raise EntraError(400, "invalid_request", 900144, message)
    if fields["grant_type"] != "client_credentials":
        message = f"The app requested an unsupported grant type '{fields['grant_type']}'."
        raise EntraError(400, "unsupported_grant_type", 70003, message)
    if "resource" not in fields:
        message = f"The provided value for scope {fields['scope']} is not valid: it must end in {_DEFAULT}."
        raise EntraError(400, "invalid_scope", 1002012, message)
    if fields.get("client_assertion_type") != _JWT_BEARER or not fields.get("client_assertion"):
        message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        raise EntraError(401, "invalid_client", 7000218, message)
    try:
        issuer.verify_federated(fields["client_assertion"])
    except InvalidToken as error:
        message = f"Client assertion failed signature validation, or has expired: {error}"
        raise EntraError(401, "invalid_client", 700027, message) from error
