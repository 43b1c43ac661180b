"""Many callers over a few connections to a service that does anything to them: whatever a caller is told is true."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

import pytest

from fastapi_azure_pool.clients.managed import ManagedClient
from fastapi_azure_pool.clients.resending import send_through
from fastapi_azure_pool.errors import PoolError, SendError
from tests.support.random_service import KEYS, RandomConnection, RandomConnector, RandomService
from tests.support.virtual_time import VirtualTimeLoop

CALLERS = 30
ROUNDS = 12
SEED = 3


class Life:
    """One seed's callers, connections and books."""

    def __init__(self, seed: int, *, trouble: float, attempts: int) -> None:
        self.chance = random.Random(seed)
        self.attempts = attempts
        self.service = RandomService(self.chance, trouble=trouble)
        self.connector = RandomConnector(self.service)
        self.client = ManagedClient(
            self.connector, service="test", min_size=1, max_size=3, client_limit=15, max_lifespan_seconds=40
        )
        self.connector.report = self.client.pool.report
        self.numbers = itertools.count()
        self.begun = 0
        self.acknowledged: list[list[int]] = []
        self.not_stored: set[int] = set()
        self.told: Counter[str] = Counter()

    async def live(self) -> None:
        """Let every caller send one message after another, some cancelled; then close, and let what is late happen."""
        async with self.client:
            await asyncio.gather(*(self._call(self.chance.choice(KEYS)) for _ in range(CALLERS)))
            if self.chance.random() < 0.5:
                # Closed with callers still at it.
                last = [asyncio.create_task(self._send_some("a", 3)) for _ in range(20)]
                await asyncio.sleep(self.chance.choice([0.0, 0.01, 1.0]))
                await self.client.close(0)
                await asyncio.gather(*last)
        await asyncio.sleep(100)

    async def _call(self, key: Any) -> None:
        for _ in range(ROUNDS):
            await asyncio.sleep(self.chance.choice([0.0, 0.0, 0.01, 0.2, 1.0]))
            if self.chance.random() < 0.15:
                task = asyncio.create_task(self._send_some(key, 1))
                for _ in range(self.chance.randint(0, 8)):
                    await asyncio.sleep(self.chance.choice([0.0, 0.0, 0.01]))
                task.cancel()
                await asyncio.wait([task])
                self.told["cancelled" if task.cancelled() else "answered"] += 1
            else:
                await self._send_some(key, self.chance.randint(1, 3))

    async def _send_some(self, key: Any, count: int) -> None:
        """Send messages one after another; they must be stored in this order."""
        acknowledged: list[int] = []
        self.acknowledged.append(acknowledged)
        for _ in range(count):
            number = next(self.numbers)
            self.begun += 1
            try:
                await self._send(number, key)
            except SendError as error:
                self.told[f"{type(error).__name__}{' maybe' if error.maybe_delivered else ''}"] += 1
                if not error.maybe_delivered:
                    self.not_stored.add(number)
            except PoolError as error:
                self.told[type(error).__name__] += 1
                self.not_stored.add(number)
            except asyncio.CancelledError:
                self.begun -= 1
                raise
            else:
                self.told["confirmed"] += 1
                acknowledged.append(number)

    async def _send(self, number: int, key: Any) -> None:
        seconds = self.chance.choice([0.3, 3.0, 10.0, 10.0])
        size = self.chance.choice([1, 1, 1, 3, 7])
        is_request = self.chance.random() < 0.1

        async def send(connection: RandomConnection, left: float) -> None:
            if is_request:
                await connection.request(number, left)
            else:
                await connection.send(number, key, left, size)

        await send_through(self.client, send, seconds=seconds, attempts=self.attempts)

    def check(self) -> None:
        """Compare what callers were told with what the service has stored."""
        stored = Counter(self.service.stored)
        assert sum(self.told.values()) - self.told["cancelled"] - self.told["answered"] == self.begun
        confirmed = [number for some in self.acknowledged for number in some]
        assert [number for number in confirmed if not stored[number]] == [], "lost after their callers were told"
        assert [number for number in self.not_stored if stored[number]] == [], "stored, and their callers were told not"
        assert [number for number, times in stored.items() if times > self.attempts] == [], "stored too often"
        assert all(times <= self.service.transferred[number] for number, times in stored.items())
        place = {number: index for index, number in reversed([*enumerate(self.service.stored)])}
        for some in self.acknowledged:
            assert [place[number] for number in some] == sorted(place[number] for number in some), "out of order"
        for channel in self.service.channels:
            assert channel.complaints == []
            for arrivals in channel.accepted.values():
                assert arrivals == sorted(arrivals), "one key's messages out of their order of arrival"
        for connection in self.connector.created:
            commit = connection.commit
            traffic = commit._traffic
            assert connection.times_lost == 1
            assert commit._owner.done()
            assert connection.channel.tasks <= {commit._owner}
            assert (traffic.flights, traffic.ready, traffic.resting, traffic._lines) == ({}, {}, {}, {})


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("trouble", [0.1, 0.5, 1.0])
def test_whatever_a_caller_is_told_is_true(trouble: float, attempts: int) -> None:
    """Confirmed is stored, "certainly not" is not stored, nothing is stored too often or out of order, and nothing is left."""
    loop = VirtualTimeLoop()
    asyncio.set_event_loop(loop)
    try:
        random.seed(SEED)
        life = Life(SEED, trouble=trouble, attempts=attempts)
        loop.run_until_complete(life.live())
        assert not asyncio.all_tasks(loop)
        assert loop.complaints == []
        life.check()
        assert life.told["confirmed"] > 50
        assert life.service.troubles
    finally:
        asyncio.set_event_loop(None)
        loop.close()
