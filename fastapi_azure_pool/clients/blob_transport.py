"""How a pooled connection to Blob Storage is tuned, and its HTTP transport, which sees what becomes of a download."""

from __future__ import annotations

import asyncio
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, IncompleteReadError
from azure.core.pipeline.transport._aiohttp import AioHttpStreamDownloadGenerator

from fastapi_azure_pool.clients.http_transport import PooledTransport, with_causes

if TYPE_CHECKING:
    from collections.abc import Callable

# What the SDK gives the transport that it makes for itself: time-outs in seconds, and how many bytes it takes from a socket at a
# time.
_TRANSPORT_OPTIONS = {"connection_timeout": 20, "read_timeout": 60, "connection_data_block_size": 256 * 1024}

SERVER_BUSY = 503
"""What Blob Storage answers a client that asks too much, with the error code ServerBusy."""

_FIRST_ERROR = 300

# aiohttp writes bytes to the socket in one go, and warns of it above 1 MB.
_LARGE_BODY = 256 * 1024


class BlobTransport(PooledTransport):
    """The transport of one pooled connection.

    It reports also what breaks off a download after its answer has begun, and closes the answer of a download that is cancelled:
    the SDK would leave the TCP connection taken until the garbage is collected.

    Args:
        throttled: Called for each answer 429, and for each 503 that says the account is busy.
        options: The client's options, of which it takes those that the SDK gives a transport.
        use_env_settings: See `PooledTransport`.
    """

    def __init__(
        self,
        *,
        throttled: Callable[[], None],
        options: dict[str, Any],
        use_env_settings: bool | None = None,
    ) -> None:
        super().__init__(
            throttled=throttled,
            use_env_settings=use_env_settings,
            connection_options={**_TRANSPORT_OPTIONS, **options},
        )

    async def send(self, request: Any, **options: Any) -> Any:
        """Send one attempt; see `PooledTransport.send`."""
        response = await super().send(request, **options)
        if response.status_code >= _FIRST_ERROR:
            if response.status_code == SERVER_BUSY and response.headers.get("x-ms-error-code") == "ServerBusy":
                self._throttled()
            if options.get("stream"):
                # Else the connection would stay taken while the SDK waits to try again.
                await response.read()
        elif options.get("stream") and hasattr(response, "_stream_download_generator"):
            response._stream_download_generator = partial(_WatchedDownload, self)  # noqa: SLF001 - no other way without a circle
        return response

    def broke_off(self, error: AzureError) -> None:
        """Report what broke off a download."""
        if self.report is not None:
            self.report(error)

    def _get_request_data(self, request: Any) -> Any:
        """Give the body; a large one as a file, so that aiohttp writes it piece by piece."""
        data = super()._get_request_data(request)
        return BytesIO(data) if isinstance(data, bytes) and len(data) > _LARGE_BODY else data


class _WatchedDownload(AioHttpStreamDownloadGenerator):
    """The pieces of an answer."""

    def __init__(self, transport: BlobTransport, pipeline: Any, response: Any, **options: Any) -> None:
        super().__init__(pipeline, response, **options)
        self._transport = transport

    async def __anext__(self) -> bytes:
        try:
            piece: bytes = await super().__anext__()  # type: ignore[no-untyped-call]  # azure-core's
        except AzureError as error:
            self._transport.broke_off(error)
            raise
        except asyncio.CancelledError:
            self.response.internal_response.close()
            raise
        return piece


def is_broken_download(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, says that an answer broke off before its end."""
    return any(isinstance(cause, IncompleteReadError) for cause in with_causes(error))
