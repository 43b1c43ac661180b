"""What the connectors of the HTTP services share: the transports of their connections tell what they see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.clients.http_transport import is_broken_connection
from fastapi_azure_pool.pool import AbstractConnector
from fastapi_azure_pool.pool.connector import ConnT

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.core.exceptions import AzureError


class HttpConnector(AbstractConnector[ConnT]):
    """Judges connections over HTTP; subclasses open them.

    Args:
        use_env_settings: See `PooledTransport`.

    Attributes:
        report: Called with a connection and the error of an attempt that got no answer, also where the SDK tries again; None for
            nobody.
        throttled_count: Answers so far that said that too much is asked, those included that the SDK retried.
    """

    def __init__(self, *, use_env_settings: bool | None) -> None:
        self._use_env_settings = use_env_settings
        self.report: Callable[[ConnT, AzureError], None] | None = None
        self.throttled_count = 0

    def is_fatal(self, error: BaseException) -> bool:
        """Tell whether a request could not be sent or its answer not be read; an answer of any status is none of that."""
        return is_broken_connection(error)

    def _report(self, connection: ConnT, error: AzureError) -> None:
        if self.report is not None:
            self.report(connection, error)

    def _count_throttled(self) -> None:
        self.throttled_count += 1
