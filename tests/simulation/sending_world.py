"""Group commit over connections of a pool, with all that may happen to them: whatever a caller is told is true."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from fastapi_azure_pool.clients.coalescing import GroupCommit
from fastapi_azure_pool.clients.managed import ManagedClient
from fastapi_azure_pool.clients.management import Requests
from fastapi_azure_pool.errors import PoolError
from fastapi_azure_pool.pool.alarm import Alarm

from . import sending_invariants as invariants
from .sending_callers import KEYS, SendingCallers
from .sending_connector import SendingConnector
from .sending_service import SendingService
from .world import World

if TYPE_CHECKING:
    from .trace import Trace

RECOVERY_SECONDS = 200.0
"""Seconds after the last trouble within which everything works again: the longest back-off, and some of the longest deadlines."""

STORM_SECONDS = 1000.0
"""Seconds within which every caller has had its say; a caller makes a few sends, and each of them may take half a minute."""

LATE_SECONDS = 100.0
"""Seconds after which nothing of what was sent is on its way any more."""


class SendingWorld(World):
    """The life of a client that sends: its callers, its connections, the service, and an end."""

    name = "sending"
    is_crowded: ClassVar[bool] = False

    def __init__(self, seed: int, trace: Trace) -> None:
        super().__init__(seed, trace)
        lot = self.lot
        self.attempts = lot.choice((1, 1, 2, 3))
        self.crowd = lot.randint(35, 55) if self.is_crowded else 0
        self.service = SendingService(
            lot,
            trouble=lot.choice((0.0, 0.05, 0.2, 0.5, 1.0)),
            refuses_joined=lot.random() < 0.1,
            building_seconds=lot.choice(((0.0,), (0.0, 0.01, 0.3))),
            note=trace.note,
        )
        self.connector = SendingConnector(
            self.service,
            joins=lot.random() < 0.9,
            window=lot.randint(1, 4),
            batch_size=100 if self.crowd else lot.choice((6, 6, 100)),
        )
        self.client = ManagedClient(
            self.connector,
            service="orders",
            min_size=lot.randint(0, 1),
            max_size=1 if self.crowd else lot.randint(1, 3),
            client_limit=60 if self.crowd else lot.choice((3, 15)),
            max_lifespan_seconds=lot.choice((None, None, 20, 40)),
            max_idle_seconds=lot.choice((5, 300)),
            pool_connection_create_timeout=2.0,
        )
        self.connector.report = self.client.pool.report
        self._storm_ends_at = self.loop.now + STORM_SECONDS
        self.callers = SendingCallers(
            self.client, self.service, attempts=self.attempts, keys=KEYS[: lot.choice((1, 2, len(KEYS)))]
        )

    async def live(self) -> None:
        """Let every caller have its say, with the client closed in the midst of it perhaps; then see that all works again."""
        lot = self.lot
        with suppress(PoolError):
            await self.client.open()
        callers = [self.callers.start(self.callers.call(lot.randint(1, 3)), "caller") for _ in range(lot.randint(1, 8))]
        callers += [self.callers.start(self.callers.be_one_of_many(), "one of many") for _ in range(self.crowd)]
        if lot.random() < 0.3:
            await asyncio.sleep(lot.choice((0.0, 0.01, 0.3, 1.0, 5.0)))
            await self.client.close(lot.choice((0.0, 0.1, 10.0)))
            if lot.random() < 0.5:
                with suppress(PoolError):
                    await self.client.open()
        await asyncio.gather(*callers)
        await self._recover()
        await self.client.close(lot.choice((0.0, 10.0)))
        self._check_timers()
        await asyncio.sleep(LATE_SECONDS)

    async def _recover(self) -> None:
        """End all trouble; within bounded time everything is confirmed again."""
        self.service.trouble = 0.0
        self.trace.note("nothing goes wrong any more")
        with suppress(PoolError):
            await self.client.open()
        for key in KEYS:
            await self.callers.send_until_confirmed(key, RECOVERY_SECONDS)

    def _check_timers(self) -> None:
        """When all is closed, nothing under test waits for a time to come."""
        timers: list[Any] = self.loop._scheduled
        owners = [getattr(handle._callback, "__self__", None) for handle in timers if not handle.cancelled()]
        assert not any(isinstance(owner, (GroupCommit, Requests, Alarm)) for owner in owners), "a timer is left"

    def check(self) -> None:
        """Check every connection, and what nobody may do."""
        assert self.service.complaints == [], self.service.complaints
        for connection in self.connector.created:
            invariants.check(connection)

    def check_blocked(self) -> None:
        """Check that no connection keeps anything back, and that nobody waits for ever."""
        assert not self.service.trouble or self.loop.now < self._storm_ends_at, "somebody waits for ever"
        for connection in self.connector.created:
            invariants.check_at_rest(connection)

    def check_end(self) -> None:
        """Compare what callers were told with what the service has stored."""
        stored = Counter(self.service.stored)
        confirmed = [number for some in self.callers.acknowledged for number in some]
        assert [number for number in confirmed if not stored[number]] == [], "lost after their callers were told"
        assert [number for number in self.callers.not_stored if stored[number]] == [], (
            "stored, and their callers were told not"
        )
        tries = self.service.tries
        assert [number for number in tries if tries[number] > self.attempts] == [], "tried too often"
        assert [number for number in stored if stored[number] > tries[number]] == [], "stored more often than tried"
        place = {number: index for index, number in reversed([*enumerate(self.service.stored)])}
        for some in self.callers.acknowledged:
            places = [place[number] for number in some]
            assert places == sorted(places), "what one caller sent was stored out of order"
        for connection in self.connector.created:
            invariants.check_end(connection)


class CrowdWorld(SendingWorld):
    """The same with so many callers at once that batches are built, and callers told, in slices."""

    name = "crowd"
    is_crowded = True
