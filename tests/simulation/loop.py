"""An event loop on which a seed decides whose step comes next, wherever asyncio leaves that open."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from tests.support.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

MOST_STEPS = 100_000
"""Steps after which a life is taken to go on for ever."""

_PLAIN = object()
_TIMERS = object()
_STEPS = {"TaskStepMethWrapper", "task_wakeup", "__step", "__wakeup"}
"""What CPython calls the steps of its tasks, the first and those after something awaited; those in C, and those in Python."""


class SeededLoop(VirtualTimeLoop):
    """Turns exactly as asyncio's loop does, under virtual time, but draws the order in which it calls what is ready in one turn.

    What asyncio promises holds:

    - what is ready when a turn begins is called in that turn, what becomes ready meanwhile in the next;
    - the callbacks of one future are called in the order in which they were added, the steps of tasks that await it among them;
    - what was given to `call_soon`, and callbacks of futures, are called in the order in which they were given;
    - timers ring in the order of their times.

    What it leaves open is drawn: the order of the steps of different tasks, among each other and among callbacks; that of timers
    set to the same time; whether a timer that rings in a turn is before or after what else is ready in it.

    Args:
        lot: Draws the order.

    Attributes:
        step: How many callbacks (a step of a task is one) have been called.
        after_step: What to do after each; it may raise, which ends the run.
        before_time_passes: What to do when nothing can go on without time passing.
    """

    def __init__(self, lot: random.Random) -> None:
        super().__init__()
        self.set_debug(False)  # Traces of where each callback was made are slow, and nobody reads them here.
        self.step = 0
        self.after_step: Callable[[], object] = _do_nothing
        self.before_time_passes: Callable[[], object] = _do_nothing
        self.futures: list[asyncio.Future[Any]] = []
        self._is_in_step = False
        self._ready = _Ready(self, lot)

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future, and remember it for `leftovers`."""
        future = super().create_future()
        self.futures.append(future)
        return future

    def advance(self, seconds: float) -> None:
        """Move the clock, when nothing can go on without time passing."""
        self.before_time_passes()
        super().advance(seconds)

    def begin_step(self) -> None:
        """Finish the step before, and begin one."""
        self.finish_step()
        self.step += 1
        if self.step > MOST_STEPS:
            raise RuntimeError(f"not over after {MOST_STEPS} steps: something goes on for ever")
        self._is_in_step = True

    def finish_step(self) -> None:
        """Do what is to be done after a step, if one has been taken."""
        if self._is_in_step:
            self._is_in_step = False
            self.after_step()

    def leftovers(self) -> list[str]:
        """Tell what a life that is over has left: tasks, timers, errors that nobody has looked at, errors of callbacks."""
        found = [f"task {task.get_name()}" for task in asyncio.all_tasks(self)]
        found += [f"timer {handle!r}" for handle in self._scheduled if not handle.cancelled()]
        found += [f"error that nobody looks at: {future!r}" for future in self.futures if future._log_traceback]
        found += [f"complaint {complaint}" for complaint in self.complaints]
        return sorted(found)

    def abandon(self) -> None:
        """End every task where it is, after a failure: Python would do so some time later, and complain."""
        ended: set[asyncio.Task[Any]] = set()
        while tasks := asyncio.all_tasks(self) - ended:
            for task in tasks:
                ended.add(task)
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # the stubs leave it out
                with contextlib.suppress(Exception):
                    task.get_coro().close()

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]  # the stubs leave it out
        self.finish_step()

    # What asyncio.BaseEventLoop has, and its type stubs do not tell.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]


class _Ready(deque[asyncio.Handle]):
    """What is ready to be called; `popleft` gives the handles of a turn in the order that is drawn for them."""

    def __init__(self, loop: SeededLoop, lot: random.Random) -> None:
        super().__init__()
        self._loop = loop
        self._lot = lot
        self._turn = loop.turn

    def popleft(self) -> asyncio.Handle:
        """Give the next to be called."""
        loop = self._loop
        loop.begin_step()
        if loop.turn != self._turn:
            self._turn = loop.turn
            if len(self) > 1:
                self._shuffle()
        return super().popleft()

    def _shuffle(self) -> None:
        left = [(handle, _chains(handle)) for handle in self]
        self.clear()
        while len(left) > 1:
            candidates = _first_of_their_chains(left)
            place = candidates[int(self._lot.random() * len(candidates))]
            self.append(left.pop(place)[0])
        self.append(left[0][0])


def _chains(handle: Any) -> tuple[object, ...]:
    """Give the chains that a handle belongs to; those of one chain are called in their order."""
    if isinstance(handle, asyncio.TimerHandle):
        return (_TIMERS,)
    callback, arguments = handle._callback, handle._args
    # A callback of a future is called with the future. (So is, perhaps, what was given to call_soon: it keeps its order anyway.)
    future = arguments[0] if arguments and asyncio.isfuture(arguments[0]) else None
    if is_step(callback):
        return () if future is None else (future,)
    return (_PLAIN,) if future is None else (_PLAIN, future)


def is_step(callback: Any) -> bool:
    """Whether what is called is a step of a task, the first one or after what it awaited."""
    if not isinstance(getattr(callback, "__self__", None), asyncio.Task):
        return False
    return type(callback).__name__ in _STEPS or getattr(callback, "__name__", "") in _STEPS


def _first_of_their_chains(handles: list[tuple[asyncio.Handle, tuple[object, ...]]]) -> list[int]:
    """Give the places of those that no other one has to precede."""
    begun: set[object] = set()
    earliest: float | None = None
    found = []
    for place, (handle, chains) in enumerate(handles):
        if isinstance(handle, asyncio.TimerHandle):
            earliest = handle.when() if earliest is None else earliest
            if handle.when() == earliest:
                found.append(place)
            continue
        if begun.isdisjoint(chains):
            found.append(place)
        begun.update(chains)
    return found


def _do_nothing() -> None:
    """Do nothing."""
