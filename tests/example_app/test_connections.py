"""Which account the service uses, and how it authenticates."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.example_app.watching import place, reaches

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2
    import pytest

    from fastapi_azure_pool.emulator import Emulator

    Serve = Callable[[], AbstractAsyncContextManager[httpx2.AsyncClient]]


async def test_without_an_account_it_says_so_on_one_line(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """With no settings the service runs on an emulator in its own process, says so in one line, and shows no key."""
    async with serve() as shop:
        pools = (await shop.get("/health/pools")).json()
    ready = {name: pool["ready_connection_count"] for name, pool in pools["pools"].items()}
    assert (pools["status"], ready) == (
        "pass",
        {"orders": 1, "events": 1, "confirmations": 1, "invoices": 1, "news": 1},
    )
    output = capsys.readouterr()
    assert re.fullmatch(
        r"No AZURE_COSMOS_ENDPOINT: using the local emulator at http://127\.0\.0\.1:\d+/ \(data is lost at exit\)\n",
        output.out,
    )
    assert output.err == ""


async def test_names_hold_for_the_emulator_too(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, new_order: dict[str, Any]
) -> None:
    """The emulator gets the database, the containers, the hub and the queue that the settings name."""
    monkeypatch.setenv("AZURE_COSMOS_DATABASE", "tea")
    monkeypatch.setenv("AZURE_COSMOS_CONTAINER", "sales")
    monkeypatch.setenv("AZURE_EVENTHUB_NAME", "tea-events")
    monkeypatch.setenv("AZURE_SERVICEBUS_QUEUE", "tea-confirmations")
    monkeypatch.setenv("AZURE_STORAGE_CONTAINER", "tea-invoices")
    monkeypatch.setenv("CONFIRM_ORDERS", "true")
    async with serve() as shop:
        await reaches(shop, await place(shop, new_order), "confirmed")
        pools = (await shop.get("/health/pools")).json()["pools"]
    assert all(pool["totals"]["checkouts"] for pool in pools.values())


async def test_proxy_of_the_environment_does_not_hide_the_emulator(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, new_order: dict[str, Any]
) -> None:
    """A proxy that the environment names, and that leads nowhere, keeps nobody from the demo."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serve() as shop:
        assert (await shop.post("/orders", json=new_order)).status_code == 201


async def test_an_account_is_used_with_the_default_credential(
    azure: Emulator,
    remote_shop: httpx2.AsyncClient,
    new_order: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With all settings an order goes to Azure, with one token for each service, which DefaultAzureCredential asked for."""
    placed = await remote_shop.post("/orders", json=new_order)
    read = await remote_shop.get(placed.headers["Location"])
    assert (placed.status_code, read.status_code, read.json()) == (201, 200, placed.json())
    assert azure.cosmos_requests.count("POST", "/dbs/shop/colls/orders/docs") == 1
    assert len(azure.received_events("order-events")) == len(azure.queue_messages("confirmations")) == 1
    tokens = [(request.resource.rstrip("/"), request.status) for request in azure.token_requests if request.resource]
    assert sorted(tokens) == [
        ("https://127.0.0.1", 200),
        ("https://eventgrid.azure.net", 200),
        ("https://eventhubs.azure.net", 200),
        ("https://servicebus.azure.net", 200),
        ("https://storage.azure.com", 200),
    ]
    assert capsys.readouterr().out == ""


def test_production_loads_no_emulator() -> None:
    """A process with AZURE_COSMOS_ENDPOINT never imports the emulator, one without it never azure-identity's credentials."""
    script = """
import asyncio, sys
from example_app.app import create_app
from example_app.connections import connect
from example_app.settings import Settings

async def main():
    create_app()
    async with connect(Settings()) as clients:
        print(*(getattr(clients, name).service for name in ("orders", "events", "confirmations", "invoices", "news")))
    print(*(name in sys.modules for name in ("azure.identity.aio", "fastapi_azure_pool.emulator")))

asyncio.run(main())
"""
    command = [sys.executable, "-c", script]
    environment = {
        "AZURE_COSMOS_ENDPOINT": "https://shop.documents.azure.com",
        "AZURE_EVENTHUB_NAMESPACE": "shop.servicebus.windows.net",
        "AZURE_SERVICEBUS_NAMESPACE": "shop.servicebus.windows.net",
        "AZURE_STORAGE_BLOB_ENDPOINT": "https://shop.blob.core.windows.net",
        "AZURE_EVENTGRID_TOPIC_ENDPOINT": "https://shop.westeurope-1.eventgrid.azure.net/api/events",
    }
    services = "cosmos eventhub servicebus blob eventgrid"
    remote = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (remote.stdout, remote.stderr) == (f"{services}\nTrue False\n", "")
    local = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    assert local.stdout.splitlines()[1:] == [services, "False True"]
