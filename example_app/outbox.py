"""The outbox: how no stored order goes without its event and its message, whatever fails after it was stored.

Cosmos DB, the event hub and the queue share no transaction. So the order is stored first, in one write together with a mark: since
when it is awaited in the queue. Then its event is sent, then its message, so that a message means that there is an event. Who works
off the message confirms the order and takes the mark away in one write.

An order whose mark is still there after some time was stored and not worked off: a send failed, or the process ended in between, or
the message is stuck. The sweep publishes it again. Hence every order is published at least once, and who reads the hub may see an
order's event twice; the order's id tells.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)
from pydantic import ValidationError

from example_app.models import Order, OrderStatus, customer_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from azure.cosmos.aio import ContainerProxy

_logger = logging.getLogger(__name__)

MARK = "awaited_since"
"""The property that holds the time, in seconds since 1970; clients of the service do not see it."""

_PAGE = 50

# An order that was published again is overdue again after as long as its age, so that a queue which is a long way behind is not
# filled with the same orders again and again; and after this many sweeps at the latest, so that an outage is soon made up for.
_MAX_SWEEPS = 10


@dataclass(frozen=True, slots=True)
class OverdueOrder:
    """An order that has been awaited for too long.

    Attributes:
        order: The order.
        etag: The version that it had.
    """

    order: Order
    etag: str


@dataclass(frozen=True, slots=True)
class AwaitedOrder:
    """An order whose message is being worked off.

    Attributes:
        order: The order.
        etag: The version that it had.
        is_marked: Whether it still has its mark.
    """

    order: Order
    etag: str
    is_marked: bool


async def store(orders: ContainerProxy, order: Order) -> str:
    """Store a new order with its mark, and give its etag.

    Raises:
        AzureError: The database did not do it, or nobody knows.
    """
    try:
        item = await orders.create_item(order.model_dump(mode="json") | {MARK: time.time()})
    except CosmosResourceExistsError:
        # Nobody else has its id, so it is this order: the SDK had no answer to the first attempt, and has made another one.
        item = await orders.read_item(order.id, partition_key=order.customer_id)
    etag: str = item["_etag"]
    return etag


async def find_overdue(orders: ContainerProxy, *, sweep_seconds: float) -> AsyncGenerator[list[OverdueOrder]]:
    """Give the orders that have been awaited for so many seconds, whoever placed them, some at a time."""
    pages: Any = orders.query_items(
        f"SELECT * FROM orders WHERE orders.{MARK} <= @before",  # noqa: S608 - the property's name is a constant
        parameters=[{"name": "@before", "value": time.time() - sweep_seconds}],
        max_item_count=_PAGE,
    ).by_page()
    async for page in pages:
        found = []
        async for item in page:
            try:
                found.append(OverdueOrder(Order.model_validate(item), item["_etag"]))
            except ValidationError:  # Somebody wrote it past this service; the others must not wait for who mends it.
                _logger.exception("item %s is no order and cannot be published", item["id"])
        yield found


async def claim(orders: ContainerProxy, overdue: OverdueOrder, *, sweep_seconds: float) -> bool:
    """Put an order's mark off, and tell whether it is this process that may publish it; another one may have been faster."""
    now = time.time()
    delay = min(max(now - overdue.order.created_at.timestamp(), sweep_seconds), _MAX_SWEEPS * sweep_seconds)
    mark = {"op": "set", "path": f"/{MARK}", "value": now + delay - sweep_seconds}
    return await _change(orders, overdue.order.id, overdue.order.customer_id, [mark], overdue.etag)


async def read_awaited(orders: ContainerProxy, order_id: str) -> AwaitedOrder:
    """Read an order for whose message somebody is about to work.

    Raises:
        CosmosResourceNotFoundError: There is no such order.
        pydantic.ValidationError: What is stored under this id is no order.
        AzureError: The database did not do it.
    """
    item = await orders.read_item(order_id, partition_key=customer_of(order_id))
    return AwaitedOrder(Order.model_validate(item), item["_etag"], is_marked=MARK in item)


async def confirm_and_unmark(orders: ContainerProxy, awaited: AwaitedOrder) -> bool:
    """Confirm an order that is still as it was placed, and take its mark away; once is as good as several times.

    An order that was cancelled, paid or shipped in the meantime keeps that status.

    Returns:
        Whether it is done; False when the order was changed since it was read, so that it is to be looked at again.

    Raises:
        AzureError: The database did not do it.
    """
    changes: list[dict[str, Any]] = []
    if awaited.order.status is OrderStatus.PLACED:
        changes.append({"op": "set", "path": "/status", "value": OrderStatus.CONFIRMED})
    if awaited.is_marked:
        changes.append({"op": "remove", "path": f"/{MARK}"})
    order = awaited.order
    return not changes or await _change(orders, order.id, order.customer_id, changes, awaited.etag)


async def _change(
    orders: ContainerProxy, order_id: str, customer_id: str, changes: list[dict[str, Any]], etag: str
) -> bool:
    try:
        await orders.patch_item(
            order_id,
            partition_key=customer_id,
            patch_operations=changes,
            etag=etag,
            match_condition=MatchConditions.IfNotModified,
        )
    except (CosmosAccessConditionFailedError, CosmosResourceNotFoundError):
        return False
    return True
