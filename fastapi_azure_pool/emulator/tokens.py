"""Access tokens as Microsoft Entra ID would sign them, and their verification by the emulated services."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Any

TENANT_ID = "00000000-0000-4000-8000-000000000001"
SYSTEM_ASSIGNED_CLIENT_ID = "00000000-0000-4000-8000-000000000002"

# A managed identity's token is good for 24 hours ("Managed identities for Azure resources", FAQ).
TOKEN_LIFETIME_SECONDS = 24 * 60 * 60

# The services sign with RSA; only this emulator reads its tokens, so a keyed hash serves and starts at once.
_ALGORITHM = "HS256"

# What a cluster's token names as its reader ("Workload identity federation").
_EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
_FEDERATED_LIFETIME_SECONDS = 60 * 60

_MAX_VERIFIED = 1_000


class InvalidToken(Exception):
    """A token that no service of this emulator would take; the message says why."""


class TokenIssuer:
    """Signs and verifies the tokens of one emulator, with a key of its own.

    Attributes:
        lifetime_seconds: For how many seconds new tokens are good.
        refresh_in_seconds: After how many their holders are told to ask for the next one; None to tell them nothing.
    """

    def __init__(self) -> None:
        self.lifetime_seconds: float = TOKEN_LIFETIME_SECONDS
        self.refresh_in_seconds: float | None = None
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, tuple[str, float]] = {}

    def set_lifetime(self, seconds: float | None, refresh_in: float | None) -> None:
        """Set both for tokens from now on; None for the default."""
        self.lifetime_seconds = TOKEN_LIFETIME_SECONDS if seconds is None else seconds
        self.refresh_in_seconds = refresh_in

    def issue(self, audience: str, *, client_id: str = SYSTEM_ASSIGNED_CLIENT_ID, lifetime: float | None = None) -> str:
        """Return a signed token for an audience.

        Args:
            audience: The resource that it is for, such as ``https://cosmos.azure.com``.
            client_id: Whose token it is.
            lifetime: For how many seconds it is good, default ``lifetime_seconds``; negative for one that has expired.
        """
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{TENANT_ID}/",
            "iat": now,
            "nbf": now,
            "exp": now + int(self.lifetime_seconds if lifetime is None else lifetime),
            "appid": client_id,
            "oid": str(uuid.uuid5(uuid.NAMESPACE_OID, client_id)),
            "sub": str(uuid.uuid5(uuid.NAMESPACE_OID, client_id)),
            "tid": TENANT_ID,
            # No two tokens are the same, also within a second: clients tell a new one by that.
            "uti": secrets.token_urlsafe(16),
            "ver": "1.0",
        }
        return self._sign(claims)

    def issue_federated(self, *, lifetime: float | None = None) -> str:
        """Return a token of the workload's own cluster, which Entra ID takes for its proof of identity.

        Args:
            lifetime: For how many seconds it is good, default an hour; negative for one that has expired.
        """
        now = int(time.time())
        claims = {
            "aud": _EXCHANGE_AUDIENCE,
            "iss": "https://cluster.emulator.invalid/",
            "iat": now,
            "exp": now + int(_FEDERATED_LIFETIME_SECONDS if lifetime is None else lifetime),
            "sub": "system:serviceaccount:default:workload",
        }
        return self._sign(claims)

    def verify_federated(self, token: str) -> None:
        """Check the signature, the expiry and the audience of what a workload sends to Entra ID.

        Raises:
            InvalidToken: One of them is not good.
        """
        if self.verify(token) != _EXCHANGE_AUDIENCE:
            raise InvalidToken(f"The audience must be {_EXCHANGE_AUDIENCE}")

    def verify(self, token: str) -> str:
        """Return the audience of a token whose signature and expiry are good.

        Raises:
            InvalidToken: They are not.
        """
        known = self._verified.get(token)
        if known is not None and known[1] > time.time():
            return known[0]
        import jwt  # noqa: PLC0415 - see _sign

        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], options={"verify_aud": False, "require": ["aud", "exp"]}
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(str(error)) from error
        audience = claims["aud"]
        if not isinstance(audience, str):
            raise InvalidToken("The audience must be one string")
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified.clear()
        self._verified[token] = (audience, float(claims["exp"]))
        return audience

    def expires_at(self, token: str) -> float:
        """Return when a token that verify took expires, in seconds since 1970.

        Raises:
            InvalidToken: It is not one.
        """
        self.verify(token)
        return self._verified[token][1]

    def _sign(self, claims: dict[str, Any]) -> str:
        import jwt  # noqa: PLC0415 - loads a library for cryptography, for an emulator that may never see a token

        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token that was verified before."""
    import jwt  # noqa: PLC0415 - as above

    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims
