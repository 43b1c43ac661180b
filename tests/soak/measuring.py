"""What a process holds at one moment, and whether it holds more than before."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Self

from tests.benchmarks.proc import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE = 0.01
"""The part by which live objects and traced memory may grow after the first tenth."""

SHOWN = 12
"""Types and lines of code that are shown at most."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a process holds after so many operations, with nothing under way.

    Attributes:
        operations: Checkouts or requests so far.
        objects: Live objects that the garbage collector knows.
        traced: Bytes that Python's allocators have given out, by tracemalloc.
        resident: Bytes of the resident set.
        types: Live objects by type.
        lines: Traced bytes by the line of code that asked for them; only where that was wanted.
    """

    operations: int
    objects: int
    traced: int
    resident: int
    types: dict[str, int]
    lines: dict[str, int] = field(default_factory=dict)

    @classmethod
    def take(cls, operations: int, *, with_lines: bool) -> Self:
        """Collect the garbage and measure this process."""
        while gc.collect():  # What finalizers let go of is garbage for the next turn.
            pass
        traced, _ = tracemalloc.get_traced_memory()
        resident = resident_bytes()
        live = gc.get_objects()
        objects = len(live)
        types = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in live)
        del live
        lines = {}
        if with_lines:
            statistics = tracemalloc.take_snapshot().statistics("lineno")
            lines = {f"{one.traceback[0].filename}:{one.traceback[0].lineno}": one.size for one in statistics}
        return cls(operations, objects, traced, resident, dict(types), lines)

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Read what `write` gave."""
        return cls(**json.loads(text))

    def write(self) -> str:
        """Give it as one line of JSON."""
        return json.dumps(asdict(self))


def slope(measurements: Sequence[Measurement]) -> float:
    """Give the growth of the resident set after the first tenth, in bytes per 1,000 operations, by least squares.

    Without the first measurement, which makes the resident set grow by itself: it is the first to look at every object.
    """
    measurements = measurements[1:]
    count = len(measurements)
    middle = sum(one.operations for one in measurements) / count
    mean = sum(one.resident for one in measurements) / count
    spread = sum((one.operations - middle) ** 2 for one in measurements)
    return 1000 * sum((one.operations - middle) * (one.resident - mean) for one in measurements) / spread


def complaints(first: Measurement, last: Measurement) -> list[str]:
    """Tell what has grown by more than `TOLERANCE`, and of what there is more; nothing where all is well."""
    found = []
    if last.objects > first.objects * (1 + TOLERANCE):
        found.append(f"live objects grew from {first.objects:,} to {last.objects:,}:")
        found += _grown(first.types, last.types, "{:+,} {}")
    if last.traced > first.traced * (1 + TOLERANCE):
        found.append(f"traced memory grew from {first.traced:,} to {last.traced:,} bytes:")
        found += _grown(first.lines, last.lines, "{:+,} bytes at {}")
    return found


def _grown(before: dict[str, int], after: dict[str, int], form: str) -> list[str]:
    growth = Counter({name: count - before.get(name, 0) for name, count in after.items()})
    return ["  " + form.format(count, name) for name, count in growth.most_common(SHOWN) if count > 0]
