"""What the command line tells: how many lives, which seed failed, how to live it again."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from tests.simulation import __main__ as command_line
from tests.simulation.runner import Failure, Report, live_all
from tests.simulation.world import World
from tests.simulation.worlds import WORLDS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Unlucky(World):
    """A world in which a rule is broken in the fifth step, if the seed is 7."""

    name = "unlucky"

    async def live(self) -> None:
        """Take a few steps."""
        for _ in range(3):
            self.trace.note("goes on")
            await asyncio.sleep(1)

    def check(self) -> None:
        """Break the rule."""
        assert self.seed != 7 or self.loop.step < 5, "seven is unlucky"

    def check_blocked(self) -> None:
        """Find nothing."""

    def check_end(self) -> None:
        """Find nothing."""


@pytest.fixture(autouse=True)
def unlucky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a world that fails."""
    monkeypatch.setitem(WORLDS, "unlucky", Unlucky)


def run(monkeypatch: pytest.MonkeyPatch, arguments: str) -> int:
    """Give the exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["simulation", *arguments.split()])
    return command_line.main()


def test_lives_end_with_the_first_that_fails() -> None:
    """The report has the seed, the broken rule and the command that replays it."""
    assert live_all("unlucky", range(7)).failures == []
    report = live_all("unlucky", range(100))
    (failure,) = report.failures
    assert (report.seeds, failure.world, failure.seed) == (8, "unlucky", 7)
    assert "AssertionError: seven is unlucky" in str(failure)
    assert "make simulate WORLD=unlucky SEED=7" in str(failure)


def test_what_is_left_is_a_failure() -> None:
    """A life that leaves a task behind has failed, whatever its own rules say."""

    class Untidy(Unlucky):
        async def live(self) -> None:
            self.loop.create_task(asyncio.sleep(100), name="sleeper")

    WORLDS["unlucky"] = Untidy
    (failure,) = live_all("unlucky", [1]).failures
    assert "task sleeper" in failure.report


def test_a_replay_shows_what_happened(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every event with its time and step, then the broken rule; the exit status tells whether there is one."""
    assert run(monkeypatch, "--world unlucky --seed 7") == 1
    said = capsys.readouterr().out
    assert "   1001.000      3 world          goes on\n" in said
    assert "AssertionError: seven is unlucky" in said
    assert run(monkeypatch, "--world unlucky --seed 8") == 0
    assert "All rules held over " in capsys.readouterr().out


def test_a_failing_seed_ends_the_exploration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is printed with the command that replays it, and the exit status is 1; without one, the figures are, and it is 0."""
    asked: list[object] = []

    def live(*options: object) -> Iterator[Report]:
        asked.append(options)
        yield Report(seeds=200, steps=40_000)
        if failures:
            yield Report(seeds=8, steps=1_000, failures=failures)
            raise AssertionError("goes on after a failure")
        yield Report(seeds=100, steps=20_000)

    monkeypatch.setattr(command_line, "live_on_all_cores", live)
    failures = [Failure("unlucky", 207, "AssertionError: seven is unlucky")]
    assert run(monkeypatch, "--world unlucky --first 1000 --seeds 300 --processes 3") == 1
    said = capsys.readouterr()
    assert "make simulate WORLD=unlucky SEED=207" in said.out
    assert "208/300 seeds" in said.err
    failures = []
    assert run(monkeypatch, "--world unlucky --first 1000 --seeds 300 --processes 3") == 0
    said = capsys.readouterr()
    assert "60,000 steps of 300 lives (unlucky; seeds 1,000 to 1,299)" in said.out
    assert "300/300 seeds" in said.err
    assert asked == [(["unlucky"], 1000, 300, 3)] * 2
