"""The HTTP transport that pooled connections of the HTTP services use instead of the SDKs' default."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from azure.core.configuration import ConnectionConfiguration
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import AioHttpTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

TOO_MANY_REQUESTS = 429

KEEP_ALIVE_SECONDS = 100.0
"""For how long an idle TCP connection is kept: less than the 120 s of Windows' web servers, and the 240 s of Azure's balancers."""

_PROXIED_SCHEMES = frozenset({"http", "https"})


class PooledTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core hands it out untyped
    """azure-core's aiohttp transport, kept warm, without its environment look-ups, and with an eye on every attempt.

    By default azure-core has aiohttp look for a netrc file (in a thread) and for proxies before each request. Measured on loopback,
    a Cosmos DB point read takes 1.01 ms of processor time with that and 0.58 ms without; with 32 at once 0.73 and 0.48 ms. So it
    looks once, when the connection is opened, and keeps the look-ups only where there is something to find.

    aiohttp closes a TCP connection that was idle for 15 s, so that a request after a quiet quarter of a minute would pay for a new
    one; here it is kept for 100 s. Where files of certificates are named, azure-core reads them for every request, on the event
    loop, and aiohttp keeps connections apart by the TLS context that comes of it, and uses each but once; here they are read once,
    in a thread.

    It sees also the attempts that the SDK retries, and errors that a handler swallows. It reports those to a host that has answered
    before: an SDK may try a region that is down again and again, while the region that it uses is well.

    Attributes:
        report: Called with the error of each attempt that got no answer; None for nobody.

    Args:
        throttled: Called for each answer 429.
        use_env_settings: Whether aiohttp looks into the environment for each request; None means only where it has a proxy or a
            netrc file. True is the SDK's own way.
        connection_options: Of azure-core's transport, such as ``read_timeout`` or ``connection_verify``; others are left alone.
    """

    def __init__(
        self,
        *,
        throttled: Callable[[], None],
        use_env_settings: bool | None = None,
        connection_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.session: ClientSession | None
        super().__init__(use_env_settings=environment_is_set() if use_env_settings is None else use_env_settings)
        self.connection_config = ConnectionConfiguration(**(connection_options or {}))
        self.report: Callable[[AzureError], None] | None = None
        self._answering_hosts: set[str] = set()
        self._throttled = throttled
        self._tls_contexts: dict[Any, ssl.SSLContext] = {}

    @property
    def is_closed(self) -> bool:
        """Whether the session was opened and is closed now."""
        return self._has_been_opened and (self.session is None or self.session.closed)

    async def open(self) -> None:
        """Open the session, unless it was opened before."""
        if self.session is None and not self._has_been_opened:
            self.session = ClientSession(
                connector=TCPConnector(keepalive_timeout=KEEP_ALIVE_SECONDS),
                # What azure-core gives it.
                trust_env=self._use_env_settings,
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
            )
        await super().open()

    async def send(self, request: Any, **options: Any) -> Any:
        """Send one attempt; what it met is reported before the SDK decides whether to try again."""
        await self._read_certificates(options)
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

    async def _read_certificates(self, options: dict[str, Any]) -> None:
        """Read the files of certificates that a request names, or the connection, the first time."""
        config = self.connection_config
        cert, verify = options.get("connection_cert", config.cert), options.get("connection_verify", config.verify)
        if (cert or not isinstance(verify, bool)) and (cert, verify) not in self._tls_contexts:
            chain = (cert,) if isinstance(cert, str) else cert  # azure-core takes a pair only.
            context = await asyncio.to_thread(super()._build_ssl_config, chain, verify)
            self._tls_contexts.setdefault((cert, verify), context)  # Another first request may have been as fast.

    def _build_ssl_config(self, cert: Any, verify: Any) -> Any:
        """Give azure-core what was made of the files."""
        return self._tls_contexts.get((cert, verify), verify)


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
    for cause in with_causes(error):
        if isinstance(cause, HttpResponseError):
            return False
        if isinstance(cause, ServiceResponseError):
            return not isinstance(cause, ServiceResponseTimeoutError)
        if isinstance(cause, ServiceRequestError):
            return True
    return False


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error, what caused it, and so on, each once."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__
