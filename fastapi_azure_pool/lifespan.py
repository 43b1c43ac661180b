"""Opening an application's pools in its lifespan, and closing them after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi_azure_pool.errors import ConnectionFailed, ConnectionsExhausted
from fastapi_azure_pool.pool.limits import check_drain
from fastapi_azure_pool.registry import STATE_KEY, join_pools, leave_pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from azure.core.credentials_async import AsyncTokenCredential
    from starlette.applications import Starlette

    from fastapi_azure_pool.clients.credentials import CredentialFactory, LentCredential
    from fastapi_azure_pool.clients.managed import AnyManagedClient

_logger = logging.getLogger(__name__)

AppT = TypeVar("AppT", bound="Starlette")


@asynccontextmanager
async def open_pools(
    app: Starlette,
    pools: Mapping[str, AnyManagedClient] | None = None,
    /,
    *,
    fail_fast: bool = True,
    credential: AsyncTokenCredential | CredentialFactory | None = None,
    drain_seconds: float = 10.0,
    **clients: AnyManagedClient,
) -> AsyncIterator[dict[str, Any]]:
    """Open managed clients for as long as the block runs, where ``pooled`` and ``managed`` find them.

    All are opened at once, each until its ``min_size`` connections are ready, and kept in the application's one `AzurePools` at
    ``app.state.azure_pools``. A second use for the same application, such as in a router's lifespan, joins that one. Closing goes
    on if the caller is cancelled.

    Args:
        app: The application.
        pools: Managed clients by name, for names that are no Python identifiers.
        fail_fast: Whether to raise when a client cannot be filled; else the application starts without it, and the pool goes on
            trying.
        credential: One async credential for all clients that were given no authentication of their own: either the credential,
            which stays yours to close, or what makes it, such as ``azure.identity.aio.DefaultAzureCredential``, which is called
            once, and what it made closed after the last client that it was lent to. Its tokens are asked for while the clients
            open, each once for all clients, and renewed before they end. None: the one of the ``open_pools`` that this one joins,
            if that has one.
        drain_seconds: Seconds that those who still use a connection may go on when the block ends, at least 0; after that theirs is
            closed under them.
        clients: Managed clients by name.

    Yields:
        The state for the lifespan to yield on, so that mounted sub-applications find the pools: ``{"azure_pools": AzurePools}``.

    Raises:
        ConnectionFailed: With ``fail_fast``: a pool could not open a connection. The others are closed again.
        ConnectionsExhausted: With ``fail_fast``: a pool could not open ``min_size`` connections in time. Likewise.
        TypeError: What a name names is no managed client, or there is none; or the credential is a sync one, or none.
        ValueError: A name is given twice or taken already; a client has no authentication, or that of another application; or
            ``drain_seconds`` is below 0.
    """
    if not isinstance(pools, Mapping | None):
        raise TypeError(
            f"pools must be managed clients by name: write open_pools(app, orders=...), not a {type(pools).__name__}"
        )
    twice = clients.keys() & (pools or {}).keys()
    if twice:
        raise ValueError(f"there are two pools {min(twice)!r}: give one of them another name")
    check_drain(drain_seconds)
    own = {**(pools or {}), **clients}
    async with _finishing() as afterwards:  # Done in reverse.
        registry = join_pools(app)
        afterwards.callback(leave_pools, app, registry)
        registry.add(own)
        afterwards.callback(registry.remove, own)
        lender = registry.credential if credential is None else _lent(credential)
        if lender is not None:
            lender.hold()
            afterwards.push_async_callback(lender.let_go)
            if registry.user_count == 1:
                registry.credential = lender
                afterwards.callback(setattr, registry, "credential", None)
            for client in own.values():
                client.borrow_credential(lender)
                afterwards.callback(client.give_back_credential)
        afterwards.push_async_callback(_close_all, own.values(), drain_seconds)
        for name, client in own.items():
            client.pool.name = name
            client.check_authentication()
        await _open_all(own.values(), fail_fast=fail_fast)
        yield {STATE_KEY: registry}


def pool_lifespan(
    build: Callable[[AppT], Mapping[str, AnyManagedClient]],
    *,
    lifespan: Callable[[AppT], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None = None,
    fail_fast: bool = True,
    credential: AsyncTokenCredential | CredentialFactory | None = None,
    drain_seconds: float = 10.0,
) -> Callable[[AppT], AbstractAsyncContextManager[dict[str, Any]]]:
    """Make a lifespan that opens pools: ``FastAPI(lifespan=pool_lifespan(build))``.

    Args:
        build: Called with the application when it starts; returns its managed clients by name.
        lifespan: The application's own lifespan, entered when the pools are open; what it yields is passed on.
        fail_fast: As in `open_pools`.
        credential: As in `open_pools`.
        drain_seconds: As in `open_pools`.

    Raises:
        PoolError: When the application starts, any that `open_pools` raises.
    """

    @asynccontextmanager
    async def with_pools(app: AppT) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(
            app, build(app), fail_fast=fail_fast, credential=credential, drain_seconds=drain_seconds
        ) as state:
            if lifespan is None:
                yield state
                return
            async with lifespan(app) as own_state:
                yield {**(own_state or {}), **state}

    return with_pools


@asynccontextmanager
async def _finishing() -> AsyncIterator[AsyncExitStack]:
    """Give an exit stack that is gone through in any case: when its caller is cancelled meanwhile, it goes on without him."""
    afterwards = AsyncExitStack()
    try:
        yield afterwards
    finally:
        await asyncio.shield(asyncio.create_task(afterwards.aclose(), name="close the application's pools"))


def _lent(credential: AsyncTokenCredential | CredentialFactory) -> LentCredential:
    from fastapi_azure_pool.clients.credentials import lent_credential  # noqa: PLC0415 - azure-core, for those who use it

    return lent_credential(credential)


async def _open_all(clients: Iterable[AnyManagedClient], *, fail_fast: bool) -> None:
    """Open all at once; when one fails, stop the others and raise its error, not a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.open() if fail_fast else _open_or_go_on(client), name=f"open {client!r}")
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        first.add_note(
            "The application does not start, and its pools were closed again; open_pools(fail_fast=False) starts without."
        )
        raise first from first.__cause__


async def _open_or_go_on(client: AnyManagedClient) -> None:
    try:
        await client.open()
    except (ConnectionFailed, ConnectionsExhausted) as error:
        _logger.warning("starting without pool %s, which goes on trying: %s", client.pool.name, error)


async def _close_all(clients: Iterable[AnyManagedClient], drain_seconds: float) -> None:
    """Close all at once, each whether or not another fails."""
    outcomes = await asyncio.gather(*(client.close(drain_seconds) for client in clients), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
