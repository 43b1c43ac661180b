"""The pools of one application, and how a request finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from fastapi_azure_pool.clients.managed import ManagedClient
from fastapi_azure_pool.errors import PoolsNotFound, UnknownPool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection

    from fastapi_azure_pool.clients.credentials import LentCredential
    from fastapi_azure_pool.clients.managed import AnyManagedClient

STATE_KEY = "azure_pools"
"""Where the pools are in ``app.state`` and in the lifespan's state."""

ClientT = TypeVar("ClientT", bound="AnyManagedClient")


class AzurePools:
    """The managed clients of one application by name; what ``app.state.azure_pools`` holds.

    ``open_pools`` fills and empties it. Iterating gives the names, in the order in which they were added.

    Attributes:
        credential: What the application lends to clients without authentication of their own; None when it has none.
        user_count: How many ``open_pools`` and ``fake_pools`` of the application run; the last one takes it away.
    """

    __slots__ = ("_clients", "credential", "user_count")

    def __init__(self) -> None:
        self.credential: LentCredential | None = None
        self.user_count = 0
        self._clients: dict[str, AnyManagedClient] = {}

    def __getitem__(self, name: str) -> AnyManagedClient:
        """Give the managed client of this name.

        Raises:
            UnknownPool: There is none; the error lists the names that there are.
        """
        try:
            return self._clients[name]
        except KeyError:
            raise UnknownPool(name, self._clients) from None

    def __contains__(self, name: object) -> bool:
        return name in self._clients

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self._clients) or 'empty'}>"

    def client(self, name: str, kind: type[ClientT]) -> ClientT:
        """Give the managed client of this name, typed: ``app.state.azure_pools.client("orders", ManagedCosmos)``.

        Raises:
            UnknownPool: There is none; the error lists the names that there are.
            TypeError: It is of another kind.
        """
        client = self[name]
        if not isinstance(client, kind):
            raise TypeError(f"pool {name!r} is a {type(client).__name__}, not a {kind.__name__}")
        return client

    def add(self, clients: Mapping[str, Any]) -> None:
        """Add clients under their names, all or none.

        Raises:
            TypeError: A name is no text, or what it names no `ManagedClient`.
            ValueError: A name is empty or taken, or a client has another name already.
        """
        for name, client in clients.items():
            if not isinstance(name, str):
                raise TypeError(f"a pool's name must be a str, not {type(name).__name__}")
            if not isinstance(client, ManagedClient):
                raise TypeError(
                    f"pool {name!r} must be a managed client, such as ManagedCosmos(...), not a {type(client).__name__}"
                )
            if not name:
                raise ValueError("a pool's name must not be empty")
            if name in self._clients:
                raise ValueError(f"there is a pool {name!r} already: give this one another name")
        everyone = [*self._clients.values(), *clients.values()]
        if len({id(client) for client in everyone}) < len(everyone):
            raise ValueError("one managed client was given under two names: make one for each")
        self._clients.update(clients)

    def remove(self, names: Mapping[str, Any]) -> None:
        """Take out the clients of these names."""
        for name in names:
            self._clients.pop(name, None)


def find_pools(connection: HTTPConnection) -> AzurePools:
    """Give the pools that a request or WebSocket may use: those of its lifespan's state, else those of its application.

    The state comes first because it reaches mounted sub-applications, whose own ``app.state`` is another one.

    Raises:
        PoolsNotFound: There are none; the error names the fix.
    """
    pools = connection.scope.get("state", {}).get(STATE_KEY)
    if pools is None:
        pools = pools_of(connection.app)
    if pools is None:
        raise PoolsNotFound
    return pools  # type: ignore[no-any-return]  # the state of a scope is untyped


def pools_of(app: Starlette) -> AzurePools | None:
    """Give the pools that an application holds, or None."""
    return getattr(app.state, STATE_KEY, None)


def join_pools(app: Starlette) -> AzurePools:
    """Give the pools that an application holds, or gets now, for one user more; who calls this calls `leave_pools` once."""
    pools = pools_of(app)
    if pools is None:
        pools = AzurePools()
        setattr(app.state, STATE_KEY, pools)
    pools.user_count += 1
    return pools


def leave_pools(app: Starlette, pools: AzurePools) -> None:
    """Use them no longer; the application is without them when nobody does."""
    pools.user_count -= 1
    if pools.user_count == 0 and pools_of(app) is pools:
        delattr(app.state, STATE_KEY)
