"""The frame of every simulated world: one seed is one life, checked after each of its steps and at its end."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from tests.support.virtual_time import wait_until_blocked

from .loop import SeededLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .trace import Trace


class World(ABC):
    """One life of something under test. A seed decides everything that happens in it: the same seed lives the same life.

    A subclass writes what happens and what must hold; any of its methods raises AssertionError, or anything else, when a rule is
    broken.

    Args:
        seed: Decides everything.
        trace: Takes what happens.

    Attributes:
        name: What the command line calls this kind of world.
        lot: Draws what happens. Never drawn from in a way that depends on whether the trace is kept.
        loop: Where it happens.
    """

    name: ClassVar[str]

    def __init__(self, seed: int, trace: Trace) -> None:
        self.seed = seed
        self.trace = trace
        self.lot = random.Random(f"{self.name} {seed}")
        self.loop = SeededLoop(random.Random(f"order {seed}"))

    @abstractmethod
    async def live(self) -> None:
        """Live the whole life, to the end at which nothing may be left."""

    @abstractmethod
    def check(self) -> None:
        """Check what must hold after every step."""

    @abstractmethod
    def check_blocked(self) -> None:
        """Check what must hold whenever nothing can go on without time passing."""

    @abstractmethod
    def check_end(self) -> None:
        """Check what must hold when all is over, besides that nothing is left on the loop."""

    def run(self) -> int:
        """Live the life.

        Returns:
            How many steps it took.

        Raises:
            AssertionError: A rule was broken.
            RuntimeError: It came to a deadlock, or went on for ever.
        """
        loop = self.loop
        loop.after_step = self.check
        loop.before_time_passes = self.check_blocked
        try:
            with _random_numbers_of(self.seed), self.trace.of(loop):
                loop.run_until_complete(loop.create_task(self._live(), name="world"))
                self.check_end()
                assert loop.leftovers() == [], loop.leftovers()
        except BaseException:
            loop.abandon()
            raise
        finally:
            loop.close()
        return loop.step

    async def _live(self) -> None:
        await self.live()
        await wait_until_blocked()


@contextmanager
def _random_numbers_of(seed: int) -> Iterator[None]:
    """Let the code under test draw its random numbers by the seed."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
