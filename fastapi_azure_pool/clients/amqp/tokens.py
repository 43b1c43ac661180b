"""Renewing the token of an AMQP connection while it goes on sending."""

# ruff: noqa: SLF001 - the SDK has no public way to do this; has_known_shape guards every part

from __future__ import annotations

import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_RETRY_SECONDS = 30.0


class TokenRenewal:
    """Renews the token of a connection before it expires, asking for it beside the owner, who goes on sending meanwhile."""

    def __init__(self, handler: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._authenticator: Any = getattr(handler, "_cbs_authenticator", None)
        self._loop = loop
        self._request: asyncio.Task[None] | None = None
        self._answer: Any = None
        self._ask_at = 0.0

    async def go_on(self) -> None:
        """Ask for a token when it is time to, and put it on the connection when it is there.

        Raises:
            Exception: What the SDK raises when the service refuses the token or does not answer.
        """
        authenticator = self._authenticator
        if authenticator is None:
            return
        request = self._request
        if request is None:
            if self._is_due() and self._loop.time() >= self._ask_at:
                self._request = self._loop.create_task(
                    self._ask(), name="renew the token of a connection", context=Context()
                )
            elif not self._is_due():
                await authenticator.handle_token()  # Raises what the service answered the last time.
        elif request.done():
            self._request = None
            if request.cancelled() or request.exception() is not None:
                self._ask_at = self._loop.time() + _RETRY_SECONDS  # Most of the time it is the endpoint's outage.
                return
            token, self._answer = self._answer, None
            if token.token == getattr(authenticator, "_token", None):
                self._ask_at = self._loop.time() + _RETRY_SECONDS  # The credential renews its own a little later.
                return
            await self._put(token)

    def stop(self) -> None:
        """Forget the token that was asked for."""
        request = self._request
        if request is not None and not request.cancel() and not request.cancelled():
            request.exception()  # Else asyncio would complain that nobody has looked at it.

    async def _ask(self) -> None:
        # Not the task's result, which would be part of its repr, and that of asyncio's log in debug mode.
        self._answer = await self._authenticator._auth.get_token()

    def _is_due(self) -> bool:
        expires_on: Any = self._authenticator._expires_on
        return expires_on is not None and expires_on - time.time() <= self._authenticator._refresh_window

    async def _put(self, token: Any) -> None:
        auth = self._authenticator._auth
        get_token = auth.get_token

        async def give() -> Any:
            return token

        auth.get_token = give
        try:
            await self._authenticator.handle_token()
        finally:
            auth.get_token = get_token
