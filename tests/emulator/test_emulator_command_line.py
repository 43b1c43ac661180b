"""``python -m fastapi_azure_pool.emulator``."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos.aio import CosmosClient
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.storage.blob.aio import BlobServiceClient

from fastapi_azure_pool.emulator import __main__ as command_line

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from io import StringIO


async def test_it_tells_how_to_connect_and_stops_at_an_interrupt() -> None:
    """What it prints is enough to connect with; an interrupt ends it with status 0 and without a traceback."""
    arguments = [
        "--cosmos-port",
        "0",
        "--identity-port",
        "0",
        "--container",
        "shop/orders:/customer_id",
        "--partitions",
        "2",
        "--amqp-port",
        "0",
        "--blob-port",
        "0",
        "--blob-container",
        "invoices",
        "--eventgrid-port",
        "0",
        "--eventhub",
        "events:2",
        "--queue",
        "jobs",
        "--topic",
        "news:audit,mail",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fastapi_azure_pool.emulator",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert process.stdout is not None
    text = ""
    while "Ctrl-C stops it." not in text:
        text += (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    environment = {
        name: shlex.split(value)[0] for name, value in re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE)
    }
    assert set(environment) >= {"AZURE_COSMOS_ENDPOINT", "AZURE_COSMOS_KEY", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"}
    transport = AioHttpTransport(use_env_settings=False)
    async with CosmosClient(
        environment["AZURE_COSMOS_ENDPOINT"], environment["AZURE_COSMOS_KEY"], transport=transport
    ) as client:
        orders = client.get_database_client("shop").get_container_client("orders")
        assert len([one async for one in orders.read_feed_ranges()]) == 2
        await send_to_all(environment)
        async with BlobServiceClient.from_connection_string(environment["AZURE_STORAGE_CONNECTION_STRING"]) as service:
            assert [container.name async for container in service.list_containers()] == ["invoices"]
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, errors) == (0, b"")


async def send_to_all(environment: dict[str, str]) -> None:
    """Send to each hub, queue and topic that was asked for; they are there, with their partitions and subscriptions."""
    async with EventHubProducerClient.from_connection_string(
        environment["AZURE_EVENTHUB_CONNECTION_STRING"], eventhub_name="events", retry_total=0
    ) as producer:
        assert await producer.get_partition_ids() == ["0", "1"]
    async with ServiceBusClient.from_connection_string(
        environment["AZURE_SERVICEBUS_CONNECTION_STRING"], retry_total=0
    ) as client:
        async with client.get_queue_sender("jobs") as sender:
            await sender.send_messages(ServiceBusMessage("job"))
        async with client.get_topic_sender("news") as sender:
            await sender.send_messages(ServiceBusMessage("news"))
        for subscription in ("audit", "mail"):
            async with client.get_subscription_receiver("news", subscription) as receiver:
                (message,) = await receiver.receive_messages(max_wait_time=10)
                assert str(message) == "news"


def run_interrupted(coroutine: Coroutine[Any, Any, None]) -> None:
    """Stand for asyncio.run that is interrupted when the emulator has started."""

    async def scenario() -> None:
        task = asyncio.create_task(coroutine)
        printed = cast("StringIO", sys.stdout)  # as capsys makes it
        while not task.done() and "Ctrl-C stops it." not in printed.getvalue():  # noqa: ASYNC110 - text has no event
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with asyncio.Runner() as runner:
        runner.run(scenario())
    raise KeyboardInterrupt


def test_https_and_a_key_can_be_chosen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--tls and --cosmos-key show in what it prints."""
    monkeypatch.setattr(asyncio, "run", run_interrupted)
    options = ["--tls", "--cosmos-key", "a2V5", "--cosmos-port", "0", "--identity-port", "0", "--amqp-port", "0"]
    options += ["--eventgrid-port", "0", "--blob-port", "0", "--storage-key", "a2V5"]
    assert command_line.main([*options, "--container", "shop/orders:/id"]) == 0
    printed = capsys.readouterr().out
    assert "export AZURE_COSMOS_ENDPOINT=https://127.0.0.1:" in printed
    assert "export AZURE_COSMOS_KEY=a2V5\n" in printed
    assert "AccountKey=a2V5;BlobEndpoint=https://127.0.0.1:" in printed


def test_a_taken_port_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use ends it with status 1 and one line that names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert command_line.main(["--cosmos-port", str(port), "--identity-port", "0"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("The emulator did not start: ")
    assert f"port {port} on 127.0.0.1 is in use: give another cosmos_port" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("container", ["shop", "shop/orders", "shop/orders:id", "/orders:/id", "shop/:/id"])
def test_malformed_containers_are_refused(container: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A --container that does not read like the example ends it with the usual status 2 and the example."""
    with pytest.raises(SystemExit) as caught:
        command_line.main(["--container", container])
    assert caught.value.code == 2
    assert "must read like shop/orders:/customer_id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "example"),
    [
        ("--eventhub", ":4", "orders:4"),
        ("--eventhub", "hub:many", "orders:4"),
        ("--topic", ":audit", "news:audit,mail"),
    ],
)
def test_malformed_entities_are_refused(
    option: str, value: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hub or topic that does not read like the example ends it with the usual status 2 and the example."""
    with pytest.raises(SystemExit) as caught:
        command_line.main([option, value])
    assert caught.value.code == 2
    assert example in capsys.readouterr().err


def test_a_container_that_azure_refuses_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A container that Azure would refuse ends it with status 1 and the reason."""
    options = ["--cosmos-port", "0", "--identity-port", "0", "--container", "shop/or?ders:/id"]
    assert command_line.main(options) == 1
    assert "shop/or?ders was refused" in capsys.readouterr().err
