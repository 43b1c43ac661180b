"""Times at which items fall due."""

from __future__ import annotations

import math
import random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.due import DueTimes


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "add", "add", "discard", "pop"]), st.integers(0, 40), st.integers(0, 99)),
        max_size=200,
    )
)
@settings(deadline=None, derandomize=True, database=None)
def test_items_come_in_the_order_of_their_last_times(steps: list[tuple[str, int, int]]) -> None:
    """As a plain dict of times says, whatever is added again, taken away or popped between."""
    with patch("fastapi_azure_pool.emulator.due._TOLERATED", 0):
        _check(steps)


def _check(steps: list[tuple[str, int, int]]) -> None:
    due: DueTimes[int] = DueTimes()
    times: dict[int, float] = {}
    for what, item, when in steps:
        if what == "add":
            due.add(when, item)
            times[item] = when
        elif what == "discard":
            due.discard(item)
            times.pop(item, None)
        else:
            popped = list(due.pop_due(when))
            assert sorted(popped) == sorted(item for item, time in times.items() if time <= when)
            assert [times[item] for item in popped] == sorted(times[item] for item in popped)
            times = {item: time for item, time in times.items() if time > when}
        assert len(due) == len(times)
        assert due.next_due == min(times.values(), default=math.inf)


def test_the_order_survives_many_that_are_taken_away() -> None:
    """As above over a thousand steps, most of which take something away again."""
    lot = random.Random(1)
    steps = [("add", item, lot.randrange(1000)) for item in range(200)]
    kinds = ("add", "discard", "discard")
    steps += [(lot.choice(kinds), lot.randrange(200), lot.randrange(1000)) for _ in range(1000)]
    with patch("fastapi_azure_pool.emulator.due._TOLERATED", 0):
        _check([*steps, ("pop", 0, 1000)])


def test_what_was_taken_away_takes_no_room() -> None:
    """A hundred thousand items that come and go leave a heap of a few."""
    due: DueTimes[int] = DueTimes()
    for item in range(100_000):
        due.add(item, item)
        due.discard(item)
    assert len(due._heap) < 200
