"""Forks a process at every stage of a pool's life; a program of its own, since a test's process may have threads."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fastapi_azure_pool.pool import ConnectionPool, PoolState
from tests.support.clients import admit
from tests.support.forking import in_a_forked_child
from tests.support.scripted_connector import ScriptedConnector, Transport
from tests.support.virtual_time import VirtualTimeLoop, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Pool = ConnectionPool[Transport]
    Stage = Callable[[Pool, ScriptedConnector], Awaitable[object]]


class OwnedConnector(ScriptedConnector):
    """Has a transport closed by the process that has opened it, and by no other."""

    async def create(self) -> Transport:
        """Open a transport that tells its process."""
        transport = await super().create()
        transport.number = os.getpid()
        return transport

    async def close(self, connection: Transport) -> None:
        """Close a transport of this process."""
        assert connection.number == os.getpid()
        await super().close(connection)


async def opening(pool: Pool, connector: ScriptedConnector) -> object:
    """Have a connection on its way, and two callers in line for it."""
    connector.create_seconds = None
    return await admit(pool, 2)


async def serving(pool: Pool, connector: ScriptedConnector) -> object:
    """Have a client."""
    return await admit(pool)


async def waiting(pool: Pool, connector: ScriptedConnector) -> object:
    """Have a client, and one in line."""
    return await admit(pool, 2)


async def draining(pool: Pool, connector: ScriptedConnector) -> object:
    """Have a client on a connection that is retired."""
    (client,) = await admit(pool)
    pool.expire(client.transport)
    return client


async def closing(pool: Pool, connector: ScriptedConnector) -> object:
    """Wait for a client to leave."""
    clients = await admit(pool)
    closing = asyncio.create_task(pool.close())
    await wait_until_blocked()
    return clients, closing


async def fork_at(stage: Stage) -> None:
    """Bring a pool to a stage, use it in a forked child, and see that the parent's has noticed nothing."""
    connector = OwnedConnector()
    pool = ConnectionPool(connector, client_limit=1, max_size=1)
    kept = await stage(pool, connector)
    before = pool.stats()

    async def use() -> list[PoolState]:
        connector.create_seconds = 0
        states = [pool.state]
        if pool.state is not PoolState.CLOSED:
            async with pool.get() as transport:
                assert transport.number == os.getpid()
        states.append(pool.state)
        await pool.close()
        assert [transport.times_closed for transport in connector.created if transport.number == os.getpid()] in (
            [],
            [1],
        )
        return states

    states = in_a_forked_child(use)
    is_closing = before.state is PoolState.CLOSING
    assert states == ([PoolState.CLOSED] * 2 if is_closing else [PoolState.NEW, PoolState.OPEN])
    assert pool.stats() == before
    await pool.close(0)
    assert [transport.times_closed for transport in connector.created] == [1] * len(connector.created)
    del kept


def main() -> None:
    """Fork at every stage, and tell each that went well."""
    for stage in (opening, serving, waiting, draining, closing):
        with asyncio.Runner(loop_factory=VirtualTimeLoop, debug=True) as runner:
            runner.run(fork_at(stage))
        print(stage.__name__)


if __name__ == "__main__":
    main()
