"""A credential under virtual time, whose token endpoint does as a test tells it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError

from tests.support.virtual_time import virtual_loop

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.credentials import TokenRequestOptions


class Endpoint:
    """Gives tokens that last for an hour, 0.1 s after each request.

    Attributes:
        lifetime: How many seconds new tokens last.
        refresh_in: After how many they say they should be renewed, or None.
        seconds: How long an answer takes.
        is_down: Whether requests fail.
        repeats: Whether it gives the last token again, as azure-identity does when it has failed, or thinks it too early.
        requested_at: When each request began, on the loop's clock.
        requests: For which scopes, with which options.
        most_at_once: How many requests for the same have been in flight together at most.
    """

    def __init__(self) -> None:
        self.lifetime = 3600
        self.refresh_in: int | None = None
        self.seconds = 0.1
        self.is_down = False
        self.repeats = False
        self.requested_at: list[float] = []
        self.requests: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.most_at_once = 0
        self.given: list[AccessTokenInfo] = []
        self._in_flight: Counter[object] = Counter()

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Give a token, as all credentials can."""
        info = await self.get_token_info(*scopes, options=options)  # type: ignore[arg-type]  # any options here
        return AccessToken(info.token, info.expires_on)

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Give a token, or fail, after a while."""
        loop = virtual_loop()
        self.requested_at.append(loop.time())
        self.requests.append((scopes, dict(options or {})))
        number = len(self.requests)
        wish = (scopes, tuple(sorted((options or {}).items())))
        self._in_flight[wish] += 1
        self.most_at_once = max(self.most_at_once, self._in_flight[wish])
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self._in_flight[wish] -= 1
        if self.is_down:
            raise ClientAuthenticationError(message="the token endpoint is down")
        if self.repeats:
            return self.given[-1]
        now = int(loop.time())
        refresh_on = None if self.refresh_in is None else now + self.refresh_in
        self.given.append(AccessTokenInfo(f"token-{number}", now + self.lifetime, refresh_on=refresh_on))
        return self.given[-1]

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()
