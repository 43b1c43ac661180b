"""The HTTP transport of pooled connections: quick where the environment is bare, and obedient where it is not."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import AzureError, ServiceRequestError
from azure.core.pipeline.transport import HttpRequest

from fastapi_azure_pool import ManagedCosmos
from fastapi_azure_pool.clients.http_transport import PooledTransport, environment_is_set
from tests.clients.forward_proxy import ForwardProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi_azure_pool.emulator import Emulator

ITEM = {"id": "1", "customer_id": "c"}
LOGIN = f"Basic {base64.b64encode(b'me:secret').decode()}"


@pytest.fixture
async def proxy() -> AsyncIterator[ForwardProxy]:
    """A forward proxy on loopback."""
    async with ForwardProxy() as proxy:
        yield proxy


def write_netrc(path: Path, machine: str, login: str, password: str) -> Path:
    """Write a netrc file with one entry."""
    path.write_text(f"machine {machine} login {login} password {password}\n")
    path.chmod(0o600)
    return path


async def write_one(azure: Emulator, **options: Any) -> bool:
    """Write one item over a pool of one connection; tell whether the connection looks into the environment."""
    async with (
        ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key, **options) as orders,
        orders.get_container_client() as container,
    ):
        await container.upsert_item(ITEM)
        ((_, transport),) = orders._connector._open.values()
        assert transport.session is not None
        return bool(transport.session.trust_env)


async def test_in_a_bare_environment_nothing_is_looked_up(azure: Emulator) -> None:
    """Without a proxy and a netrc file, requests go without environment look-ups."""
    assert await write_one(azure) is False


async def test_the_way_back_to_the_sdk_s_own_behaviour(azure: Emulator) -> None:
    """use_env_settings=True looks for each request, as the SDK does, whatever the environment holds at opening."""
    assert await write_one(azure, use_env_settings=True) is True


async def test_requests_go_through_the_environment_s_proxy(
    azure: Emulator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HTTP_PROXY set, every request of a pooled connection goes through that proxy."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert await write_one(azure) is True
    seen = {(request.method, request.target.removeprefix(azure.cosmos_endpoint)) for request in proxy.requests}
    assert {("GET", ""), ("GET", "dbs/shop/colls/orders/"), ("POST", "dbs/shop/colls/orders/docs/")} <= seen
    assert len(proxy.requests) >= azure.cosmos_requests.total > 0


async def test_https_goes_through_the_environment_s_proxy(
    azure_with_tls: Emulator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HTTPS_PROXY set, a pooled connection tunnels through that proxy."""
    monkeypatch.setenv("https_proxy", proxy.url)
    assert await write_one(azure_with_tls) is True
    authority = azure_with_tls.cosmos_endpoint.removeprefix("https://").removesuffix("/")
    assert {(request.method, request.target) for request in proxy.requests} == {("CONNECT", authority)}


async def test_no_proxy_is_obeyed(azure: Emulator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY names is asked directly."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    await write_one(azure)
    assert proxy.requests == []


async def test_without_look_ups_the_proxy_is_passed_by(
    azure: Emulator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """use_env_settings=False asks directly, whatever the environment says."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert await write_one(azure, use_env_settings=False) is False
    assert proxy.requests == []


async def test_the_proxy_s_password_comes_from_the_netrc_file(
    azure: Emulator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The proxy is given the login that the netrc file holds for it."""
    # By another name than the emulator, which is on the same address: aiohttp refuses a login for a host that is signed for.
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("127.0.0.1", "localhost"))
    monkeypatch.setenv("NETRC", str(write_netrc(tmp_path / "netrc", "localhost", "me", "secret")))
    await write_one(azure)
    assert proxy.requests
    assert {request.proxy_authorization for request in proxy.requests} == {LOGIN}


@pytest.mark.parametrize("place", ["NETRC", "home"])
async def test_the_service_s_password_comes_from_the_netrc_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """With a netrc file alone, named or in the home directory, requests carry the login that it holds for their host."""
    write_netrc(tmp_path / ".netrc", "127.0.0.1", "me", "secret")
    if place == "NETRC":
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    else:
        monkeypatch.setenv("HOME", str(tmp_path))
    seen: list[str] = []
    async with listening(seen) as url:
        assert await send_plain(url) == 204
    assert [line for line in seen if line.lower().startswith("authorization")] == [f"Authorization: {LOGIN}"]


@pytest.mark.parametrize(
    ("variables", "is_set"),
    [
        ({}, False),
        ({"HTTP_PROXY": "http://proxy:3128"}, True),
        ({"http_proxy": "http://proxy:3128"}, True),
        ({"HTTPS_PROXY": "http://proxy:3128"}, True),
        ({"NO_PROXY": "localhost"}, False),
        ({"FTP_PROXY": "http://proxy:3128"}, False),
        ({"NETRC": "/nowhere"}, False),
        ({"NETRC": "x" * 300}, False),
        ({"HOME": "/" + "x" * 300}, False),
    ],
    ids=["bare", "http", "lower case", "https", "no_proxy alone", "ftp alone", "no file", "no such name", "no home"],
)
def test_what_counts_as_set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_set: bool) -> None:
    """Only a proxy that aiohttp would use, or a netrc file that is there, keeps the look-ups; no odd path fails."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment_is_set() is is_set


def test_a_user_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home directory has no netrc file in it."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(RuntimeError):
        Path.home()
    assert environment_is_set() is False


def test_a_proxy_of_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """What urllib finds, which on some systems is more than the environment's variables, counts as aiohttp counts it."""
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy:3128"})
    monkeypatch.setattr("fastapi_azure_pool.clients.http_transport.getproxies", urllib.request.getproxies)
    assert environment_is_set() is True


async def test_the_transport_reports_what_got_no_answer(azure: Emulator) -> None:
    """Each attempt without an answer is reported with azure-core's error; without a reporter it is only raised."""
    transport = PooledTransport(throttled=lambda: None)
    await transport.send(HttpRequest("GET", azure.cosmos_endpoint))
    reported: list[AzureError] = []
    for report in (None, reported.append):
        transport.report = report
        with azure.faults.drop(service="cosmos"), pytest.raises(AzureError) as raised:
            await transport.send(HttpRequest("GET", azure.cosmos_endpoint))
    assert reported == [raised.value]
    assert not transport.is_closed
    await transport.close()
    assert transport.is_closed


async def test_a_host_that_never_answered_is_not_reported(azure: Emulator) -> None:
    """A region that is down, which an SDK tries beside the one that it uses, says nothing of the connection."""
    transport = PooledTransport(throttled=lambda: None)
    reported: list[AzureError] = []
    transport.report = reported.append
    await transport.send(HttpRequest("GET", azure.cosmos_endpoint))
    with pytest.raises(ServiceRequestError):
        await transport.send(HttpRequest("GET", "http://127.0.0.1:1/"))
    assert reported == []
    await transport.close()


@pytest.mark.parametrize(("seconds", "accepted"), [(99, 1), (101, 2)])
async def test_an_idle_connection_is_kept(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch, seconds: int, accepted: int
) -> None:
    """A TCP connection that was idle for less than 100 s is used again; aiohttp would have closed it after 15."""
    async with PooledTransport(throttled=lambda: None) as transport:
        await transport.send(HttpRequest("GET", azure.cosmos_endpoint))
        now = time.monotonic()
        monkeypatch.setattr("aiohttp.connector.monotonic", lambda: now + seconds)
        await transport.send(HttpRequest("GET", azure.cosmos_endpoint))
    assert azure.connections("cosmos").accepted == accepted


@pytest.mark.parametrize("place", ["connection", "request"])
async def test_certificates_are_read_once(
    azure_with_tls: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """A file of certificates is read once, in a thread, by requests that come at once too, and connections are used again."""
    file = tmp_path / "certificate.pem"
    file.write_text(azure_with_tls.certificate)
    options = {"connection_verify": str(file)}
    readers: list[threading.Thread] = []
    read = PooledTransport.__base__._build_ssl_config

    def reading(transport: Any, cert: Any, verify: Any) -> Any:
        readers.append(threading.current_thread())
        return read(transport, cert, verify)

    monkeypatch.setattr(PooledTransport.__base__, "_build_ssl_config", reading)
    of_connection, of_request = (options, {}) if place == "connection" else ({}, options)
    async with PooledTransport(throttled=lambda: None, connection_options=of_connection) as transport:
        for _ in range(3):
            await transport.send(HttpRequest("GET", azure_with_tls.cosmos_endpoint), **of_request)
    assert len(readers) == 1
    assert readers[0] is not threading.main_thread()
    assert azure_with_tls.connections("cosmos").accepted == 1


async def test_a_file_of_certificates_that_is_not_there() -> None:
    """A file that is not there fails the request."""
    async with PooledTransport(
        throttled=lambda: None, connection_options={"connection_verify": "/nowhere"}
    ) as transport:
        with pytest.raises(FileNotFoundError):
            await transport.send(HttpRequest("GET", "https://127.0.0.1:1/"))


def test_a_transport_that_was_never_opened_is_not_closed() -> None:
    """A new transport opens its session at its first request: it is not closed."""
    assert not PooledTransport(throttled=lambda: None).is_closed


async def test_a_session_that_someone_closed_is_seen() -> None:
    """A transport whose aiohttp session was closed elsewhere counts as closed."""
    transport = PooledTransport(throttled=lambda: None)
    await transport.open()
    assert transport.session is not None
    await transport.session.close()
    assert transport.is_closed


async def send_plain(url: str) -> int:
    """Send one request without any SDK; give the status."""
    async with PooledTransport(throttled=lambda: None) as transport:
        response = await transport.send(HttpRequest("GET", url))
        return int(response.status_code)


class listening:  # noqa: N801 - used as a function is
    """A server on loopback that answers 204 to one request for each connection and keeps the lines of their heads."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines += (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
