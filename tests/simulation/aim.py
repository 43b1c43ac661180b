"""Growth: no more is opened than the callers there are call for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi_azure_pool.pool import SharedTransportConnection
    from fastapi_azure_pool.pool.generation import Generation


class AimWatch:
    """Watches what a pool opens from one step to the next, and reckons by itself what it needs."""

    def __init__(self) -> None:
        self._needed_before = 0
        self._clients_before = 0
        self._ready_before = 0
        self._opening_before: frozenset[SharedTransportConnection[Any]] = frozenset()

    def look(self, generation: Generation[Any] | None, *, somebody_asked: bool) -> None:
        """Look at a pool after a step: what it began to open in it was needed before the step or is needed after it."""
        if generation is None:
            self._needed_before = self._clients_before = self._ready_before = 0
            self._opening_before = frozenset()
            return
        opening = frozenset(generation.tasks.opening)
        clients = generation.clients + len(generation.waiters)
        # Who asked in this step, a second time while inside perhaps, was reckoned with, even if everybody left in the same step.
        at_most = max(clients, self._clients_before) + 2 if somebody_asked else clients
        needed = connections_needed(generation, at_most)
        if somebody_asked and generation.limits.growth_threshold <= generation.limits.client_limit:
            # Before somebody expired one in the same step, perhaps.
            needed = max(needed, self._ready_before + 1, len(generation.ledger) + 1)
        if not opening <= self._opening_before:
            there = len(generation.ledger) - len(generation.retirement.due) + len(opening)
            most = max(needed, self._needed_before)
            assert there <= most, f"{there} connections ready or on their way, where {most} are needed"
        self._needed_before, self._clients_before, self._opening_before = needed, clients, opening
        self._ready_before = len(generation.ledger)


def connections_needed(generation: Generation[Any], clients: int) -> int:
    """Reckon the ready connections that a pool with so many clients should have, by rules 3, 5 and 7 of the design."""
    limits, ready = generation.limits, len(generation.ledger)
    needed = max(-(-clients // limits.client_limit), limits.min_size)
    if ready and all(connection.current_client_count >= limits.growth_threshold for connection in generation.ledger):
        needed = max(needed, ready + 1)
    if generation.backoff.is_failing:
        needed = max(needed, 1)
    if generation.retirement.due:
        needed = max(needed, generation.retirement.kept)
    return needed
