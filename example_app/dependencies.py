"""What the routes ask for, each under a name."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator  # noqa: TC003 - FastAPI evaluates the annotations of a dependency
from typing import Annotated

from azure.cosmos.aio import ContainerProxy
from azure.storage.blob.aio import StorageStreamDownloader
from fastapi import Depends, Header, Path, Query

from example_app.invoices import name_of_invoice
from example_app.models import ORDER_ID, CustomerId
from example_app.paging import MAX_CONTINUATION_LENGTH
from example_app.problems import no_such_invoice, no_such_order
from example_app.publishing import Publisher
from fastapi_azure_pool import (
    AzureBlobError,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    managed,
    pooled,
)

OrdersClient = Annotated[ManagedCosmos, Depends(managed("orders"))]
"""The container's client, for who holds a connection for less than the whole request."""

Orders = Annotated[ContainerProxy, Depends(pooled("orders"), scope="function")]
"""The container of orders, over a pooled connection for this request."""


def get_publisher(
    events: Annotated[ManagedAzureEventhubProducer, Depends(managed("events"))],
    confirmations: Annotated[ManagedAzureServiceBusSender, Depends(managed("confirmations"))],
) -> Publisher:
    """Give what announces new orders and has them confirmed."""
    return Publisher(events, confirmations)


PlacedOrders = Annotated[Publisher, Depends(get_publisher)]
"""What announces new orders and has them confirmed; it checks a connection out for as long as a send takes."""


async def find_order_id(
    order_id: Annotated[str, Path(description="The order's id.", examples=["ada-18bd04e5a3c1f2005e1f0a9c"])],
) -> str:
    """Give the id in the path; what can be no order's id is the id of no order, and costs no look into the database."""
    if not re.fullmatch(ORDER_ID, order_id):
        raise no_such_order(order_id)
    return order_id


RequestedOrder = Annotated[str, Depends(find_order_id)]
"""The id of the order that the path names."""


async def open_invoice(
    order_id: RequestedOrder, invoices: Annotated[ManagedAzureBlobStorage, Depends(managed("invoices"))]
) -> AsyncIterator[StorageStreamDownloader[bytes]]:
    """Give an order's invoice as a stream that is open until the response has been sent, or its client has gone."""
    try:
        async with invoices.get_blob_download_stream(name_of_invoice(order_id)) as stream:
            yield stream
    except AzureBlobError as error:
        if error.error_code == "BlobNotFound":
            raise no_such_invoice(order_id) from None
        raise


Invoice = Annotated[StorageStreamDownloader[bytes], Depends(open_invoice)]
"""The invoice of the order that the path names."""

Customer = Annotated[CustomerId, Query(description="Whose orders.", examples=["ada"])]

IfMatch = Annotated[
    str | None,
    Header(
        description="The `ETag` that the order had when you read it. Needed.",
        examples=['"0000d826-0000-0700-0000-65e1a2b30000"'],
    ),
]
Limit = Annotated[int, Query(description="Orders on a page at most.", ge=1, le=100, examples=[20])]

Continuation = Annotated[
    str | None,
    Query(
        description="What the page before gave as `continuation`.",
        min_length=1,
        max_length=MAX_CONTINUATION_LENGTH,
        examples=["eyJ0b2tlbiI6ICIrUklEOn4ifQ=="],
    ),
]
