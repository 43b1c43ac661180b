"""When to try again after a connection could not be opened."""

from __future__ import annotations

import random

FIRST_DELAY_SECONDS = 0.5
LAST_DELAY_SECONDS = 30.0


class Backoff:
    """Exponential back-off with full jitter: a random part of 0.5 s, then of 1, 2, 4 ... up to 30 s.

    Attributes:
        error: What the last attempt met; None after a success.
        retry_at: When to try again, on the event loop's clock; None when a try may be made now.

    Source:
        Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015): full jitter finishes soonest with least work.
    """

    __slots__ = ("_failures", "error", "retry_at")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.retry_at: float | None = None
        self._failures = 0

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self.error is not None

    def failed(self, error: BaseException, now: float) -> float:
        """Note a failed attempt and return when to make the next one; attempts in flight together count as one."""
        self.error = error
        if self.retry_at is None:
            ceiling = min(LAST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**self._failures)
            if ceiling < LAST_DELAY_SECONDS:
                self._failures += 1
            self.retry_at = now + random.uniform(0.0, ceiling)  # noqa: S311 - spreads load, guards no secret
        return self.retry_at

    def succeeded(self) -> None:
        """Note an attempt that worked: the next failure waits the shortest time again."""
        self.error = None
        self.retry_at = None
        self._failures = 0

    def rest(self) -> None:
        """Let the last failure be history, for nothing more is to be opened; the next one waits as long as it would have."""
        self.error = None

    def elapse(self, now: float) -> None:
        """Allow the next attempt, if its time has come."""
        if self.retry_at is not None and now >= self.retry_at:
            self.retry_at = None

    def seconds_left(self, now: float) -> float:
        """Seconds until the next attempt, at least 0.0."""
        return 0.0 if self.retry_at is None else max(0.0, self.retry_at - now)
