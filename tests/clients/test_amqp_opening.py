"""Opening AMQP connections: fast, bounded, leaving nothing behind; and the SDK's own way where its shape is another."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from azure.eventhub._pyamqp.aio._client_async import SendClientAsync as HubHandler
from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError
from azure.servicebus import exceptions as sb
from azure.servicebus._pyamqp.aio._client_async import SendClientAsync as QueueHandler

from fastapi_azure_pool import ConnectionFailed, SendRejected
from fastapi_azure_pool.clients.amqp.opening import open_or_cut, tune_handlers
from fastapi_azure_pool.clients.amqp.wire import cut, wire_of
from tests.clients.messaging import Hub, pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastapi_azure_pool.emulator import Emulator, Faults
    from tests.clients.messaging import Messaging, Queue


async def cause_of(opening: Any) -> BaseException | None:
    """Give the SDK's error for which a client could not be opened."""
    with pytest.raises(ConnectionFailed) as raised:
        async with asyncio.timeout(10):
            await opening
    return raised.value.__cause__


# What cannot be opened ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["key", "name of the key", "entity"])
async def test_what_cannot_be_opened_says_why(messaging: Messaging, what: str) -> None:
    """A wrong key or entity surfaces at once as ConnectionFailed with the SDK's error, and leaves no socket open."""
    azure = messaging.azure
    given: dict[str, Any] = {"connection_string": azure.eventhub_connection_string}
    if what == "key":
        given["connection_string"] = azure.eventhub_connection_string.replace(azure.amqp_key, "d3Jvbmc=")
    elif what == "name of the key":
        given["connection_string"] = azure.eventhub_connection_string.replace("RootManageSharedAccessKey", "Nobody")
    else:
        given["eventhub_name" if isinstance(messaging, Hub) else "service_bus_queue_name"] = "missing"
    error = await cause_of(messaging.client(**given).__aenter__())
    expected = (AuthenticationError, ConnectError) if isinstance(messaging, Hub) else sb.ServiceBusError
    assert isinstance(error, expected)
    assert azure.amqp_key not in f"{error!r} {error}"
    await eventually(lambda: messaging.open_connections == 0)
    assert messaging.count("OPEN") == 1


FAILURES: dict[str, Callable[[Faults, str], object]] = {
    "token refused": lambda faults, path: faults.reject_authorization(times=1),
    "token dropped": lambda faults, path: faults.drop(method="PUT-TOKEN", times=1),
    "link for tokens refused": lambda faults, path: faults.refuse_attach(path="$cbs", times=1),
    "link for tokens detached": lambda faults, path: faults.accept_then_detach(path="$cbs", times=1),
    "attach refused": lambda faults, path: faults.refuse_attach("amqp:not-found", path=path, times=1),
    "attach dropped": lambda faults, path: faults.drop("before", method="ATTACH", path=path, times=1),
    "attached, dropped": lambda faults, path: faults.drop("after", method="ATTACH", path=path, times=1),
    "attached, detached": lambda faults, path: faults.accept_then_detach(path=path, times=1),
    "open dropped": lambda faults, path: faults.drop(method="OPEN", times=1),
    "session dropped": lambda faults, path: faults.drop(method="BEGIN", times=1),
}


@pytest.mark.parametrize("way", FAILURES)
async def test_an_opening_that_fails_leaves_nothing_and_heals(messaging: Messaging, way: str) -> None:
    """Refused, dropped or detached at any step: the socket is closed, the pool tries again by itself, and sending goes on."""
    FAILURES[way](messaging.azure.faults, messaging.entity)
    client = messaging.client(pool_connection_create_timeout=5)
    assert not isinstance(await cause_of(client.open()), TimeoutError)
    await eventually(lambda: messaging.open_connections == 0 or client.pool.ready_connection_count)
    await messaging.settle_down(client)
    await messaging.send(client, "one")
    assert messaging.stored() == [b"one"]
    await client.close()
    await eventually(lambda: messaging.open_connections == 0)


@pytest.mark.parametrize("method", ["OPEN", "BEGIN", "PUT-TOKEN", "ATTACH"])
async def test_an_opening_that_stalls_is_given_up_in_time(messaging: Messaging, method: str) -> None:
    """A service that takes a step of the opening and never answers it costs the time for opening, and leaves no socket open."""
    messaging.azure.faults.stall(method=method)
    error = await cause_of(messaging.client(pool_connection_create_timeout=0.2).__aenter__())
    assert isinstance(error, TimeoutError)
    await eventually(lambda: messaging.open_connections == 0)


@pytest.mark.parametrize("method", ["OPEN", "PUT-TOKEN", "ATTACH"])
async def test_an_opening_that_is_cancelled_leaves_nothing(messaging: Messaging, method: str) -> None:
    """A client that is closed while it opens a connection leaves no socket behind."""
    with messaging.azure.faults.stall(method=method) as fault:
        opening = asyncio.create_task(messaging.client().__aenter__())
        await eventually(lambda: fault.strikes)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await opening
        await eventually(lambda: messaging.open_connections == 0)


async def test_an_opening_that_loses_its_cancellation_is_cancelled_again() -> None:
    """What goes on waiting when it is cancelled, as the SDK may on Python 3.11, is cancelled until it ends, also a second time."""
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    opening = asyncio.create_task(open_or_cut(stubborn(), lambda: None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await opening
    assert lost == 3


@pytest.mark.parametrize("error", [None, ValueError("late")])
async def test_an_opening_that_ends_while_it_is_cancelled_is_cancelled_all_the_same(error: Exception | None) -> None:
    """Whoever is cancelled is cancelled, whether the SDK had just finished opening, or had just failed."""
    done = asyncio.Event()

    async def finish() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            done.set()
            if error is not None:
                raise error from None

    opening = asyncio.create_task(open_or_cut(finish(), lambda: None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert done.is_set()


@pytest.fixture
async def forsaken() -> AsyncIterator[asyncio.StreamWriter]:
    """A connection for whose end someone has waited, and was cancelled: asyncio's future for it is cancelled as well."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        waiting = asyncio.create_task(writer.wait_closed())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        yield writer


async def test_a_connection_is_cut_behind_others_who_were_cancelled(forsaken: asyncio.StreamWriter) -> None:
    """Whoever cuts it is not cancelled because someone else was."""
    await cut(forsaken)
    assert forsaken.is_closing()


async def test_an_opening_ends_behind_others_who_were_cancelled(forsaken: asyncio.StreamWriter) -> None:
    """When a loop's tasks are all cancelled together, as at its end, an opening leaves its task the time to end."""
    transport = SimpleNamespace(writer=forsaken)
    looked = 0

    def handler() -> Any:
        nonlocal looked
        looked += 1
        assert looked < 10, "the opening keeps the event loop to itself"
        return SimpleNamespace(_connection=SimpleNamespace(_transport=transport))

    opening = asyncio.create_task(open_or_cut(asyncio.Event().wait(), handler))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


async def test_nobody_there(messaging: Messaging) -> None:
    """A namespace that cannot be reached is told, and the pool heals when it is there again."""
    client = messaging.client()
    await messaging.azure.stop()
    error = await cause_of(client.open())
    assert isinstance(error, (ConnectError, ConnectionLostError, sb.ServiceBusConnectionError))
    await messaging.azure.start()
    await eventually(lambda: client.pool.ready_connection_count == 1)
    await client.close()


async def test_a_link_that_is_detached_after_it_was_accepted_is_not_ready(messaging: Messaging) -> None:
    """The SDK calls a link ready that was attached and then taken away; here the connection is not given out."""
    messaging.azure.faults.accept_then_detach("amqp:unauthorized-access", path=messaging.entity)
    await cause_of(messaging.client().__aenter__())
    await eventually(lambda: messaging.open_connections == 0)


# The ready message -------------------------------------------------------------------------------------------------------------


async def test_a_ready_message_is_sent_once_over_each_connection(messaging: Messaging) -> None:
    """ready_message proves each new connection by a message of the user's choice: three connections, three messages."""
    async with messaging.client(ready_message=b"proof", min_size=3) as client:
        assert client.pool.ready_connection_count == 3
        assert messaging.stored() == [b"proof"] * 3
        await messaging.send(client, "one")
    assert sorted(messaging.stored()) == [b"one", b"proof", b"proof", b"proof"]


async def test_a_ready_message_that_is_refused_makes_no_connection(messaging: Messaging) -> None:
    """A connection whose ready message fails is not ready, and is closed."""
    messaging.azure.faults.reject("amqp:resource-limit-exceeded", path=messaging.entity)
    error = await cause_of(messaging.client(ready_message="proof").__aenter__())
    assert isinstance(error, SendRejected)
    await eventually(lambda: messaging.open_connections == 0)


# Fast --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each sleep."""
    naps: list[float] = []
    sleep = asyncio.sleep

    async def counting_sleep(seconds: float, *rest: Any) -> Any:
        naps.append(seconds)
        return await sleep(seconds, *rest)

    monkeypatch.setattr(asyncio, "sleep", counting_sleep)
    return naps


async def test_opening_takes_no_naps(messaging: Messaging, naps: list[float]) -> None:
    """Opening a connection sleeps nowhere between frames, where the SDK naps ten times for 50 ms."""
    async with messaging.client():
        pass
    assert [seconds for seconds in naps if seconds >= 0.05] == []


async def test_opening_a_receiver_takes_no_naps(queue: Queue, naps: list[float]) -> None:
    """Nor does opening a receiver; what it sleeps later is its keep-alive's."""
    async with queue.client() as client, client.get_receiver():
        assert 0.05 not in naps


async def test_only_the_handler_that_opens_is_patched_and_only_then(messaging: Messaging) -> None:
    """The handler's own method is replaced while it opens, and is the class's again after that; the class is never touched."""
    kind: Any = HubHandler if isinstance(messaging, Hub) else QueueHandler
    before = kind.client_ready_async
    async with messaging.client() as client:
        handler = pooled(client).handler
        assert "client_ready_async" not in vars(handler)
        assert kind.client_ready_async is before
        await messaging.send(client, "one")


async def test_an_opener_of_another_shape_is_left_alone() -> None:
    """What has no such methods as the SDK's, or other ones, keeps what it has."""

    class Handler:
        def client_ready_async(self) -> bool:
            return True

    class Opener:
        def __init__(self) -> None:
            self._handler: Any = None

        def _create_handler(self, auth: object) -> str:
            self._handler = Handler()
            return f"made with {auth}"

    class Bare:
        _create_handler = None

    tune_handlers(Bare())
    tune_handlers(None)
    opener = Opener()
    tune_handlers(opener)
    assert opener._create_handler("a token") == "made with a token"
    assert vars(opener._handler) == {}
    assert opener._handler.client_ready_async()


async def test_a_handler_that_fails_to_open_is_given_to_the_sdk(messaging: Messaging) -> None:
    """An error between frames reaches the SDK's own handling, which says what it was."""
    messaging.azure.faults.reject_authorization(times=1)
    error = await cause_of(messaging.client().__aenter__())
    assert isinstance(error, AuthenticationError if isinstance(messaging, Hub) else sb.ServiceBusAuthenticationError)


async def test_cutting_what_was_never_opened() -> None:
    """There is nothing to cut where there is no handler, no connection, no transport or no writer."""

    class Part:
        def __init__(self, **parts: object) -> None:
            vars(self).update(parts)

    for handler in (None, Part(), Part(_connection=None), Part(_connection=Part(_transport=Part(writer=None)))):
        assert wire_of(handler) is None
        await cut(wire_of(handler))


async def test_opening_needs_one_socket(amqp: Emulator) -> None:
    """An emulator counts one accepted connection for each that a pool opens."""
    async with Hub(amqp).client(min_size=2):
        assert amqp.connections("amqp").accepted == 2
