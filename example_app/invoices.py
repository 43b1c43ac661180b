"""Invoices: one per order, a text in Blob Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.storage.blob import ContentSettings

from example_app.models import customer_of

if TYPE_CHECKING:
    from example_app.models import Order
    from fastapi_azure_pool import ManagedAzureBlobStorage

MEDIA_TYPE = "text/plain; charset=utf-8"


def name_of_invoice(order_id: str) -> str:
    """Give the name of the blob that holds an order's invoice."""
    return f"{customer_of(order_id)}/{order_id}.txt"


async def store_invoice(invoices: ManagedAzureBlobStorage, order: Order) -> None:
    """Write an order's invoice; doing it again changes nothing, since what it holds does not change.

    Raises:
        AzureBlobError: It could not be stored.
        PoolError: There is no connection.
    """
    await invoices.upload_blob(
        name_of_invoice(order.id),
        write_invoice(order),
        overwrite=True,
        content_settings=ContentSettings(content_type=MEDIA_TYPE),
    )


def write_invoice(order: Order) -> str:
    """Give the text of an order's invoice, amounts in the currency's smallest unit."""
    lines = (
        f"{line.quantity:>5}  {line.sku:<64}  {line.unit_price:>13,}  {line.quantity * line.unit_price:>16,}"
        for line in order.lines
    )
    return "\n".join(
        (
            f"Invoice for order {order.id}",
            f"Customer {order.customer_id}, {order.created_at:%Y-%m-%d}",
            "",
            *lines,
            "",
            f"Total {order.total:,} (in the smallest unit of {order.currency})",
            "",
        )
    )
