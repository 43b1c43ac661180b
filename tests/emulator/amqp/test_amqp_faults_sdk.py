"""Faults of Event Hubs and Service Bus, as users of the official SDKs meet them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.exceptions import AuthenticationError, ConnectionLostError, EventHubError
from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    ServiceBusAuthenticationError,
    ServiceBusConnectionError,
    ServiceBusError,
    ServiceBusServerBusyError,
)

from tests.emulator.amqp.conftest import make_producer, make_service_bus, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.servicebus.aio import ServiceBusSender

    from fastapi_azure_pool.emulator import Emulator


@pytest.fixture
async def sender(azure: Emulator) -> AsyncIterator[ServiceBusSender]:
    """The official sender of the queue, with its link open."""
    async with make_service_bus(azure) as client, client.get_queue_sender("orders") as sender:
        yield sender


def add(faults: Any, name: str) -> Any:
    """Add a fault by a name that a test's id can have."""
    return {
        "throttle": lambda: faults.throttle(service="amqp", times=1),
        "too large": lambda: faults.reject("amqp:link:message-size-exceeded", times=1),
        "fail": lambda: faults.fail(service="amqp", method="TRANSFER", times=1),
        "drop": lambda: faults.drop(method="TRANSFER", times=1),
    }[name]()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("throttle", ServiceBusServerBusyError),
        ("too large", MessageSizeExceededError),
        ("fail", ServiceBusError),
        ("drop", ServiceBusConnectionError),
    ],
)
async def test_service_bus_words_it_in_its_own_errors(
    azure: Emulator, sender: ServiceBusSender, fault: str, error: type[ServiceBusError]
) -> None:
    """Each fault reaches the sender as the error that Azure would cause; nothing is stored, and the next send is."""
    add(azure.faults, fault)
    with pytest.raises(error):
        await sender.send_messages(ServiceBusMessage("lost"))
    await sender.send_messages(ServiceBusMessage("kept"))
    assert [one.body for one in azure.queue_messages("orders")] == [b"kept"]


async def test_a_detached_link_shows_at_the_next_send(azure: Emulator, sender: ServiceBusSender) -> None:
    """An idle link that was detached costs the next send an error, or the SDK opens another one itself."""
    await sender.send_messages(ServiceBusMessage("first"))
    assert azure.faults.detach_links("orders") == 1
    async with asyncio.timeout(20):
        try:
            await sender.send_messages(ServiceBusMessage("second"))
        except ServiceBusError:
            await sender.send_messages(ServiceBusMessage("second"))
    assert [one.body for one in azure.queue_messages("orders")] == [b"first", b"second"]


async def test_event_hubs_says_that_the_connection_is_lost(azure: Emulator) -> None:
    """A reset before the batch is stored reaches the producer's own send as an error, and nothing is stored."""
    async with make_producer(azure) as producer:
        batch = await producer.create_batch()
        batch.add(EventData("lost"))
        azure.faults.drop(method="TRANSFER", path="hub", times=1)
        own = producer._producers["all-partitions"]
        assert own is not None
        with pytest.raises(EventHubError):
            await own.send(batch)
    assert azure.received_events("hub") == []


async def test_a_refused_attach_is_told_with_its_condition(azure: Emulator) -> None:
    """A link that leads nowhere reaches the producer as ConnectionLostError with the condition in it."""
    azure.faults.refuse_attach("amqp:not-found", path="hub")
    async with make_producer(azure) as producer:
        with pytest.raises(ConnectionLostError, match="amqp:not-found"):
            await producer.create_batch()


async def test_a_rejected_authorization_reaches_both(azure: Emulator) -> None:
    """401 at ``$cbs`` is each SDK's authentication error."""
    azure.faults.reject_authorization(service="amqp")
    async with make_producer(azure) as producer:
        with pytest.raises(AuthenticationError, match="invalid signature"):
            await producer.create_batch()
    async with make_service_bus(azure) as client:
        with pytest.raises(ServiceBusAuthenticationError):
            async with client.get_queue_sender("orders"):
                pass


@pytest.mark.parametrize("fault", ["stall", "released", "modified"])
async def test_some_outcomes_hang_the_sdk(azure: Emulator, sender: ServiceBusSender, fault: str) -> None:
    """Silence, and outcomes that the SDK has no word for, leave its send waiting: that is what deadlines are for."""
    struck = azure.faults.stall(method="TRANSFER") if fault == "stall" else azure.faults.settle(fault)  # type: ignore[arg-type]  # a literal
    sending = asyncio.create_task(sender.send_messages(ServiceBusMessage("x")))
    await until(lambda: struck.strikes)
    done, _ = await asyncio.wait([sending], timeout=0.3)
    assert not done
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert azure.queue_messages("orders") == []


async def test_a_closed_connection_is_told_apart(azure: Emulator, sender: ServiceBusSender) -> None:
    """After amqp:connection:forced the sender finds its way on a new connection."""
    await sender.send_messages(ServiceBusMessage("first"))
    assert azure.faults.close_connections() == 1
    async with asyncio.timeout(20):
        try:
            await sender.send_messages(ServiceBusMessage("second"))
        except ServiceBusError:
            await sender.send_messages(ServiceBusMessage("second"))
    assert azure.connections("amqp").accepted == 2
    assert len(azure.queue_messages("orders")) == 2
