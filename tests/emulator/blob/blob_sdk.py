"""The official Blob Storage client as the tests use it, and plain HTTP with a signature."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob import generate_account_sas
from azure.storage.blob.aio import BlobServiceClient
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi_azure_pool.emulator import Emulator


def connect(azure: Emulator, credential: Any = None, **options: Any) -> BlobServiceClient:
    """Return an official client, with the account's key or another credential, that tries nothing again."""
    # the emulator's certificate is its own
    is_verified = not azure.blob_endpoint.startswith("https")
    transport: Any = AioHttpTransport(use_env_settings=False, connection_verify=is_verified)
    options = {"retry_total": 0, "transport": transport} | options
    credential = azure.storage_key if credential is None else credential
    if isinstance(credential, str) and "sig=" not in credential:
        credential = {"account_name": azure.storage_account, "account_key": credential}
    return BlobServiceClient(azure.blob_endpoint, credential=credential, **options)


@contextlib.contextmanager
def refused(status: int, code: str) -> Iterator[pytest.ExceptionInfo[HttpResponseError]]:
    """Expect that the SDK raises an error with this status and Azure's code."""
    with pytest.raises(HttpResponseError) as caught:
        yield caught
    response: Any = caught.value.response
    assert (caught.value.status_code, response.headers.get("x-ms-error-code")) == (status, code)


def soon(minutes: float = 60) -> datetime:
    """Return the time that comes in so many minutes."""
    return datetime.now(UTC) + timedelta(minutes=minutes)


class FixedToken:
    """A credential with one token."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return it."""
        return AccessToken(self.token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None: ...


class Http:
    """Plain HTTP to one emulator, allowed everything by a signature in the query."""

    def __init__(self, azure: Emulator, session: aiohttp.ClientSession) -> None:
        self._azure = azure
        self._session = session
        self._sas = generate_account_sas(
            azure.storage_account, azure.storage_key, resource_types="sco", permission="rwdlacup", expiry=soon()
        )

    async def send(
        self, method: str, path: str, query: str = "", *, body: Any = None, **headers: str
    ) -> tuple[int, str]:
        """Return status and error code of the answer; a header's name has underscores for hyphens."""
        answer, _ = await self.answer(method, path, query, body=body, **headers)
        return answer.status, answer.headers.get("x-ms-error-code", "")

    async def answer(
        self, method: str, path: str, query: str = "", *, body: Any = None, **headers: str
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """Return the answer and its body."""
        url = URL(f"{self._azure.blob_endpoint}{path}?{query}&{self._sas}", encoded=True)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, url, data=body, headers=named) as response:
            return response, await response.read()


@contextlib.asynccontextmanager
async def plain_http(azure: Emulator) -> AsyncIterator[Http]:
    """Give plain HTTP to an emulator."""
    async with aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session:
        yield Http(azure, session)
