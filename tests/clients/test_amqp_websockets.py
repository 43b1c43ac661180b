"""WebSockets, which go through port 443: the SDK sends in its own way, and nothing of a connection outlives it."""

from __future__ import annotations

import asyncio
import gc
import importlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, WSMsgType, web

from fastapi_azure_pool import ConnectionFailed, SendError
from fastapi_azure_pool.clients.amqp.plain_channel import PlainChannel
from fastapi_azure_pool.clients.amqp.wire import wire_of
from tests.clients.messaging import Hub, channel_of, pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi_azure_pool.emulator import Emulator
    from tests.clients.messaging import Client, Messaging

pytestmark = pytest.mark.filterwarnings(
    "ignore:ssl=None is deprecated:DeprecationWarning"
)  # What the SDK gives aiohttp.


class Gateway:
    """Takes WebSockets as Azure does, and hands on what they carry to the emulator.

    Attributes:
        opened: WebSockets so far.
        refuses: Whether it takes none.
        sockets: Those that are open.
        port: Its port on loopback.
    """

    def __init__(self, azure: Emulator) -> None:
        self.opened = 0
        self.refuses = False
        self.sockets: set[web.WebSocketResponse] = set()
        self.port = 0
        self._target = urlsplit(f"//{azure.amqp_authority}")

    async def take(self, request: web.Request) -> web.WebSocketResponse:
        """Carry one connection."""
        if self.refuses:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(protocols=["AMQPWSB10"])
        await socket.prepare(request)
        self.opened += 1
        self.sockets.add(socket)
        reader, writer = await asyncio.open_connection(self._target.hostname, self._target.port)

        async def bring_back() -> None:
            try:
                while data := await reader.read(65_536):
                    await socket.send_bytes(data)
            except ConnectionError:
                pass  # As good as its end.
            await socket.close()

        back = asyncio.create_task(bring_back())
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    writer.write(message.data)
        finally:
            back.cancel()
            writer.transport.abort()
            self.sockets.discard(socket)
        return socket


@pytest.fixture
async def gateway(amqp: Emulator) -> AsyncIterator[Gateway]:
    """A gateway to the emulator."""
    made = Gateway(amqp)
    application = web.Application()
    application.router.add_get("/$servicebus/websocket", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def client_of(messaging: Messaging, gateway: Gateway, **options: Any) -> Client:
    """Make a client that goes through the gateway."""
    over = importlib.import_module(messaging.sdk).TransportType.AmqpOverWebsocket
    led: dict[str, Any] = {"custom_endpoint_address": f"sb://127.0.0.1:{gateway.port}"}
    if isinstance(messaging, Hub):
        return messaging.client(client_options=led, eventhub_transport_type=over, **options)
    return messaging.client(client_options=led | {"transport_type": over}, **options)


async def test_over_websockets_callers_are_joined_in_one_transfer_at_a_time(
    messaging: Messaging, gateway: Gateway
) -> None:
    """Callers share one connection, each gets its answer, and no transfer leaves before the last one's answer."""
    async with client_of(messaging, gateway, max_size=1) as client:
        assert isinstance(channel_of(pooled(client)), PlainChannel)
        await asyncio.gather(*(messaging.send(client, f"{number}", "ab"[number % 2]) for number in range(50)))
        assert (gateway.opened, messaging.transfers) == (1, 2)
    assert sorted(messaging.stored()) == sorted(f"{number}".encode() for number in range(50))
    await eventually(lambda: not gateway.sockets)


async def test_a_websocket_that_the_service_drops_is_replaced(messaging: Messaging, gateway: Gateway) -> None:
    """Nobody has looked at an idle one: the next send finds its end, and is told that nobody knows; another opens."""
    async with client_of(messaging, gateway, max_size=1) as client:
        session = wire_of(pooled(client).handler)
        assert isinstance(session, ClientSession)
        messaging.azure.faults.drop_connections("amqp")
        await eventually(lambda: not gateway.sockets)
        with pytest.raises(SendError) as lost:
            await messaging.send(client, "one")
        assert lost.value.maybe_delivered
        await messaging.send(client, "two")
    assert session.closed
    assert messaging.stored() == [b"two"]
    await eventually(lambda: not gateway.sockets)


@pytest.mark.parametrize("turns", [*range(1, 40, 6), 60, 100])
async def test_opening_a_websocket_that_is_cancelled_leaves_nothing(
    messaging: Messaging, gateway: Gateway, turns: int
) -> None:
    """Whenever the client is closed while it opens, the WebSocket is closed, and the HTTP session that opened it."""
    client = client_of(messaging, gateway)
    opening = asyncio.create_task(client.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    await client.close(0)
    await asyncio.gather(opening, return_exceptions=True)
    await eventually(lambda: not gateway.sockets)


async def test_a_websocket_that_does_not_close_is_cut(messaging: Messaging, gateway: Gateway) -> None:
    """Where the other side never answers, closing takes no longer than it may, and leaves nothing open."""
    client = client_of(messaging, gateway, close_timeout=0.1)
    await client.open()
    session = wire_of(pooled(client).handler)
    assert isinstance(session, ClientSession)
    with messaging.azure.faults.stall(method="DETACH"), messaging.azure.faults.stall(method="CLOSE"):
        await client.close(0)
    assert session.closed
    await eventually(lambda: not gateway.sockets)


async def test_a_gateway_that_takes_no_websockets(messaging: Messaging, gateway: Gateway) -> None:
    """Each attempt to open fails with what the SDK met, and closes the HTTP session that it was made with."""
    gateway.refuses = True
    client = client_of(messaging, gateway)
    with pytest.raises(ConnectionFailed):
        await client.__aenter__()
    assert [held for held in gc.get_objects() if isinstance(held, ClientSession) and not held.closed] == []
