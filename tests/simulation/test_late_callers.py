"""A caller who sees its place only after the pool has closed under it; asyncio itself does not bring that about."""

from __future__ import annotations

import random

from fastapi_azure_pool.pool import ConnectionPool
from tests.simulation.loop import SeededLoop
from tests.support.clients import Client
from tests.support.scripted_connector import ScriptedConnector
from tests.support.virtual_time import let_time_pass, wait_until_blocked


async def close_in_the_moment_of_serving() -> None:
    """Hand a place over and close the pool at once; leave when that is done."""
    pool = ConnectionPool(ScriptedConnector(), 1, 1, max_idle_seconds=None, leak_warning_seconds=100)
    clients = [Client(pool), Client(pool)]
    await wait_until_blocked()
    served, waiting = sorted(clients, key=lambda client: client.is_waiting)
    served.leave()
    await pool.close(0)
    await let_time_pass(1)
    waiting.leave()


def test_no_timer_is_left() -> None:
    """Nothing is left of the pool, whatever the order."""
    for seed in range(100):
        loop = SeededLoop(random.Random(seed))
        loop.run_until_complete(close_in_the_moment_of_serving())
        assert loop.leftovers() == []
        loop.close()
