"""Opens, proves, judges and closes connections to a container of Blob Storage."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError

from fastapi_azure_pool.clients.blob_container import PooledContainerClient
from fastapi_azure_pool.clients.blob_transport import BlobTransport, is_broken_download
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.http_connector import HttpConnector

with extra("blob"):
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

if TYPE_CHECKING:
    from fastapi_azure_pool.clients.blob_access import BlobAccess

DEFAULT_OPTIONS = {
    # The SDK holds the first 32 MB of a download in memory, whatever is read of it: a hundred streams at once would hold 3.2 GB,
    # and the first byte comes when the 32 MB are there. 4 MB is the size of every further piece.
    "max_single_get_size": 4 * 1024 * 1024,
    # The SDK waits about 18, 24 and 42 s between attempts. A request that somebody waits for is over by then: 2, 4 and 8 s.
    "initial_backoff": 0,
    "increment_base": 2,
    "random_jitter_range": 1,
}
"""What a connection is opened with unless ``client_options`` say otherwise."""

# Blob Storage knows who asks, and that he may not look at the container: he may still be allowed to use its blobs.
_PERMISSION_CODES = frozenset(
    {"AuthorizationPermissionMismatch", "AuthorizationResourceTypeMismatch", "AuthorizationServiceMismatch"}
)
# What it answers where a signature is for blobs only. With a token or a key this code means a firewall, which lets nothing pass.
_SIGNATURE_CODES = _PERMISSION_CODES | {"AuthorizationFailure"}


class BlobConnector(HttpConnector[ContainerClient]):
    """Opens clients of a container, each with an HTTP session of its own.

    Args:
        access: Where the container is, and how to authenticate.
        client_options: Further keyword arguments of every `ContainerClient`.
        use_env_settings: See `PooledTransport`.
    """

    def __init__(
        self,
        access: BlobAccess,
        client_options: dict[str, Any] | None = None,
        *,
        use_env_settings: bool | None = None,
    ) -> None:
        ours = {"account_url", "container_name", "credential", "transport"} & (client_options or {}).keys()
        if ours:
            raise ValueError(
                f"client_options must not hold {min(ours)!r}: the pool gives every ContainerClient its own"
            )
        super().__init__(use_env_settings=use_env_settings)
        self._access = access
        self._client_options: dict[str, Any] = {**DEFAULT_OPTIONS, **(client_options or {})}
        self._open: dict[ContainerClient, BlobTransport] = {}

    @property
    def block_size(self) -> int:
        """Bytes of one block of an upload."""
        return int(self._client_options.get("max_block_size", 4 * 1024 * 1024))

    async def create(self) -> ContainerClient:
        """Make a client, over a transport that is set up better than the SDK's (see `blob_transport`)."""
        transport = BlobTransport(
            throttled=self._count_throttled, options=self._client_options, use_env_settings=self._use_env_settings
        )
        container = PooledContainerClient(
            self._access.url, self._access.container_name, transport=transport, **self._arguments()
        )
        transport.report = partial(self._report, container)
        try:
            await container.__aenter__()
        except BaseException:
            await container.close()
            raise
        self._open[container] = transport
        return container

    async def ready(self, connection: ContainerClient) -> bool:
        """Read the container's properties.

        Who may not read them, but is known to Blob Storage, may use what is in the container: then the answer is as good. That
        is so with a signature for blobs, or with a role for blobs alone.

        Raises:
            azure.core.exceptions.AzureError: Blob Storage cannot be reached, refuses the authentication, or has no such container.
        """
        try:
            # One attempt: the pool makes the next, and the SDK's would hide the error behind a time-out.
            await connection.get_container_properties(retry_total=0)
        except HttpResponseError as error:
            has_signature = isinstance(self._access.credential, AzureSasCredential)
            code = getattr(error, "error_code", None)
            if getattr(code, "value", code) not in (_SIGNATURE_CODES if has_signature else _PERMISSION_CODES):
                raise
        return True

    async def close(self, connection: ContainerClient) -> None:
        """Close the client."""
        self._open.pop(connection)
        await connection.close()

    def is_closed(self, connection: ContainerClient) -> bool:
        """Tell whether someone has closed the client, as leaving an ``async with`` over it does."""
        return self._open[connection].is_closed

    def is_fatal(self, error: BaseException) -> bool:
        """Tell whether a request could not be sent, or its answer not be read to its end."""
        return super().is_fatal(error) or is_broken_download(error)

    def service_client(self, connection: ContainerClient) -> BlobServiceClient:
        """Make a client of the account, over this connection, which must not be closed with it."""
        return BlobServiceClient(self._access.url, transport=self._open[connection], **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        # A SharedCredential gives tokens as an AsyncTokenCredential does, and more.
        return {"credential": self._access.credential, **self._client_options}
