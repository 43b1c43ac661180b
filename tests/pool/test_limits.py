"""The bounds of a pool's sizes and times, and what the sizes mean for one another."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fastapi_azure_pool.pool import ConnectionPool
from tests.support.scripted_connector import ScriptedConnector


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"client_limit": 0}, "client_limit must be a whole number of at least 1, not 0"),
        ({"client_limit": 1.5}, "client_limit must be a whole number of at least 1, not 1.5"),
        ({"client_limit": True}, "client_limit must be a whole number of at least 1, not True"),
        ({"client_limit": "10"}, "client_limit must be a whole number of at least 1, not '10'"),
        ({"max_size": 0}, "max_size must be a whole number of at least 1, not 0"),
        ({"max_size": "10"}, "max_size must be a whole number of at least 1, not '10'"),
        ({"max_concurrent_creates": 0}, "max_concurrent_creates must be a whole number of at least 1, not 0"),
        ({"min_size": -1}, "min_size must be a whole number of at least 0 and at most 10 (max_size), not -1"),
        ({"min_size": 11}, "min_size must be a whole number of at least 0 and at most 10 (max_size), not 11"),
        ({"burst_limit": 9}, "burst_limit must be a whole number of at least 10 (max_size), not 9"),
        ({"grow_at": 0}, "grow_at must be a whole number of at least 1 and at most 100 (client_limit), not 0"),
        ({"grow_at": 101}, "grow_at must be a whole number of at least 1 and at most 100 (client_limit), not 101"),
        ({"max_waiting": -1}, "max_waiting must be a whole number of at least 0, not -1"),
        (
            {"max_idle_seconds": 0},
            "max_idle_seconds must be a finite number of seconds above 0, or None to keep idle connections, not 0",
        ),
        (
            {"max_lifespan_seconds": math.inf},
            "max_lifespan_seconds must be a finite number of seconds above 0, or None to keep old connections, not inf",
        ),
        ({"create_timeout": None}, "create_timeout must be a finite number of seconds above 0, not None"),
        ({"create_timeout": math.nan}, "create_timeout must be a finite number of seconds above 0, not nan"),
        ({"close_timeout": -1}, "close_timeout must be a finite number of seconds above 0, not -1"),
        ({"close_timeout": "5"}, "close_timeout must be a finite number of seconds above 0, not '5'"),
        (
            {"leak_warning_seconds": 0},
            "leak_warning_seconds must be a finite number of seconds above 0, or None to warn of no lease, not 0",
        ),
        (
            {"leak_warning_seconds": "30"},
            "leak_warning_seconds must be a finite number of seconds above 0, or None to warn of no lease, not '30'",
        ),
        (
            {"leak_warning_seconds": True},
            "leak_warning_seconds must be a finite number of seconds above 0, or None to warn of no lease, not True",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_its_bound(sizes: dict[str, Any], message: str) -> None:
    """ValueError says which value is wrong, and what it may be."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        ConnectionPool(ScriptedConnector(), **sizes)
    assert str(refused.value) == message


def test_a_connector_s_wrong_value_is_refused_too() -> None:
    """The connector's grow_at and probe_seconds have bounds like the pool's own."""
    connector = ScriptedConnector()
    connector.probe_seconds = 0
    with pytest.raises(ValueError, match="probe_seconds must be a finite number of seconds above 0, or None to ask at"):
        ConnectionPool(connector)
    connector.probe_seconds, connector.grow_at = 1, 0
    with pytest.raises(ValueError, match="grow_at must be a whole number of at least 1"):
        ConnectionPool(connector)


def test_the_bounds_themselves_are_allowed() -> None:
    """The least and the greatest that the bounds allow make a pool."""
    ConnectionPool(ScriptedConnector(), 1, 1, 0.001, 0.001, 1, min_size=1, burst_limit=1, grow_at=1, max_waiting=0)
    ConnectionPool(ScriptedConnector(), 100, 10, None, None, None, min_size=10, grow_at=100, max_waiting=None)


def test_the_defaults_are_those_of_the_contract() -> None:
    """A pool of which nothing is said has the sizes and times that the documentation gives."""
    limits = ConnectionPool(ScriptedConnector())._limits
    assert (limits.client_limit, limits.max_size, limits.min_size, limits.burst_limit) == (100, 10, 0, 10)
    assert (limits.max_idle_seconds, limits.max_lifespan_seconds, limits.probe_seconds) == (300, None, None)
    assert (limits.max_concurrent_creates, limits.grow_at, limits.max_waiting) == (3, 100, None)
    assert (limits.create_timeout, limits.close_timeout, limits.leak_warning_seconds) == (10.0, 5.0, None)


@pytest.mark.parametrize(
    ("clients", "without_growth", "with_growth"),
    [(0, 0, 0), (1, 1, 1), (3, 1, 1), (4, 1, 2), (10, 1, 3), (11, 2, 3), (20, 2, 6), (21, 3, 6)],
)
def test_fewest_connections_for_so_many_clients(clients: int, without_growth: int, with_growth: int) -> None:
    """Full ones, and with growth so many that not every one carries grow_at clients."""
    assert ConnectionPool(ScriptedConnector(), 10)._limits.fit(clients) == without_growth
    assert ConnectionPool(ScriptedConnector(), 10, grow_at=4)._limits.fit(clients) == with_growth
