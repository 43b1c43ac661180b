"""Virtual time, a group commit under test, and the check that nothing is left of it."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sending import Sending
from tests.support.virtual_time import VirtualTimeLoop, virtual_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests under virtual time."""
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(autouse=True)
def seed() -> None:
    """Let every run draw the same lot: the pauses between retries are random."""
    random.seed(1)


@pytest.fixture
async def make_sending() -> AsyncIterator[Callable[..., Sending]]:
    """Make connections that send; afterwards each is closed, and must have left nothing behind."""
    loop = virtual_loop()
    made: list[Sending] = []

    def make(**options: Any) -> Sending:
        made.append(Sending(**options))
        return made[-1]

    yield make
    for sending in made:
        await sending.commit.close()
        sending.check_that_nothing_is_left()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect(1)
    assert loop.complaints == []


@pytest.fixture
async def sending(make_sending: Callable[..., Sending]) -> Sending:
    """One connection that sends."""
    return make_sending()
