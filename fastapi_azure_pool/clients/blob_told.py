"""What the SDK raises, told as an `AzureBlobError`, also while a download is read."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Self

from azure.core.exceptions import AzureError

from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.errors import AzureBlobError

with extra("blob"):
    from azure.storage.blob.aio import StorageStreamDownloader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType


_PIECE = 4 * 1024 * 1024


class told:  # noqa: N801 - reads as a statement: with told(name)
    """A block whose errors of the SDK leave it as `AzureBlobError`.

    Args:
        blob_name: The blob that the block is about; None for none.
        url: The container's URL, where the block is the caller's own: then only what was answered to a request there is told so.
    """

    __slots__ = ("_blob_name", "_url")

    def __init__(self, blob_name: str | None = None, *, url: str | None = None) -> None:
        self._blob_name = blob_name
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, AzureError) or isinstance(error, AzureBlobError):
            return
        if self._url is None or _asked(error).startswith(self._url):
            raise AzureBlobError(error, self._blob_name).like(error) from error


def _asked(error: AzureError) -> str:
    request = getattr(getattr(error, "response", None), "request", None)
    return str(getattr(request, "url", ""))


class ToldDownload(StorageStreamDownloader[Any]):
    """The SDK's stream of one blob, whose errors are `AzureBlobError`."""

    @classmethod
    def of(cls, stream: StorageStreamDownloader[Any]) -> Self:
        """Give this kind of stream in the place of the SDK's, which is not to be used any more."""
        download = cls.__new__(cls)
        download.__dict__ = stream.__dict__
        return download

    async def read(self, size: int = -1, *, chars: int | None = None) -> Any:
        """Give the next bytes; see `StorageStreamDownloader.read`."""
        with told(self.name):
            return await super().read(size) if chars is None else await super().read(chars=chars)

    async def readall(self) -> Any:
        """Give the rest of the blob; see `StorageStreamDownloader.readall`."""
        with told(self.name):
            if self._needs_tasks:
                return await super().readall()
            # A compressed blob that the SDK has decompressed is longer than the size that it tells.
            return await super().read(max(self.size, len(getattr(self, "_current_content", b"")), 1))

    async def readinto(self, stream: IO[bytes]) -> int:
        """Write the rest of the blob into a file; see `StorageStreamDownloader.readinto`."""
        with told(self.name):
            if self._needs_tasks:
                return await super().readinto(stream)
            count = 0
            while piece := await super().read(_PIECE):
                stream.write(piece)
                count += len(piece)
            return count

    @property
    def _needs_tasks(self) -> bool:
        """Whether only the SDK's tasks can do it; they go on when their caller is cancelled. A size is read without any."""
        return bool(getattr(self, "_max_concurrency", 2) > 1 or getattr(self, "_encoding", None))

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the blob piece by piece; see `StorageStreamDownloader.chunks`."""
        return _ToldChunks(super().chunks(), self.name)


class _ToldChunks:
    __slots__ = ("_blob_name", "_chunks")

    def __init__(self, chunks: AsyncIterator[bytes], blob_name: str) -> None:
        self._chunks = chunks
        self._blob_name = blob_name

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with told(self._blob_name):
            return await anext(self._chunks)
