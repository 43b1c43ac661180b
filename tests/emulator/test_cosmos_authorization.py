"""Who may ask the account for what."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Self

import pytest
from azure.core.credentials import AccessToken
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.identity.aio import ManagedIdentityCredential

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.tokens import InvalidToken, TokenIssuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aiohttp
    from azure.cosmos.aio import CosmosClient

ITEMS = "/dbs/shop/colls/orders/docs"


class FixedToken:
    """A credential that has one token."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken(self._token, 2**31)

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Do nothing."""


@pytest.fixture
async def secure() -> AsyncIterator[Emulator]:
    """An emulator that serves Cosmos DB over https, as tokens need."""
    async with Emulator(tls=True) as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        yield azure


async def test_wrong_key_is_unauthorized(azure: Emulator, connect_client: Callable[..., CosmosClient]) -> None:
    """A client with another key fails with 401 in the SDK's error."""
    client = connect_client(azure, key=base64.b64encode(b"another key").decode())
    with pytest.raises(CosmosHttpResponseError, match="wrong key is being used") as caught:
        await client.__aenter__()
    await client.close()
    assert caught.value.status_code == 401


async def test_own_key_is_taken(connect_client: Callable[..., CosmosClient]) -> None:
    """The account's key can be chosen, and the default key then opens nothing."""
    key = base64.b64encode(b"a key of my own").decode()
    async with Emulator(cosmos_key=key) as azure:
        assert azure.cosmos_key == key
        async with connect_client(azure) as client:
            await client.create_database("shop")
        client = connect_client(azure, key=Emulator().cosmos_key)
        with pytest.raises(CosmosHttpResponseError):
            await client.__aenter__()
        await client.close()


async def test_signature_covers_verb_resource_and_date(
    azure: Emulator, signature: Callable[..., dict[str, str]], session: aiohttp.ClientSession
) -> None:
    """A signature made for one request does not serve another verb, resource or date."""
    good = signature("GET", "/dbs/shop")
    url = azure.cosmos_endpoint.rstrip("/")
    cases = [
        ("GET", "/dbs/shop", good, 200),
        ("DELETE", "/dbs/shop", good, 401),
        ("GET", "/dbs", good, 401),
        ("GET", "/dbs/shop/colls", good, 401),
        ("GET", "/dbs/shop", good | {"x-ms-date": formatdate(1, usegmt=True)}, 401),
        ("GET", "/dbs/shop", {"x-ms-date": good["x-ms-date"]}, 401),
        ("GET", "/dbs/shop", {"authorization": good["authorization"]}, 401),
        ("GET", "/dbs/shop", good | {"x-ms-date": "yesterday"}, 401),
    ]
    for method, path, headers, expected in cases:
        async with session.request(method, url + path, headers=headers) as response:
            assert (method, path, response.status) == (method, path, expected)
            assert response.status == 200 or (await response.json())["code"] == "Unauthorized"


async def test_signature_may_cover_the_date_header(
    azure: Emulator, signature: Callable[..., dict[str, str]], session: aiohttp.ClientSession
) -> None:
    """A client that cannot set x-ms-date may sign the Date header, which stands in the payload's last line."""
    date = formatdate(usegmt=True)
    payload = f"get\ndbs\n\n\n{date.lower()}\n"
    digest = hmac.new(base64.b64decode(azure.cosmos_key), payload.encode(), hashlib.sha256).digest()
    headers = {"date": date, "authorization": f"type=master&ver=1.0&sig={base64.b64encode(digest).decode()}"}
    async with session.get(azure.cosmos_endpoint + "dbs", headers=headers) as response:
        assert response.status == 200


async def test_old_signature_is_forbidden(
    azure: Emulator, signature: Callable[..., dict[str, str]], session: aiohttp.ClientSession
) -> None:
    """A signature is good for 15 minutes around its date; after that it gets 403."""
    for minutes, expected in ((-14, 200), (-16, 403), (14, 200), (16, 403)):
        date = formatdate(time.time() + 60 * minutes, usegmt=True)
        async with session.get(azure.cosmos_endpoint + "dbs", headers=signature("GET", "/dbs", date)) as response:
            assert (minutes, response.status) == (minutes, expected)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer abc",
        "type=master",
        "type=master&ver=2.0&sig=abc",
        "type=resource&ver=1.0&sig=abc",
        "type=master&ver=1.0&sig=%FF%FE",
        "type=aad&ver=1.0&sig=abc",
        "type%3Daad%26ver%3D1.0%26sig%3Deyx.eyx.x",
    ],
)
async def test_malformed_authorization_is_unauthorized(
    azure: Emulator, session: aiohttp.ClientSession, header: str
) -> None:
    """Any authorization header that is no good gets 401 with Azure's body, never an error of the server's own."""
    headers = {"authorization": header, "x-ms-date": formatdate(usegmt=True)}
    async with session.get(azure.cosmos_endpoint + "dbs", headers=headers) as response:
        assert (response.status, (await response.json())["code"]) == (401, "Unauthorized")


async def test_managed_identity_reads_and_writes_items(
    monkeypatch: pytest.MonkeyPatch, secure: Emulator, connect_client: Callable[..., CosmosClient]
) -> None:
    """A managed identity's token opens the account over https: items can be written and read with it."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", secure.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", secure.identity_header)
    assert secure.cosmos_endpoint.startswith("https://127.0.0.1:")
    async with ManagedIdentityCredential() as credential, connect_client(secure, credential) as client:
        orders = client.get_database_client("shop").get_container_client("orders")
        await orders.create_item({"id": "1", "customer_id": "ada"})
        assert (await orders.read_item("1", "ada"))["id"] == "1"
    assert [request.resource for request in secure.token_requests] == ["https://127.0.0.1"]


async def test_token_cannot_make_databases_or_containers(
    secure: Emulator, connect_client: Callable[..., CosmosClient]
) -> None:
    """As on Azure, a token has no rights on databases and containers but to read them: 403 with sub-status 5300."""
    credential = FixedToken(secure.issue_token())
    async with connect_client(secure, credential) as client:
        for attempt in (
            client.create_database("other"),
            client.delete_database("shop"),
            client.get_database_client("shop").create_container("other", PartitionKey("/id")),
        ):
            with pytest.raises(CosmosHttpResponseError) as caught:
                await attempt
            assert (caught.value.status_code, caught.value.sub_status) == (403, 5300)
        assert (await client.get_database_client("shop").get_container_client("orders").read())["id"] == "orders"


@pytest.mark.parametrize(
    ("resource", "lifetime", "expected"),
    [
        ("https://cosmos.azure.com", 60, 200),
        ("https://cosmos.azure.com/", 60, 200),
        ("http://127.0.0.1", 60, 200),
        ("https://cosmos.azure.com", -60, 401),
        ("https://servicebus.azure.net", 60, 401),
        ("https://shop.documents.azure.com", 60, 401),
    ],
)
async def test_tokens_audience_and_expiry_are_checked(
    azure: Emulator, session: aiohttp.ClientSession, resource: str, lifetime: float, expected: int
) -> None:
    """A token serves while it is good and only where it is for this account or for Cosmos DB as a whole."""
    headers = {"authorization": f"type=aad&ver=1.0&sig={azure.issue_token(resource, lifetime=lifetime)}"}
    for _ in range(2):
        async with session.get(azure.cosmos_endpoint + "dbs/shop", headers=headers) as response:
            assert response.status == expected


def test_tokens_are_remembered_up_to_a_bound() -> None:
    """A verified token is not verified again, however many there are the memory stays bounded, and odd audiences are refused."""
    issuer = TokenIssuer()
    tokens = [issuer.issue("https://cosmos.azure.com", client_id=str(number)) for number in range(1_005)]
    assert {issuer.verify(token) for token in tokens * 2} == {"https://cosmos.azure.com"}
    assert len(issuer._verified) <= 1_000
    with pytest.raises(InvalidToken, match="must be one string"):
        issuer.verify(issuer.issue(["a", "b"]))  # type: ignore[arg-type]  # wrong on purpose


def test_remembered_token_expires_all_the_same() -> None:
    """A token that was verified once is refused when its time has come."""
    issuer = TokenIssuer()
    token = issuer.issue("https://cosmos.azure.com", lifetime=-60)
    issuer._verified[token] = ("https://cosmos.azure.com", time.time() - 60)
    with pytest.raises(InvalidToken, match="expired"):
        issuer.verify(token)


async def test_tokens_signature_is_checked(azure: Emulator, session: aiohttp.ClientSession) -> None:
    """A token of another emulator, or one with a changed claim, is refused."""
    other = Emulator().issue_token()
    head, body, mark = azure.issue_token().split(".")
    _, other_body, _ = azure.issue_token(client_id="someone else").split(".")
    for token in (other, f"{head}.{other_body}.{mark}", f"{head}.{body}."):
        headers = {"authorization": f"type=aad&ver=1.0&sig={token}"}
        async with session.get(azure.cosmos_endpoint + "dbs/shop", headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (401, "Unauthorized")
