"""What a client of a container does with its blobs, over whichever connection it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.blob_content import prepare
from fastapi_azure_pool.clients.blob_files import write_file
from fastapi_azure_pool.clients.blob_names import checked_blob_name, file_name, safe_blob_name
from fastapi_azure_pool.clients.blob_reading import read_blob
from fastapi_azure_pool.clients.blob_sas import DelegationKeys, checked_expiry, sign
from fastapi_azure_pool.clients.blob_told import ToldDownload, told
from fastapi_azure_pool.clients.taking_turns import yield_to_others

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from azure.storage.blob import BlobProperties, UserDelegationKey
    from azure.storage.blob.aio import BlobClient, ContainerClient, StorageStreamDownloader

    from fastapi_azure_pool.clients.blob_access import BlobAccess
    from fastapi_azure_pool.clients.blob_connector import BlobConnector
    from fastapi_azure_pool.clients.blob_content import Content


class BlobOperations(ABC):
    """The blobs of one container: upload, download, list, delete, and sign URLs for others.

    Every method raises `AzureBlobError` where Blob Storage refuses or cannot be reached, a `PoolError` where no connection can be
    had, and ValueError for a blob name that would address something else, such as one with ``..`` in it.
    """

    _access: BlobAccess
    _connector: BlobConnector
    _keys: DelegationKeys

    @abstractmethod
    def get_container_client(self) -> AbstractAsyncContextManager[ContainerClient]:
        """Check out the SDK's client of the container, for what it does beyond these methods."""

    @property
    def az_storage_url(self) -> str:
        """The account's URL, with a slash at its end."""
        return f"{self._access.url}/"

    @property
    def container_name(self) -> str:
        """The container's name."""
        return self._access.container_name

    @staticmethod
    def safe_blob_name(blob_name: str, quoting: bool = False) -> str:
        """Give a blob name that makes no trouble; see `safe_blob_name` in ``blob_names``.

        Args:
            blob_name: Any text, such as the name of a file that was uploaded.
            quoting: Whether the name is percent-encoded as well.

        Raises:
            ValueError: Nothing is left of it.
        """
        return safe_blob_name(blob_name, quoting=quoting)

    # Reading -------------------------------------------------------------------------------------------------------------------

    async def download_blob(self, blob_name: str, **options: Any) -> Any:
        """Give the whole content of a blob: bytes, or a text where ``encoding`` is given.

        Args:
            blob_name: The blob.
            options: Arguments of ``BlobClient.download_blob``, such as ``offset`` and ``length``. With ``max_concurrency`` above 1
                the SDK reads in tasks, which go on for a while when their caller is cancelled.
        """
        checked_blob_name(blob_name)
        encoding = options.pop("encoding", None)
        async with self.get_container_client() as container:
            with told(blob_name):
                blob = container.get_blob_client(blob_name)
                if options:
                    content = await ToldDownload.of(await blob.download_blob(**options)).readall()
                else:
                    content = await read_blob(blob)
        return content if encoding is None else content.decode(encoding)

    @asynccontextmanager
    async def get_blob_download_stream(
        self, blob_name: str, **options: Any
    ) -> AsyncIterator[StorageStreamDownloader[Any]]:
        """Open a blob for reading piece by piece: ``async with client.get_blob_download_stream(name) as stream:``.

        The stream is the SDK's, with ``properties``, ``size``, ``chunks()`` and ``read()``; its first 4 MB are there when the block
        begins, and it holds about 8 MB at most. It has a place on its connection until the block ends, so that the connection is
        not closed under it. That is one place of ``client_limit``, not a TCP connection, which it takes only while a piece is on
        its way.

        Args:
            blob_name: The blob.
            options: Arguments of ``BlobClient.download_blob``, such as ``offset`` and ``length``.
        """
        checked_blob_name(blob_name)
        async with self.get_container_client() as container:
            with told(blob_name):
                stream = await container.get_blob_client(blob_name).download_blob(**options)
            yield ToldDownload.of(stream)

    async def download_blob_to_dir(self, workspace_dir: str | os.PathLike[str], blob_name: str, **options: Any) -> str:
        """Save a blob in a directory, under the last part of its name, and give the file's path.

        The file appears when it is complete; a file or a link of that name is replaced, not followed. It is written beside the
        event loop.

        Args:
            workspace_dir: The directory, which exists.
            blob_name: The blob.
            options: Arguments of ``BlobClient.download_blob``.

        Raises:
            OSError: The file cannot be written.
            ValueError: The blob's name ends in nothing that can name a file.
        """
        path = Path(workspace_dir) / file_name(checked_blob_name(blob_name))
        async with self.get_blob_download_stream(blob_name, **options) as stream:
            await write_file(path, stream.chunks())
        return str(path)

    async def list_blobs(self, prefix: str | None = None, **options: Any) -> AsyncIterator[BlobProperties]:
        """Give the properties of the container's blobs, in the order of their names.

        A place is taken for each page of them, and given back before they are given out: who is slow with them, or stops, holds
        none.

        Args:
            prefix: What their names begin with; None for all.
            options: Arguments of ``ContainerClient.list_blobs``, such as ``include`` or ``results_per_page`` (at most, and by
                default, 5,000).
        """
        token: str | None = None
        while True:
            async with self.get_container_client() as container:
                with told():
                    pages: Any = container.list_blobs(name_starts_with=prefix, **options).by_page(token)
                    page = [blob async for blob in await anext(pages)]
            for blob in page:
                yield blob
            token = pages.continuation_token
            if not token:
                return

    # Writing -------------------------------------------------------------------------------------------------------------------

    async def upload_blob(self, blob_name: str, file_data: Content, **options: Any) -> tuple[bool, dict[str, Any]]:
        """Store content under a name.

        Content shorter than a block (4 MB) is one request. Longer content that comes piece by piece is read and sent block by
        block, of which a few are in memory at a time. Files are read beside the event loop. The blob is there, or replaced, when
        everything has arrived.

        Args:
            blob_name: The blob.
            file_data: Bytes, a text, a binary file (also one that is read with ``await``, such as ``UploadFile``) or an iterable of
                bytes or texts (also an async one, such as ``request.stream()``).
            options: Arguments of ``BlobClient.upload_blob``, such as ``overwrite=True``, ``metadata`` or ``content_settings``.

        Returns:
            Whether it was stored, and what Blob Storage answered, such as ``etag`` and ``last_modified``.

        Raises:
            AzureBlobError: Also where the blob is there already, and ``overwrite`` is not given (BlobAlreadyExists).
            TypeError: It is nothing that can be uploaded.
        """
        checked_blob_name(blob_name)
        encoding = options.get("encoding") or "utf-8"
        is_whole = options.get("length") is not None
        content = await prepare(file_data, encoding, self._connector.block_size, is_whole=is_whole)
        async with self.get_container_client() as container:
            with told(blob_name):
                result: dict[str, Any] = await container.get_blob_client(blob_name).upload_blob(content, **options)  # type: ignore[arg-type]  # the SDK reads it
        return result.get("error_code") is None, result

    async def upload_blob_from_url(
        self,
        blob_name: str,
        file_url: str,
        overwrite: bool = True,
        **options: Any,
    ) -> dict[str, Any]:
        """Have Blob Storage store what a URL gives, without its passing through here, and give what it answered.

        Args:
            blob_name: The blob, which is replaced.
            file_url: The URL, such as that of another blob with a signature.
            overwrite: False to fail where the blob is there already.
            options: Arguments of ``BlobClient.upload_blob_from_url``.
        """
        checked_blob_name(blob_name)
        async with self.get_container_client() as container:
            with told(blob_name):
                return await container.get_blob_client(blob_name).upload_blob_from_url(
                    file_url, overwrite=overwrite, **options
                )

    async def delete_blob(self, blob_name: str, **options: Any) -> None:
        """Delete a blob.

        Args:
            blob_name: The blob.
            options: Arguments of ``BlobClient.delete_blob``, such as ``delete_snapshots="include"``.
        """
        checked_blob_name(blob_name)
        async with self.get_container_client() as container:
            with told(blob_name):
                await container.get_blob_client(blob_name).delete_blob(**options)

    @asynccontextmanager
    async def get_blob_client(self, blob_name: str) -> AsyncIterator[BlobClient]:
        """Check out the SDK's client of one blob: ``async with client.get_blob_client(name) as blob:``.

        What was answered to a request for it leaves the block as `AzureBlobError`; an error without an answer stays the SDK's.

        Args:
            blob_name: The blob.
        """
        checked_blob_name(blob_name)
        async with self.get_container_client() as container:
            with told(blob_name, url=f"{self._access.url}/{self._access.container_name}/"):
                yield container.get_blob_client(blob_name)

    # Signing -------------------------------------------------------------------------------------------------------------------

    async def get_blob_sas_token(self, blob_name: str, expiry: datetime | None = None) -> str:
        """Give a shared access signature with which anybody can read one blob until it ends.

        With a token credential it is signed with a user delegation key, which is kept and used again; with the account's key
        without a request.

        Args:
            blob_name: The blob, which need not exist.
            expiry: When it ends, at most 7 days from now with a token credential; by default in an hour.

        Raises:
            ValueError: The time is over, or too far away, or what authenticates can sign nothing (a signature).
        """
        return (await self.get_blob_sas_token_list([blob_name], expiry))[blob_name]

    async def get_blob_sas_token_list(
        self, blob_names: Iterable[str], expiry: datetime | None = None
    ) -> dict[str, str]:
        """Give a signature for each of several blobs, by their names; see `get_blob_sas_token`."""
        names = [checked_blob_name(name) for name in blob_names]
        now = datetime.now(UTC)
        expiry = checked_expiry(expiry, now)
        if self._access.account_name is None:
            raise ValueError("az_storage_url does not tell the account's name, which a signature needs")
        key: UserDelegationKey | str | None = self._access.account_key
        if key is None:
            if self._access.shared is None:
                raise ValueError(
                    "a signature cannot sign others: authenticate with a token credential or the account's key"
                )
            key = await self._keys.get(expiry, now, self._fetch_key)
        tokens: dict[str, str] = {}
        for count, name in enumerate(names, 1):
            tokens[name] = sign(self._access.account_name, self.container_name, name, expiry, key=key)
            await yield_to_others(count)
        return tokens

    async def get_blob_sas_url(self, blob_name: str, expiry: datetime | None = None) -> str:
        """Give a URL from which anybody can read one blob until it ends; see `get_blob_sas_token`."""
        return self._access.blob_url(blob_name, await self.get_blob_sas_token(blob_name, expiry))

    async def get_blob_sas_url_list(self, blob_names: Iterable[str], expiry: datetime | None = None) -> dict[str, str]:
        """Give a URL for each of several blobs, by their names; see `get_blob_sas_token`."""
        tokens = await self.get_blob_sas_token_list(blob_names, expiry)
        return {name: self._access.blob_url(name, token) for name, token in tokens.items()}

    async def _fetch_key(self, start: datetime, expiry: datetime) -> UserDelegationKey:
        async with self.get_container_client() as container:
            with told():
                return await self._connector.service_client(container).get_user_delegation_key(start, expiry)
