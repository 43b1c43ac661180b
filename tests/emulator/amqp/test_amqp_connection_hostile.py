"""Bytes that no client would send: a connection may end by them, and nothing else may."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator.amqp.frames import AMQP_HEADER, SASL_HEADER, encode_frame
from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, Message, Properties, Value, encode_message
from fastapi_azure_pool.emulator.amqp.performatives import (
    Accepted,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Performative,
    SaslInit,
    Source,
    Target,
    Transfer,
)
from fastapi_azure_pool.emulator.amqp.values import Symbol
from tests.emulator.amqp.amqp_peer import connect, connected, event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi_azure_pool.emulator import Emulator

READ_FIRST = "hub/ConsumerGroups/$Default/Partitions/0"
BATCH = encode_message(Message(body=[event(b"1"), event(b"2")]))
REQUEST = encode_message(
    Message(
        properties=Properties(message_id=b"1"),
        application_properties={"operation": "READ", "type": "com.microsoft:eventhub", "name": "hub"},
        body=Value(None),
    )
)


def frames() -> list[bytes]:
    """Return a whole conversation of a client, frame by frame, that touches every kind of node."""
    selector = {Symbol("apache.org:selector-filter:string"): "amqp.annotation.x-opt-offset > '-1'"}
    said: list[tuple[Performative | None, bytes]] = [
        (Open("a test", max_frame_size=4096, idle_time_out=60_000), b""),
        (Begin(next_outgoing_id=0, incoming_window=100, outgoing_window=100), b""),
        (Attach("a", 0, role=False, source=Source("x"), target=Target("hub"), initial_delivery_count=0), b""),
        (Attach("b", 1, role=True, source=Source(READ_FIRST, filter=selector), target=Target("x")), b""),
        (Attach("c", 2, role=False, source=Source("x"), target=Target("orders"), initial_delivery_count=0), b""),
        (Attach("d", 3, role=True, rcv_settle_mode=1, source=Source("orders"), target=Target("x")), b""),
        (Attach("e", 4, role=False, source=Source("x"), target=Target("$management"), initial_delivery_count=0), b""),
        (Attach("f", 5, role=True, source=Source("$management"), target=Target("x")), b""),
        *((Flow(0, 100, 0, 100, handle, 0, 10), b"") for handle in (1, 3, 5)),
        (Transfer(0, 0, b"0", BATCH_FORMAT, settled=False), BATCH),
        (Transfer(0, 1, b"1", 0, settled=False, more=True), event()[:3]),
        (Transfer(0), event()[3:]),
        (Transfer(2, 2, b"2", 0, settled=False), event()),
        (Transfer(2, 3, b"3", BATCH_FORMAT, settled=False), BATCH),
        (Transfer(4, 4, b"4", 0, settled=False), REQUEST),
        (Disposition(role=True, first=0, last=3, settled=False, state=Accepted()), b""),
        (Flow(4, 100, 5, 100, 3, 3, 10, drain=True, echo=True), b""),
        (None, b""),
        (Detach(0, closed=True), b""),
        (End(), b""),
        (Close(), b""),
    ]
    return [encode_frame(0, performative, payload) for performative, payload in said]


def greeting(azure: Emulator) -> bytes:
    """Return what gives a client every right."""
    key = f"\0RootManageSharedAccessKey\0{azure.amqp_key}".encode()
    return SASL_HEADER + encode_frame(0, SaslInit("PLAIN", key), sasl=True) + AMQP_HEADER


def mutations(rng: random.Random, said: list[bytes], count: int) -> Iterator[bytes]:
    """Yield conversations in which something is wrong."""
    for _ in range(count):
        parts = list(said)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(parts))
            part = bytearray(parts[place] or b"\0")
            match rng.randrange(7):
                case 0:
                    part[rng.randrange(len(part))] = rng.randrange(256)
                case 1:
                    del part[rng.randrange(len(part)) :]
                case 2:
                    at = rng.randrange(len(part) + 1)
                    part[at:at] = rng.randbytes(rng.randint(1, 8))
                case 3:
                    parts.insert(rng.randrange(len(parts)), bytes(part))
                case 4:
                    part = bytearray(rng.randbytes(rng.randint(1, 64)))
                case 5:
                    other = rng.randrange(len(parts))
                    parts[other], parts[place] = parts[place], parts[other]
                    continue
                case _:
                    # right on the outside, wrong within: a body byte, with the frame's size as it was
                    if len(part) > 12:
                        part[rng.randrange(12, len(part))] ^= 1 << rng.randrange(8)
            parts[place] = bytes(part)
        yield b"".join(parts)


@pytest.mark.parametrize("seed", range(4))
async def test_a_conversation_gone_wrong_harms_nobody_else(azure: Emulator, seed: int) -> None:
    """Hundreds of damaged conversations each end, nothing is logged as a bug, and another client is served throughout."""
    rng = random.Random(seed)
    bugs: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: bugs.append(context))
    async with connected(azure) as witness:
        await witness.sender("hub/Partitions/1")
        for number, said in enumerate(mutations(rng, frames(), 150)):
            async with connect(azure) as peer:
                data = greeting(azure) + said
                cut = rng.randrange(len(data))
                peer.send_bytes(data[:cut])
                await asyncio.sleep(0)
                peer.send_bytes(data[cut:])
                if peer.writer.can_write_eof():
                    peer.writer.write_eof()
                async with asyncio.timeout(10):
                    try:
                        await peer.reader.read()
                    except ConnectionResetError:
                        continue
            if number % 10 == 0:
                assert str(await witness.outcome(event())) == "Accepted()"
        assert str(await witness.outcome(event())) == "Accepted()"
    assert bugs == []


@pytest.mark.parametrize("seed", range(2))
async def test_noise_is_answered_or_cut_off(azure: Emulator, seed: int) -> None:
    """Bytes at random, before and after the greeting, end their connection and nothing else."""
    rng = random.Random(seed)
    bugs: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: bugs.append(context))
    for _ in range(100):
        start = greeting(azure) if rng.random() < 0.5 else b""
        async with connect(azure) as peer:
            peer.send_bytes(start + rng.randbytes(rng.randint(1, 2000)))
            peer.writer.write_eof()
            async with asyncio.timeout(10):
                try:
                    await peer.reader.read()
                except ConnectionResetError:
                    continue
    async with connected(azure) as peer:
        await peer.sender("hub")
        assert str(await peer.outcome(event())) == "Accepted()"
    assert bugs == []


async def test_the_whole_conversation_undamaged_is_understood(azure: Emulator) -> None:
    """What the tests above damage is right in itself: it ends with the server's close, without an error."""
    async with connect(azure) as peer:
        peer.send_bytes(greeting(azure))
        assert await peer.read_bytes(8) == SASL_HEADER
        await peer.read_sasl()
        await peer.read_sasl()
        assert await peer.read_bytes(8) == AMQP_HEADER
        for frame in frames():
            peer.send_bytes(frame)
        assert (await peer.wait_for(Close)).error is None
    assert len(azure.received_events("hub")) == 3
    assert azure.amqp_requests.count("READ", "hub") == 1


async def test_a_hundred_silent_clients_do_not_hold_up_stopping(azure: Emulator) -> None:
    """Clients that say half of a header and no more are cut off when the emulator stops."""
    opened = [await asyncio.open_connection(*azure.amqp_authority.split(":")) for _ in range(100)]
    for _, writer in opened:
        writer.write(SASL_HEADER[:5])
    async with asyncio.timeout(10):
        await azure.stop()
    assert azure.connections("amqp").open == 0
    for _, writer in opened:
        writer.transport.abort()
