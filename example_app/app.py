"""The application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from example_app.background import running
from example_app.confirming import Confirming
from example_app.connections import connect
from example_app.problems import install_problem_handlers
from example_app.publishing import Publisher
from example_app.routers import orders
from example_app.settings import Settings
from example_app.sweeping import Sweep
from example_app.worker import ConfirmationWorker
from fastapi_azure_pool import health_router, install_error_handlers, open_pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from example_app.background import Work
    from example_app.connections import Clients


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application; ``uvicorn --factory example_app.app:create_app`` runs it.

    Args:
        settings: Its settings; None reads them from the environment.

    Raises:
        pydantic.ValidationError: The environment holds a wrong setting.
    """
    settings = Settings() if settings is None else settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # Without its database the service does not start, and is not ready. Without the others it is: orders are stored, and
        # published, confirmed and invoiced when they are back. The worker stops first, while everything that it needs is open.
        async with (
            connect(settings) as clients,
            open_pools(app, credential=clients.credential, orders=clients.orders) as state,
            open_pools(
                app,
                fail_fast=False,
                events=clients.events,
                confirmations=clients.confirmations,
                invoices=clients.invoices,
                news=clients.news,
            ),
            running(_works(settings, clients)),
        ):
            yield state

    app = FastAPI(title="Orders", summary="Orders of a shop, kept in Azure Cosmos DB.", lifespan=lifespan)
    install_error_handlers(app)
    install_problem_handlers(app)
    app.include_router(orders.router)
    app.include_router(health_router(critical=["orders"]))
    return app


def _works(settings: Settings, clients: Clients) -> dict[str, Work]:
    if not settings.confirm_orders:
        return {}
    publisher = Publisher(clients.events, clients.confirmations)
    confirming = Confirming(clients.orders, clients.invoices, clients.news)
    return {
        "confirmation worker": ConfirmationWorker(clients.confirmations, confirming).run,
        "sweep": Sweep(clients.orders, publisher, seconds=settings.sweep_seconds).run,
    }
