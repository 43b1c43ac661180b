"""azure-identity's own credentials, shared by many callers and clients, against the emulator's token endpoints."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.eventhub import TransportType as HubTransport
from azure.identity._internal import utils as identity_utils
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential, WorkloadIdentityCredential
from azure.identity.aio._internal import get_token_mixin
from azure.servicebus import TransportType as QueueTransport
from fastapi import FastAPI

from fastapi_azure_pool import (
    EventGridConfig,
    EventGridTopicConfig,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    ManagedEventGridPublisher,
    SharedCredential,
    open_pools,
)
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.emulator import Emulator

SCOPE = "https://cosmos.azure.com/.default"


@pytest.fixture(params=["managed", "workload", "default", "default with workload"])
def factory(
    request: pytest.FixtureRequest, azure_with_tls: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> CredentialFactory:
    """What makes a credential of azure-identity, none of which tries anything again by itself."""
    if request.param == "managed":
        return lambda: ManagedIdentityCredential(retry_total=0)
    if request.param == "default":
        return lambda: DefaultAzureCredential(retry_total=0)
    azure = azure_with_tls
    (tmp_path / "token").write_text(azure.issue_federated_token())
    (tmp_path / "certificate.pem").write_text(azure.certificate)
    for name, value in azure.workload_environment(tmp_path / "token").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")
    kind: Any = WorkloadIdentityCredential if request.param == "workload" else DefaultAzureCredential
    return lambda: kind(retry_total=0, connection_verify=str(tmp_path / "certificate.pem"))


def cosmos_of(azure: Emulator, **sizes: Any) -> ManagedCosmos:
    """Make a client without authentication of its own."""
    return ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", **sizes)


async def test_a_thousand_cold_callers_cause_one_request(azure_with_tls: Emulator, factory: CredentialFactory) -> None:
    """A thousand callers who find no token cause one request, and get one token; those who come later cause none."""
    async with SharedCredential(factory=factory) as shared:
        waiting = [asyncio.create_task(shared.get_token(SCOPE)) for _ in range(500)]
        infos = await asyncio.gather(*(shared.get_token_info(SCOPE) for _ in range(500)))
        tokens = {info.token for info in infos} | {token.token for token in await asyncio.gather(*waiting)}
        assert tokens == {(await shared.get_token(SCOPE)).token}
        assert len(azure_with_tls.token_requests) == 1


async def test_an_application_asks_once_for_each_service(
    azure_with_tls: Emulator, factory: CredentialFactory, tmp_path: Path
) -> None:
    """All connections of all clients of all five services, opened at the start together, cause one request for each service."""
    azure = azure_with_tls
    await azure.create_eventhub("orders")
    await azure.create_queue("work")
    await azure.create_blob_container("files")
    await azure.create_eventgrid_topic("orders")
    (tmp_path / "emulator.pem").write_text(azure.certificate)
    trust: dict[str, Any] = {"connection_verify": str(tmp_path / "emulator.pem")}
    amqp = {"custom_endpoint_address": f"sb://{azure.amqp_authority}", **trust}
    orders = cosmos_of(azure, min_size=2)
    events = ManagedAzureEventhubProducer(
        azure.amqp_authority, "orders", eventhub_transport_type=HubTransport.Amqp, client_options=amqp, min_size=2
    )
    work = ManagedAzureServiceBusSender(
        azure.amqp_authority, "work", client_options={**amqp, "transport_type": QueueTransport.Amqp}
    )
    files = ManagedAzureBlobStorage(azure.blob_endpoint, "files", client_options=trust, min_size=2)
    topics = EventGridConfig([EventGridTopicConfig("orders", azure.eventgrid_endpoint("orders"))])
    publisher = ManagedEventGridPublisher(topics, client_options=trust)
    clients: dict[str, Any] = {"orders": orders, "customers": cosmos_of(azure), "events": events, "work": work}
    async with open_pools(FastAPI(), clients, credential=factory, files=files, topics=publisher):
        async with orders.get_container_client() as container:
            await container.create_item({"id": "1", "customer_id": "c"})
        await events.send_event("placed")
        await work.send_message("pack")
        await files.upload_blob("invoice", b"1")
        await publisher.emit_event("orders", "placed", "/orders/1", {})
        assert sorted(str(request.resource) for request in azure.token_requests) == [
            "https://127.0.0.1",
            "https://eventgrid.azure.net",
            "https://eventhubs.azure.net/",
            "https://servicebus.azure.net/",
            "https://storage.azure.com",
        ]


@pytest.fixture
def eager_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """azure-identity asks for a token as soon as it should, not 30 s after the last time: here, tokens live for seconds."""
    for module in (get_token_mixin, identity_utils):  # Where older versions have it, and newer ones.
        if hasattr(module, "DEFAULT_TOKEN_REFRESH_RETRY_DELAY"):
            monkeypatch.setattr(module, "DEFAULT_TOKEN_REFRESH_RETRY_DELAY", 0)


@pytest.mark.usefixtures("eager_identity")
@pytest.mark.parametrize("factory", ["managed", "workload"], indirect=True)
async def test_a_token_expires_during_load(azure_with_tls: Emulator, factory: CredentialFactory) -> None:
    """While callers never stop, tokens expire and are renewed, and no call fails or is tried again."""
    azure = azure_with_tls
    azure.set_token_lifetime(3, refresh_in=1)
    orders = cosmos_of(azure, min_size=2)
    async with open_pools(FastAPI(), credential=factory, orders=orders):
        async with orders.get_container_client() as container:
            await container.create_item({"id": "1", "customer_id": "c"})
            shared: Any = orders._shared
            first = await shared.get_token("https://127.0.0.1/.default")

            async def read() -> None:
                while len(azure.token_requests) < 4 or time.time() <= first.expires_on:
                    await container.read_item("1", partition_key="c")

            await asyncio.gather(*(read() for _ in range(5)))
        assert orders.pool.stats().totals.opened == 2
    assert {request.status for request in azure.token_requests} == {200}


@pytest.mark.usefixtures("eager_identity")
@pytest.mark.parametrize("factory", ["managed", "workload"], indirect=True)
async def test_an_outage_of_the_token_endpoint_is_outlived(
    azure_with_tls: Emulator, factory: CredentialFactory
) -> None:
    """While no token can be had, calls and new connections go on with the one that is held; afterwards it is renewed."""
    azure = azure_with_tls
    azure.set_token_lifetime(30, refresh_in=1)
    orders = cosmos_of(azure, min_size=2)
    async with open_pools(FastAPI(), credential=factory, orders=orders):
        with azure.faults.refuse_tokens() as outage:
            async with orders.get_container_client() as container:
                while outage.strikes < 3:
                    await container.upsert_item({"id": "1", "customer_id": "c"})
            for connection in orders.pool.connections:
                orders.pool.expire(connection)
            async with orders.get_container_client() as container:
                await container.read_item("1", partition_key="c")
        assert orders.pool.stats().totals.open_failures == 0
        azure.set_token_lifetime(None)
        renewed = len(azure.token_requests)
        await eventually(lambda: any(request.status == 200 for request in azure.token_requests[renewed:]))


async def test_an_error_holds_no_token(azure_with_tls: Emulator, factory: CredentialFactory) -> None:
    """When azure-identity is refused, its error reaches the caller, and neither that nor a log holds what was sent."""
    azure = azure_with_tls
    async with SharedCredential(factory=factory) as shared:
        with azure.faults.refuse_tokens(403), pytest.raises(ClientAuthenticationError) as raised:
            await shared.get_token(SCOPE)
    assert azure.identity_header not in str(raised.value)
    assert "eyJ" not in str(raised.value)
