"""Lives many seeds, on one core or on all, and tells which failed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import multiprocessing
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .trace import Trace
from .worlds import WORLDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SEEDS_AT_A_TIME = 200
"""Seeds that a process is given at a time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed under which a rule was broken.

    Attributes:
        world: The name of the kind of world.
        seed: The seed.
        report: The error, with its traceback.
    """

    world: str
    seed: int
    report: str

    def __str__(self) -> str:
        return f"{self.report}\nseed {self.seed} of the world {self.world!r} failed; replay it with: {self.replay}"

    @property
    def replay(self) -> str:
        """The command that lives this life again, with a trace."""
        return f"make simulate WORLD={self.world} SEED={self.seed}"


@dataclass(slots=True)
class Report:
    """How many lives it were.

    Attributes:
        seeds: Lives that were lived, those that failed included.
        steps: Steps taken in those that did not fail.
        failures: Those that did, in the order of being found.
    """

    seeds: int = 0
    steps: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count in what another process has lived."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.failures += other.failures


def live(world: str, seed: int, trace: Trace) -> int | Failure:
    """Live one life, and give its steps, or how it failed."""
    try:
        return WORLDS[world](seed, trace).run()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, the life has failed
        return Failure(world, seed, "".join(traceback.format_exception(error)).rstrip())


def live_all(world: str, seeds: Iterable[int]) -> Report:
    """Live lives without a trace, up to the first that fails."""
    report = Report()
    for seed in seeds:
        report.seeds += 1
        steps = live(world, seed, Trace(is_kept=False))
        if isinstance(steps, Failure):
            report.failures.append(steps)
            break
        report.steps += steps
    return report


def live_on_all_cores(worlds: Sequence[str], first: int, count: int, processes: int) -> Iterator[Report]:
    """Live so many seeds of each kind of world, and give a report whenever a few more have been lived.

    Args:
        worlds: The kinds of world.
        first: The first seed.
        count: How many.
        processes: How many to live at once.
    """
    chunks = (
        (world, range(start, min(start + SEEDS_AT_A_TIME, first + count)))
        for start in range(first, first + count, SEEDS_AT_A_TIME)
        for world in worlds
    )
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context, initializer=gc.freeze) as executor:
        pending = {executor.submit(live_all, *chunk) for chunk in itertools.islice(chunks, 2 * processes)}
        try:
            while pending:
                done, pending = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
                for chunk in itertools.islice(chunks, len(done)):
                    pending.add(executor.submit(live_all, *chunk))
                for future in done:
                    yield future.result()
        finally:
            executor.shutdown(cancel_futures=True)
