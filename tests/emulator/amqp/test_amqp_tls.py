"""Event Hubs and Service Bus over TLS, with the certificate that the emulator gives."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from azure.servicebus import ServiceBusMessage, TransportType
from azure.servicebus.aio import ServiceBusClient

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.amqp.performatives import Accepted
from tests.emulator.amqp.amqp_peer import connected, event
from tests.emulator.amqp.conftest import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def options(azure: Emulator, directory: Path) -> dict[str, Any]:
    """Return what leads azure-servicebus to the emulator: with TLS it goes to port 5671 unless an endpoint is named.

    Before 5.15.1 azure-eventhub can't be led to another port with TLS.
    """
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
def test_clients_send_over_tls(tmp_path: Path, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A client verifies the certificate and sends, a message of many frames too; the connection strings ask for TLS."""

    async def send() -> None:
        async with Emulator(tls=True) as azure:
            await azure.create_eventhub("hub")
            await azure.create_queue("orders")
            assert "UseDevelopmentEmulator" not in azure.eventhub_connection_string
            async with connected(azure) as peer:
                await peer.sender("hub")
                assert await peer.outcome(event(b"x" * 500_000), frames=10) == Accepted()
            async with (
                ServiceBusClient.from_connection_string(
                    azure.servicebus_connection_string, **options(azure, tmp_path)
                ) as client,
                client.get_queue_sender("orders") as sender,
            ):
                await sender.send_messages(ServiceBusMessage("message"))
            assert [one.body for one in azure.received_events("hub")] == [b"x" * 500_000]
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
