"""Rule 1: the fewest clients first, and among those the connection that is longest at its count."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from fastapi_azure_pool.pool import SharedTransportConnection
from fastapi_azure_pool.pool.ledger import Ledger
from tests.support.clients import admit
from tests.support.virtual_time import let_time_pass

if TYPE_CHECKING:
    from tests.support.pools import MakePool


async def test_the_connection_with_the_fewest_clients_is_chosen(make_pool: MakePool) -> None:
    """A caller gets the connection that the fewest share, whatever the order in which they were opened."""
    pool = make_pool(client_limit=3, max_size=3, min_size=3, max_concurrent_creates=3)
    await pool.open()
    clients = await admit(pool, 7)
    assert [client.transport.number for client in clients] == [0, 1, 2, 0, 1, 2, 0]
    clients[4].leave()
    assert (await admit(pool))[0].transport.number == 1
    assert (await admit(pool))[0].transport.number == 2


async def test_ties_go_to_the_connection_longest_at_its_count(make_pool: MakePool) -> None:
    """Of two connections with as many clients, the one that got there first is chosen."""
    pool = make_pool(client_limit=5, max_size=2, min_size=2, max_concurrent_creates=2)
    await pool.open()
    first, second, third = await admit(pool, 3)
    assert [client.transport.number for client in (first, second, third)] == [0, 1, 0]
    third.leave()  # Connection 0 is back at one client, and has been there for a shorter time than connection 1.
    assert (await admit(pool))[0].transport.number == 1
    assert (await admit(pool))[0].transport.number == 0


async def test_idle_ties_go_to_the_longest_idle(make_pool: MakePool) -> None:
    """Of the idle connections, the one whose last client left first is chosen: none is forgotten until it is stale."""
    pool = make_pool(client_limit=1, max_size=3, min_size=3, max_concurrent_creates=3)
    await pool.open()
    clients = await admit(pool, 3)
    for place in (2, 0, 1):
        clients[place].leave()
        await let_time_pass(1)
    assert [client.transport.number for client in await admit(pool, 3)] == [2, 0, 1]


def test_ten_thousand_connections_are_chosen_from_without_looking_at_each() -> None:
    """A checkout and a checkin touch one connection: the others are not even looked at, however many there are."""
    looked_at = 0

    class Watched(SharedTransportConnection[str]):
        __slots__ = ()

        def __getattribute__(self, name: str) -> object:
            nonlocal looked_at
            looked_at += 1
            return super().__getattribute__(name)

    costs = []
    for size in (2, 10_000):
        ledger: Ledger[str] = Ledger(2, time.monotonic)
        for _ in range(size):
            ledger.add(Watched(2, None, time.monotonic))
        looked_at = 0
        connection = ledger.take()
        assert connection is not None
        ledger.give(connection)
        costs.append(looked_at)
    assert costs[0] == costs[1]


def test_no_clock_is_read_to_compare() -> None:
    """The order of choice comes from the order of events; the clock is read only when a last client leaves."""
    readings = 0

    def clock() -> float:
        nonlocal readings
        readings += 1
        return 0.0

    ledger: Ledger[str] = Ledger(3, clock)
    for _ in range(4):
        ledger.add(SharedTransportConnection(3, None, clock))
    taken = list(iter(ledger.take, None))
    assert len(taken) == 12
    for connection in taken[:8]:
        ledger.give(connection)
    assert readings == 0
    for connection in taken[8:]:
        ledger.give(connection)
    assert readings == 4


def test_the_ledger_agrees_with_a_list() -> None:
    """Over thousands of random steps, the ledger chooses as a plain list does that is searched from end to end."""
    chance = random.Random(1)
    ledger: Ledger[str] = Ledger(3, time.monotonic)
    members: list[SharedTransportConnection[str]] = []  # In order of arrival at their count.
    for step in range(5000):
        action = chance.choice(("add", "take", "take", "take", "give", "give", "remove", "trim"))
        used = [connection for connection in members if connection.current_client_count]
        if action == "add" and len(members) < 6:
            connection: SharedTransportConnection[str] | None = SharedTransportConnection(3, None, time.monotonic)
            assert connection is not None
            ledger.add(connection)
            members.append(connection)
        elif action == "take":
            expected = min(members, key=lambda member: member.current_client_count, default=None)
            if expected is not None and expected.current_client_count == 3:
                expected = None
            assert ledger.take() is expected, step
            if expected is not None:
                members.remove(expected)
                members.append(expected)
        elif action == "give" and used:
            connection = chance.choice(used)
            ledger.give(connection)
            members.remove(connection)
            members.append(connection)
        elif action == "remove" and members and chance.random() < 0.3:
            connection = chance.choice(members)
            ledger.remove(connection)
            members.remove(connection)
        elif action == "trim":
            ledger.trim()
            assert len(ledger._buckets) == 1 + max((member.current_client_count for member in members), default=0)
        assert list(ledger) == sorted(members, key=lambda member: member.current_client_count)
        assert list(ledger.idle()) == [member for member in members if not member.current_client_count]
        assert ledger.clients == sum(member.current_client_count for member in members)
        assert ledger.lowest == min((member.current_client_count for member in members), default=3)
