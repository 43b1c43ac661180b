"""Callers who ask as fast as they are answered, and what is counted of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from .measuring import percentile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@dataclass(frozen=True, slots=True)
class Load:
    """What callers saw who asked as fast as they were answered.

    Attributes:
        answers: How many they got.
        seconds: For how long they were counted.
        p50: Seconds that half of the answers did not exceed.
        p99: Seconds that 99 % of the answers did not exceed.
        processor_seconds: Processor time that the measured process, the callers' own or the server that they ask, used meanwhile;
            nan where it cannot be read.
        strangers_seconds: Processor time that others took on the same cores; nan where it cannot be read.
    """

    answers: int
    seconds: float
    p50: float
    p99: float
    processor_seconds: float
    strangers_seconds: float

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    @property
    def processor_per_answer(self) -> float:
        """Seconds of the measured process's processor time for one answer."""
        return self.processor_seconds / max(self.answers, 1)

    @property
    def utilisation(self) -> float:
        """How much of one core the measured process used."""
        return self.processor_seconds / self.seconds

    @property
    def is_disturbed(self) -> bool:
        """Whether somebody else's work on the same cores took more than a tenth of one."""
        return self.strangers_seconds > 0.1 * self.seconds


async def keep_busy(
    steps: Callable[[int], Iterator[Awaitable[object]]], callers: int, warm_up: float, seconds: float
) -> dict[str, float]:
    """Have callers ask as fast as they are answered, and count the answers: a `Load` but for the strangers.

    Args:
        steps: What a caller, counted from 0, does one after the other; each is begun when it is taken.
        callers: How many.
        warm_up: Seconds before the counting.
        seconds: For how long to count.
    """
    counts_from = perf_counter() + warm_up
    ends_at = counts_from + seconds
    latencies: list[float] = []
    used: list[float] = []
    for moment in (warm_up, warm_up + seconds):
        asyncio.get_running_loop().call_later(moment, lambda: used.append(process_time()))

    async def call(caller: int) -> None:
        own_steps = steps(caller)
        while (started := perf_counter()) < ends_at:
            await next(own_steps)
            if counts_from <= (now := perf_counter()) < ends_at:
                latencies.append(now - started)

    await asyncio.gather(*map(call, range(callers)))
    latencies.sort()
    return {
        "answers": len(latencies),
        "seconds": seconds,
        "p50": percentile(latencies, 0.50),
        "p99": percentile(latencies, 0.99),
        "processor_seconds": used[1] - used[0],
    }
