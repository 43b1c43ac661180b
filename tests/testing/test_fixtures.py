"""The plugin's fixtures, in this session itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.testing import BackgroundEmulator, RunningApplication


@pytest.fixture
def azure_app() -> Callable[[], FastAPI]:
    """An application that shows what it has found in the environment when it was made."""

    def make_app() -> FastAPI:
        app = FastAPI(title=os.environ["AZURE_COSMOS_ENDPOINT"])

        @app.get("/endpoint")
        async def read_endpoint() -> str:
            return os.environ["AZURE_COSMOS_ENDPOINT"]

        return app

    return make_app


def test_the_application_runs_in_the_emulator_s_environment(
    azure_emulator: BackgroundEmulator, azure_pool_app: RunningApplication
) -> None:
    """It finds the variables when it is made and when it serves."""
    assert azure_pool_app.app.title == azure_emulator.cosmos_endpoint
    assert azure_pool_app.client.get("/endpoint").json() == azure_emulator.cosmos_endpoint


def test_the_factories_start_more_of_both(
    azure_emulator: BackgroundEmulator,
    azure_emulator_factory: Callable[..., BackgroundEmulator],
    azure_pool_app_factory: Callable[..., RunningApplication],
    azure_app: Callable[[], FastAPI],
) -> None:
    """Each emulator has ports and options of its own, and each application the environment that it was given."""
    first, second = azure_emulator_factory(), azure_emulator_factory(tls=True)
    applications = [azure_pool_app_factory(azure_app, environment=azure.environment) for azure in (first, second)]
    endpoints = [azure.cosmos_endpoint for azure in (azure_emulator, first, second)]
    assert [running.app.title for running in applications] == endpoints[1:]
    assert len(set(endpoints)) == 3
    assert endpoints[2].startswith("https://")


@pytest.mark.usefixtures("azure_emulator")
def test_the_environment_is_set_for_the_application_only() -> None:
    """An emulator alone sets no variable, and what an application found is gone when its test ends."""
    assert "AZURE_COSMOS_ENDPOINT" not in os.environ
