"""The report of a run, and the wait for the service to be ready again."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from . import recovery
from .answers import PROBLEM_JSON
from .books import Books
from .customers import Customers
from .journal import Journal
from .reconciliation import reconcile
from .recovery import Recovery, recover
from .report import Report
from .schedule import PlannedFault
from .stored import Stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def make_report(books: Books) -> Report:
    """Make the report of a run in which nothing was stored."""
    return Report(seed=7, seconds=60.0, books=books, reconciliation=reconcile(books, Journal(), Stored()))


def test_report_of_what_holds() -> None:
    """A run without a finding says so, with its faults and its recoveries."""
    report = make_report(Books())
    report.faults.append(PlannedFault("slow", "blob", 1.0))
    report.strikes["slow"] = 3
    report.recoveries.append(("slow (blob) for 1.0 s", Recovery(0.25, 20.5, ("an order",), is_in_time=True)))
    text = str(report)
    assert report.findings == []
    assert "Chaos with seed 7: 60 s of load, 1 faults" in text
    assert "slow                                     1                3" in text
    assert "median 0.25 s, longest 0.25 s of at most 20 s" in text
    assert text.endswith("Everything holds.")


def test_report_of_what_does_not_hold() -> None:
    """Findings of all kinds are told, a few of each kind."""
    books = Books()
    books.findings += [f"order ada-{number:024x} was lost" for number in range(100)]
    report = make_report(books)
    report.recoveries.append(("slow (blob) for 1.0 s", Recovery(20.6, 20.5, ("invoices",), is_in_time=False)))
    report.complaints.append("the service's log: Unclosed client session")
    assert len(report.findings) == 102
    assert str(report).splitlines()[-9:] == [
        "102 findings",
        *(f"  - order ada-{number:024x} was lost" for number in range(5)),
        "  ... and 95 like these",
        "  - after slow (blob) for 1.0 s: invoices not ready within 20 s",
        "  - the service's log: Unclosed client session",
    ]


class Shop:
    """A service whose one pool becomes ready, and takes an order, when it has been asked often enough."""

    def __init__(self, *, ready_after: int, serves_after: int) -> None:
        self._ready_after = ready_after
        self._serves_after = serves_after

    async def tell_health(self, _: web.Request) -> web.Response:
        """Tell of the pool; it fails once more each time while it is not ready."""
        self._ready_after -= 1
        pool = {"ready_connection_count": int(self._ready_after < 0), "totals": {"open_failures": 4}}
        return web.json_response({"pools": {"orders": pool}})

    async def take_order(self, request: web.Request) -> web.Response:
        """Take an order, or say that it is too early."""
        self._serves_after -= 1
        if self._serves_after >= 0:
            problem = {"title": "Service Unavailable", "status": 503, "detail": "Come back."}
            headers = {"Retry-After": "1", "Content-Type": PROBLEM_JSON}
            return web.Response(status=503, headers=headers, body=json.dumps(problem).encode())
        return web.json_response(await request.json() | {"id": "prober-1"}, status=201)


@asynccontextmanager
async def recovering(shop: Shop) -> AsyncIterator[Recovery]:
    """Serve the shop and wait until it has recovered."""
    app = web.Application()
    app.router.add_get("/health/pools", shop.tell_health)
    app.router.add_post("/orders", shop.take_order)
    async with TestServer(app) as server:
        books = Books()
        async with (
            aiohttp.ClientSession(server.make_url("/")) as health,
            Customers(str(server.make_url("/")), books, seed=1, per_second=1.0) as customers,
        ):
            yield await recover(health, customers, {"orders": 1})
            assert books.findings == []


@pytest.mark.parametrize(
    ("ready_after", "serves_after", "awaited"), [(0, 0, ()), (2, 0, ("orders",)), (1, 2, ("an order",))]
)
async def test_recovery_is_over_when_an_order_is_placed(
    ready_after: int, serves_after: int, awaited: tuple[str, ...]
) -> None:
    """The service has recovered when every pool has a connection and a new order is placed; what was missing last is told."""
    async with recovering(Shop(ready_after=ready_after, serves_after=serves_after)) as found:
        assert (found.is_in_time, found.awaited, found.bound) == (True, awaited, 24.0)


async def test_recovery_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the bound is over, it is not waited any longer."""
    monkeypatch.setattr(recovery, "CREATE_SECONDS", -1.9)
    async with recovering(Shop(ready_after=1000, serves_after=0)) as found:
        assert (found.is_in_time, found.awaited) == (False, ("orders",))
        assert found.seconds > found.bound == pytest.approx(0.2)
