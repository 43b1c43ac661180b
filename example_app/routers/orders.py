"""Orders: place, read, list and change them."""

from typing import Any

from azure.core import MatchConditions
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceNotFoundError,
)
from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import StreamingResponse

from example_app.dependencies import (
    Continuation,
    Customer,
    IfMatch,
    Invoice,
    Limit,
    Orders,
    OrdersClient,
    PlacedOrders,
    RequestedOrder,
)
from example_app.invoices import MEDIA_TYPE
from example_app.models import NewOrder, Order, OrderChange, OrderPage, customer_of
from example_app.outbox import store
from example_app.paging import MAX_TOKEN_KILOBYTES, unwrap, wrap
from example_app.problems import COMMON_PROBLEMS, UNREADABLE_BODY, document, no_such_invoice, no_such_order
from fastapi_azure_pool import POOL_RESPONSES

ETAG = {"ETag": {"description": "The order's version, for `If-Match`.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"description": "Where the order is.", "schema": {"type": "string"}}}
BAD_CONTINUATION = "The continuation is none that this list has given."
CHANGED = "The order has changed. Read it again."
UNCONDITIONAL = "Send the order's ETag in If-Match."
SAMPLE_ID = "ada-18bd04e5a3c1f2005e1f0a9c"
NO_SUCH_ORDER = document(404, no_such_order(SAMPLE_ID).detail, "There is no order with this id.")
NO_SUCH_INVOICE = document(
    404,
    no_such_invoice(SAMPLE_ID).detail,
    "There is no invoice for an order with this id, or not yet.",
)

router = APIRouter(prefix="/orders", tags=["orders"], responses={**COMMON_PROBLEMS, **POOL_RESPONSES})


@router.post(
    "", status_code=201, summary="Place an order", responses={201: {"headers": ETAG | LOCATION}, **UNREADABLE_BODY}
)
async def create_order(new_order: NewOrder, orders: OrdersClient, publisher: PlacedOrders, response: Response) -> Order:
    """Store a new order and give it with its id, its status and its total. Soon it is confirmed, in the background."""
    order = Order.place(new_order)
    async with orders.get_container_client() as container:
        etag = await store(container, order)
    await publisher.try_to_publish(order)
    response.headers["ETag"] = etag
    response.headers["Location"] = f"/orders/{order.id}"
    return order


@router.get("/{order_id}", summary="Read an order", responses={200: {"headers": ETAG}, **NO_SUCH_ORDER})
async def read_order(order_id: RequestedOrder, orders: Orders, response: Response) -> Order:
    """Give one order, and in `ETag` the version that it has."""
    try:
        item = await orders.read_item(order_id, partition_key=customer_of(order_id))
    except CosmosResourceNotFoundError:
        raise no_such_order(order_id) from None
    response.headers["ETag"] = item["_etag"]
    return Order.model_validate(item)


@router.get(
    "/{order_id}/invoice",
    summary="Read an order's invoice",
    response_class=StreamingResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}, "description": "The invoice."},
        **NO_SUCH_INVOICE,
    },
)
async def read_invoice(invoice: Invoice) -> StreamingResponse:
    """Give the invoice of an order that is confirmed, as it comes from Blob Storage."""
    return StreamingResponse(
        invoice.chunks(),
        media_type=MEDIA_TYPE,
        headers={"Content-Length": str(invoice.size), "ETag": invoice.properties.etag},
    )


@router.get(
    "",
    summary="List a customer's orders",
    responses=document(400, BAD_CONTINUATION, "The continuation is not a valid one."),
)
async def list_orders(
    customer: Customer, orders: Orders, limit: Limit = 20, continuation: Continuation = None
) -> OrderPage:
    """Give a page of a customer's orders, the newest first. It may hold fewer than `limit` and still not be the last."""
    try:
        token = None if continuation is None else unwrap(continuation)
    except ValueError:
        raise HTTPException(400, BAD_CONTINUATION) from None
    pages: Any = orders.query_items(
        "SELECT * FROM orders WHERE orders.customer_id = @customer ORDER BY orders.id DESC",
        parameters=[{"name": "@customer", "value": customer}],
        partition_key=customer,
        max_item_count=limit,
        continuation_token_limit=MAX_TOKEN_KILOBYTES,
    ).by_page(token)
    try:
        items = [Order.model_validate(item) async for item in await anext(pages)]
    except StopAsyncIteration:
        return OrderPage(items=[], continuation=None)
    except CosmosHttpResponseError as error:
        if token is not None and error.status_code == 400:
            raise HTTPException(400, BAD_CONTINUATION) from None
        raise
    next_token = pages.continuation_token
    return OrderPage(items=items, continuation=wrap(next_token) if next_token else None)


@router.patch(
    "/{order_id}",
    summary="Change an order",
    responses={
        200: {"headers": ETAG},
        **UNREADABLE_BODY,
        **NO_SUCH_ORDER,
        **document(412, CHANGED, "The order has another `ETag` by now."),
        **document(428, UNCONDITIONAL, "`If-Match` is missing."),
    },
)
async def change_order(
    order_id: RequestedOrder,
    change: OrderChange,
    orders: Orders,
    response: Response,
    if_match: IfMatch = None,
) -> Order:
    """Change an order that nobody has changed since it was read."""
    if not if_match:
        raise HTTPException(428, UNCONDITIONAL)
    try:
        item = await orders.patch_item(
            order_id,
            partition_key=customer_of(order_id),
            patch_operations=[{"op": "set", "path": "/status", "value": change.status}],
            etag=if_match,
            match_condition=MatchConditions.IfNotModified,
        )
    except CosmosResourceNotFoundError:
        raise no_such_order(order_id) from None
    except CosmosAccessConditionFailedError:
        raise HTTPException(412, CHANGED) from None
    response.headers["ETag"] = item["_etag"]
    return Order.model_validate(item)
