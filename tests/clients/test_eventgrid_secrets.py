"""Keys, signatures and tokens of Event Grid are planted, and looked for in whatever is logged, shown or raised."""

from __future__ import annotations

import base64
import logging
import traceback
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError
from fastapi import FastAPI

from fastapi_azure_pool import ConnectionFailed, EventGridClient, ManagedEventGridPublisher, health_router, open_pools
from fastapi_azure_pool.emulator import Emulator
from tests.clients.event_grid import config_of, make_topics, signature_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GOOD_KEY = base64.b64encode(b"planted-good-key-" * 3).decode()
BAD_KEY = base64.b64encode(b"planted-bad-key-" * 3).decode()
BAD_SIGNATURE = "r=http%3a%2f%2f127.0.0.1&e=2040-01-01&s=planted-signature"


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator whose key is planted."""
    async with Emulator(eventgrid_key=GOOD_KEY) as azure:
        await make_topics(azure)
        yield azure


def assert_clean(text: str, *secrets: str) -> None:
    """Check that nothing that was planted, nor the beginning of it, is in a text."""
    for secret in (GOOD_KEY, BAD_KEY, "planted", *secrets):
        assert secret[:20] not in text


async def test_publishing_shows_no_secret(azure: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, publishing with a key and with a signature logs and shows neither, nor does the health route."""
    caplog.set_level(logging.DEBUG)
    signature = signature_of(azure, "orders")
    app = FastAPI()
    app.include_router(health_router())
    key = ManagedEventGridPublisher(config_of(azure), credential=GOOD_KEY)
    sas = ManagedEventGridPublisher(config_of(azure, "orders"), credential=signature)
    async with (
        open_pools(app, key=key, sas=sas),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http,
        EventGridClient(config_of(azure), async_credential=GOOD_KEY) as basic,
    ):
        for client in (key, sas):
            await client.emit_event("orders", "order.paid", "orders/7", {})
        await basic.async_emit_event("orders", "order.paid", "orders/7", {})
        async with key.get_publisher() as publisher:
            shown = f"{key!r} {sas!r} {basic!r} {publisher!r} {publisher.config!r} {azure!r}"
        shown += (await http.get("/health/pools")).text
    assert "aeg-sas-key" in caplog.text
    assert_clean(caplog.text + shown, signature.signature.partition("&s=")[2])


@pytest.mark.parametrize(
    "credential",
    [BAD_KEY, AzureKeyCredential(BAD_KEY), AzureSasCredential(BAD_SIGNATURE)],
    ids=["text", "key", "signature"],
)
async def test_a_refusal_shows_no_secret(azure: Emulator, credential: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is raised and logged when a key or a signature is refused, while opening and while publishing, repeats neither."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConnectionFailed) as opening:
        await ManagedEventGridPublisher(config_of(azure), credential=credential).__aenter__()
    async with EventGridClient(config_of(azure), async_credential=credential) as basic:
        with pytest.raises(AzureError) as publishing:
            await basic.async_emit_event("orders", "order.paid", "orders/7", {})
    told = "".join(
        "".join(traceback.format_exception(error)) + repr(error) for error in (opening.value, publishing.value)
    )
    # The traceback quotes this file, whose lines name what they plant.
    assert_clean("\n".join(line for line in told.splitlines() if not line.startswith("    ")) + caplog.text)
