"""An emulator with one container, and the official Blob Storage client connected to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def connect(azure: Emulator, credential: Any = None, **options: Any) -> BlobServiceClient:
    """Return an official client that looks up no proxies and tries nothing again."""
    transport: Any = AioHttpTransport(use_env_settings=False)
    options = {"retry_total": 0, "transport": transport} | options
    credential = azure.storage_key if credential is None else credential
    if isinstance(credential, str) and not credential.startswith("sv="):
        credential = {"account_name": azure.storage_account, "account_key": credential}
    return BlobServiceClient(azure.blob_endpoint, credential=credential, **options)


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container invoices."""
    async with Emulator() as azure:
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
def connect_client() -> Callable[..., BlobServiceClient]:
    """A function that makes an official client of an emulator, of a credential and of options."""
    return connect


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP."""
    async with aiohttp.ClientSession() as session:
        yield session
