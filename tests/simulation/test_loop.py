"""The seeded loop: what asyncio promises holds for every seed, what it leaves open differs between seeds."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulation import loop as seeded
from tests.simulation.loop import SeededLoop
from tests.support.virtual_time import VirtualTimeLoop, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Scene = Callable[[list[str]], Coroutine[None, None, None]]

SEEDS = 40


def play(scene: Scene, seed: int) -> str:
    """Give what a scene said under a seed."""
    said: list[str] = []
    loop = SeededLoop(random.Random(seed))
    try:
        loop.run_until_complete(scene(said))
        assert loop.leftovers() == []
    finally:
        loop.close()
    return "".join(said)


def outcomes(scene: Scene) -> set[str]:
    """Give everything that a scene says under some seed."""
    return {play(scene, seed) for seed in range(SEEDS)}


async def _say(said: list[str], word: str, steps: int = 1) -> None:
    for step in range(steps):
        said.append(word)
        if step + 1 < steps:
            await asyncio.sleep(0)


async def tasks(said: list[str]) -> None:
    """Three tasks that are ready together."""
    await asyncio.gather(*[_say(said, word) for word in "abc"])


async def waiting_for_one_future(said: list[str]) -> None:
    """Two tasks await a future, with a callback between them."""

    async def wait(word: str) -> None:
        await future
        said.append(word)

    future = asyncio.get_running_loop().create_future()
    first = asyncio.create_task(wait("a"))
    await wait_until_blocked()
    future.add_done_callback(lambda _: said.append("b"))
    second = asyncio.create_task(wait("c"))
    await wait_until_blocked()
    future.set_result(None)
    await asyncio.wait([first, second])


async def waiting_for_two_futures(said: list[str]) -> None:
    """Two tasks await a future each, and both are set at once."""

    async def wait(future: asyncio.Future[None], word: str) -> None:
        await future
        said.append(word)

    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in "ab"]
    waiting = [asyncio.create_task(wait(*pair)) for pair in zip(futures, "ab", strict=True)]
    await wait_until_blocked()
    for future in futures:
        future.set_result(None)
    await asyncio.wait(waiting)


async def callbacks(said: list[str]) -> None:
    """Plain callbacks, one of which cancels a task and so is called through one of its methods."""
    loop = asyncio.get_running_loop()
    loop.call_soon(said.append, "a")
    loop.call_soon(said.append, "b")
    loop.call_soon(asyncio.create_task(asyncio.sleep(0)).cancel, "c")
    loop.call_soon(said.append, "d")
    await asyncio.sleep(0)


async def callbacks_of_two_futures(said: list[str]) -> None:
    """Two futures are set, one after the other, and have callbacks."""
    loop = asyncio.get_running_loop()
    for word in "ab":
        future = loop.create_future()
        future.add_done_callback(lambda done: said.append(done.result()))
        future.set_result(word)
    await asyncio.sleep(0)


async def turns(said: list[str]) -> None:
    """A task that takes three steps, and one that takes one."""
    await asyncio.gather(_say(said, "a", 3), _say(said, "b"))


async def timers(said: list[str]) -> None:
    """Timers at different times that fall due together, because the clock jumps."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    for seconds in (3, 1, 2):
        loop.call_later(seconds, said.append, f"{seconds}")
    loop.now += 10
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def timers_at_one_time(said: list[str]) -> None:
    """Two timers at the same time."""
    loop = asyncio.get_running_loop()
    for word in "ab":
        loop.call_at(2000.0, said.append, word)
    await asyncio.sleep(1000)


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (tasks, {"abc", "acb", "bac", "bca", "cab", "cba"}),
        (waiting_for_one_future, {"abc"}),
        (waiting_for_two_futures, {"ab", "ba"}),
        (callbacks, {"abd"}),
        (callbacks_of_two_futures, {"ab"}),
        (turns, {"abaa", "baaa"}),
        (timers, {"123"}),
        (timers_at_one_time, {"ab", "ba"}),
    ],
)
def test_the_order(scene: Scene, said: set[str]) -> None:
    """The order of one future's callbacks, of plain ones and of timers is asyncio's; all others occur."""
    assert outcomes(scene) == said


def test_a_seed_is_a_life() -> None:
    """The same seed gives the same order, every time."""
    assert [play(tasks, seed) for seed in range(SEEDS)] == [play(tasks, seed) for seed in range(SEEDS)]


def test_each_step_is_followed_by_its_check() -> None:
    """The check runs after each callback, before the next one and before time passes."""
    loop = SeededLoop(random.Random(1))
    seen: list[Any] = []
    loop.after_step = lambda: seen.append((loop.step, loop.now))
    loop.before_time_passes = lambda: seen.append("blocked")

    async def sleep() -> None:
        await asyncio.sleep(5)

    loop.run_until_complete(sleep())
    loop.close()
    # The task begins; its timer; it goes on; the loop sees its end.
    assert seen == [(1, 1000.0), "blocked", (2, 1005.0), (3, 1005.0), (4, 1005.0)]


def test_a_failed_check_ends_the_run() -> None:
    """What a check raises comes out of the run."""
    loop = SeededLoop(random.Random(1))

    def fail() -> None:
        raise AssertionError("a rule is broken")

    loop.after_step = fail
    with pytest.raises(AssertionError, match="a rule is broken"):
        loop.run_until_complete(asyncio.sleep(1))
    loop.close()


def test_who_goes_on_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A life that does not end fails instead of hanging, whether time passes or not; so does one in which nothing is left to do."""

    async def spin(seconds: float) -> None:
        for _ in itertools.count():
            await asyncio.sleep(seconds)

    monkeypatch.setattr(seeded, "MOST_STEPS", 100)
    for work, message in (
        (spin(0), "not over after 100 steps"),
        (spin(1), "not over after 100 steps"),
        (asyncio.Event().wait(), "deadlock"),
    ):
        loop = SeededLoop(random.Random(1))
        with pytest.raises(RuntimeError, match=message):
            loop.run_until_complete(work)
        loop.close()


def test_leftovers_are_found() -> None:
    """A task, a timer, an error that nobody has looked at, and an error of a callback are found."""
    loop = SeededLoop(random.Random(1))

    async def leave_things() -> None:
        loop.create_task(asyncio.sleep(100), name="sleeper")
        loop.create_future().set_exception(OSError("unseen"))
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    loop.run_until_complete(leave_things())
    found = loop.leftovers()
    assert [left.split()[0] for left in found] == ["complaint", "error", "task", "timer"]
    assert "ZeroDivisionError" in found[0]
    assert "unseen" in found[1]
    assert found[2] == "task sleeper"
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    for future in loop.futures:
        if future.done() and not future.cancelled():
            future.exception()
    loop.close()
