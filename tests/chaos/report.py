"""What a run tells: what was done, what came of it, and what does not hold."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .books import Books
    from .reconciliation import Reconciliation
    from .recovery import Recovery
    from .schedule import PlannedFault

_SHOWN_OF_A_KIND = 5

# What tells findings of one kind from each other: the ids of orders, and figures.
_PARTICULARS = re.compile(r"[\w-]+-[0-9a-f]{24}|\d+")


@dataclass(slots=True)
class Report:
    """One run.

    Attributes:
        seed: What it followed from.
        seconds: How long the load lasted.
        books: What the clients were told.
        faults: Those that were inflicted.
        strikes: How many requests each kind struck.
        recoveries: What came after each, with what it was.
        breathers: How often the faults paused because the service was too far behind.
        settling_seconds: How long it took after the load until everything was worked off.
        reconciliation: What is stored.
        complaints: What the service's log should not hold.
        connections: How many connections each pool opened.
    """

    seed: int
    seconds: float
    books: Books
    reconciliation: Reconciliation
    faults: list[PlannedFault] = field(default_factory=list)
    strikes: Counter[str] = field(default_factory=Counter)
    recoveries: list[tuple[str, Recovery]] = field(default_factory=list)
    breathers: int = 0
    settling_seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    connections: dict[str, int] = field(default_factory=dict)

    @property
    def findings(self) -> list[str]:
        """Everything that does not hold, each in a sentence."""
        late = [
            f"after {fault}: {', '.join(recovery.awaited)} not ready within {recovery.bound:.0f} s"
            for fault, recovery in self.recoveries
            if not recovery.is_in_time
        ]
        return [*self.books.findings, *late, *self.reconciliation.findings, *self.complaints]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"Chaos with seed {self.seed}: {self.seconds:.0f} s of load, {len(self.faults)} faults"
        yield ""
        yield "Requests, by status"
        names = sorted({request for request, _ in self.books.answers})
        for name in names:
            answers = {status: count for (request, status), count in self.books.answers.items() if request == name}
            told = ", ".join(f"{status}: {answers[status]}" for status in sorted(answers, key=str))
            yield f"  {name:<32}{told}"
        yield ""
        yield f"  {'Faults':<36}{'times':>6}{'requests struck':>17}"
        for kind, times in sorted(Counter(fault.kind for fault in self.faults).items()):
            yield f"  {kind:<36}{times:>6}{self.strikes[kind] or '':>17}"
        yield ""
        heads = ("acknowledged", "uncertain", "refused", "stored", "things", "duplicates")
        yield f"  {'Stored':<10}" + "".join(f"{head:>14}" for head in heads)
        for name, tally in self.reconciliation.tallies.items():
            figures = [getattr(tally, head) for head in heads]
            yield f"  {name:<10}" + "".join(f"{figure:>14}" for figure in figures)
        yield f"  dead letters after too many deliveries: {self.reconciliation.dead_letters}"
        if self.breathers:
            yield f"  the faults paused {self.breathers} times because the service was too far behind"
        yield f"  everything was worked off {self.settling_seconds:.1f} s after the load"
        yield ""
        if self.recoveries:
            seconds = [recovery.seconds for _, recovery in self.recoveries]
            slowest, recovery = max(self.recoveries, key=lambda one: one[1].seconds)
            yield (
                f"Ready and serving again after a fault: median {statistics.median(seconds):.2f} s, longest"
                f" {recovery.seconds:.2f} s of at most {recovery.bound:.0f} s"
            )
            yield f"  (waiting for {', '.join(recovery.awaited) or 'nothing'} after {slowest})"
        opened = ", ".join(f"{name} {count}" for name, count in self.connections.items())
        yield f"Connections opened: {opened}"
        yield ""
        findings = self.findings
        yield f"{len(findings)} findings" if findings else "Everything holds."
        for alike in _kinds(findings):
            for finding in alike[:_SHOWN_OF_A_KIND]:
                yield f"  - {finding}"
            if len(alike) > _SHOWN_OF_A_KIND:
                yield f"  ... and {len(alike) - _SHOWN_OF_A_KIND} like these"


def _kinds(findings: list[str]) -> list[list[str]]:
    """Give the findings that differ in ids and figures only together, each kind where the first of it stands."""
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(_PARTICULARS.sub("#", finding), []).append(finding)
    return list(kinds.values())
