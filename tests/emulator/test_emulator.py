"""The emulator's life: where it binds, how it starts, what is left when it has stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest
import uvloop
from azure.cosmos import PartitionKey

from fastapi_azure_pool import emulator as package
from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.server import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.cosmos.aio import ContainerProxy, CosmosClient


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cosmos_port": 65536}, "cosmos_port=65536"),
        ({"identity_port": -1}, "identity_port=-1"),
        ({"cosmos_partitions": 0}, "cosmos_partitions=0"),
        ({"cosmos_partitions": 101}, "cosmos_partitions=101"),
        ({"cosmos_key": "not base64!"}, "cosmos_key must be base64"),
        ({"cosmos_key": "ü"}, "cosmos_key must be base64"),
        ({"cosmos_key": ""}, "cosmos_key must not be empty"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    """A value out of bounds raises ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        Emulator(**options)  # type: ignore[arg-type]  # wrong on purpose


async def test_a_port_in_use_is_named_and_nothing_is_left_running() -> None:
    """Starting on a taken port raises OSError that names the port, and frees the port that was bound before."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        azure = Emulator(identity_port=port)
        with pytest.raises(OSError, match=f"port {port} on 127.0.0.1 is in use: give another identity_port"):
            await azure.start()
        assert not azure.is_running
        with socket.socket() as free:
            free.bind(("127.0.0.1", int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2])))


async def test_stopping_closes_what_clients_keep_open() -> None:
    """stop() returns at once although clients hold connections, idle and in use, and leaves no task and no socket."""
    azure = Emulator()
    await azure.start()
    azure.faults.delay(60, service="cosmos", path="/dbs")
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as session:
        async with session.get(azure.cosmos_endpoint) as response:
            assert response.status == 401
        waiting = asyncio.create_task(session.get(azure.cosmos_endpoint + "dbs").__aenter__())
        while azure.cosmos_requests.total < 2:  # noqa: ASYNC110 - the request arrives in some turns of the loop
            await asyncio.sleep(0)
        assert azure.connections("cosmos").open >= 1
        started = time.perf_counter()
        await azure.stop()
        assert time.perf_counter() - started < 0.5
        with pytest.raises(aiohttp.ClientError):
            await waiting
    assert azure.connections("cosmos").open == 0
    assert asyncio.all_tasks() <= before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2]))


async def test_a_connection_made_while_stopping_is_closed_too() -> None:
    """A client that connected in the very turn of the loop in which stop() was called is not left behind."""
    azure = Emulator()
    await azure.start()
    port = int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2])
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.connect(("127.0.0.1", port))
        stopping = asyncio.create_task(azure.stop())
        await asyncio.wait_for(stopping, 1)
    assert azure.connections("cosmos").open == 0


async def test_a_silent_tls_client_does_not_hold_up_stop() -> None:
    """A client that connects to https and never begins the handshake does not keep stop() waiting."""
    azure = Emulator(tls=True)
    await azure.start()
    port = int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.perf_counter()
    await azure.stop()
    assert time.perf_counter() - started < 6
    writer.close()
    await writer.wait_closed()


async def test_data_and_ports_outlive_a_restart(connect_client: Callable[..., CosmosClient]) -> None:
    """An emulator stopped and started again has the same data on the same ports."""
    azure = Emulator()
    await azure.create_cosmos_container("shop", "orders", partition_key="/id")
    await azure.start()
    endpoint = azure.cosmos_endpoint
    async with connect_client(azure) as client:
        await client.get_database_client("shop").get_container_client("orders").create_item({"id": "1"})
    await azure.stop()
    await azure.stop()
    async with azure, connect_client(azure) as client:
        assert azure.cosmos_endpoint == endpoint
        item = await client.get_database_client("shop").get_container_client("orders").read_item("1", "1")
        assert item["id"] == "1"


async def test_the_certificate_outlives_a_restart() -> None:
    """A client that trusts the certificate of an emulator gets through to it after a stop and a start, too."""
    azure = Emulator(tls=True)
    assert azure.certificate == ""
    async with azure:
        certificate = azure.certificate
    trust = ssl.create_default_context(cadata=certificate)
    async with azure, aiohttp.ClientSession() as session:
        assert azure.certificate == certificate
        async with session.get(azure.cosmos_endpoint, ssl=trust) as response:
            assert response.status == 401


async def test_without_cryptography_tls_is_refused_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the certificate cannot be made, start() raises ImportError before it has begun anything."""
    azure = Emulator(tls=True)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cryptography", None)
        with pytest.raises(ImportError):
            await azure.start()
    assert not azure.is_running
    assert azure._preparing is None
    async with azure:
        assert azure.is_running


async def test_answers_are_sent_at_once(azure: Emulator, session: aiohttp.ClientSession) -> None:
    """Nagle's algorithm is off for every connection: with it, each answer would wait for the client's acknowledgement."""
    async with session.get(azure.cosmos_endpoint):
        server = azure._servers["cosmos"]
        assert isinstance(server, LoopbackServer)
        (protocol,) = server._state.connections
        connected = protocol.transport.get_extra_info("socket")
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_starting_twice_is_refused(azure: Emulator) -> None:
    """A running emulator cannot be started again."""
    with pytest.raises(RuntimeError, match="runs already"):
        await azure.start()
    assert azure.is_running


def test_addresses_are_known_once_there_are_ports() -> None:
    """Before the first start on free ports there is no address to give; with ports of one's own there is."""
    azure = Emulator()
    assert repr(azure) == "<Emulator stopped>"
    secure = Emulator(tls=True)
    for read in (
        lambda: azure.environment,
        lambda: azure.cosmos_endpoint,
        lambda: azure.imds_endpoint,
        lambda: azure.identity_endpoint,
        lambda: azure.amqp_authority,
        lambda: azure.eventhub_connection_string,
        lambda: azure.servicebus_connection_string,
        lambda: azure.blob_endpoint,
        lambda: azure.blob_connection_string,
        lambda: azure.eventgrid_endpoint("orders"),
        lambda: secure.entra_authority,
    ):
        with pytest.raises(RuntimeError, match="has no ports yet: start it first, or give it some"):
            read()
    chosen = Emulator(cosmos_port=8081, identity_port=8082)
    assert chosen.cosmos_endpoint == "http://127.0.0.1:8081/"
    assert chosen.cosmos_connection_string == f"AccountEndpoint=http://127.0.0.1:8081/;AccountKey={chosen.cosmos_key};"
    assert chosen.imds_endpoint == "http://127.0.0.1:8082/metadata/identity/oauth2/token"


async def test_environment_has_what_applications_and_credentials_look_for(azure: Emulator) -> None:
    """The environment names the account, its key, and the token endpoint in both forms."""
    identity = azure.imds_endpoint.removesuffix("/metadata/identity/oauth2/token")
    assert azure.environment == {
        "AZURE_COSMOS_ENDPOINT": azure.cosmos_endpoint,
        "AZURE_COSMOS_KEY": azure.cosmos_key,
        "AZURE_EVENTGRID_KEY": azure.eventgrid_key,
        "AZURE_EVENTHUB_CONNECTION_STRING": azure.eventhub_connection_string,
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": identity,
        "AZURE_SERVICEBUS_CONNECTION_STRING": azure.servicebus_connection_string,
        "AZURE_STORAGE_BLOB_ENDPOINT": azure.blob_endpoint,
        "AZURE_STORAGE_CONNECTION_STRING": azure.blob_connection_string,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "IDENTITY_ENDPOINT": f"{identity}/msi/token",
        "IDENTITY_HEADER": azure.identity_header,
    }
    assert azure.cosmos_endpoint in repr(azure)


async def test_connections_and_requests_are_counted(azure: Emulator, orders: ContainerProxy) -> None:
    """Tests can see how many connections are open and how often each path was asked for."""
    await orders.create_item({"id": "1", "customer_id": "ada"})
    for _ in range(3):
        await orders.read_item("1", "ada")
    path = "/dbs/shop/colls/orders/docs/1"
    assert azure.cosmos_requests.count("GET", path) == 3
    assert azure.cosmos_requests.count("GET", "/dbs/shop/colls/*/docs/*") == 3
    assert azure.cosmos_requests.count(path=path) == 3
    assert azure.cosmos_requests.count("POST") == 1
    assert azure.cosmos_requests.count() == azure.cosmos_requests.total == len(azure.cosmos_requests)
    assert azure.connections("cosmos").open == azure.connections("cosmos").accepted >= 1
    assert azure.connections("identity").accepted == azure.identity_requests.total == 0
    azure.cosmos_requests.clear()
    assert azure.cosmos_requests.total == azure.cosmos_requests.count() == 0
    with pytest.raises(ValueError, match="service='table' is unknown: write one of cosmos, identity"):
        azure.connections("table")


def test_request_log_is_bounded() -> None:
    """A million different paths do not fill the memory; they stay in the total and in counts by method."""
    log = package.RequestLog()
    for number in range(10_050):
        log.add("GET", f"/{number}")
    log.add("GET", "/1")
    assert log.total == 10_051
    assert log.count("GET") == 10_051
    assert log.count("GET", "/1") == 2
    assert log.count("GET", "/10049") == 0
    assert repr(log) == "<RequestLog 10051 requests>"


async def test_container_made_without_a_client_is_what_a_client_makes(azure: Emulator, client: CosmosClient) -> None:
    """create_cosmos_container leaves what create_container would, and refuses what Azure would."""
    made = await client.get_database_client("shop").get_container_client("orders").read()
    other = await client.get_database_client("shop").create_container("other", PartitionKey("/customer_id"))
    assert (await other.read())["partitionKey"] == made["partitionKey"]
    policy = {"compositeIndexes": [[{"path": "/a"}, {"path": "/b", "order": "descending"}]]}
    await azure.create_cosmos_container(
        "shop", "deep", partition_key=["/tenant", "/user"], indexing_policy=policy, partitions=2
    )
    deep = await client.get_database_client("shop").get_container_client("deep").read()
    assert deep["partitionKey"] == {"kind": "MultiHash", "paths": ["/tenant", "/user"], "version": 2}
    assert deep["indexingPolicy"]["compositeIndexes"] == policy["compositeIndexes"]
    with pytest.raises(ValueError, match="already exists"):
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
    with pytest.raises(ValueError, match="could not be accepted"):
        await azure.create_cosmos_container("shop", "new", partition_key="customer_id")
    with pytest.raises(ValueError, match="partitions=0"):
        await azure.create_cosmos_container("shop", "new", partition_key="/id", partitions=0)


def test_import_loads_neither_fastapi_nor_an_azure_sdk() -> None:
    """Importing the emulator stays light: no web framework of the user's, no SDK."""
    code = (
        "import sys; from fastapi_azure_pool.emulator import Emulator; "
        "print([name for name in sys.modules if name.split('.')[0] in {'azure', 'fastapi', 'pydantic'}])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_missing_dependency_names_the_extra() -> None:
    """Without the emulator's extra, the import error gives the pip command."""
    code = (
        "import sys; sys.modules['lark'] = None\n"
        "try:\n    from fastapi_azure_pool.emulator import Emulator\n"
        "except ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'fastapi-azure-pool[emulator]'" in result.stdout


def test_package_lists_its_names() -> None:
    """The package's public names are listed, and another is an AttributeError."""
    assert dir(package) == package.__all__
    assert {getattr(package, name).__name__ for name in package.__all__} == set(package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = package.Nothing


def test_it_runs_on_uvloop() -> None:
    """The emulator serves and cuts connections on uvloop as on asyncio."""

    async def scenario() -> None:
        async with Emulator() as azure, aiohttp.ClientSession() as session:
            async with session.get(azure.cosmos_endpoint) as response:
                assert response.status == 401
            with azure.faults.drop(service="cosmos"), pytest.raises(aiohttp.ClientError):
                await session.get(azure.cosmos_endpoint)
            assert azure.faults.drop_connections() == azure.connections("cosmos").open
            assert azure.connections("cosmos").dropped >= 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_process_keeps_its_access_log() -> None:
    """An emulator inside an application's process leaves the application's own access log as it is."""
    logger = logging.getLogger("uvicorn.access")
    handler = logging.NullHandler()
    logger.addHandler(handler)
    try:
        async with Emulator():
            assert handler in logger.handlers
    finally:
        logger.removeHandler(handler)
