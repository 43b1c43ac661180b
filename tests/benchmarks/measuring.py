"""Interleaved repeats, their medians, and the verdict over a bound."""

from __future__ import annotations

import gc
import math
import statistics
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

MeasuredT = TypeVar("MeasuredT")


class Disturbable(Protocol):
    """A measurement that knows whether it was disturbed."""

    @property
    def is_disturbed(self) -> bool:
        """Whether somebody else's work falsified it."""


DisturbableT = TypeVar("DisturbableT", bound=Disturbable)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of repeats, and how far they lay apart."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take the spread of repeats."""
        return cls(statistics.median(values), min(values), max(values))


def percentile(ordered: Sequence[float], part: float) -> float:
    """Give the smallest value that at least this part of the values do not exceed (nearest rank); nan without values."""
    return ordered[math.ceil(part * len(ordered)) - 1] if ordered else math.nan


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Divide round by round, so that what slowed a whole round down cancels out."""
    return Spread.of([one / other for one, other in zip(numerators, denominators, strict=True)])


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that the library promises, and what was measured.

    Attributes:
        what: What was measured, in words.
        measured: The repeats.
        at_most: The bound, where less is better.
        at_least: The bound, where more is better.
        form: How a number is written: a format of str.format.
        because: Why it is missed where it is; empty where that is not known.
    """

    what: str
    measured: Spread
    at_most: float | None = None
    at_least: float | None = None
    form: str = "{:.2f} x"
    because: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the median keeps to the bound."""
        return (self.at_most is None or self.measured.median <= self.at_most) and (
            self.at_least is None or self.measured.median >= self.at_least
        )

    @property
    def bound(self) -> str:
        """The bound in words."""
        bounds = (("at most ", self.at_most), ("at least ", self.at_least))
        return " and ".join(words + self.form.format(bound) for words, bound in bounds if bound is not None)

    @property
    def median(self) -> str:
        """The median in words."""
        return self.form.format(self.measured.median)

    @property
    def extremes(self) -> str:
        """The lowest and the highest repeat in words."""
        return f"{self.form.format(self.measured.lowest)} to {self.form.format(self.measured.highest)}"


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured beside the promised figures, for information."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a plot."""

    label: str
    value: float
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """One panel of the plot."""

    title: str
    axis: str
    bars: tuple[Bar, ...]
    is_logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one benchmark found.

    Attributes:
        title: What it measures.
        how: How it measures, in a few sentences.
        figures: What the library promises.
        tables: What else is worth knowing.
        charts: Its part of the plot.
        notes: What a reader should know before trusting the numbers.
    """

    title: str
    how: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = field(default=())


async def interleave(
    rounds: int, subjects: Mapping[str, Callable[[], Awaitable[MeasuredT]]]
) -> dict[str, list[MeasuredT]]:
    """Measure every subject once per round, each round beginning with another one; gives each subject's repeats."""
    measured: dict[str, list[MeasuredT]] = {name: [] for name in subjects}
    names = list(subjects)
    for turn in range(rounds):
        start = turn % len(names)
        for name in (*names[start:], *names[:start]):
            measured[name].append(await subjects[name]())
    return measured


async def undisturbed(measure: Callable[[], Awaitable[DisturbableT]], repeats: Iterator[int]) -> DisturbableT:
    """Measure, and again for as long as others disturb it.

    Args:
        measure: Measures once.
        repeats: Gives one value for each further measurement that is allowed; several subjects may share it.

    Returns:
        The first undisturbed measurement, or the last where no more were allowed.
    """
    while True:
        measured = await measure()
        if not measured.is_disturbed or next(repeats, None) is None:
            return measured


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keep the garbage collector from falling into one measurement or another, as timeit does."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_time_units(seconds: float) -> str:
    """Write a duration with three significant digits in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
