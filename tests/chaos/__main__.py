"""``python -m tests.chaos --minutes 10 --seed 7``, or ``make chaos MINUTES=10 SEED=7``."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from .run import run


def show(line: str) -> None:
    """Show whoever sits at the terminal how it goes, on the line that showed it before."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line:<100}")
        sys.stderr.flush()


def main() -> int:
    """Make a run and print its report.

    Returns:
        The exit status: 0 when everything holds, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long the load lasts (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="repeats the faults of a run (default: a new one)")
    parser.add_argument("--per-second", type=float, default=15.0, help="requests (default: %(default)s)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIRECTORY", help="keep log, journal and data in this new directory"
    )
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        directory = Path(temporary) if options.keep is None else options.keep
        directory.mkdir(exist_ok=options.keep is None)
        report = asyncio.run(
            run(
                directory,
                seconds=options.minutes * 60,
                seed=seed,
                longest_seconds=8.0,
                per_second=options.per_second,
                sweep_seconds=5.0,
                tell=show,
            )
        )
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    print(report)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
