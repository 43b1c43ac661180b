"""The broker's one timer, under virtual time."""

from __future__ import annotations

import contextvars
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator.servicebus import alarm
from fastapi_azure_pool.emulator.servicebus.alarm import Alarm, SteadyClock
from tests.support.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400.0
SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("SEEN")


class Bell:
    """What an alarm rings: notes when, and tells when to ring next.

    Attributes:
        loop: The loop whose time it is.
        rung: When it rang, in seconds since the test began.
        next_due: When to ring next, likewise.
        alarm: The alarm.
        contexts: What the variable SEEN was each time.
    """

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.loop = loop
        self.rung: list[float] = []
        self.next_due = math.inf
        self.contexts: list[str | None] = []
        self._start = loop.now
        self.alarm = Alarm(self.now, self._ring)

    def now(self) -> float:
        """Return the seconds since the test began."""
        return self.loop.now - self._start

    def let_time_pass_until(self, when: float) -> None:
        """Run the loop until a time."""
        self.loop.call_at(self._start + when, self.loop.stop)
        self.loop.run_forever()

    def _ring(self) -> float:
        self.rung.append(self.now())
        self.contexts.append(SEEN.get(None))
        due, self.next_due = self.next_due, math.inf
        return due


@pytest.fixture
def bell() -> Iterator[Bell]:
    """A bell whose alarm runs, and has rung as it was started."""
    loop = VirtualTimeLoop()
    bell = Bell(loop)
    bell.alarm.start(loop)
    bell.let_time_pass_until(0.5)
    assert len(bell.rung) == 1
    bell.rung.clear()
    yield bell
    bell.alarm.stop()
    loop.close()
    assert loop.complaints == []


def test_it_rings_at_the_earliest_time_that_was_asked_for(bell: Bell) -> None:
    """Once, whatever was asked for before or after, and then at the time that the bell tells."""
    for when in (30, 10, 20, 10):
        bell.alarm.wake_by(when)
    bell.next_due = 20
    bell.let_time_pass_until(9.9)
    assert bell.rung == []
    bell.let_time_pass_until(100)
    assert bell.rung == [10, 20]


def test_it_holds_one_timer(bell: Bell) -> None:
    """A thousand times asked for leave one timer that is not cancelled."""
    for when in range(2000, 1000, -1):
        bell.alarm.wake_by(when)
    assert sum(not timer.cancelled() for timer in bell.loop._scheduled) == 1  # type: ignore[attr-defined]  # asyncio's own


def test_what_is_due_already_rings_at_once(bell: Bell) -> None:
    """A time that has passed is now, not a negative wait."""
    bell.alarm.wake_by(0.1)
    bell.let_time_pass_until(0.6)
    assert bell.rung == [0.5]


def test_a_far_time_is_approached_in_steps(bell: Bell) -> None:
    """No wait is longer than a day; the alarm rings in vain and is set again."""
    due = 2.5 * DAY + 0.5
    bell.next_due = due
    bell.alarm.wake_by(due)
    bell.let_time_pass_until(DAY + 1)
    assert bell.rung == [DAY + 0.5]
    bell.next_due = due
    bell.let_time_pass_until(3 * DAY)
    assert bell.rung == [DAY + 0.5, 2 * DAY + 0.5, due]


def test_a_stopped_alarm_is_silent_until_it_is_started(bell: Bell) -> None:
    """What was asked for meanwhile is not kept: starting rings at once, and the bell tells."""
    bell.alarm.wake_by(1)
    bell.alarm.stop()
    bell.alarm.wake_by(2)
    bell.let_time_pass_until(5)
    assert bell.rung == []
    bell.next_due = 7
    bell.alarm.start(bell.loop)
    bell.let_time_pass_until(8)
    assert bell.rung == [5, 7]


def test_it_keeps_nobodys_context_alive(bell: Bell) -> None:
    """A timer set in a request would hold all that the request knew."""
    token = SEEN.set("a request")
    bell.alarm.wake_by(1)
    SEEN.reset(token)
    bell.let_time_pass_until(2)
    assert bell.contexts[-1] is None


def test_the_clock_is_the_time_of_day_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the machine's clock is set meanwhile."""
    machine = SimpleNamespace(time=lambda: 5_000.0, monotonic=lambda: 100.0)
    monkeypatch.setattr(alarm, "time", machine)
    clock = SteadyClock()
    assert clock() == 5_000
    machine.time, machine.monotonic = (lambda: 1_000.0), (lambda: 103.0)
    assert clock() == 5_003
