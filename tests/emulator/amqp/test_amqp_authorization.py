"""Who may use which entity, as ``$cbs`` and the official SDKs tell it."""

from __future__ import annotations

import base64
import hmac
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import ServiceBusAuthenticationError

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.amqp.authorization import JWT_TOKEN, shared_access_signature
from fastapi_azure_pool.emulator.amqp.message import Message
from fastapi_azure_pool.emulator.amqp.performatives import Attach, Detach, Flow
from fastapi_azure_pool.emulator.amqp.values import Int
from tests.emulator.amqp.amqp_peer import Peer, connect, event
from tests.emulator.amqp.conftest import make_producer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def peer(azure: Emulator) -> AsyncIterator[Peer]:
    """A connection with one session and no token."""
    async with connect(azure) as peer:
        await peer.open(with_key=False)
        await peer.begin()
        yield peer


async def condition_of(peer: Peer, address: str, *, handle: int = 0) -> str | None:
    """Attach a sender; return the condition with which it was refused."""
    peer.attach_sender(address, handle=handle)
    attach = await peer.wait_for(Attach)
    if attach.target is not None:
        await peer.wait_for(Flow)
        return None
    detach = await peer.expect(Detach)
    assert detach.error is not None
    return detach.error.condition


@pytest.mark.parametrize("address", ["hub", "hub/Partitions/0", "orders", "HUB"])
async def test_without_a_token_no_link_is_given(peer: Peer, address: str) -> None:
    """An attach without a token gets a null target and amqp:unauthorized-access."""
    assert await condition_of(peer, address) == "amqp:unauthorized-access"


@pytest.mark.parametrize(
    ("entity", "allowed", "forbidden"),
    [
        ("hub", ["hub", "hub/Partitions/0", "HUB/partitions/1"], ["orders"]),
        ("HUB/Partitions/0", ["hub/partitions/0"], ["hub", "hub/Partitions/1"]),
        ("", ["hub", "orders"], []),
    ],
)
async def test_a_signature_opens_its_entity_and_what_is_below(
    peer: Peer, entity: str, allowed: list[str], forbidden: list[str]
) -> None:
    """A token is good for the entity that it names and for all parts of it, and for no other."""
    assert await peer.put_token(peer.signature(entity), peer.resource(entity)) == (200, "OK")
    conditions = [
        await condition_of(peer, address, handle=handle) for handle, address in enumerate([*allowed, *forbidden])
    ]
    assert conditions == [None] * len(allowed) + ["amqp:unauthorized-access"] * len(forbidden)


async def test_a_signature_for_the_namespace_is_good_for_its_entities(peer: Peer) -> None:
    """A token's resource may be wider than what it is used for."""
    assert await peer.put_token(peer.signature(""), peer.resource("hub")) == (200, "OK")
    assert await condition_of(peer, "hub") is None
    assert await condition_of(peer, "orders", handle=1) == "amqp:unauthorized-access"


@pytest.mark.parametrize(
    ("change", "status", "description"),
    [
        ({"key": "another key"}, 401, "InvalidSignature: The token has an invalid signature."),
        ({"key_name": "Nobody"}, 401, "InvalidSignature: The token has an invalid signature: its key name is unknown."),
        ({"lifetime": -1}, 401, "ExpiredToken: The token is expired. Expiration time: "),
        ({"entity": "orders"}, 401, "InvalidAudience: The token was made for another resource than "),
        ({"entity": "hu"}, 401, "InvalidAudience: "),
        ({"entity": "hub/Partitions/0"}, 401, "InvalidAudience: "),
    ],
)
async def test_a_wrong_signature_is_401(peer: Peer, change: dict[str, Any], status: int, description: str) -> None:
    """Each way in which a signature is wrong is told, and none of them opens anything."""
    token = peer.signature(**({"entity": "hub"} | change))
    answer = await peer.put_token(token, peer.resource("hub"))
    assert answer[0] == status
    assert answer[1].startswith(description)
    assert await condition_of(peer, "hub") == "amqp:unauthorized-access"


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda token: token.replace("&se=", "&sx="), 401),
        (lambda token: token.replace("sig=", "sig=%"), 401),
        (lambda token: token.replace("sig=", "sig=!"), 401),
        (lambda token: token.partition("&")[0], 401),
        (lambda _token: "SharedAccessSignature ", 401),
        (lambda _token: "", 401),
        (lambda _token: "a.b.c", 401),
        (lambda token: token.encode(), 400),
        (lambda _token: None, 400),
    ],
)
async def test_what_is_no_token_is_refused(peer: Peer, spoil: Any, status: int) -> None:
    """Nonsense gets an answer, as everything does."""
    assert (await peer.put_token(spoil(peer.signature("hub")), peer.resource("hub")))[0] == status


async def test_an_expiry_that_is_no_number_is_refused(azure: Emulator, peer: Peer) -> None:
    """Its signature may be right and its expiry nonsense: also that is 401."""
    token = shared_access_signature(peer.resource("hub"), azure.amqp_key, 0)
    for expiry in ("soon", "nan", "-inf"):
        changed = resign(token.replace("se=0", f"se={expiry}"), azure.amqp_key)
        assert (await peer.put_token(changed, peer.resource("hub"), handle=20))[0] == 401
        peer.send(Detach(20, closed=True))
        peer.send(Detach(21, closed=True))


def resign(token: str, key: str) -> str:
    """Return a token with the signature that belongs to its fields."""
    fields = dict(field.partition("=")[::2] for field in token.partition(" ")[2].split("&"))
    digest = hmac.digest(key.encode(), f"{fields['sr']}\n{fields['se']}".encode(), "sha256")
    signature = quote(base64.b64encode(digest).decode(), safe="")
    return f"SharedAccessSignature sr={fields['sr']}&sig={signature}&se={fields['se']}&skn={fields['skn']}"


async def test_a_token_for_a_missing_entity_is_404(peer: Peer) -> None:
    """A good token for what is not there gets 404 and a description that names it, as on Azure."""
    status, description = await peer.put_token(peer.signature("nothing"), peer.resource("nothing"))
    assert (status, description) == (
        404,
        f"The messaging entity '{peer.resource('nothing')}' could not be found.",
    )


async def test_another_operation_or_kind_is_400(peer: Peer) -> None:
    """``$cbs`` takes put-token of two kinds, and says so."""
    token, name = peer.signature("hub"), peer.resource("hub")
    assert (await peer.put_token(token, name, operation="delete-token", handle=20))[0] == 400
    assert (await peer.put_token(token, name, kind="saml", handle=30))[0] == 400


@pytest.mark.parametrize(
    "audience",
    [
        "https://eventhubs.azure.net",
        "https://eventhubs.azure.net/",
        "https://eventhubs.azure.net//.default",
        "https://servicebus.azure.net/.default",
        "https://shop.servicebus.windows.net",
        "https://127.0.0.1",
    ],
)
async def test_an_entra_token_opens_the_entity_that_it_was_put_for(azure: Emulator, peer: Peer, audience: str) -> None:
    """A token for either service's audience, or the namespace's own, is good; it names no entity, its name does."""
    token = azure.issue_token(audience)
    assert await peer.put_token(token, peer.resource("hub"), kind=JWT_TOKEN) == (200, "OK")
    assert await condition_of(peer, "hub") is None
    assert await condition_of(peer, "orders", handle=1) == "amqp:unauthorized-access"


async def test_a_wrong_entra_token_is_401(azure: Emulator, peer: Peer) -> None:
    """An expired token, one for another service, and one that another emulator signed are worth nothing."""
    for handle, (token, description) in enumerate(
        [
            (azure.issue_token("https://eventhubs.azure.net", lifetime=-1), "InvalidToken: "),
            (azure.issue_token("https://cosmos.azure.com"), "InvalidAudience: "),
            (Emulator().issue_token("https://eventhubs.azure.net"), "InvalidToken: "),
        ]
    ):
        status, told = await peer.put_token(token, peer.resource("hub"), kind=JWT_TOKEN, handle=20 + 2 * handle)
        assert (status, told[:14]) == (401, description[:14])
    assert await condition_of(peer, "hub") == "amqp:unauthorized-access"


def expiring(peer: Peer, entity: str, expires_at: float) -> str:
    """Return a signature that expires within a second: the SDKs make them for whole ones."""
    token = shared_access_signature(peer.resource(entity), peer.azure.amqp_key, expires_at)
    return resign(token.replace(f"se={int(expires_at)}", f"se={expires_at}"), peer.azure.amqp_key)


async def test_when_a_token_expires_its_links_are_detached(peer: Peer) -> None:
    """The link goes the moment the token does; a new token opens a new link."""
    expires_at = time.time() + 0.3
    assert (await peer.put_token(expiring(peer, "hub", expires_at), peer.resource("hub")))[0] == 200
    assert await condition_of(peer, "hub") is None
    detach = await peer.expect(Detach)
    assert detach.error is not None
    assert (detach.handle, detach.error.condition) == (0, "amqp:unauthorized-access")
    assert time.time() >= expires_at
    assert await condition_of(peer, "hub") == "amqp:unauthorized-access"
    assert (await peer.put_token(peer.signature("hub"), peer.resource("hub"), handle=20))[0] == 200
    assert await condition_of(peer, "hub") is None


async def test_a_renewed_token_keeps_the_link(peer: Peer) -> None:
    """A second token in time moves the expiry: the link outlives another one that had the first one's."""
    expires_at = time.time() + 0.4
    for handle, entity in ((20, "hub"), (30, "orders")):
        token = expiring(peer, entity, expires_at)
        assert (await peer.put_token(token, peer.resource(entity), handle=handle))[0] == 200
    assert await condition_of(peer, "hub", handle=0) is None
    assert await condition_of(peer, "orders", handle=1) is None
    assert (await peer.put_token(peer.signature("hub"), peer.resource("hub"), handle=40))[0] == 200
    assert (await peer.wait_for(Detach)).handle == 1
    assert str(await peer.outcome(event())) == "Accepted()"


async def test_a_request_says_what_it_wants_or_is_rejected(peer: Peer) -> None:
    """A request that is no message at all is rejected; one without properties gets an answer."""
    peer.attach_sender("$cbs", handle=20)
    await peer.wait_for(Flow)
    outcome = await peer.outcome(b"\xff", handle=20)
    assert outcome.error.condition == "amqp:decode-error"
    answer = await peer.request("$cbs", Message(), handle=30)
    assert answer.application_properties is not None
    assert answer.application_properties["status-code"] == Int(400)


# The official SDKs


async def test_sdks_take_the_connection_string(azure: Emulator, producer: EventHubProducerClient) -> None:
    """What the emulator gives as connection strings, both SDKs connect and send with."""
    await producer.send_batch([EventData("event")])
    async with (
        ServiceBusClient.from_connection_string(azure.servicebus_connection_string) as client,
        client.get_queue_sender("orders") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("message"))
    assert [one.body for one in azure.received_events("hub")] == [b"event"]
    assert [one.body for one in azure.queue_messages("orders")] == [b"message"]


@pytest.mark.parametrize("kind", ["named key", "signature"])
async def test_sdks_take_other_credentials(azure: Emulator, kind: str) -> None:
    """A named key and a ready-made signature are as good as a connection string."""
    host = azure.amqp_authority
    credential: AzureNamedKeyCredential | AzureSasCredential = AzureNamedKeyCredential(
        "RootManageSharedAccessKey", azure.amqp_key
    )
    if kind == "signature":
        credential = AzureSasCredential(shared_access_signature(f"sb://{host}", azure.amqp_key, time.time() + 60))
    async with EventHubProducerClient(host, "hub", credential=credential, use_tls=False, retry_total=0) as producer:
        await producer.send_batch([EventData("event")])
    assert len(azure.received_events("hub")) == 1


class TokenCredential:
    """A credential as azure-identity's, which asks the emulator."""

    def __init__(self, azure: Emulator, lifetime: float | None = None) -> None:
        self._azure = azure
        self._lifetime = lifetime

    async def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        """Return a token for a scope."""
        token = self._azure.issue_token(scopes[0].removesuffix("/.default"), lifetime=self._lifetime)
        return AccessToken(token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Do nothing."""


async def test_sdks_take_entra_tokens(azure: Emulator) -> None:
    """Each SDK asks for a token of its own service's audience, and gets in with it."""
    credential: Any = TokenCredential(azure)
    async with (
        EventHubProducerClient(azure.amqp_authority, "hub", credential, use_tls=False, retry_total=0) as producer,
        ServiceBusClient(azure.amqp_authority, credential, use_tls=False, retry_total=0) as client,
        client.get_queue_sender("orders") as sender,
    ):
        await producer.send_batch([EventData("event")])
        await sender.send_messages(ServiceBusMessage("message"))
    assert len(azure.received_events("hub")) == len(azure.queue_messages("orders")) == 1


async def test_an_expired_token_is_the_sdks_authentication_error(azure: Emulator) -> None:
    """Both SDKs word 401 as their AuthenticationError."""
    credential: Any = TokenCredential(azure, lifetime=-1)
    async with EventHubProducerClient(
        azure.amqp_authority, "hub", credential, use_tls=False, retry_total=0, retry_backoff_factor=0
    ) as producer:
        with pytest.raises(AuthenticationError, match="InvalidToken"):
            await producer.send_batch([EventData("event")])
    async with ServiceBusClient(azure.amqp_authority, credential, use_tls=False, retry_total=0) as client:
        with pytest.raises(ServiceBusAuthenticationError):
            async with client.get_queue_sender("orders"):
                pass


async def test_a_wrong_key_and_a_missing_hub_are_authentication_errors(azure: Emulator) -> None:
    """401 and 404 at ``$cbs`` both reach the caller as AuthenticationError, with the description."""
    wrong = azure.eventhub_connection_string.replace(azure.amqp_key, "wrong")
    async with EventHubProducerClient.from_connection_string(
        wrong, eventhub_name="hub", retry_total=0, retry_backoff_factor=0
    ) as producer:
        with pytest.raises(AuthenticationError, match="invalid signature"):
            await producer.send_batch([EventData("event")])
    async with make_producer(azure, eventhub_name="missing") as producer:
        with pytest.raises((AuthenticationError, ConnectError), match="could not be found"):
            await producer.send_batch([EventData("event")])


async def test_the_key_may_be_chosen(azure: Emulator) -> None:
    """An emulator with a key of its own takes that and not the common one."""
    async with Emulator(amqp_key="my own key") as own:
        await own.create_eventhub("hub")
        assert "SharedAccessKey=my own key;" in own.eventhub_connection_string
        async with make_producer(own) as producer:
            await producer.send_batch([EventData("event")])
        string = own.eventhub_connection_string.replace("my own key", azure.amqp_key)
        async with EventHubProducerClient.from_connection_string(
            string, eventhub_name="hub", retry_total=0, retry_backoff_factor=0
        ) as producer:
            with pytest.raises(AuthenticationError):
                await producer.send_batch([EventData("event")])
