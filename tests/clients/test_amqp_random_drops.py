"""What must never happen: a message lost after its caller was told, one too many, a caller without an answer."""

from __future__ import annotations

import pytest

from fastapi_azure_pool.clients import flights
from fastapi_azure_pool.pool import backoff
from tests.support import random_drops

MESSAGES = 10_000
SEED = 1


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses before retries, a hundredth as long."""
    monkeypatch.setattr(flights, "_RETRY_SECONDS", (0.01, 0.02, 0.04))
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECONDS", 0.005)


@pytest.mark.parametrize("service", random_drops.SERVICES)
async def test_the_books_balance_under_random_drops(service: str) -> None:
    """Every caller has an answer, and what is stored is what they were told, in each caller's order."""
    books = await random_drops.run(service, messages=MESSAGES, seed=SEED)
    assert books.answered == MESSAGES
    assert books.lost == set()
    assert books.unexpected == set()
    assert books.most_copies == 1
    assert books.out_of_order == []
    # The faults were felt, and most messages went through nevertheless: how many depends on how busy the machine is.
    assert set(books.faults) == set(random_drops.FAULTS)
    assert books.uncertain
    assert sum(map(len, books.acknowledged.values())) > MESSAGES * 0.5


@pytest.mark.parametrize("service", random_drops.SERVICES)
async def test_what_is_tried_again_is_there_no_more_often_than_it_was_tried(service: str) -> None:
    """With two attempts the books balance too; a message may be there twice, and never a third time."""
    books = await random_drops.run(service, messages=MESSAGES // 10, seed=SEED, send_attempts=2)
    assert books.answered == MESSAGES // 10
    assert books.lost == set()
    assert books.unexpected == set()
    assert books.most_copies <= 2
    assert books.out_of_order == []
