"""Event Grid with tokens: through TLS, with azure-identity and the emulator's token endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import ManagedIdentityCredential as SyncManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
from fastapi import FastAPI

from fastapi_azure_pool import ConnectionFailed, EventGridClient, ManagedEventGridPublisher, open_pools
from tests.clients.event_grid import config_of, make_topics
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi_azure_pool.emulator import Emulator


@pytest.fixture
async def azure(azure_with_tls: Emulator) -> Emulator:
    """An emulator with TLS and two topics."""
    await make_topics(azure_with_tls)
    return azure_with_tls


@pytest.fixture
def trust(azure: Emulator, tmp_path: Path) -> dict[str, Any]:
    """The client options that trust the emulator's certificate."""
    file = tmp_path / "emulator.pem"
    file.write_text(azure.certificate)
    return {"connection_verify": str(file)}


async def test_one_token_for_all_topics_and_connections(azure: Emulator, trust: dict[str, Any]) -> None:
    """Any number of connections publish to both topics with one token, and each TCP connection is used again."""
    events = ManagedEventGridPublisher(config_of(azure), ManagedIdentityCredential, min_size=3, client_options=trust)
    async with events:
        assert azure.connections("eventgrid").accepted == 6
        for topic in ("orders", "cloud") * 3:
            await events.emit_event(topic, "order.paid", "orders/7", {})
        assert azure.connections("eventgrid").accepted == 6
    assert [len(azure.eventgrid_events(topic)) for topic in ("orders", "cloud")] == [3, 3]
    assert [(asked.resource, asked.status) for asked in azure.token_requests] == [("https://eventgrid.azure.net", 200)]


async def test_a_given_credential_stays_its_owner_s(azure: Emulator, trust: dict[str, Any]) -> None:
    """An async credential that was given serves two clients, one after the other, and is closed by its owner."""
    async with DefaultAzureCredential() as credential:
        for _ in range(2):
            async with ManagedEventGridPublisher(
                config_of(azure, "orders"), credential=credential, client_options=trust
            ) as events:
                await events.emit_event("orders", "order.paid", "orders/7", {})
    assert len(azure.eventgrid_events("orders")) == 2


async def test_the_credential_of_the_application(azure: Emulator, trust: dict[str, Any]) -> None:
    """Without authentication of its own a publisher uses that of open_pools, and cannot be opened without."""
    events = ManagedEventGridPublisher(config_of(azure), client_options=trust)
    with pytest.raises(ValueError, match="ManagedEventGridPublisher has no authentication"):
        await events.open()
    async with open_pools(FastAPI(), credential=ManagedIdentityCredential, events=events):
        await events.emit_event("orders", "order.paid", "orders/7", {})
    assert [asked.resource for asked in azure.token_requests] == ["https://eventgrid.azure.net"]


async def test_a_certificate_that_is_not_trusted(azure: Emulator) -> None:
    """Without its certificate the emulator is not trusted, and no token is sent; verification can be turned off."""
    with pytest.raises(ConnectionFailed) as raised:
        await ManagedEventGridPublisher(config_of(azure), ManagedIdentityCredential).__aenter__()
    assert isinstance(raised.value.__cause__, ServiceRequestError)
    async with ManagedEventGridPublisher(
        config_of(azure), ManagedIdentityCredential, client_options={"connection_verify": False}
    ) as events:
        await events.emit_event("orders", "order.paid", "orders/7", {})


async def test_a_file_of_certificates_that_is_not_there(azure: Emulator) -> None:
    """A file that cannot be read is the cause of ConnectionFailed."""
    options = {"connection_verify": "/nowhere/ca.pem"}
    with pytest.raises(ConnectionFailed) as raised:
        await ManagedEventGridPublisher(
            config_of(azure), credential=azure.eventgrid_key, client_options=options
        ).__aenter__()
    assert isinstance(raised.value.__cause__, FileNotFoundError)


async def test_refused_tokens_surface_and_heal(azure: Emulator, trust: dict[str, Any]) -> None:
    """While the token endpoint refuses, opening fails with the credential's error; afterwards the pool heals by itself."""
    events = ManagedEventGridPublisher(config_of(azure), ManagedIdentityCredential, client_options=trust)
    with azure.faults.refuse_tokens():
        with pytest.raises(ConnectionFailed) as raised:
            await events.open()
        assert isinstance(raised.value.__cause__, ClientAuthenticationError)
    await eventually(lambda: events.pool.ready_connection_count == 1)
    await events.emit_event("orders", "order.paid", "orders/7", {})
    await events.close()


async def test_the_async_client_with_a_token(azure: Emulator, trust: dict[str, Any]) -> None:
    """EventGridClient takes a credential from azure.identity.aio and asks for one token for all topics."""
    async with (
        ManagedIdentityCredential() as credential,
        EventGridClient(config_of(azure), async_credential=credential, client_options=trust) as client,
    ):
        await asyncio.gather(
            *(client.async_emit_event(topic, "order.paid", "orders/7", {}) for topic in ("orders", "cloud"))
        )
    assert len(azure.token_requests) == 1
    assert [len(azure.eventgrid_events(topic)) for topic in ("orders", "cloud")] == [1, 1]


async def test_the_sync_client_with_a_token(
    azure: Emulator, trust: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EventGridClient takes a credential from azure.identity; the certificates come from the environment, as requests has it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trust["connection_verify"])

    def publish() -> None:
        with (
            SyncManagedIdentityCredential() as credential,
            EventGridClient(config_of(azure), credential=credential) as client,
        ):
            client.emit_event("orders", "order.paid", "orders/7", {"total": 12})

    await asyncio.to_thread(publish)
    (event,) = azure.eventgrid_events("orders")
    assert event.data == {"total": 12}
