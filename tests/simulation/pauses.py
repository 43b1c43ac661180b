"""Back-off: how long a pool pauses after a failure, and how it begins again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.pool.backoff import FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS

if TYPE_CHECKING:
    from fastapi_azure_pool.pool.generation import Generation


class PauseWatch:
    """Watches a pool's pauses from one step to the next, and counts by itself how many there were since the last success."""

    def __init__(self) -> None:
        self._generation: Generation[Any] | None = None
        self._opened_before = 0
        self._was_failing = False
        self._retry_at: float | None = None
        self._opening_before = 0
        self._pauses = 0

    def look(self, generation: Generation[Any] | None) -> None:
        """Look at a pool after a step: a pause is no longer than it may be, and one attempt at a time follows it."""
        if generation is None:
            return
        opened, opening, backoff = generation._counters.opened, len(generation.tasks.opening), generation.backoff
        if generation is not self._generation or opened != self._opened_before:
            self._pauses = 0
        if backoff.retry_at is not None and backoff.retry_at != self._retry_at:
            longest = min(LAST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**self._pauses)
            assert backoff.seconds_left(generation._now()) <= longest, f"a pause of more than {longest} s"
            self._pauses += 1
        if generation is self._generation and self._was_failing and backoff.is_failing:
            assert opening <= max(1, self._opening_before), "several attempts ask a service that is failing"
        self._generation, self._opened_before, self._opening_before = generation, opened, opening
        self._was_failing, self._retry_at = backoff.is_failing, backoff.retry_at
