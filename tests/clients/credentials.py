"""Async credentials by hand, which count what they are asked."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

from azure.core.credentials import AccessToken, AccessTokenInfo

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.credentials import TokenRequestOptions


class CountingCredential:
    """Gives a new token for each request, as soon as it is let.

    Attributes:
        made: The credentials of this class so far, oldest first; to be emptied by a test that looks at it.
        requests: What `get_token` was called with: scopes and options.
        let: Requests wait for it; set unless a test clears it.
        error: What requests raise instead.
        times_closed: How often it was closed.
        use_after_close: Whether a token was asked for after it was closed.
    """

    made: list[CountingCredential] = []  # noqa: RUF012 - a register of instances

    def __init__(self, token: str = "token") -> None:
        self.made.append(self)
        self.requests: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.let = asyncio.Event()
        self.let.set()
        self.error: Exception | None = None
        self.times_closed = 0
        self.use_after_close = False
        self._token = token

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        """Give a token that is good for an hour."""
        given = {"claims": claims, "tenant_id": tenant_id, "enable_cae": enable_cae, **options}
        self.requests.append((scopes, {name: value for name, value in given.items() if value}))
        self.use_after_close = self.use_after_close or bool(self.times_closed)
        number = len(self.requests)
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return AccessToken(f"{self._token}-{number}", int(time.time()) + 3600)

    async def close(self) -> None:
        """Count a close."""
        self.times_closed += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


class InformingCredential(CountingCredential):
    """Offers the newer ``get_token_info`` as well.

    Attributes:
        info_requests: What `get_token_info` was called with.
    """

    def __init__(self, token: str = "token") -> None:
        super().__init__(token)
        self.info_requests: list[tuple[tuple[str, ...], TokenRequestOptions | None]] = []

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Give a token that is good for an hour and should be renewed after half of it."""
        self.info_requests.append((scopes, options))
        await self.let.wait()
        if self.error is not None:
            raise self.error
        now = int(time.time())
        return AccessTokenInfo(f"info-{len(self.info_requests)}", now + 3600, refresh_on=now + 1800)
