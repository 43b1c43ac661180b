"""The HTTP transport that pooled connections of the HTTP services use instead of the SDKs' default."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import AioHttpTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOO_MANY_REQUESTS = 429

_PROXIED_SCHEMES = frozenset({"http", "https"})


class PooledTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core hands it out untyped
    """azure-core's aiohttp transport, without its environment look-ups, and with an eye on every attempt.

    By default azure-core has aiohttp look for a netrc file (in a thread) and for proxies before each request. Measured on loopback,
    a Cosmos DB point read takes 1.01 ms of processor time with that and 0.58 ms without; with 32 at once 0.73 and 0.48 ms. So it
    looks once, when the connection is opened, and keeps the look-ups only where there is something to find.

    It sees also the attempts that the SDK retries, and errors that a handler swallows. It reports those to a host that has answered
    before: an SDK may try a region that is down again and again, while the region that it uses is well.

    Attributes:
        report: Called with the error of each attempt that got no answer; None for nobody.

    Args:
        throttled: Called for each answer 429.
        use_env_settings: Whether aiohttp looks into the environment for each request; None means only where it has a proxy or a
            netrc file. True is the SDK's own way.
    """

    def __init__(
        self,
        *,
        throttled: Callable[[], None],
        use_env_settings: bool | None = None,
    ) -> None:
        super().__init__(use_env_settings=environment_is_set() if use_env_settings is None else use_env_settings)
        self.report: Callable[[AzureError], None] | None = None
        self._answering_hosts: set[str] = set()
        self._throttled = throttled

    @property
    def is_closed(self) -> bool:
        """Whether the session was opened and is closed now."""
        return self._has_been_opened and (self.session is None or self.session.closed)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send one attempt; what it met is reported before the SDK decides whether to try again."""
        try:
            response = await super().send(request, **options)
        except AzureError as error:
            if self.report is not None and _host(request.url) in self._answering_hosts:
                self.report(error)
            raise
        self._answering_hosts.add(_host(request.url))
        if response.status_code == TOO_MANY_REQUESTS:
            self._throttled()
        return response


def _host(url: str) -> str:
    """Give the host and port of an absolute URL."""
    return url.split("/", 3)[2]


def environment_is_set() -> bool:
    """Tell whether the environment names a proxy for HTTP or holds a netrc file, which aiohttp would use."""
    if not _PROXIED_SCHEMES.isdisjoint(getproxies()):
        return True
    named = os.environ.get("NETRC")
    # A user without a home directory has no netrc in it, and what may not be looked at may not be read either.
    with suppress(RuntimeError, OSError):
        return Path(named).is_file() if named else any((Path.home() / name).is_file() for name in (".netrc", "_netrc"))
    return False


def is_broken_connection(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, says that a request could not be sent or its answer not be read.

    Only azure-core's own types count: a plain OSError or TimeoutError may be the client of the application who has gone. A slow
    answer breaks nothing, nor does an answer of any status, nor a token that could not be had (ClientAuthenticationError),
    whatever it was caused by.
    """
    for cause in _with_causes(error):
        if isinstance(cause, HttpResponseError):
            return False
        if isinstance(cause, ServiceResponseError):
            # Older versions of azure-core tell a slow answer by its cause only.
            return not isinstance(cause, ServiceResponseTimeoutError) and not isinstance(cause.__cause__, TimeoutError)
        if isinstance(cause, ServiceRequestError):
            return True
    return False


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__
