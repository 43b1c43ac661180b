"""The documentation runs: every Python block of README.md and docs/, page by page, against the emulator.

The blocks of a page run one after another in one namespace, as if they stood in one file. The account that the pages use as their
example, https://shop.documents.azure.com, stands for the emulator's, and azure-identity finds the emulator's token endpoint in the
environment. The namespace shop.servicebus.windows.net stands for that of an emulator without TLS, with its connection string in the
place of the credential: with TLS the SDKs honour no port. Topics of Event Grid, https://shop-orders.westeurope-1.eventgrid.azure.net
and the like, and the container "files" of https://shop.blob.core.windows.net stand for those of that emulator, with their keys in
the place of the credential. Nothing else is changed. If a page defines ``app``, it is started and must be healthy. A block that
cannot run has the line ``<!-- not run: reason -->`` before it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import shlex
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from uvicorn.main import main as uvicorn_command

from example_app.app import create_app
from fastapi_azure_pool import (
    ConnectionFailed,
    EventGridConfig,
    EventGridTopicConfig,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedClient,
    ManagedCosmos,
    ManagedEventGridPublisher,
    PoolUnavailable,
)
from fastapi_azure_pool.emulator import Emulator, Faults
from fastapi_azure_pool.emulator.__main__ import _parser as command_line_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
EXAMPLE_ACCOUNT = "https://shop.documents.azure.com"
NAME_ARGUMENTS = {
    "ManagedAzureEventhubProducer": "eventhub_name",
    "ManagedAzureServiceBusSender": "service_bus_queue_name",
}
EXAMPLE_NAMESPACE = re.compile(
    rf'(?P<client>{"|".join(NAME_ARGUMENTS)})\(\s*"shop\.servicebus\.windows\.net", (?P<name>"\w+"), DefaultAzureCredential'
)
EXAMPLE_FILES = re.compile(r'"https://shop\.blob\.core\.windows\.net", "files", DefaultAzureCredential')
EXAMPLE_TOPIC = re.compile(r"https://shop-(?P<topic>\w+)\.westeurope-1\.eventgrid\.azure\.net/api/events")
EXAMPLE_PUBLISHER = re.compile(r"ManagedEventGridPublisher\((?P<config>\w+), DefaultAzureCredential")

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]+)?(?P<rest>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
EXCUSE = re.compile(r"<!-- not run:(?P<reason>[^>]*)-->\s*\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, the line that it begins on, and why it is not run, if it is not."""

    language: str
    text: str
    line: int
    excuse: str | None


def blocks_of(page: str) -> list[Block]:
    """Give the fenced blocks of a page's text, in order."""
    found = []
    for match in FENCE.finditer(page):
        excuse = EXCUSE.search(page[: match.start()])
        indent = match["indent"]
        text = "\n".join(line.removeprefix(indent) for line in match["body"].split("\n"))
        line = page.count("\n", 0, match.start("body")) + 1
        found.append(Block(match["language"] or "", text, line, excuse["reason"].strip() if excuse else None))
    return found


@dataclass(frozen=True)
class Azure:
    """What stands for the examples' account, namespace and topics."""

    cosmos_endpoint: str
    connection_string: str
    topics: dict[str, str] = field(default_factory=dict)
    topics_key: str = ""
    blob_endpoint: str = ""
    storage_key: str = ""


def run(name: str, page: str, azure: Azure) -> dict[str, Any]:
    """Run the Python blocks of a page's text with this Azure in the place of the example's; give what they have defined."""
    module = ModuleType(f"page:{name}")

    def connect(match: re.Match[str]) -> str:
        argument = NAME_ARGUMENTS[match["client"]]
        return f"{match['client']}(connection_string={azure.connection_string!r}, {argument}={match['name']}"

    for block in blocks_of(page):
        if block.language == "python" and block.excuse is None:
            # The line numbers of a traceback are the page's.
            text = EXAMPLE_NAMESPACE.sub(connect, block.text.replace(EXAMPLE_ACCOUNT, azure.cosmos_endpoint))
            text = EXAMPLE_FILES.sub(f'"{azure.blob_endpoint}", "files", credential="{azure.storage_key}"', text)
            text = EXAMPLE_TOPIC.sub(lambda match: azure.topics[match["topic"]], text)
            text = EXAMPLE_PUBLISHER.sub(
                rf"ManagedEventGridPublisher(\g<config>, credential={azure.topics_key!r}", text
            )
            exec(compile("\n" * (block.line - 1) + text, name, "exec", dont_inherit=True), vars(module))
    return vars(module)


@pytest.fixture(scope="module")
def emulators() -> Iterator[tuple[Emulator, Emulator]]:
    """An emulator with TLS and the container shop/orders, partitioned by the order's id, and one for AMQP, on their own loop."""
    with_tls, plain = Emulator(tls=True), Emulator()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="emulator")
    thread.start()

    async def start() -> None:
        await with_tls.create_cosmos_container("shop", "orders", partition_key="/id")
        await plain.create_eventhub("orders")
        await plain.create_queue("invoices")
        await plain.create_blob_container("files")
        await plain.create_eventgrid_topic("orders")
        await plain.create_eventgrid_topic("audit", "CloudEventSchemaV1_0")
        await asyncio.gather(with_tls.start(), plain.start())

    async def stop() -> None:
        await asyncio.gather(with_tls.stop(), plain.stop())

    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield with_tls, plain
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def azure(emulators: tuple[Emulator, Emulator], monkeypatch: pytest.MonkeyPatch) -> Azure:
    """The emulators' account and namespace, with their token endpoint in the environment."""
    with_tls, plain = emulators
    for name, value in with_tls.environment.items():
        monkeypatch.setenv(name, value)
    topics = {topic: plain.eventgrid_endpoint(topic) for topic in ("orders", "audit")}
    return Azure(
        with_tls.cosmos_endpoint.rstrip("/"),
        plain.servicebus_connection_string,
        topics,
        plain.eventgrid_key,
        plain.blob_endpoint,
        plain.storage_key,
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_of_a_page_runs(page: str, azure: Azure) -> None:
    """The blocks of a page run in order, and the application that they define, if any, starts and is healthy."""
    defined = run(page, (ROOT / page).read_text(), azure)
    app = defined.get("app")
    if app is not None:
        with TestClient(app) as http:
            health = http.get("/health/pools")
            assert (health.status_code, health.json()["status"]) == (200, "pass")
            assert http.get("/openapi.json").status_code == 200


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_first_example_stores_an_order(page: str, azure: Azure) -> None:
    """The application of the first example stores the order that it is sent, over the connection that was open before."""
    app = run(page, (ROOT / page).read_text(), azure)["app"]
    with TestClient(app) as http:
        answer = http.post("/orders", json={"id": page.replace("/", "-"), "total": 12})
        assert (answer.status_code, answer.json()["total"]) == (200, 12)
        assert http.get("/health/pools/orders").json()["totals"]["opened"] == 1
        assert http.get("/health/pools/events").json()["totals"]["opened"] == 1


def test_the_blob_page_s_routes_answer(azure: Azure) -> None:
    """The application of the page about Blob Storage stores a body, streams it, answers 404 before the stream, and signs a URL."""
    app = run("docs/blob-storage.md", (ROOT / "docs/blob-storage.md").read_text(), azure)["app"]
    with TestClient(app) as http:
        assert http.put("/files/a.txt", content=b"hello").json() == "a.txt"
        answer = http.get("/files/a.txt")
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"hello", "5")
        answer = http.get("/files/missing")
        assert (answer.status_code, answer.json()) == (404, {"detail": "there is no file 'missing'"})
        assert http.get("/files/a.txt/tier").json() == "Hot"
        assert http.post("/files/a.txt/links").json().startswith(f"{azure.blob_endpoint}/files/a.txt?")


def test_the_security_page_s_guard_lets_probes_and_operators_through(
    azure: Azure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes need no key, the pools are shown to who has it, to nobody where there is none, and the routes are not documented."""
    create = run("docs/security.md", (ROOT / "docs/security.md").read_text(), azure)["create_app"]
    with TestClient(create()) as http:
        paths = ("/health/live", "/health/ready", "/health/pools", "/health/pools/orders")
        for key, statuses in (
            ("", [200, 200, 403, 403]),
            ("right", [200, 200, 200, 200]),
            ("wrong", [200, 200, 403, 403]),
        ):
            monkeypatch.setenv("OPERATOR_KEY", "right")
            assert [http.get(path, headers={"x-operator-key": key}).status_code for path in paths] == statuses
            monkeypatch.delenv("OPERATOR_KEY")
            assert http.get("/health/pools", headers={"x-operator-key": key}).status_code == 403
        assert http.get("/openapi.json").json()["paths"] == {}


def test_the_quick_start_s_routes_answer(azure: Azure) -> None:
    """The quick start's application writes an order, reads it, streams the orders, and counts them outside a request."""
    defined = run("docs/quickstart.md", (ROOT / "docs/quickstart.md").read_text(), azure)
    app = defined["app"]
    with TestClient(app) as http:
        assert http.put("/orders/quick", json={"total": 12}).status_code == 200
        answer = http.get("/orders/quick")
        assert (answer.status_code, answer.json()["total"]) == (200, 12)
        assert "quick" in http.get("/orders").text.splitlines()
        assert set(http.get("/openapi.json").json()["paths"]["/orders/{order_id}"]["get"]["responses"]) >= {
            "200",
            "503",
        }
        assert http.portal is not None
        assert http.portal.call(defined["count_orders"], app) >= 1


def test_the_event_grid_page_publishes(azure: Azure, emulators: tuple[Emulator, Emulator]) -> None:
    """The Event Grid page's routes and scripts publish to both topics, each in its schema."""
    _, plain = emulators
    defined = run("docs/event-grid.md", (ROOT / "docs/event-grid.md").read_text(), azure)
    with TestClient(defined["app"]) as http:
        answers = [http.post(f"/orders/7/{what}") for what in ("confirmation", "cancellation")]
        assert [answer.status_code for answer in answers] == [200, 200]
    defined["report_sync"](plain.eventgrid_key)
    asyncio.run(defined["report_async"](plain.eventgrid_key))
    assert [event.type for event in plain.eventgrid_events("orders")] == [
        "shop.order.confirmed",
        "shop.order.cancelled",
        "shop.report.ready",
    ]
    assert [(event.type, event.source) for event in plain.eventgrid_events("audit")] == [
        ("shop.order.cancelled", "/shop"),
        ("shop.report.ready", "/shop"),
    ]


def test_the_documented_health_document_has_the_fields_that_are_answered(azure: Azure) -> None:
    """The JSON that the configuration page shows for GET /health/pools has the fields, and kinds of values, of an answer."""
    shown = [block for block in blocks_of((ROOT / "docs/configuration.md").read_text()) if block.language == "json"]
    documented = json.loads(shown[0].text)
    app = run("docs/quickstart.md", (ROOT / "docs/quickstart.md").read_text(), azure)["app"]
    with TestClient(app) as http:
        answered = http.get("/health/pools").json()
    assert shape(documented) == shape(answered)


def test_the_documented_problem_is_the_one_that_is_answered() -> None:
    """The JSON that the quick start shows for a service that cannot be reached is what is answered."""
    shown = [block for block in blocks_of((ROOT / "docs/quickstart.md").read_text()) if block.language == "json"]
    answered = PoolUnavailable(ConnectionFailed("orders", error="ServiceRequestError", retry_after=1)).response()
    assert json.loads(shown[0].text) == json.loads(bytes(answered.body))


def test_the_documented_defaults_are_those_of_the_code() -> None:
    """The configuration page names every size and time of a managed client, with each service's default."""
    page = (ROOT / "docs/configuration.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (?:at least|above|any|\d) ?.*$", page, re.MULTILINE)
    parameters = inspect.signature(ManagedClient.__init__).parameters
    assert [name for name, _ in rows] == [
        name for name in parameters if name not in {"self", "connector", "service", "shared"}
    ]
    differ = {"max_size", "grow_at", "max_idle_seconds"}
    computed = {"burst_limit": "`max_size`", "max_concurrent_creates": "`max(max_size // 3, 1)`"}
    assert dict(rows) == {
        name: "see below" if name in differ else computed.get(name, f"{parameters[name].default}".removesuffix(".0"))
        for name, _ in rows
    }
    amqp = "Endpoint=sb://shop;SharedAccessKeyName=name;SharedAccessKey=key"
    topics = EventGridConfig(
        EventGridTopicConfig("orders", "https://orders.westeurope-1.eventgrid.azure.net/api/events")
    )
    clients: dict[str, ManagedClient[Any]] = {
        "Cosmos DB": ManagedCosmos(EXAMPLE_ACCOUNT, "shop", "orders", credential="a2V5"),
        "Blob Storage": ManagedAzureBlobStorage("https://shop.blob.core.windows.net", "files", credential="a2V5"),
        "Event Grid": ManagedEventGridPublisher(topics, credential="a2V5"),
        "Event Hubs": ManagedAzureEventhubProducer(connection_string=amqp, eventhub_name="orders"),
        "Service Bus": ManagedAzureServiceBusSender(connection_string=amqp, service_bus_queue_name="invoices"),
    }
    documented = {
        service: tuple(map(int, numbers))
        for services, *numbers in re.findall(r"^\| ([A-Z][\w, ]+?) \| (\d+) \| (\d+) \| (\d+) \|", page, re.MULTILINE)
        for service in services.split(", ")
    }
    limits = {service: client.pool._limits for service, client in clients.items()}
    assert documented == {service: (of.max_size, of.grow_at, of.max_idle_seconds) for service, of in limits.items()}


def test_the_emulator_page_names_everything() -> None:
    """The emulator's page names all that an Emulator has, every fault, every variable, every option of the command line."""
    page = (ROOT / "docs/emulator.md").read_text()
    ports: dict[str, Any] = {f"{name}_port": 1 for name in ("cosmos", "identity", "amqp", "eventgrid", "blob", "entra")}
    with_tls = Emulator(tls=True, **ports)
    asyncio.run(with_tls.create_eventgrid_topic("orders"))
    names = {
        *(name for kind in (Emulator, Faults) for name in dir(kind) if not name.startswith("_")),
        *with_tls.environment,
        *with_tls.workload_environment("token"),
        *(
            option
            for action in command_line_parser()._actions
            for option in action.option_strings
            if option.startswith("--")
        ),
    }
    left_out = {
        *("is_running", "start", "stop", "--help"),  # for whoever has no need to be told
        *("connect_amqp", "deliver", "discard", "withheld_credit"),  # for the emulator's services
    }
    assert sorted(name for name in names - left_out if not re.search(rf"(?<![\w-]){name}(?![\w-])", page)) == []


def test_the_documented_commands_exist() -> None:
    """What the pages have typed into a shell: extras, targets, the emulator's and uvicorn's options, the example's routes exist."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    routes = [re.sub(r"\{\w+\}", r"[^/]+", path) for path in create_app().openapi()["paths"]]
    commands = [
        (page, shlex.split(line))
        for page in PAGES
        for block in blocks_of((ROOT / page).read_text())
        if block.language == "console"
        for line in re.findall(r"^\$ (.*)$", block.text.replace("\\\n", " "), re.MULTILINE)
    ]
    for page, command in commands:
        match command:
            case ["make", target, *_]:
                assert target in targets, page
            case ["pip", "install", requirement]:
                extras = re.fullmatch(r"fastapi-azure-pool\[([a-z,]+)\]", requirement)
                assert extras is not None, page
                assert set(extras[1].split(",")) <= project["optional-dependencies"].keys(), page
            case ["python", "-m", "fastapi_azure_pool.emulator", *options]:
                command_line_parser().parse_args(options)
            case ["uvicorn", *arguments]:
                uvicorn_command.make_context("uvicorn", arguments)
            case ["curl", url, *_]:
                path = url.removeprefix("http://127.0.0.1:8000")
                assert any(re.fullmatch(route, path) for route in routes), (page, path)
            case _:
                pytest.fail(f"{page}: nobody checks the command {command}")
    assert {command[0] for _, command in commands} == {"make", "pip", "python", "uvicorn", "curl"}


def test_every_block_is_run_or_checked() -> None:
    """No block is in a language, or excused from running, that no test looks at."""
    looked_at = {
        ("docs/configuration.md", "json"),
        ("docs/quickstart.md", "json"),
        ("docs/testing.md", "toml"),
        ("README.md", "text"),  # what `make demo` prints
        *((page, language) for page in PAGES for language in ("console", "python")),
    }
    blocks = [(page, block) for page in PAGES for block in blocks_of((ROOT / page).read_text())]
    assert {(page, block.language) for page, block in blocks} <= looked_at
    assert {page for page, block in blocks if block.excuse is not None} <= {"docs/testing.md"}
    assert all(
        text.count("\n```") == 2 * len(blocks_of(text)) for text in ((ROOT / page).read_text() for page in PAGES)
    )


def test_what_is_not_run_has_a_reason() -> None:
    """Whoever leaves a block out says why; and a page that is named here has blocks, so that the search works."""
    blocks = {page: blocks_of((ROOT / page).read_text()) for page in PAGES}
    assert [(page, block.line) for page in PAGES for block in blocks[page] if block.excuse == ""] == []
    assert all(
        any(block.language == "python" for block in blocks[page]) for page in ("README.md", "docs/quickstart.md")
    )


def test_the_runner_finds_fails_and_leaves_out() -> None:
    """The runner shares names between blocks, puts the account in, points to the page's line, and leaves out what is excused."""
    page = (
        "# Page\n\n```python\nfirst = 'https://shop.documents.azure.com'\n```\n\n"
        "- item\n\n    ```python\n    second = first + '/x'\n    ```\n\n"
        "<!-- not run: needs an account -->\n```python\nraise AssertionError\n```\n\n```console\n$ exit 1\n```\n"
    )
    assert [(block.language, block.line, block.excuse) for block in blocks_of(page)] == [
        ("python", 4, None),
        ("python", 10, None),
        ("python", 15, "needs an account"),
        ("console", 19, None),
    ]
    defined = run("page.md", page, Azure("https://here", ""))
    assert (defined["first"], defined["second"]) == ("https://here", "https://here/x")
    with pytest.raises(ZeroDivisionError) as raised:
        run("page.md", "text\n\n```python\n1 / 0\n```\n", Azure("", ""))
    assert (raised.traceback[-1].path, raised.traceback[-1].lineno) == ("page.md", 3)


def shape(document: Any) -> Any:
    """Give a document with the kinds of its values in their place, numbers being one kind."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    if isinstance(document, list):
        return [shape(document[0])] if document else []
    return "number" if isinstance(document, (int, float)) else type(document).__name__
