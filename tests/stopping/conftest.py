"""An account that the application reaches as it would Azure's: over TLS, with a managed identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator import Emulator
from tests.support.leftovers import nothing_is_left_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(autouse=True)
async def nothing_is_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Every test ends without a task, without an unclosed session, and without an error that only asyncio has seen."""
    with nothing_is_left_of(request):
        yield


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """The account, with the container shop/orders, the hub "events" and the queue "work"."""
    async with Emulator(tls=True) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        await azure.create_eventhub("events")
        await azure.create_queue("work")
        yield azure
