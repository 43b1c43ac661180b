"""Browsers that ask for everything, over a few connections each, and sometimes hang up."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

BROWSERS = 16
"""How many ask at the same time."""

ANSWER_SECONDS = 60.0
"""How long one answer may take."""

GONE = 0
"""What stands for the status where there was no answer."""

KINDS: dict[str, tuple[int, Callable[[int], tuple[str, str]], set[int]]] = {
    "a place": (59, lambda number: ("GET", f"/plenty/{number}"), {200}),
    "read an order": (5, lambda number: ("GET", f"/orders/{number % 20}"), {200, 404}),
    "write an order": (3, lambda number: ("PUT", f"/orders/{number % 20}"), {200}),
    "no such order": (1, lambda number: ("GET", "/orders/missing"), {404}),
    "send an event": (6, lambda number: ("POST", f"/events/{number}"), {200}),
    "send a message": (5, lambda number: ("POST", f"/confirmations/{number}"), {200}),
    "publish": (2, lambda number: ("POST", f"/news/{number}"), {200}),
    "upload": (1, lambda number: ("PUT", f"/files/{number % 20}"), {200}),
    "download": (2, lambda number: ("GET", "/files/sample"), {200}),
    "no such file": (1, lambda number: ("GET", "/files/missing"), {404}),
    "a scarce place": (5, lambda number: ("GET", "/scarce"), {200, 503}),
    "break a connection": (2, lambda number: ("GET", "/broken"), {500, 503}),
    "background work": (3, lambda number: ("GET", "/background"), {200}),
    "hang up": (1, lambda number: ("GET", "/stream"), {200}),
    "hang up at once": (2, lambda number: ("GET", "/scarce"), {200, 503, GONE}),
    "health": (1, lambda number: ("GET", "/health/pools"), {200}),
    "nowhere": (1, lambda number: ("GET", "/nowhere"), {404}),
}
"""Each kind of request: how many in a hundred, its method and path by its number, and the statuses that it may be answered with."""


class Load:
    """Makes requests of every kind.

    Args:
        chance: What it draws by.

    Attributes:
        answers: How many there were of each kind and status.
    """

    def __init__(self, chance: random.Random) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._chance = chance

    @property
    def complaints(self) -> list[str]:
        """Answers that were not to be expected."""
        return [
            f"{kind}: {count:,} times the answer was {status or 'none'}"
            for (kind, status), count in self.answers.items()
            if status not in KINDS[kind][2]
        ]

    async def make(self, port: int, numbers: range) -> None:
        """Ask a server on this port of loopback, with these numbers, some at a time, and close every connection afterwards."""
        left = iter(numbers)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session,
            asyncio.TaskGroup() as browsers,
        ):
            for _ in range(min(BROWSERS, len(numbers))):
                browsers.create_task(self._browse(session, left))

    async def _browse(self, session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for number in numbers:  # All browsers share them.
            (kind,) = self._chance.choices(list(KINDS), [share for share, _, _ in KINDS.values()])
            try:
                status = await self._ask(session, *KINDS[kind][1](number), kind)
            except (aiohttp.ClientError, TimeoutError):
                status = GONE
            self.answers[kind, status] += 1

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str, kind: str) -> int:
        if kind == "hang up at once":
            return await self._hang_up(session, method, path)
        # uvicorn closes a connection over which a handler's error has passed, without telling.
        headers = {"connection": "close"} if kind == "break a connection" else {}
        async with session.request(method, path, headers=headers) as answer:
            if kind == "hang up":
                await answer.content.readexactly(20_000)
                answer.close()
            else:
                await answer.read()
            return answer.status

    async def _hang_up(self, session: aiohttp.ClientSession, method: str, path: str) -> int:
        """Ask and go before the answer comes."""
        asking = asyncio.create_task(self._ask(session, method, path, ""))
        await asyncio.wait([asking], timeout=0.001 * self._chance.random())
        asking.cancel()
        await asyncio.wait([asking])
        return GONE if asking.cancelled() else asking.result()
