"""``python -m fastapi_azure_pool.emulator``."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shlex
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from fastapi_azure_pool.emulator import __main__ as command_line

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from io import StringIO


FREE_PORTS = [
    argument
    for service in ("cosmos", "identity", "amqp", "blob", "eventgrid")
    for argument in (f"--{service}-port", "0")
]
ENTITIES = [
    *("--container", "shop/orders:/customer_id", "--partitions", "2"),
    *("--eventhub", "events:2", "--queue", "jobs", "--topic", "news:audit,mail"),
    *("--blob-container", "invoices", "--eventgrid-topic", "announcements"),
]
FOUND = """\
partitions of shop/orders: 2
partitions of events: 2
audit: sent
mail: sent
containers of blobs: ['invoices']
Event Grid: published
"""
FOUND_WITH_TLS = f"{FOUND}Entra ID: a token\nsync: ['invoices']\n"


@pytest.mark.parametrize(
    ("options", "way", "found"),
    [([], "keys", FOUND), (["--tls", "--entra-port", "0"], "tokens", FOUND_WITH_TLS)],
    ids=["with keys", "with tokens over TLS"],
)
async def test_what_it_prints_is_pasted(options: list[str], way: str, found: str) -> None:
    """A program in a shell that its exports were pasted into connects with each SDK; an interrupt ends it with status 0."""
    emulator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastapi_azure_pool.emulator", *FREE_PORTS, *ENTITIES, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert emulator.stdout is not None
    text = ""
    try:
        while "Ctrl-C stops it." not in text:
            text += (await asyncio.wait_for(emulator.stdout.readline(), 20)).decode()
        exports = "".join(line for line in text.splitlines(keepends=True) if line.startswith("export "))
        program = shlex.join([sys.executable, str(Path(__file__).with_name("connecting.py")), way])
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", f"{exports}exec {program}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        )
        printed, complaints = await asyncio.wait_for(shell.communicate(), 60)
        assert (printed.decode(), shell.returncode) == (found, 0), complaints.decode()
    finally:
        emulator.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(emulator.communicate(), 10)
    assert (emulator.returncode, errors) == (0, b"")


def run_interrupted(coroutine: Coroutine[Any, Any, None]) -> None:
    """Stand for asyncio.run that is interrupted when the emulator has started."""

    async def scenario() -> None:
        task = asyncio.create_task(coroutine)
        printed = cast("StringIO", sys.stdout)  # as capsys makes it
        while not task.done() and "Ctrl-C stops it." not in printed.getvalue():  # noqa: ASYNC110 - text has no event
            await asyncio.sleep(0.01)
        if task.done():
            await task  # raises why it did not start
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with asyncio.Runner() as runner:
        runner.run(scenario())
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt, in this process, each emulator that starts: where one should not have started, a test fails and does not hang."""
    monkeypatch.setattr(asyncio, "run", run_interrupted)


def run_and_print(options: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command until it has printed how to connect, and give what it printed."""
    assert command_line.main(options) == 0
    return capsys.readouterr().out


def test_keys_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """The keys that are told show in what it prints."""
    keys = ["--cosmos-key", "Y29z", "--storage-key", "c3Rv", "--eventgrid-key", "ZXZl", "--amqp-key", "amqp"]
    printed = run_and_print([*FREE_PORTS, *keys], capsys)
    assert "export AZURE_COSMOS_KEY=Y29z\n" in printed
    assert "AccountKey=c3Rv;BlobEndpoint=http://127.0.0.1:" in printed
    assert "export AZURE_EVENTGRID_KEY=ZXZl\n" in printed
    assert printed.count("SharedAccessKey=amqp;UseDevelopmentEmulator=true") == 2


def test_every_service_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints lists all five services and the token endpoint, each Event Grid topic, and no Entra ID without TLS."""
    topics = ["--eventgrid-topic", "news", "--eventgrid-topic", "audit:CloudEventSchemaV1_0"]
    printed = run_and_print([*FREE_PORTS, *topics], capsys)
    assert re.findall(r"^  (\w+(?: \w+)*)  +\S*127\.0\.0\.1:\d+(\S*)$", printed, re.MULTILINE) == [
        ("Cosmos DB", "/"),
        ("Event Hubs", ""),
        ("Service Bus", ""),
        ("Blob Storage", "/devstoreaccount1"),
        ("Event Grid", "/topics/news/api/events"),
        ("Event Grid", "/topics/audit/api/events"),
        ("managed identity", "/msi/token"),
    ]
    assert "start with --tls" in printed
    assert "no topic: make one with --eventgrid-topic NAME" in run_and_print(FREE_PORTS, capsys)


def test_the_certificate_is_written_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """--certificate leaves the certificate in its file and names it absolutely; the temporary files are gone at the end."""
    monkeypatch.chdir(tmp_path)
    options = [*FREE_PORTS, "--tls", "--entra-port", "0", "--certificate", "emulator.pem"]
    printed = run_and_print(options, capsys)
    assert ssl.create_default_context(cafile="emulator.pem").cert_store_stats()["x509"] == 1
    exports = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
    assert exports["SSL_CERT_FILE"] == exports["REQUESTS_CA_BUNDLE"] == str(tmp_path / "emulator.pem")
    assert re.search(rf"^  Entra ID +{exports['AZURE_AUTHORITY_HOST']}$", printed, re.MULTILINE)
    assert not Path(exports["AZURE_FEDERATED_TOKEN_FILE"]).parent.exists()


@pytest.mark.parametrize("service", ["cosmos", "identity", "amqp", "blob", "eventgrid", "entra"])
def test_a_port_can_be_chosen(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each port option is obeyed: where its port is in use, it ends with status 1 and one line that names the port."""
    options = [*FREE_PORTS, "--tls", "--entra-port", "0"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert command_line.main([*options, f"--{service}-port", str(port)]) == 1
    error = capsys.readouterr().err
    assert error == (
        f"The emulator did not start: [Errno {errno.EADDRINUSE}] port {port} on 127.0.0.1 is in use: give another "
        f"{service}_port, or 0 for a free one\n"
    )


@pytest.mark.parametrize(("option", "value"), [("--certificate", "emulator.pem"), ("--entra-port", "0")])
def test_what_needs_tls_says_so(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The options that are about TLS end it with the usual status 2 where there is none."""
    with pytest.raises(SystemExit) as caught:
        command_line.main([option, value])
    assert caught.value.code == 2
    assert f"argument {option}: write --tls as well" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["http", "-1", "80.5"])
def test_what_is_no_number_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is no number ends it with the usual status 2; the message tells the option and the value."""
    with pytest.raises(SystemExit) as caught:
        command_line.main([f"--blob-port={value}"])
    assert caught.value.code == 2
    assert f"argument --blob-port: '{value}' must be a whole number, 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--blob-port", "70000"], "blob_port=70000 is out of bounds: write 0 (a free port) to 65535"),
        (["--storage-key", "!"], "storage_key must be base64"),
        (["--partitions", "0"], "cosmos_partitions=0 must be from 1 to 100"),
        (["--eventhub", "orders:0"], "partitions=0 must be from 1 to 1024"),
        (
            ["--queue", "orders", "--eventhub", "orders"],
            "there is an event hub, a queue or a topic called 'orders' already",
        ),
        (["--blob-container", "Invoices"], "the container name 'Invoices' must have 3 to 63 lower-case letters"),
        (["--container", "shop/or?ders:/id"], "the container shop/or?ders was refused"),
    ],
)
def test_values_that_azure_refuses_are_told_in_one_line(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value out of its bounds, or that Azure would refuse, ends it with status 1 and one line that says why."""
    assert command_line.main([*FREE_PORTS, *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("The emulator did not start: ")
    assert reason in error
    assert error.count("\n") == 1


def test_the_help_names_every_service(capsys: pytest.CaptureFixture[str]) -> None:
    """--help groups the options by service, tells each one's meaning, and the ports that are taken where none is told."""
    with pytest.raises(SystemExit) as caught:
        command_line.main(["--help"])
    assert caught.value.code == 0
    assert all(action.help for action in command_line._parser()._actions)
    text = capsys.readouterr().out
    ports = re.findall(r"--(\w+)-port PORT.*?default (\d+); 0 for a free one", " ".join(text.split()))
    assert ports == [
        ("cosmos", "8081"),
        ("amqp", "5672"),
        ("blob", "10000"),
        ("eventgrid", "8083"),
        ("identity", "8082"),
        ("entra", "8084"),
    ]
    groups = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert groups == [
        "options",
        "Cosmos DB",
        "Event Hubs and Service Bus",
        "Blob Storage",
        "Event Grid",
        "tokens",
        "for example",
    ]


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
        ("--eventgrid-topic", "", "orders or orders:EventGridSchema or orders:CloudEventSchemaV1_0"),
        ("--eventgrid-topic", ":EventGridSchema", "orders or orders:EventGridSchema or orders:CloudEventSchemaV1_0"),
        ("--eventgrid-topic", "orders:JSON", "orders or orders:EventGridSchema or orders:CloudEventSchemaV1_0"),
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
