"""A service that does to its connections what a seed says, and keeps books of what it stored."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.coalescing import GroupCommit, Joining
from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, NOT_ALLOWED, RELEASED, TOO_LARGE, Outcome, OutcomeKind
from fastapi_azure_pool.errors import SendRejected
from fastapi_azure_pool.pool import AbstractConnector
from tests.support.scripted_channel import BUSY, Message, ScriptedChannel, ScriptedPacking

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

WINDOW = 4
KEYS = (None, "a", "b", "c")

MIXED = "Batching brokered messages with distinct MessageId is not supported"


class ConnectionEnded(Exception):
    """What a connection reports to its pool."""


class RandomService:
    """Stores messages, or does not, and tells, or does not.

    Attributes:
        stored: The names of the messages, in the order in which they were stored.
        transferred: How often each message was transferred.
        channels: Every connection there was.
        troubles: How often what happened.
    """

    def __init__(self, chance: random.Random, *, trouble: float) -> None:
        self.chance = chance
        self.trouble = trouble
        self.stored: list[Any] = []
        self.transferred: Counter[Any] = Counter()
        self.channels: list[RandomChannel] = []
        self.troubles: Counter[str] = Counter()
        self.arrivals = itertools.count()

    def store(self, names: list[Any]) -> None:
        """Store messages."""
        self.stored += names

    def happens(self, trouble: str, share: float = 1.0) -> bool:
        """Draw whether something happens now."""
        if self.chance.random() >= self.trouble * share:
            return False
        self.troubles[trouble] += 1
        return True


class RandomChannel(ScriptedChannel):
    """A connection to a random service.

    Attributes:
        accepted: By key, the arrival numbers of what was accepted, in order.
    """

    def __init__(self, service: RandomService) -> None:
        super().__init__()
        self.service = service
        self.window = WINDOW + 2
        self.accepted: dict[Any, list[int]] = defaultdict(list)
        self.flying: Counter[Any] = Counter()
        self.credit = {None: 3, "Partitions/1": 2}
        self.tend_at = asyncio.get_running_loop().time() + service.chance.uniform(1, 20)
        self._later(service.chance.expovariate(service.trouble / 20 + 1e-9), self.end)

    def end(self) -> None:
        """Let the connection end, as it does at some time."""
        if not self.is_closed:
            self.service.troubles["the connection ended"] += 1
            self.drop()

    async def receive(self) -> None:
        """Take in what has arrived; sometimes fail, or never return."""
        self._draw("receive", 0.002)
        await super().receive()

    async def room(self, address: str | None) -> int:
        """Give the credit; sometimes open a link first, refuse it, or never answer."""
        self._draw("room", 0.01)
        self.refused.clear()
        if self.service.happens("a link was refused", 0.03):
            self.refused[address] = self.service.chance.choice([BUSY, Outcome(OutcomeKind.REJECTED, "amqp:not-found")])
        return await super().room(address)

    async def tend(self) -> None:
        """Keep it alive; sometimes never return."""
        self._draw("tend", 0.1)
        await super().tend()
        self.tend_at = asyncio.get_running_loop().time() + self.service.chance.uniform(1, 20)

    async def manage(self) -> None:
        """Be busy, or carry a request out."""
        self._draw("manage", 0.05)
        if self.service.happens("a request found the service busy", 0.3):
            raise SendRejected("busy", condition="com.microsoft:server-busy")
        await super().manage()

    async def transfer(
        self, address: str | None, payload: Any, settled: Callable[[Outcome], None], seconds: float
    ) -> None:
        """Store it or not, and answer or not, now or later."""
        key = payload.key
        self.flying[key] += 1
        self._require(self.flying[key] == 1, "two transfers of one key in flight")
        self._require(self.flying.total() <= WINDOW, "more transfers in flight than the window has")
        self._require(bool(payload.messages), "an empty transfer")
        self._require(seconds > 0, "a transfer that nobody waits for")
        names = payload.names
        for number, _ in names:
            self.service.transferred[number] += 1

        def settle(outcome: Outcome) -> None:
            self.flying[key] -= 1
            settled(outcome)
            if self.service.chance.random() < 0.05:
                settled(self.service.chance.choice([ACCEPTED, RELEASED, LOST]))  # A second answer means nothing.

        self._draw("transfer", 0.005)
        self._decide(key, names, settle)
        await super().transfer(address, payload, settle, seconds)

    def _decide(self, key: Any, names: list[Any], settle: Callable[[Outcome], None]) -> None:
        service, chance = self.service, self.service.chance
        numbers = [number for number, _ in names]
        delay = chance.choice([0.0, 0.0, 0.01, 0.1, 1.0])

        def accept() -> None:
            service.store(numbers)
            self.accepted[key] += [arrival for _, arrival in names]
            self._later(delay, lambda: self.arrive(lambda: settle(ACCEPTED)))

        def answer(outcome: Outcome) -> None:
            self._later(delay, lambda: self.arrive(lambda: settle(outcome)))

        if service.happens("no answer", 0.1):
            # It may be stored long after everybody has given up on it.
            if chance.random() < 0.5:
                self._later(chance.uniform(0, 30), lambda: service.store(numbers))
        elif service.happens("ended in the air", 0.1):
            if chance.random() < 0.5:
                service.store(numbers)
            self._later(delay, self.end)
        elif service.happens("not taken", 0.4):
            answer(chance.choice([BUSY, RELEASED]))
        elif service.happens("refused", 0.2):
            answer(Outcome(OutcomeKind.REJECTED, "amqp:not-found"))
        elif service.happens("unknown", 0.1):
            if chance.random() < 0.5:
                service.store(numbers)
            answer(chance.choice([LOST, Outcome(OutcomeKind.REJECTED, "amqp:internal-error")]))
        elif len(names) > 1 and service.happens("joining refused", 0.2):
            condition = NOT_ALLOWED if chance.random() < 0.1 else TOO_LARGE
            answer(Outcome(OutcomeKind.REJECTED, condition, MIXED if condition == NOT_ALLOWED else None))
        else:
            self._later(chance.choice([0.0, 0.0, 0.01, 0.5]), accept)
        self._later(chance.choice([0.0, 0.0, 0.1, 5.0]), self._give_credit)

    def _give_credit(self) -> None:
        for address in self.credit:
            self.grant(self.service.chance.randint(0, 4), address)

    def _draw(self, call: str, share: float) -> None:
        chance = self.service.chance
        self.seconds[call] = chance.choice([0.0] * 6 + [0.001, 0.1])
        self.errors.pop(call, None)
        if self.service.happens(f"{call}() stalled", share):
            self.seconds[call] = math.inf
        elif self.service.happens(f"{call}() failed", share):
            self.errors[call] = ConnectionResetError()

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, what)


class RandomConnection:
    """What a pool of connections to a random service gives."""

    def __init__(self, service: RandomService, joining: Joining) -> None:
        self.service = service
        self.channel = RandomChannel(service)
        service.channels.append(self.channel)
        self.packing = ScriptedPacking()
        self.packing.limit = 6
        self.packing.addresses = {"b": "Partitions/1"}
        self.times_lost = 0
        self.on_lost: Callable[[], None] = lambda: None
        self.commit: GroupCommit[Message] = GroupCommit(
            self.channel, self.packing, joining, window=WINDOW, on_lost=self._lost, name="sender to orders"
        )

    def _lost(self) -> None:
        self.times_lost += 1
        self.on_lost()

    async def send(self, number: int, key: Any, seconds: float, size: int) -> None:
        """Send a message of this number; it has the place of its arrival in its name."""
        self.packing.new_batch_seconds = self.service.chance.choice([0.0] * 4 + [0.01, 0.3])
        await self.commit.send(Message((number, next(self.service.arrivals)), size), key, seconds)

    async def request(self, number: int, seconds: float) -> None:
        """Make a request that stores this number somewhere in its midst."""

        async def manage(left: float) -> None:
            await self.channel.manage()
            self.service.transferred[number] += 1
            self.service.store([number])
            await asyncio.sleep(self.service.chance.choice([0.0, 0.1, 3.0]))

        await self.commit.request(manage, seconds)


class RandomConnector(AbstractConnector[RandomConnection]):
    """Opens connections to a random service."""

    grow_at = 10
    probe_seconds = 1.0

    def __init__(self, service: RandomService) -> None:
        self.service = service
        self.joining = Joining("orders", is_allowed=True)
        self.created: list[RandomConnection] = []
        self.report: Callable[[RandomConnection, BaseException], None] = lambda connection, error: None

    async def create(self) -> RandomConnection:
        """Open a connection."""
        await asyncio.sleep(self.service.chance.choice([0.0, 0.01, 0.5]))
        connection = RandomConnection(self.service, self.joining)
        self.created.append(connection)
        connection.on_lost = lambda: self.report(connection, ConnectionEnded())
        return connection

    async def ready(self, connection: RandomConnection) -> bool:
        """Ask the connection."""
        return not connection.commit.is_closed

    def is_closed(self, connection: RandomConnection) -> bool:
        """Ask the connection."""
        return connection.commit.is_closed

    def is_fatal(self, error: BaseException) -> bool:
        """Know the connection's own report."""
        return isinstance(error, ConnectionEnded)

    async def close(self, connection: RandomConnection) -> None:
        """Close the connection."""
        await connection.commit.close()
