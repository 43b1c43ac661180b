"""The snippets of the README of aio-azure-clients-toolbox 1.5.0, word for word, and what each needs to run.

They are (c) 2024 Mulligan Funding, under the Apache License 2.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Snippet:
    """One of their snippets.

    Attributes:
        title: The heading that it stands under.
        text: It, word for word.
        theirs: How their own library answers it, with the imports that it lacks; None where it runs.
        ours: How this library does.
        tests: The tests that show it.
        undefined: The names that it uses and does not define.
        left_out: A part of it that no library runs.
        renamed: The names in it that their library does not have either, and what to write with ours.
    """

    title: str
    text: str
    theirs: str | None
    ours: str
    tests: tuple[str, ...]
    undefined: tuple[str, ...] = ()
    left_out: str = ""
    renamed: dict[str, str] = field(default_factory=dict)


QUICK_START = Snippet(
    "Quick Start",
    """\
from azure.identity.aio import DefaultAzureCredential
from aio_azure_clients_toolbox import ManagedCosmos

# Traditional approach - slow
cosmos_client = CosmosClient(endpoint, credential)
container = cosmos_client.get_database("db").get_container("container")
await container.create_item({"id": "1"})  # 200ms+ including connection setup

# Connection pooled approach - fast
cosmos_client = ManagedCosmos(
    endpoint="https://your-cosmos.documents.azure.com:443/",
    dbname="your-database",
    container_name="your-container",
    credential=DefaultAzureCredential(),

    # Pool configuration
    client_limit=100,      # Concurrent clients per connection
    max_size=10,           # Maximum connections in pool
    max_idle_seconds=300   # Connection idle timeout
)

async with cosmos_client.get_container_client() as container:
    await container.create_item({"id": "1"})  # 2ms after pool warmup
""",
    theirs="ManagedCosmos.__init__() got an unexpected keyword argument 'credential'",
    ours="runs as it is, but for the counter-example at its top, whose `get_database` no SDK has",
    tests=("peers/test_snippets.py::test_the_quick_start_stores_its_item",),
    # CosmosClient of azure.cosmos.aio has no get_database(); it shows what not to do.
    left_out="""\
# Traditional approach - slow
cosmos_client = CosmosClient(endpoint, credential)
container = cosmos_client.get_database("db").get_container("container")
await container.create_item({"id": "1"})  # 200ms+ including connection setup
""",
)

BLOB = Snippet(
    "Azure BlobStorage",
    """\
from aio_azure_clients_toolbox import AzureBlobStorageClient

client = AzureBlobStorageClient(
    az_storage_url="https://account.blob.core.windows.net",
    container_name="my-container",
    az_credential=DefaultAzureCredential()
)

# Upload and download with SAS token support
await client.upload_blob("file.txt", b"content")
data = await client.download_blob("file.txt")
sas_url = await client.get_blob_sas_url("file.txt")
""",
    theirs="AzureBlobStorageClient.__init__() got an unexpected keyword argument 'az_credential'",
    ours="`TypeError` that says to write `credential=`; then it runs",
    tests=(
        "peers/test_snippets.py::test_the_blob_snippet_s_argument_is_told",
        "peers/test_snippets.py::test_the_blob_snippet_uploads_downloads_and_signs",
    ),
    undefined=("DefaultAzureCredential",),
    renamed={"az_credential": "credential"},
)

COSMOS = Snippet(
    "CosmosDB",
    """\
from aio_azure_clients_toolbox import ManagedCosmos

client = ManagedCosmos(
    endpoint="https://your-account.documents.azure.com:443/",
    dbname="your-database",
    container_name="your-container",
    credential=DefaultAzureCredential()
)
# Document operations
async with cosmos.get_container_client() as container:
    # Create document
    document = {"id": "1", "name": "example", "category": "test"}
    result = await container.create_item(body=document)

    # Read document
    item = await container.read_item(item="1", partition_key="test")
""",
    theirs="ManagedCosmos.__init__() got an unexpected keyword argument 'credential'",
    ours="runs with its client called `client` throughout, not also `cosmos`",
    tests=("peers/test_snippets.py::test_the_cosmos_snippet_stores_and_reads",),
    undefined=("DefaultAzureCredential",),
    renamed={"cosmos.": "client."},
)

EVENT_GRID = Snippet(
    "EventGrid",
    """\
from aio_azure_clients_toolbox.clients.eventgrid import EventGridClient, EventGridConfig

client = EventGridClient(
    config=EventGridConfig([
        EventGridTopicConfig("topic1", "https://topic1.azure.net/api/event"),
        EventGridTopicConfig("topic2", "https://topic2.azure.net/api/event"),
    ]),
    async_credential=DefaultAzureCredential()
)

await client.async_emit_event("topic1", "event-type", "subject", {"data": "value"})
""",
    theirs=None,
    ours="likewise",
    tests=("peers/test_snippets.py::test_the_event_grid_snippet_publishes",),
    undefined=("DefaultAzureCredential", "EventGridTopicConfig"),
)

EVENT_HUBS = Snippet(
    "EventHub",
    """\
from aio_azure_clients_toolbox import ManagedAzureEventhubProducer

client = ManagedAzureEventhubProducer(
    eventhub_namespace="my-namespace.servicebus.windows.net",
    eventhub_name="my-hub",
    credential=DefaultAzureCredential()
)

await client.send_event('{"event": "data"}')
""",
    theirs="ManagedAzureEventhubProducer.__init__() got an unexpected keyword argument 'credential'",
    ours="runs as it is",
    tests=("peers/test_snippets.py::test_the_event_hubs_snippet_sends",),
    undefined=("DefaultAzureCredential",),
)

SERVICE_BUS = Snippet(
    "Service Bus",
    """\
from aio_azure_clients_toolbox import ManagedAzureServiceBusSender

client = ManagedAzureServiceBusSender(
    service_bus_namespace="my-namespace.servicebus.windows.net",
    queue_name="my-queue",
    credential=DefaultAzureCredential()
)

await client.send_message("Hello, Service Bus!")

# Receiving messages
async with client.get_receiver() as receiver:
    async for message in receiver:
        await process_message(message)
""",
    theirs="ManagedAzureServiceBusSender.__init__() got an unexpected keyword argument 'service_bus_namespace'",
    ours="`TypeError` that says to write `service_bus_namespace_url=`, then `service_bus_queue_name=`; then it runs",
    tests=(
        "peers/test_snippets.py::test_the_service_bus_snippet_s_arguments_are_told",
        "peers/test_snippets.py::test_the_service_bus_snippet_sends_and_receives",
    ),
    undefined=("DefaultAzureCredential", "process_message"),
    renamed={"service_bus_namespace": "service_bus_namespace_url", "queue_name": "service_bus_queue_name"},
)

TESTING = Snippet(
    "Testing Support",
    """\
# tests/conftest.py
pytest_plugins = [
    "aio_azure_clients_toolbox.testing_utils.fixtures",
]

# Use in your tests
async def test_cosmos_operations(cosmos_insertable, document):
    container_client, set_return = cosmos_insertable
    set_return("success")
    result = await cosmos_client.insert_doc(document)
    assert result == "success"
""",
    theirs="name 'cosmos_client' is not defined",
    ours="its fixtures are not here; [below](#testing) is the same test",
    tests=("peers/test_testing.py::test_their_test_with_the_emulator_and_with_a_fake",),
    undefined=("cosmos_client", "document"),
)

SNIPPETS = (QUICK_START, TESTING, BLOB, COSMOS, EVENT_GRID, EVENT_HUBS, SERVICE_BUS)
