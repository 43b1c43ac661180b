"""Event Hubs and Service Bus over TLS, with the certificate that the emulator gives."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from azure.eventhub import EventData, TransportType
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from fastapi_azure_pool.emulator import Emulator
from tests.emulator.amqp.conftest import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def options(azure: Emulator, directory: Path) -> dict[str, Any]:
    """Return what leads an SDK to the emulator: with TLS it goes to port 5671 unless an endpoint of its own is named."""
    file = directory / "certificate.pem"
    file.write_text(azure.certificate)
    return {
        "custom_endpoint_address": f"sb://{azure.amqp_authority}",
        "transport_type": TransportType.Amqp,
        "connection_verify": str(file),
        "retry_total": 0,
        "retry_backoff_factor": 0,
    }


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_sdks_send_over_tls(tmp_path: Path, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Both SDKs verify the certificate and send, a batch of many frames too; the connection strings ask for TLS."""

    async def send() -> None:
        async with Emulator(tls=True) as azure:
            await azure.create_eventhub("hub")
            await azure.create_queue("orders")
            assert "UseDevelopmentEmulator" not in azure.eventhub_connection_string
            given = options(azure, tmp_path)
            async with EventHubProducerClient.from_connection_string(
                azure.eventhub_connection_string, eventhub_name="hub", **given
            ) as producer:
                await producer.send_batch([EventData(b"x" * 10_000)] * 50)
            async with (
                ServiceBusClient.from_connection_string(azure.servicebus_connection_string, **given) as client,
                client.get_queue_sender("orders") as sender,
            ):
                await sender.send_messages(ServiceBusMessage("message"))
            assert len(azure.received_events("hub")) == 50
            assert len(azure.queue_messages("orders")) == 1

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(send())


async def test_connections_over_tls_are_dropped_and_stopped(tmp_path: Path) -> None:
    """A connection over TLS can be reset; one in the midst of its handshake does not hold up stopping."""
    azure = Emulator(tls=True)
    await azure.start()
    host, _, port = azure.amqp_authority.rpartition(":")
    context = ssl.create_default_context(cadata=azure.certificate)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    await until(lambda: azure.connections("amqp").open == 1)
    assert azure.faults.drop_connections("amqp") == 1
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.transport.abort()
    _, silent = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(10):
        await azure.stop()
    silent.transport.abort()
    assert azure.connections("amqp").open == 0


async def test_without_tls_there_is_no_certificate(azure: Emulator) -> None:
    """An emulator without TLS has none to give."""
    assert azure.certificate == ""
