"""The choice: fewest clients, and among those the one that has had so many for longest."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fastapi_azure_pool.pool import SharedTransportConnection
    from fastapi_azure_pool.pool.generation import Generation
    from tests.support.scripted_connector import Transport

    Connection: TypeAlias = SharedTransportConnection[Transport]


class ChoiceWatch:
    """Watches how long each ready connection has had as many clients as it has; looked at whenever one comes or leaves."""

    def __init__(self) -> None:
        self._looks = 0
        self._counts: dict[Connection, tuple[int, int]] = {}

    def look(self, generation: Generation[Transport] | None) -> None:
        """Note which connections have another number of clients than at the look before; those of one look are equal."""
        self._looks += 1
        counts: dict[Connection, tuple[int, int]] = {}
        for connection in () if generation is None else generation.ledger:
            clients = connection.current_client_count
            known = self._counts.get(connection)
            counts[connection] = known if known is not None and known[0] == clients else (clients, self._looks)
        self._counts = counts

    def check(self, chosen: Connection, generation: Generation[Transport]) -> None:
        """Check that no other connection should have been chosen, after which nobody has looked yet."""
        before, since = self._counts[chosen]
        assert chosen.current_client_count == before + 1
        for other in generation.ledger:
            if other is not chosen:
                assert other.current_client_count >= before, "another has fewer clients"
                if other.current_client_count == before:
                    assert self._counts[other][1] >= since, "another has had as few clients for longer"
