"""Their documented snippets, run against this library with the import changed, on the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.servicebus.aio import ServiceBusReceiver

from fastapi_azure_pool import EventGridTopicConfig
from tests.peers.running import run
from tests.peers.snippets import BLOB, COSMOS, EVENT_GRID, EVENT_HUBS, QUICK_START, SERVICE_BUS
from tests.peers.surface import THEIRS

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage

    from fastapi_azure_pool.emulator import Emulator
    from tests.peers.conftest import Credential

IMPORT = {THEIRS: "fastapi_azure_pool"}
NAMESPACE = "my-namespace.servicebus.windows.net"


class Processed(Exception):
    """The snippet's endless loop over a queue has got what it waited for."""


async def test_the_quick_start_stores_its_item(emulator: Emulator, credential: Credential) -> None:
    """The pooled half of the Quick Start runs as it is, where their own library does not know `credential`."""
    await emulator.create_cosmos_container("your-database", "your-container", partition_key="/id")
    defined = await run(
        QUICK_START, replaced=IMPORT | {"https://your-cosmos.documents.azure.com:443/": emulator.cosmos_endpoint}
    )
    client = defined["cosmos_client"]
    async with client.get_container_client() as container:
        assert (await container.read_item("1", "1"))["id"] == "1"
    await client.close()


async def test_the_cosmos_snippet_stores_and_reads(emulator: Emulator, credential: Credential) -> None:
    """The Cosmos DB snippet runs once it uses the name that it has given its client."""
    await emulator.create_cosmos_container("your-database", "your-container", partition_key="/category")
    endpoint = {"https://your-account.documents.azure.com:443/": emulator.cosmos_endpoint}
    defined = await run(COSMOS, {"DefaultAzureCredential": credential}, replaced=IMPORT | endpoint | COSMOS.renamed)
    assert defined["item"]["name"] == defined["result"]["name"] == "example"
    await defined["client"].close()


async def test_the_blob_snippet_s_argument_is_told(emulator: Emulator, credential: Credential) -> None:
    """Pasted as it is, the Blob Storage snippet raises TypeError that names the right argument."""
    with pytest.raises(TypeError, match=r"AzureBlobStorageClient has no argument 'az_credential': write credential="):
        await run(BLOB, {"DefaultAzureCredential": credential}, replaced=IMPORT)


async def test_the_blob_snippet_uploads_downloads_and_signs(emulator: Emulator, credential: Credential) -> None:
    """With that argument the Blob Storage snippet runs, and its URL has a signature."""
    await emulator.create_blob_container("my-container")
    endpoint = {"https://account.blob.core.windows.net": emulator.blob_endpoint}
    defined = await run(BLOB, {"DefaultAzureCredential": credential}, replaced=IMPORT | endpoint | BLOB.renamed)
    assert defined["data"] == b"content"
    assert defined["sas_url"].startswith(f"{emulator.blob_endpoint}/my-container/file.txt?")
    assert "sig=" in defined["sas_url"]
    await defined["client"].close()


async def test_the_event_grid_snippet_publishes(emulator: Emulator, credential: Credential) -> None:
    """The Event Grid snippet runs once it imports the name that it uses."""
    for topic in ("topic1", "topic2"):
        await emulator.create_eventgrid_topic(topic)
    endpoints = {
        f"https://{topic}.azure.net/api/event": emulator.eventgrid_endpoint(topic) for topic in ("topic1", "topic2")
    }
    given = {"DefaultAzureCredential": credential, "EventGridTopicConfig": EventGridTopicConfig}
    defined = await run(EVENT_GRID, given, replaced=IMPORT | endpoints)
    (event,) = emulator.eventgrid_events("topic1")
    assert (event.type, event.subject, event.data) == ("event-type", "subject", {"data": "value"})
    await defined["client"].aclose()


async def test_the_event_hubs_snippet_sends(emulator: Emulator, credential: Credential) -> None:
    """The Event Hubs snippet runs as it is, where their own library does not know `credential`."""
    await emulator.create_eventhub("my-hub")
    defined = await run(
        EVENT_HUBS, {"DefaultAzureCredential": credential}, replaced=IMPORT | {NAMESPACE: emulator.amqp_authority}
    )
    assert [event.body for event in emulator.received_events("my-hub")] == [b'{"event": "data"}']
    await defined["client"].close()


async def test_the_service_bus_snippet_s_arguments_are_told(emulator: Emulator, credential: Credential) -> None:
    """Pasted as it is, the Service Bus snippet raises TypeError that names the right argument, one after the other."""
    answer = "has no argument 'service_bus_namespace': write service_bus_namespace_url="
    with pytest.raises(TypeError, match=answer):
        await run(SERVICE_BUS, {"DefaultAzureCredential": credential}, replaced=IMPORT)
    corrected = {"service_bus_namespace": "service_bus_namespace_url"}
    with pytest.raises(TypeError, match="has no argument 'queue_name': write service_bus_queue_name="):
        await run(SERVICE_BUS, {"DefaultAzureCredential": credential}, replaced=IMPORT | corrected)


async def test_the_service_bus_snippet_sends_and_receives(emulator: Emulator, credential: Credential) -> None:
    """With those arguments the Service Bus snippet sends its message, and receives it until the user breaks off."""
    await emulator.create_queue("my-queue")
    processed: list[str] = []

    async def process_message(message: ServiceBusReceivedMessage) -> None:
        processed.append(str(message))
        raise Processed

    given: dict[str, Any] = {"DefaultAzureCredential": credential, "process_message": process_message}
    with pytest.raises(Processed):
        await run(SERVICE_BUS, given, replaced=IMPORT | {NAMESPACE: emulator.amqp_authority} | SERVICE_BUS.renamed)
    assert processed == ["Hello, Service Bus!"]
    assert isinstance(given["receiver"], ServiceBusReceiver)
    await given["client"].close()
