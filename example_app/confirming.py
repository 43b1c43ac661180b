"""Confirming the order that a message names: done, to be done later, or never to be done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError
from pydantic import ValidationError

from example_app.connections import TOPIC
from example_app.invoices import store_invoice
from example_app.models import OrderStatus
from example_app.outbox import confirm_and_unmark, read_awaited
from example_app.publishing import Confirmation

if TYPE_CHECKING:
    from example_app.models import Order
    from fastapi_azure_pool import ManagedAzureBlobStorage, ManagedCosmos, ManagedEventGridPublisher

_ATTEMPTS = 5

# What Cosmos DB answers when it is this request that it does not take, and will not take the next time either.
_REFUSALS = frozenset({400, 413})


class PoisonMessage(Exception):
    """A message that can never be worked off, and belongs into the dead letter queue.

    Attributes:
        reason: Why, in one word, for who sorts dead letters.
        description: Why, in a sentence, without the message's content.
    """

    def __init__(self, reason: str, description: str) -> None:
        super().__init__(f"{reason}: {description}")
        self.reason = reason
        self.description = description


class Confirming:
    """Does what is to be done for an order that a message names: an invoice, the status, and the news of it.

    Every step may be done again: the invoice is the same, the status is kept, and the news has the order's id for its own, so that
    who gets it twice can tell. So what a killed process has left undone is done when its message comes again.

    Args:
        orders: Where the orders are.
        invoices: Where their invoices are.
        news: Where confirmed orders are announced.
    """

    def __init__(
        self, orders: ManagedCosmos, invoices: ManagedAzureBlobStorage, news: ManagedEventGridPublisher
    ) -> None:
        self._orders = orders
        self._invoices = invoices
        self._news = news

    async def confirm(self, body: bytes, *, seconds: float) -> None:
        """Invoice, confirm and announce the order that a message names, unless it was cancelled.

        One that is paid or shipped already keeps that status.

        Args:
            body: The message's body.
            seconds: How long it may take, above 0.

        Raises:
            PoisonMessage: It will never be possible.
            AzureError: Azure could not do it now.
            PoolError: Likewise.
            TimeoutError: Likewise, not in that time, or the order was changed again and again meanwhile.
        """
        try:
            order_id = Confirmation.model_validate_json(body).order_id
        except ValidationError:
            raise PoisonMessage("NoConfirmation", "The body is no JSON object with the order_id of an order.") from None
        async with asyncio.timeout(seconds):
            order = await self._confirm(order_id)
            if order.status is not OrderStatus.CANCELLED:
                await self._announce(order)

    async def _confirm(self, order_id: str) -> Order:
        try:
            for _ in range(_ATTEMPTS):
                async with self._orders.get_container_client() as container:
                    awaited = await read_awaited(container, order_id)
                # Before the status: a confirmed order has an invoice.
                if awaited.order.status is not OrderStatus.CANCELLED:
                    await store_invoice(self._invoices, awaited.order)
                async with self._orders.get_container_client() as container:
                    if await confirm_and_unmark(container, awaited):
                        return awaited.order
        except CosmosResourceNotFoundError:
            raise PoisonMessage("NoSuchOrder", "There is no order with this order_id.") from None
        except ValidationError:
            raise PoisonMessage("NoOrder", "What is stored under this order_id is no order.") from None
        except CosmosHttpResponseError as error:
            if error.status_code in _REFUSALS:
                raise PoisonMessage(
                    "OrderRefused", f"The database refused to change it: {error.status_code}."
                ) from error
            raise
        raise TimeoutError(f"order {order_id} was changed by others {_ATTEMPTS} times in a row")

    async def _announce(self, order: Order) -> None:
        await self._news.emit_event(
            TOPIC,
            "shop.order.confirmed",
            f"orders/{order.id}",
            {"order_id": order.id, "customer_id": order.customer_id, "total": order.total, "currency": order.currency},
            id=order.id,
        )
