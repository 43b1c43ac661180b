"""The managed clients of the service: to the account that the settings name, or to an emulator in this process."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi_azure_pool import ManagedCosmos

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from example_app.settings import Settings

PARTITION_KEY = "/customer_id"

# By default the SDK tries a throttled request again for up to 30 s. Who calls this service rather hears within a few that it
# should come back, and meanwhile the request holds no place in the pool.
_CLIENT_OPTIONS = {"retry_total": 3, "retry_backoff_max": 5}


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[dict[str, ManagedCosmos]]:
    """Give the managed clients by pool name, not opened yet."""
    if settings.azure_cosmos_endpoint is None:
        async with _connect_to_emulator(settings) as clients:
            yield clients
    else:
        yield _connect_to_azure(settings)


def _connect_to_azure(settings: Settings) -> dict[str, ManagedCosmos]:
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 - not needed on the emulator

    return {
        "orders": ManagedCosmos(
            str(settings.azure_cosmos_endpoint),
            settings.azure_cosmos_database,
            settings.azure_cosmos_container,
            DefaultAzureCredential,
            client_options=_CLIENT_OPTIONS,
        )
    }


@asynccontextmanager
async def _connect_to_emulator(settings: Settings) -> AsyncIterator[dict[str, ManagedCosmos]]:
    from fastapi_azure_pool.emulator import Emulator  # noqa: PLC0415 - production does without it

    database, container = settings.azure_cosmos_database, settings.azure_cosmos_container
    async with Emulator() as azure:
        await azure.create_cosmos_container(database, container, partition_key=PARTITION_KEY)
        sys.stdout.write(
            f"No AZURE_COSMOS_ENDPOINT: using the local emulator at {azure.cosmos_endpoint} (data is lost at exit)\n"
        )
        sys.stdout.flush()
        yield {
            "orders": ManagedCosmos(
                azure.cosmos_endpoint,
                database,
                container,
                credential=azure.cosmos_key,
                client_options=_CLIENT_OPTIONS,
                use_env_settings=False,  # A company's proxy does not lead to this process.
            )
        }
