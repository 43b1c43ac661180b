"""The sweep: publishes what was stored and, for whatever reason, not worked off; see `example_app.outbox`."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

from example_app.outages import Outage, wait
from example_app.outbox import claim, find_overdue

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy

    from example_app.outbox import OverdueOrder
    from example_app.publishing import Publisher
    from fastapi_azure_pool import ManagedCosmos

_logger = logging.getLogger(__name__)


class Sweep:
    """Looks for overdue orders at the start and from then on, and publishes them again.

    Args:
        orders: Where they are.
        publisher: What publishes them.
        seconds: Between two looks, about: several processes are not to look all at once.
    """

    def __init__(self, orders: ManagedCosmos, publisher: Publisher, *, seconds: float) -> None:
        self._orders = orders
        self._publisher = publisher
        self._seconds = seconds
        self._outage = Outage("publishing overdue orders")

    async def run(self, stopping: asyncio.Event) -> None:
        """Sweep until the service is to stop."""
        while not stopping.is_set():
            try:
                await self._sweep(stopping)
                self._outage.end()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look must come; the log tells it
                self._outage.note(error)
            await wait(stopping, self._seconds * random.uniform(0.8, 1.2))  # noqa: S311 - it spreads load

    async def _sweep(self, stopping: asyncio.Event) -> None:
        async with (
            self._orders.get_container_client() as container,
            aclosing(find_overdue(container, sweep_seconds=self._seconds)) as pages,
        ):
            async for page in pages:
                if stopping.is_set():
                    return
                async with asyncio.TaskGroup() as group:
                    for overdue in page:
                        group.create_task(self._publish(container, overdue))

    async def _publish(self, container: ContainerProxy, overdue: OverdueOrder) -> None:
        if await claim(container, overdue, sweep_seconds=self._seconds):
            await self._publisher.publish(overdue.order)
            _logger.info("order %s is published again", overdue.order.id)
