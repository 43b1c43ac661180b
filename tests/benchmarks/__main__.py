"""``python -m tests.benchmarks``: measure against the peers, and write the documentation's page about it."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from . import (
    checkout,
    cold_start,
    contention,
    downloading,
    emulator_start,
    end_to_end,
    idle,
    report,
    sending,
    sending_costs,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from .measuring import Outcome

    Benchmark = Callable[..., Awaitable[Outcome]]

BENCHMARKS: dict[str, Any] = {
    "checkout": checkout.run,
    "cold-start": cold_start.run,
    "contention": contention.run,
    "idle": idle.run,
    "end-to-end": end_to_end.run,
    "downloading": downloading.run,
    "sending": sending.run,
    "sending-costs": sending_costs.run,
    "emulator-start": emulator_start.run,
}
DOCUMENTATION = Path(__file__).parents[2] / "docs"


def main() -> None:
    """Run the benchmarks that were asked for, each on an event loop of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "benchmarks", nargs="*", metavar="BENCHMARK", help=f"some of {', '.join(BENCHMARKS)}; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="few and short repeats: for a look, not for a figure")
    parser.add_argument(
        "--output",
        type=Path,
        help="the folder for benchmarks.md and its plot; default: docs after a whole run, nowhere after a quick or partial one",
    )
    options = parser.parse_args()
    unknown = set(options.benchmarks) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"there is no benchmark {min(unknown)!r}: choose from {', '.join(BENCHMARKS)}")
    names = options.benchmarks or list(BENCHMARKS)
    output = options.output
    if output is None and not options.quick and set(names) == set(BENCHMARKS):
        output = DOCUMENTATION
    # Being terminated ends the processes of the end-to-end benchmark as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(report.machine())
    outcomes = []
    for name in names:
        outcomes.append(asyncio.run(BENCHMARKS[name](is_quick=options.quick)))
        print(report.terminal(outcomes[-1]), flush=True)
    if output is not None:
        (output / report.PLOT).parent.mkdir(parents=True, exist_ok=True)
        report.plot(outcomes, output / report.PLOT)
        page = output / "benchmarks.md"
        page.write_text(report.markdown(outcomes))
        print(f"\nWrote {page} and {output / report.PLOT}.")


if __name__ == "__main__":
    main()
