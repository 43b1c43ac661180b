"""Who may do what: the account key's signature and Entra tokens, both really checked.

Sources: "Access control on Azure Cosmos DB resources" (REST reference) for the signature, its payload and the token's
age; "Configure role-based access control with Microsoft Entra ID for your Azure Cosmos DB account" for what a token
cannot do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from fastapi_azure_pool.emulator.cosmos.errors import AAD_REQUEST_NOT_AUTHORIZED, CosmosError
from fastapi_azure_pool.emulator.signing import decode_key, http_timestamp, is_recent
from fastapi_azure_pool.emulator.tokens import InvalidToken, TokenIssuer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SERVICE_AUDIENCE = "https://cosmos.azure.com"

# What the emulator is called when nobody gives a key: no secret, as the official emulator's well-known key is none.
DEFAULT_KEY = base64.b64encode(
    hashlib.sha512(b"the well-known key of the fastapi-azure-pool emulator").digest()
).decode()

_WRONG_KEY = (
    "The input authorization token can't serve the request. The wrong key is being used or the expected payload is not "
    "built as per the protocol. For more info: https://aka.ms/cosmosdb-tsg-unauthorized. Server used the following payload "
    "to sign: '{payload}'"
)


class Authorization:
    """Checks the ``authorization`` header of every request to one account.

    Args:
        key: The account's key, in base64.
        issuer: Whose tokens it takes.

    Raises:
        ValueError: The key is not base64, or empty.
    """

    def __init__(self, key: str, issuer: TokenIssuer) -> None:
        self._secret = decode_key(key, "cosmos_key", "an account")
        self._issuer = issuer
        self.audiences: Collection[str] = ()

    def set_account_hosts(self, hosts: Collection[str]) -> None:
        """Tell it by which host names, with and without port, the account is known as an audience."""
        names = {f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")}
        self.audiences = frozenset(names | {_SERVICE_AUDIENCE})

    def check(self, method: str, resource_type: str, resource_link: str, headers: Mapping[str, str]) -> None:
        """Return if the request may be served.

        Raises:
            CosmosError: 401 without or with a wrong signature or token, 403 when the date is too far off or a token asks
                for what needs the key.
        """
        header = headers.get("authorization")
        if not header:
            raise CosmosError(
                401, "Required Header authorization is missing. Ensure a valid Authorization token is passed."
            )
        fields = _parse(header)
        kind = fields.get("type")
        if fields.get("ver") != "1.0" or not fields.get("sig") or kind not in {"master", "aad"}:
            raise CosmosError(401, "The input authorization token is not well formed: type, ver and sig are required.")
        if kind == "master":
            self._check_signature(fields["sig"], method, resource_type, resource_link, headers)
        else:
            self._check_token(fields["sig"], method, resource_type)

    def _check_signature(
        self, signature: str, method: str, resource_type: str, resource_link: str, headers: Mapping[str, str]
    ) -> None:
        date = headers.get("x-ms-date", "")
        http_date = "" if date else headers.get("date", "")
        sent_at = http_timestamp(date or http_date)
        if sent_at is None:
            raise CosmosError(401, "The authorization token needs a date in x-ms-date, as RFC 1123 writes it.")
        payload = f"{method.lower()}\n{resource_type}\n{resource_link}\n{date.lower()}\n{http_date.lower()}\n"
        expected = base64.b64encode(hmac.digest(self._secret, payload.encode(), "sha256"))
        if not hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected):
            raise CosmosError(401, _WRONG_KEY.format(payload=payload.replace("\n", "\\n")))
        if not is_recent(sent_at):
            message = (
                "The authorization token is not valid at the current time. Please create another token and retry "
                f"(token start time: {date or http_date})."
            )
            raise CosmosError(403, message)

    def _check_token(self, token: str, method: str, resource_type: str) -> None:
        try:
            audience = self._issuer.verify(token)
        except InvalidToken as error:
            raise CosmosError(401, f"Entra token could not be authenticated: {error}") from error
        if audience.rstrip("/") not in self.audiences:
            host = urlsplit(audience).hostname if "://" in audience else audience
            raise CosmosError(
                401, f"Entra token has the wrong audience {host}, not this account or {_SERVICE_AUDIENCE}."
            )
        if resource_type in {"dbs", "colls"} and method != "GET":
            message = (
                f"Request blocked by Auth: {method} {resource_type} cannot be authorized by AAD token in data plane. "
                "Learn more: https://aka.ms/cosmos-native-rbac."
            )
            raise CosmosError(403, message, substatus=AAD_REQUEST_NOT_AUTHORIZED)


def _parse(header: str) -> dict[str, str]:
    if "%" in header:
        header = unquote(header)
    # a base64 signature ends in "=": only the first one of a field separates
    return {name: value for name, _, value in (field.partition("=") for field in header.split("&"))}
