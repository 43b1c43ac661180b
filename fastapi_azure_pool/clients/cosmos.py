"""Cosmos DB: a client that keeps one connection, and one that pools them."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import urlsplit

from azure.core import MatchConditions

from fastapi_azure_pool.clients.arguments import shown
from fastapi_azure_pool.clients.authentication import checked_account_key, require_one
from fastapi_azure_pool.clients.credentials import SharedCredential, client_credential
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.http_connector import HttpConnector
from fastapi_azure_pool.clients.http_transport import PooledTransport
from fastapi_azure_pool.clients.managed import ManagedClient, Sizes, check_sizes

with extra("cosmos"):
    from azure.cosmos.aio import ContainerProxy, CosmosClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.pool import Lease


class CosmosAccess:
    """Where a Cosmos DB container is, and how to authenticate: checked, not used yet.

    Attributes:
        endpoint: The account's URL.
        dbname: The database's name.
        container_name: The container's name.
        credential: The account's key, or a `SharedCredential`.

    Raises:
        TypeError: The credential is a sync one.
        ValueError: The endpoint, a name, the key or the connection string is malformed, or not exactly one kind of authentication
            is given, or with ``may_borrow`` more than one. No message holds a key.
    """

    __slots__ = ("container_name", "credential", "dbname", "endpoint")

    def __init__(
        self,
        endpoint: str | None,
        dbname: str | None,
        container_name: str | None,
        credential_factory: CredentialFactory | None,
        credential: AsyncTokenCredential | str | None,
        connection_string: str | None,
        *,
        may_borrow: bool = False,
    ) -> None:
        require_one(
            "Cosmos DB needs exactly one of credential_factory=, credential= (an async credential, or the account's key) and"
            " connection_string=",
            may_borrow=may_borrow,
            credential_factory=credential_factory,
            credential=credential,
            connection_string=connection_string,
        )
        self.credential: SharedCredential | str
        if connection_string is not None:
            if endpoint is not None:
                raise ValueError("connection_string= names the endpoint already: leave endpoint out")
            endpoint, self.credential = _parse_connection_string(connection_string)
            self.endpoint = _checked_endpoint(endpoint)
        else:
            self.endpoint = _checked_endpoint(endpoint)
            self.credential = (
                checked_account_key(credential, "credential")
                if isinstance(credential, str)
                else client_credential(credential, credential_factory, (_scope(self.endpoint),))
            )
        self.dbname = _checked_name("dbname", dbname)
        self.container_name = _checked_name("container_name", container_name)

    @property
    def shared(self) -> SharedCredential | None:
        """The credential, where it is one that must be closed."""
        return self.credential if isinstance(self.credential, SharedCredential) else None


class CosmosConnector(HttpConnector[ContainerProxy]):
    """Opens containers, each with a CosmosClient and an HTTP session of its own.

    Args:
        access: Where the container is, and how to authenticate.
        client_options: Further keyword arguments of every CosmosClient.
        use_env_settings: See `PooledTransport`.
    """

    def __init__(
        self,
        access: CosmosAccess,
        client_options: dict[str, Any] | None = None,
        *,
        use_env_settings: bool | None = None,
    ) -> None:
        ours = {"url", "credential", "transport"} & (client_options or {}).keys()
        if ours:
            raise ValueError(f"client_options must not hold {min(ours)!r}: the pool gives every CosmosClient its own")
        super().__init__(use_env_settings=use_env_settings)
        self._access = access
        self._client_options = client_options or {}
        self._open: dict[ContainerProxy, tuple[CosmosClient, PooledTransport]] = {}

    async def create(self) -> ContainerProxy:
        """Open a client: read the account, over a transport that is set up better than the SDK's (see `PooledTransport`)."""
        access = self._access
        transport = PooledTransport(throttled=self._count_throttled, use_env_settings=self._use_env_settings)
        # A SharedCredential gives tokens as an AsyncTokenCredential does, and more.
        credential: Any = access.credential
        client = CosmosClient(access.endpoint, credential, transport=transport, **self._client_options)
        container = client.get_database_client(access.dbname).get_container_client(access.container_name)
        transport.report = partial(self._report, container)
        try:
            await client.__aenter__()
        except BaseException:
            await client.close()
            raise
        self._open[container] = (client, transport)
        return container

    async def ready(self, connection: ContainerProxy) -> bool:
        """Read the container's properties and how it is partitioned, which the SDK keeps and the first requests need anyway.

        It asks for the latter before the first request that carries a session token, as any does after a write.
        """
        await connection.read()
        async for _ in connection.read_feed_ranges():
            break
        return True

    async def close(self, connection: ContainerProxy) -> None:
        """Close the container's client."""
        client, _ = self._open.pop(connection)
        await client.close()

    def is_closed(self, connection: ContainerProxy) -> bool:
        """Tell whether someone has closed the client, as leaving an ``async with`` over it does."""
        return self._open[connection][1].is_closed


class Cosmos:
    """One container of Cosmos DB over one connection that is kept until `close`, opened at its first use.

    For scripts and jobs; an application that serves requests wants `ManagedCosmos`.

    Args:
        endpoint: The account's URL, such as ``https://shop.documents.azure.com``.
        dbname: The database's name.
        container_name: The container's name.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``.
        credential: Instead of that, an async credential (which stays yours to close), or the account's key.
        connection_string: Instead of that and of the endpoint, ``AccountEndpoint=...;AccountKey=...;``.

    Raises:
        TypeError: The credential is a sync one.
        ValueError: An argument is malformed, or not exactly one kind of authentication is given.
    """

    MatchConditions = MatchConditions
    """What ``match_condition=`` takes, at hand for subclasses."""

    def __init__(
        self,
        endpoint: str | None = None,
        dbname: str | None = None,
        container_name: str | None = None,
        credential_factory: CredentialFactory | None = None,
        *,
        credential: AsyncTokenCredential | str | None = None,
        connection_string: str | None = None,
    ) -> None:
        access = CosmosAccess(endpoint, dbname, container_name, credential_factory, credential, connection_string)
        connector = CosmosConnector(access)
        self._client = ManagedClient(
            connector, service="cosmos", shared=access.shared, max_size=1, max_idle_seconds=None
        )
        connector.report = self._client.pool.report

    @asynccontextmanager
    async def get_container_client(self) -> AsyncIterator[ContainerProxy]:
        """Give the container, to 100 users at once; leaving the block keeps the connection open.

        Raises:
            PoolError: The connection could not be opened.
        """
        await self._client.open()
        async with self._client.get() as container:
            yield container

    async def close(self) -> None:
        """Close the connection, and the credential if it was made here; the next use opens it again."""
        await self._client.close()


class ManagedCosmos(ManagedClient[ContainerProxy]):
    """A pool of connections to one container of Cosmos DB.

    Args:
        endpoint: The account's URL, such as ``https://shop.documents.azure.com``.
        dbname: The database's name.
        container_name: The container's name.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``; called once, and what
            it made is closed with this client.
        credential: Instead of that, an async credential (which stays yours to close), or the account's key.
        connection_string: Instead of that and of the endpoint, ``AccountEndpoint=...;AccountKey=...;``.
        client_options: Further keyword arguments of every ``CosmosClient``, such as ``{"preferred_locations": [...]}``.
        use_env_settings: Whether each request looks for a proxy and a netrc file in the environment. None looks once per
            connection and goes on only where there is one; True is the SDK's own way.
        sizes: See `Sizes`. One CosmosClient carries 100 calls at once over its own HTTP connections, hence ``client_limit=100``.

    Raises:
        TypeError: The credential is a sync one.
        ValueError: An argument is malformed or out of bounds, or more than one kind of authentication is given.
    """

    service = "cosmos"

    MatchConditions = MatchConditions
    """What ``match_condition=`` takes, at hand for subclasses."""

    def __init__(
        self,
        endpoint: str | None = None,
        dbname: str | None = None,
        container_name: str | None = None,
        credential_factory: CredentialFactory | None = None,
        *,
        credential: AsyncTokenCredential | str | None = None,
        connection_string: str | None = None,
        client_options: dict[str, Any] | None = None,
        use_env_settings: bool | None = None,
        **sizes: Unpack[Sizes],
    ) -> None:
        check_sizes(ManagedCosmos, sizes)
        access = CosmosAccess(
            endpoint, dbname, container_name, credential_factory, credential, connection_string, may_borrow=True
        )
        connector = CosmosConnector(access, client_options, use_env_settings=use_env_settings)
        super().__init__(connector, service=self.service, shared=access.shared, **sizes)
        connector.report = self.pool.report
        self._connector = connector

    def get_container_client(self, timeout: float | None = None) -> Lease[ContainerProxy]:
        """Check out the container: ``async with orders.get_container_client() as container:``.

        Args:
            timeout: Seconds to wait for a place; None means the client's ``pool_get_timeout``.

        Raises:
            PoolError: Any that `ConnectionPool.get` raises.
        """
        return self.get(timeout)

    @property
    def throttled_count(self) -> int:
        """How many requests Cosmos DB has answered 429 so far, those included that the SDK tried again."""
        return self._connector.throttled_count


def _parse_connection_string(text: object) -> tuple[str, str]:
    parts = text.split(";") if isinstance(text, str) else ()
    fields = dict(part.split("=", 1) for part in parts if "=" in part)
    endpoint, key = fields.get("AccountEndpoint"), fields.get("AccountKey")
    if not endpoint or not key:
        raise ValueError(
            "connection_string must read AccountEndpoint=https://<account>.documents.azure.com:443/;AccountKey=<key>;"
        )
    return endpoint, checked_account_key(key, "the connection string's AccountKey")


def _checked_endpoint(endpoint: object) -> str:
    # What was given instead is not repeated: it may be a connection string, with its key.
    example = "https://<account>.documents.azure.com"
    if not endpoint:
        raise ValueError(f"endpoint is missing: give the account's URL, such as {example}")
    if isinstance(endpoint, str):
        if "AccountKey=" in endpoint:
            raise ValueError("endpoint holds a connection string: pass it as connection_string=")
        with suppress(ValueError):
            url = urlsplit(endpoint)
            is_url = url.scheme in {"http", "https"} and url.hostname and url.port != 0
            # A signature or a password in it would show wherever the endpoint does.
            if is_url and url.username is None and not url.query and not url.fragment:
                return endpoint
    raise ValueError(f"endpoint must be the account's URL, such as {example}")


def _scope(endpoint: str) -> str:
    """Give what the SDK asks a token for, the port left out."""
    url = urlsplit(endpoint)
    return os.environ.get("AZURE_COSMOS_AAD_SCOPE_OVERRIDE") or f"{url.scheme}://{url.hostname}/.default"


def _checked_name(what: str, name: object) -> str:
    if not name or not isinstance(name, str):
        raise ValueError(f"{what} must be the name of one in the account, not {shown(name)}")
    if "AccountKey=" in name:
        raise ValueError(f"{what} holds a connection string: pass it as connection_string=")
    return name
