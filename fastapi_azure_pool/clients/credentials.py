"""One credential for any number of connections and clients: one token request at a time, and tokens renewed before they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, cast, runtime_checkable

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from fastapi_azure_pool.clients.token_keeper import TokenKeeper
from fastapi_azure_pool.clients.token_request import check_async, check_factory, is_made

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
    from azure.core.credentials_async import AsyncTokenCredential

_MISSING = "the client has no authentication of its own, and no open_pools(app, credential=...) has it open"


@runtime_checkable
class CredentialFactory(Protocol):
    """What makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``."""

    def __call__(self) -> AsyncTokenCredential:
        """Make one."""


class SharedCredential:
    """An async credential that any number of connections may share.

    Callers who want the same token while a request for it is under way get that request's answer. The request runs in a task of
    its own, so that one caller's cancellation fails no other. A token is held and given to whoever asks while it is good, and
    renewed before it ends. The credential behind it is made at the first request and, if it was made here, closed by `close`;
    after that it can be used again.

    Args:
        credential: A credential to share, which stays its owner's to close.
        factory: Or what makes one, with no arguments.
        scopes: What `prepare` asks tokens for.

    Raises:
        TypeError: The credential, or the class that would make it, is a sync one, or is none at all; or ``scopes`` is one text.
    """

    def __init__(
        self,
        *,
        credential: AsyncTokenCredential | None = None,
        factory: CredentialFactory | None = None,
        scopes: Iterable[str] = (),
    ) -> None:
        if factory is not None:
            check_factory(factory)
        if credential is not None:
            check_async(credential, "credential")
        elif factory is None:
            raise TypeError("a SharedCredential needs a credential, or a factory that makes one")
        self._scopes = _several(scopes)
        self._keeper: TokenKeeper | None = TokenKeeper(credential, factory)

    @property
    def is_missing(self) -> bool:
        """Whether there is no credential behind it: it is an `ApplicationCredential`, and no application has lent it one."""
        return self._keeper is None

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
            RuntimeError: It is in use on another event loop, or was asked before this process was forked.
            TypeError: The credential turns out to be a sync one.
        """
        info = await self._get(scopes, {"claims": claims, "tenant_id": tenant_id, "enable_cae": enable_cae, **options})
        return AccessToken(info.token, info.expires_on)

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Give a token for these scopes with what is known about it, also where the credential itself has `get_token` only.

        Raises:
            azure.core.exceptions.ClientAuthenticationError: The credential cannot get one, or is being closed.
            RuntimeError: It is in use on another event loop, or was asked before this process was forked.
            TypeError: The credential turns out to be a sync one.
        """
        return await self._get(scopes, {**(options or {})})

    def prepare(self) -> None:
        """Begin to ask for the tokens that connections will need, and renew them from now on, in one task, until `close`.

        A failure is not told here: who needs the token asks again.
        """
        if self._keeper is not None:
            self._keeper.keep_fresh(self._scopes)

    def make(self) -> None:
        """Make the credential now, if it is to be made here and has not been made yet.

        Raises:
            TypeError: It is a sync one.
        """
        if self._keeper is not None:
            self._keeper.make()

    def lend(self) -> TokenKeeper | None:
        """Give what a borrower's tokens come from."""
        return self._keeper

    def borrow(self, lender: SharedCredential) -> None:
        """Leave another's credential alone: this one has its own; see `ApplicationCredential.borrow`."""

    def give_back(self) -> None:
        """Keep the credential, which is its own."""

    async def close(self) -> None:
        """End token requests under way, forget the tokens, and close the credential if it was made here.

        Raises:
            RuntimeError: It is in use on another event loop.
        """
        if self._keeper is not None:
            await self._keeper.close()

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

    async def _get(self, scopes: tuple[str, ...], options: dict[str, Any]) -> AccessTokenInfo:
        if self._keeper is None:
            raise ClientAuthenticationError(message=_MISSING)
        # What an SDK leaves out and what it turns off are the same wish.
        wanted = {name: value for name, value in options.items() if value is not None and value is not False}
        return await self._keeper.get(scopes, wanted)


class LentCredential(SharedCredential):
    """What an application lends to its clients: closed when all that hold it have let go, for their clients go on using it."""

    _holder_count = 0

    def hold(self) -> None:
        """Keep it open until `let_go`."""
        self._holder_count += 1

    async def let_go(self) -> None:
        """Hold it no longer, and close it if nobody else does."""
        self._holder_count -= 1
        if self._holder_count == 0:
            await self.close()


class ApplicationCredential(SharedCredential):
    """The credential of the application that has opened a client, for a client that was given no authentication of its own.

    ``open_pools(app, credential=...)`` lends it while it has the client open.

    Args:
        scopes: What the client's connections ask tokens for; `prepare` asks for these.
    """

    def __init__(self, *, scopes: Iterable[str] = ()) -> None:
        self._scopes = _several(scopes)
        self._keeper = None
        self._borrow_count = 0

    def borrow(self, lender: SharedCredential) -> None:
        """Use another's credential and tokens until each client that has borrowed it gives it back.

        Raises:
            ValueError: It uses a third one's: its client is open in two applications.
        """
        keeper = lender.lend()
        if self._keeper is not None and self._keeper is not keeper:
            raise ValueError(
                "a managed client without authentication of its own is open already, with the credential of another"
                " open_pools(): make one client for each"
            )
        self._keeper = keeper
        self._borrow_count += 1

    def give_back(self) -> None:
        """Be without a credential again, when it has been given back as often as it was borrowed."""
        self._borrow_count -= 1
        if self._borrow_count == 0:
            self._keeper = None

    async def close(self) -> None:
        """Leave the credential alone, which is the application's to close."""


def _several(scopes: Iterable[str]) -> tuple[str, ...]:
    if isinstance(scopes, str):
        raise TypeError(f"scopes must be a list of texts, not one text: write scopes=[{scopes!r}]")
    return tuple(scopes)


def client_credential(
    credential: AsyncTokenCredential | None, factory: CredentialFactory | None, scopes: Iterable[str]
) -> SharedCredential:
    """Give the credential of a managed client: its own, or with neither given, its application's.

    Args:
        credential: An async credential, which stays its owner's to close.
        factory: Or what makes one.
        scopes: What the client's connections ask tokens for.

    Raises:
        TypeError: As `SharedCredential`.
    """
    if credential is None and factory is None:
        return ApplicationCredential(scopes=scopes)
    return SharedCredential(credential=credential, factory=factory, scopes=scopes)


def lent_credential(given: AsyncTokenCredential | CredentialFactory) -> LentCredential:
    """Give what an application lends to its clients, of an async credential or of what makes one, which is made at once.

    Raises:
        TypeError: It is neither, or is or makes a sync one.
    """
    if is_made(given):
        return LentCredential(credential=cast("AsyncTokenCredential", given))
    if not callable(given):
        raise TypeError(
            "open_pools(credential=...) must be an async credential, or a function that returns one, such as"
            f" azure.identity.aio.DefaultAzureCredential, not a {type(given).__name__}; a key, a signature or a connection string"
            " is an argument of the client that it is for, and a pool named credential goes into the mapping:"
            ' open_pools(app, {"credential": client})'
        )
    lent = LentCredential(factory=given)
    lent.make()
    return lent
