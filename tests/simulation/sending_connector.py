"""Connections to the service of `sending_service`, each with a `GroupCommit`, and what opens and closes them for a pool."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from fastapi_azure_pool.clients.batching import Joining
from fastapi_azure_pool.clients.coalescing import GroupCommit
from fastapi_azure_pool.pool import AbstractConnector
from tests.support.scripted_channel import Message, ScriptedPacking

from .sending_channel import ADDRESSES, SimulatedChannel, WholeBatch
from .sending_service import NumberedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from .sending_service import SendingService


class ConnectionEnded(Exception):
    """What a connection reports to its pool."""


class Errand:
    """What a caller wants sent, from the first attempt to the last.

    Attributes:
        numbers: The numbers of its messages: one, or those of a batch that its caller has made.
        key: Their key.
        is_whole: Whether they are such a batch.
        size: What each counts against the limit of a batch.
        error: What comes of adding it to a batch.
        is_over: Whether nothing of it may leave any more.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        key: Hashable,
        *,
        is_whole: bool = False,
        size: int = 1,
        error: type[Exception] | None = None,
    ) -> None:
        self.numbers = numbers
        self.key = key
        self.is_whole = is_whole
        self.size = size
        self.error = error
        self.is_over = False
        self._messages: list[NumberedMessage] = []

    def begin(self, arrival: int) -> Message | WholeBatch:
        """Give what is sent at this place of arrival."""
        self._messages = [
            NumberedMessage(number, self.key, arrival, size=self.size, error=self.error) for number in self.numbers
        ]
        if not self.is_whole:
            return self._messages[0]
        batch = WholeBatch(self.key)
        batch.messages += self._messages
        return batch

    def end_attempt(self) -> None:
        """Let nothing of the present attempt leave any more."""
        for message in self._messages:
            message.is_over = True

    def end(self) -> None:
        """Let nothing of it leave any more."""
        self.is_over = True
        self.end_attempt()


class SendingConnection:
    """What a pool of connections to the service gives.

    Attributes:
        commit: What sends over it.
        window: Transfers that may be in flight on it at once.
        inside: How many callers wait in it for an answer to what they have sent, requests aside.
        times_lost: How often it told its pool that it is lost.
        times_closed: How often its pool has closed it.
    """

    def __init__(
        self,
        service: SendingService,
        joining: Joining,
        *,
        window: int,
        batch_size: int,
        arrivals: itertools.count[int],
        on_lost: Callable[[SendingConnection], None],
    ) -> None:
        window_of_link = max(1, window + service.lot.randint(-1, 2))
        self.window = min(window, window_of_link)
        self.channel = SimulatedChannel(service, joining, window=window_of_link, most_in_flight=self.window)
        self.packing = ScriptedPacking()
        self.packing.limit = batch_size
        self.packing.addresses = ADDRESSES
        self.inside = 0
        self.times_lost = 0
        self.times_closed = 0
        self._service = service
        self._arrivals = arrivals
        self._on_lost = on_lost
        self.commit: GroupCommit[Message] = GroupCommit(
            self.channel, self.packing, joining, window=window, on_lost=self._lose, name="sender to orders"
        )

    async def send(self, errand: Errand, seconds: float) -> None:
        """Send what an errand holds."""
        self.packing.new_batch_seconds = self._service.lot.choice(self._service.building_seconds)
        item = errand.begin(next(self._arrivals))
        self.inside += 1
        try:
            await self.commit.send(item, errand.key, seconds, is_whole=errand.is_whole)  # type: ignore[arg-type]  # a batch is not looked into
        finally:
            self.inside -= 1
            errand.end_attempt()

    async def request(self, errand: Errand, seconds: float) -> None:
        """Make a request that stores an errand's messages somewhere in its midst."""
        service = self._service

        async def manage(left: float) -> None:
            if errand.is_over:
                service.complain(f"{errand.numbers} were requested, though their caller has gone")
            try:
                await self.channel.manage()
                service.tries.update(errand.numbers)
                service.store(errand.numbers)
                await asyncio.sleep(service.lot.choice((0.0, 0.1, 3.0)))
            except asyncio.CancelledError:
                self.channel.break_off()
                raise

        await self.commit.request(manage, seconds)

    def _lose(self) -> None:
        self.times_lost += 1
        self._service.note("a connection was given up")
        self._on_lost(self)


class SendingConnector(AbstractConnector[SendingConnection]):
    """Opens and closes connections to the service.

    Args:
        service: What they lead to.
        joins: Whether messages are joined.
        window: Transfers in flight on one connection at most.
        batch_size: What a batch holds.

    Attributes:
        created: Every connection there was.
        joining: What the connections share.
        report: Called with a connection and why it has ended.
    """

    grow_at = 10
    probe_seconds = 1.0

    def __init__(self, service: SendingService, *, joins: bool, window: int, batch_size: int) -> None:
        self.created: list[SendingConnection] = []
        self.joining = Joining("orders", is_allowed=joins)
        self.report: Callable[[SendingConnection, BaseException], None] = lambda connection, error: None
        self._service = service
        self._window = window
        self._batch_size = batch_size
        self._arrivals = itertools.count()

    async def create(self) -> SendingConnection:
        """Open a connection, or fail."""
        await asyncio.sleep(self._service.lot.choice((0.0, 0.01, 0.5)))
        if self._service.happens("a connection could not be opened", 0.1):
            raise ConnectionRefusedError
        connection = SendingConnection(
            self._service,
            self.joining,
            window=self._window,
            batch_size=self._batch_size,
            arrivals=self._arrivals,
            on_lost=lambda lost: self.report(lost, ConnectionEnded()),
        )
        self.created.append(connection)
        return connection

    async def ready(self, connection: SendingConnection) -> bool:
        """Ask the connection."""
        return not connection.commit.is_closed

    def is_closed(self, connection: SendingConnection) -> bool:
        """Ask the connection."""
        return connection.commit.is_closed

    def is_fatal(self, error: BaseException) -> bool:
        """Know the connection's own report."""
        return isinstance(error, ConnectionEnded)

    async def close(self, connection: SendingConnection) -> None:
        """Close the connection; sometimes slowly, and sometimes the other side does not go along."""
        connection.times_closed += 1
        await connection.commit.close()
        await asyncio.sleep(self._service.lot.choice((0.0, 0.0, 0.2)))
        if self._service.happens("a connection could not be closed", 0.1):
            raise ConnectionResetError
