"""Idle connections: who must say something, and what happens when nobody does."""

from __future__ import annotations

import asyncio

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.amqp.performatives import Close, Open
from tests.emulator.amqp.amqp_peer import PATIENCE, connect


async def test_a_silent_client_is_cut_off() -> None:
    """A client that sends no frame within the time-out that it was told loses its connection, as on Azure."""
    async with Emulator(amqp_idle_timeout_seconds=0.1) as azure, connect(azure) as peer:
        assert (await peer.open()).idle_time_out == 100
        error = (await peer.expect(Close)).error
        assert error is not None
        assert (error.condition, error.description) == (
            "amqp:connection:forced",
            "The connection was inactive for more than the allowed 100 milliseconds.",
        )
        peer.send(Close())
        await peer.expect_end()


async def test_a_client_that_never_begins_is_cut_off_too() -> None:
    """A connection on which nothing is ever said is not kept for ever."""
    async with Emulator(amqp_idle_timeout_seconds=0.05) as azure, connect(azure) as peer:
        await peer.expect_end()


async def test_empty_frames_keep_a_connection() -> None:
    """A client that has nothing to say sends empty frames, and keeps its connection many time-outs long."""
    async with Emulator(amqp_idle_timeout_seconds=0.3) as azure, connect(azure) as peer:
        await peer.open(idle_time_out=100)
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.0
        while loop.time() < until:
            # the server's own empty frames, every 50 ms, set the pace
            assert (await peer.read()).performative is None
            peer.send(None)
        await peer.close()


async def test_the_server_sends_empty_frames_to_a_client_that_wants_them() -> None:
    """A client that announces a time-out hears from the server twice as often."""
    async with Emulator() as azure, connect(azure) as peer:
        await peer.open(idle_time_out=80)
        started = asyncio.get_running_loop().time()
        for _ in range(5):
            assert (await peer.read()).performative is None
        assert asyncio.get_running_loop().time() - started >= 4 * 0.04
        await peer.close()


async def test_without_a_time_out_the_server_is_silent(azure: Emulator) -> None:
    """A client that wants nothing gets no frame that it did not cause."""
    async with connect(azure) as peer:
        answer = await peer.open()
        assert isinstance(answer, Open)
        await peer.close()
        async with asyncio.timeout(PATIENCE):
            assert await peer.reader.read() == b""
