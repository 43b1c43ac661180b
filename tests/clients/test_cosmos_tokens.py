"""Tokens end to end: azure-identity asks the emulator's token endpoint, and its Cosmos DB checks them over TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from fastapi_azure_pool import ConnectionFailed, Cosmos, ManagedCosmos
from tests.clients.credentials import CountingCredential
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.emulator import Emulator

ITEM = {"id": "1", "customer_id": "c", "total": 12}
ITEMS = "/dbs/shop/colls/orders/docs*"


def issuing(azure: Emulator) -> type[CountingCredential]:
    """Give a credential that counts, and gives the emulator's tokens."""

    class Issuing(CountingCredential):
        async def get_token(self, *scopes: str, **options: object) -> object:  # type: ignore[override]
            token = await super().get_token(*scopes)
            return token._replace(token=azure.issue_token())

    return Issuing


@pytest.mark.parametrize("factory", [ManagedIdentityCredential, DefaultAzureCredential])
async def test_azure_identity_s_credentials_open_connections(
    azure_with_tls: Emulator, factory: CredentialFactory
) -> None:
    """Three connections opened at once with a real credential cost one token request, and can write and read."""
    azure = azure_with_tls
    async with (
        ManagedCosmos(
            azure.cosmos_endpoint, "shop", "orders", factory, min_size=3, max_size=9, max_concurrent_creates=3
        ) as orders,
        orders.get_container_client() as container,
    ):
        await container.create_item(ITEM)
        assert (await container.read_item("1", partition_key="c"))["total"] == 12
        assert orders.pool.ready_connection_count == 3
        # The first scope is the account's own, which on loopback is a known one.
        assert [request.status for request in azure.token_requests] == [200]


async def test_later_connections_use_the_same_token(azure_with_tls: Emulator) -> None:
    """A connection that is opened to replace another one asks the one credential, whose token is still good."""
    azure = azure_with_tls
    async with ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", ManagedIdentityCredential) as orders:
        for _ in range(3):
            (connection,) = orders.pool.connections
            orders.pool.expire(connection)
            await eventually(lambda: orders.pool.ready_connection_count == 1)
            assert connection.should_close
        assert len(azure.token_requests) == 1
    assert orders.pool.stats().totals.opened == 4


async def test_one_instance_for_all_connections_closed_after_the_last(azure_with_tls: Emulator) -> None:
    """The factory is called once however many connections are opened, and what it made is closed once, at the end."""
    azure = azure_with_tls
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", issuing(azure), min_size=4)
    assert CountingCredential.made == []
    async with orders:
        (credential,) = CountingCredential.made
        assert (orders.pool.ready_connection_count, credential.times_closed) == (4, 0)
    assert (credential.times_closed, credential.use_after_close) == (1, False)
    async with orders:
        assert len(CountingCredential.made) == 2
    assert [made.times_closed for made in CountingCredential.made] == [1, 1]


async def test_a_given_credential_is_left_open(azure_with_tls: Emulator) -> None:
    """A credential that was given stays its owner's: it serves two clients, and neither closes it."""
    azure = azure_with_tls
    credential = issuing(azure)()
    for _ in range(2):
        async with ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", credential=credential) as orders:
            assert orders.pool.ready_connection_count == 1
    assert (credential.times_closed, credential.use_after_close) == (0, False)


async def test_the_basic_client_closes_what_it_made(azure_with_tls: Emulator) -> None:
    """Cosmos, too, makes its credential once and closes it with itself."""
    azure = azure_with_tls
    cosmos = Cosmos(azure.cosmos_endpoint, "shop", "orders", issuing(azure))
    for _ in range(3):
        async with cosmos.get_container_client() as container:
            await container.upsert_item(ITEM)
    (credential,) = CountingCredential.made
    assert credential.times_closed == 0
    await cosmos.close()
    assert credential.times_closed == 1


async def test_refused_tokens_surface_and_heal(azure_with_tls: Emulator) -> None:
    """While the token endpoint refuses, opening fails with azure-identity's own error; afterwards the pool heals by itself."""
    azure = azure_with_tls
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", ManagedIdentityCredential)
    with azure.faults.refuse_tokens():
        with pytest.raises(ConnectionFailed) as raised:
            await orders.open()
        assert isinstance(raised.value.__cause__, ClientAuthenticationError)
    await eventually(lambda: orders.pool.ready_connection_count == 1)
    async with orders.get_container_client() as container:
        await container.create_item(ITEM)
    await orders.close()


async def test_a_rejected_token_is_the_caller_s_and_retires_nothing(azure_with_tls: Emulator) -> None:
    """A 401 from Cosmos DB is an answer: it reaches the caller, and the connection stays."""
    azure = azure_with_tls
    async with ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", ManagedIdentityCredential) as orders:
        (connection,) = orders.pool.connections
        with azure.faults.reject_authorization(path=ITEMS), pytest.raises(CosmosHttpResponseError) as raised:
            async with orders.get_container_client() as container:
                await container.read_item("1", partition_key="c")
        assert raised.value.status_code == 401
        assert orders.pool.connections == (connection,)
        async with orders.get_container_client() as container:
            await container.create_item(ITEM)


@pytest.mark.parametrize("outage", ["dropped", "refused"])
async def test_an_outage_of_the_token_endpoint_retires_no_connection(azure_with_tls: Emulator, outage: str) -> None:
    """When no token can be had, the caller gets the credential's error; the connection to Cosmos DB is not what broke."""
    azure = azure_with_tls

    def make() -> AsyncTokenCredential:
        return ManagedIdentityCredential(retry_total=0)

    async with ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", make) as orders:
        (connection,) = orders.pool.connections
        # Cosmos DB rejects the token once, so that the SDK drops it and asks for another.
        shared = orders._shared
        assert shared is not None
        await shared.close()
        with azure.faults.reject_authorization(path=ITEMS, times=1), pytest.raises(CosmosHttpResponseError):
            async with orders.get_container_client() as container:
                await container.read_item("1", partition_key="c")
        fault = azure.faults.drop(service="identity") if outage == "dropped" else azure.faults.refuse_tokens()
        with fault, pytest.raises(ClientAuthenticationError):
            async with orders.get_container_client() as container:
                await container.read_item("1", partition_key="c")
        assert orders.pool.connections == (connection,)
        assert connection.is_ready


async def test_closing_while_tokens_are_awaited(azure_with_tls: Emulator) -> None:
    """A client that is closed while its first token is on the way closes everything, and whoever opened it is told."""
    azure = azure_with_tls
    orders = ManagedCosmos(azure.cosmos_endpoint, "shop", "orders", DefaultAzureCredential)
    with azure.faults.delay(30, service="identity") as fault:
        opening = asyncio.create_task(orders.__aenter__())
        await eventually(lambda: fault.strikes)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    await eventually(lambda: azure.connections("cosmos").open == azure.connections("identity").open == 0)


async def test_a_sync_credential_that_a_function_returns_is_named(azure_with_tls: Emulator) -> None:
    """A factory that returns a sync credential is found out when the first connection is opened, with the TypeError as cause."""
    from azure.identity import ManagedIdentityCredential as SyncManagedIdentityCredential

    def make() -> AsyncTokenCredential:
        return SyncManagedIdentityCredential()  # type: ignore[return-value]

    with pytest.raises(ConnectionFailed) as raised:
        await ManagedCosmos(azure_with_tls.cosmos_endpoint, "shop", "orders", make).__aenter__()
    assert isinstance(raised.value.__cause__, TypeError)
    assert "azure.identity.aio" in str(raised.value.__cause__)
