"""Virtual time, a pool under test, and the check that nothing is left of it."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool.pool import ConnectionPool
from tests.support import invariants
from tests.support.scripted_connector import ScriptedConnector, TellingConnector, Transport
from tests.support.virtual_time import VirtualTimeLoop, virtual_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.pools import MakePool


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of the pool under virtual time."""
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(autouse=True)
def seed() -> None:
    """Let every run draw the same lot: back-off and lifespans are random."""
    random.seed(1)


@pytest.fixture
async def connector() -> ScriptedConnector:
    """A connector that does as the test tells it."""
    return ScriptedConnector()


@pytest.fixture
async def telling_connector() -> TellingConnector:
    """A connector that knows when a connection is dead."""
    return TellingConnector()


@pytest.fixture
async def make_pool(connector: ScriptedConnector) -> AsyncIterator[MakePool]:
    """Make pools of the scripted connector, or of another; afterwards each is closed, and must have left nothing behind."""
    loop = virtual_loop()
    made: list[tuple[ConnectionPool[Transport], ScriptedConnector]] = []

    def make(connector: ScriptedConnector = connector, **sizes: Any) -> ConnectionPool[Transport]:
        made.append((ConnectionPool(connector, **sizes), connector))
        return made[-1][0]

    yield make
    for pool, _ in made:
        await pool.close(0)
    for _, its_connector in made:
        invariants.every_connection_was_closed_exactly_once(its_connector)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect(1)
    assert loop.complaints == []
