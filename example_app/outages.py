"""What to do while a service is away: wait, longer each time, and say so once."""

from __future__ import annotations

import asyncio
import logging
import random

from azure.core.exceptions import AzureError

from fastapi_azure_pool import PoolError

_logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0

# What services do when they are away. Anything else is a mistake of ours, whose place the log has to tell.
_EXPECTED = (AzureError, PoolError, OSError)


class Outage:
    """Tells how long to wait before the next attempt, and the log when a service goes away and when it is back.

    Args:
        work: What stands still meanwhile, such as "confirming orders".
        longest_pause: Seconds between two attempts at most, above 0; by default 30.
    """

    def __init__(self, work: str, *, longest_pause: float = _LONGEST_PAUSE) -> None:
        self._work = work
        self._longest_pause = longest_pause
        self._attempts = 0

    def note(self, error: BaseException) -> float:
        """Note a failed attempt, and give the seconds to wait: doubling from 0.5, each with up to half of it taken off at random.

        The log gets the type of what failed, since its text may name what is nobody's business.
        """
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        is_expected = isinstance(error, _EXPECTED)
        if not (self._attempts and is_expected):
            _logger.warning(
                "%s stands still: %s", self._work, type(error).__name__, exc_info=None if is_expected else error
            )
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._attempts, 20), self._longest_pause)
        self._attempts += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, and keeps no secret

    def end(self) -> None:
        """Note that it works (again)."""
        if self._attempts:
            _logger.warning("%s goes on", self._work)
            self._attempts = 0


async def wait(stopping: asyncio.Event, seconds: float) -> None:
    """Wait so many seconds, but no longer than until the service is to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
