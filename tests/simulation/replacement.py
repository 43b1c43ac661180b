"""Replacement before retirement: who leaves for its age or for idleness leaves enough others behind, and stays at the cap."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fastapi_azure_pool.pool import SharedTransportConnection
    from fastapi_azure_pool.pool.generation import Generation
    from tests.support.scripted_connector import Transport

    Connection: TypeAlias = SharedTransportConnection[Transport]


class RetirementWatch:
    """Watches which connections retire, from one step to the next.

    Attributes:
        condemned: Those that had to retire at once: they are dead, somebody expired them, or they may have been found broken.
    """

    def __init__(self, condemned: set[Transport]) -> None:
        self.condemned = condemned
        self._before: tuple[Connection, ...] = ()
        self._crowd: set[Connection] | None = None

    def look(self, generation: Generation[Transport] | None, now: float) -> None:
        """Look at a pool after a step: whoever has retired in it had to, or was allowed to."""
        if generation is None or generation.is_closing:
            self._before, self._crowd = (), None
            return
        ready = tuple(generation.ledger)
        crowd = None
        if generation._existing >= generation.limits.cap:
            crowd = {*ready, *generation.draining, *generation.tasks.opening}
        if ready != self._before:
            may_retire = crowd is None or crowd != self._crowd or not set(ready) <= set(self._before)
            for connection in self._before:
                if connection in generation.draining and connection.transport not in self.condemned:
                    assert may_retire, "retires one that may stay, at the cap, without a successor"
                    if connection.expires_at is None or connection.expires_at > now:
                        self._check_who_stays(generation)
        self._before, self._crowd = ready, crowd

    def _check_who_stays(self, generation: Generation[Transport]) -> None:
        limits, ready = generation.limits, len(generation.ledger)
        assert ready >= limits.min_size, "retires one that min_size needs, before its successor is ready"
        assert ready * limits.client_limit >= generation.ledger.clients, "retires one that its clients need"
