"""Managed clients that open nothing, for tests without sockets and without a lifespan.

A fake is a mock of the standard library with the specification of the client that it stands for: it refuses what the client's
signatures refuse, records every call, and returns or raises what the test says.
"""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, get_args, get_origin
from unittest.mock import AsyncMock, NonCallableMagicMock, create_autospec

from fastapi_azure_pool.clients.managed import ManagedClient
from fastapi_azure_pool.pool import ConnectionPool, PoolState
from fastapi_azure_pool.pool.stats import LastError, PoolStats, PoolTotals
from fastapi_azure_pool.registry import join_pools, leave_pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from starlette.applications import Starlette

    from fastapi_azure_pool.clients.managed import AnyManagedClient
    from fastapi_azure_pool.registry import AzurePools


class FakeManagedClient(NonCallableMagicMock):
    """A mock of a managed client: ``orders = FakeManagedClient(ManagedCosmos)``, given to the application by `fake_pools`.

    It is an instance of that class to ``isinstance``. Its methods are mocks as ``unittest.mock.create_autospec`` makes them: a call
    with arguments that the real method does not take raises TypeError (from Python 3.12 on, when it is awaited),
    ``orders.send_event.return_value`` and ``.side_effect`` say what comes of it, and ``orders.send_event.assert_awaited_once_with``
    asks for it. Whoever checks out a connection gets ``orders.connection``, which is a mock of the real connection's class unless
    you give one.

    Args:
        kind: The managed client's class.
        connection: What it lends, of any kind; by default a mock with the specification of what the class lends.
        error: What a checkout raises, such as ``ConnectionFailed("orders", error="ServiceRequestError", retry_after=1)``; None
            lends the connection.
        service: What the health route calls it; by default what it calls the real one, such as "cosmos", or "fake" where the class
            does not tell.

    Attributes:
        connection: See the arguments.
        error: See the arguments; may be set at any time.
        pool: A mock of its `ConnectionPool`, whose ``stats()`` and ``ready_connection_count`` tell of one ready connection, or of
            none while ``error`` is set.

    Raises:
        TypeError: ``kind`` is no class of managed clients, or does not tell what it lends and no ``connection`` was given.
    """

    def __init__(
        self,
        kind: type[Any],
        connection: Any = None,
        *,
        error: Exception | None = None,
        service: str | None = None,
    ) -> None:
        if not (inspect.isclass(kind) and issubclass(kind, ManagedClient)):
            raise TypeError(f"kind must be a class of managed clients, such as ManagedCosmos, not {kind!r}")
        super().__init__(spec=kind)
        self.connection = create_autospec(_lent_by(kind), instance=True) if connection is None else connection
        self.error = error
        self.service = getattr(kind, "service", "fake") if service is None else service
        self.pool_get_timeout = 0.0
        self._checkouts = 0
        self._clients = 0
        unborn = object.__new__(kind)  # Its methods are bound, so that their specification leaves `self` out.
        for name in dir(kind):
            if not name.startswith("_") and inspect.isfunction(inspect.getattr_static(kind, name)):
                setattr(self, name, self._mock_of(getattr(unborn, name)))
        self.open.side_effect = self._open
        self.__aenter__ = AsyncMock(return_value=self)
        self.__aexit__ = AsyncMock(return_value=None)
        self.pool = create_autospec(ConnectionPool, instance=True)
        self.pool.name = None
        self.pool.state = PoolState.OPEN
        self.pool.stats.side_effect = self._stats
        self.pool.get.side_effect = self._lend
        self.pool.connections = ()
        type(self.pool).ready_connection_count = property(lambda _: self._stats().ready)

    def _mock_of(self, method: Any) -> Any:
        mock = create_autospec(method)
        returned = inspect.signature(method).return_annotation
        if isinstance(returned, str) and returned.startswith("Lease["):
            mock.side_effect = self._lend
        elif returned in {None, "None"}:
            mock.return_value = None
        return mock

    async def _open(self) -> None:
        if self.error is not None:
            raise self.error

    @asynccontextmanager
    async def _lend(self, timeout: float | None = None) -> AsyncIterator[Any]:  # noqa: ARG002 - nobody waits for a fake
        if self.error is not None:
            raise self.error
        self._checkouts += 1
        self._clients += 1
        try:
            yield self.connection
        finally:
            self._clients -= 1

    def _stats(self) -> PoolStats:
        error = self.error
        return PoolStats(
            name=self.pool.name,
            state=self.pool.state,
            ready=int(error is None),
            opening=0,
            draining=0,
            clients=self._clients,
            waiting=0,
            client_limit=100,
            min_size=1,
            max_size=1,
            burst_limit=1,
            is_full=False,
            is_failing=error is not None,
            connections=(),
            totals=PoolTotals(
                checkouts=self._checkouts,
                opened=1,
                closed=0,
                open_failures=int(error is not None),
                timeouts=0,
                waited=0,
                reported_errors=0,
            ),
            last_error=None if error is None else LastError(type(error).__name__, 0.0),
        )


@contextmanager
def fake_pools(
    app: Starlette, pools: Mapping[str, AnyManagedClient] | None = None, /, **clients: AnyManagedClient
) -> Iterator[AzurePools]:
    """Have ``pooled``, ``managed`` and the health routes of an application find these clients, for as long as the block runs.

    Use it for an application whose lifespan does not run, as with a ``TestClient`` outside ``with``; or inside the lifespan, where
    they take the places of the pools that it has opened under the same names.

    Args:
        app: The application.
        pools: Clients by name, for names that are no Python identifiers.
        clients: Clients by name, such as ``orders=FakeManagedClient(ManagedCosmos)``.

    Yields:
        The application's pools.

    Raises:
        TypeError: What a name names is no managed client.
    """
    fakes = {**(pools or {}), **clients}
    registry = join_pools(app)
    replaced = {name: registry[name] for name in fakes if name in registry}
    registry.remove(replaced)
    try:
        registry.add(fakes)
        for name, client in fakes.items():
            client.pool.name = name
        yield registry
    finally:
        registry.remove(fakes)
        registry.add(replaced)
        leave_pools(app, registry)


def _lent_by(kind: type[AnyManagedClient]) -> type:
    """Give the class of a managed client's connections, which its base class names: ``ManagedClient[ContainerProxy]``."""
    for ancestor in kind.__mro__:
        for base in vars(ancestor).get("__orig_bases__", ()):
            if get_origin(base) is ManagedClient and isinstance(get_args(base)[0], type):
                return get_args(base)[0]  # type: ignore[no-any-return]  # a type, as was asked just now
    raise TypeError(f"{kind.__name__} does not tell what it lends: give FakeManagedClient a connection=")
