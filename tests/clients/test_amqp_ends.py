"""How connections end: by the service while they are idle or full of waiting callers, by a stall, or by their client."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool import SendError, SendInterrupted, SendTimedOut
from tests.clients.messaging import pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.clients.messaging import Messaging


async def test_an_entity_that_refuses_joining_gets_its_messages_one_by_one(
    messaging: Messaging, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was stored of the refused batch: its messages go singly, joining stops, and one warning says so."""
    words = "Batching brokered messages with distinct SessionId, PartitionKey, or MessageId is not supported"
    async with messaging.client(max_size=1) as client:
        messaging.azure.faults.reject("amqp:not-allowed", words, path=messaging.entity, times=1)
        await asyncio.gather(*(messaging.send(client, f"{number}", "a") for number in range(5)))
        assert messaging.transfers == 6
        await asyncio.gather(*(messaging.send(client, f"{number}", "a") for number in range(5, 10)))
        assert messaging.transfers == 11
    assert messaging.stored() == [f"{number}".encode() for number in range(10)]
    assert sum("one by one" in record.getMessage() for record in caplog.records) == 1


async def test_a_stall_costs_the_time_for_sending_and_the_connection(messaging: Messaging) -> None:
    """A service that takes a message and never answers: the caller hears in time that nobody knows, and another opens."""
    async with messaging.client(send_timeout_seconds=0.3) as client:
        stalled = pooled(client)
        messaging.azure.faults.stall(method="TRANSFER", times=1)
        with pytest.raises(SendTimedOut) as late:
            await messaging.send(client, "one")
        assert late.value.maybe_delivered
        assert isinstance(late.value, (TimeoutError, messaging.error))
        await messaging.settle_down(client)
        assert pooled(client) is not stalled
        await messaging.send(client, "two")
    assert messaging.stored() == [b"two"]


@pytest.mark.parametrize("way", ["detached", "closed", "dropped"])
async def test_an_idle_connection_that_the_service_ends_is_replaced_unasked(messaging: Messaging, way: str) -> None:
    """Nobody sends, and yet the end is noticed and a successor opened, so that the next send opens nothing."""
    faults = messaging.azure.faults
    ends: dict[str, Callable[[], int]] = {
        "detached": faults.detach_links,
        "closed": faults.close_connections,
        "dropped": lambda: faults.drop_connections("amqp"),
    }
    async with messaging.client() as client:
        before = pooled(client)
        assert ends[way]() >= 1
        await eventually(lambda: before.commit.is_closed)
        await messaging.settle_down(client)
        assert pooled(client) is not before
        opened = messaging.count("OPEN")
        await messaging.send(client, "one")
        assert messaging.count("OPEN") == opened == 2
    assert messaging.stored() == [b"one"]


async def test_what_waits_when_the_connection_ends_goes_over_the_next(messaging: Messaging) -> None:
    """Only what was in flight is unknown: what had not left is sent over another connection, unasked."""
    async with messaging.client(max_size=1) as client:
        with messaging.azure.faults.stall(method="TRANSFER", times=1) as stall:
            first = asyncio.create_task(messaging.send(client, "one", "a"))
            await eventually(lambda: stall.strikes)
            others = [asyncio.create_task(messaging.send(client, f"{number}", "a")) for number in range(5)]
            await eventually(lambda: client.pool.stats().clients == 6)
        messaging.azure.faults.drop_connections("amqp")
        with pytest.raises(SendInterrupted):
            await first
        await asyncio.gather(*others)
    assert messaging.stored() == [b"0", b"1", b"2", b"3", b"4"]


async def test_no_send_outlives_its_client(messaging: Messaging) -> None:
    """Closing the client at once tells everyone who still waits."""
    client = messaging.client()
    await client.open()
    with messaging.azure.faults.stall(method="TRANSFER"):
        sends = [asyncio.create_task(messaging.send(client, f"{number}", "a")) for number in range(3)]
        await eventually(lambda: messaging.transfers)
        await client.close(0)
        answers = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(answer, SendError) and answer.maybe_delivered for answer in answers)
    await eventually(lambda: messaging.open_connections == 0)


async def test_a_connection_is_closed_by_both_sides(messaging: Messaging) -> None:
    """The socket is kept until the service has answered the close: what it had not read by then, a reset would take from it."""
    client = messaging.client()
    await messaging.send(client, "one")
    with messaging.azure.faults.delay(0.2, service="amqp", method="CLOSE"):
        started = time.monotonic()
        await client.close()
        assert time.monotonic() - started >= 0.2
    assert (messaging.count("CLOSE"), messaging.open_connections) == (1, 0)


async def test_a_close_that_is_not_answered_ends(messaging: Messaging) -> None:
    """A service that does not answer the close holds it up for half a second."""
    client = messaging.client()
    await client.open()
    with messaging.azure.faults.stall(method="CLOSE"):
        started = time.monotonic()
        await client.close()
        assert 0.5 <= time.monotonic() - started < 4
    await eventually(lambda: messaging.open_connections == 0)


async def test_a_connection_whose_closing_stalls_is_cut(messaging: Messaging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where closing is broken off before the SDK has closed anything, the socket is closed all the same."""
    async with messaging.client(close_timeout=0.1) as client:
        commit = pooled(client).commit
        close = commit.close
        monkeypatch.setattr(commit, "close", asyncio.Event().wait)
    await eventually(lambda: messaging.open_connections == 0)
    await close()
