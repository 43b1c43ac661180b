"""What Azure stores of the shop, as the emulator's process tells it to the reconciler."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Stored:
    """Everything at one moment.

    Attributes:
        orders: The items of the container of orders.
        events: The bodies of the hub's events.
        enqueued: How many messages ever came into the queue, by the order's id.
        queued: The order's id of each message that is in the queue still.
        dead: The order's id of each dead letter, and the reason.
        invoices: The text of each invoice, by the blob's name.
        news: The id of each event of the Event Grid topic.
    """

    orders: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    enqueued: dict[str, int] = field(default_factory=dict)
    queued: list[str] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)
    invoices: dict[str, str] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Write it to a file."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what was written."""
        stored = cls(**json.loads(file.read_text()))
        stored.dead = [(order_id, reason) for order_id, reason in stored.dead]
        return stored
