"""Callers who send through one client, and what each of them was told."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.resending import send_through
from fastapi_azure_pool.errors import PoolError, SendError

from .sending_connector import Errand

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable

    from fastapi_azure_pool.clients.managed import ManagedClient

    from .sending_connector import SendingConnection
    from .sending_service import SendingService

KEYS: tuple[Hashable, ...] = (None, "a", "b", "c")

_PAUSES = (0.0, 0.0, 0.01, 0.2, 1.0)
_MOMENT = 0.01
"""Seconds by which an attempt may be late: who gets a place in the last moment uses it."""


class SendingCallers:
    """Whoever sends, and the books of what they were told.

    Args:
        client: Through which they send.
        service: To which they send; they draw from its lot.
        attempts: How often they may try what may have been stored.
        keys: What they send with, one each.

    Attributes:
        acknowledged: For each caller the numbers of what was confirmed, in the order of sending.
        not_stored: The numbers of what was certainly not stored, by what their callers were told.
        told: How many were told what.
    """

    def __init__(
        self,
        client: ManagedClient[SendingConnection],
        service: SendingService,
        *,
        attempts: int,
        keys: tuple[Hashable, ...],
    ) -> None:
        self.acknowledged: list[list[int]] = []
        self.not_stored: set[int] = set()
        self.told: Counter[str] = Counter()
        self._client = client
        self._service = service
        self._lot = service.lot
        self._attempts = attempts
        self._keys = keys
        self._numbers = itertools.count()
        self._tasks = itertools.count()
        self._errands: dict[asyncio.Task[Any], list[Errand]] = {}

    def start(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        """Let somebody do something in a task of its own."""
        return asyncio.create_task(work, name=f"{what} {next(self._tasks)}")

    async def call(self, rounds: int) -> None:
        """Be a caller: do so many things, one after another."""
        lot = self._lot
        key = lot.choice(self._keys)
        for _ in range(rounds):
            await asyncio.sleep(lot.choice(_PAUSES))
            chance = lot.random()
            if chance < 0.25:
                await self._send_and_be_cancelled(key)
            elif chance < 0.35:
                await asyncio.gather(*(self.start(self.send(key), "burst") for _ in range(lot.randint(2, 4))))
            elif chance < 0.4:
                await self._expire()
            elif chance < 0.5:
                await self._hold_and_send(key)
            else:
                await self._send_some(key, lot.randint(1, 3))

    async def be_one_of_many(self) -> None:
        """Send one message at once, as many others do, and be cancelled perhaps."""
        await (self._send_and_be_cancelled if self._lot.random() < 0.6 else self.send)(KEYS[0])

    async def send_until_confirmed(self, key: Hashable, seconds: float) -> None:
        """Send something again and again; complain when it is not confirmed in time, though nothing goes wrong any more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        confirmed: list[int] = []
        while not confirmed:
            await self.send(key, confirmed)
            if not confirmed and loop.time() > deadline:
                self._service.complain(f"nothing of key {key} was confirmed for {seconds:.0f} s after the last trouble")
                return
            await asyncio.sleep(1)

    async def _send_and_be_cancelled(self, key: Hashable) -> None:
        task = self.start(self._send_some(key, self._lot.randint(1, 2)), "cancelled")
        errands = self._errands[task] = []
        for _ in range(self._lot.randint(0, 8)):
            await asyncio.sleep(self._lot.choice((0.0, 0.0, 0.0, 0.01, 0.3)))
        if task.done():
            return
        for errand in errands:
            errand.end()
        task.cancel()
        await asyncio.wait([task])
        self.told["cancelled"] += 1
        if not task.cancelled():
            self._service.complain("a cancellation was swallowed")

    async def _expire(self) -> None:
        try:
            async with self._client.get() as connection:
                self._client.pool.expire(connection)
        except PoolError as error:
            self.told[type(error).__name__] += 1

    async def _hold_and_send(self, key: Hashable) -> None:
        """Take a connection and send over it a few times, whatever becomes of it meanwhile."""
        try:
            async with self._client.get() as connection:
                for _ in range(self._lot.randint(1, 3)):
                    await asyncio.sleep(self._lot.choice(_PAUSES))
                    await self.send(key, connection=connection)
        except PoolError as error:
            self.told[type(error).__name__] += 1

    async def _send_some(self, key: Hashable, count: int) -> None:
        """Send one thing after another; they must be stored in this order."""
        confirmed: list[int] = []
        self.acknowledged.append(confirmed)
        for _ in range(count):
            await self.send(key, confirmed)

    async def send(
        self, key: Hashable, confirmed: list[int] | None = None, *, connection: SendingConnection | None = None
    ) -> None:
        """Send one thing, over this connection or any, and enter in the books what is told of it."""
        errand, is_request = self._draw_errand(key)
        task = asyncio.current_task()
        if task in self._errands:
            self._errands[task].append(errand)
        try:
            await self._deliver(errand, connection, is_request=is_request)
        except SendError as error:
            self.told[f"{type(error).__name__}{' maybe' if error.maybe_delivered else ''}"] += 1
            if not error.maybe_delivered:
                self.not_stored.update(errand.numbers)
        except (PoolError, OverflowError) as error:
            self.told[type(error).__name__] += 1
            self.not_stored.update(errand.numbers)
        else:
            self.told["confirmed"] += 1
            if not set(errand.numbers).issubset(self._service.stored):
                self._service.complain(f"{errand.numbers} are not stored, and their caller was told so")
            if confirmed is not None:
                confirmed += errand.numbers
        finally:
            errand.end()

    def _draw_errand(self, key: Hashable) -> tuple[Errand, bool]:
        lot = self._lot
        kind = lot.random()
        numbers = [next(self._numbers) for _ in range(lot.randint(1, 3) if kind < 0.1 else 1)]
        size = lot.choice((1, 1, 1, 3, 7))
        error = OverflowError if 0.1 <= kind < 0.13 else None
        errand = Errand(numbers, key, is_whole=kind < 0.1, size=size, error=error)
        return errand, 0.13 <= kind < 0.23

    async def _deliver(self, errand: Errand, connection: SendingConnection | None, *, is_request: bool) -> None:
        seconds = self._lot.choice((0.3, 3.0, 10.0, 10.0))
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._attempts * (seconds + _MOMENT)

        async def send(connection: SendingConnection, left: float) -> None:
            await (connection.request if is_request else connection.send)(errand, left)

        self._service.note(f"sends {errand.numbers} of key {errand.key} within {seconds} s")
        try:
            if connection is None:
                await send_through(self._client, send, seconds=seconds, attempts=self._attempts)
            else:
                await send(connection, seconds)
        finally:
            if loop.time() > latest:
                self._service.complain(f"{errand.numbers}: an answer after more than {seconds} s for each attempt")
