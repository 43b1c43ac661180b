"""What two servers answer to the same, put side by side, and what is known of where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Difference:
    """One way in which the emulator and another server differ, and who does what Azure does.

    Attributes:
        operation: What both were asked.
        emulator: What the emulator answers.
        judge: What the other server answers.
        like_azure: Whose answer is Azure's: "emulator", "judge" or "both", where Microsoft leaves it open.
        reason: Why it is.
        source: The page of Microsoft's documentation that says so.
    """

    operation: str
    emulator: str
    judge: str
    like_azure: Literal["emulator", "judge", "both"]
    reason: str
    source: str


def observed_differences(emulator: Mapping[str, str], judge: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return for each operation with two different answers the emulator's and the judge's."""
    assert emulator.keys() == judge.keys()
    return {name: (emulator[name], judge[name]) for name in emulator if emulator[name] != judge[name]}


def told(known: Iterable[Difference]) -> dict[str, tuple[str, str]]:
    """Return for each operation of a table of differences the emulator's answer and the judge's."""
    return {one.operation: (one.emulator, one.judge) for one in known}


def table_of(known: Iterable[Difference], judge: str) -> str:
    """Return a table of differences as it stands in the documentation.

    Args:
        known: Its rows.
        judge: The other server's name.
    """
    who = {"emulator": "the emulator", "judge": judge, "both": "either"}
    rows = [
        f"| {one.operation} | {_cell(one.emulator)} | {_cell(one.judge)} | {who[one.like_azure]}: [{one.reason}]({one.source}) |"
        for one in known
    ]
    return "\n".join([f"| operation | the emulator | {judge} | as Azure |", "| --- | --- | --- | --- |", *rows])


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`"
