"""An emulator with a topic of either schema, and plain HTTP to it."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JSON = "application/json; charset=utf-8"
CLOUD_EVENT = "application/cloudevents+json; charset=utf-8"
CLOUD_EVENTS = "application/cloudevents-batch+json; charset=utf-8"


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the topics "orders", in the Event Grid schema, and "cloud", for CloudEvents."""
    async with Emulator() as azure:
        await azure.create_eventgrid_topic("orders")
        await azure.create_eventgrid_topic("cloud", "CloudEventSchemaV1_0")
        yield azure


class Poster:
    """Posts to topics over plain HTTP.

    Attributes:
        headers: Those of every request that names no others: the topics' key.
    """

    def __init__(self, azure: Emulator, session: aiohttp.ClientSession) -> None:
        self.headers = {"aeg-sas-key": azure.eventgrid_key}
        self._azure = azure
        self._session = session

    async def __call__(
        self,
        topic: str,
        body: Any,
        *,
        content_type: str = JSON,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        url: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send one request; give the answer's status and its error, {} when there is none."""
        url = f"{self._azure.eventgrid_endpoint(topic)}?api-version=2018-01-01" if url is None else url
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": content_type, **(self.headers if headers is None else headers)}
        # as a file: aiohttp warns of a megabyte that is given as bytes
        async with self._session.request(method, url, data=BytesIO(data), headers=sent) as response:
            text = await response.read()
            return response.status, json.loads(text)["error"] if text else {}


@pytest.fixture
async def post(azure: Emulator) -> AsyncIterator[Poster]:
    """What posts to the emulator's topics."""
    async with aiohttp.ClientSession() as session:
        yield Poster(azure, session)
