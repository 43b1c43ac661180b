"""Whether what is stored agrees with what the clients and the service were told."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from example_app.invoices import name_of_invoice, write_invoice
from example_app.models import Order
from example_app.outbox import MARK

from .books import Placed
from .journal import Sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .books import Books, PlacedOrder
    from .journal import Journal
    from .stored import Stored

_NOTHING_SENT = Sent()

# The one reason for which the queue itself puts a message aside. The order is published again by the sweep.
_TOO_MANY_DELIVERIES = "MaxDeliveryCountExceeded"


@dataclass(frozen=True, slots=True)
class Tally:
    """What is stored of one kind.

    Attributes:
        acknowledged: How many sends the service was told are stored.
        uncertain: How many may be stored.
        refused: How many certainly are not.
        stored: How many are.
        things: How many different ones.
    """

    acknowledged: int
    uncertain: int
    refused: int
    stored: int
    things: int

    @property
    def duplicates(self) -> int:
        """How many are stored besides the first of its kind: sent again because nobody knew, or because the sweep came first."""
        return self.stored - self.things


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What came of it.

    Attributes:
        tallies: What is stored, by kind.
        dead_letters: How many messages the queue put aside because it had delivered them too often.
        findings: What does not agree, each in a sentence.
    """

    tallies: Mapping[str, Tally]
    dead_letters: int
    findings: tuple[str, ...]


def reconcile(books: Books, journal: Journal, stored: Stored) -> Reconciliation:
    """Compare them, when the load is over and everything has been worked off.

    Args:
        books: What the clients were told.
        journal: What the service was told.
        stored: What is stored.
    """
    copies = {
        "event": Counter(json.loads(event)["order"]["id"] for event in stored.events),
        "message": Counter(stored.enqueued),
        "news": Counter(stored.news),
    }
    items = {item["id"]: item for item in stored.orders}
    cancelled = {marker for marker, attempt in books.placed.items() if attempt.was_cancelled}
    findings = [
        *_compare_orders(books, stored.orders),
        *_compare_work(items, copies, stored, cancelled),
        *_compare_events(items, stored.events),
        *_compare_invoices(items, journal, stored.invoices),
        *_compare_dead_letters(stored.dead),
    ]
    for what, counts in copies.items():
        findings += _compare_copies(what, journal.of(what), counts, items)
    findings += [
        f"{what} of {order_id} failed with an error that no client may raise"
        for what, sent in journal.sent.items()
        for order_id, outcomes in sent.items()
        if outcomes.unexpected
    ]
    return Reconciliation(
        tallies={
            "orders": Tally(
                books.count(Placed.ACKNOWLEDGED),
                books.count(Placed.UNCERTAIN),
                books.count(Placed.REFUSED),
                len(stored.orders),
                len({_marker(item) for item in stored.orders}),
            ),
            "events": _tally(journal, "event", copies["event"]),
            "messages": _tally(journal, "message", copies["message"]),
            "invoices": _tally(journal, "invoice", Counter(dict.fromkeys(stored.invoices, 1))),
            "news": _tally(journal, "news", copies["news"]),
        },
        dead_letters=len(stored.dead),
        findings=tuple(findings),
    )


def _tally(journal: Journal, what: str, counts: Counter[str]) -> Tally:
    totals = journal.totals(what)
    return Tally(totals["acknowledged"], totals["uncertain"], totals["refused"], counts.total(), len(counts))


def _marker(item: Mapping[str, Any]) -> str:
    marker: str = item["lines"][0]["sku"]
    return marker


def _compare_orders(books: Books, items: list[dict[str, Any]]) -> Iterator[str]:
    """Every acknowledged order is there as it was acknowledged, no refused one is, and none is there twice."""
    by_marker: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        by_marker[_marker(item)].append(item)
    for marker in by_marker.keys() - books.placed.keys():
        yield f"the order of {marker} is stored, and nobody placed it"
    for marker, attempt in books.placed.items():
        found = by_marker[marker]
        if len(found) > 1:
            yield f"the order of {marker} is stored {len(found)} times"
        if attempt.outcome is Placed.REFUSED and found:
            yield f"the order of {marker} is stored, and its client was told that it is not"
        if attempt.outcome is Placed.ACKNOWLEDGED:
            if not found:
                yield f"order {attempt.id} was acknowledged and is lost"
            for item in found:
                yield from _compare_order(attempt, item)


def _compare_order(attempt: PlacedOrder, item: dict[str, Any]) -> Iterator[str]:
    for name, value in attempt.order.items():
        if name != "status" and item.get(name) != value:
            yield f"order {attempt.id} was acknowledged with {name}={value!r} and is stored with {item.get(name)!r}"
    if item["status"] not in attempt.statuses:
        yield f"order {attempt.id} is {item['status']} and may be {sorted(attempt.statuses)}"


def _compare_work(
    items: Mapping[str, dict[str, Any]], copies: Mapping[str, Counter[str]], stored: Stored, cancelled: set[str]
) -> Iterator[str]:
    """Every stored order is worked off: announced in the hub, in the queue, confirmed, invoiced and in the news.

    One that may have been cancelled when its message came has an event and a message; the rest it may have or not.
    """
    for order_id, item in items.items():
        if MARK in item or item["status"] == "placed":
            yield f"order {order_id} is not worked off"
            continue
        needed = ["event", "message"]
        if _marker(item) not in cancelled:
            needed.append("news")
            if name_of_invoice(order_id) not in stored.invoices:
                yield f"order {order_id} is {item['status']} and has no invoice"
        for what in needed:
            if not copies[what][order_id]:
                yield f"order {order_id} is worked off and has no {what}"
    for order_id in stored.queued:
        yield f"a message of order {order_id} is in the queue still"


def _compare_events(items: Mapping[str, dict[str, Any]], events: list[str]) -> Iterator[str]:
    """Every event tells its order as it was placed."""
    for event in events:
        told = json.loads(event)["order"]
        item = items.get(told["id"], {})
        # The sweep tells the status of its moment.
        differing = {name for name, value in told.items() if name != "status" and item.get(name) != value}
        if item and differing:
            yield f"an event of order {told['id']} tells another {sorted(differing)}"


def _compare_invoices(
    items: Mapping[str, dict[str, Any]], journal: Journal, invoices: Mapping[str, str]
) -> Iterator[str]:
    """Every acknowledged invoice is there, and every invoice is that of an order."""
    for order_id, sent in journal.of("invoice").items():
        if sent.acknowledged and name_of_invoice(order_id) not in invoices:
            yield f"the invoice of order {order_id} was acknowledged and is lost"
    texts = {name_of_invoice(order_id): item for order_id, item in items.items()}
    for name, text in invoices.items():
        if name not in texts:
            yield f"the invoice {name} is of no order"
        elif text != write_invoice(Order.model_validate(texts[name])):
            yield f"the invoice {name} has another text"


def _compare_dead_letters(dead: list[tuple[str, str]]) -> Iterator[str]:
    for order_id, reason in dead:
        if reason != _TOO_MANY_DELIVERIES:
            yield f"the message of order {order_id} is a dead letter: {reason}"


def _compare_copies(
    what: str, sent: Mapping[str, Sent], counts: Counter[str], items: Mapping[str, Any]
) -> Iterator[str]:
    """Every acknowledged send is stored, and nothing is stored that was not sent, or as often as nobody was told."""
    for order_id in sent.keys() | counts.keys():
        outcomes, stored = sent.get(order_id, _NOTHING_SENT), counts[order_id]
        most = outcomes.acknowledged + outcomes.uncertain + outcomes.unexpected
        if order_id not in items:
            yield f"there is {what} of order {order_id}, which is not stored"
        if stored < outcomes.acknowledged:
            yield f"{what} of order {order_id} was acknowledged {outcomes.acknowledged} times and is stored {stored} times"
        if stored > most:
            yield (
                f"{what} of order {order_id} is stored {stored} times: of its sends {outcomes.acknowledged} were acknowledged and"
                f" {outcomes.uncertain} uncertain"
            )
