"""An emulator, pools of a scripted connector, and the check that nothing is left of a test."""

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


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK asks an account that refuses it four times, half a second apart; here, without waiting."""
    monkeypatch.setenv("AZURE_COSMOS_HEALTH_CHECK_RETRY_AFTER_MS", "1")


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container shop/orders."""
    async with Emulator() as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        yield azure
