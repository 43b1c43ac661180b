"""Who may do what: the account key's signature, shared access signatures and Entra tokens, all really checked.

Sources: "Authorize with Shared Key" and "Authorize with Microsoft Entra ID" (REST reference).
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fastapi_azure_pool.emulator.blob.culture import culture_key
from fastapi_azure_pool.emulator.blob.errors import BlobError, authentication_failed, invalid_header
from fastapi_azure_pool.emulator.blob.grant import EVERYTHING, Grant
from fastapi_azure_pool.emulator.blob.request import BlobRequest, query_pairs
from fastapi_azure_pool.emulator.blob.sas import SharedAccess
from fastapi_azure_pool.emulator.signing import decode_key, http_timestamp, is_recent
from fastapi_azure_pool.emulator.tokens import TENANT_ID, InvalidToken, TokenIssuer

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.blob.sas import Need

# The account and key that every emulator of Azure Storage has, written down in Microsoft's documentation: no secret.
DEFAULT_ACCOUNT = "devstoreaccount1"
DEFAULT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

AUDIENCE = "https://storage.azure.com"

_CHALLENGE = (
    f"Bearer authorization_uri=https://login.microsoftonline.com/{TENANT_ID}/oauth2/authorize resource_id={AUDIENCE}"
)

# In the order in which they are signed; an absent one is an empty line.
_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


class Authorization:
    """Finds out what the sender of a request to one account may do.

    Args:
        account: The account's name.
        key: The account's key, in base64.
        issuer: Whose tokens it takes.

    Attributes:
        account: The account's name.

    Raises:
        ValueError: The key is not base64, or empty.
    """

    def __init__(self, account: str, key: str, issuer: TokenIssuer) -> None:
        secret = decode_key(key, "storage_key", "an account")
        self.account = account
        self._secret = secret
        self._issuer = issuer
        self.shared_access = SharedAccess(account, secret)

    def grant(self, request: BlobRequest, need: Need) -> Grant:
        """Return what the sender may.

        Raises:
            BlobError: 401 without or with an unknown kind of authorization or with a bad token, 403 with a signature that
                does not hold or does not reach so far.
        """
        header = request.headers.get("authorization")
        if header is None:
            if "sig" in request.query:
                return self.shared_access.grant(request, need)
            raise _challenge(
                "NoAuthenticationInformation",
                "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
            )
        scheme, _, credentials = header.partition(" ")
        scheme = scheme.lower()
        if scheme == "sharedkey":
            self._check_signature(request, credentials)
            return EVERYTHING
        if scheme == "bearer":
            if "skoid" in request.query:
                raise authentication_failed(
                    "A signature for one user is not supported by this emulator: omit the token."
                )
            self._check_token(request, credentials.strip())
            return Grant(is_token=True)
        raise _invalid_authentication()

    def _check_signature(self, request: BlobRequest, credentials: str) -> None:
        account, colon, signature = credentials.partition(":")
        if not colon:
            raise invalid_header("Authorization", "SharedKey without account:signature")
        if account != self.account:
            raise authentication_failed(f"The account {account!r} is not the one of this emulator: {self.account!r}.")
        _check_date(request)
        payload = self._payload(request, in_culture=False)
        if not self._is_signature(signature, payload):
            # most clients sort the headers as .NET does, where a hyphen and an underscore count less than letters
            other = self._payload(request, in_culture=True)
            if other == payload or not self._is_signature(signature, other):
                shown = payload.replace("\n", "\\n")
                raise authentication_failed(
                    "The MAC signature found in the HTTP request is not the same as any computed signature. Server used "
                    f"following string to sign: '{shown}'."
                )

    def _is_signature(self, signature: str, payload: str) -> bool:
        expected = base64.b64encode(hmac.digest(self._secret, payload.encode("utf-8", "surrogateescape"), "sha256"))
        return hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected)

    def _payload(self, request: BlobRequest, *, in_culture: bool) -> str:
        headers = request.headers
        lines = [request.method]
        lines += [headers.get(name, "") for name in _SIGNED_HEADERS]
        if lines[3] == "0":
            lines[3] = ""
        names = [name for name in headers if name.startswith("x-ms-")]
        names.sort(key=culture_key if in_culture else None)
        lines += [f"{name}:{headers[name].strip()}" for name in names]
        lines.append(f"/{self.account}{request.raw_path.decode('latin-1')}")
        if request.query_string:
            pairs = sorted(query_pairs(request.query_string))
            lines += [f"{name.lower()}:{unquote(value)}" for name, value in pairs]
        return "\n".join(lines)

    def _check_token(self, request: BlobRequest, token: str) -> None:
        if request.scheme != "https":
            raise authentication_failed("Authentication scheme Bearer is not allowed with HTTP.")
        try:
            audience = self._issuer.verify(token).rstrip("/")
        except InvalidToken as error:
            raise _invalid_authentication() from error
        if audience not in {AUDIENCE, f"https://{self.account}.blob.core.windows.net"}:
            raise _challenge(
                "InvalidAuthenticationInfo",
                "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
                f"Audience validation failed. Did not match: {AUDIENCE}.",
            )


def _challenge(code: str, message: str, detail: str = "") -> BlobError:
    details = {"AuthenticationErrorDetail": detail} if detail else {}
    return BlobError(401, code, message, details=details, headers={"www-authenticate": _CHALLENGE})


def _invalid_authentication() -> BlobError:
    return _challenge(
        "InvalidAuthenticationInfo",
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
        "The authentication information was not provided in the correct format. Verify the value of Authorization header.",
    )


def _check_date(request: BlobRequest) -> None:
    text = request.headers.get("x-ms-date") or request.headers.get("date", "")
    sent_at = http_timestamp(text)
    if sent_at is None:
        raise authentication_failed("The request needs a date in x-ms-date, as RFC 1123 writes it.")
    if not is_recent(sent_at):
        raise authentication_failed(f"Request date header too old: '{text}'")
