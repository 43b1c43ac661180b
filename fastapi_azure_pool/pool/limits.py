"""The sizes and times of a pool, and their bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Sizes and times of one pool, checked; `ConnectionPool` tells what each means.

    Raises:
        ValueError: A value is out of bounds; the message names it and the bound.
    """

    client_limit: int
    max_size: int
    max_idle_seconds: float | None
    max_lifespan_seconds: float | None
    max_concurrent_creates: int
    min_size: int
    burst_limit: int
    grow_at: int
    max_waiting: int | None
    create_timeout: float
    close_timeout: float
    probe_seconds: float | None
    leak_warning_seconds: float | None

    def __post_init__(self) -> None:
        _check_seconds("max_idle_seconds", self.max_idle_seconds, or_none="keep idle connections")
        _check_seconds("max_lifespan_seconds", self.max_lifespan_seconds, or_none="keep old connections")
        check_count("max_concurrent_creates", self.max_concurrent_creates, at_least=1)
        check_count("min_size", self.min_size, at_least=0, at_most=self.max_size, bound="max_size")
        check_count("burst_limit", self.burst_limit, at_least=self.max_size, bound="max_size")
        check_count("grow_at", self.grow_at, at_least=1, at_most=self.client_limit, bound="client_limit")
        if self.max_waiting is not None:
            check_count("max_waiting", self.max_waiting, at_least=0)
        _check_seconds("create_timeout", self.create_timeout)
        _check_seconds("close_timeout", self.close_timeout)
        _check_seconds("probe_seconds", self.probe_seconds, or_none="ask at checkout only")
        _check_seconds("leak_warning_seconds", self.leak_warning_seconds, or_none="warn of no lease")

    @property
    def growth_threshold(self) -> int:
        """Fewest clients per connection that call for one more; above ``client_limit``, so never reached, when growth is off."""
        return self.grow_at if self.grow_at < self.client_limit else self.client_limit + 1

    @property
    def cap(self) -> int:
        """Most connections that may exist in any state but closed: all of them twice over, and one replacement."""
        return 2 * self.burst_limit + 1

    def fit(self, clients: int) -> int:
        """Fewest connections that can serve so many clients without asking for one more."""
        if not clients:
            return 0
        if self.grow_at < self.client_limit:
            return clients // self.grow_at + 1
        return -(-clients // self.client_limit)


def check_count(name: str, value: object, *, at_least: int, at_most: float = math.inf, bound: str = "") -> None:
    """Raise ValueError, naming the value and the bound, unless it is a whole number within the bounds."""
    if isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= at_most:
        return
    upper = "" if at_most == math.inf else f" and at most {at_most}"
    raise ValueError(
        f"{name} must be a whole number of at least {at_least}{upper}{bound and f' ({bound})'}, not {value!r}"
    )


def check_drain(seconds: object) -> None:
    """Raise ValueError unless it is a time for clients to go on while a pool closes."""
    if not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise ValueError(f"drain_seconds must be a number of seconds, at least 0, not {seconds!r}")


def _check_seconds(name: str, value: object, *, or_none: str = "") -> None:
    if value is None and or_none:
        return
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return
    raise ValueError(
        f"{name} must be a finite number of seconds above 0{or_none and f', or None to {or_none}'}, not {value!r}"
    )
