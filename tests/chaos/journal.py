"""What the service was told of what it sent: kept by its own process, since no answer to a client tells it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from fastapi_azure_pool import PoolError, SendError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

ACKNOWLEDGED = "acknowledged"
UNCERTAIN = "uncertain"
REFUSED = "refused"
UNEXPECTED = "unexpected"


class Recorder:
    """Writes a line for each send that has ended.

    Args:
        file: Where.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def record(
        self, owner: type, method: str, what: str, order_id: Callable[[tuple[Any, ...], dict[str, Any]], str]
    ) -> None:
        """Have a coroutine method of a class recorded from now on.

        Args:
            owner: The class.
            method: The method's name.
            what: What the lines call it.
            order_id: Reads the order's id out of the call's arguments.
        """
        original = getattr(owner, method)

        @wraps(original)
        async def recorded(client: Any, *arguments: Any, **named: Any) -> Any:
            line = {"what": what, "order_id": order_id(arguments, named), "outcome": ACKNOWLEDGED}
            try:
                return await original(client, *arguments, **named)
            except BaseException as error:
                line["outcome"] = outcome_of(error)
                raise
            finally:
                self._file.write(json.dumps(line) + "\n")

        setattr(owner, method, recorded)


def outcome_of(error: BaseException) -> str:
    """Tell what a send that failed says of what was sent: it is not stored, or nobody knows, or no client may fail so."""
    if isinstance(error, SendError):
        return UNCERTAIN if error.maybe_delivered else REFUSED
    # What Azure, the way there or the caller broke off may have been done. An AzureBlobError is one of these, too.
    if isinstance(error, (AzureError, asyncio.CancelledError)):
        return UNCERTAIN
    if isinstance(error, PoolError):
        return REFUSED
    return UNEXPECTED


@dataclass(slots=True)
class Sent:
    """How often something was sent for an order, by what came of it."""

    acknowledged: int = 0
    uncertain: int = 0
    refused: int = 0
    unexpected: int = 0


@dataclass(slots=True)
class Journal:
    """What was sent: by what it is ("event", "message", "invoice" or "news"), then by the order's id."""

    sent: dict[str, dict[str, Sent]] = field(default_factory=dict)

    def of(self, what: str) -> dict[str, Sent]:
        """Give what was sent of one kind."""
        return self.sent.setdefault(what, {})

    def add(self, what: str, order_id: str, outcome: str) -> None:
        """Note a send."""
        sent = self.of(what).setdefault(order_id, Sent())
        setattr(sent, outcome, getattr(sent, outcome) + 1)

    def totals(self, what: str) -> Counter[str]:
        """Give how many sends had which outcome."""
        totals: Counter[str] = Counter()
        for sent in self.of(what).values():
            for outcome in (ACKNOWLEDGED, UNCERTAIN, REFUSED, UNEXPECTED):
                totals[outcome] += getattr(sent, outcome)
        return totals


def read_journal(file: Path) -> Journal:
    """Read what a `Recorder` has written."""
    journal = Journal()
    for line in file.read_text().splitlines():
        journal.add(**json.loads(line))
    return journal
