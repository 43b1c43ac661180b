"""Managed clients of a scripted connector, and applications that open them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from fastapi_azure_pool import ManagedClient, open_pools
from tests.support.scripted_connector import ScriptedConnector, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ScriptedClient(ManagedClient[Transport]):
    """A managed client of a scripted connector.

    Attributes:
        connector: The connector.
    """

    def __init__(self, connector: ScriptedConnector | None = None, **sizes: Any) -> None:
        self.connector = connector or ScriptedConnector()
        super().__init__(self.connector, service="scripted", **sizes)

    @property
    def clients(self) -> int:
        """Places that are taken now."""
        return self.pool.stats().clients


def app_with(*, fail_fast: bool = True, **clients: ManagedClient[Any]) -> FastAPI:
    """Make an application whose lifespan opens these clients and yields their state."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(app, clients, fail_fast=fail_fast) as state:
            yield state

    return FastAPI(lifespan=lifespan)
