"""One sender in a process of its own, and what the benchmarks of sending have it do."""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import tracemalloc
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tests.support.processes import answer

from .callers import keep_busy
from .measuring import percentile
from .proc import resident_bytes
from .senders import SENDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .senders import Sender

BODY = json.dumps({"order": "6f1c2d3e-4b5a-4978-8c9d-0e1f2a3b4c5d", "customer": "ada", "total": 8940, "lines": 3})
AT_ONCE = 50
"""Callers of a crowd that come in one turn of the event loop: requests are not read all at once either."""


class SenderProcess:
    """Does what the benchmark asks of one sender.

    Args:
        make: Makes a sender, which is not open yet.
    """

    def __init__(self, make: Callable[[], Sender]) -> None:
        self._make = make
        self._sender = make()
        self._waiting: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open it."""
        await self._sender.open()

    async def time_opening(self) -> float:
        """Open another one, close it again, and give the seconds that the opening took."""
        sender = self._make()
        started = perf_counter()
        await sender.open()
        seconds = perf_counter() - started
        await sender.close()
        return seconds

    async def load(self, callers: int, keys: str, warm_up: float, seconds: float) -> dict[str, float]:
        """Have callers send as fast as they are answered, and count the answers.

        Args:
            callers: How many.
            keys: See `_keys`.
            warm_up: Seconds before the counting.
            seconds: For how long to count.
        """
        return await keep_busy(
            lambda caller: (self._sender.send(BODY, key) for key in _keys(keys, caller)), callers, warm_up, seconds
        )

    async def burst(self, callers: int, times: int) -> dict[str, float]:
        """Open another one, have callers come all at once and send so many messages each, and close it again."""
        sender = self._make()
        await sender.open()
        latencies: list[float] = []

        async def call() -> None:
            for _ in range(times):
                started = perf_counter()
                await sender.send(BODY, None)
                latencies.append(perf_counter() - started)

        started = perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        seconds = perf_counter() - started
        await sender.close()
        latencies.sort()
        return {
            "per_second": len(latencies) / seconds,
            "p50": percentile(latencies, 0.50),
            "p99": percentile(latencies, 0.99),
        }

    async def send(self, times: int) -> list[float]:
        """Send one message after the other, and give the seconds that each took.

        The garbage is collected before: the collection that a process's imports have brought near takes 100 ms, whoever sends.
        """
        gc.collect()
        latencies = []
        for _ in range(times):
            started = perf_counter()
            await self._sender.send(BODY, None)
            latencies.append(perf_counter() - started)
        return latencies

    async def crowd(self, callers: int, times: int) -> float:
        """Have many callers send so many messages each, and give the longest turn of the event loop in seconds.

        What is there before is frozen: a full collection of the garbage among all that the SDKs' modules have made takes 100 ms by
        itself, whoever sends.
        """
        gc.collect()
        gc.freeze()

        async def call() -> None:
            for _ in range(times):
                await self._sender.send(BODY, None)

        watch = _Watch()
        sending = []
        for number in range(callers):
            sending.append(asyncio.create_task(call()))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*sending)
        return watch.stop()

    async def wait(self, callers: int, size: int, seconds: float, *, is_traced: bool) -> dict[str, float]:
        """Let many callers wait for answers that do not come for so many seconds, and give what that takes.

        Args:
            callers: How many.
            size: Bytes of each one's message.
            seconds: When to weigh.
            is_traced: Whether to give what Python's allocator gave out rather than the growth of the resident set.

        Returns:
            The bytes, and how many callers still waited then.
        """
        gc.collect()
        if is_traced:
            tracemalloc.start()
        before = _weight(is_traced=is_traced)
        self._waiting = [
            asyncio.create_task(self._sender.send(f"{number:06}".ljust(size, "x"), None)) for number in range(callers)
        ]
        await asyncio.sleep(seconds)
        return {
            "bytes": _weight(is_traced=is_traced) - before,
            "waiting": sum(not task.done() for task in self._waiting),
        }

    async def finish(self) -> float:
        """Let those callers have their answers, and give the most that Python's allocator gave out, if it was traced."""
        await asyncio.gather(*self._waiting)
        return tracemalloc.get_traced_memory()[1]


class _Watch:
    """Looks how long each turn of the event loop takes: for so long nobody else is served."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._longest = 0.0
        self._last = perf_counter()
        self._next = self._loop.call_soon(self._tick)

    def stop(self) -> float:
        """Look no more, and give the longest turn in seconds."""
        self._next.cancel()
        return self._longest

    def _tick(self) -> None:
        now = perf_counter()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        self._next = self._loop.call_soon(self._tick)


def _keys(keys: str, caller: int) -> Iterable[str | None]:
    """Give the keys of one caller's messages: "none", one of a "few" that callers share, or a new one for "each"."""
    if keys == "each":
        return (f"customer-{caller}-{number}" for number in itertools.count())
    return itertools.repeat(f"customer-{caller % 16}" if keys == "few" else None)


def _weight(*, is_traced: bool) -> float:
    if is_traced:
        return tracemalloc.get_traced_memory()[0]
    return resident_bytes()


async def _serve(service: str, client: str, connection_string: str, options: dict[str, Any]) -> None:
    sender_class = SENDERS[service, client]
    process = SenderProcess(lambda: sender_class(connection_string, **options))
    print("ready", flush=True)
    await answer(
        {
            "open": process.open,
            "time_opening": process.time_opening,
            "load": process.load,
            "burst": process.burst,
            "send": process.send,
            "crowd": process.crowd,
            "wait": process.wait,
            "finish": process.finish,
        }
    )


def main() -> None:
    """Do what standard input asks for; the connection string comes in the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", required=True)
    parser.add_argument("--client", required=True)
    parser.add_argument("--options", type=json.loads, default={})
    asyncio.run(_serve(**vars(parser.parse_args()), connection_string=os.environ["CONNECTION_STRING"]))


if __name__ == "__main__":
    main()
