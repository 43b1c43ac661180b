"""The guard: an SDK whose parts differ from those that are driven here is left to send by itself, safely."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool import SendInterrupted, SendRejected, SendTimedOut
from fastapi_azure_pool.clients.amqp import connector as connectors
from fastapi_azure_pool.clients.amqp.channel import TunedChannel
from fastapi_azure_pool.clients.amqp.opening import has_known_shape
from fastapi_azure_pool.clients.amqp.plain_channel import PlainChannel
from tests.clients.messaging import Hub, pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.clients.messaging import Messaging

PARTS: dict[str, tuple[str, Any]] = {
    "no connection": ("_connection", None),
    "no session": ("_session", None),
    "no link": ("_link", None),
    "no transport": ("_connection._transport", None),
    "another reader": ("_connection._transport.reader", object()),
    "another buffer of the reader": ("_connection._transport.reader._buffer", b""),
    "another end of the reader": ("_connection._transport.reader._eof", None),
    "another buffer of what was read": ("_connection._transport._read_buffer", b""),
    "no listening": ("_connection.listen", None),
    "no empty frames": ("_connection._outgoing_empty", None),
    "no idle time": ("_connection._get_remote_timeout", None),
    "no further links": ("_session.create_sender_link", None),
    "no transfers": ("_link.send_transfer", None),
    "other transfers": ("_link.send_transfer", lambda message, on_send_complete: None),
    "no attaching": ("_link.attach", None),
    "no flow": ("_link._incoming_flow", None),
    "no window": ("_session.remote_incoming_window", None),
    "no count": ("_link.delivery_count", None),
    "no credit": ("_link.current_link_credit", None),
    "another state of the link": ("_link.state", "attached"),
    "another state of the session": ("_session.state", 3),
    "another state of the connection": ("_connection.state", None),
    "no target": ("target", None),
    "another authenticator": ("_cbs_authenticator", object()),
    "no token": ("_cbs_authenticator._auth", None),
    "another expiry": ("_cbs_authenticator._expires_on", "tomorrow"),
    "another refreshing": ("_cbs_authenticator._refresh_window", None),
    "no handling of tokens": ("_cbs_authenticator.handle_token", None),
}
"""What of an open handler differs, for every part that has_known_shape looks at."""


def change(handler: Any, path: str, value: Any) -> Callable[[], None]:
    """Make a part of a handler another one; gives what puts it back."""
    *owners, name = path.split(".")
    owner = handler
    for step in owners:
        owner = getattr(owner, step)
    kept = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, kept)


@pytest.mark.parametrize("part", PARTS)
async def test_a_handler_of_another_shape_is_driven_by_the_sdk(
    messaging: Messaging, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever part differs, the SDK sends by itself, one transfer at a time, and everything arrives."""
    path, value = PARTS[part]

    def look(handler: Any) -> bool:
        put_back = change(handler, path, value)
        try:
            return has_known_shape(handler)
        finally:
            put_back()

    monkeypatch.setattr(connectors, "has_known_shape", look)
    async with messaging.client(max_size=1) as client:
        assert type(pooled(client).commit._channel) is PlainChannel
        await asyncio.gather(*(messaging.send(client, str(number), f"k{number % 3}") for number in range(12)))
        assert messaging.count("OPEN") == 1
    assert len(messaging.stored()) == 12


@pytest.mark.parametrize("name", ["_error"])
async def test_a_connection_without_its_error_is_of_another_shape(messaging: Messaging, name: str) -> None:
    """A part that is looked at by name only must be there as well."""
    async with messaging.client() as client:
        handler = pooled(client).handler
        assert has_known_shape(handler)
        connection = handler._connection
        kept = vars(connection).pop(name)
        assert not has_known_shape(handler)
        setattr(connection, name, kept)


async def test_known_versions_are_driven_frame_by_frame(messaging: Messaging) -> None:
    """The SDKs that are installed have the shape that the tuned channel expects."""
    async with messaging.client() as client:
        assert type(pooled(client).commit._channel) is TunedChannel


async def test_a_service_bus_without_its_batch_message_is_driven_by_the_sdk(
    messaging: Messaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the SDK keeps the class of its batches elsewhere, Service Bus is left to it; Event Hubs has no need of that."""
    monkeypatch.setitem(sys.modules, "azure.servicebus._pyamqp.message", None)
    async with messaging.client() as client:
        expected = TunedChannel if isinstance(messaging, Hub) else PlainChannel
        assert type(pooled(client).commit._channel) is expected
        await messaging.send(client, "one")


# The SDK's own sender, shared ----------------------------------------------------------------------------------------------------


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handler has a known shape."""
    monkeypatch.setattr(connectors, "has_known_shape", lambda handler: False)


@pytest.mark.usefixtures("plain")
async def test_a_plain_channel_keeps_deadlines(messaging: Messaging) -> None:
    """The SDK's own sender waits for ever for some answers; here nobody does, and the connection is replaced."""
    async with messaging.client(send_timeout_seconds=0.3) as client:
        first = pooled(client)
        for outcome in ("stall", "released"):
            faults = messaging.azure.faults
            fault = faults.stall(method="TRANSFER", path=messaging.entity) if outcome == "stall" else None
            fault = fault or faults.settle("released", path=messaging.entity)
            with fault, pytest.raises((SendTimedOut, SendInterrupted)) as raised:
                async with asyncio.timeout(5):
                    await messaging.send(client, outcome)
            assert raised.value.maybe_delivered
            await eventually(lambda: client.pool.ready_connection_count == 1)
        assert pooled(client) is not first
        await messaging.send(client, "after")
    assert messaging.stored() == [b"after"]


@pytest.mark.usefixtures("plain")
async def test_a_plain_channel_joins_one_transfer_at_a_time(messaging: Messaging) -> None:
    """Joining needs no knowledge of the SDK: many callers take few transfers, one after the other."""
    async with messaging.client(max_size=1) as client:
        await asyncio.gather(*(messaging.send(client, str(number)) for number in range(200)))
        assert messaging.transfers <= 10
    assert sorted(messaging.stored(), key=int) == [str(number).encode() for number in range(200)]


@pytest.mark.usefixtures("plain")
async def test_a_plain_channel_tells_rejections(messaging: Messaging) -> None:
    """What the service refuses is told with its condition, and makes exactly one transfer."""
    async with messaging.client() as client:
        messaging.azure.faults.reject("amqp:not-allowed", "because", path=messaging.entity, times=1)
        with pytest.raises(SendRejected) as raised:
            await messaging.send(client, "one")
        assert (raised.value.condition, raised.value.maybe_delivered) == ("amqp:not-allowed", False)
        assert messaging.transfers == 1
        await messaging.send(client, "two")
    assert messaging.stored() == [b"two"]


@pytest.mark.usefixtures("plain")
async def test_a_plain_channel_sends_to_partitions(hub: Hub) -> None:
    """Without a known shape the SDK sends to a partition over a connection of its own."""
    async with hub.client() as client:
        await client.send_event("one", partition_id="0")
        await client.send_event("two", partition_id="0")
    assert [(event.body, event.partition_id) for event in hub.azure.received_events("orders")] == [
        (b"one", "0"),
        (b"two", "0"),
    ]
