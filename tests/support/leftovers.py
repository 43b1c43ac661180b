"""The check that nothing is left of a test on its event loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


@contextmanager
def nothing_is_left_of(test: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test; afterwards there is no task, no unclosed session, and no error that only asyncio has seen."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    if inspect.iscoroutinefunction(test.function):
        gc.freeze()  # What was there before need not be looked at, which makes the collection short.
        yield
        gc.collect()
        gc.unfreeze()
    else:  # Opens nothing, and Hypothesis does not find its own random numbers among frozen objects.
        yield
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert complaints == []
