"""Asking any async credential for a token, and telling the sync ones apart before they are asked."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.core.credentials_async import AsyncTokenCredential

USE_AIO = "use the async one from azure.identity.aio (or another with `async def get_token`)"

# Those of azure.core.credentials.TokenRequestOptions: what `get_token_info` takes.
_INFO_OPTIONS = frozenset({"claims", "tenant_id", "enable_cae"})


async def ask(credential: AsyncTokenCredential, scopes: tuple[str, ...], options: Mapping[str, Any]) -> AccessTokenInfo:
    """Give what a credential answers, by whichever of its two methods tells more and takes these options.

    Raises:
        azure.core.exceptions.ClientAuthenticationError: It cannot reach its token endpoint, or is refused there.
        TypeError: It turns out to be a sync one.
    """
    get_token: Any = getattr(credential, "get_token", None)
    get_token_info: Any = getattr(credential, "get_token_info", None)
    if get_token_info is not None and (get_token is None or options.keys() <= _INFO_OPTIONS):
        answer = get_token_info(*scopes, options=dict(options))
    else:
        answer = get_token(*scopes, **options)
    if not inspect.isawaitable(answer):
        raise TypeError(f"the credential's get_token() is a sync one: {USE_AIO}")
    try:
        token: Any = await answer
    except (ServiceRequestError, ServiceResponseError) as error:
        # Else the SDK, and the pool, would take it for a failure of the service that the token is for.
        raise ClientAuthenticationError(
            message=f"the credential could not reach its token endpoint ({type(error).__name__})"
        ) from error
    return AccessTokenInfo(
        token.token,
        token.expires_on,
        token_type=getattr(token, "token_type", "Bearer"),
        refresh_on=getattr(token, "refresh_on", None),
    )


def is_made(candidate: object) -> bool:
    """Tell whether something is a credential, rather than what makes one."""
    return not inspect.isclass(candidate) and (hasattr(candidate, "get_token") or hasattr(candidate, "get_token_info"))


def check_factory(factory: object) -> None:
    """Raise TypeError if this is no function that makes async credentials, as far as that can be seen before it is called."""
    if not callable(factory):
        raise TypeError(
            f"credential_factory must be a function without arguments that returns an async credential, such as"
            f" azure.identity.aio.DefaultAzureCredential itself, not a {type(factory).__name__}; to pass one that you have"
            f" made, write credential=..."
        )
    if inspect.isclass(factory):
        check_async(factory, "credential_factory")


def check_async(credential: object, what: str) -> None:
    """Raise TypeError if this, or what this class makes, cannot be awaited for a token."""
    get_token = getattr(credential, "get_token", None) or getattr(credential, "get_token_info", None)
    name = credential.__name__ if inspect.isclass(credential) else type(credential).__name__
    if get_token is None:
        raise TypeError(f"{what} must be an async credential, not {name}: {USE_AIO}")
    # A sync credential can be closed with `with`; an async one, whose get_token may be a plain function that returns an
    # awaitable, with `async with`.
    if not inspect.iscoroutinefunction(get_token) and not hasattr(credential, "__aexit__"):
        raise TypeError(f"{what} is the sync {name}, which would block the event loop: {USE_AIO}")
