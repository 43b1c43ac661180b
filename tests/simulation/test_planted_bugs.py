"""Does the simulation find anything? Each of many plausible bugs, planted in a copy of the code, is found within a few lives."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from tests.simulation.hunting import PACKAGE_FOLDER, hunt
from tests.simulation.planted_bugs import PlantedBug, planted_bugs
from tests.simulation.worlds import WORLDS


@pytest.mark.parametrize("world", WORLDS)
def test_every_planted_bug_is_found(world: str) -> None:
    """No bug survives the lives in which it should be found; in a process of its own, which has nothing imported that is right."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation.hunting", f"{world}:"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert [name for _, _, name in lines] == [bug.name for bug in planted_bugs() if bug.world == world]
    assert [name for seed, _, name in lines if seed == "None"] == [], "a better simulation is needed"


@pytest.mark.parametrize("bug", planted_bugs(), ids=lambda bug: bug.name)
def test_a_planted_bug_has_its_place(bug: PlantedBug) -> None:
    """The text that a bug changes is there once, and what comes of it is Python; where the code has changed, the entry follows."""
    file = PACKAGE_FOLDER / bug.module
    compile(bug.changed(file.read_text(encoding="utf-8")), file, "exec")


def test_there_are_bugs_of_every_kind() -> None:
    """The pool and sending have at least twenty each, by names of their own."""
    bugs = planted_bugs()
    assert len({bug.name for bug in bugs}) == len(bugs)
    assert sum(bug.world == "pool" for bug in bugs) >= 20
    assert sum(bug.world != "pool" for bug in bugs) >= 20


def test_a_bug_without_its_place_is_told() -> None:
    """An entry whose text has gone, or stands there twice, says that it must be renewed."""
    bug = PlantedBug("a lost wrench", "pool", "pool/tidy.py", "wrench", "hammer")
    for text in ("nothing", "wrench, wrench"):
        with pytest.raises(LookupError, match=r"the planted bug 'a lost wrench' must be renewed: .* in pool/tidy\.py"):
            bug.changed(text)


def test_a_change_that_changes_nothing_is_not_found() -> None:
    """What finds the bugs is not that something was planted."""
    for world in WORLDS:
        bug = next(bug for bug in planted_bugs() if bug.world == world)
        assert hunt(dataclasses.replace(bug, after=bug.before, seeds=10)) is None
