"""The page of the documentation that compares this library with theirs; ``python -m tests.peers`` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.promises.table import TABLE
from tests.peers.snippets import SNIPPETS
from tests.peers.surface import THEIRS, VERSION

if TYPE_CHECKING:
    from tests.peers.promise import Promise
    from tests.peers.snippets import Snippet

PAGE = Path(__file__).parent.parent.parent / "docs" / "coming-from-the-toolbox.md"

_TITLES = {
    "": ("The package", "fastapi_azure_pool"),
    "clients.cosmos": ("Cosmos DB", "fastapi_azure_pool.clients.cosmos"),
    "clients.eventhub": ("Event Hubs", "fastapi_azure_pool.clients.eventhub"),
    "clients.service_bus": ("Service Bus", "fastapi_azure_pool.clients.servicebus"),
    "clients.azure_blobs": ("Blob Storage", "fastapi_azure_pool.clients.blob"),
    "clients.eventgrid": ("Event Grid", "fastapi_azure_pool.clients.eventgrid"),
    "clients.types": ("Types", "fastapi_azure_pool.clients.credentials"),
    "connection_pooling": ("The pool", "fastapi_azure_pool.pool"),
    "testing_utils.fixtures": ("Testing", "fastapi_azure_pool.testing"),
}

_TEXT = """\
# Coming from aio-azure-clients-toolbox

The classes and methods of [aio-azure-clients-toolbox](https://pypi.org/project/aio-azure-clients-toolbox/) {version} have the same
names here, so that most code goes on working when the import is changed. This page compares both, name by name, and tells where
they differ and why. Each row names the tests that show it, below `tests/`; a name without a row fails a test.

Change first what nobody tells you at run time:

- Give clients to [`open_pools`](quickstart.md), which opens them with the application and closes them with it. A script writes
  `async with client:`.
- `except ValueError` around a checkout becomes `except ConnectionsExhausted`, or nothing: a handler that uses `pooled` answers 503.
- A receiver is closed by who made it, a credential by who made it, and `AzureBlobStorageClient` by you.
- `send_event` and `send_event_data` return nothing, and `send_message` without a delay no sequence number.

## Their snippets

The snippets of their README run here with the import changed and the account led to the [emulator](emulator.md); their own library
was asked too.

| snippet | with their library | here | test |
| --- | --- | --- | --- |
{snippets}
{sections}
A test of theirs that has `create_item` return "success", against [the emulator](testing.md) and with a fake:

```python title="test_orders.py"
from fastapi_azure_pool import ManagedCosmos
from fastapi_azure_pool.testing import FakeManagedClient


class Orders(ManagedCosmos):
    async def insert_doc(self, document):
        async with self.get_container_client() as container:
            return await container.create_item(document)


async def test_insert(azure_emulator):
    azure_emulator.create_cosmos_container("shop", "orders", partition_key="/id")
    async with Orders(azure_emulator.cosmos_endpoint, "shop", "orders", credential=azure_emulator.cosmos_key) as orders:
        assert (await orders.insert_doc({{"id": "1"}}))["id"] == "1"


async def test_insert_without_sockets():
    orders = FakeManagedClient(Orders)
    orders.connection.create_item.return_value = "success"
    assert await Orders.insert_doc(orders, {{"id": "1"}}) == "success"
```
"""


def page() -> str:
    """Return the page."""
    snippets = "".join(map(_snippet, SNIPPETS))
    return _TEXT.format(version=VERSION, snippets=snippets, sections="\n".join(map(_section, TABLE)))


def _snippet(snippet: Snippet) -> str:
    theirs = "runs with the import that it lacks" if snippet.theirs is None else f"`{snippet.theirs}`"
    return f"| {snippet.title} | {theirs} | {snippet.ours} | {_tests(snippet.tests)} |\n"


def _section(module: str) -> str:
    title, ours = _TITLES[module]
    theirs = f"{THEIRS}.{module}".rstrip(".")
    rows = "".join(map(_row, TABLE[module]))
    return f"## {title}\n\n| `{theirs}` | `{ours}` | differences | tests |\n| --- | --- | --- | --- |\n{rows}"


def _row(promise: Promise) -> str:
    ours = "the same" if promise.ours == promise.theirs else _code(promise.ours) or "nothing"
    return f"| {_code(promise.theirs)} | {ours} | {promise.difference or 'none'} | {_tests(promise.tests)} |\n"


def _code(text: str) -> str:
    """Give the names as code; names in braces that share nothing stand each by itself."""
    pieces = text.strip("{}").split(", ") if text.startswith("{") else text.split("; ")
    return ", ".join(f"`{piece}`" for piece in pieces) if text else ""


def _tests(tests: tuple[str, ...]) -> str:
    """Give the tests as code, without a file's name where it is that of the one before."""
    told = []
    before = ""
    for test in tests:
        file, _, function = test.partition("::")
        told.append(f"`::{function}`" if file == before else f"`{test}`")
        before = file
    return ", ".join(told)
