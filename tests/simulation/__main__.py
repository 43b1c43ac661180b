"""``python -m tests.simulation --seeds 1000000`` lives as many lives on all cores; ``--seed 17`` replays one, with its trace."""

from __future__ import annotations

import argparse
import os
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .runner import Failure, Report, live, live_on_all_cores
from .trace import Trace
from .worlds import WORLDS


def main() -> int:
    """Do as the command line says, and give the exit status: 1 if a seed has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seeds", type=int, default=100_000, help="how many seeds to live of each kind of world")
    what.add_argument("--seed", type=int, help="the one to replay")
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--world", choices=sorted(WORLDS), action="append", help="the kind of world; all by default")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many seeds to live at once")
    options = parser.parse_args()
    worlds = options.world or list(WORLDS)
    if options.seed is None:
        return explore(worlds, options.first, options.seeds, options.processes)
    return max(replay(world, options.seed) for world in worlds)


def replay(world: str, seed: int) -> int:
    """Live one life, printing what happens in it."""
    trace = Trace()
    steps = live(world, seed, trace)
    print(f"Seed {seed} of the world {world!r}, on Python {sys.version.split()[0]}.")
    print("   time, s   step who            what")
    print(trace)
    if isinstance(steps, Failure):
        print(steps)
        return 1
    print(f"All rules held over {steps} steps.")
    return 0


def explore(worlds: list[str], first: int, count: int, processes: int) -> int:
    """Live many lives, showing how it goes, up to the first that fails."""
    total = Report()
    started = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("seeds, {task.fields[rates]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("Simulating", total=count * len(worlds), rates="")
        for report in live_on_all_cores(worlds, first, count, processes):
            total.add(report)
            seconds = time.monotonic() - started
            rates = f"{total.seeds / seconds:,.0f}/s, {total.steps / seconds:,.0f} steps/s"
            progress.update(bar, completed=total.seeds, rates=rates)
            if total.failures:
                break
    if total.failures:
        print(total.failures[0])
        return 1
    seconds = time.monotonic() - started
    print(
        f"All rules held over {total.steps:,} steps of {total.seeds:,} lives ({', '.join(worlds)}; seeds {first:,} to"
        f" {first + count - 1:,}), in {seconds:,.0f} s, {processes} at a time."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
