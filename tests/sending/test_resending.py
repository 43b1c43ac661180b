"""What was certainly not stored is sent again on another connection; what may have been only if the application allows it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from fastapi_azure_pool.clients.managed import ManagedClient
from fastapi_azure_pool.clients.resending import check_sending, send_through
from fastapi_azure_pool.errors import (
    ConnectionFailed,
    ConnectionsExhausted,
    MessageTooLarge,
    PoolClosed,
    SendError,
    SendInterrupted,
    SendRejected,
    SendTimedOut,
)
from tests.support.scripted_channel import Caller
from tests.support.scripted_connector import TellingConnector, Transport
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

MakeClient: TypeAlias = "Callable[..., ManagedClient[Transport]]"


class Deliveries:
    """Sends that end as the test wants, in order; the last way again and again.

    Attributes:
        ends: What each raises; None is a success.
        takes: Seconds that each takes.
        made: When each began, over which connection, and with how many seconds.
    """

    def __init__(self, *ends: SendError | None, takes: float = 0.0) -> None:
        self.ends = list(ends)
        self.takes = takes
        self.made: list[tuple[float, int, float]] = []
        self.on_end: Callable[[Transport], None] = lambda connection: None

    async def __call__(self, connection: Transport, seconds: float) -> str:
        """Send once."""
        self.made.append((virtual_loop().time(), connection.number, seconds))
        assert len(self.made) < 100, "it is sent again for ever"
        if self.takes:
            await asyncio.sleep(self.takes)
        error = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if error is not None:
            self.on_end(connection)
            raise error
        return "sent"


def interrupted(*, maybe: bool = False) -> SendInterrupted:
    """Give an interruption."""
    return SendInterrupted("interrupted", maybe_delivered=maybe)


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """Make managed clients on a scripted connector; they are closed afterwards."""
    made: list[ManagedClient[Transport]] = []

    def make(connector: TellingConnector, **sizes: Any) -> ManagedClient[Transport]:
        made.append(ManagedClient(connector, service="test", **sizes))
        return made[-1]

    yield make
    for client in made:
        await client.close(0)


def through(
    client: ManagedClient[Transport], deliveries: Deliveries, *, seconds: float = 10.0, attempts: int = 1
) -> Coroutine[Any, Any, str]:
    """Send through a client."""
    return send_through(client, deliveries, seconds=seconds, attempts=attempts)


async def test_the_answer_is_given(make_client: MakeClient) -> None:
    """A send that succeeds is made once, with the time that is left, and its answer is the caller's."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(None)
    assert await through(client, deliveries, seconds=7) == "sent"
    assert [seconds for _, _, seconds in deliveries.made] == [7]


async def test_an_interrupted_one_goes_to_another_connection_at_once(make_client: MakeClient) -> None:
    """What was not stored as its connection ended leaves by another without a pause, without a further attempt."""
    connector = TellingConnector()
    client = make_client(connector, min_size=2, max_size=2)
    await client.open()
    deliveries = Deliveries(interrupted(), None)
    deliveries.on_end = connector.dead.add
    assert await through(client, deliveries) == "sent"
    (first, one, _), (second, other, _) = deliveries.made
    assert second == first
    assert one != other


async def test_then_the_pauses_grow(make_client: MakeClient) -> None:
    """After the first other connection come pauses of 1, 2 and 4 s, 20 % more or less."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(*[interrupted()] * 5, None)
    assert await through(client, deliveries, seconds=100) == "sent"
    pauses = [later - earlier for (earlier, *_), (later, *_) in itertools.pairwise(deliveries.made)]
    assert pauses[0] == 0
    for pause, seconds in zip(pauses[1:], [1, 2, 4, 4], strict=True):
        assert 0.8 * seconds <= pause <= 1.2 * seconds
    assert deliveries.made[-1][2] == pytest.approx(100 - sum(pauses))


async def test_never_beyond_the_deadline(make_client: MakeClient) -> None:
    """When the next pause would outlast the caller's time, the error is told at once."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(interrupted())
    begun = virtual_loop().time()
    with pytest.raises(SendInterrupted) as caught:
        await through(client, deliveries, seconds=5)
    assert not caught.value.maybe_delivered
    assert 2.4 <= virtual_loop().time() - begun <= 3.6  # At once, after 1 and 2 s; 4 s more are too many.
    assert len(deliveries.made) == 4


@pytest.mark.parametrize("attempts", [1, 2, 5])
@pytest.mark.parametrize(
    "error",
    [
        MessageTooLarge("too large"),
        SendRejected("no", condition="amqp:not-found"),
        SendRejected("busy", condition="com.microsoft:server-busy"),
    ],
)
async def test_a_refusal_is_final(make_client: MakeClient, error: SendError, attempts: int) -> None:
    """What the service refused is not sent again; for a busy one the connection has waited already."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(error)
    with pytest.raises(SendRejected):
        await through(client, deliveries, attempts=attempts)
    assert len(deliveries.made) == 1


@pytest.mark.parametrize(
    "error",
    [
        interrupted(maybe=True),
        SendTimedOut("late", maybe_delivered=True),
        SendTimedOut("late", maybe_delivered=False),
        SendRejected("gave up", condition="com.microsoft:timeout", maybe_delivered=True),
    ],
)
async def test_what_is_unknown_or_late_takes_another_attempt(make_client: MakeClient, error: SendError) -> None:
    """It is sent as often as attempts are allowed, each with the whole time, and the last error is told."""
    for attempts in (1, 2, 3):
        client = make_client(TellingConnector())
        deliveries = Deliveries(error, takes=4)
        with pytest.raises(type(error)) as caught:
            await through(client, deliveries, attempts=attempts)
        assert caught.value.maybe_delivered == error.maybe_delivered
        assert [seconds for _, _, seconds in deliveries.made] == [10] * attempts


async def test_one_that_found_no_open_connection_in_time_takes_another_attempt(make_client: MakeClient) -> None:
    """Where every connection turned out to be closed until the time was over, a further attempt has the whole time again."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(interrupted())
    with pytest.raises(SendInterrupted):
        await through(client, deliveries, seconds=0.5, attempts=3)
    assert [seconds for _, _, seconds in deliveries.made] == [0.5] * 6


async def test_another_attempt_may_succeed(make_client: MakeClient) -> None:
    """With attempts left, a caller does not hear of one whose outcome nobody knows."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(interrupted(maybe=True), interrupted(), None)
    assert await through(client, deliveries, attempts=2) == "sent"
    assert len(deliveries.made) == 3


@pytest.mark.parametrize(
    "last", [MessageTooLarge("too large"), interrupted(), SendTimedOut("late", maybe_delivered=False)]
)
async def test_an_unknown_attempt_is_not_forgotten(make_client: MakeClient, last: SendError) -> None:
    """When the last attempt was certainly not stored but an earlier one may have been, the caller is told that it may be there."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(interrupted(maybe=True), last)
    with pytest.raises(SendInterrupted) as caught:
        await through(client, deliveries, seconds=2, attempts=2)
    assert caught.value.maybe_delivered
    assert caught.value.__cause__ is last


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (SendTimedOut("late", maybe_delivered=False), MessageTooLarge("too large")),
        (interrupted(maybe=True), SendRejected("gave up", condition="com.microsoft:timeout", maybe_delivered=True)),
    ],
)
async def test_else_the_last_attempt_is_told(make_client: MakeClient, first: SendError, last: SendError) -> None:
    """Where the earlier attempt was not stored either, or the last one may be there too, the caller hears of the last one."""
    client = make_client(TellingConnector())
    with pytest.raises(SendRejected) as caught:
        await through(client, Deliveries(first, last), attempts=2)
    assert caught.value is last


async def test_an_unknown_attempt_outlives_the_pools_trouble(make_client: MakeClient) -> None:
    """The same holds when no connection can be had for the next attempt."""
    connector = TellingConnector()
    client = make_client(connector, min_size=0)
    deliveries = Deliveries(interrupted(maybe=True))

    def break_down(connection: Transport) -> None:
        connector.all_are_dead = True
        connector.create_error = OSError()

    deliveries.on_end = break_down
    with pytest.raises(SendInterrupted) as caught:
        await through(client, deliveries, attempts=3)
    assert caught.value.maybe_delivered
    assert isinstance(caught.value.__cause__, ConnectionFailed)


async def test_no_connection_is_the_pools_error(make_client: MakeClient) -> None:
    """When no connection can be had and nothing can have been stored, the pool's own error is told."""
    connector = TellingConnector()
    connector.create_error = OSError()
    client = make_client(connector)
    with pytest.raises(ConnectionFailed):
        await through(client, Deliveries(None), attempts=2)
    await client.close()
    with pytest.raises(PoolClosed):
        await through(client, Deliveries(None))


@pytest.mark.parametrize(("patience", "waited"), [(None, 3), (10, 3), (2, 2)])
async def test_the_wait_for_a_place_is_part_of_the_time(
    make_client: MakeClient, patience: float | None, waited: float
) -> None:
    """Who finds no place waits no longer than the time of the send, nor than the pool's own."""
    client = make_client(TellingConnector(), client_limit=1, max_size=1, pool_get_timeout=patience)
    async with client.get():
        begun = virtual_loop().time()
        with pytest.raises(ConnectionsExhausted):
            await through(client, Deliveries(None), seconds=3)
        assert virtual_loop().time() - begun == waited


async def test_a_late_place_leaves_less_time(make_client: MakeClient) -> None:
    """What was waited for a place is missing for the send."""
    client = make_client(TellingConnector(), client_limit=1, max_size=1)
    deliveries = Deliveries(None)
    async with client.get():
        caller = Caller(through(client, deliveries, seconds=3))
        await let_time_pass(2)
    await wait_until_blocked()
    assert caller.answer == "sent"
    assert [seconds for _, _, seconds in deliveries.made] == [1]


async def test_cancelled_in_a_pause_nothing_is_held(make_client: MakeClient) -> None:
    """During a pause no place of the pool is held, and a cancellation ends it."""
    client = make_client(TellingConnector())
    deliveries = Deliveries(interrupted())
    caller = Caller(through(client, deliveries))
    await let_time_pass(0.1)
    assert client.pool.stats().clients == 0
    caller.cancel()
    await wait_until_blocked()
    assert caller.ended == "cancelled"
    assert len(deliveries.made) == 2


async def test_an_error_of_another_kind_is_the_callers(make_client: MakeClient) -> None:
    """What is no error of sending is not tried again."""
    client = make_client(TellingConnector())
    times: list[int] = []

    async def send(connection: Transport, seconds: float) -> None:
        times.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await send_through(client, send, seconds=10, attempts=5)
    assert times == [1]


async def test_nothing_is_kept_of_what_failed(make_client: MakeClient) -> None:
    """What an error's frames hold is free as soon as the error is."""

    class Thing:
        pass

    client = make_client(TellingConnector())
    gc.collect()
    gc.disable()
    try:
        thing = Thing()
        kept = weakref.ref(thing)

        async def fail(thing: Thing) -> None:
            async def send(connection: Transport, seconds: float) -> None:
                raise SendInterrupted(str(thing), maybe_delivered=True)

            with pytest.raises(SendInterrupted):
                await send_through(client, send, seconds=1, attempts=3)

        await asyncio.create_task(fail(thing))
        del thing
        await wait_until_blocked()
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "10", None])
def test_a_time_that_is_none_is_refused(seconds: object) -> None:
    """Seconds that are not a finite number above 0 are refused by name, with the value."""
    with pytest.raises(ValueError, match="send_timeout_seconds must be a number of seconds above 0, not"):
        check_sending(seconds, 1, 1)


@pytest.mark.parametrize("name", ["send_attempts", "window"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1", None])
def test_a_count_that_is_none_is_refused(name: str, value: object) -> None:
    """Attempts and windows that are not whole numbers of at least 1 are refused by name, with the value."""
    values = {"send_attempts": 1, "window": 1, name: value}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, not {value!r}"):
        check_sending(1, values["send_attempts"], values["window"])


def test_good_numbers_are_taken() -> None:
    """The smallest values pass."""
    check_sending(0.001, 1, 1)
