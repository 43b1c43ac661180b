"""The wheel, installed with one extra for a project outside the tree, is enough to test it with the plugin.

What the extra asks for is not fetched again, which takes pip half a minute, but copied from this environment. pip still checks that
everything is there that the wheel and its requirements ask for; nothing else is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
EXTRA = "testing"

PROJECT = {
    "tokens.py": '''
"""An application that gives tokens, over a pool of credentials; it needs no SDK of a service."""

from contextlib import asynccontextmanager
from typing import Annotated

from azure.identity.aio import ManagedIdentityCredential
from fastapi import Depends, FastAPI
from fastapi_azure_pool import AbstractConnector, ManagedClient, health_router, open_pools, pooled


class CredentialConnector(AbstractConnector[ManagedIdentityCredential]):
    async def create(self):
        return ManagedIdentityCredential()

    async def ready(self, connection):
        return True


def create_app() -> FastAPI:
    @asynccontextmanager
    async def lifespan(app):
        async with open_pools(app, credentials=ManagedClient(CredentialConnector(), service="identity")) as state:
            yield state

    app = FastAPI(lifespan=lifespan)
    app.include_router(health_router())

    @app.get("/token/{scope}")
    async def get_token(scope: str, credential: Annotated[object, Depends(pooled("credentials"))]) -> str:
        return (await credential.get_token(f"https://{scope}/.default")).token

    return app
''',
    "conftest.py": """
import pytest


@pytest.fixture
def azure_app():
    return "tokens:create_app"
""",
    "test_tokens.py": """
from unittest.mock import AsyncMock

import fastapi_azure_pool
import httpx2
from fastapi.testclient import TestClient
from fastapi_azure_pool import ManagedClient
from fastapi_azure_pool.testing import FakeManagedClient, fake_pools

import tokens


def test_the_application_gets_a_token_from_the_emulator(azure_pool_app, azure_emulator):
    assert azure_pool_app.client.get("/token/vault.azure.net").status_code == 200
    assert [request.resource for request in azure_emulator.token_requests] == ["https://vault.azure.net"]
    assert azure_pool_app.client.get("/health/pools").json()["status"] == "pass"


def test_the_emulator_has_every_service(azure_emulator):
    azure_emulator.create_cosmos_container("shop", "orders", partition_key="/id")
    azure_emulator.create_eventhub("orders")
    azure_emulator.create_queue("invoices")
    azure_emulator.create_blob_container("invoices")
    azure_emulator.create_eventgrid_topic("orders")
    assert httpx2.get(azure_emulator.cosmos_endpoint).status_code == 401
    assert azure_emulator.cosmos_requests.count("GET", "/") == 1
    assert azure_emulator.queue_messages("invoices") == azure_emulator.received_events("orders") == []
    print("installed:", fastapi_azure_pool.__file__)


def test_the_application_without_azure():
    app = tokens.create_app()
    credentials = FakeManagedClient(ManagedClient, connection=AsyncMock())
    credentials.connection.get_token.return_value.token = "secret"
    with fake_pools(app, credentials=credentials):
        assert TestClient(app).get("/token/vault.azure.net").json() == "secret"
""",
}


def required_by(wheel: Distribution, extra: str) -> list[Distribution]:
    """Give the installed distributions that a wheel with an extra asks for, and those that they ask for."""
    found: dict[tuple[str, str], Distribution] = {}
    asked = [(wheel, extra)]
    while asked:
        asking, extra = asked.pop()
        for text in asking.requires or ():
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            is_own = requirement.name == wheel.name
            required = wheel if is_own else distribution(requirement.name)
            for wanted in ("", *requirement.extras):
                if (required.name, wanted) not in found:
                    found[required.name, wanted] = required
                    asked.append((required, wanted))
    return list({required.name: required for (name, _), required in found.items() if name != wheel.name}.values())


def copy(required: Distribution, site_packages: Path) -> None:
    """Copy what a distribution has installed, without its scripts."""
    for file in required.files or ():
        source = Path(str(file.locate()))
        if ".." not in file.parts and source.exists():
            target = site_packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)  # With its time, so that the compiled one is still good.


def test_a_project_outside_the_tree_tests_itself_with_the_installed_wheel(tmp_path: Path) -> None:
    """With the wheel and the extra `testing` in a new virtual environment, a project's three tests with the plugin pass."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "PYTEST"))
    }

    def run(*command: str | Path, folder: Path = tmp_path) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path, folder=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    (metadata,) = (tmp_path / "unpacked").glob("*.dist-info")

    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    for required in required_by(Distribution.at(metadata), EXTRA):
        copy(required, site_packages)
    for client in distributions(name="httpx"):  # It is here where Starlette is so old that its TestClient needs it.
        for required in (client, *required_by(client, "")):
            copy(required, site_packages)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--quiet", "--no-index", "--no-compile", f"{wheel}[{EXTRA}]")

    project = tmp_path / "project"
    project.mkdir()
    for name, text in PROJECT.items():
        (project / name).write_text(text)
    shown = run(python, "-W", "error", "-m", "pytest", "-rP", folder=project)
    assert "3 passed" in shown
    assert f"installed: {site_packages / 'fastapi_azure_pool'}" in shown
