"""Who may use which entity: shared access signatures and Entra tokens, both really checked.

Sources: "Authenticate access to Event Hubs resources using shared access signatures (SAS)" for the token's form;
"AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide", claims-based security.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from fastapi_azure_pool.emulator.tokens import InvalidToken, TokenIssuer

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_NAME = "RootManageSharedAccessKey"

# What the emulator is called when nobody gives a key: no secret, as the official emulator's well-known key is none.
DEFAULT_KEY = base64.b64encode(
    hashlib.sha256(b"the well-known key of the fastapi-azure-pool emulator").digest()
).decode()

SAS_TOKEN = "servicebus.windows.net:sastoken"  # noqa: S105 - the name of a kind of token
JWT_TOKEN = "jwt"  # noqa: S105 - see above

_SCHEME = "SharedAccessSignature "

_AUDIENCE_HOSTS = frozenset({"eventhubs.azure.net", "servicebus.azure.net"})
_NAMESPACE_DOMAIN = ".servicebus.windows.net"

# Longer than any test; a token that lives longer is looked at again then.
_LONGEST_TIMER_SECONDS = 24 * 60 * 60.0


class TokenRefused(Exception):
    """A token that is worth nothing here.

    Args:
        status: What ``$cbs`` answers.
        description: What it says about it.
    """

    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.description = description


class Access:
    """Checks tokens for one namespace.

    Args:
        key: The shared access key of RootManageSharedAccessKey; any text, as Azure takes its bytes as they are.
        issuer: Whose tokens it takes.

    Raises:
        ValueError: The key is empty.
    """

    def __init__(self, key: str, issuer: TokenIssuer) -> None:
        if not key:
            raise ValueError("amqp_key must not be empty")
        if ";" in key:
            raise ValueError("amqp_key must not have a semicolon in it: a connection string could not carry it")
        self.key = key
        self._issuer = issuer

    def is_key(self, name: str, key: str) -> bool:
        """Whether this is the name and the key."""
        return name == KEY_NAME and hmac.compare_digest(key.encode(), self.key.encode())

    def check(self, kind: str, token: object, resource: str) -> float:
        """Return when a token for a resource expires, in seconds since 1970.

        Args:
            kind: What kind of token it is.
            token: The token.
            resource: The URL that the client wants to use.

        Raises:
            TokenRefused: 401, or 400 when it is no token at all.
        """
        if not isinstance(token, str):
            raise TokenRefused(400, "The token must be a string.")
        if kind not in {SAS_TOKEN, JWT_TOKEN}:
            raise TokenRefused(400, f"The token type '{kind}' is not supported: send {SAS_TOKEN} or {JWT_TOKEN}.")
        # azure-servicebus calls its signatures jwt, and the service takes them
        if token.startswith(_SCHEME):
            return self._check_signature(token, resource)
        return self._check_jwt(token, resource)

    def _check_signature(self, token: str, resource: str) -> float:
        text = token.removeprefix(_SCHEME)
        fields = {name: value for name, _, value in (field.partition("=") for field in text.split("&"))}
        if not all(fields.get(name) for name in ("sr", "sig", "se", "skn")):
            raise TokenRefused(
                401, "MalformedToken: A shared access signature reads SharedAccessSignature sr=..&sig=..&se=..&skn=.."
            )
        if unquote(fields["skn"]) != KEY_NAME:
            raise TokenRefused(401, "InvalidSignature: The token has an invalid signature: its key name is unknown.")
        expected = hmac.digest(self.key.encode(), f"{fields['sr']}\n{fields['se']}".encode(), "sha256")
        if not hmac.compare_digest(_decoded(unquote(fields["sig"])), expected):
            raise TokenRefused(401, "InvalidSignature: The token has an invalid signature.")
        try:
            expires_at = float(unquote(fields["se"]))
        except ValueError:
            raise TokenRefused(401, "MalformedToken: The expiry (se) is no number.") from None
        if not expires_at > time.time():
            raise TokenRefused(401, f"ExpiredToken: The token is expired. Expiration time: {fields['se']}.")
        if not _is_within(resource, unquote(fields["sr"])):
            raise TokenRefused(401, f"InvalidAudience: The token was made for another resource than '{resource}'.")
        return expires_at

    def _check_jwt(self, token: str, resource: str) -> float:
        try:
            audience = self._issuer.verify(token)
        except InvalidToken as error:
            raise TokenRefused(401, f"InvalidToken: The token could not be validated: {error}") from error
        url = urlsplit(audience)
        host = url.hostname or ""
        own = host == (urlsplit(resource).hostname or "") or host.endswith(_NAMESPACE_DOMAIN)
        if host not in _AUDIENCE_HOSTS and not own:
            raise TokenRefused(401, f"InvalidAudience: The authorization token has the wrong audience {host}.")
        return self._issuer.expires_at(token)


class Grants:
    """What one connection may use, and until when.

    Args:
        on_expiry: Called when something has expired.
    """

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self._on_expiry = on_expiry
        self._expiries: dict[str, float | None] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def add(self, path: str, expires_at: float | None) -> None:
        """Allow a path and all below it, until a time in seconds since 1970; None: for ever."""
        path = path.lower()
        self._expiries[path] = expires_at
        if path in self._timers:
            self._timers.pop(path).cancel()
        if expires_at is not None:
            delay = min(max(expires_at - time.time(), 0.0), _LONGEST_TIMER_SECONDS)
            self._timers[path] = asyncio.get_running_loop().call_later(delay, self._look, path)

    def cover(self, entity: str) -> bool:
        """Whether an entity may be used now."""
        entity = entity.lower()
        now = time.time()
        return any(
            (expires_at is None or expires_at > now) and (not path or entity == path or entity.startswith(f"{path}/"))
            for path, expires_at in self._expiries.items()
        )

    def clear(self) -> None:
        """Allow nothing any more."""
        self._expiries.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look(self, path: str) -> None:
        expires_at = self._expiries[path]
        if expires_at is not None and expires_at > time.time():
            self.add(path, expires_at)  # the loop's clock and the wall's differ, or the timer was the longest
            return
        del self._expiries[path], self._timers[path]
        self._on_expiry()


def shared_access_signature(resource: str, key: str, expires_at: float, key_name: str = KEY_NAME) -> str:
    """Return a token for a resource, as the SDKs make it from a key."""
    name, expiry = quote(resource, safe=""), str(int(expires_at))
    signature = base64.b64encode(hmac.digest(key.encode(), f"{name}\n{expiry}".encode(), "sha256")).decode()
    return f"{_SCHEME}sr={name}&sig={quote(signature, safe='')}&se={expiry}&skn={key_name}"


def entity_path(url: str) -> str:
    """Return the path of an address or resource, without a slash at either end: ``sb://host:1/hub/`` gives ``hub``."""
    _, separator, rest = url.partition("://")
    if separator:
        _, _, url = rest.partition("/")
    return url.strip("/")


def _is_within(resource: str, granted: str) -> bool:
    asked, given = _parts(resource), _parts(granted)
    return asked[: len(given)] == given


def _parts(url: str) -> list[str]:
    _, separator, rest = url.partition("://")
    return (rest if separator else url).rstrip("/").lower().split("/")


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
