"""A minute of chaos with the SDKs, the service and the emulator as processes; ``make chaos MINUTES=30`` makes more of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .books import Placed
from .run import run

if TYPE_CHECKING:
    from pathlib import Path

SEED = 2930
"""Kills, stops, throttles, stalls, and what else there is, come early in its plan."""


async def test_everything_holds_under_faults(tmp_path: Path) -> None:
    """Nothing that was acknowledged is lost, nothing is there twice without a reason, and every answer is one that may be given."""
    report = await run(
        tmp_path, seconds=40.0, orders=50, seed=SEED, longest_seconds=1.5, per_second=20.0, sweep_seconds=3.0
    )
    assert report.findings == [], f"{report}\n{(tmp_path / 'service.log').read_text()}"
    assert len({fault.kind for fault in report.faults}) >= 5
    assert report.books.count(Placed.ACKNOWLEDGED) >= 50
    assert report.reconciliation.tallies["orders"].stored >= 50


async def test_mistakes_of_the_service_are_found(tmp_path: Path) -> None:
    """Orders that are acknowledged and not stored, events that are lost or sent twice, a bare 500 and a lost error are told."""
    report = await run(
        tmp_path,
        seconds=2.0,
        orders=20,
        seed=SEED,
        longest_seconds=1.5,
        per_second=40.0,
        sweep_seconds=3.0,
        module="tests.chaos.broken",
    )
    for finding in (
        "was acknowledged and is lost",
        "was acknowledged 1 times and is stored 0 times",
        "is stored 2 times: of its sends 1 were acknowledged and 0 uncertain",
        "was answered wrongly: 500 text/plain",
        "the service's log: Task exception was never retrieved",
        "the service's log has a traceback: ERROR:    Exception in ASGI application",
    ):
        assert any(finding in found for found in report.findings), (finding, report.findings)
