"""What the shop's clients asked for and were told: what must be true of what is stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

UNTOUCHED = frozenset({"placed", "confirmed"})
"""The statuses that an order may have which no client has changed."""


class Placed(Enum):
    """What a client knows of an order that it tried to place."""

    ASKED = "asked"
    ACKNOWLEDGED = "acknowledged"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"


@dataclass(slots=True)
class PlacedOrder:
    """One attempt to place an order.

    Attributes:
        marker: The article number of its first line, which no other attempt has.
        new_order: What was sent.
        outcome: What came of it.
        order: What was answered, where it was acknowledged.
        etag: The version that its client knows.
        statuses: Those that it may have now.
        was_confirmed: Whether a client has seen it confirmed, so that it has an invoice.
        was_cancelled: Whether a client has asked for that, so that it need not have one.
    """

    marker: str
    new_order: dict[str, Any]
    outcome: Placed = Placed.ASKED
    order: dict[str, Any] = field(default_factory=dict)
    etag: str = ""
    statuses: frozenset[str] = UNTOUCHED
    was_confirmed: bool = False
    was_cancelled: bool = False

    @property
    def id(self) -> str:
        """Its id, where it was acknowledged."""
        order_id: str = self.order["id"]
        return order_id


@dataclass(slots=True)
class Books:
    """All of them.

    Attributes:
        placed: The attempts to place an order, by marker.
        answers: How many answers there were, by request and status; "none" where there was none.
        findings: What was wrong with an answer, each in a sentence.
    """

    placed: dict[str, PlacedOrder] = field(default_factory=dict)
    answers: Counter[tuple[str, int | str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def ask(self, new_order: dict[str, Any]) -> PlacedOrder:
        """Note that an order is about to be placed."""
        marker = new_order["lines"][0]["sku"]
        attempt = self.placed[marker] = PlacedOrder(marker, new_order)
        return attempt

    def count(self, outcome: Placed) -> int:
        """Give how many attempts had an outcome."""
        return sum(attempt.outcome is outcome for attempt in self.placed.values())
