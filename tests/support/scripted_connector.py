"""A connector that does as a test tells it, and remembers what the pool asked of it."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

from fastapi_azure_pool.pool import AbstractConnector


class Transport:
    """What a scripted connector creates; counts how often it was closed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.times_closed = 0

    def __repr__(self) -> str:
        return f"<Transport {self.number}>"


class ScriptedConnector(AbstractConnector[Transport]):
    """Opens, proves and closes in no time and without failing, unless an attribute says otherwise.

    Attributes:
        create_seconds: How long create() takes; None for ever.
        ready_seconds: How long ready() takes; None for ever.
        close_seconds: How long close() takes; None for ever.
        create_error: What create() raises when its time is over.
        ready_answer: What ready() returns.
        close_error: What close() raises when its time is over.
        close_ignores_cancellation: Whether close() goes on when it is cancelled, until `let_go` is set.
        fatal: The errors that break a connection.
        judgement_error: What is_fatal() raises.
        begun: How often create() was called.
        in_flight: How many create() are running.
        most_in_flight: The most that have been.
        created: What create() has returned, in order.
        contexts: How many context variables each call of create(), ready() and close() saw.
    """

    def __init__(self) -> None:
        self.create_seconds: float | None = 0
        self.ready_seconds: float | None = 0
        self.close_seconds: float | None = 0
        self.create_error: BaseException | None = None
        self.ready_answer = True
        self.close_error: BaseException | None = None
        self.close_ignores_cancellation = False
        self.let_go = asyncio.Event()
        self.fatal: tuple[type[BaseException], ...] = ()
        self.judgement_error: Exception | None = None
        self.begun = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.created: list[Transport] = []
        self.contexts: list[int] = []

    async def create(self) -> Transport:
        """Open a transport."""
        self.contexts.append(len(copy_context()))
        self.begun += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await _pass(self.create_seconds)
            if self.create_error is not None:
                raise self.create_error
        finally:
            self.in_flight -= 1
        transport = Transport(len(self.created))
        self.created.append(transport)
        return transport

    async def ready(self, connection: Transport) -> bool:
        """Tell what `ready_answer` says."""
        self.contexts.append(len(copy_context()))
        await _pass(self.ready_seconds)
        return self.ready_answer

    async def close(self, connection: Transport) -> None:
        """Count a close."""
        self.contexts.append(len(copy_context()))
        connection.times_closed += 1
        while self.close_ignores_cancellation and not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        await _pass(self.close_seconds)
        if self.close_error is not None:
            raise self.close_error

    def is_fatal(self, error: BaseException) -> bool:
        """Tell whether the error is among the `fatal`."""
        if self.judgement_error is not None:
            raise self.judgement_error
        return isinstance(error, self.fatal)

    @property
    def closed(self) -> list[Transport]:
        """The transports that close() was called with, in order of creation."""
        return [transport for transport in self.created if transport.times_closed]


class TellingConnector(ScriptedConnector):
    """A scripted connector that can tell when a connection is dead.

    Attributes:
        dead: The dead ones.
        all_are_dead: Whether every one is, the new ones too.
        detection_error: What is_closed() raises.
        times_asked: How often is_closed() was asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dead: set[Transport] = set()
        self.all_are_dead = False
        self.detection_error: Exception | None = None
        self.times_asked = 0

    def is_closed(self, connection: Transport) -> bool:
        """Tell whether the connection is among the `dead`."""
        self.times_asked += 1
        if self.detection_error is not None:
            raise self.detection_error
        return self.all_are_dead or connection in self.dead


async def _pass(seconds: float | None) -> None:
    if seconds is None:
        await asyncio.get_running_loop().create_future()
    elif seconds:
        await asyncio.sleep(seconds)
