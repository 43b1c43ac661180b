"""What becomes of an order outside the database: an event for everybody, and a message for who confirms it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from example_app.models import Order, OrderId
from fastapi_azure_pool import PoolError

if TYPE_CHECKING:
    from fastapi_azure_pool import ManagedAzureEventhubProducer, ManagedAzureServiceBusSender

_logger = logging.getLogger(__name__)

# What a customer is kept waiting for at most; what was not sent by then, the sweep sends.
_SECONDS_FOR_A_REQUEST = 2.0


class OrderPlaced(BaseModel):
    """The event in the hub; an order may have more than one of it, all alike.

    Attributes:
        type: What happened.
        order: The order as it was placed.
    """

    type: Literal["order.placed"] = "order.placed"
    order: Order


class Confirmation(BaseModel):
    """The message in the queue: an order to be confirmed.

    Attributes:
        order_id: Which.
    """

    order_id: OrderId


class Publisher:
    """Sends what is to be sent for an order.

    Args:
        events: The hub's client.
        confirmations: The queue's client.
    """

    def __init__(self, events: ManagedAzureEventhubProducer, confirmations: ManagedAzureServiceBusSender) -> None:
        self._events = events
        self._confirmations = confirmations

    async def publish(self, order: Order) -> None:
        """Send an order's event and then its message, so that a message means that there is an event.

        Raises:
            PoolError: One of them was not sent, or (a SendError) perhaps not.
        """
        # No partition key: an order has one event, so there is no order of events to keep, and a key of its own for each would
        # leave nothing to be sent together.
        await self._events.send_event(OrderPlaced(order=order).model_dump_json())
        await self._confirmations.send_message(
            Confirmation(order_id=order.id).model_dump_json(),
            unique_msg_id=order.id,  # A queue with duplicate detection keeps one of those that the sweep adds.
            content_type="application/json",
        )

    async def try_to_publish(self, order: Order) -> None:
        """Send them within the time that a request has, and leave it to the sweep where that fails.

        The order is stored by then. To answer the request with an error, whatever it is, would tell the customer that the order is
        not, who would place it a second time.
        """
        try:
            async with asyncio.timeout(_SECONDS_FOR_A_REQUEST):
                await self.publish(order)
        except (PoolError, TimeoutError) as error:
            _logger.warning("order %s is published later: %s", order.id, type(error).__name__)
        except Exception:
            _logger.exception("order %s is published later", order.id)
