"""Opening an application's pools in its lifespan, and closing them after it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI

from fastapi_azure_pool import (
    AzurePools,
    ConnectionFailed,
    ConnectionsExhausted,
    ManagedClient,
    PoolState,
    WrongLoopError,
    open_pools,
    pool_lifespan,
)
from tests.clients.waiting import eventually
from tests.fastapi.driver import Lifespan
from tests.fastapi.scripted import ScriptedClient, app_with
from tests.support.scripted_connector import ScriptedConnector, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Meeting(ScriptedConnector):
    """Opens a connection only when another one is being opened at the same time."""

    def __init__(self, barrier: asyncio.Barrier) -> None:
        super().__init__()
        self._barrier = barrier

    async def create(self) -> Transport:
        """Wait for the others."""
        await self._barrier.wait()
        return await super().create()


def failing() -> ScriptedClient:
    """Give a client whose service cannot be reached."""
    connector = ScriptedConnector()
    connector.create_error = OSError("no route to planted-host")
    return ScriptedClient(connector)


def hanging() -> ScriptedClient:
    """Give a client whose service does not answer."""
    connector = ScriptedConnector()
    connector.create_seconds = None
    return ScriptedClient(connector)


async def test_the_pools_are_open_and_found_while_the_block_runs() -> None:
    """open_pools fills min_size, keeps the clients at app.state.azure_pools under their names, and yields them as the state."""
    app = FastAPI()
    orders, events = ScriptedClient(min_size=2), ScriptedClient()
    async with open_pools(app, orders=orders, events=events) as state:
        pools = app.state.azure_pools
        assert isinstance(pools, AzurePools)
        assert state == {"azure_pools": pools}
        assert {name: pools[name] for name in pools} == {"orders": orders, "events": events}
        assert [client.pool.ready_connection_count for client in (orders, events)] == [2, 1]
        assert [client.pool.name for client in (orders, events)] == ["orders", "events"]
    assert not hasattr(app.state, "azure_pools")
    assert [client.pool.state for client in (orders, events)] == [PoolState.CLOSED] * 2
    assert [len(client.connector.closed) for client in (orders, events)] == [2, 1]


async def test_all_are_opened_at_once() -> None:
    """Three clients whose connections open only together do open."""
    barrier = asyncio.Barrier(3)
    clients = {name: ScriptedClient(Meeting(barrier)) for name in "abc"}
    async with asyncio.timeout(5), open_pools(FastAPI(), clients):
        assert [client.pool.ready_connection_count for client in clients.values()] == [1, 1, 1]


async def test_names_that_are_no_identifiers() -> None:
    """A mapping takes names that keyword arguments cannot, beside keyword arguments."""
    app = FastAPI()
    async with open_pools(app, {"eu-orders": ScriptedClient(), "app": ScriptedClient()}, pools=ScriptedClient()):
        assert list(app.state.azure_pools) == ["eu-orders", "app", "pools"]


async def test_no_pools_at_all() -> None:
    """open_pools of nothing keeps an empty AzurePools, which names nothing."""
    app = FastAPI()
    async with open_pools(app):
        assert list(app.state.azure_pools) == []


async def test_fail_fast_raises_the_pool_s_own_error_and_closes_the_others() -> None:
    """A pool that cannot be opened stops the start with its own error, name and cause; what was open or opening is closed."""
    app = FastAPI()
    good, slow, bad = ScriptedClient(min_size=2), hanging(), failing()
    with pytest.raises(ConnectionFailed, match="pool 'bad' could not open a connection") as raised:
        await open_pools(app, good=good, slow=slow, bad=bad).__aenter__()
    assert raised.value.pool == "bad"
    assert raised.value.__cause__ is bad.connector.create_error
    assert [client.pool.state for client in (good, slow, bad)] == [PoolState.CLOSED] * 3
    assert [transport.times_closed for transport in good.connector.created] == [1, 1][: len(good.connector.created)]
    assert slow.connector.in_flight == 0
    assert not hasattr(app.state, "azure_pools")


async def test_fail_fast_raises_when_min_size_is_not_reached_in_time() -> None:
    """A pool that opened some but not min_size connections in time stops the start with ConnectionsExhausted."""

    class OneOnly(ScriptedConnector):
        async def create(self) -> Transport:
            if self.begun:
                self.create_seconds = None
            return await super().create()

    client = ScriptedClient(OneOnly(), min_size=2, max_concurrent_creates=2, pool_connection_create_timeout=0.05)
    client._fill_seconds = 0.2
    with pytest.raises(ConnectionsExhausted, match="pool 'few'") as raised:
        await open_pools(FastAPI(), few=client).__aenter__()
    assert (raised.value.pool, raised.value.ready) == ("few", 1)
    assert client.pool.state is PoolState.CLOSED
    assert [transport.times_closed for transport in client.connector.created] == [1]


async def test_the_server_sees_the_error_at_start() -> None:
    """In an application, the error leaves the lifespan, so that the server stops."""
    with pytest.raises(ConnectionFailed) as raised:
        await Lifespan(app_with(orders=failing())).__aenter__()
    assert raised.value.pool == "orders"


async def test_a_degraded_start_heals_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """With fail_fast=False the application starts without a pool, says so without the error's text, and the pool goes on trying."""
    good, bad = ScriptedClient(), failing()
    with caplog.at_level(logging.WARNING, "fastapi_azure_pool"):
        lifespan = Lifespan(app_with(fail_fast=False, good=good, bad=bad))
        await lifespan.__aenter__()
    assert [client.pool.ready_connection_count for client in (good, bad)] == [1, 0]
    assert "starting without pool bad, which goes on trying" in caplog.text
    assert "planted-host" not in caplog.text
    bad.connector.create_error = None
    await eventually(lambda: bad.pool.ready_connection_count == 1)
    await lifespan.__aexit__(None, None, None)
    assert [len(client.connector.closed) for client in (good, bad)] == [1, 1]


async def test_a_degraded_start_is_not_one_in_spite_of_mistakes() -> None:
    """fail_fast=False forgives services that cannot be reached, not a client that is open on another loop."""
    client = ScriptedClient()
    loop = asyncio.new_event_loop()
    try:
        await asyncio.to_thread(loop.run_until_complete, client.open())
        with pytest.raises(WrongLoopError):
            await open_pools(FastAPI(), fail_fast=False, orders=client).__aenter__()
        assert client.pool.ready_connection_count == 1
        await asyncio.to_thread(loop.run_until_complete, client.close())
    finally:
        loop.close()


async def test_a_router_s_lifespan_joins_the_application_s_pools() -> None:
    """A second open_pools adds to the same AzurePools, and takes out and closes only its own."""
    app = FastAPI()
    first, second = ScriptedClient(), ScriptedClient()
    async with open_pools(app, first=first) as state:
        pools = app.state.azure_pools
        async with open_pools(app, second=second) as joined:
            assert app.state.azure_pools is pools
            assert joined["azure_pools"] is state["azure_pools"] is pools
            assert list(pools) == ["first", "second"]
        assert app.state.azure_pools is pools
        assert list(pools) == ["first"]
        assert [client.pool.state for client in (first, second)] == [PoolState.OPEN, PoolState.CLOSED]


async def test_an_included_router_s_lifespan_joins() -> None:
    """With FastAPI's own merging, the application's and the router's pools are in one AzurePools, in both kinds of state."""
    second = ScriptedClient()

    @asynccontextmanager
    async def router_lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(app, second=second) as state:
            yield state

    app = app_with(first=ScriptedClient())
    app.include_router(APIRouter(lifespan=router_lifespan))
    async with Lifespan(app) as lifespan:
        assert lifespan.state["azure_pools"] is app.state.azure_pools
        assert list(app.state.azure_pools) == ["first", "second"]
    assert second.pool.state is PoolState.CLOSED


async def test_a_router_whose_pool_fails_leaves_the_application_s() -> None:
    """When joining fails, the pools that were there before stay open and found."""
    app = FastAPI()
    first, bad = ScriptedClient(), failing()
    async with open_pools(app, first=first):
        with pytest.raises(ConnectionFailed):
            await open_pools(app, bad=bad).__aenter__()
        assert list(app.state.azure_pools) == ["first"]
        assert first.pool.state is PoolState.OPEN


async def test_a_duplicate_name_is_refused_and_harms_nobody() -> None:
    """A name that is taken raises ValueError; the pool that has it stays, and none of the new ones is opened or kept."""
    app = FastAPI()
    first, other, same = ScriptedClient(), ScriptedClient(), ScriptedClient()
    async with open_pools(app, orders=first):
        with pytest.raises(ValueError, match="there is a pool 'orders' already: give this one another name"):
            await open_pools(app, other=other, orders=same).__aenter__()
        assert app.state.azure_pools["orders"] is first
        assert list(app.state.azure_pools) == ["orders"]
        assert first.pool.state is PoolState.OPEN
    assert [client.connector.begun for client in (other, same)] == [0, 0]


async def test_a_name_given_twice_is_refused() -> None:
    """The same name in the mapping and as a keyword raises ValueError before anything is opened."""
    client = ScriptedClient()
    with pytest.raises(ValueError, match="there are two pools 'orders': give one of them another name"):
        await open_pools(FastAPI(), {"orders": client}, orders=ScriptedClient()).__aenter__()
    assert client.connector.begun == 0


@pytest.mark.parametrize(
    ("clients", "kind", "message"),
    [
        (
            {"orders": object()},
            TypeError,
            r"pool 'orders' must be a managed client, such as ManagedCosmos\(...\), not a object",
        ),
        ({"orders": ScriptedClient}, TypeError, "pool 'orders' must be a managed client, .* not a type"),
        ({5: ScriptedClient()}, TypeError, "a pool's name must be a str, not int"),
        ({"": ScriptedClient()}, ValueError, "a pool's name must not be empty"),
    ],
)
async def test_what_is_no_pool_is_refused(clients: dict[Any, Any], kind: type[Exception], message: str) -> None:
    """A value that is no managed client, or a name that is none, is refused before anything is opened."""
    app, good = FastAPI(), ScriptedClient()
    with pytest.raises(kind, match=message):
        await open_pools(app, {"good": good, **clients}).__aenter__()
    assert good.connector.begun == 0
    assert not hasattr(app.state, "azure_pools")


async def test_a_client_without_a_name_is_refused() -> None:
    """A client in the place of the mapping is refused, with what to write."""
    with pytest.raises(TypeError, match=r"write open_pools\(app, orders=\.\.\.\), not a ScriptedClient"):
        await open_pools(FastAPI(), ScriptedClient()).__aenter__()  # type: ignore[arg-type]  # that is refused


async def test_one_client_under_two_names_is_refused() -> None:
    """A client has one name: giving it two raises ValueError, also when the second comes from another lifespan."""
    app, client = FastAPI(), ScriptedClient()
    with pytest.raises(ValueError, match="one managed client was given under two names: make one for each"):
        await open_pools(app, one=client, two=client).__aenter__()
    async with open_pools(app, one=client):
        with pytest.raises(ValueError, match="under two names"):
            await open_pools(app, two=client).__aenter__()


async def test_a_lifespan_cancelled_half_way_closes_what_was_open() -> None:
    """When the start is cancelled, the pools that are open and those that are opening are closed, and nothing is kept."""
    app = FastAPI()
    good, slow = ScriptedClient(), hanging()
    opening = asyncio.create_task(open_pools(app, good=good, slow=slow).__aenter__())
    await eventually(lambda: good.pool.ready_connection_count == 1 and slow.connector.in_flight)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert [client.pool.state for client in (good, slow)] == [PoolState.CLOSED] * 2
    assert (len(good.connector.closed), slow.connector.in_flight) == (1, 0)
    assert not hasattr(app.state, "azure_pools")


async def test_an_error_in_the_block_closes_the_pools() -> None:
    """What the application raises while it starts or runs leaves the lifespan, with the pools closed."""
    app, client = FastAPI(), ScriptedClient()
    with pytest.raises(LookupError, match="from the application"):
        async with open_pools(app, orders=client):
            raise LookupError("from the application")
    assert client.pool.state is PoolState.CLOSED
    assert not hasattr(app.state, "azure_pools")


async def test_closing_waits_for_clients_no_longer_than_drain_seconds() -> None:
    """Who still uses a connection when the block ends may go on for drain_seconds; then it is closed under him."""
    for drain_seconds in (0, 0.1):
        client = ScriptedClient()
        async with AsyncExitStack() as using:
            started = time.monotonic()
            async with open_pools(FastAPI(), orders=client, drain_seconds=drain_seconds):
                await using.enter_async_context(client.get())
            assert drain_seconds <= time.monotonic() - started < drain_seconds + 3
            assert len(client.connector.closed) == 1


async def test_pool_lifespan_passes_drain_seconds_on() -> None:
    """pool_lifespan takes drain_seconds as open_pools does, and what is no time is refused before anything is opened."""
    client = ScriptedClient()
    with pytest.raises(ValueError, match="drain_seconds must be a number of seconds, at least 0, not -1"):
        await Lifespan(FastAPI(lifespan=pool_lifespan(lambda _: {"a": client}, drain_seconds=-1))).__aenter__()
    assert client.connector.begun == 0


async def test_each_is_closed_whether_or_not_another_fails() -> None:
    """An error while one client is closed is raised when all are closed."""

    class Stuck:
        async def close(self) -> None:
            raise OSError("cannot close")

    app, good = FastAPI(), ScriptedClient()
    bad = ManagedClient(ScriptedConnector(), service="scripted", shared=Stuck())
    context = open_pools(app, bad=bad, good=good)
    await context.__aenter__()
    with pytest.raises(OSError, match="cannot close"):
        await context.__aexit__(None, None, None)
    assert [client.pool.state for client in (bad, good)] == [PoolState.CLOSED] * 2
    assert not hasattr(app.state, "azure_pools")


async def test_pools_are_found_until_they_are_closed() -> None:
    """While the pools drain, they are still there for the health routes to look at."""
    app, client = FastAPI(), ScriptedClient()
    context = open_pools(app, orders=client)
    await context.__aenter__()
    async with client.get():
        closing = asyncio.create_task(context.__aexit__(None, None, None))
        await eventually(lambda: client.pool.state is PoolState.CLOSING)
        assert app.state.azure_pools["orders"] is client
    await closing
    assert not hasattr(app.state, "azure_pools")


async def test_an_application_that_starts_again_opens_again() -> None:
    """The same application and clients may be started any number of times."""
    client = ScriptedClient()
    app = app_with(orders=client)
    for times in range(1, 4):
        async with Lifespan(app):
            assert client.pool.ready_connection_count == 1
        assert len(client.connector.closed) == times


# pool_lifespan -----------------------------------------------------------------------------------------------------------------


async def test_pool_lifespan_builds_with_the_application() -> None:
    """pool_lifespan calls build with the application when it starts, and opens what it returns."""
    client = ScriptedClient()
    built_with: list[FastAPI] = []

    def build(app: FastAPI) -> dict[str, ScriptedClient]:
        built_with.append(app)
        return {"orders": client}

    app = FastAPI(lifespan=pool_lifespan(build))
    assert built_with == []
    async with Lifespan(app) as lifespan:
        assert built_with == [app]
        assert lifespan.state == {"azure_pools": app.state.azure_pools}
        assert client.pool.ready_connection_count == 1
    assert client.pool.state is PoolState.CLOSED


@pytest.mark.parametrize("own_state", [{"database": "own"}, None])
async def test_pool_lifespan_enters_the_application_s_own_inside(own_state: dict[str, Any] | None) -> None:
    """The application's own lifespan runs while the pools are open, from after their opening to before their closing."""
    client = ScriptedClient()
    seen: list[PoolState] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, Any] | None]:
        seen.append(app.state.azure_pools["orders"].pool.state)
        yield own_state
        seen.append(client.pool.state)

    app = FastAPI(lifespan=pool_lifespan(lambda _: {"orders": client}, lifespan=own))
    async with Lifespan(app) as lifespan:
        assert lifespan.state == {**(own_state or {}), "azure_pools": app.state.azure_pools}
    assert seen == [PoolState.OPEN, PoolState.OPEN]
    assert client.pool.state is PoolState.CLOSED


async def test_pool_lifespan_closes_when_the_application_s_own_fails() -> None:
    """What the application's own lifespan raises at start leaves pool_lifespan, with the pools closed."""
    client = ScriptedClient()

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        raise LookupError("from the application")
        yield

    with pytest.raises(LookupError, match="from the application"):
        await Lifespan(FastAPI(lifespan=pool_lifespan(lambda _: {"orders": client}, lifespan=own))).__aenter__()
    assert client.pool.state is PoolState.CLOSED


async def test_pool_lifespan_can_start_degraded() -> None:
    """pool_lifespan passes fail_fast on."""
    client = failing()
    with pytest.raises(ConnectionFailed):
        await Lifespan(FastAPI(lifespan=pool_lifespan(lambda _: {"orders": client}))).__aenter__()
    async with Lifespan(FastAPI(lifespan=pool_lifespan(lambda _: {"orders": client}, fail_fast=False))):
        assert client.pool.state is PoolState.OPEN


async def test_whoever_ends_last_takes_the_pools_away() -> None:
    """An open_pools that joined another's pools keeps them found, also when the first one ends before it."""
    app = FastAPI()
    first, second = open_pools(app, orders=ScriptedClient()), open_pools(app, events=ScriptedClient())
    await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert list(app.state.azure_pools) == ["events"]
    await second.__aexit__(None, None, None)
    assert not hasattr(app.state, "azure_pools")


async def test_an_application_without_pools_of_its_own_keeps_its_place_for_others() -> None:
    """When one that joined an open_pools without clients ends, requests find that there are no pools, not that none ran."""
    app = FastAPI()
    async with open_pools(app) as state:
        async with open_pools(app, orders=ScriptedClient()):
            pass
        assert app.state.azure_pools is state["azure_pools"]
    assert not hasattr(app.state, "azure_pools")
