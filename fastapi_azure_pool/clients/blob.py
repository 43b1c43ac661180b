"""Blob Storage: a client that keeps one connection, and one that pools them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Never, Unpack

from fastapi_azure_pool.clients.arguments import refuse_unknown
from fastapi_azure_pool.clients.blob_access import BlobAccess
from fastapi_azure_pool.clients.blob_connector import BlobConnector
from fastapi_azure_pool.clients.blob_operations import BlobOperations
from fastapi_azure_pool.clients.blob_sas import DelegationKeys
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.managed import ManagedClient, Sizes, check_sizes

with extra("blob"):
    from azure.storage.blob.aio import ContainerClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.blob_access import KeyCredential
    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.pool import Lease


class AzureBlobStorageClient(BlobOperations):
    """One container of Blob Storage over one connection that is kept until `close`, opened at its first use.

    For scripts and jobs; an application that serves requests wants `ManagedAzureBlobStorage`.

    Args:
        az_storage_url: The account's URL, such as ``https://shop.blob.core.windows.net``.
        container_name: The container's name.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``; or is one that was
            made, as ``credential`` is.
        credential: Instead of that, an async credential (which stays yours to close), the account's key, an
            ``AzureNamedKeyCredential`` or an ``AzureSasCredential``.
        connection_string: Instead of that and of the URL, the account's connection string.
        client_options: Further keyword arguments of the ``ContainerClient``.
        credentials: Another name of ``credential``, the one that aio-azure-clients-toolbox uses.
        unknown: Nothing: what it has no parameter for is refused with the one that was probably meant.

    Raises:
        TypeError: The credential is a sync one.
        ValueError: An argument is malformed, or not exactly one kind of authentication is given.
    """

    def __init__(
        self,
        az_storage_url: str | None = None,
        container_name: str | None = None,
        credential_factory: CredentialFactory | AsyncTokenCredential | None = None,
        *,
        credential: AsyncTokenCredential | KeyCredential | str | None = None,
        connection_string: str | None = None,
        client_options: dict[str, Any] | None = None,
        credentials: AsyncTokenCredential | None = None,
        **unknown: Never,
    ) -> None:
        refuse_unknown(AzureBlobStorageClient, unknown)
        if credentials is not None and credential is not None:
            raise ValueError("credential= and credentials= are one argument: leave one out")
        self._access = access = BlobAccess(
            az_storage_url,
            container_name,
            credential_factory,
            credentials if credential is None else credential,
            connection_string,
        )
        self._connector = connector = BlobConnector(access, client_options)
        self._keys = DelegationKeys()
        self._client = ManagedClient(connector, service="blob", shared=access.shared, max_size=1, max_idle_seconds=None)
        connector.report = self._client.pool.report

    @asynccontextmanager
    async def get_container_client(self) -> AsyncIterator[ContainerClient]:
        """Give the SDK's client of the container, to 100 users at once; leaving the block keeps the connection open.

        Raises:
            PoolError: The connection could not be opened.
        """
        await self._client.open()
        async with self._client.get() as container:
            yield container

    async def close(self) -> None:
        """Close the connection, and the credential if it was made here; the next use opens it again."""
        await self._client.close()
        self._keys.forget()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class ManagedAzureBlobStorage(ManagedClient[ContainerClient], BlobOperations):
    """A pool of connections to one container of Blob Storage.

    Args:
        az_storage_url: The account's URL, such as ``https://shop.blob.core.windows.net``.
        container_name: The container's name.
        credential_factory: Makes an async credential, such as ``azure.identity.aio.DefaultAzureCredential``; called once, and what
            it made is closed with this client.
        credential: Instead of that, an async credential (which stays yours to close), the account's key, an
            ``AzureNamedKeyCredential`` or an ``AzureSasCredential``.
        connection_string: Instead of that and of the URL, the account's connection string.
        client_options: Further keyword arguments of every ``ContainerClient``, such as
            ``{"max_single_get_size": 32 * 1024 * 1024}``.
        use_env_settings: Whether each request looks for a proxy and a netrc file in the environment. None looks once per
            connection and goes on only where there is one; True is the SDK's own way.
        sizes: See `Sizes`. One client carries 100 calls at once over its own HTTP connections, hence ``client_limit=100``.

    Raises:
        TypeError: The credential is a sync one.
        ValueError: An argument is malformed or out of bounds, or more than one kind of authentication is given.
    """

    service = "blob"

    def __init__(
        self,
        az_storage_url: str | None = None,
        container_name: str | None = None,
        credential_factory: CredentialFactory | AsyncTokenCredential | None = None,
        *,
        credential: AsyncTokenCredential | KeyCredential | str | None = None,
        connection_string: str | None = None,
        client_options: dict[str, Any] | None = None,
        use_env_settings: bool | None = None,
        **sizes: Unpack[Sizes],
    ) -> None:
        check_sizes(ManagedAzureBlobStorage, sizes)
        self._access = access = BlobAccess(
            az_storage_url, container_name, credential_factory, credential, connection_string, may_borrow=True
        )
        self._connector = connector = BlobConnector(access, client_options, use_env_settings=use_env_settings)
        self._keys = DelegationKeys()
        super().__init__(connector, service=self.service, shared=access.shared, **sizes)
        connector.report = self.pool.report

    def get_container_client(self, timeout: float | None = None) -> Lease[ContainerClient]:
        """Check out the SDK's client of the container: ``async with files.get_container_client() as container:``.

        Args:
            timeout: Seconds to wait for a place; None means the client's ``pool_get_timeout``.

        Raises:
            PoolError: Any that `ConnectionPool.get` raises.
        """
        return self.get(timeout)

    async def close(self, drain_seconds: float = 10.0) -> None:
        """See `ManagedClient.close`."""
        await super().close(drain_seconds)
        self._keys.forget()

    @property
    def throttled_count(self) -> int:
        """How many requests were answered so far that the account is too busy, those included that the SDK tried again."""
        return self._connector.throttled_count
