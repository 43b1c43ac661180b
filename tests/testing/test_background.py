"""An emulator in a thread, and its use from other threads and event loops."""

from __future__ import annotations

import inspect
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos.aio import CosmosClient
from azure.identity.aio import ManagedIdentityCredential

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.testing import BackgroundEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def azure() -> Iterator[BackgroundEmulator]:
    """One that runs."""
    with BackgroundEmulator() as azure:
        yield azure


def public_members(kind: type) -> dict[str, Any]:
    """Give what a class has under public names."""
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}


def test_it_has_every_member_of_the_emulator() -> None:
    """What the emulator can do, it can; its methods take the same arguments, and none is a coroutine function."""
    theirs, ours = public_members(Emulator), public_members(BackgroundEmulator)
    assert theirs.keys() - ours.keys() == set(), "add these to BackgroundEmulator"
    methods = {name: method for name, method in theirs.items() if inspect.isfunction(method)}
    assert {name: inspect.signature(method) for name, method in methods.items()} == {
        name: inspect.signature(ours[name]) for name in methods
    }
    assert [name for name in methods if inspect.iscoroutinefunction(ours[name])] == []


def test_attributes_are_the_emulator_s() -> None:
    """Every attribute reads as the emulator's own; an option is the emulator's."""
    with BackgroundEmulator(tls=True) as azure:
        names = [name for name, member in public_members(Emulator).items() if isinstance(member, property)]
        values = {name: getattr(azure, name) for name in names if not name.endswith("_requests")}
        assert values == {name: getattr(azure.emulator, name) for name in values}
        assert azure.environment["AZURE_COSMOS_KEY"] == azure.cosmos_key
        assert "BEGIN CERTIFICATE" in azure.certificate


async def test_the_sdk_finds_it_from_another_event_loop(
    azure: BackgroundEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that is a coroutine makes a container by a plain call and writes to it; and gets a token with the environment."""
    azure.create_cosmos_container("shop", "orders", partition_key="/id")
    async with CosmosClient(azure.cosmos_endpoint, azure.cosmos_key) as client:
        container = client.get_database_client("shop").get_container_client("orders")
        await container.create_item({"id": "1"})
    assert azure.cosmos_requests.count("POST", "/dbs/shop/colls/orders/docs") == 1
    assert azure.connections("cosmos").accepted >= 1
    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)
    async with ManagedIdentityCredential() as credential:
        await credential.get_token("https://cosmos.azure.com/.default")
    assert len(azure.token_requests) == 1


def test_many_threads_use_it_at_once(azure: BackgroundEmulator) -> None:
    """What eight threads make at the same time is there, once."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: azure.create_queue(f"q{number}"), range(40)))
    assert [azure.queue_messages(f"q{number}") for number in range(40)] == [[]] * 40


def test_errors_come_to_the_caller(azure: BackgroundEmulator) -> None:
    """What the emulator refuses is raised where it was asked."""
    with pytest.raises(ValueError, match="event hub"):
        azure.received_events("missing")
    with pytest.raises(ValueError, match="service='ftp' is unknown"):
        azure.faults.delay(1, service="ftp")


def test_faults_are_injected_from_any_thread(azure: BackgroundEmulator) -> None:
    """A fault strikes until it is cleared, until its block ends, or until recover(); it tells how often it has struck."""
    fault = azure.faults.throttle(service="cosmos", times=3)
    assert (fault.is_active, fault.strikes, fault.times) == (True, 0, 3)
    assert "throttle" in repr(azure.faults) or "fail on cosmos" in repr(azure.faults)
    fault.clear()
    assert (fault.is_active, azure.faults.active) == (False, ())
    with azure.faults.withhold_credit(path="q1") as withheld:
        assert withheld.is_active
    assert not withheld.is_active
    azure.faults.fail()
    azure.stop()
    assert not azure.is_running
    azure.recover()
    assert azure.is_running
    assert azure.faults.active == ()


def test_a_fault_is_ended_on_the_emulator_s_event_loop(
    azure: BackgroundEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a fault does when it ends, such as writing to connections, it does in their thread."""
    fault = azure.faults.withhold_credit()
    threads: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(azure.emulator.faults, "discard", lambda _: threads.append(threading.get_ident()))
        fault.clear()
    assert threads == [azure.portal.call(threading.get_ident)]
    azure.faults.clear()


def test_logs_can_be_read_and_cleared(azure: BackgroundEmulator) -> None:
    """A request log has its length, its text and its methods."""
    log = azure.identity_requests
    assert len(log) == log.total
    assert repr(log) == f"<RequestLog {log.total} requests>"
    log.clear()
    assert len(azure.identity_requests) == 0


def test_it_does_not_wait_for_itself(azure: BackgroundEmulator) -> None:
    """On its own event loop, where a call would wait for ever, it raises."""
    with pytest.raises(RuntimeError, match="event loop thread"):
        azure.portal.call(lambda: azure.cosmos_endpoint)


def test_it_is_used_in_one_block() -> None:
    """Outside its block nothing can be called, and it says what to write; its data are still there in the next block."""
    azure = BackgroundEmulator(cosmos_partitions=2)
    assert repr(azure) == "<BackgroundEmulator <Emulator stopped>>"
    with pytest.raises(RuntimeError, match="use it inside `with BackgroundEmulator"):
        azure.create_queue("q")
    with azure:
        azure.create_queue("q")
        endpoint = azure.cosmos_endpoint
        with pytest.raises(RuntimeError, match="make another BackgroundEmulator"), azure:
            pass
        assert azure.is_running
    with azure:
        assert azure.queue_messages("q") == []
        assert azure.cosmos_endpoint == endpoint


def test_a_failed_start_leaves_nothing() -> None:
    """When a port is taken the error comes to the caller, and neither a thread nor a server is left."""
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        azure = BackgroundEmulator(amqp_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="amqp_port"), azure:
            pass
    assert not azure.emulator.is_running
    assert threading.active_count() == before
