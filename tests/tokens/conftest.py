"""Virtual time, token keepers under test, and the check that nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.clients.token_keeper import TokenKeeper
from tests.support.virtual_time import VirtualTimeLoop, virtual_loop
from tests.tokens.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests under virtual time."""
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(autouse=True)
def seed() -> None:
    """Let every run draw the same lot: when a token is renewed is random."""
    random.seed(1)


@pytest.fixture
async def endpoint() -> Endpoint:
    """A credential with a token endpoint behind it that does as the test tells it."""
    return Endpoint()


@pytest.fixture
async def keeper(endpoint: Endpoint) -> AsyncIterator[TokenKeeper]:
    """What keeps the tokens of that credential; closed afterwards, and nothing is left of it, nor was asked twice at once."""
    loop = virtual_loop()
    keeper = TokenKeeper(endpoint, None, clock=loop.time)
    yield keeper
    await keeper.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect(1)
    assert loop.complaints == []
    assert endpoint.most_at_once == 1
