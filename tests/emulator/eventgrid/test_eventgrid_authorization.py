"""Who may publish: keys, signatures and tokens, good ones and bad ones."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.eventgrid import EventGridEvent, generate_sas
from azure.eventgrid.aio import EventGridPublisherClient

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.eventgrid.conftest import Poster

EVENT = {"id": "1", "eventType": "t", "subject": "s", "eventTime": "2026-01-02T03:04:05Z"}
WRONG_KEY = base64.b64encode(b"another key").decode()


def soon() -> dt.datetime:
    """Give a time ten minutes from now."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)


def signed(resource: str, expiry: str, key: str) -> str:
    """Make a signature by hand, as the documentation's samples do."""
    text = f"r={quote(resource, safe='')}&e={quote(expiry, safe='')}"
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return f"{text}&s={quote(base64.b64encode(digest), safe='')}"


async def test_the_sdk_authenticates_with_a_key_and_with_a_signature(azure: Emulator) -> None:
    """AzureKeyCredential and AzureSasCredential, the latter with what generate_sas makes, are taken."""
    url, key = azure.eventgrid_endpoint("orders"), azure.eventgrid_key
    for credential in (AzureKeyCredential(key), AzureSasCredential(generate_sas(url, key, soon()))):
        async with EventGridPublisherClient(url, credential) as client:
            await client.send(EventGridEvent("s", "t", {}, "v1"))
    assert len(azure.eventgrid_events("orders")) == 2


async def test_a_wrong_key_is_the_sdk_s_authentication_error(azure: Emulator) -> None:
    """A key that is not the topic's raises ClientAuthenticationError with Azure's words, and nothing is kept."""
    async with EventGridPublisherClient(azure.eventgrid_endpoint("orders"), AzureKeyCredential(WRONG_KEY)) as client:
        with pytest.raises(
            ClientAuthenticationError, match=r"key is not authorized for 127\.0\.0\.1:\d+\. This is due to"
        ):
            await client.send(EventGridEvent("s", "t", {}, "v1"))
    assert azure.eventgrid_events("orders") == ()


GOOD_SIGNATURES: dict[str, Callable[[str, str], str]] = {
    "iso time": lambda url, key: signed(url, soon().isoformat(), key),
    "time without a zone": lambda url, key: signed(url, soon().replace(tzinfo=None).isoformat(), key),
    "us time": lambda url, key: signed(url, soon().strftime("%m/%d/%Y %I:%M:%S %p"), key),
    "with a query": lambda url, key: signed(f"{url}?apiVersion=2018-01-01", soon().isoformat(), key),
    "without a scheme": lambda url, key: signed(url.removeprefix("http://"), soon().isoformat(), key),
    "for all below": lambda url, key: signed(url.split("/api")[0], soon().isoformat(), key),
    "for the host": lambda url, key: signed(url.split("/topics")[0], soon().isoformat(), key),
}
BAD_SIGNATURES: dict[str, tuple[str, Callable[[str, str], str]]] = {
    "another key": ("is not one that the topic's key makes", lambda url, _: signed(url, soon().isoformat(), WRONG_KEY)),
    "expired": ("has expired", lambda url, key: signed(url, "2020-01-01T00:00:00Z", key)),
    "no time": ("must read r=<resource>", lambda url, key: signed(url, "soon", key)),
    "no signature": ("must read r=<resource>", lambda url, key: signed(url, soon().isoformat(), key).split("&s=")[0]),
    "nonsense": ("must read r=<resource>", lambda _, __: "nonsense"),
    "another topic": (
        "for another resource",
        lambda url, key: signed(url.replace("orders", "cloud"), soon().isoformat(), key),
    ),
    "another host": (
        "for another resource",
        lambda url, key: signed(url.replace("127", "128"), soon().isoformat(), key),
    ),
    "no host": ("for another resource", lambda _, key: signed("http://[", soon().isoformat(), key)),
    "not what was signed": (
        "is not one that the topic's key makes",
        lambda url, key: signed(url, soon().isoformat(), key).replace("orders", "cloud"),
    ),
}


@pytest.mark.parametrize("header", ["aeg-sas-token", "authorization"])
@pytest.mark.parametrize("make", GOOD_SIGNATURES.values(), ids=GOOD_SIGNATURES)
async def test_good_signatures_are_taken(
    azure: Emulator, post: Poster, make: Callable[[str, str], str], header: str
) -> None:
    """A signature in either header is good with any way to write the time, for the topic and for what it lies below."""
    token = make(azure.eventgrid_endpoint("orders"), azure.eventgrid_key)
    value = f"SharedAccessSignature {token}" if header == "authorization" else token
    assert await post("orders", [EVENT], headers={header: value}) == (200, {})


@pytest.mark.parametrize(("reason", "make"), BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
async def test_bad_signatures_are_refused(
    azure: Emulator, post: Poster, make: Callable[[str, str], str], reason: str
) -> None:
    """A signature that is malformed, expired, for something else or made with another key is answered 401 with the reason."""
    token = make(azure.eventgrid_endpoint("orders"), azure.eventgrid_key)
    status, error = await post("orders", [EVENT], headers={"aeg-sas-token": token})
    assert (status, error["code"]) == (401, "Unauthorized")
    assert reason in error["message"]
    assert azure.eventgrid_events("orders") == ()


async def test_tokens_are_verified(azure: Emulator, post: Poster) -> None:
    """A token for Event Grid is taken; one for another service, an expired one and a forged one are answered 401."""
    good = azure.issue_token("https://eventgrid.azure.net")
    for token, status in [
        (good, 200),
        (azure.issue_token("https://eventgrid.azure.net/"), 200),
        (azure.issue_token("https://cosmos.azure.com"), 401),
        (azure.issue_token("https://eventgrid.azure.net", lifetime=-1), 401),
        (f"{good[:-4]}AAAA", 401),
        ("nonsense", 401),
    ]:
        assert (await post("orders", [EVENT], headers={"authorization": f"Bearer {token}"}))[0] == status
    assert len(azure.eventgrid_events("orders")) == 2


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key."),
        ({"authorization": "Basic eDp5"}, "Request must contain one of the following"),
        ({"aeg-sas-key": ""}, "The given key is not one of the topic's keys"),
        ({"aeg-sas-key": "schlüssel"}, "The given key is not one of the topic's keys"),
    ],
)
async def test_without_authorization(azure: Emulator, post: Poster, headers: dict[str, str], message: str) -> None:
    """A request without a key, signature or token, or with no key in the key's place, is answered 401."""
    status, error = await post("orders", [EVENT], headers=headers)
    assert (status, message in error["message"]) == (401, True)
    assert azure.eventgrid_events("orders") == ()


async def test_authorization_comes_before_the_body(post: Poster) -> None:
    """Who may not publish learns nothing about the body."""
    assert (await post("orders", [], headers={"aeg-sas-key": WRONG_KEY}))[0] == 401


async def test_a_key_can_be_chosen() -> None:
    """An emulator with another key takes that one."""
    async with Emulator(eventgrid_key=WRONG_KEY) as azure:
        await azure.create_eventgrid_topic("orders")
        assert azure.eventgrid_key == WRONG_KEY
        async with EventGridPublisherClient(
            azure.eventgrid_endpoint("orders"), AzureKeyCredential(WRONG_KEY)
        ) as client:
            await client.send(EventGridEvent("s", "t", {}, "v1"))


@pytest.mark.parametrize(
    ("key", "message"), [("no key", "be base64"), ("ü", "be base64"), ("schlüssel", "be base64"), ("", "not be empty")]
)
def test_a_key_that_is_none_is_refused(key: str, message: str) -> None:
    """The emulator's key must be base64, as Azure's keys are."""
    with pytest.raises(ValueError, match=f"eventgrid_key must {message}"):
        Emulator(eventgrid_key=key)
