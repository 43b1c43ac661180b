"""What the service takes and gives.

Amounts are whole numbers of the currency's smallest unit, such as cents: Cosmos DB keeps a JSON number as a double, which holds
whole numbers up to 2**53 exactly and most decimal fractions not at all.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

CustomerId = Annotated[
    str, Field(description="The customer who orders.", pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["ada"])
]
ORDER_ID = r"^[A-Za-z0-9_-]{1,64}-[0-9a-f]{24}$"
OrderId = Annotated[
    str,
    Field(
        description="The order's id; it begins with the customer's.",
        pattern=ORDER_ID,
        examples=["ada-18bd04e5a3c1f2005e1f0a9c"],
    ),
]


def _whole(value: object) -> object:
    """Give 2 for 2.0: JSON has one kind of number, and JSON Schema counts every whole one as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Quantity = Annotated[int, Field(strict=True, ge=1, le=1000), BeforeValidator(_whole)]
UnitPrice = Annotated[
    int,
    Field(
        description="The price of one, in the currency's smallest unit (cents).",
        strict=True,
        ge=0,
        le=1_000_000_000,
        examples=[1250],
    ),
    BeforeValidator(_whole),
]


class OrderStatus(StrEnum):
    """How far an order has come."""

    PLACED = "placed"
    CONFIRMED = "confirmed"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class OrderLine(BaseModel):
    """So many of one article."""

    model_config = ConfigDict(extra="forbid")

    sku: str = Field(description="The article's number.", min_length=1, max_length=64, examples=["tea-500g"])
    quantity: Quantity = Field(examples=[2])
    unit_price: UnitPrice


class NewOrder(BaseModel):
    """What a customer orders."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "ada",
                    "currency": "EUR",
                    "lines": [{"sku": "tea-500g", "quantity": 2, "unit_price": 1250}],
                }
            ]
        },
    )

    customer_id: CustomerId
    currency: str = Field(default="EUR", description="ISO 4217 code.", pattern=r"^[A-Z]{3}$", examples=["EUR"])
    lines: list[OrderLine] = Field(min_length=1, max_length=100)


class Order(NewOrder):
    """An order, as it is stored and as it is given."""

    model_config = ConfigDict(
        extra="ignore",  # Cosmos DB adds properties of its own.
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "ada",
                    "currency": "EUR",
                    "lines": [{"sku": "tea-500g", "quantity": 2, "unit_price": 1250}],
                    "id": "ada-18bd04e5a3c1f2005e1f0a9c",
                    "status": "placed",
                    "total": 2500,
                    "created_at": "2026-03-01T09:30:00.250000Z",
                }
            ]
        },
    )

    id: OrderId
    status: OrderStatus
    total: int = Field(description="The sum of all lines, in the currency's smallest unit.", examples=[2500])
    created_at: AwareDatetime

    @classmethod
    def place(cls, new_order: NewOrder) -> Self:
        """Make an order of what a customer orders."""
        return cls(
            **new_order.model_dump(),
            id=_new_order_id(new_order.customer_id),
            status=OrderStatus.PLACED,
            total=sum(line.quantity * line.unit_price for line in new_order.lines),
            created_at=datetime.now(UTC),
        )


class OrderChange(BaseModel):
    """What may be changed in an order."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"status": "paid"}]})

    status: OrderStatus


class OrderPage(BaseModel):
    """Some of a customer's orders, the newest first."""

    items: list[Order]
    continuation: str | None = Field(
        description="Give it back as `continuation` to get the next page; null on the last one.",
        examples=["eyJ0b2tlbiI6ICIrUklEOn4ifQ=="],
    )


def customer_of(order_id: str) -> str:
    """Give the customer's id, which is the order's partition key.

    An order's id holds it, so that reading one order is a point read of one partition, as listing a customer's orders is a query
    of one partition.
    """
    return order_id.rpartition("-")[0]


def _new_order_id(customer_id: str) -> str:
    """Make an id that nobody has; those of one customer sort by time."""
    return f"{customer_id}-{time.time_ns():016x}{secrets.token_hex(4)}"
