"""A connector to a simulated service, which takes its time and goes wrong as the seed says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi_azure_pool.pool import AbstractConnector
from tests.support.scripted_connector import Transport

from .scenario import DURATIONS, Faults

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from .scenario import Scenario
    from .trace import Trace


FOR_EVER = 1e6
"""Sixteenths of somebody's patience, in seconds."""


class Broken(Exception):
    """An error that means that its connection is broken."""


class Trouble(Exception):
    """An error that means nothing to the pool."""


class SimulatedConnector(AbstractConnector[Transport]):
    """Opens, proves, judges and closes connections that may fail in every way.

    Args:
        scenario: What can go wrong, and how long the pool waits.
        lot: Draws what does.
        trace: Takes what happens.

    Attributes:
        faults: What can go wrong from now on.
        created: What create() has returned, in order.
        open: Those of them that close() has not been called with.
        dead: Those that are dead, known or not.
        condemned: Those that the pool may rightly have to retire at once: the dead, and those found or called broken.
        before_close: Called with each connection when close() begins.
    """

    def __init__(self, scenario: Scenario, lot: random.Random, trace: Trace) -> None:
        self.faults = scenario.faults
        self.grow_at = scenario.grow_at
        self.probe_seconds = scenario.probe_seconds
        self.created: list[Transport] = []
        self.open: dict[Transport, None] = {}
        self.dead: set[Transport] = set()
        self.condemned: set[Transport] = set()
        self._deaths: list[asyncio.TimerHandle] = []
        self.before_close: Callable[[Transport], object] = lambda transport: None
        self._create_timeout: float = scenario.sizes["create_timeout"]
        self._close_timeout: float = scenario.sizes["close_timeout"]
        self._lot = lot
        self._trace = trace

    def cease(self) -> None:
        """Let nothing go wrong any more."""
        self.faults = Faults()
        for death in self._deaths:
            death.cancel()

    def may(self, likelihood: float) -> bool:
        """Draw whether something happens."""
        return likelihood > 0 and self._lot.random() < likelihood

    async def create(self) -> Transport:
        """Open a connection, or fail to."""
        self._trace.note("create() begins")
        await self._work("create()", self._create_timeout, hang=self.faults.hang)
        if self.may(self.faults.refusal):
            self._trace.note("create() is refused")
            raise self._lot.choice((OSError, TimeoutError, Trouble))("refused")
        transport = Transport(len(self.created))
        self.created.append(transport)
        self.open[transport] = None
        self._trace.note(f"create() returns {transport}")
        if self.may(self.faults.death):
            seconds = self._lot.choice(DURATIONS)
            self._deaths.append(asyncio.get_running_loop().call_later(seconds, self.die, transport))
        return transport

    async def ready(self, connection: Transport) -> bool:
        """Prove a connection, or fail to."""
        await self._work("ready()", self._create_timeout, hang=self.faults.hang)
        if self.may(self.faults.doubt):
            self._trace.note(f"ready() denies {connection}")
            if self._lot.random() < 0.5:
                raise Trouble("not ready")
            return False
        if self.may(self.faults.stillbirth):
            self.die(connection)
        return True

    async def close(self, connection: Transport) -> None:
        """Close a connection."""
        self._trace.note(f"close() of {connection} begins")
        self.before_close(connection)
        connection.times_closed += 1
        self.open.pop(connection, None)
        await self._work("close()", self._close_timeout, hang=self.faults.slow_close)
        if self.may(self.faults.failed_close):
            self._trace.note(f"close() of {connection} fails")
            raise self._lot.choice((OSError, Trouble))("cannot be closed")
        self._trace.note(f"close() of {connection} ends")

    def is_fatal(self, error: BaseException) -> bool:
        """Tell whether it is `Broken`."""
        if self.may(self.faults.misjudgement):
            self.condemned.update(self.open)  # Whichever of them it is.
            raise Trouble("cannot judge")
        return isinstance(error, Broken)

    def die(self, connection: Transport) -> None:
        """Let a connection die; nobody knows yet."""
        if connection in self.open:
            self._trace.note(f"{connection} dies")
            self.dead.add(connection)
            self.condemned.add(connection)

    async def _work(self, what: str, patience: float, hang: float) -> None:
        """Take some time; perhaps more than somebody's patience, perhaps in spite of being cancelled."""
        loop = asyncio.get_running_loop()
        # Created and proven in time, whatever is drawn, unless it hangs.
        sixteenths = self._lot.choice((24.0, FOR_EVER)) if self.may(hang) else self._lot.choice(DURATIONS)
        is_stubborn = self.may(self.faults.stubbornness)
        ends_at = loop.time() + sixteenths * patience / 16
        if sixteenths or self._lot.random() < 0.5:
            while True:
                try:
                    await asyncio.sleep(max(0.0, ends_at - loop.time()))
                    break
                except asyncio.CancelledError:
                    if not is_stubborn:
                        self._trace.note(f"{what} is cancelled")
                        raise
                    self._trace.note(f"{what} ignores that it is cancelled")
                    # For less than the pool waits for what it has cancelled.
                    ends_at = min(ends_at, loop.time() + self._close_timeout)
        if self.may(self.faults.self_cancellation):
            self._trace.note(f"{what} cancels itself")
            raise asyncio.CancelledError


class TellingConnector(SimulatedConnector):
    """One that can tell whether a connection is dead."""

    def is_closed(self, connection: Transport) -> bool:
        """Tell whether it is dead."""
        if self.may(self.faults.blindness):
            self.condemned.add(connection)
            raise Trouble("cannot tell")
        return connection in self.dead
