"""One credential for all connections of a client, and one token request at a time."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from types import TracebackType

    from azure.core.credentials import TokenRequestOptions
    from azure.core.credentials_async import AsyncTokenCredential

    CredentialFactory = Callable[[], AsyncTokenCredential]

TokenT = TypeVar("TokenT", AccessToken, AccessTokenInfo)

_USE_AIO = "use the async one from azure.identity.aio (or another with `async def get_token`)"


class SharedCredential:
    """An async credential that any number of connections may share.

    Callers who want the same token while a request for it is under way get that request's answer. The request runs in a task of
    its own, so that one caller's cancellation fails no other. The credential behind it is made at the first request and, if it was
    made here, closed by `close`; after that it can be used again.

    Args:
        credential: A credential to share, which stays its owner's to close.
        factory: Or what makes one, with no arguments.

    Raises:
        TypeError: The credential, or the class that would make it, is a sync one, or is none at all.
    """

    def __init__(
        self, *, credential: AsyncTokenCredential | None = None, factory: CredentialFactory | None = None
    ) -> None:
        if factory is not None and not callable(factory):
            raise TypeError(
                f"credential_factory must be a function without arguments that returns an async credential, such as"
                f" azure.identity.aio.DefaultAzureCredential itself, not a {type(factory).__name__}; to pass one that you have"
                f" made, write credential=..."
            )
        if inspect.isclass(factory):
            _check_async(factory, "credential_factory")
        if credential is not None:
            _check_async(credential, "credential")
        elif factory is None:
            raise TypeError("a SharedCredential needs a credential, or a factory that makes one")
        self._credential = credential
        self._factory = factory
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: dict[Hashable, asyncio.Task[Any]] = {}

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        """Give a token for these scopes, as the credential behind it does, also where that has `get_token_info` only.

        Raises:
            azure.core.exceptions.ClientAuthenticationError: The credential cannot get one, or is being closed.
            TypeError: The credential turns out to be a sync one.
        """
        asked: dict[str, Any] = {"claims": claims, "tenant_id": tenant_id, **options}
        if enable_cae:
            asked["enable_cae"] = True
        asked = {name: value for name, value in asked.items() if value is not None}
        get_token = getattr(self._get_credential(), "get_token", None)
        if get_token is None:
            info = await self.get_token_info(*scopes, options=cast("TokenRequestOptions", asked))
            return AccessToken(info.token, info.expires_on)
        return await self._share(AccessToken, _key(scopes, asked), lambda: _ask(get_token(*scopes, **asked)))

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Give a token for these scopes with what is known about it, also where the credential itself has `get_token` only.

        Raises:
            azure.core.exceptions.ClientAuthenticationError: The credential cannot get one, or is being closed.
            TypeError: The credential turns out to be a sync one.
        """
        get_token_info = getattr(self._get_credential(), "get_token_info", None)
        if get_token_info is None:
            token = await self.get_token(*scopes, **(options or {}))
            return AccessTokenInfo(token.token, token.expires_on)
        return await self._share(
            AccessTokenInfo, _key(scopes, options or {}), lambda: _ask(get_token_info(*scopes, options=options))
        )

    async def close(self) -> None:
        """End token requests under way, and close the credential if it was made here."""
        self._move_to_running_loop()
        for request in tuple(self._requests.values()):
            request.cancel()
        await asyncio.gather(*self._requests.values(), return_exceptions=True)
        if self._factory is not None and self._credential is not None:
            made, self._credential = self._credential, None
            await made.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _move_to_running_loop(self) -> None:
        """Leave behind what was made on an event loop that is gone: it can neither be used on another one nor be closed."""
        if self._loop is not None and self._loop.is_closed():
            self._requests.clear()
            if self._factory is not None:
                self._credential = None
        self._loop = asyncio.get_running_loop()

    def _get_credential(self) -> AsyncTokenCredential:
        self._move_to_running_loop()
        credential = self._credential
        if credential is None and self._factory is not None:
            credential = self._factory()
            _check_async(credential, "what credential_factory() returned")
            self._credential = credential
        return cast("AsyncTokenCredential", credential)

    async def _share(self, kind: type[TokenT], key: Hashable, ask: Callable[[], Coroutine[Any, Any, Any]]) -> TokenT:
        key = (kind, key)
        request = self._requests.get(key)
        if request is None:
            request = asyncio.get_running_loop().create_task(ask(), name="token request", context=Context())
            self._requests[key] = request
            request.add_done_callback(lambda done: self._forget(key, done), context=Context())
        try:
            token: TokenT = await asyncio.shield(request)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if request.cancelled() and caller is not None and not caller.cancelling():
                raise ClientAuthenticationError(message="the credential was closed during the token request") from None
            raise
        return token

    def _forget(self, key: Hashable, request: asyncio.Task[Any]) -> None:
        del self._requests[key]
        if not request.cancelled():
            request.exception()  # Seen, also where every caller has gone.


async def _ask(answer: object) -> Any:
    if not inspect.isawaitable(answer):
        raise TypeError(f"the credential's get_token() is a sync one: {_USE_AIO}")
    try:
        return await answer
    except (ServiceRequestError, ServiceResponseError) as error:
        # Else the SDK, and the pool, would take it for a failure of the service that the token is for.
        raise ClientAuthenticationError(
            message=f"the credential could not reach its token endpoint ({type(error).__name__})"
        ) from error


def _key(scopes: tuple[str, ...], options: Any) -> Hashable:
    return scopes, tuple(sorted(options.items()))


def _check_async(credential: object, what: str) -> None:
    """Raise TypeError if this, or what this class makes, cannot be awaited for a token."""
    get_token = getattr(credential, "get_token", None) or getattr(credential, "get_token_info", None)
    name = credential.__name__ if inspect.isclass(credential) else type(credential).__name__
    if get_token is None:
        raise TypeError(f"{what} must be an async credential, not {name}: {_USE_AIO}")
    # A sync credential can be closed with `with`; an async one, whose get_token may be a plain function that returns an
    # awaitable, with `async with`.
    if not inspect.iscoroutinefunction(get_token) and not hasattr(credential, "__aexit__"):
        raise TypeError(f"{what} is the sync {name}, which would block the event loop: {_USE_AIO}")
