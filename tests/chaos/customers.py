"""Customers of the shop: they place, read, list and change orders, and make mistakes, and compare what they are told."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from .answers import Answer, fault_of
from .books import Placed

if TYPE_CHECKING:
    from types import TracebackType

    from .books import Books, PlacedOrder

CUSTOMERS = 16
ANSWER_SECONDS = 60.0
"""An answer that takes longer counts as none."""

# uvicorn closes a connection that was idle for 5 s, perhaps in the moment in which it is used again: that would be no answer.
_KEEP_ALIVE_SECONDS = 1.0

_ORDERS_PER_CUSTOMER = 40
_BIG_ORDER_LINES = 100
_CHANGES = ("paid", "shipped", "cancelled")
_WRONG: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/orders", {"json": {"customer_id": "a/b", "lines": []}}),
    ("GET", "/orders/nobody", {}),
    ("GET", "/orders?customer=a%2Fb", {}),
    ("PATCH", "/orders/ada-0123456789abcdef01234567", {"json": {"status": "paid"}}),
    ("DELETE", "/orders", {}),
)


class Customers:
    """Some customers who ask again and again, each one thing at a time.

    Attributes:
        are_ordering: Whether they place orders now; the rest they do in any case.

    Args:
        url: Where the shop is; they ask in ``async with`` only.
        books: Where they note what they asked for and were told.
        seed: What they do.
        per_second: How many requests they send in a second, about.
    """

    def __init__(self, url: str, books: Books, *, seed: int, per_second: float) -> None:
        self._url = url
        self._books = books
        self._lot = random.Random(seed)
        self._mean_pause = CUSTOMERS / per_second
        self._numbers = itertools.count(1)
        self.are_ordering = True
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        )
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def run(self, stopping: asyncio.Event) -> None:
        """Ask until it is over; a request that is under way then is finished."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CUSTOMERS):
                group.create_task(self._shop(stopping))

    async def _shop(self, stopping: asyncio.Event) -> None:
        mine: list[PlacedOrder] = []
        name = self._new_name()
        while not stopping.is_set():
            await asyncio.sleep(self._lot.expovariate(1 / self._mean_pause))
            if len(mine) >= _ORDERS_PER_CUSTOMER:
                mine, name = [], self._new_name()
            await self._do_something(name, mine)

    def _new_name(self) -> str:
        return f"customer{next(self._numbers)}"

    async def _do_something(self, name: str, mine: list[PlacedOrder]) -> None:
        action = self._lot.random()
        if not mine or action < 0.4:
            if self.are_ordering:
                attempt = await self.place(name)
                if attempt.outcome is Placed.ACKNOWLEDGED:
                    mine.append(attempt)
        elif action < 0.6:
            await self._read(self._lot.choice(mine))
        elif action < 0.7:
            await self._list(name, mine)
        elif action < 0.82:
            await self._read_invoice(self._lot.choice(mine))
        elif action < 0.95:
            await self._change(self._lot.choice(mine))
        else:
            await self._make_a_mistake()

    def new_order(self, name: str) -> dict[str, Any]:
        """Make something to order, with an article number that no other order has; one in twenty is big."""
        lines = _BIG_ORDER_LINES if self._lot.random() < 0.05 else self._lot.randint(1, 3)
        marker = f"article-{next(self._numbers)}"
        return {
            "customer_id": name,
            "currency": "EUR",
            "lines": [
                {"sku": f"{marker}-{'x' * 40}-{line}" if line else marker, "quantity": 1 + line, "unit_price": 100}
                for line in range(lines)
            ],
        }

    async def place(self, name: str) -> PlacedOrder:
        """Place an order, and note what came of it."""
        attempt = self._books.ask(self.new_order(name))
        attempt.outcome = Placed.UNCERTAIN
        answer = await self._ask("POST", "/orders", json=attempt.new_order)
        if answer is None:
            return attempt
        if answer.is_success:
            attempt.order = answer.json()
            attempt.etag = answer.headers.get("ETag", "")
            attempt.outcome = Placed.ACKNOWLEDGED
            given = {name: attempt.order.get(name) for name in attempt.new_order}
            self._require(given == attempt.new_order, f"another order was placed than was asked for: {attempt.order}")
        elif answer.status < 500 or answer.json().get("pool") == "orders":
            # The pool's own refusal is certain, too: it comes before anything is sent.
            attempt.outcome = Placed.REFUSED
        return attempt

    async def _read(self, attempt: PlacedOrder) -> None:
        answer = await self._ask("GET", f"/orders/{attempt.id}", name="/orders/{id}")
        if answer is None:
            return
        if answer.is_success:
            self._compare(attempt, answer.json())
            attempt.etag = answer.headers.get("ETag", "")
        self._require(answer.status != 404, f"order {attempt.id} was acknowledged and cannot be found")

    async def _list(self, name: str, mine: list[PlacedOrder]) -> None:
        answer = await self._ask("GET", f"/orders?customer={name}&limit=100", name="/orders")
        if answer is None or not answer.is_success:
            return
        listed = {order["id"]: order for order in answer.json()["items"]}
        for attempt in mine:
            if self._require(attempt.id in listed, f"order {attempt.id} was acknowledged and is not listed"):
                self._compare(attempt, listed[attempt.id])

    async def _read_invoice(self, attempt: PlacedOrder) -> None:
        answer = await self._ask("GET", f"/orders/{attempt.id}/invoice", name="/orders/{id}/invoice")
        if answer is None:
            return
        if answer.is_success:
            has_id = f"Invoice for order {attempt.id}\n".encode() in answer.body
            self._require(has_id, f"the invoice of {attempt.id} is another one")
        self._require(
            answer.status != 404 or not attempt.was_confirmed, f"order {attempt.id} is confirmed and has no invoice"
        )

    async def _change(self, attempt: PlacedOrder) -> None:
        """Change an order's status; where that fails in whatever way, it may have been done all the same.

        That holds for 412 as well: an SDK that asks again when it got no answer finds its own change in its way.
        """
        status = self._lot.choice(_CHANGES)
        attempt.statuses |= {status}
        attempt.was_cancelled |= status == "cancelled"
        answer = await self._ask(
            "PATCH",
            f"/orders/{attempt.id}",
            name="/orders/{id}",
            json={"status": status},
            headers={"If-Match": attempt.etag},
        )
        if answer is not None and answer.is_success:
            attempt.statuses = frozenset({status})
            attempt.etag = answer.headers.get("ETag", "")
        elif answer is not None:
            self._require(answer.status != 404, f"order {attempt.id} was acknowledged and cannot be changed")

    async def _make_a_mistake(self) -> None:
        method, path, options = self._lot.choice(_WRONG)
        answer = await self._ask(method, path, name="a mistake", **options)
        if answer is not None:
            self._require(answer.status in {404, 405, 422, 428, 502, 503}, f"a mistake was answered {answer.status}")

    def _compare(self, attempt: PlacedOrder, order: dict[str, Any]) -> None:
        status = order.pop("status")
        attempt.was_confirmed |= status == "confirmed"
        placed = {name: value for name, value in attempt.order.items() if name != "status"}
        self._require(order == placed, f"order {attempt.id} was placed as {placed} and is {order}")
        self._require(
            status in attempt.statuses,
            f"order {attempt.id} is {status} and may be {sorted(attempt.statuses)}",
        )

    def _require(self, holds: bool, finding: str) -> bool:
        if not holds:
            self._books.findings.append(finding)
        return holds

    async def _ask(self, method: str, path: str, *, name: str | None = None, **options: Any) -> Answer | None:
        """Ask, count and judge the answer; None where there is none."""
        request = f"{method} {name or path}"
        try:
            async with self._session.request(method, path, **options) as response:
                answer = Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            self._books.answers[request, "none"] += 1
            self._books.findings.append(f"{request} got no answer: {type(error).__name__}: {error}")
            return None
        self._books.answers[request, answer.status] += 1
        fault = fault_of(answer)
        if fault is not None:
            self._books.findings.append(f"{request} was answered wrongly: {fault}")
        return answer
