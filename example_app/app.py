"""The application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from example_app.connections import connect
from example_app.problems import install_problem_handlers
from example_app.routers import orders
from example_app.settings import Settings
from fastapi_azure_pool import health_router, install_error_handlers, open_pools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
        async with connect(settings) as clients, open_pools(app, clients) as state:
            yield state

    app = FastAPI(title="Orders", summary="Orders of a shop, kept in Azure Cosmos DB.", lifespan=lifespan)
    install_error_handlers(app)
    install_problem_handlers(app)
    app.include_router(orders.router)
    app.include_router(health_router())
    return app
