"""A managed client of any connector: its sizes, its life, and what its connections share."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool import (
    ConnectionFailed,
    ConnectionsExhausted,
    ManagedClient,
    PoolClosed,
    PoolState,
    WrongLoopError,
)
from fastapi_azure_pool.clients.managed import Sizes
from tests.clients.waiting import eventually
from tests.support.scripted_connector import ScriptedConnector, Transport

# What a default makes wrong when another size is given.
DEPENDENT = {"min_size", "burst_limit", "grow_at"}


class Shared:
    """What connections share; notes how many of them were open when it was closed.

    Attributes:
        open_at_close: For each close, how many connections had not been closed yet.
        let: Closing waits for it.
        error: What closing raises.
    """

    def __init__(self, connector: ScriptedConnector) -> None:
        self.open_at_close: list[int] = []
        self.let = asyncio.Event()
        self.let.set()
        self.error: Exception | None = None
        self._connector = connector

    async def close(self) -> None:
        """Note a close."""
        self.open_at_close.append(len(self._connector.created) - len(self._connector.closed))
        await self.let.wait()
        if self.error is not None:
            raise self.error


def make(connector: ScriptedConnector | None = None, **options: Any) -> ManagedClient[Transport]:
    """Return a managed client of a scripted connector."""
    return ManagedClient(connector or ScriptedConnector(), service="scripted", **options)


numbers = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 200), st.integers(), st.floats(), st.text(max_size=3), st.just([1])
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(Sizes.__annotations__)), numbers, max_size=4))
def test_any_sizes_make_a_client_or_are_told_by_name(sizes: dict[str, Any]) -> None:
    """Whatever the sizes and times are, they are taken, or one of them is named with its value and its bound."""
    try:
        limits = make(**sizes).pool._limits
    except ValueError as error:
        told = str(error)
    else:
        assert 0 <= limits.min_size <= limits.max_size <= limits.burst_limit
        assert limits.client_limit >= 1
        return
    refused = re.match(r"(?P<name>\w+) must be a .*number( of seconds)?,? .*(at least|above) .*, not ", told)
    assert refused is not None, told
    assert {refused["name"], f"pool_connection_{refused['name']}"} & sizes.keys() or refused["name"] in DEPENDENT


async def test_defaults() -> None:
    """Without sizes a client keeps one connection ready, ten at most, each for a hundred clients, and waits ten seconds."""
    client = make()
    stats, limits = client.pool.stats(), client.pool._limits
    assert (stats.client_limit, stats.min_size, stats.max_size, stats.burst_limit) == (100, 1, 10, 10)
    assert (limits.max_idle_seconds, limits.max_lifespan_seconds, limits.max_concurrent_creates) == (300, None, 3)
    assert (limits.create_timeout, limits.close_timeout, limits.grow_at, limits.max_waiting) == (10, 5, 100, None)
    assert (client.pool_get_timeout, client.service, limits.leak_warning_seconds) == (10, "scripted", None)


async def test_every_size_reaches_the_pool() -> None:
    """Each argument sets what it says."""
    client = make(
        client_limit=7,
        max_size=6,
        min_size=2,
        max_idle_seconds=11,
        max_lifespan_seconds=12,
        max_concurrent_creates=3,
        burst_limit=8,
        grow_at=5,
        max_waiting=9,
        pool_connection_create_timeout=13,
        pool_get_timeout=14,
        close_timeout=15,
        leak_warning_seconds=16,
    )
    limits = client.pool._limits
    assert (limits.client_limit, limits.max_size, limits.min_size, limits.burst_limit) == (7, 6, 2, 8)
    assert (limits.max_idle_seconds, limits.max_lifespan_seconds, limits.max_concurrent_creates) == (11, 12, 3)
    assert (limits.create_timeout, limits.close_timeout, limits.grow_at, limits.max_waiting) == (13, 15, 5, 9)
    assert (client.pool_get_timeout, limits.leak_warning_seconds) == (14, 16)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"client_limit": 0}, "client_limit must be a whole number of at least 1, not 0"),
        ({"max_size": 0}, "max_size must be a whole number of at least 1, not 0"),
        ({"min_size": 11}, r"min_size must be a whole number of at least 0 and at most 10 \(max_size\), not 11"),
        ({"min_size": -1}, "min_size must be a whole number of at least 0"),
        ({"burst_limit": 9}, r"burst_limit must be a whole number of at least 10 \(max_size\), not 9"),
        ({"grow_at": 101}, r"grow_at must be a whole number of at least 1 and at most 100 \(client_limit\), not 101"),
        ({"max_waiting": -1}, "max_waiting must be a whole number of at least 0, not -1"),
        ({"max_concurrent_creates": 0}, "max_concurrent_creates must be a whole number of at least 1, not 0"),
        ({"max_idle_seconds": 0}, "max_idle_seconds must be a finite number of seconds above 0, or None"),
        ({"max_lifespan_seconds": -1}, "max_lifespan_seconds must be a finite number of seconds above 0, or None"),
        ({"pool_connection_create_timeout": 0}, "create_timeout must be a finite number of seconds above 0, not 0"),
        ({"close_timeout": float("inf")}, "close_timeout must be a finite number of seconds above 0, not inf"),
        (
            {"leak_warning_seconds": -1},
            "leak_warning_seconds must be a finite number of seconds above 0, or None .*, not -1",
        ),
        (
            {"pool_get_timeout": "10"},
            "pool_get_timeout must be a number of seconds, at least 0, or None to wait for ever, not '10'",
        ),
        ({"pool_get_timeout": float("nan")}, "pool_get_timeout must be a number of seconds, at least 0"),
        ({"pool_get_timeout": -1}, "pool_get_timeout must be a number of seconds, at least 0, or None .*, not -1"),
    ],
)
def test_a_size_out_of_bounds_is_named_with_its_bound(sizes: dict[str, Any], message: str) -> None:
    """A wrong size raises ValueError when the client is made, and says which one and what its bound is."""
    with pytest.raises(ValueError, match=message):
        make(**sizes)


def test_making_one_touches_no_loop_and_opens_nothing() -> None:
    """A client can be made at import time, where no event loop runs."""
    connector = ScriptedConnector()
    client = make(connector)
    assert (client.pool.state, connector.begun) == (PoolState.NEW, 0)


async def test_entering_fills_it_and_leaving_closes_everything() -> None:
    """``async with`` opens min_size connections, gives the client, and closes all of them at its end."""
    connector = ScriptedConnector()
    async with make(connector, min_size=2) as client:
        assert (client.pool.state, client.pool.ready_connection_count) == (PoolState.OPEN, 2)
        async with client.get() as transport:
            assert transport in connector.created
    assert client.pool.state is PoolState.CLOSED
    assert [transport.times_closed for transport in connector.created] == [1, 1]


async def test_it_opens_again_after_closing() -> None:
    """A closed client refuses to be used, and may be opened again."""
    connector = ScriptedConnector()
    client = make(connector)
    for _ in range(3):
        async with client:
            pass
        with pytest.raises(PoolClosed):
            await client.get().__aenter__()
    assert [transport.times_closed for transport in connector.created] == [1, 1, 1]


def test_it_opens_again_on_another_loop() -> None:
    """A client that was closed may be opened on another event loop."""
    connector = ScriptedConnector()
    client = make(connector)

    async def use() -> Transport:
        async with client, client.get() as transport:
            return transport

    assert [asyncio.run(use()).number for _ in range(2)] == [0, 1]


async def test_a_client_that_cannot_be_entered_is_closed() -> None:
    """When entering fails, nothing is left running and the pool's error comes with its cause."""
    connector = ScriptedConnector()
    connector.create_error = OSError("no route")
    shared = Shared(connector)
    client = make(connector, shared=shared)
    with pytest.raises(ConnectionFailed) as raised:
        await client.__aenter__()
    assert raised.value.__cause__ is connector.create_error
    assert (client.pool.state, shared.open_at_close) == (PoolState.CLOSED, [0])


async def test_a_client_that_cannot_be_opened_stays_open_and_heals() -> None:
    """open() that fails leaves the pool trying; once the service is back it fills itself."""
    connector = ScriptedConnector()
    connector.create_error = OSError("no route")
    client = make(connector)
    with pytest.raises(ConnectionFailed):
        await client.open()
    assert client.pool.state is PoolState.OPEN
    connector.create_error = None
    await eventually(lambda: client.pool.ready_connection_count == 1)
    await client.close()


async def test_opening_gives_each_round_of_attempts_its_time() -> None:
    """open() waits as long as the attempts for min_size connections may take, so that the last one's own error comes first."""
    connector = ScriptedConnector()
    connector.create_seconds = None
    client = make(connector, pool_connection_create_timeout=0.05)
    with pytest.raises(ConnectionFailed) as raised:
        await client.open()
    assert isinstance(raised.value.__cause__, TimeoutError)
    await client.close(0)
    assert make(min_size=10, max_size=10, pool_connection_create_timeout=2)._fill_seconds == 9.0
    assert make(min_size=0, pool_connection_create_timeout=2)._fill_seconds == 3.0
    assert make(min_size=4, max_concurrent_creates=4, pool_connection_create_timeout=2)._fill_seconds == 3.0


async def test_a_timeout_of_its_own_or_the_client_s() -> None:
    """get() waits for its own timeout, without one for pool_get_timeout."""
    client = make(client_limit=1, max_size=1, pool_get_timeout=0.01)
    async with client, client.get():
        with pytest.raises(ConnectionsExhausted) as raised:
            await client.get().__aenter__()
        assert 0.01 <= raised.value.waited_seconds < 0.5
        with pytest.raises(ConnectionsExhausted) as raised:
            await client.get(0).__aenter__()
        assert raised.value.waited_seconds == 0


async def test_what_connections_share_is_closed_last() -> None:
    """The credential goes only when every connection is closed, also those that had to drain first."""
    connector = ScriptedConnector()
    shared = Shared(connector)
    client = make(connector, shared=shared, min_size=2)
    await client.open()
    async with client.get():
        closing = asyncio.create_task(client.close())
        await eventually(lambda: client.pool.state is PoolState.CLOSING)
        assert shared.open_at_close == []
    await closing
    assert (shared.open_at_close, len(connector.closed)) == ([0], 2)


async def test_closing_goes_on_when_its_caller_is_cancelled() -> None:
    """A cancelled close() still closes the connections and what they share."""
    connector = ScriptedConnector()
    shared = Shared(connector)
    client = make(connector, shared=shared)
    await client.open()
    async with client.get():
        closing = asyncio.create_task(client.close())
        await eventually(lambda: client.pool.state is PoolState.CLOSING)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    await eventually(lambda: client._closing is None)
    assert (client.pool.state, shared.open_at_close, len(connector.closed)) == (PoolState.CLOSED, [0], 1)


async def test_closing_twice_at_once_closes_once_and_may_shorten_the_drain() -> None:
    """A second close() waits for the first, and with less patience cuts the clients' time short."""
    connector = ScriptedConnector()
    shared = Shared(connector)
    client = make(connector, shared=shared)
    await client.open()
    async with client.get() as transport:
        patient = asyncio.create_task(client.close(60))
        await eventually(lambda: client.pool.state is PoolState.CLOSING)
        await client.close(0)
        assert (transport.times_closed, shared.open_at_close, patient.done()) == (1, [0], False)
        await patient
    assert (transport.times_closed, shared.open_at_close) == (1, [0])


async def test_opening_waits_for_what_connections_share_to_be_closed() -> None:
    """A client opened while it closes waits until its credential is closed too, so that the new one is not closed with it."""
    connector = ScriptedConnector()
    shared = Shared(connector)
    shared.let.clear()
    client = make(connector, shared=shared)
    await client.open()
    closing = asyncio.create_task(client.close())
    await eventually(lambda: shared.open_at_close)
    opening = asyncio.create_task(client.open())
    await asyncio.sleep(0)
    assert (client.pool.state, connector.begun) == (PoolState.CLOSED, 1)
    shared.let.set()
    await asyncio.gather(closing, opening)
    assert (client.pool.state, connector.begun) == (PoolState.OPEN, 2)
    await client.close()


async def test_closing_one_that_was_never_opened() -> None:
    """close() of a new client closes what it shares and nothing else; closing twice does nothing more."""
    connector = ScriptedConnector()
    client = make(connector)
    await client.close()
    await client.close()
    assert (client.pool.state, connector.begun) == (PoolState.CLOSED, 0)


async def test_an_error_of_what_is_shared_reaches_the_closer_and_the_client_can_go_on() -> None:
    """What closing the credential raises is raised by close(); the pool is closed, and may be opened again."""
    connector = ScriptedConnector()
    shared = Shared(connector)
    shared.error = OSError("no")
    client = make(connector, shared=shared)
    await client.open()
    with pytest.raises(OSError, match="no"):
        await client.close()
    assert client.pool.state is PoolState.CLOSED
    shared.error = None
    async with client:
        assert client.pool.ready_connection_count == 1


def call_on_another_loop(call: Any) -> BaseException | None:
    """Await what a function returns on an event loop in another thread; give the error."""
    errors: list[BaseException | None] = []

    async def main() -> None:
        try:
            await call()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)
        else:
            errors.append(None)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    return errors[0]


@pytest.mark.parametrize("method", ["open", "close", "use"])
async def test_another_loop_is_refused_and_harms_nothing(method: str) -> None:
    """A client that is open on one loop raises WrongLoopError on another, and keeps its connections and its credential."""
    connector = ScriptedConnector()
    shared = Shared(connector)
    async with make(connector, shared=shared) as client:
        call = {"open": client.open, "close": client.close, "use": lambda: client.get().__aenter__()}[method]
        error = await asyncio.to_thread(call_on_another_loop, call)
        assert isinstance(error, WrongLoopError)
        assert "make one pool per event loop" in str(error)
        assert (client.pool.ready_connection_count, shared.open_at_close) == (1, [])


@pytest.mark.parametrize("method", ["open", "close", "use"])
async def test_another_loop_is_refused_while_closing(method: str) -> None:
    """A client that is closing on one loop raises WrongLoopError on another, or PoolClosed where that is asked first."""
    connector = ScriptedConnector()
    client = make(connector)
    await client.open()
    async with client.get():
        closing = asyncio.create_task(client.close())
        await eventually(lambda: client.pool.state is PoolState.CLOSING)
        call = {"open": client.open, "close": client.close, "use": lambda: client.get().__aenter__()}[method]
        assert isinstance(await asyncio.to_thread(call_on_another_loop, call), WrongLoopError)
    await closing
    assert len(connector.closed) == 1


async def test_the_repr_tells_kind_service_and_state() -> None:
    """The repr of a client is that of its pool, with its kind and its service."""
    async with make() as client:
        assert repr(client) == (
            "<ManagedClient scripted <ConnectionPool OPEN, ready=1, opening=0, draining=0, clients=0, waiting=0>>"
        )


@pytest.mark.parametrize("closing", [False, True])
def test_a_client_whose_loop_is_gone_is_discarded_with_a_warning(
    closing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose loop was closed under it, even while it closed, warns and opens anew on another loop."""
    connector = ScriptedConnector()
    client = make(connector)
    tasks: list[asyncio.Task[None]] = []

    async def begin() -> None:
        await client.open()
        await client.get().__aenter__()
        if closing:
            tasks.append(asyncio.create_task(client.close()))
            await eventually(lambda: client.pool.state is PoolState.CLOSING)

    async def use() -> int:
        async with asyncio.timeout(5), client, client.get() as transport:
            return transport.number

    # The tasks that the loop left behind complain when they are collected, which must not reach the next test.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    with pytest.warns(ResourceWarning, match="was not closed before its event loop was"):
        assert asyncio.run(use()) == 1
    assert [transport.times_closed for transport in connector.created] == [0, 1]
    tasks.clear()
    del loop
    gc.collect()
