"""The results on the terminal, as Markdown, and as a plot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from .measuring import Chart, Figure, Outcome

PLOT = Path("assets", "benchmarks.svg")
PACKAGES = (
    "aio-azure-clients-toolbox",
    "asyncio-connection-pool",
    "azure-cosmos",
    "azure-eventhub",
    "azure-servicebus",
    "azure-storage-blob",
    "azure-core",
    "aiohttp",
    "fastapi",
    "uvicorn",
    "uvloop",
)
OURS, THEIRS = "#3f51b5", "#b0b4c4"
UNEXPLAINED = "Not explained yet."

INTRODUCTION = """\
# Benchmarks

Written by `make bench`, which measures everything below in one run, on loopback, in a few minutes. Do not edit it: run it again.

Speed is shown as a ratio against a peer in the same run: the subjects take turns, round after round, and the figure is the median
of the repeats. The absolute times are those of one machine on one day, and move by tens of per cent; the ratios move less, and how
far is in the column of the lowest and the highest repeat. Nothing here went to Azure: the network's time comes on top, for everyone
alike, and for sending, where it matters most, a proxy stands in for it.
"""


def machine() -> str:
    """Tell what the run ran on."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} cores, {platform.system()} on {platform.machine()}, {platform.python_implementation()} "
        f"{platform.python_version()}; {versions}."
    )


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Write the whole page."""
    promised = [(outcome, figure) for outcome in outcomes for figure in outcome.figures]
    met = sum(figure.is_met for _, figure in promised)
    parts = [
        INTRODUCTION,
        f"Measured on {machine()}\n",
        f"![The speed of fastapi-azure-pool and of its peers]({PLOT.as_posix()})\n",
        f"## Promised and measured\n\n{met} of {len(promised)} figures are met.\n",
        _grid(
            ("figure", "promised", "measured (median)", "lowest to highest", ""),
            (
                (f"{outcome.title}: {figure.what}", figure.bound, figure.median, figure.extremes, _verdict(figure))
                for outcome, figure in promised
            ),
        ),
    ]
    missed: dict[tuple[str, str], list[str]] = {}
    for outcome, figure in promised:
        if not figure.is_met:
            missed.setdefault((outcome.title, figure.because or UNEXPLAINED), []).append(figure.what)
    if missed:
        parts.append("Missed:\n")
        parts.append(
            "".join(f"- {title}: {', '.join(figures)}. {because}\n" for (title, because), figures in missed.items())
        )
    for outcome in outcomes:
        parts.append(f"## {outcome.title}\n\n{outcome.how}\n")
        parts += [f"{note}\n" for note in outcome.notes]
        parts += [f"{table.title}:\n\n{_grid(table.columns, table.rows)}" for table in outcome.tables]
    return "\n".join(parts)


def terminal(outcome: Outcome) -> str:
    """Write one outcome for the terminal."""
    lines = [f"\n{outcome.title}", *(f"  {note}" for note in outcome.notes)]
    rows = [(figure.what, figure.bound, figure.median, figure.extremes, _verdict(figure)) for figure in outcome.figures]
    lines += _aligned(("figure", "promised", "median", "lowest to highest", ""), rows)
    for table in outcome.tables:
        lines += ["", f"  {table.title}", *_aligned(table.columns, table.rows)]
    return "\n".join(lines)


def plot(outcomes: Iterable[Outcome], path: Path) -> None:
    """Draw every chart into one SVG with a white background, readable on a dark page too."""
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, and nothing depends on when or where it was drawn.
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.family": "sans-serif", "font.size": 9}
    )
    from matplotlib import pyplot as plt

    charts = [chart for outcome in outcomes for chart in outcome.charts]
    heights = [len(chart.bars) + 1.5 for chart in charts]
    figure, axes = plt.subplots(
        len(charts), 1, figsize=(7.5, 0.32 * sum(heights)), height_ratios=heights, squeeze=False
    )
    for chart, axis in zip(charts, axes.flat, strict=True):
        _draw(chart, axis)
    figure.tight_layout()
    figure.savefig(path, facecolor="white", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    # matplotlib ends lines with blanks.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))


def _draw(chart: Chart, axis: Axes) -> None:
    bars = chart.bars
    drawn = axis.barh(
        [bar.label for bar in bars],
        [bar.value for bar in bars],
        color=[OURS if bar.is_ours else THEIRS for bar in bars],
        height=0.7,
        log=chart.is_logarithmic,
    )
    axis.bar_label(drawn, [f"{bar.value:,.3g}" if bar.value < 1000 else f"{bar.value:,.0f}" for bar in bars], padding=3)
    axis.invert_yaxis()
    axis.set_title(f"{chart.title} ({chart.axis})", loc="left", fontsize=10)
    axis.margins(x=0.12)
    axis.xaxis.set_visible(False)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _verdict(figure: Figure) -> str:
    return "met" if figure.is_met else "**missed**"


def _grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (columns, *rows)
    ]
