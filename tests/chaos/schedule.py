"""Which faults come, in which order and for how long: all of it follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HTTP = ("cosmos", "blob", "eventgrid")
SERVICES = (*HTTP, "amqp")

VARIANTS: Mapping[str, tuple[str, ...]] = {
    # Connections, in every state that they have.
    "connections dropped": ("", *SERVICES),
    "dropped before the request": SERVICES,
    "dropped after the request": SERVICES,
    "dropped in the midst of a message": ("amqp",),
    "dropped while opening": ("cosmos", "blob", "amqp OPEN", "amqp BEGIN", "amqp ATTACH", "amqp PUT-TOKEN"),
    "dropped while draining": ("cosmos", "blob", "amqp"),
    "dropped while closing": ("amqp DETACH", "amqp END", "amqp CLOSE"),
    # What Azure does to the idle, and to those that are not welcome.
    "idle links detached": ("",),
    "idle connections closed": ("",),
    "links refused": ("at once", "after they were opened"),
    "throttled": SERVICES,
    "failing": tuple(f"{service} {status}" for service in SERVICES for status in (500, 503)),
    "authorization refused": SERVICES,
    "token endpoint down": ("400", "429", "500", "503"),
    # Time.
    "slow": SERVICES,
    "silent": ("before TRANSFER", "after TRANSFER", "before ATTACH", "before DISPOSITION"),
    "no credit": ("0", "1"),
    "odd outcomes": ("released", "modified", "rejected"),
    # All at once.
    "stopped and started": ("",),
    "killed and restarted": ("",),
    "hung": ("",),
}
"""Every kind of fault that Azure is made to have, each with the forms that it takes."""

BESIDES: Mapping[str, tuple[str, ...]] = {
    "clients disconnect": ("100", "200"),
    "event loop stalled": ("0.2", "0.5", "1.0"),
}
"""What happens elsewhere: how many clients, for how many seconds. It may come together with one of the others."""

_SHORTEST = 0.3
_TOGETHER = 0.3
_LONG = 0.1


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault that is to come.

    Attributes:
        kind: A key of `VARIANTS` or `BESIDES`.
        variant: One of its values.
        seconds: For how long.
    """

    kind: str
    variant: str
    seconds: float

    def __str__(self) -> str:
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.kind}{variant} for {self.seconds:.1f} s"


def plan(seed: int, *, longest_seconds: float) -> Iterator[tuple[PlannedFault, ...]]:
    """Give faults without end, those together that are to come together: each kind once, in some order, then in another.

    Args:
        seed: Gives the same plan each time.
        longest_seconds: How long one in ten lasts at most, at least 1.5; the others 0.3 to 1.5 s.
    """
    lot = random.Random(seed)

    def pick(kind: str, variants: tuple[str, ...]) -> PlannedFault:
        longest = longest_seconds if lot.random() < _LONG else 1.5
        return PlannedFault(kind, lot.choice(variants), round(lot.uniform(_SHORTEST, longest), 2))

    while True:
        kinds = [*VARIANTS, *BESIDES]
        lot.shuffle(kinds)
        for kind in kinds:
            if kind in BESIDES:
                yield (pick(kind, BESIDES[kind]),)
                continue
            fault = pick(kind, VARIANTS[kind])
            if lot.random() < _TOGETHER:
                besides = lot.choice(list(BESIDES))
                yield (fault, pick(besides, BESIDES[besides]))
            else:
                yield (fault,)
