"""A connection's life: what keeps it alive, how its end is seen without I/O, loops, reopening, and the application around it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI

from fastapi_azure_pool import WrongLoopError, health_router, managed, open_pools, pooled
from fastapi_azure_pool.clients.amqp import channel as channels
from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.amqp.frames import encode_frame
from fastapi_azure_pool.emulator.amqp.performatives import Close, Detach, End, Flow
from tests.clients.messaging import Hub, Queue, channel_of
from tests.clients.messaging import pooled as only
from tests.clients.waiting import eventually
from tests.fastapi.driver import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.clients.messaging import Messaging


# What keeps it alive -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def empties(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The connections over which empty frames were sent, one for each."""
    sent: list[Any] = []
    for sdk in ("eventhub", "servicebus"):
        kind = import_module(f"azure.{sdk}._pyamqp.aio._connection_async").Connection
        send = kind._outgoing_empty

        async def counting(connection: Any, send: Any = send) -> None:
            sent.append(connection)
            await send(connection)

        monkeypatch.setattr(kind, "_outgoing_empty", counting)
    return sent


@pytest.mark.parametrize("kind", ["eventhub", "servicebus"])
async def test_an_idle_connection_outlives_the_service_s_patience(empties: list[Any], kind: str) -> None:
    """Where the service closes what is silent for 0.3 s, empty frames go out in time, and the first connection serves on."""
    async with Emulator(amqp_idle_timeout_seconds=0.3) as azure:
        await azure.create_eventhub("orders")
        await azure.create_queue("work")
        messaging = Hub(azure) if kind == "eventhub" else Queue(azure)
        async with messaging.client() as client:
            connection = only(client)
            await eventually(lambda: len(empties) >= 5)
            assert only(client) is connection
            await messaging.send(client, "one")
            assert messaging.count("OPEN") == 1


async def test_a_beat_goes_out_by_itself(
    messaging: Messaging, empties: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every BEAT_SECONDS an empty frame is sent, although the service would take a longer silence."""
    monkeypatch.setattr(channels, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(channels, "_TEND_SECONDS", 0.01)
    async with messaging.client() as client:
        await eventually(lambda: len(empties) >= 3)
        assert set(map(id, empties)) == {id(only(client).handler._connection)}


def test_the_beat_is_faster_than_the_service() -> None:
    """Azure closes a connection that is silent for 240 s."""
    assert channels.BEAT_SECONDS == 100
    assert channels._TEND_SECONDS <= channels.BEAT_SECONDS / 2


async def test_sizes_by_default(messaging: Messaging) -> None:
    """4 connections at most, another at 50 clients each, one kept warm, and idle ones replaced before Azure drops them."""
    client = messaging.client()
    stats = client.pool.stats()
    assert (stats.max_size, stats.min_size, stats.client_limit) == (4, 1, 100)
    limits = client.pool._limits
    assert (limits.grow_at, limits.max_idle_seconds) == (50, 220 if isinstance(messaging, Hub) else 200)
    assert client.pool._connector.probe_seconds == 1.0


# How its end is seen -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["detach", "end", "close", "eof", "reset"])
async def test_an_end_that_nobody_has_read_is_seen(messaging: Messaging, what: str) -> None:
    """A frame that ends the link, the session or the connection, the stream's end, a reset: seen at once, without I/O."""
    async with messaging.client() as client:
        connection = only(client)
        channel = channel_of(connection)
        reader = channel._reader
        session = channel._session.channel
        assert not connection.commit.is_closed
        if what == "eof":
            reader.feed_eof()
        elif what == "reset":
            reader.set_exception(ConnectionResetError("reset"))
        else:
            frames: dict[str, Detach | End | Close] = {
                "detach": Detach(channel._main.sdk.remote_handle, closed=True),
                "end": End(),
                "close": Close(),
            }
            flow = Flow(incoming_window=1, next_outgoing_id=0, outgoing_window=1)
            # Behind another frame, and not alone.
            reader.feed_data(
                encode_frame(session, flow) + encode_frame(0 if what == "close" else session, frames[what])
            )
        assert connection.commit.is_closed
        await eventually(lambda: connection not in [held.transport for held in client.pool.connections])
        await messaging.settle_down(client)
        await messaging.send(client, "one")


async def test_the_end_of_another_link_is_not_the_connection_s(hub: Hub) -> None:
    """A partition's link that the service takes away leaves the connection as good as before, also while nobody has read it."""
    async with hub.client() as client:
        connection = only(client)
        await client.send_event("one", partition_id="1")
        channel = channel_of(connection)
        handle = channel._links["Partitions/1"].sdk.remote_handle
        channel._reader.feed_data(encode_frame(channel._session.channel, Detach(handle, closed=True)))
        assert not connection.commit.is_closed
        await eventually(lambda: not channel._buffer)
        await client.send_event("two", partition_id="1")
        await client.send_event("three")
        assert (only(client), hub.count("OPEN")) == (connection, 1)


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        (b"\xc0\x02\x01\x43", {0}),
        (b"\xc0\x03\x01\x52\x07", {7}),
        (b"\xd0\x00\x00\x00\x09\x00\x00\x00\x01\x70\x00\x00\x01\x07", {0x107}),
        # What is not understood might be anybody's.
        (b"\x45", {0, 7, 0x107}),
        (b"\xc0\x03\x01\x53\x07", {0, 7, 0x107}),
        (b"\xc0\x02\x01\x70", {0, 7, 0x107}),
        (b"", {0, 7, 0x107}),
    ],
)
def test_whose_link_a_detach_ends(fields: bytes, ends: set[int]) -> None:
    """The handle is read in each of the encodings that a list and a uint have."""
    body = b"\x00\x53\x16" + fields
    frame = (8 + len(body)).to_bytes(4) + b"\x02\x00\x00\x00" + body
    buffer = bytearray(encode_frame(0, None) + frame)
    assert {handle for handle in (0, 7, 0x107) if channels._has_ending(buffer, handle)} == ends


async def test_the_session_s_window_bounds_what_leaves(messaging: Messaging, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much credit a link has, no more transfers leave than the session's window takes."""
    async with messaging.client() as client:
        channel = channel_of(only(client))
        await eventually(lambda: channel._main.credit > 1)
        monkeypatch.setattr(channel._session, "remote_incoming_window", 1)
        assert await channel.room(None) == 1


async def test_a_frame_that_ends_nothing_is_no_end(messaging: Messaging) -> None:
    """An unread FLOW, an empty frame, half a frame: the connection is as good as before, and goes on sending."""
    async with messaging.client() as client:
        connection = only(client)
        channel = channel_of(connection)
        flow = encode_frame(
            channel._session.channel, Flow(incoming_window=5000, next_outgoing_id=1, outgoing_window=5000)
        )
        for data in (flow, encode_frame(0, None), flow[:9], flow[9:]):
            channel._reader.feed_data(data)
            assert not connection.commit.is_closed
        await eventually(lambda: not channel._buffer)
        await messaging.send(client, "one")
        assert (only(client), messaging.count("OPEN")) == (connection, 1)


async def test_what_cannot_be_read_ends_the_connection(messaging: Messaging) -> None:
    """Bytes that are no frame cost the connection, not a loop that turns for ever; the next one serves."""
    async with messaging.client() as client:
        connection = only(client)
        channel_of(connection)._reader.feed_data(b"\x00\x00\x00\x01\xff\xff\xff\xff" * 4)
        await eventually(lambda: connection not in [held.transport for held in client.pool.connections])
        await messaging.settle_down(client)
        await messaging.send(client, "one")


# Opening again, and other loops ------------------------------------------------------------------------------------------------


async def test_opening_again_after_closing(messaging: Messaging) -> None:
    """A client that was closed opens new connections when it is opened again; a basic one by itself."""
    client, basic = messaging.client(), messaging.basic()
    for number in range(2):
        async with client:
            await messaging.send(client, f"managed {number}")
        await messaging.send(basic, f"basic {number}")
        await basic.close()
        await eventually(lambda: messaging.open_connections == 0)
    await basic.close()
    assert messaging.count("OPEN") == 4
    assert len(messaging.stored()) == 4


async def test_a_basic_client_opens_at_its_first_use_once_for_all(messaging: Messaging) -> None:
    """Making a basic client opens nothing; twenty who come first share one connection, which stays."""
    basic = messaging.basic()
    assert messaging.open_connections == 0
    await asyncio.gather(*(messaging.send(basic, str(number)) for number in range(20)))
    await messaging.send(basic, "20")
    assert (messaging.count("OPEN"), len(messaging.stored())) == (1, 21)
    await basic.close()


async def test_another_loop_is_refused(messaging: Messaging) -> None:
    """While a client is open on one loop, a send on another gets WrongLoopError, and harms nothing."""
    async with messaging.client() as client:
        errors: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(messaging.send(client, "lost"))
            except WrongLoopError as error:
                errors.append(error)

        await asyncio.to_thread(elsewhere)
        assert len(errors) == 1
        await messaging.send(client, "kept")
    assert messaging.stored() == [b"kept"]


@pytest.mark.parametrize("kind", ["eventhub", "servicebus"])
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "forgotten"])
async def test_a_script_in_development_mode(amqp: Emulator, kind: str, is_closed: bool) -> None:
    """Under -X dev a script that closes its client leaves no warning, and one that forgets to no task that asyncio must destroy."""
    sender = "ManagedAzureEventhubProducer" if kind == "eventhub" else "ManagedAzureServiceBusSender"
    entity = "eventhub_name='orders'" if kind == "eventhub" else "service_bus_queue_name='work'"
    send = "send_event" if kind == "eventhub" else "send_message"
    code = f"""
import asyncio, gc
from fastapi_azure_pool import {sender}
client = {sender}(connection_string={amqp.eventhub_connection_string!r}, {entity})
async def main():
    await client.open()
    await asyncio.gather(*(client.{send}(str(number)) for number in range(50)))
    if {is_closed}:
        await client.close()
asyncio.run(main())
gc.collect()
print("done")
"""
    command = [sys.executable, "-X", "dev", "-W", "always", "-c", code]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n")
    if is_closed:
        assert done.stderr == ""
    assert "was destroyed" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_client_serves_one_loop_after_another() -> None:
    """One client can be opened and closed on several event loops in turn, with an emulator that outlives them."""
    ready, stop = threading.Event(), threading.Event()
    served: list[Emulator] = []

    async def serve() -> None:
        async with Emulator() as azure:
            await azure.create_eventhub("orders")
            served.append(azure)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        messaging = Hub(served[0])
        client = messaging.client()

        async def use(number: int) -> None:
            async with client:
                await messaging.send(client, str(number))

        for number in range(3):
            asyncio.run(use(number))
        assert sorted(messaging.stored()) == [b"0", b"1", b"2"]
    finally:
        stop.set()
        thread.join()


# The application around it -----------------------------------------------------------------------------------------------------


async def test_through_fastapi(messaging: Messaging) -> None:
    """Pooled and managed give what sends, the health route names the service, and no key shows anywhere."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with open_pools(app, events=messaging.client()) as state:
            yield state

    app = FastAPI(lifespan=lifespan)
    app.include_router(health_router())

    @app.post("/managed")
    async def by_client(events: Annotated[Any, Depends(managed("events"))]) -> None:
        await messaging.send(events, "managed")

    @app.post("/pooled")
    async def by_connection(events: Annotated[Any, Depends(pooled("events"), scope="function")]) -> None:
        await messaging.send(events, "pooled")

    async with serving(app) as http:
        for path in ("/managed", "/pooled"):
            assert (await http.post(path)).status_code == 200
        answer = await http.get("/health/pools")
        pool = answer.json()["pools"]["events"]
        assert (pool["service"], pool["status"], pool["ready_connection_count"]) == (messaging.service, "pass", 1)
        assert messaging.azure.amqp_key not in answer.text
        assert messaging.azure.amqp_authority not in answer.text
    assert sorted(messaging.stored()) == [b"managed", b"pooled"]
    await eventually(lambda: messaging.open_connections == 0)
