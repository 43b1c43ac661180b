"""The dependencies that give a request its connection or its client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.cosmos.aio import ContainerProxy
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from fastapi_azure_pool import AzurePools, ManagedCosmos, PoolsNotFound, UnknownPool, managed, open_pools, pooled
from fastapi_azure_pool.clients.managed import ManagedClient
from tests.clients.waiting import eventually
from tests.fastapi.driver import Lifespan, client_of, request, serving
from tests.fastapi.scripted import ScriptedClient, app_with
from tests.support.scripted_connector import ScriptedConnector, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi_azure_pool.emulator import Emulator

# Names that handlers' postponed annotations refer to.
Place = Annotated[Transport, Depends(pooled("orders"), scope="function")]
LongPlace = Annotated[Transport, Depends(pooled("orders"))]


async def nested(transport: Place) -> Transport:
    """Depend on a place, for a handler that depends on this."""
    return transport


Client = Annotated[ManagedClient[Transport], Depends(managed("orders"))]
Orders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]


async def test_a_request_gets_a_connection_and_gives_it_back() -> None:
    """A dependency on pooled gives what create() returned, with a place taken for as long as the handler runs."""
    orders = ScriptedClient()
    app = app_with(orders=orders)

    @app.get("/")
    async def read(transport: Place) -> list[int]:
        return [transport.number, orders.clients]

    async with serving(app) as http:
        assert (await http.get("/")).json() == [0, 1]
        assert orders.clients == 0
        assert orders.pool.stats().totals.checkouts == 1


async def test_managed_gives_the_client_and_takes_nothing() -> None:
    """A dependency on managed gives the managed client itself; the handler checks out for as short as it likes."""
    orders = ScriptedClient()
    app = app_with(orders=orders)

    @app.get("/")
    async def read(client: Client) -> list[Any]:
        before = orders.clients
        async with client.get() as transport:
            inside = orders.clients
        return [client is orders, before, inside, orders.clients, transport.number]

    async with serving(app) as http:
        assert (await http.get("/")).json() == [True, 0, 1, 0, 0]


async def test_the_official_sdk_s_container_in_a_handler(azure: Emulator) -> None:
    """In an application, pooled gives a ContainerProxy that reads and writes."""
    app = app_with(orders=ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key))

    @app.post("/orders")
    async def create(order: dict[str, Any], orders: Orders) -> dict[str, Any]:
        return dict(await orders.create_item(order))

    @app.get("/orders/{order_id}")
    async def read(order_id: str, orders: Orders) -> dict[str, Any]:
        return dict(await orders.read_item(order_id, partition_key="c"))

    async with serving(app) as http:
        created = await http.post("/orders", json={"id": "1", "customer_id": "c", "total": 12})
        assert (created.status_code, created.json()["total"]) == (200, 12)
        assert (await http.get("/orders/1")).json()["total"] == 12
        # 404 from Cosmos DB is the handler's error, and breaks nothing.
        assert (await http.get("/orders/2")).status_code == 500
        pool = app.state.azure_pools["orders"].pool
        assert (pool.ready_connection_count, pool.stats().totals.opened) == (1, 1)


def test_equality_is_by_name_and_timeout() -> None:
    """Equal dependencies are equal and hash alike, so that FastAPI takes them for one; others are not."""
    assert pooled("orders") == pooled("orders")
    assert hash(pooled("orders")) == hash(pooled("orders"))
    assert pooled("orders", timeout=1) == pooled("orders", timeout=1)
    assert managed("orders") == managed("orders")
    assert hash(managed("orders")) == hash(managed("orders"))
    different = [pooled("orders"), pooled("events"), pooled("orders", timeout=1), managed("orders"), managed("events")]
    assert len(set(different)) == 5


async def test_equal_dependencies_share_one_checkout() -> None:
    """However often a request asks for one pool in one scope, it takes one place; another scope or time-out takes another."""
    orders = ScriptedClient()
    app = app_with(orders=orders)

    @app.get("/same")
    async def same(
        one: Place,
        other: Annotated[Transport, Depends(pooled("orders"), scope="function")],
        deep: Annotated[Transport, Depends(nested)],
    ) -> list[Any]:
        return [one is other is deep, orders.clients]

    @app.get("/scopes")
    async def scopes(one: Place, other: LongPlace) -> int:
        return orders.clients

    @app.get("/timeouts")
    async def timeouts(
        one: Place, other: Annotated[Transport, Depends(pooled("orders", timeout=3), scope="function")]
    ) -> int:
        return orders.clients

    async with serving(app) as http:
        assert (await http.get("/same")).json() == [True, 1]
        assert (await http.get("/scopes")).json() == 2
        assert (await http.get("/timeouts")).json() == 2
        assert orders.clients == 0


async def test_overrides_take_the_place_of_a_pool() -> None:
    """app.dependency_overrides of an equal dependency replaces it, and no pool is needed."""
    app = FastAPI()
    double, client = Transport(42), ScriptedClient()

    @app.get("/pooled")
    async def read(transport: Place) -> int:
        return transport.number

    @app.get("/managed")
    async def read_managed(client: Client) -> str:
        return client.service

    app.dependency_overrides[pooled("orders")] = lambda: double
    app.dependency_overrides[managed("orders")] = lambda: client
    async with client_of(app) as http:
        assert (await http.get("/pooled")).json() == 42
        assert (await http.get("/managed")).json() == "scripted"


async def test_a_timeout_of_its_own() -> None:
    """A dependency waits for its own time-out, and without one for the client's pool_get_timeout."""
    orders = ScriptedClient(client_limit=1, max_size=1, pool_get_timeout=0.2)
    app = app_with(orders=orders)

    @app.get("/none")
    async def none(transport: Annotated[Transport, Depends(pooled("orders", timeout=0), scope="function")]) -> None: ...

    @app.get("/default")
    async def default(transport: Place) -> None: ...

    loop = asyncio.get_running_loop()
    async with serving(app) as http, orders.get():
        started = loop.time()
        assert (await http.get("/none")).status_code == 503
        assert loop.time() - started < 0.2
        started = loop.time()
        assert (await http.get("/default")).status_code == 503
        assert 0.2 <= loop.time() - started < 2


@pytest.mark.parametrize("name", ["", None, 5, b"orders"])
@pytest.mark.parametrize("make", [pooled, managed])
def test_a_name_that_is_none_is_refused(make: Any, name: object) -> None:
    """A name that is no text, or empty, raises ValueError where the dependency is made."""
    with pytest.raises(ValueError, match="the name of a pool must be a text that is not empty, such as 'orders'"):
        make(name)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5"])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    """A time-out below 0, or none at all, raises ValueError that says what to write."""
    with pytest.raises(ValueError, match="timeout must be a number of seconds, at least 0, or None for the client's"):
        pooled("orders", timeout=timeout)


def test_openapi_shows_no_parameter_of_theirs() -> None:
    """The dependencies add nothing to what a client of the application may send."""
    app = FastAPI()

    @app.get("/")
    async def read(transport: Place, other: LongPlace, client: Client) -> None: ...

    operation = app.openapi()["paths"]["/"]["get"]
    assert "parameters" not in operation
    assert "requestBody" not in operation


# When a place is given back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "clients"), [("function", [0, 0]), (None, [1, 1])])
async def test_when_the_place_is_given_back(scope: Any, clients: list[int]) -> None:
    """With scope="function" it is back before the response is sent, without when all of it has been."""
    orders = ScriptedClient()
    app = app_with(orders=orders)
    dependency = Depends(pooled("orders"), scope=scope)

    @app.get("/")
    async def read(transport: Transport = dependency) -> int:
        return orders.clients

    async with Lifespan(app):
        seen: list[int] = []
        messages = await request(app, "/", on_message=lambda _: seen.append(orders.clients))
        assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
        assert messages[1]["body"] == b"1"
        assert seen == clients
        assert orders.clients == 0


@pytest.mark.parametrize(("scope", "clients"), [("function", 0), (None, 1)])
async def test_a_stream_holds_the_place_only_in_the_default_scope(scope: Any, clients: int) -> None:
    """While a response is streamed, a place of the default scope is held, one of scope="function" is not."""
    orders = ScriptedClient()
    app = app_with(orders=orders)
    dependency = Depends(pooled("orders"), scope=scope)

    @app.get("/")
    async def read(transport: Transport = dependency) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            for _ in range(3):
                yield str(orders.clients)

        return StreamingResponse(body())

    async with serving(app) as http:
        assert (await http.get("/")).text == str(clients) * 3
        assert orders.clients == 0


@pytest.mark.parametrize(("scope", "clients"), [("function", 0), (None, 1)])
async def test_background_work_holds_the_place_only_in_the_default_scope(scope: Any, clients: int) -> None:
    """While background tasks run, a place of the default scope is held, one of scope="function" is not."""
    orders = ScriptedClient()
    app = app_with(orders=orders)
    dependency = Depends(pooled("orders"), scope=scope)
    seen: list[int] = []

    @app.get("/")
    async def read(tasks: BackgroundTasks, transport: Transport = dependency) -> None:
        tasks.add_task(lambda: seen.append(orders.clients))

    async with serving(app) as http:
        assert (await http.get("/")).status_code == 200
        assert seen == [clients]
        assert orders.clients == 0


# How the pools are found -------------------------------------------------------------------------------------------------------


async def test_mounted_applications_find_the_pools_by_the_state() -> None:
    """A mounted application, also one in another, uses its parent's pools through the state that the lifespan yielded."""
    orders = ScriptedClient()
    app, sub, subsub = app_with(orders=orders), FastAPI(), FastAPI()

    @sub.get("/orders")
    @subsub.get("/orders")
    async def read(transport: Place, client: Client) -> list[Any]:
        return [transport.number, client is orders]

    app.mount("/sub", sub)
    sub.mount("/sub", subsub)
    async with serving(app) as http:
        assert (await http.get("/sub/orders")).json() == [0, True]
        assert (await http.get("/sub/sub/orders")).json() == [0, True]


async def test_a_state_that_was_not_yielded_on_is_told() -> None:
    """Without the yielded state the application itself finds its pools, a mounted one raises PoolsNotFound with the fix."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_pools(app, orders=ScriptedClient()):
            yield

    app, sub = FastAPI(lifespan=lifespan), FastAPI()

    @app.get("/orders")
    @sub.get("/orders")
    async def read(transport: Place) -> int:
        return transport.number

    app.mount("/sub", sub)
    async with Lifespan(app):
        async with client_of(app) as http:
            assert (await http.get("/orders")).json() == 0
        with pytest.raises(PoolsNotFound, match=r"async with open_pools.* as state: yield state"):
            await request(app, "/sub/orders")


async def test_the_state_of_the_request_comes_first() -> None:
    """Where the request's state and app.state differ, the request's is used, as it is the lifespan's that serves it."""
    orders = ScriptedClient()
    app = app_with(orders=orders)

    @app.get("/")
    async def read(client: Client) -> bool:
        return client is orders

    others = AzurePools()
    others.add({"orders": ScriptedClient()})
    async with Lifespan(app) as lifespan:
        app.state.azure_pools = others
        async with client_of(app, lifespan.state) as http:
            assert (await http.get("/")).json() is True
        async with client_of(app) as http:
            assert (await http.get("/")).json() is False


def test_without_a_lifespan_the_error_names_test_client() -> None:
    """TestClient outside ``with`` runs no lifespan: PoolsNotFound says how to write it; inside it works."""
    orders = ScriptedClient()
    app = app_with(orders=orders)

    @app.get("/")
    async def read(transport: Place) -> int:
        return transport.number

    @app.get("/managed")
    async def read_managed(client: Client) -> str:
        return client.service

    for path in ("/", "/managed"):
        with pytest.raises(PoolsNotFound, match=r"run the lifespan with `with TestClient\(app\)`"):
            TestClient(app).get(path)
    for number in range(2):
        with TestClient(app) as http:
            assert http.get("/").json() == number
            assert http.get("/managed").json() == "scripted"


async def test_an_unknown_pool_lists_the_names() -> None:
    """A name that no pool has raises UnknownPool that lists those that there are, and is a 500: a mistake, no outage."""
    app = app_with(orders=ScriptedClient(), events=ScriptedClient())

    @app.get("/pooled")
    async def read(transport: Annotated[Transport, Depends(pooled("ordres"))]) -> None: ...

    @app.get("/managed")
    async def read_managed(client: Annotated[Any, Depends(managed("ordres"))]) -> None: ...

    async with serving(app) as http:
        for path in ("/pooled", "/managed"):
            with pytest.raises(UnknownPool, match="no pool 'ordres'; the pools are: 'events', 'orders'") as raised:
                await request(app, path)
            assert (raised.value.name, raised.value.names) == ("ordres", ("events", "orders"))
            assert (await http.get(path)).status_code == 500


# Who broke it ------------------------------------------------------------------------------------------------------------------


def breaking(orders: ManagedClient[Any], body: Any) -> FastAPI:
    """Make an application whose one handler does something with a place of each scope."""
    app = app_with(orders=orders)

    @app.post("/function")
    async def function_scope(
        request: Request, connection: Annotated[Any, Depends(pooled("orders"), scope="function")]
    ) -> Any:
        return await body(request)

    @app.post("/request")
    async def request_scope(request: Request, connection: Annotated[Any, Depends(pooled("orders"))]) -> Any:
        return await body(request)

    return app


both_scopes = pytest.mark.parametrize("path", ["/function", "/request"])


def scripted_with_fatal(kind: type[BaseException]) -> ScriptedClient:
    """Give a client whose connections are broken by errors of a kind."""
    connector = ScriptedConnector()
    connector.fatal = (kind,)
    return ScriptedClient(connector)


@both_scopes
async def test_a_handler_s_error_reaches_the_connector(path: str) -> None:
    """An error that leaves the handler is judged by the connector's is_fatal, and retires the connection if that says so."""
    orders = scripted_with_fatal(ConnectionAbortedError)

    async def body(_: Request) -> None:
        raise ConnectionAbortedError("the service hung up")

    async with serving(breaking(orders, body)) as http:
        (connection,) = orders.pool.connections
        assert (await http.post(path)).status_code == 500
        assert connection.should_close
        await eventually(lambda: orders.pool.ready_connection_count == 1)
        assert orders.clients == 0


@both_scopes
async def test_other_errors_of_a_handler_break_nothing(path: str) -> None:
    """An error that is_fatal does not know leaves the connection as it is, and so does an HTTPException raised from one it does."""
    orders = scripted_with_fatal(ConnectionAbortedError)

    async def body(request: Request) -> None:
        if await request.body() == b"http":
            raise HTTPException(409) from ConnectionAbortedError("hidden")
        raise LookupError("the application's")

    async with serving(breaking(orders, body)) as http:
        (connection,) = orders.pool.connections
        assert (await http.post(path)).status_code == 500
        assert (await http.post(path, content=b"http")).status_code == 409
        assert (orders.pool.connections, orders.clients) == ((connection,), 0)


@both_scopes
async def test_an_sdk_error_that_a_handler_wraps_is_found(azure: Emulator, path: str) -> None:
    """With Cosmos DB's own judgement, an SDK error that is the cause of a handler's error retires the connection."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)

    async def body(_: Request) -> None:
        raise RuntimeError("no orders today") from ServiceRequestError("connection reset")

    async with serving(breaking(orders, body)) as http:
        (connection,) = orders.pool.connections
        assert (await http.post(path)).status_code == 500
        assert connection.should_close
        await eventually(lambda: orders.pool.ready_connection_count == 1)


@both_scopes
async def test_a_browser_that_leaves_while_it_sends_breaks_nothing(azure: Emulator, path: str) -> None:
    """ClientDisconnect, which reading the body of a client who has gone raises, retires no connection."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)

    async def body(request: Request) -> None:
        await request.body()

    app = breaking(orders, body)
    async with Lifespan(app):
        (connection,) = orders.pool.connections
        with pytest.raises(ClientDisconnect):
            await request(app, path, method="POST", incoming=[{"type": "http.disconnect"}])
        assert (orders.pool.connections, connection.is_ready) == ((connection,), True)
        assert orders.pool.stats().clients == 0


@both_scopes
async def test_a_browser_that_leaves_while_it_is_answered_breaks_nothing(azure: Emulator, path: str) -> None:
    """The bare OSError that sending to a client who has gone raises retires no connection, whatever the scope."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)

    async def body(_: Request) -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"chunk"

        return StreamingResponse(chunks())

    def hang_up(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise OSError("broken pipe")

    app = breaking(orders, body)
    async with Lifespan(app):
        (connection,) = orders.pool.connections
        # What leaves the application depends on the version of Starlette.
        with pytest.raises((ClientDisconnect, OSError, ExceptionGroup)):
            await request(app, path, method="POST", on_message=hang_up)
        assert (orders.pool.connections, connection.is_ready) == ((connection,), True)
        assert orders.pool.stats().clients == 0


@both_scopes
async def test_a_cancelled_request_gives_its_place_back_and_breaks_nothing(azure: Emulator, path: str) -> None:
    """A request that is cancelled while it waits for Azure gives its place back, and the connection stays."""
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)

    async def body(_: Request) -> None:
        async with orders.get_container_client() as container:
            await container.read_item("1", partition_key="c")

    app = breaking(orders, body)
    async with Lifespan(app):
        (connection,) = orders.pool.connections
        with azure.faults.delay(30, path="*/docs*") as fault:
            asking = asyncio.create_task(request(app, path, method="POST"))
            await eventually(lambda: fault.strikes)
            assert orders.pool.stats().clients == 2
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert (orders.pool.connections, connection.is_ready) == ((connection,), True)
        assert orders.pool.stats().clients == 0


async def test_a_request_cancelled_while_it_waits_in_line_leaves_it() -> None:
    """A request that is cancelled before it got a place takes none and leaves the line."""
    orders = ScriptedClient(client_limit=1, max_size=1)
    app = app_with(orders=orders)

    @app.get("/")
    async def read(transport: Place) -> None: ...

    async with Lifespan(app):
        async with orders.get():
            asking = asyncio.create_task(request(app, "/"))
            await eventually(lambda: orders.pool.stats().waiting == 1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert orders.pool.stats().waiting == 0
        assert orders.clients == 0
