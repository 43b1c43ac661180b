"""The reconciler, with histories made up: one in which everything agrees, and each way in which it would not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from example_app.invoices import name_of_invoice, write_invoice
from example_app.models import NewOrder, Order

from .books import Books, Placed
from .journal import ACKNOWLEDGED, REFUSED, UNCERTAIN, UNEXPECTED, Journal
from .reconciliation import reconcile
from .stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("event", "message", "invoice", "news")


class History:
    """A customer's two orders, the one acknowledged and the other uncertain, both stored and worked off."""

    def __init__(self) -> None:
        self.books = Books()
        self.journal = Journal()
        self.stored = Stored()
        self.order_id = self.place("acknowledged", Placed.ACKNOWLEDGED)
        self.place("uncertain", Placed.UNCERTAIN)

    def place(self, marker: str, outcome: Placed) -> str:
        """Place an order, store it, and have it worked off."""
        asked = {"customer_id": "ada", "currency": "EUR", "lines": [{"sku": marker, "quantity": 1, "unit_price": 5}]}
        order = Order.place(NewOrder.model_validate(asked))
        item = order.model_dump(mode="json")
        attempt = self.books.ask(asked)
        attempt.outcome = outcome
        if outcome is Placed.ACKNOWLEDGED:
            attempt.order = dict(item)
        self.stored.orders.append(item | {"status": "confirmed", "_etag": "1"})
        self.stored.events.append(json.dumps({"type": "order.placed", "order": item}))
        self.stored.enqueued[order.id] = 1
        self.stored.invoices[name_of_invoice(order.id)] = write_invoice(order)
        self.stored.news.append(order.id)
        for kind in KINDS:
            self.journal.add(kind, order.id, ACKNOWLEDGED)
        return order.id

    @property
    def attempt(self) -> Any:
        """What the customer knows of the acknowledged one."""
        return self.books.placed["acknowledged"]

    @property
    def item(self) -> dict[str, Any]:
        """The acknowledged one as it is stored."""
        return self.stored.orders[0]

    @property
    def findings(self) -> tuple[str, ...]:
        """What does not agree."""
        return reconcile(self.books, self.journal, self.stored).findings


def test_what_agrees_has_no_findings() -> None:
    """Orders that are stored and worked off once, as everybody was told, are counted and found right."""
    reconciliation = reconcile(History().books, History().journal, Stored())
    assert reconciliation.findings
    history = History()
    reconciliation = reconcile(history.books, history.journal, history.stored)
    assert reconciliation.findings == ()
    orders = reconciliation.tallies["orders"]
    assert (orders.acknowledged, orders.uncertain, orders.stored, orders.duplicates) == (1, 1, 2, 0)
    assert {name: tally.stored for name, tally in reconciliation.tallies.items()} == {
        "orders": 2,
        "events": 2,
        "messages": 2,
        "invoices": 2,
        "news": 2,
    }


def lose_order(history: History) -> None:
    """An order was acknowledged before it was stored, and then it was not."""
    del history.stored.orders[0]


def store_twice(history: History) -> None:
    """An order is stored a second time, under another id."""
    history.stored.orders.append(history.item | {"id": "ada-0123456789abcdef01234567"})


def store_refused(history: History) -> None:
    """An order is stored of which its client was told that it is not."""
    history.attempt.outcome = Placed.REFUSED


def store_unasked(history: History) -> None:
    """An order is stored that nobody placed."""
    del history.books.placed["uncertain"]


def change_total(history: History) -> None:
    """An order is stored with another total than was acknowledged."""
    history.item["total"] += 1


def change_status(history: History) -> None:
    """An order's status was set back behind what a client was told."""
    history.attempt.statuses = frozenset({"paid"})


def keep_mark(history: History) -> None:
    """An order was never worked off."""
    history.item["awaited_since"] = 1.0


def keep_placed(history: History) -> None:
    """An order was never confirmed."""
    history.item["status"] = "placed"


def drop_event(history: History) -> None:
    """An acknowledged event is lost."""
    del history.stored.events[0]


def duplicate_event(history: History) -> None:
    """An event is there twice and was sent once."""
    history.stored.events.append(history.stored.events[0])


def store_refused_event(history: History) -> None:
    """An event is stored that the service was told is not."""
    history.stored.events.append(history.stored.events[0])
    history.journal.add("event", history.order_id, REFUSED)


def garble_event(history: History) -> None:
    """An event tells another order than was placed."""
    history.stored.events[0] = history.stored.events[0].replace('"total": 5', '"total": 6')


def drop_message(history: History) -> None:
    """An acknowledged message never came into the queue."""
    del history.stored.enqueued[history.order_id]


def keep_message(history: History) -> None:
    """A message was never worked off."""
    history.stored.queued.append(history.order_id)


def bury_message(history: History) -> None:
    """A message came before its order, and was set aside."""
    history.stored.dead.append((history.order_id, "NoSuchOrder"))


def drop_invoice(history: History) -> None:
    """An acknowledged invoice is lost."""
    del history.stored.invoices[name_of_invoice(history.order_id)]


def garble_invoice(history: History) -> None:
    """An invoice is cut off."""
    history.stored.invoices[name_of_invoice(history.order_id)] = "Invoice"


def invent_invoice(history: History) -> None:
    """There is an invoice for no order."""
    history.stored.invoices["ada/ada-0123456789abcdef01234567.txt"] = "Invoice"


def drop_news(history: History) -> None:
    """Acknowledged news are lost."""
    history.stored.news.remove(history.order_id)


def announce_unstored(history: History) -> None:
    """There is an event of an order that is not stored."""
    history.stored.events.append(history.stored.events[0].replace("ada-", "bob-"))


def raise_strange_error(history: History) -> None:
    """A send failed with an error that no client documents."""
    history.journal.add("news", history.order_id, UNEXPECTED)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lose_order, "was acknowledged and is lost"),
        (store_twice, "is stored 2 times"),
        (store_refused, "its client was told that it is not"),
        (store_unasked, "nobody placed it"),
        (change_total, "was acknowledged with total=5 and is stored with 6"),
        (change_status, "is confirmed and may be ['paid']"),
        (keep_mark, "is not worked off"),
        (keep_placed, "is not worked off"),
        (drop_event, "event of order {id} was acknowledged 1 times and is stored 0 times"),
        (duplicate_event, "is stored 2 times: of its sends 1 were acknowledged and 0 uncertain"),
        (store_refused_event, "is stored 2 times: of its sends 1 were acknowledged and 0 uncertain"),
        (garble_event, "tells another ['total']"),
        (drop_message, "is worked off and has no message"),
        (keep_message, "is in the queue still"),
        (bury_message, "is a dead letter: NoSuchOrder"),
        (drop_invoice, "the invoice of order {id} was acknowledged and is lost"),
        (garble_invoice, "has another text"),
        (invent_invoice, "is of no order"),
        (drop_news, "news of order {id} was acknowledged 1 times and is stored 0 times"),
        (announce_unstored, "which is not stored"),
        (raise_strange_error, "failed with an error that no client may raise"),
    ],
)
def test_what_does_not_agree_is_found(damage: Callable[[History], None], finding: str) -> None:
    """Each thing that may go wrong is told."""
    history = History()
    damage(history)
    assert any(finding.format(id=history.order_id) in found for found in history.findings), history.findings


def test_duplicates_that_are_explained_are_counted() -> None:
    """What was sent twice, or perhaps, may be there twice; what was uncertain need not be there."""
    history = History()
    history.stored.events += history.stored.events
    for order_id, outcome in zip(history.stored.enqueued, (ACKNOWLEDGED, UNCERTAIN), strict=True):
        history.journal.add("event", order_id, outcome)
    history.journal.add("message", history.order_id, UNCERTAIN)
    reconciliation = reconcile(history.books, history.journal, history.stored)
    assert reconciliation.findings == ()
    assert (reconciliation.tallies["events"].duplicates, reconciliation.tallies["messages"].duplicates) == (2, 0)


def test_cancelled_order_needs_no_invoice() -> None:
    """An order that its client may have cancelled before it was confirmed has an event and a message, and no more."""
    history = History()
    history.item["status"] = "cancelled"
    history.attempt.statuses = frozenset({"confirmed", "cancelled"})
    history.attempt.was_cancelled = True
    history.stored.news.remove(history.order_id)
    del history.stored.invoices[name_of_invoice(history.order_id)]
    del history.journal.of("invoice")[history.order_id], history.journal.of("news")[history.order_id]
    assert history.findings == ()


def test_message_that_was_delivered_too_often_is_counted() -> None:
    """What the queue itself sets aside is no loss, for the sweep sends it again."""
    history = History()
    history.stored.dead.append((history.order_id, "MaxDeliveryCountExceeded"))
    reconciliation = reconcile(history.books, history.journal, history.stored)
    assert (reconciliation.findings, reconciliation.dead_letters) == ((), 1)
