"""Faults, as the official SDKs and plain HTTP meet them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError

from fastapi_azure_pool.emulator.faults import Fault, Faults

if TYPE_CHECKING:
    import aiohttp
    from azure.cosmos.aio import ContainerProxy, CosmosClient

    from fastapi_azure_pool.emulator import Emulator

Signed = Callable[..., Awaitable[tuple[int, dict[str, Any], dict[str, str]]]]

ITEMS = "/dbs/shop/colls/orders/docs"
ORDER = {"id": "1", "customer_id": "ada"}


async def test_throttled_request_says_when_to_come_back_and_changes_nothing(azure: Emulator, signed: Signed) -> None:
    """A throttled write gets 429 with the wait in milliseconds, is not stored, and succeeds once the fault has ended."""
    fault = azure.faults.throttle(retry_after=0.25, times=1, method="POST")
    body = b'{"id": "1", "customer_id": "ada"}'
    status, answer, headers = await signed("POST", ITEMS, body)
    assert (status, answer["code"], headers["x-ms-retry-after-ms"], headers["x-ms-substatus"]) == (
        429,
        "TooManyRequests",
        "250",
        "3200",
    )
    assert (fault.strikes, fault.is_active) == (1, False)
    assert (await signed("POST", ITEMS, body))[0] == 201


async def test_sdk_waits_and_tries_a_throttled_request_again(
    azure: Emulator, connect_client: Callable[..., CosmosClient]
) -> None:
    """The SDK obeys x-ms-retry-after-ms: three 429s of 50 ms delay a read by at least 150 ms and no longer."""
    async with connect_client(azure, retry_total=5) as client:
        orders = client.get_database_client("shop").get_container_client("orders")
        await orders.create_item(ORDER)
        fault = azure.faults.throttle(retry_after=0.05, times=3, path=f"{ITEMS}/*")
        started = time.perf_counter()
        assert (await orders.read_item("1", "ada"))["id"] == "1"
        assert 0.15 <= time.perf_counter() - started < 5
        assert fault.strikes == 3


async def test_outage_reaches_the_caller_as_the_sdks_own_error(azure: Emulator, orders: ContainerProxy) -> None:
    """An injected status reaches the caller in the SDK's error, for the paths asked for and until it is cleared."""
    await orders.create_item(ORDER)
    with azure.faults.fail(503, service="cosmos", path=f"{ITEMS}*") as fault:
        with pytest.raises(CosmosHttpResponseError) as caught:
            await orders.read_item("1", "ada")
        assert caught.value.status_code == 503
        await orders.read()
        assert fault.strikes >= 1
    assert not fault.is_active
    assert (await orders.read_item("1", "ada"))["id"] == "1"
    azure.faults.fail(418, times=1)
    with pytest.raises(CosmosHttpResponseError) as caught:
        await orders.read_item("1", "ada")
    assert caught.value.status_code == 418


async def test_rejected_authorization_is_401(azure: Emulator, orders: ContainerProxy) -> None:
    """A right key is refused as a wrong one would be while the fault lasts."""
    await orders.create_item(ORDER)
    with azure.faults.reject_authorization(), pytest.raises(CosmosHttpResponseError) as caught:
        await orders.read_item("1", "ada")
    assert caught.value.status_code == 401
    assert (await orders.read_item("1", "ada"))["id"] == "1"


async def test_drop_before_handling_stores_nothing(azure: Emulator, orders: ContainerProxy) -> None:
    """A write whose connection is cut before it is handled fails in the SDK and is not stored."""
    await orders.read()
    with azure.faults.drop(method="POST") as fault, pytest.raises((ServiceRequestError, ServiceResponseError)):
        await orders.create_item(ORDER)
    assert fault.strikes >= 1
    with pytest.raises(CosmosResourceNotFoundError):
        await orders.read_item("1", "ada")


async def test_drop_after_handling_has_stored(azure: Emulator, orders: ContainerProxy) -> None:
    """A write whose connection is cut after it is handled fails in the SDK and is stored all the same."""
    await orders.read()
    with azure.faults.drop("after", method="POST"), pytest.raises((ServiceRequestError, ServiceResponseError)):
        await orders.create_item(ORDER)
    assert (await orders.read_item("1", "ada"))["id"] == "1"
    assert azure.connections("cosmos").dropped >= 1


async def test_dropped_request_is_a_reset_on_the_wire(azure: Emulator) -> None:
    """A dropped request's connection is reset, not closed in order: the client reads ECONNRESET."""
    azure.faults.drop()
    port = int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_dropping_connections_cuts_the_idle_ones_too(azure: Emulator) -> None:
    """drop_connections resets what is open now, in use or not, says how many, and new connections are served."""
    port = int(azure.cosmos_endpoint.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    assert azure.faults.drop_connections("identity") == 0
    assert azure.faults.drop_connections(service="cosmos") == 1
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert azure.connections("cosmos").open == 0
    assert azure.connections("cosmos").dropped == 1
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()


async def test_delays_add_up_and_the_answer_is_the_usual_one(azure: Emulator, orders: ContainerProxy) -> None:
    """Two delays hold a request back for their sum; it is then handled as ever."""
    await orders.create_item(ORDER)
    first = azure.faults.delay(0.05, path=f"{ITEMS}/*")
    second = azure.faults.delay(0.05, service="cosmos", path=f"{ITEMS}/*")
    started = time.perf_counter()
    assert (await orders.read_item("1", "ada"))["id"] == "1"
    assert 0.1 <= time.perf_counter() - started < 5
    assert (first.strikes, second.strikes) == (1, 1)


async def test_client_that_leaves_during_a_delay_is_not_served(azure: Emulator, signed: Signed) -> None:
    """A request whose client has gone before the delay is over does nothing."""
    azure.faults.delay(0.5, method="POST")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await signed("POST", ITEMS, b'{"id": "1", "customer_id": "ada"}')
    while azure.connections("cosmos").open:  # noqa: ASYNC110 - the emulator learns of it in some turns of the loop
        await asyncio.sleep(0)
    azure.faults.clear()
    status, _, _ = await signed("GET", f"{ITEMS}/1", x_ms_documentdb_partitionkey='["ada"]')
    assert status == 404


async def test_one_delay_and_one_failure_both_strike(azure: Emulator, signed: Signed) -> None:
    """A request is delayed, then struck by the oldest of the other faults that match it, by that one only."""
    delay = azure.faults.delay(0.01)
    first = azure.faults.fail(503)
    second = azure.faults.fail(500)
    assert (await signed("GET", "/"))[0] == 503
    assert (delay.strikes, first.strikes, second.strikes) == (1, 1, 0)
    assert azure.faults.active == (delay, first, second)
    first.clear()
    first.clear()
    assert (await signed("GET", "/"))[0] == 500
    azure.faults.clear()
    assert (await signed("GET", "/"))[0] == 200


async def test_method_and_path_narrow_a_fault(azure: Emulator, signed: Signed) -> None:
    """A fault strikes only where service, method and path all match; the path's slash at the end does not matter."""
    azure.faults.fail(method="get", path="/dbs/shop/*")
    assert (await signed("GET", "/dbs/shop/colls/"))[0] == 503
    assert (await signed("GET", "/dbs"))[0] == 200
    assert (await signed("DELETE", "/dbs/shop"))[0] == 204


async def test_faults_of_another_service_do_not_strike(azure: Emulator, session: aiohttp.ClientSession) -> None:
    """A fault of Cosmos DB leaves the token endpoint alone, and rejecting authorization does not refuse tokens."""
    azure.faults.fail(service="cosmos")
    azure.faults.reject_authorization()
    url = f"{azure.imds_endpoint}?api-version=2018-02-01&resource=https://cosmos.azure.com"
    async with session.get(url, headers={"Metadata": "true"}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("delay", {"seconds": 0}, "seconds=0 must be more than 0"),
        ("delay", {"seconds": float("nan")}, "seconds=nan"),
        ("throttle", {"retry_after": -1}, "retry_after=-1 must be 0 or more"),
        ("fail", {"status": 200}, "status=200 must be from 400 to 599"),
        ("drop", {"when": "during"}, "when='during' must be 'before' or 'after'"),
        ("drop", {"times": 0}, "times=0 must be at least 1"),
        ("fail", {"service": "blob"}, "service='blob' is unknown: write one of cosmos, identity"),
        ("drop_connections", {"service": "blob"}, "service='blob' is unknown"),
        ("reject_authorization", {"service": "identity"}, r"write refuse_tokens\(\)"),
        ("refuse_tokens", {"status": 302}, "status=302"),
    ],
)
def test_wrong_arguments_are_named(name: str, arguments: dict[str, Any], message: str) -> None:
    """An argument out of bounds raises ValueError that names it, and no fault is left in force."""
    faults = Faults(("cosmos", "identity"), lambda _service: 0)
    with pytest.raises(ValueError, match=message):
        getattr(faults, name)(**arguments)
    assert faults.active == ()


def test_a_fault_says_what_it_is() -> None:
    """The representation of a fault tells what it does, to whom, and how often it has."""
    faults = Faults(("cosmos", "identity"), lambda _service: 0)
    fault: Fault = faults.throttle(service="cosmos", method="post", path="/dbs/*", times=3)
    assert faults.deliver("cosmos", "POST", "/dbs/shop") is not None
    assert faults.deliver("cosmos", "GET", "/dbs/shop") is None
    assert repr(fault) == "<Fault fail on cosmos POST /dbs/*: struck 1 of 3>"
    assert repr(faults) == f"<Faults [{fault!r}]>"
    assert repr(faults.drop("after")) == "<Fault drop after on everything: struck 0>"
