"""An emulator of all services, where the snippets' accounts are, and a credential for it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import azure.identity.aio
import certifi
import pytest
from aiohttp import connector
from azure.identity.aio import DefaultAzureCredential

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from azure.core.credentials_async import AsyncTokenCredential

Credential = type[DefaultAzureCredential]


@pytest.fixture
async def credential(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Credential]:
    """The SDK's default credential, whose instances are closed when the test ends: no snippet closes its own."""
    made: list[AsyncTokenCredential] = []

    class ClosedCredential(DefaultAzureCredential):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(azure.identity.aio, "DefaultAzureCredential", ClosedCredential)
    yield ClosedCredential
    for credential in made:
        await credential.close()


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Emulator]:
    """An emulator with TLS and what the snippets name; azure-identity finds it, and every SDK trusts its certificate."""
    async with Emulator(tls=True) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        certificate = tmp_path / "certificate.pem"
        certificate.write_text(emulator.certificate, encoding="ascii")
        # That of the SDKs of Event Hubs and Service Bus.
        monkeypatch.setattr(certifi, "where", lambda: str(certificate))
        # That of HTTP, made when aiohttp is imported, so that SSL_CERT_FILE would come too late.
        trusting = ssl.create_default_context(cadata=emulator.certificate)
        monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", trusting)
        yield emulator
