"""An emulator with one container, the official Cosmos client connected to it, and plain HTTP with a signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos.aio import ContainerProxy, CosmosClient

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


Answer = tuple[int, dict[str, Any], dict[str, str]]


def sign(key: str, method: str, path: str, date: str | None = None) -> dict[str, str]:
    """Return the headers that authorize a request, as the REST reference says they are made."""
    date = formatdate(usegmt=True) if date is None else date
    segments = [segment for segment in path.split("/") if segment]
    is_feed = len(segments) % 2 == 1
    kind = "" if not segments else segments[-1 if is_feed else -2]
    link = "/".join(segments[:-1] if is_feed else segments)
    payload = f"{method.lower()}\n{kind}\n{link}\n{date.lower()}\n\n"
    digest = hmac.new(base64.b64decode(key), payload.encode(), hashlib.sha256).digest()
    signature = quote(f"type=master&ver=1.0&sig={base64.b64encode(digest).decode()}", safe="")
    return {"authorization": signature, "x-ms-date": date}


async def send(
    azure: Emulator, session: aiohttp.ClientSession, method: str, path: str, body: bytes | None = None, **headers: str
) -> Answer:
    """Send a signed request; return the status, the body (empty when there is none) and the headers, in lower case."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = azure.cosmos_endpoint.rstrip("/") + path
    all_headers = sign(azure.cosmos_key, method, path) | named
    async with session.request(method, url, data=body, headers=all_headers) as response:
        text = await response.read()
        answer = await response.json() if text else {}
        return response.status, answer, {name.lower(): value for name, value in response.headers.items()}


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the container shop/orders."""
    async with Emulator() as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        yield azure


@pytest.fixture
async def client(azure: Emulator) -> AsyncIterator[CosmosClient]:
    """The official client with the account's key."""
    async with connect(azure) as client:
        yield client


@pytest.fixture
def orders(client: CosmosClient) -> ContainerProxy:
    """The container shop/orders."""
    return client.get_database_client("shop").get_container_client("orders")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def signature(azure: Emulator) -> Callable[..., dict[str, str]]:
    """A function of method, path and perhaps a date that gives the headers which authorize such a request."""
    return partial(sign, azure.cosmos_key)


@pytest.fixture
def signed(azure: Emulator, session: aiohttp.ClientSession) -> Callable[..., Awaitable[Answer]]:
    """A function of method, path, body and headers that sends a signed request and returns the answer."""
    return partial(send, azure, session)


@pytest.fixture
def connect_client() -> Callable[..., CosmosClient]:
    """A function that makes an official client of an emulator, for tests with an emulator of their own."""
    return connect


def connect(azure: Emulator, key: str | None = None, **options: Any) -> CosmosClient:
    """Return an official client that looks up no proxies and tries nothing again."""
    options = {"retry_total": 0, "transport": AioHttpTransport(use_env_settings=False)} | options
    return CosmosClient(azure.cosmos_endpoint, azure.cosmos_key if key is None else key, **options)
