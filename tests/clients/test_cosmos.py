"""Cosmos DB through the official SDK and the emulator: opening, using, judging and closing connections.

What needs no look into the server is tested in test_cosmos_servers.py, against one that others wrote as well.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.cosmos.exceptions import (
    CosmosHttpResponseError,
    CosmosResourceNotFoundError,
)

from fastapi_azure_pool import ConnectionFailed, Cosmos, ManagedCosmos, PoolState
from fastapi_azure_pool.clients.cosmos import CosmosAccess, CosmosConnector
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy

    from fastapi_azure_pool.emulator import Emulator

ITEM = {"id": "1", "customer_id": "c", "total": 12}
CONTAINER = "/dbs/shop/colls/orders"
ITEMS = f"{CONTAINER}/docs*"

# aiohttp tries a read again by itself when a connection that it kept alive turns out to be dead.
UNSEEN = 1


def orders_of(azure: Emulator, **options: Any) -> ManagedCosmos:
    """Return a managed client of shop/orders with the account's key."""
    return ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", **{"credential": azure.cosmos_key, **options})


def connector_of(azure: Emulator, **options: Any) -> CosmosConnector:
    """Return a connector to shop/orders with the account's key."""
    return CosmosConnector(
        CosmosAccess(azure.cosmos_endpoint, "shop", "orders", None, azure.cosmos_key, None), **options
    )


async def read(container: ContainerProxy) -> int:
    """Read the one item and give its total."""
    item = await container.read_item("1", partition_key="c")
    total: int = item["total"]
    return total


# Opening -----------------------------------------------------------------------------------------------------------------------


async def test_opening_reads_the_account_and_the_container_and_writes_nothing(azure: Emulator) -> None:
    """A connection is opened and proven by reading the account (the SDK looks at it twice), the container and its partitions."""
    async with orders_of(azure) as orders:
        assert (orders.service, orders.pool.ready_connection_count) == ("cosmos", 1)
        requests = azure.cosmos_requests
        await eventually(lambda: requests.count("GET", "/") == 2)
        partitions = requests.count("GET", f"{CONTAINER}/pkranges")
        assert (requests.count("GET", CONTAINER), requests.total) == (1, 3 + partitions)
        assert partitions in {1, 2}  # Newer versions of the SDK ask whether there are more.


async def test_the_first_requests_need_no_further_look_ups(azure: Emulator) -> None:
    """A warm connection sends a first write, and the first read after it, as one request each: all that it asks of is known."""
    async with orders_of(azure) as orders, orders.get_container_client() as container:
        await eventually(lambda: azure.cosmos_requests.count("GET", "/") == 2)
        azure.cosmos_requests.clear()
        await container.create_item(ITEM)
        assert (azure.cosmos_requests.count("POST", ITEMS), azure.cosmos_requests.total) == (1, 1)
        assert await read(container) == 12
        assert azure.cosmos_requests.total == 2


async def test_each_connection_has_a_session_of_its_own(azure: Emulator) -> None:
    """min_size connections are open at start, each over TCP connections of its own, and all are closed at the end."""
    async with orders_of(azure, min_size=3) as orders:
        assert orders.pool.ready_connection_count == 3
        assert azure.connections("cosmos").open >= 3
        sessions = {id(transport.session) for _, transport in orders._connector._open.values()}
        assert len(sessions) == 3
    await eventually(lambda: azure.connections("cosmos").open == 0)


async def test_client_options_reach_the_sdk(azure: Emulator) -> None:
    """client_options are the keyword arguments of every CosmosClient."""
    async with orders_of(azure, client_options={"preferred_locations": ["West Europe"], "retry_total": 7}) as orders:
        policy = orders.pool.connections[0].transport.client_connection.connection_policy
        assert (policy.PreferredLocations, policy.RetryOptions.MaxRetryAttemptCount) == (["West Europe"], 7)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"credential": "d3Jvbmc="}, CosmosHttpResponseError),
        ({"container_name": "missing"}, CosmosResourceNotFoundError),
        ({"dbname": "missing"}, CosmosResourceNotFoundError),
    ],
    ids=["wrong key", "no container", "no database"],
)
async def test_what_cannot_be_opened_says_why(
    azure: Emulator, change: dict[str, str], cause: type[BaseException]
) -> None:
    """A wrong key, database or container surfaces as ConnectionFailed with the SDK's error, and leaves no session open."""
    given = {"dbname": "shop", "container_name": "orders", "credential": azure.cosmos_key, **change}
    with pytest.raises(ConnectionFailed) as raised:
        await ManagedCosmos(azure.cosmos_endpoint, **given).__aenter__()  # type: ignore[arg-type]
    assert isinstance(raised.value.__cause__, cause)
    await eventually(lambda: azure.connections("cosmos").open == 0)


async def test_nobody_there(azure: Emulator) -> None:
    """An account that cannot be reached gives ConnectionFailed with a ServiceRequestError, and heals when it is back."""
    orders = orders_of(azure)
    await azure.stop()
    with pytest.raises(ConnectionFailed) as raised:
        await orders.open()
    assert isinstance(raised.value.__cause__, ServiceRequestError)
    assert orders.pool.stats().totals.reported_errors == 0
    await azure.start()
    await eventually(lambda: orders.pool.ready_connection_count == 1)
    await orders.close()


@pytest.mark.parametrize("path", ["/", CONTAINER], ids=["in create", "in ready"])
async def test_opening_that_takes_too_long_leaves_nothing_open(azure: Emulator, path: str) -> None:
    """When the time for opening is over, in create() or in ready(), the session that was made for it is closed."""
    with azure.faults.delay(30, path=path):
        with pytest.raises(ConnectionFailed) as raised:
            await orders_of(azure, pool_connection_create_timeout=0.2).__aenter__()
        assert isinstance(raised.value.__cause__, TimeoutError)
        await eventually(lambda: azure.connections("cosmos").open == 0)


@pytest.mark.parametrize("path", ["/", CONTAINER], ids=["in create", "in ready"])
async def test_opening_that_is_cancelled_leaves_nothing_open(azure: Emulator, path: str) -> None:
    """A pool that is closed while it opens a connection leaves no session behind."""
    with azure.faults.delay(30, path=path) as fault:
        opening = asyncio.create_task(orders_of(azure).__aenter__())
        await eventually(lambda: fault.strikes)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await eventually(lambda: azure.connections("cosmos").open == 0)


async def test_a_second_cancellation_leaves_nothing_open(azure: Emulator) -> None:
    """create() that is cancelled again while it cleans up after the first time still closes its session."""
    connector = connector_of(azure)
    with azure.faults.delay(30, path="/") as fault:
        creating = asyncio.create_task(connector.create())
        await eventually(lambda: fault.strikes)
        creating.cancel()
        for _ in range(50):
            await asyncio.sleep(0)
            creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        await eventually(lambda: azure.connections("cosmos").open == 0)
    assert connector._open == {}


async def test_closing_and_opening_again(azure: Emulator) -> None:
    """A managed client that was closed opens new connections when it is opened again, and forgets the old."""
    orders = orders_of(azure)
    for _ in range(3):
        async with orders, orders.get_container_client() as container:
            await container.upsert_item(ITEM)
    assert orders._connector._open == {}
    assert azure.cosmos_requests.count("GET", CONTAINER) == 3


# Who broke it ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 408, 412, 449, 500, 503])
async def test_no_status_retires_a_connection(azure: Emulator, status: int) -> None:
    """An error answer of any status says that the connection works."""
    async with orders_of(azure, client_options={"retry_total": 0}) as orders:
        (connection,) = orders.pool.connections
        with azure.faults.fail(status, path=ITEMS), pytest.raises(CosmosHttpResponseError) as raised:
            async with orders.get_container_client() as container:
                await read(container)
        assert raised.value.status_code == status
        assert (orders.pool.connections, connection.is_ready) == ((connection,), True)


async def test_429_is_retried_by_the_sdk_and_counted(azure: Emulator) -> None:
    """Answers 429 that the SDK tries again are seen and counted, and the caller gets the result."""
    async with orders_of(azure) as orders, orders.get_container_client() as container:
        await container.create_item(ITEM)
        assert orders.throttled_count == 0
        with azure.faults.throttle(retry_after=0.01, path=ITEMS, times=3):
            assert await read(container) == 12
        assert orders.throttled_count == 3
        assert orders.pool.ready_connection_count == 1


async def test_429_that_stays_is_the_caller_s(azure: Emulator) -> None:
    """When the SDK gives up on 429 its error reaches the caller, every attempt is counted, and the connection stays."""
    async with orders_of(azure, client_options={"retry_total": 2}) as orders:
        with (
            azure.faults.throttle(retry_after=0.01, path=ITEMS) as fault,
            pytest.raises(CosmosHttpResponseError) as raised,
        ):
            async with orders.get_container_client() as container:
                await read(container)
        assert raised.value.status_code == 429
        assert orders.throttled_count == fault.strikes == 3
        assert orders.pool.ready_connection_count == 1


async def test_a_dropped_attempt_retires_the_connection_although_the_sdk_recovers(azure: Emulator) -> None:
    """The transport sees the attempt that the SDK retries: the caller gets the result, and the connection is replaced."""
    async with orders_of(azure) as orders:
        (old,) = orders.pool.connections
        async with orders.get_container_client() as container:
            await container.create_item(ITEM)
            with azure.faults.drop(path=ITEMS, times=UNSEEN + 1):
                assert await read(container) == 12
            assert old.should_close
            assert orders.pool.stats().totals.reported_errors >= 1
            assert await read(container) == 12
        await eventually(lambda: old not in orders.pool.connections and orders.pool.ready_connection_count == 1)
        assert orders.pool.stats().last_error is not None
        await eventually(lambda: len(orders._connector._open) == 1)


async def test_an_error_that_the_handler_swallows_retires_the_connection(azure: Emulator) -> None:
    """A handler that catches the SDK's error hides it from the lease, but not from the transport."""
    options = {"retry_total": 0, "retry_connect": 0, "retry_read": 0}
    async with orders_of(azure, client_options=options) as orders:
        (old,) = orders.pool.connections
        async with orders.get_container_client() as container:
            with azure.faults.drop(path=ITEMS):
                try:
                    await read(container)
                except (ServiceRequestError, ServiceResponseError):
                    swallowed = True
        assert swallowed
        assert old.should_close
        await eventually(lambda: orders.pool.ready_connection_count == 1)


async def test_reset_connections_heal(azure: Emulator) -> None:
    """After every TCP connection was reset, callers go on getting answers."""
    async with orders_of(azure, min_size=2) as orders:
        async with orders.get_container_client() as container:
            await container.create_item(ITEM)
        for _ in range(3):
            assert azure.faults.drop_connections("cosmos") >= 1
            async with orders.get_container_client() as container:
                assert await read(container) == 12
        await eventually(lambda: orders.pool.ready_connection_count == 2)


def test_what_is_fatal(azure_access: CosmosAccess) -> None:
    """Only azure-core's errors of a request not sent or an answer not read break a connection, also as a cause."""
    is_fatal = CosmosConnector(azure_access).is_fatal
    wrapped = RuntimeError("from a handler")
    wrapped.__cause__ = ServiceRequestError("cannot connect")
    circle = RuntimeError("one")
    circle.__cause__ = RuntimeError("other")
    circle.__cause__.__cause__ = circle
    no_token = ClientAuthenticationError(message="the token endpoint is down")
    no_token.__cause__ = ServiceRequestError("cannot connect")
    only_context = RuntimeError("context")
    only_context.__context__ = ServiceRequestError("cannot connect")
    assert [is_fatal(error) for error in (ServiceRequestError("a"), ServiceResponseError("b"), wrapped)] == [True] * 3
    answered: Any = CosmosHttpResponseError
    harmless: list[BaseException] = [
        ServiceResponseTimeoutError("slow"),
        answered(status_code=503, message="no"),
        OSError("the browser has gone"),
        ConnectionResetError("likewise"),
        TimeoutError(),
        asyncio.CancelledError(),
        circle,
        only_context,
        no_token,
    ]
    assert [is_fatal(error) for error in harmless] == [False] * len(harmless)


@pytest.fixture
def azure_access() -> CosmosAccess:
    """Where a container is that nobody connects to."""
    return CosmosAccess("https://shop.documents.azure.com", "shop", "orders", None, "a2V5", None)


async def test_a_connector_without_a_reporter_only_raises(azure: Emulator) -> None:
    """A connector that stands alone tells nobody what its transport met; the caller gets the error all the same."""
    connector = connector_of(azure, client_options={"retry_total": 0, "retry_connect": 0, "retry_read": 0})
    container = await connector.create()
    assert await connector.ready(container)
    with azure.faults.drop(path=ITEMS), pytest.raises((ServiceRequestError, ServiceResponseError)):
        await read(container)
    await connector.close(container)


async def test_a_slow_answer_breaks_nothing(azure: Emulator) -> None:
    """A read time-out is the service's slowness: the connection stays."""
    options = {"retry_total": 0, "retry_connect": 0, "retry_read": 0}
    async with orders_of(azure, client_options=options) as orders:
        (connection,) = orders.pool.connections
        with azure.faults.delay(5, path=ITEMS), pytest.raises(ServiceResponseError):
            async with orders.get_container_client() as container:
                await container.read_item("1", partition_key="c", read_timeout=0.05)
        assert (orders.pool.connections, connection.is_ready) == ((connection,), True)


# The basic client --------------------------------------------------------------------------------------------------------------


async def test_the_basic_client_opens_at_its_first_use_and_keeps_its_connection(azure: Emulator) -> None:
    """Cosmos opens one connection when it is first used, gives it to everyone, and keeps it between uses."""
    cosmos = Cosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    assert azure.cosmos_requests.total == 0
    async with cosmos.get_container_client() as first, cosmos.get_container_client() as second:
        assert first is second
        await first.create_item(ITEM)
    async with cosmos.get_container_client() as third:
        assert third is first
    assert azure.cosmos_requests.count("GET", CONTAINER) == 1
    await cosmos.close()
    await eventually(lambda: azure.connections("cosmos").open == 0)


async def test_the_basic_client_opens_once_for_all_who_come_first(azure: Emulator) -> None:
    """Twenty first users at once share one opening."""
    cosmos = Cosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)

    async def use() -> ContainerProxy:
        async with cosmos.get_container_client() as container:
            return container

    assert len({id(container) for container in await asyncio.gather(*(use() for _ in range(20)))}) == 1
    assert azure.cosmos_requests.count("GET", CONTAINER) == 1
    await cosmos.close()


async def test_the_basic_client_can_be_used_again_after_closing(azure: Emulator) -> None:
    """close() closes the connection; the next use opens another."""
    cosmos = Cosmos(dbname="shop", container_name="orders", connection_string=azure.cosmos_connection_string)
    for _ in range(2):
        async with cosmos.get_container_client() as container:
            await container.upsert_item(ITEM)
        await cosmos.close()
    await cosmos.close()
    assert azure.cosmos_requests.count("GET", CONTAINER) == 2


async def test_the_basic_client_replaces_a_broken_connection(azure: Emulator) -> None:
    """After its connection broke, the basic client opens another by itself."""
    cosmos = Cosmos(azure.cosmos_endpoint, "shop", "orders", credential=azure.cosmos_key)
    async with cosmos.get_container_client() as first:
        await first.create_item(ITEM)
        with azure.faults.drop(path=ITEMS, times=UNSEEN + 1):
            assert await read(first) == 12
    async with cosmos.get_container_client() as second:
        assert second is not first
        assert await read(second) == 12
    await cosmos.close()


async def test_a_pool_that_keeps_none_opens_at_the_first_checkout(azure: Emulator) -> None:
    """With min_size=0 opening sends nothing, and the first checkout opens a connection."""
    async with orders_of(azure, min_size=0) as orders:
        assert (azure.cosmos_requests.total, orders.pool.state) == (0, PoolState.OPEN)
        async with orders.get_container_client(timeout=5) as container:
            assert (await container.read())["id"] == "orders"


@pytest.mark.parametrize("option", ["credential", "transport", "url"])
def test_client_options_that_are_the_pool_s_are_refused(option: str) -> None:
    """What the pool gives every CosmosClient cannot be given a second time."""
    with pytest.raises(ValueError, match=f"client_options must not hold '{option}'"):
        ManagedCosmos(
            "https://shop.documents.azure.com", "shop", "orders", credential="a2V5", client_options={option: None}
        )
