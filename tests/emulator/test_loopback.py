"""No way leads the emulator to an address that others can reach."""

from __future__ import annotations

import ast
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool import emulator as package
from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator import __main__ as command_line
from fastapi_azure_pool.emulator.loopback import bind_listener
from fastapi_azure_pool.emulator.server import LoopbackServer
from fastapi_azure_pool.testing import BackgroundEmulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.cosmos.aio import CosmosClient

REFUSED = r"is not a loopback address: the emulator is bound to loopback only, write 127\.0\.0\.1"

elsewhere = pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "192.168.1.1",
        "example.com",
        "",
        "::",
        "::ffff:10.0.0.1",
        "127.0.0.1.example.com",
        "127.0.0.1:80",
        "0",
    ],
)


@elsewhere
def test_an_argument_does_not(host: str, azure_emulator_factory: Callable[..., BackgroundEmulator]) -> None:
    """A host that others could reach is refused by all that take one, and the error says what to write."""
    for make in (Emulator, BackgroundEmulator, azure_emulator_factory):
        with pytest.raises(ValueError, match=REFUSED):
            make(host=host)


@elsewhere
def test_no_server_and_no_socket_is_made_for_one(host: str) -> None:
    """Nor does a single service take it, or what binds the sockets of all."""
    service: Any = None
    with pytest.raises(ValueError, match=REFUSED):
        LoopbackServer(service, name="cosmos", host=host, port=0)
    with pytest.raises(ValueError, match=REFUSED):
        bind_listener(host, 0, "cosmos")


@pytest.mark.parametrize(
    "arguments",
    [["--host", "0.0.0.0"], ["--host=0.0.0.0"], ["--bind", "0.0.0.0"], ["--cosmos-port", "0.0.0.0:0"], ["0.0.0.0"]],
)
def test_the_command_line_does_not(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """There is no option for it, and a port is a number."""
    with pytest.raises(SystemExit) as refused:
        command_line.main(arguments)
    assert refused.value.code == 2
    assert "0.0.0.0" in capsys.readouterr().err


def test_the_environment_does_not() -> None:
    """The emulator reads no variable at all."""
    directory = Path(package.__file__).parent
    read = [
        f"{path.relative_to(directory)}:{node.lineno}"
        for path in directory.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"}
    ]
    assert read == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
async def test_every_socket_is_on_loopback(host: str, connect_client: Callable[..., CosmosClient]) -> None:
    """Every way to write loopback works; each service listens there and nowhere else, and is found there."""
    azure = Emulator(host=host)
    async with azure, connect_client(azure) as client:
        assert (f"[{host}]" if ":" in host else host) in azure.cosmos_endpoint
        await client.create_database("shop")
        listening = [socket.getsockname()[0] for server in _servers(azure) for socket in server.sockets]
    assert len(listening) == len(azure._servers) == 5
    assert all(ipaddress.ip_address(address).is_loopback for address in listening)


def _servers(azure: Emulator) -> list[Any]:
    return [server._server for server in azure._servers.values()]
