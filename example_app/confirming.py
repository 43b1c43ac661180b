"""Confirming one order that a message names: done, to be done later, or never to be done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError
from pydantic import ValidationError

from example_app.models import customer_of
from example_app.outbox import confirm_and_unmark
from example_app.publishing import Confirmation

if TYPE_CHECKING:
    from fastapi_azure_pool import ManagedCosmos

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


async def confirm(orders: ManagedCosmos, body: bytes, *, seconds: float) -> None:
    """Confirm the order that a message names, unless that is done or has been overtaken; may be called again for the same one.

    Args:
        orders: Where the orders are.
        body: The message's body.
        seconds: How long it may take, above 0.

    Raises:
        PoisonMessage: It will never be possible.
        AzureError: The database could not do it now.
        PoolError: Likewise, there is no connection to it.
        TimeoutError: Likewise, not in that time, or the order was changed again and again meanwhile.
    """
    try:
        order_id = Confirmation.model_validate_json(body).order_id
    except ValidationError:
        raise PoisonMessage("NoConfirmation", "The body is no JSON object with the order_id of an order.") from None
    try:
        async with asyncio.timeout(seconds), orders.get_container_client() as container:
            for _ in range(_ATTEMPTS):
                if await confirm_and_unmark(container, order_id, customer_of(order_id)):
                    return
    except CosmosResourceNotFoundError:
        raise PoisonMessage("NoSuchOrder", "There is no order with this order_id.") from None
    except ValidationError:
        raise PoisonMessage("NoOrder", "What is stored under this order_id is no order.") from None
    except CosmosHttpResponseError as error:
        if error.status_code in _REFUSALS:
            raise PoisonMessage("OrderRefused", f"The database refused to change it: {error.status_code}.") from error
        raise
    raise TimeoutError(f"order {order_id} was changed by others {_ATTEMPTS} times in a row")
