"""Tokens of AMQP connections: asked once for all, renewed while sending goes on, over TLS; and keys and signatures."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError

from fastapi_azure_pool import ManagedAzureServiceBusSender
from fastapi_azure_pool.clients.amqp import channel as channels
from fastapi_azure_pool.clients.amqp import tokens
from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.amqp.authorization import KEY_NAME, shared_access_signature
from tests.clients.credentials import CountingCredential
from tests.clients.messaging import Hub, Queue, pooled, tls_context_of
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.clients.messaging import Client, Messaging


class IssuedCredential(CountingCredential):
    """Gives tokens that the emulator takes.

    Attributes:
        azure: Whose.
        lifetime: For how many seconds they are good.
        issued: What it gave, oldest first.
    """

    azure: Emulator
    lifetime = 3600.0

    def __init__(self, token: str = "token") -> None:
        super().__init__(token)
        self.issued: list[str] = []

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Give a new token."""
        await super().get_token(*scopes, **options)
        resource = scopes[0].removesuffix("/.default")
        token = self.azure.issue_token(resource, lifetime=self.lifetime)
        self.issued.append(token)
        return AccessToken(token, int(time.time() + self.lifetime))


@pytest.fixture(params=[Hub, Queue], ids=["eventhub", "servicebus"])
async def secure(request: pytest.FixtureRequest) -> AsyncIterator[Messaging]:
    """Each service in an emulator with TLS, without which the SDKs send no token."""
    async with Emulator(tls=True) as azure:
        await azure.create_eventhub("orders")
        await azure.create_queue("work")
        yield request.param(azure)


@pytest.fixture
def credential(secure: Messaging) -> IssuedCredential:
    """A credential whose tokens the emulator takes."""
    made = IssuedCredential()
    made.azure = secure.azure
    return made


def client_of(secure: Messaging, *, options: dict[str, Any] | None = None, **authentication: Any) -> Client:
    """Make a client that trusts the emulator, and finds it by its namespace's port."""
    azure = secure.azure
    if "connection_string" not in authentication:
        name = "eventhub_namespace" if isinstance(secure, Hub) else "service_bus_namespace_url"
        authentication[name] = azure.amqp_authority
    client_options = options or {"ssl_context": ssl.create_default_context(cadata=azure.certificate)}
    return secure.client(client_options=client_options, **authentication)


async def test_a_credential_is_made_once_and_closed_last(secure: Messaging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of one client share a credential that its factory made, asked for the service's scope, closed at the end."""
    monkeypatch.setattr(IssuedCredential, "azure", secure.azure, raising=False)
    async with client_of(secure, credential_factory=IssuedCredential, min_size=3) as client:
        assert client.pool.ready_connection_count == 3
        await secure.send(client, "one")
        (made,) = CountingCredential.made
        assert made.times_closed == 0
        scope = (
            "https://eventhubs.azure.net//.default"
            if isinstance(secure, Hub)
            else "https://servicebus.azure.net//.default"
        )
        assert {scopes for scopes, _ in made.requests} == {(scope,)}
    assert (made.times_closed, made.use_after_close, secure.stored()) == (1, False, [b"one"])


async def test_a_given_credential_stays_its_owner_s(secure: Messaging, credential: IssuedCredential) -> None:
    """A credential that was given is used and not closed; opened again, the client uses it again."""
    client = client_of(secure, credential=credential)
    for _ in range(2):
        async with client:
            await secure.send(client, "one")
    assert (credential.times_closed, len(credential.requests), len(secure.stored())) == (0, 2, 2)


@pytest.mark.parametrize("kind", ["named key", "signature", "connection string"])
async def test_keys_and_signatures(secure: Messaging, kind: str) -> None:
    """A named key, a shared access signature and a connection string authenticate over TLS as well."""
    azure = secure.azure
    given: dict[str, Any] = {}
    if kind == "named key":
        given["credential"] = AzureNamedKeyCredential(KEY_NAME, azure.amqp_key)
    elif kind == "connection string":
        given["connection_string"] = azure.eventhub_connection_string
    else:
        # The SDK of Service Bus names the resource without the port.
        host = azure.amqp_authority if isinstance(secure, Hub) else azure.amqp_authority.partition(":")[0]
        signature = shared_access_signature(f"sb://{host}/{secure.entity}", azure.amqp_key, time.time() + 600)
        given["credential"] = AzureSasCredential(signature)
    async with client_of(secure, **given) as client:
        await secure.send(client, "one")
    assert secure.stored() == [b"one"]


async def test_a_file_of_certificates(secure: Messaging, tmp_path: Path, credential: IssuedCredential) -> None:
    """connection_verify names the certificates to trust; one context is made of them for all connections."""
    file = tmp_path / "trusted.pem"
    file.write_text(secure.azure.certificate)
    options = {"connection_verify": str(file)}
    async with client_of(secure, options=options, credential=credential, min_size=2) as client:
        await secure.send(client, "one")
        contexts = {id(tls_context_of(held.transport.handler)) for held in client.pool.connections}
        assert len(contexts) == 1
        if isinstance(client, ManagedAzureServiceBusSender):
            async with client.get_receiver() as receiver:
                assert contexts == {id(tls_context_of(receiver._handler))}
                assert [str(message) for message in await receiver.receive_messages(max_wait_time=5)] == ["one"]


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections look after their token every 10 ms, and try again at once what failed."""
    monkeypatch.setattr(channels, "_TEND_SECONDS", 0.01)
    monkeypatch.setattr(tokens, "_RETRY_SECONDS", 0.0)


def near_its_end(client: Client, *, left: float = 100.0) -> Any:
    """Make the token of the only connection due for renewal, and the client's credential ask for another one."""
    client._shared.lend()._held.clear()  # type: ignore[union-attr]  # these tests' clients have a credential
    authenticator = pooled(client).handler._cbs_authenticator
    authenticator._expires_on = int(time.time() + left)
    authenticator._refresh_window = int(left) + 10
    return authenticator


@pytest.mark.usefixtures("brisk")
async def test_a_token_is_renewed_while_sending_goes_on(secure: Messaging, credential: IssuedCredential) -> None:
    """Before it expires a new one is asked for beside the senders, who do not wait for it, and put on the same connection."""
    async with client_of(secure, credential=credential) as client:
        connection = pooled(client)
        credential.let.clear()
        near_its_end(client)
        await eventually(lambda: len(credential.requests) == 2)
        for number in range(5):
            await secure.send(client, str(number))
        assert secure.count("PUT-TOKEN") == 1
        credential.let.set()
        await eventually(lambda: secure.count("PUT-TOKEN") == 2)
        await secure.send(client, "after")
        assert (pooled(client), secure.count("OPEN"), len(credential.requests)) == (connection, 1, 2)
    assert len(secure.stored()) == 6


@pytest.mark.usefixtures("brisk")
async def test_a_token_is_renewed_again_and_again(secure: Messaging, credential: IssuedCredential) -> None:
    """Each renewal puts the token that was got for it, not one of an earlier renewal."""
    async with client_of(secure, credential=credential) as client:
        put = [pooled(client).handler._cbs_authenticator._token]
        for times in range(2, 5):
            authenticator = near_its_end(client)
            await eventually(lambda times=times: secure.count("PUT-TOKEN") == times)  # type: ignore[misc]  # mypy infers no such lambda
            put.append(authenticator._token)
        assert put == credential.issued
        await secure.send(client, "after")
        assert (len(set(put)), secure.count("OPEN"), len(credential.requests)) == (4, 1, 4)


@pytest.mark.usefixtures("brisk")
async def test_a_token_that_is_there_already_is_not_put_again(secure: Messaging, credential: IssuedCredential) -> None:
    """A connection that asks before the credential renews its token leaves the old one alone, and puts the new one later."""
    async with client_of(secure, credential=credential) as client:
        keeper = client._shared.lend()  # type: ignore[union-attr]  # it has a credential
        authenticator = pooled(client).handler._cbs_authenticator
        authenticator._refresh_window = 3700
        (held,) = keeper._held.values()
        held.is_used = False
        await eventually(lambda: held.is_used)
        await secure.send(client, "during")
        assert (secure.count("PUT-TOKEN"), len(credential.requests)) == (1, 1)
        held.renew_at = 0.0
        await eventually(lambda: secure.count("PUT-TOKEN") == 2)
        assert (authenticator._token, secure.count("OPEN")) == (credential.issued[1], 1)


@pytest.mark.usefixtures("brisk")
async def test_an_outage_of_the_token_endpoint_is_outlived(secure: Messaging, credential: IssuedCredential) -> None:
    """While no token can be had, the old one serves on; when the endpoint is back, the new one is put."""
    async with client_of(secure, credential=credential) as client:
        connection = pooled(client)
        credential.error = ClientAuthenticationError(message="the endpoint is down")
        near_its_end(client)
        await eventually(lambda: len(credential.requests) >= 4)
        await secure.send(client, "during")
        assert (pooled(client), secure.count("PUT-TOKEN")) == (connection, 1)
        credential.error = None
        await eventually(lambda: secure.count("PUT-TOKEN") == 2)
        await secure.send(client, "after")
        assert secure.count("OPEN") == 1
    assert len(secure.stored()) == 2


@pytest.mark.usefixtures("brisk")
async def test_a_renewal_that_is_refused_retires_the_connection(
    secure: Messaging, credential: IssuedCredential
) -> None:
    """When the service refuses the new token, the connection is replaced by one that authenticates anew."""
    async with client_of(secure, credential=credential) as client:
        connection = pooled(client)
        secure.azure.faults.reject_authorization(times=1)
        near_its_end(client)
        await eventually(lambda: connection not in [held.transport for held in client.pool.connections])
        await eventually(lambda: client.pool.ready_connection_count == 1)
        await secure.send(client, "one")
        assert secure.count("OPEN") == 2


@pytest.mark.usefixtures("brisk")
async def test_closing_amid_a_renewal(secure: Messaging, credential: IssuedCredential) -> None:
    """A client that is closed while a token is asked for leaves no task behind."""
    async with client_of(secure, credential=credential) as client:
        credential.let.clear()
        near_its_end(client)
        await eventually(lambda: len(credential.requests) == 2)


async def test_closing_after_a_renewal_that_failed() -> None:
    """A request for a token that failed just before the connection is closed is looked at, so that asyncio does not complain."""
    credential = CountingCredential()
    credential.error = ClientAuthenticationError(message="the endpoint is down")

    class Part:
        def __init__(self, **parts: object) -> None:
            vars(self).update(parts)

    authenticator = Part(_auth=credential, _expires_on=time.time() + 1, _refresh_window=10)
    renewal = tokens.TokenRenewal(Part(_cbs_authenticator=authenticator), asyncio.get_running_loop())
    await renewal.go_on()
    request = renewal._request
    assert request is not None
    await asyncio.wait((request,))
    renewal.stop()
    assert not request._log_traceback  # what asyncio looks at before it complains


async def test_an_expired_token_opens_nothing(secure: Messaging, credential: IssuedCredential) -> None:
    """A token that has expired is refused when the connection is opened, which leaves no socket open."""
    credential.lifetime = -10
    client = client_of(secure, credential=credential)
    with pytest.raises(ConnectionError):
        await client.__aenter__()
    await eventually(lambda: secure.open_connections == 0)
