"""What two servers answer to the same, put side by side, and what is known of where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


Outcomes = dict[str, dict[str, str]]
"""What came of operations: by an operation's name, the aspects of its outcome, such as "status"; the first weighs most."""

Observed = dict[str, tuple[str, str]]
"""Differences: by operation, what the emulator gave and what the other did, as far as it differs."""

ABSENT = "absent"
EMPTY = "empty"


@dataclass(frozen=True)
class Difference:
    """One way in which the emulator and another server differ, and who does what Azure does.

    Attributes:
        operations: What both were asked.
        emulator: What the emulator gives, as `observe` tells it.
        judge: What the other server gives.
        like_azure: Whose is Azure's: "emulator", "judge", or "both" where Microsoft leaves it open.
        reason: Why it is.
        source: The page of Microsoft's documentation that says so.
    """

    operations: tuple[str, ...]
    emulator: str
    judge: str
    like_azure: Literal["emulator", "judge", "both"]
    reason: str
    source: str


def observe(emulator: Outcomes, judge: Outcomes) -> Observed:
    """Return in what two servers' outcomes differ; where the first aspect does, it stands for the whole."""
    assert emulator.keys() == judge.keys()
    found: Observed = {}
    for operation, ours in emulator.items():
        theirs = judge[operation]
        first = next(iter(ours))
        if ours[first] != theirs[first]:
            found[operation] = (ours[first], theirs[first])
            continue
        names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        if names:
            found[operation] = (_selected(ours, names), _selected(theirs, names))
    return found


def _selected(outcome: dict[str, str], names: list[str]) -> str:
    return ", ".join(f"{name}: {outcome.get(name, ABSENT) or EMPTY}" for name in names)


def told(known: Iterable[Difference]) -> Observed:
    """Return the differences that a table tells of, one by one."""
    return {operation: (one.emulator, one.judge) for one in known for operation in one.operations}


def table_of(known: Iterable[Difference], judge: str) -> str:
    """Return a table of differences as it stands in the documentation.

    Args:
        known: Its rows.
        judge: The other server's name.
    """
    who = {"emulator": "the emulator", "judge": judge, "both": "both"}
    rows = [
        f"| {'; '.join(one.operations)} | {_cell(one.emulator)} | {_cell(one.judge)} "
        f"| {who[one.like_azure]}: {one.reason} ([source]({one.source})) |"
        for one in known
    ]
    return "\n".join([f"| operation | the emulator | {judge} | as Azure |", "| --- | --- | --- | --- |", *rows, ""])


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`"
