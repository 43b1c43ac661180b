"""An event loop whose clock jumps to the next timer, so that hours pass in milliseconds and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

END_OF_TIME = 10_000_000.0
"""Seconds on the clock at which a test that still waits is taken to wait for ever."""

TURNS_WITHOUT_TIME = 100_000
"""Turns of the loop in a row, without time passing, after which something is taken to spin."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs what is ready; when nothing is, moves its clock to the next timer; when there is none, fails instead of hanging.

    Attributes:
        now: Seconds on the clock.
        turn: How often the loop has turned.
        interruptions: What to do at the beginning of a turn, by its number.
        blocked_waiters: To be woken when nothing can go on without time passing.
        complaints: What asyncio would only log: errors of callbacks, and of tasks that nobody looked at.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.turn = 0
        self.interruptions: dict[int, Callable[[], object]] = {}
        self.blocked_waiters: list[asyncio.Future[None]] = []
        self.complaints: list[dict[str, Any]] = []
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Seconds on the virtual clock."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock, when nothing can go on without time passing."""
        self.now += seconds

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what went wrong, for the test to find."""
        self.complaints.append(context)


class _JumpingSelector(selectors.SelectSelector):
    """Lets time pass where another selector would wait for it."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Give what is readable now; else wake who waits for the loop to be blocked; else move the clock."""
        loop = self._loop
        events = super().select(0)
        loop.turn += 1
        if (interrupt := loop.interruptions.pop(loop.turn, None)) is not None:
            interrupt()
            return events
        if events or (timeout is not None and timeout <= 0):
            self._turns += 1
            if self._turns > TURNS_WITHOUT_TIME:
                raise RuntimeError(f"the loop has turned {self._turns} times at {loop.now} without time passing")
            return events
        if loop.blocked_waiters:
            for waiter in loop.blocked_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            loop.blocked_waiters.clear()
            return []
        if timeout is None or loop.now > END_OF_TIME:
            raise RuntimeError("deadlock: every task waits for something that will not happen")
        self._turns = 0
        loop.advance(timeout)
        return []


def virtual_loop() -> VirtualTimeLoop:
    """Give the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


async def wait_until_blocked() -> None:
    """Wait until no task can go on without time passing."""
    loop = virtual_loop()
    blocked: asyncio.Future[None] = loop.create_future()
    loop.blocked_waiters.append(blocked)
    await blocked


async def let_time_pass(seconds: float) -> None:
    """Move the clock, and wait until all that has fallen due meanwhile is done."""
    await asyncio.sleep(seconds)
    await wait_until_blocked()
