"""Who may publish: a topic's key, a signature made with it, and Entra tokens, all really checked.

Sources: "Authenticate Azure Event Grid clients using access keys or shared access signatures"; "Authentication and authorization
with Microsoft Entra ID" for Event Grid publishers.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus, urlsplit

from fastapi_azure_pool.emulator.eventgrid.errors import EventGridError, unauthorized
from fastapi_azure_pool.emulator.signing import decode_key, iso_time
from fastapi_azure_pool.emulator.tokens import InvalidToken, TokenIssuer

if TYPE_CHECKING:
    from collections.abc import Mapping

_AUDIENCE = "https://eventgrid.azure.net"

# What the emulator is called when nobody gives a key: no secret, so that it can be pasted once.
DEFAULT_KEY = base64.b64encode(
    hashlib.sha256(b"the well-known Event Grid key of the fastapi-azure-pool emulator").digest()
).decode()

_NOTHING_GIVEN = "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key."

# How the C# sample writes a signature's end; those of the SDKs are ISO 8601.
_US_TIME = "%m/%d/%Y %I:%M:%S %p"


class Authorization:
    """Checks what authorizes each request; the topics of one emulator share one key.

    Args:
        key: The key, in base64.
        issuer: Whose tokens it takes.

    Raises:
        ValueError: The key is not base64, or empty.
    """

    def __init__(self, key: str, issuer: TokenIssuer) -> None:
        self._secret = decode_key(key, "eventgrid_key", "a topic")
        self._key = key
        self._issuer = issuer

    def check(self, headers: Mapping[str, str], host: str, path: str) -> None:
        """Return if the request may be served.

        Args:
            headers: The request's, their names in lower case.
            host: The host and port that it was sent to.
            path: The topic's path.

        Raises:
            EventGridError: 401 without or with a wrong key, signature or token.
        """
        scheme, _, value = headers.get("authorization", "").partition(" ")
        scheme = scheme.lower()
        signature = headers.get("aeg-sas-token", value if scheme == "sharedaccesssignature" else "")
        if "aeg-sas-key" in headers:
            if not _is_same(headers["aeg-sas-key"], self._key):
                raise _refusal(host, "The given key is not one of the topic's keys")
        elif signature:
            self._check_signature(signature, host, path)
        elif scheme == "bearer":
            self._check_token(value, host)
        else:
            raise unauthorized(_NOTHING_GIVEN)

    def _check_signature(self, token: str, host: str, path: str) -> None:
        signed, _, signature = token.partition("&s=")
        fields = dict(field.partition("=")[::2] for field in signed.split("&"))
        resource, expiry = unquote_plus(fields.get("r", "")), _time(unquote_plus(fields.get("e", "")))
        if not resource or expiry is None or not signature:
            raise _refusal(host, "The shared access signature must read r=<resource>&e=<expiry in UTC>&s=<signature>")
        expected = base64.b64encode(hmac.digest(self._secret, signed.encode("utf-8"), "sha256")).decode()
        if not _is_same(unquote_plus(signature.replace("+", "%2B")), expected):
            raise _refusal(host, "The signature is not one that the topic's key makes")
        if not _covers(resource, host, path):
            raise _refusal(host, "The shared access signature is for another resource")
        if expiry <= dt.datetime.now(dt.UTC):
            raise _refusal(host, "The shared access signature has expired")

    def _check_token(self, token: str, host: str) -> None:
        try:
            audience = self._issuer.verify(token.strip())
        except InvalidToken as error:
            raise _refusal(host, f"The access token could not be authenticated: {error}") from error
        if audience.rstrip("/") != _AUDIENCE:
            raise _refusal(host, f"The access token has the wrong audience, not {_AUDIENCE}")


def _refusal(host: str, reason: str) -> EventGridError:
    return unauthorized(
        f"The request authorization key is not authorized for {host.upper()}. This is due to the reason: {reason}."
    )


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())


def _time(text: str) -> dt.datetime | None:
    time = iso_time(text)
    if time is None:
        with suppress(ValueError):
            time = dt.datetime.strptime(text, _US_TIME).replace(tzinfo=dt.UTC)
    return time


def _covers(resource: str, host: str, path: str) -> bool:
    """Tell whether a signature's resource is the topic, or what it lies below; its scheme may be left out."""
    try:
        url = urlsplit(resource if "://" in resource else f"//{resource}")
    except ValueError:
        return False
    return url.netloc.lower() == host.lower() and f"{path}/".startswith(f"{url.path.rstrip('/')}/")
