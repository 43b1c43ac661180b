"""`leak_warning_seconds`: one warning for each place that is held for too long, with who asked for it, by the pool's one timer."""

from __future__ import annotations

import asyncio
import logging
import sys
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool.clients.managed import ManagedClient
from fastapi_azure_pool.clients.resending import send_through
from fastapi_azure_pool.pool import ConnectionPool, Lease
from tests.support.clients import admit
from tests.support.scripted_connector import ScriptedConnector, Transport
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from tests.support.pools import MakePool

LOGGER = "fastapi_azure_pool.pool.leaks"


@pytest.fixture(autouse=True)
def warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    """Keep what is logged as a warning."""
    caplog.set_level(logging.WARNING)


@pytest.fixture
async def client() -> AsyncIterator[ManagedClient[Transport]]:
    """A managed client that warns after 30 s."""
    client = ManagedClient(ScriptedConnector(), service="scripted", leak_warning_seconds=30)
    yield client
    await client.close(0)


def places(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give who, by each warning, holds a place."""
    assert {(record.name, record.levelno) for record in caplog.records} <= {(LOGGER, logging.WARNING)}
    return [record.getMessage().partition(" by ")[2] for record in caplog.records]


def here(lines: int = 0) -> str:
    """Give the line of who calls this, or one so many lines later, as a warning has it."""
    frame = sys._getframe(1)
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno + lines})"


# When --------------------------------------------------------------------------------------------------------------------------


async def test_a_place_that_is_held_too_long_is_warned_of_once(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning comes when the time is over, tells pool, connection, seconds and place; then nothing more, at its end either."""
    pool = make_pool(leak_warning_seconds=30, name="orders", max_idle_seconds=7)
    place = here(1)
    async with pool.get():
        await let_time_pass(29.9)
        assert caplog.messages == []
        await let_time_pass(0.1)
        (connection,) = pool.connections
        assert caplog.messages == [
            f"pool orders: a place on connection {connection.id} has been held for 30.0 s (leak_warning_seconds=30) by {place}"
        ]
        await let_time_pass(1000)
    await let_time_pass(1000)
    assert len(caplog.messages) == 1


async def test_a_place_that_is_given_back_in_time_is_not_warned_of(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """However many come and go, and however busy the pool is all the time, who leaves in time is no leak."""
    pool = make_pool(leak_warning_seconds=1)
    clients = await admit(pool, 2)
    for _ in range(100):
        await let_time_pass(0.3)
        clients += await admit(pool)
        clients.pop(0).leave()
    assert caplog.messages == []
    assert pool.stats().clients == 2


async def test_each_is_warned_of_in_its_own_time(make_pool: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """Every place has its own time, in whichever order they are given back; one that is taken again may be warned of again."""
    pool = make_pool(leak_warning_seconds=10)
    first, *others = await admit(pool, 2)
    await let_time_pass(4)
    others += await admit(pool, 2)
    first.leave()
    await let_time_pass(5.9)
    assert len(caplog.messages) == 0
    await let_time_pass(0.1)
    assert len(caplog.messages) == 1
    others[1].leave()
    await let_time_pass(4)
    assert len(caplog.messages) == 2
    lease = pool.get()
    for times in (3, 4):
        async with lease:
            await let_time_pass(10)
            assert len(caplog.messages) == times


async def test_waiting_is_not_holding(make_pool: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """The time runs from when a place was got; who waits in line, or leaves it, holds nothing."""
    pool = make_pool(leak_warning_seconds=10, client_limit=1, max_size=1)
    (holder,) = await admit(pool)
    patient, impatient = *(await admit(pool)), *(await admit(pool, timeout=3))
    await let_time_pass(9)
    assert impatient.error is not None
    holder.leave()
    await let_time_pass(9.9)
    assert (patient.has_place, caplog.messages) == (True, [])
    await let_time_pass(0.1)
    assert len(caplog.messages) == 1


async def test_a_place_on_a_draining_connection_is_held_all_the_same(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is for the leak that the connection cannot be closed."""
    pool = make_pool(leak_warning_seconds=10)
    await admit(pool)
    pool.expire(pool.connections[0])
    await let_time_pass(10)
    assert len(caplog.messages) == 1


async def test_while_the_pool_closes_it_warns_of_those_for_whom_it_waits(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing waits for whoever holds a place, so it is then that a leak is felt; when it has closed nobody is left."""
    pool = make_pool(leak_warning_seconds=10)
    await admit(pool)
    await let_time_pass(5)
    closing = asyncio.create_task(pool.close(drain_seconds=8))
    late = admit(pool)
    await let_time_pass(5)
    assert (len(caplog.messages), pool.stats().draining) == (1, 1)
    (refused,) = await late
    assert refused.error is not None
    await closing
    await let_time_pass(100)
    assert len(caplog.messages) == 1


async def test_a_place_that_was_closed_under_its_client_is_gone(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """Who comes to give it back after the pool was closed, and opened again, disturbs nobody; the new ones are watched."""
    pool = make_pool(leak_warning_seconds=10)
    (stale,) = await admit(pool)
    await pool.close(0)
    timers: list[asyncio.TimerHandle] = virtual_loop()._scheduled  # type: ignore[attr-defined]  # asyncio's own
    assert [timer for timer in timers if not timer.cancelled()] == []
    await pool.open()
    (fresh,) = await admit(pool)
    await let_time_pass(5)
    stale.leave()
    await let_time_pass(5)
    assert len(caplog.messages) == 1
    fresh.leave()


async def test_a_lease_that_has_no_place_is_not_watched(make_pool: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """Leaving one that was never entered, or has been left already, changes nothing; entering one twice at once is refused."""
    pool = make_pool(leak_warning_seconds=10)
    lease = pool.get()
    await lease.__aexit__(None, None, None)
    await lease.__aenter__()
    with pytest.raises(RuntimeError, match="this lease is in use"):
        await lease.__aenter__()
    await lease.__aexit__(None, None, None)
    await lease.__aexit__(None, None, None)
    await let_time_pass(20)
    assert (caplog.messages, pool.stats().clients) == ([], 0)


# At what cost ------------------------------------------------------------------------------------------------------------------


async def test_without_it_there_is_nothing_to_pay_for(make_pool: MakePool) -> None:
    """By default a lease is a plain one, and the pool keeps no account of it."""
    pool = make_pool(max_idle_seconds=None)
    assert type(pool.get()) is Lease
    await admit(pool)
    assert pool._generation is not None
    assert not hasattr(pool._generation, "leaks")
    assert pool._generation._alarm._handle is None


async def test_there_is_one_timer_however_many_hold_places(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand places, held at once or one after the other, set no timer each, and none is left when nobody holds any."""
    pool = make_pool(leak_warning_seconds=10, max_idle_seconds=None, client_limit=1000, max_size=1, min_size=1)
    await pool.open()
    await let_time_pass(100)  # asyncio keeps the cancelled timers of time-outs for their whole length.
    loop: Any = virtual_loop()  # Whose list of timers is another when asyncio has let go of many.
    for _ in range(1000):
        async with pool.get(None):
            pass
    clients = await admit(pool, 1000)
    assert len(loop._scheduled) == 1
    for client in clients[1:]:
        client.leave()
    await let_time_pass(9.5)
    assert caplog.messages == []
    clients[0].leave()
    await let_time_pass(1)
    assert loop._scheduled == []


async def test_what_the_caller_holds_is_not_kept_alive(make_pool: MakePool) -> None:
    """A lease remembers a line of code, and no frame: what its caller has let go of is gone, though the place is held."""
    pool = make_pool(leak_warning_seconds=10)

    async def take() -> tuple[Lease[Transport], weakref.ref[Transport]]:
        own = Transport(1)
        lease = pool.get()
        await lease.__aenter__()
        return lease, weakref.ref(own)

    lease, own = await take()
    assert own() is None
    await lease.__aexit__(None, None, None)


# Where -------------------------------------------------------------------------------------------------------------------------


async def test_the_place_is_where_the_lease_was_asked_for(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """The line that calls a managed client's get(), or its pool's, also when others enter the lease."""
    place, lease = here(), client.get()
    other, direct = here(), client.pool.get()
    entering = [asyncio.create_task(asyncio.wait_for(one.__aenter__(), 5)) for one in (lease, direct)]
    await let_time_pass(30)
    assert all(task.done() for task in entering)
    assert places(caplog) == [place, other]


async def test_a_function_of_the_application_that_gets_for_others_is_the_place(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """An application's own context manager is what asked; contextlib, which runs it, is passed over."""
    asked: list[str] = []

    @asynccontextmanager
    async def borrowed() -> AsyncIterator[Transport]:
        asked.append(here(1))
        async with client.get() as transport:
            yield transport

    async with borrowed():
        await let_time_pass(30)
    assert places(caplog) == asked


async def test_an_operation_of_a_managed_client_is_traced_to_who_awaits_it(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """Where a client's own method checks out, the place is the line of the application that awaits the method."""

    async def hold(transport: Transport, seconds: float) -> None:
        await asyncio.sleep(40)

    async def operation() -> None:
        asked.append(here(1))
        await send_through(client, hold, seconds=100, attempts=1)

    asked: list[str] = []
    await operation()
    assert places(caplog) == asked


async def test_a_context_manager_of_the_library_is_traced_to_who_enters_it(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """Where the library's own context manager checks out, as for a stream of a blob, contextlib is passed over as well."""
    library: dict[str, Any] = {"__name__": "fastapi_azure_pool.clients.made_up", "client": client}
    exec(
        "from contextlib import asynccontextmanager\n"
        "@asynccontextmanager\n"
        "async def stream():\n"
        "    async with client.get() as transport:\n"
        "        yield transport\n",
        library,
    )
    place = here(1)
    async with library["stream"]():
        await let_time_pass(30)
    assert places(caplog) == [place]


async def test_a_time_out_around_an_operation_is_passed_over(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """From Python 3.12 on, asyncio.wait_for awaits in the caller's task; before, it makes a task."""

    async def hold(transport: Transport, seconds: float) -> None:
        await asyncio.sleep(40)

    asked = here(1)
    await asyncio.wait_for(send_through(client, hold, seconds=100, attempts=1), 100)
    (place,) = places(caplog)
    if sys.version_info >= (3, 12):
        assert place == asked
    else:
        assert place.startswith("send_through (")


async def test_an_operation_that_is_a_task_of_its_own_is_the_place_itself(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody awaits a task's coroutine: the place is the client's method, and not what happens to run the event loop."""

    async def hold(transport: Transport, seconds: float) -> None:
        await asyncio.sleep(40)

    await asyncio.gather(send_through(client, hold, seconds=100, attempts=1))
    (place,) = places(caplog)
    assert place.startswith("send_through (")
    assert "/fastapi_azure_pool/clients/resending.py:" in place


async def test_a_caller_that_is_no_coroutine_is_found(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """A plain function that asks for a lease, and code without a module around it, are told like any other."""

    def ask() -> Lease[Transport]:
        asked.append(here(1))
        return client.get()

    asked: list[str] = []
    asked_at_top: dict[str, Any] = {"client": client}
    exec(compile("\n\nlease = client.get()", "<console>", "exec"), asked_at_top)
    async with ask(), asked_at_top["lease"]:
        await let_time_pass(30)
    assert places(caplog) == [*asked, "<module> (<console>:3)"]


async def test_a_coroutine_that_something_else_drives_is_found(
    client: ManagedClient[Transport], caplog: pytest.LogCaptureFixture
) -> None:
    """An awaitable of the application's own, with a generator for its __await__, does not hide who awaits the operation."""

    class Wrapped:
        def __await__(self) -> Generator[Any, None, None]:
            asked.append(here(1))
            return (yield from send_through(client, hold, seconds=100, attempts=1).__await__())

    async def hold(transport: Transport, seconds: float) -> None:
        await asyncio.sleep(40)

    asked: list[str] = []
    await Wrapped()
    await wait_until_blocked()
    assert places(caplog) == asked


async def test_a_pool_without_a_name(caplog: pytest.LogCaptureFixture) -> None:
    """A pool that has no name is called the pool; a time that is no whole number is told as it was given."""
    async with ConnectionPool(ScriptedConnector(), leak_warning_seconds=0.25) as pool, pool.get():
        await let_time_pass(1)
    assert caplog.messages[0].startswith("pool: a place on connection ")
    assert " has been held for 0.2 s (leak_warning_seconds=0.25) by " in caplog.messages[0]
