"""An emulator with one container, and the official Blob Storage client connected to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator import Emulator
from tests.emulator.blob.blob_sdk import Http, connect, plain_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.storage.blob.aio import BlobServiceClient, ContainerClient


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container invoices."""
    async with Emulator() as azure:
        await azure.create_blob_container("invoices")
        yield azure


@pytest.fixture
async def secure() -> AsyncIterator[Emulator]:
    """An emulator with TLS, as tokens need it, and the container invoices."""
    async with Emulator(tls=True) as azure:
        await azure.create_blob_container("invoices")
        yield azure


@pytest.fixture
async def service(azure: Emulator) -> AsyncIterator[BlobServiceClient]:
    """The official client with the account's key."""
    async with connect(azure) as service:
        yield service


@pytest.fixture
def invoices(service: BlobServiceClient) -> ContainerClient:
    """The container invoices."""
    return service.get_container_client("invoices")


@pytest.fixture
async def http(azure: Emulator) -> AsyncIterator[Http]:
    """Plain HTTP with every permission."""
    async with plain_http(azure) as http:
        yield http
