"""What a seed draws before a pool's life begins: its sizes and times, what goes wrong, who comes, who opens and closes it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

DURATIONS = (0.0, 0.0, 0.25, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Few and round, so that things often happen at the same time."""


@dataclass(slots=True)
class Faults:
    """How likely each thing is that can go wrong, 0.0 to 1.0.

    Attributes:
        refusal: create() raises.
        hang: create() or ready() takes longer than the pool waits for it.
        doubt: ready() says no, or raises.
        stillbirth: A connection is dead the moment it is ready.
        death: A connection dies some time later, and says nothing.
        breakage: What a client does fails with an error that means that the connection is broken.
        trouble: What a client does fails with another error.
        expiry: A client expires the connection that it uses.
        misjudgement: is_fatal() raises.
        blindness: is_closed() raises.
        slow_close: close() takes longer than the pool waits for it.
        failed_close: close() raises.
        stubbornness: create(), ready() or close() goes on for a while although it is cancelled.
        self_cancellation: create(), ready() or close() raises CancelledError though nobody has cancelled it.
    """

    refusal: float = 0.0
    hang: float = 0.0
    doubt: float = 0.0
    stillbirth: float = 0.0
    death: float = 0.0
    breakage: float = 0.0
    trouble: float = 0.0
    expiry: float = 0.0
    misjudgement: float = 0.0
    blindness: float = 0.0
    slow_close: float = 0.0
    failed_close: float = 0.0
    stubbornness: float = 0.0
    self_cancellation: float = 0.0

    @classmethod
    def draw(cls, lot: random.Random) -> Faults:
        """Draw which can happen at all, and how often: a life in which all of them happen would get nowhere.

        Source:
            Groce, Zhang, Eide, Chen and Regehr, "Swarm Testing" (2012): tests that each leave out a part find more.
        """
        swarm = lot.choice((0.0, 0.15, 0.3, 0.5))
        faults = cls(
            **{field.name: lot.choice((0.02, 0.1, 0.3, 0.7)) if lot.random() < swarm else 0.0 for field in fields(cls)}
        )
        # Not a fault, and more often: where connections drain under clients who stay, the cap is met.
        faults.expiry = lot.choice((0.0, 0.0, 0.05, 0.5, 0.9))
        return faults

    def __str__(self) -> str:
        likely = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name}={likelihood}" for name, likelihood in likely.items() if likelihood) or "none"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One pool's life.

    Attributes:
        sizes: The arguments of the pool.
        can_tell: Whether the connector has an is_closed().
        grow_at: What the connector says.
        probe_seconds: What the connector says.
        faults: What can go wrong.
        clients: How many callers come.
        operators: How many tasks open and close the pool.
        patience: How many times as long as usual they stay.
        storm_seconds: How long things go wrong.
        cancellation: How likely it is that some caller is cancelled after a step.
        clock_jump: How likely it is that the clock jumps after a step.
        is_eager: Whether tasks begin at once, as with ``asyncio.eager_task_factory``.
    """

    sizes: dict[str, Any]
    can_tell: bool
    grow_at: int | None
    probe_seconds: float | None
    faults: Faults
    clients: int
    operators: int
    patience: int
    storm_seconds: float
    cancellation: float
    clock_jump: float
    is_eager: bool

    @classmethod
    def draw(cls, lot: random.Random) -> Scenario:
        """Draw one."""
        is_tight = lot.random() < 0.2  # So that the cap is met.
        client_limit = 1 if is_tight else lot.choice((1, 1, 2, 3, 5))
        max_size = 1 if is_tight else lot.randint(1, 4)
        faults = Faults.draw(lot)
        # After a jump of the clock the pool may rightly give up on what ignores its cancellation.
        may_jump = not faults.stubbornness and lot.random() < 0.3
        can_tell = lot.random() < 0.7
        return cls(
            sizes={
                "client_limit": client_limit,
                "max_size": max_size,
                "max_idle_seconds": lot.choice((None, 1.0, 5.0, 20.0, 300.0)),
                "max_lifespan_seconds": lot.choice((None, None, 3.0, 10.0, 60.0)),
                "max_concurrent_creates": lot.choice((None, 1, 2, 4)),
                "min_size": lot.choice((0, 0, 1, lot.randint(0, max_size))),
                "burst_limit": lot.choice((None, max_size + lot.randint(0, 0 if is_tight else 3))),
                "grow_at": lot.choice((None, lot.randint(1, client_limit))),
                "max_waiting": lot.choice((None, None, None, 0, 1, 3)),
                "create_timeout": lot.choice((0.5, 2.0, 8.0)),
                "close_timeout": lot.choice((0.5, 2.0, 4.0)),
                "leak_warning_seconds": lot.choice((None, None, 0.25, 1.0, 5.0)),
            },
            can_tell=can_tell,
            grow_at=lot.choice((None, None, 1, 2)),
            probe_seconds=lot.choice((None, 1.0, 2.5)) if can_tell else None,
            faults=faults,
            clients=lot.randint(1, 12),
            operators=lot.choice((0, 0, 1, 1, 2, 3)),
            patience=lot.choice((1, 1, 1, 4, 8)),
            storm_seconds=lot.choice((0.0, 3.0, 10.0, 30.0)),
            cancellation=lot.choice((0.0, 0.01, 0.03, 0.1)),
            clock_jump=lot.choice((0.005, 0.02)) if may_jump else 0.0,
            is_eager=lot.random() < 0.15,
        )

    def lines(self) -> list[str]:
        """Tell what was drawn, for a trace."""
        told = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in {"sizes", "faults"}
        }
        return [
            f"sizes: {', '.join(f'{name}={size}' for name, size in self.sizes.items() if size is not None)}",
            f"faults: {self.faults}",
            f"life: {', '.join(f'{name}={value}' for name, value in told.items())}",
        ]
