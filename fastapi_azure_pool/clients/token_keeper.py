"""The tokens of one credential: asked for once for all who want them, held while they are good, renewed before they end."""

from __future__ import annotations

import asyncio
import logging
import time
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from azure.core.exceptions import ClientAuthenticationError

from fastapi_azure_pool.clients.held_token import HeldToken
from fastapi_azure_pool.clients.token_request import ask, check_async
from fastapi_azure_pool.pool.forks import leave_to_parent_when_forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from azure.core.credentials import AccessTokenInfo
    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.credentials import CredentialFactory

_logger = logging.getLogger(__name__)

_SHORTEST_SLEEP_SECONDS = 0.01


class _Wish(NamedTuple):
    """What a token is asked for.

    Attributes:
        scopes: The scopes.
        options: The options by name, in order, without claims.
    """

    scopes: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a request got. Its repr, which is part of a task's, and which asyncio logs in debug mode, does not show the token."""

    info: AccessTokenInfo = field(repr=False)


class TokenKeeper:
    """Gives the tokens of one credential to any number of callers.

    Callers who want the same token while a request for it is under way get that request's answer. The request runs in a task of
    its own, so that one caller's cancellation fails no other. A token that was got is held: who asks later gets it at once, also
    while the token endpoint is down. When it falls due, it is renewed beside its callers, who go on getting it until 10 s before
    its end. Claims, which answer a service's challenge, are never served from what is held; their token replaces it.

    Args:
        credential: A credential, which stays its owner's to close.
        factory: Or what makes one at the first request; what it made is closed by `close`.
        clock: Gives the seconds since 1970.
    """

    def __init__(
        self,
        credential: AsyncTokenCredential | None,
        factory: CredentialFactory | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credential = credential
        self._factory = factory
        self._clock = clock
        self._is_of_parent = False
        self._begin()

    def _begin(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held: dict[_Wish, HeldToken] = {}
        self._requests: dict[tuple[_Wish, str | None], asyncio.Task[_Answer]] = {}
        self._request_count = 0
        self._kept: set[_Wish] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._closing_count = 0

    def leave_to_parent(self) -> object:
        """Be as if never used, without a credential that was made here; see `Inherited`.

        One that was given, and has been asked, may hold a connection to its token endpoint, and is asked no more.
        """
        left = (self._loop, self._credential, self._requests, self._renewing, self._changed)
        if self._factory is not None:
            self._credential = None
        elif self._request_count:
            self._is_of_parent = True
        self._begin()
        return left

    async def get(self, scopes: tuple[str, ...], options: Mapping[str, Any]) -> AccessTokenInfo:
        """Give a token for these scopes and options.

        Raises:
            azure.core.exceptions.ClientAuthenticationError: The credential cannot get one, or is being closed.
            RuntimeError: It is in use on another event loop, or was asked before this process was forked.
            TypeError: The credential turns out to be a sync one.
        """
        self._move_to_running_loop()
        if self._closing_count:
            raise ClientAuthenticationError(message="the credential is being closed")
        claims: str | None = options.get("claims")
        wish = _Wish(scopes, tuple(sorted((name, value) for name, value in options.items() if name != "claims")))
        held = self._held.get(wish) if claims is None else None
        if held is not None:
            now = self._clock()
            held.is_used = True
            if held.serves(now):
                if held.next_attempt_at <= now:
                    self._request(wish)
                return held.info
            if held.is_valid(now) and held.next_attempt_at > now:
                return held.info  # The last attempt has just failed.
            if now < held.rests_until:
                raise ClientAuthenticationError(
                    message="the token has ended, and the request for a new one has just failed"
                ) from held.backoff.error
        request = self._request(wish, claims)
        # Unlike awaiting it, this neither cancels it nor is cancelled by it.
        await asyncio.wait((request,))
        if request.cancelled():
            raise ClientAuthenticationError(message="the credential was closed during the token request")
        if held is not None and request.exception() is not None and held.is_valid(self._clock()):
            return held.info
        info = request.result().info
        held = self._held.get(wish)
        if held is None or held.info.token != info.token:
            return info  # It has expired already, or a newer one has come meanwhile.
        held.is_used = True
        return held.info

    def keep_fresh(self, scopes: Iterable[str]) -> None:
        """Ask for tokens of these scopes now, each for itself, and renew them from now on, used or not, until `close`.

        Does nothing while it is being closed, or is in use on another event loop: whoever shares it is told by its pool that this
        is wrong.
        """
        if self._closing_count or self._is_in_use_elsewhere():
            return
        self._move_to_running_loop()
        for scope in scopes:
            wish = _Wish((scope,))
            self._kept.add(wish)
            held = self._held.get(wish)
            if held is None or not held.serves(self._clock()):
                self._request(wish)
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(
                self._renew(), name="renew tokens", context=Context()
            )

    def make(self) -> AsyncTokenCredential:
        """Give the credential; make it, if that is to be done here and has not been done yet.

        Raises:
            RuntimeError: It was asked before this process was forked, and is not made here.
            TypeError: It is a sync one.
        """
        self._move_to_running_loop()
        if self._is_of_parent:
            raise RuntimeError(
                "the credential was used before this process was forked, and its connections are the parent's: give"
                " credential_factory= instead of credential=, so that each process makes its own"
            )
        if self._credential is None and self._factory is not None:
            made = self._factory()
            check_async(made, "what credential_factory() returned")
            self._credential = made
        return cast("AsyncTokenCredential", self._credential)

    async def close(self) -> None:
        """End renewing and the requests under way, forget the tokens, and close the credential if it was made here.

        Nobody gets a token meanwhile; after that it can be used again.

        Raises:
            RuntimeError: It is in use on another event loop.
        """
        self._move_to_running_loop()
        self._closing_count += 1
        try:
            await self._shut_down()
        finally:
            self._closing_count -= 1

    async def _shut_down(self) -> None:
        ending: list[asyncio.Task[Any]] = [*self._requests.values()]
        if self._renewing is not None:
            ending.append(self._renewing)
            self._renewing = None
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._held.clear()
        self._kept.clear()
        if self._factory is not None and self._credential is not None:
            made, self._credential = self._credential, None
            if hasattr(made, "close"):  # One by hand may have `get_token` only.
                await made.close()

    def _is_in_use_elsewhere(self) -> bool:
        """Tell whether something of it belongs to another event loop that is not gone."""
        loop = self._loop
        if loop is None or loop is asyncio.get_running_loop() or loop.is_closed():
            return False
        is_made_there = self._factory is not None and self._credential is not None
        return bool(self._requests) or self._renewing is not None or is_made_there

    def _move_to_running_loop(self) -> None:
        """Leave behind what was made on an event loop that is gone: it can neither be used on another one nor be closed.

        Raises:
            RuntimeError: That event loop is not gone.
        """
        running = asyncio.get_running_loop()
        if self._loop is running:
            return
        if self._is_in_use_elsewhere():
            raise RuntimeError(
                "the credential is in use on another event loop: make a SharedCredential for each, or close this one there first"
            )
        if self._loop is not None and self._loop.is_closed():
            self._requests.clear()
            self._renewing = None
            if self._factory is not None:
                self._credential = None
        self._changed = asyncio.Event()
        self._loop = running
        leave_to_parent_when_forked(self)

    def _request(self, wish: _Wish, claims: str | None = None) -> asyncio.Task[_Answer]:
        """Give the request under way for this, or begin one."""
        key = (wish, claims)
        request = self._requests.get(key)
        if request is None:
            self._request_count += 1
            number = self._request_count
            request = asyncio.get_running_loop().create_task(
                self._ask(wish, claims), name="token request", context=Context()
            )
            self._requests[key] = request
            request.add_done_callback(lambda done: self._answered(key, number, done), context=Context())
        return request

    async def _ask(self, wish: _Wish, claims: str | None) -> _Answer:
        options = dict(wish.options)
        if claims is not None:
            options["claims"] = claims
        return _Answer(await ask(self.make(), wish.scopes, options))

    def _answered(self, key: tuple[_Wish, str | None], number: int, request: asyncio.Task[_Answer]) -> None:
        """Hold a new token, or see when to try again."""
        if self._requests.get(key) is not request:
            return  # Of an event loop that is gone.
        del self._requests[key]
        if request.cancelled():
            return
        wish, now = key[0], self._clock()
        held = self._held.get(wish)
        error = request.exception()  # Seen, also where every caller has gone.
        is_alarming = True
        if error is None:
            info = request.result().info
            if held is not None and held.info.token == info.token:
                # azure-identity does so when it has failed, and also for 30 s after any request, as for another service's token.
                error = ClientAuthenticationError(message="the credential gave the same token again")
                is_alarming = held.is_late(now)
            elif info.expires_on > now and (held is None or held.number < number):
                self._held[wish] = HeldToken.of(info, number, now)
        if error is not None and held is not None:
            if is_alarming and not held.is_told:
                held.is_told = True
                _logger.warning(
                    "no new token for %s (%s): the one that is held is good for %d s more, and a new one goes on being asked for",
                    " ".join(wish.scopes),
                    type(error).__name__,
                    max(0, held.info.expires_on - now),
                )
            held.renewal_failed(error, now)
        self._changed.set()

    async def _renew(self) -> None:
        """Ask for every token anew when it falls due."""
        while True:
            self._changed.clear()
            now = self._clock()
            soonest = self._renew_due(now)
            sleep = None if soonest is None else max(soonest - now, _SHORTEST_SLEEP_SECONDS)
            try:
                async with asyncio.timeout(sleep):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _renew_due(self, now: float) -> float | None:
        """Begin the requests that are due; forget what nobody wants any more; tell when to look again, None for never."""
        soonest: float | None = None
        for wish, held in tuple(self._held.items()):
            if not (held.is_used or wish in self._kept):
                # Nobody has asked for it since it was got: who does so is served, and begins its renewal.
                look_at = float(held.info.expires_on)
                if look_at <= now:
                    del self._held[wish]
                    continue
            elif (wish, None) in self._requests:
                continue  # Its end is a change.
            else:
                look_at = held.next_attempt_at
                if look_at <= now:
                    self._request(wish)
                    continue
            soonest = look_at if soonest is None else min(soonest, look_at)
        return soonest
