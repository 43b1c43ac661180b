"""``python -m tests.soak``: check out and ask for long enough to see whether anything is left of it."""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import signal
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from .load import Load
from .measuring import complaints, slope
from .running import MEGABYTE, checkouts, requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .measuring import Measurement

CHECKOUTS = 2_000_000
REQUESTS = 200_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, run both parts, and tell what was measured.

    Returns:
        The exit status: 0, or 1 when live objects or traced memory have grown.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--checkouts", type=int, default=CHECKOUTS, metavar="N", help="default %(default)s; 0 for none")
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N", help="default %(default)s; 0 for none")
    parser.add_argument(
        "--leak-from",
        type=float,
        default=math.inf,
        metavar="N",
        help="keep something for each checkout and request from the Nth on, to see that it is found",
    )
    options = parser.parse_args(arguments)
    # Being terminated ends the processes as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return asyncio.run(_run(options.checkouts, options.requests, options.leak_from))


async def _run(checkout_count: int, request_count: int, leak_from: float) -> int:
    found = 0
    if checkout_count:
        async with checkouts(_tenths(checkout_count), leak_from=leak_from, with_lines=True) as measured:
            found += await _tell("checkouts", measured)
    if request_count:
        load = Load(random.Random(1))
        async with requests(_tenths(request_count), load, leak_from=leak_from, with_lines=True) as measured:
            found += await _tell("requests", measured)
        for (kind, status), count in sorted(load.answers.items()):
            print(f"{count:>12,}  {kind}: {status or 'no answer'}")
        for line in load.complaints:
            print(line)
        found += len(load.complaints)
    return 1 if found else 0


def _tenths(count: int) -> list[int]:
    return [count * tenth // 10 for tenth in range(1, 11)]


async def _tell(what: str, measured: AsyncIterator[Measurement]) -> int:
    """Write what is measured, when it is; give how many lines of complaint there are."""
    started = perf_counter()
    print(f"{what:>12} {'live objects':>14} {'traced memory':>16} {'resident set':>14}", flush=True)
    every = []
    async for one in measured:
        every.append(one)
        resident = f"{one.resident / MEGABYTE:.1f} MB"
        print(f"{one.operations:>12,} {one.objects:>14,} {one.traced:>16,} {resident:>14}", flush=True)
    first, last = every[0], every[-1]
    print(
        f"After the first tenth: live objects {last.objects / first.objects - 1:+.2%}, "
        f"traced memory {last.traced / first.traced - 1:+.2%}, "
        f"resident set {slope(every):+,.0f} bytes per 1,000 {what}; {perf_counter() - started:,.0f} s."
    )
    found = complaints(first, last)
    for line in found:
        print(line)
    print(flush=True)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
