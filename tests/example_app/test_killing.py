"""A process that is killed in the midst of confirming an order, and the one that comes after it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.example_app.watching import HUB, QUEUE, free_port, happens, place, reaches, states, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx2
    from fastapi import FastAPI

    from fastapi_azure_pool.emulator import Emulator, Fault

# The service as `python -m example_app` runs it, with trust in the emulator's certificate.
SCRIPT = """
import sys
import certifi
from example_app.__main__ import main

certifi.where = lambda: sys.argv[1]
main()
"""


@contextmanager
def process(azure: Emulator, certificate: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service, with its worker, as a process of its own; it is killed at the end at the latest."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(certificate)],
        env=os.environ
        | {
            "CONFIRM_ORDERS": "true",
            "PORT": str(free_port()),
            "SSL_CERT_FILE": str(certificate),
            "SWEEP_SECONDS": "3600",  # The message alone is to bring the order back, however slow the machine is.
        },
        stdout=subprocess.DEVNULL,
    ) as service:
        try:
            yield service
        finally:
            service.kill()


@pytest.mark.parametrize(
    ("inject", "status", "changes"),
    [
        (lambda azure: azure.faults.delay(600.0, service="cosmos", method="PATCH"), "placed", 2),
        (lambda azure: azure.faults.stall(method="DISPOSITION", path=QUEUE), "confirmed", 1),
    ],
    ids=["before it is confirmed", "before it is completed"],
)
async def test_killed_process_loses_no_order(
    azure: Emulator,
    app: FastAPI,
    remote_shop: httpx2.AsyncClient,
    new_order: dict[str, Any],
    tmp_path: Path,
    inject: Callable[[Emulator], Fault],
    status: str,
    changes: int,
) -> None:
    """The message of a killed process comes back when its lock ends; the next process confirms the order, once."""
    certificate = tmp_path / "certificate.pem"
    with inject(azure) as fault:
        order_id = await place(remote_shop, new_order)
        with process(azure, certificate) as killed:
            await happens(lambda: fault.strikes, seconds=60)
            killed.kill()
            await asyncio.to_thread(killed.wait)
    item = await stored(app, order_id)
    assert (item["status"], len(states(azure))) == (status, 1)
    with process(azure, certificate):
        await reaches(remote_shop, order_id, "confirmed", seconds=60)
        await happens(lambda: not azure.queue_messages(QUEUE), seconds=60)
    confirmed = await stored(app, order_id)
    assert (confirmed["_etag"] == item["_etag"]) == (status == "confirmed")
    # The first of two is the one that never got through.
    assert azure.cosmos_requests.count("PATCH", f"/dbs/shop/colls/orders/docs/{order_id}") == changes
    assert len(azure.received_events(HUB)) == 1
