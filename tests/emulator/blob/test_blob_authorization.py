"""The account's key and Entra tokens: what is let in, and how the rest is refused."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from azure.identity.aio import ManagedIdentityCredential
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy, _storage_header_sort
from azure.storage.blob.aio import BlobServiceClient
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.blob.authorization import Authorization
from fastapi_azure_pool.emulator.blob.culture import culture_key
from fastapi_azure_pool.emulator.blob.request import BlobRequest
from fastapi_azure_pool.emulator.blob.sas import Need
from fastapi_azure_pool.emulator.tokens import TokenIssuer
from tests.emulator.blob.blob_sdk import FixedToken, connect, refused

KEY = "a2V5IG9mIGEgdGVzdA=="


async def test_connection_string_connects(azure: Emulator) -> None:
    """The connection string and the environment are enough for the SDK."""
    assert azure.environment["AZURE_STORAGE_CONNECTION_STRING"] == azure.blob_connection_string
    assert azure.environment["AZURE_STORAGE_BLOB_ENDPOINT"] == azure.blob_endpoint
    assert azure.blob_endpoint.endswith("/devstoreaccount1")
    async with BlobServiceClient.from_connection_string(azure.blob_connection_string, retry_total=0) as service:
        await service.get_container_client("invoices").upload_blob("1", b"one")
    assert [blob.name for blob in azure.blobs("invoices")] == ["1"]


async def test_wrong_key_is_refused(azure: Emulator) -> None:
    """A request that was signed with another key gets 403, and is told what was signed, not the key."""
    async with connect(azure, KEY) as service:
        with refused(403, "AuthenticationFailed") as caught:
            await service.get_container_client("invoices").upload_blob("1", b"one")
    assert isinstance(caught.value, ClientAuthenticationError)
    assert "string to sign" in str(caught.value)
    assert azure.storage_key not in str(caught.value)
    assert azure.blobs("invoices") == ()


async def test_account_and_key_can_be_chosen() -> None:
    """An emulator serves the account that it was told, by the key that it was told, and no other."""
    async with Emulator(storage_account="shop", storage_key=KEY) as azure:
        await azure.create_blob_container("invoices")
        assert (azure.storage_account, azure.storage_key) == ("shop", KEY)
        async with connect(azure) as service:
            await service.get_container_client("invoices").upload_blob("1", b"one")
        other = azure.blob_endpoint.replace("shop", "devstoreaccount1")
        credential: Any = {"account_name": "devstoreaccount1", "account_key": KEY}
        async with BlobServiceClient(other, credential=credential, retry_total=0) as service:
            with refused(404, "ResourceNotFound"):
                await service.get_service_properties()


def test_account_may_have_digits_alone() -> None:
    """A name of digits is one that Azure allows."""
    assert Emulator(storage_account="2026").storage_account == "2026"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"storage_key": "not base64!"}, "storage_key must be base64"),
        ({"storage_key": "ü"}, "storage_key must be base64"),
        ({"storage_key": ""}, "storage_key must not be empty"),
        ({"storage_account": "Shop"}, "storage_account='Shop' must have 3 to 24"),
        ({"storage_account": "ab"}, "storage_account='ab' must have 3 to 24"),
        ({"storage_account": "ab\n"}, r"storage_account='ab\\n' must have 3 to 24"),
        ({"storage_account": "a/b"}, "storage_account='a/b' must have 3 to 24"),
        ({"blob_port": 65536}, "blob_port=65536"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    """A value that cannot be raises ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        Emulator(**options)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, "NoAuthenticationInformation")),
        ({"authorization": "Basic abc"}, (401, "InvalidAuthenticationInfo")),
        ({"authorization": ""}, (401, "InvalidAuthenticationInfo")),
        ({"authorization": "SharedKey"}, (400, "InvalidHeaderValue")),
        ({"authorization": "SharedKey devstoreaccount1:abc"}, (403, "AuthenticationFailed")),
        ({"authorization": "SharedKey devstoreaccount1:abc", "x-ms-date": "soon"}, (403, "AuthenticationFailed")),
        ({"authorization": "SharedKey other:abc", "x-ms-date": formatdate(usegmt=True)}, (403, "AuthenticationFailed")),
        ({"authorization": "Bearer abc"}, (403, "AuthenticationFailed")),
    ],
)
async def test_who_does_not_show_who_he_is_is_refused(
    azure: Emulator, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    """Without authorization, and with one that is none, a request is refused in Azure's way; 401 says how to get a token."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{azure.blob_endpoint}/invoices/1", headers=headers) as response,
    ):
        assert (response.status, response.headers["x-ms-error-code"]) == expected
        assert ("www-authenticate" in response.headers) == (response.status == 401)
        assert (await response.text()).startswith("<?xml")


async def test_managed_identity_reads_and_writes(monkeypatch: pytest.MonkeyPatch, secure: Emulator) -> None:
    """A managed identity's token opens the account over https."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", secure.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", secure.identity_header)
    async with ManagedIdentityCredential() as credential, connect(secure, credential) as service:
        blob = await service.get_container_client("invoices").upload_blob("1", b"one")
        assert await (await blob.download_blob()).readall() == b"one"
        await service.create_container("receipts")
    assert [request.resource for request in secure.token_requests] == ["https://storage.azure.com"]


@pytest.mark.parametrize(
    ("resource", "lifetime", "is_good"),
    [
        ("https://storage.azure.com", 60, True),
        ("https://storage.azure.com/", 60, True),
        ("https://devstoreaccount1.blob.core.windows.net", 60, True),
        ("https://other.blob.core.windows.net", 60, False),
        ("https://cosmos.azure.com", 60, False),
        ("https://storage.azure.com", -60, False),
    ],
)
async def test_tokens_audience_and_expiry_are_checked(
    secure: Emulator, resource: str, lifetime: float, *, is_good: bool
) -> None:
    """A token serves while it is good and where it is for Blob Storage or this account."""
    credential = FixedToken(secure.issue_token(resource, lifetime=lifetime))
    async with connect(secure, credential) as service:
        if is_good:
            assert await service.get_container_client("invoices").exists()
            return
        with refused(401, "InvalidAuthenticationInfo"):
            await service.get_container_client("invoices").get_container_properties()


async def test_token_needs_tls(azure: Emulator) -> None:
    """The SDK sends no token over http, and one that comes all the same is refused."""
    token = azure.issue_token("https://storage.azure.com")
    with pytest.raises(ValueError, match="only supported with HTTPS"):
        connect(azure, FixedToken(token))
    headers = {"authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{azure.blob_endpoint}/invoices/1", headers=headers) as response,
    ):
        assert (response.status, response.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
        assert "not allowed with HTTP" in await response.text()


def sign(request: HttpRequest) -> None:
    """Sign a request as the SDK does."""
    policy: Any = SharedKeyCredentialPolicy
    policy("shop", KEY).on_request(PipelineRequest(request, PipelineContext(None)))


def _scope(method: str, raw_path: str, query: str, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": raw_path,
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 10000),
    }


_WORD = st.text("abcXYZ019_-.", min_size=1, max_size=8)
_NAME = st.text("abcxyz019_-", min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["GET", "PUT", "DELETE"]),
    st.lists(_WORD, min_size=1, max_size=3),
    st.dictionaries(_NAME, _WORD | st.just("a b/c=d&e+f"), max_size=4),
    st.dictionaries(_NAME, _WORD, max_size=5),
    st.integers(0, 3),
)
def test_signature_is_the_one_that_the_sdk_makes(
    method: str, path: list[str], query: dict[str, str], named: dict[str, str], length: int
) -> None:
    """Whatever a request consists of, the emulator finds the SDK's signature right, and wrong once something is changed."""
    headers = {f"x-ms-{name}": value for name, value in named.items()} | {"x-ms-date": formatdate(usegmt=True)}
    headers["Content-Length"] = str(length)
    parameters = {name: quote(value, safe="") for name, value in query.items()}
    request = HttpRequest(method, f"http://127.0.0.1:10000/shop/{'/'.join(path)}", params=parameters, headers=headers)
    sign(request)
    url, _, sent_query = request.url.partition("?")
    raw_path = url.removeprefix("http://127.0.0.1:10000")
    authorization = Authorization("shop", KEY, TokenIssuer())
    need = Need("r", "o")
    sent = dict(request.headers)
    assert authorization.grant(BlobRequest(_scope(method, raw_path, sent_query, sent)), need).permissions is None
    for changed in (
        _scope("POST", raw_path, sent_query, sent),
        _scope(method, raw_path + "x", sent_query, sent),
        _scope(method, raw_path, sent_query + "&x=y", sent),
        _scope(method, raw_path, sent_query, sent | {"x-ms-new": "1"}),
        _scope(method, raw_path, sent_query, sent | {"content-length": "9"}),
    ):
        with pytest.raises(Exception, match="failed to authenticate"):
            authorization.grant(BlobRequest(changed), need)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abz019_-.'!~", min_size=1, max_size=6), unique=True, max_size=8))
def test_header_names_are_in_the_sdks_order(names: list[str]) -> None:
    """The order in which Azure's clients sign headers is that of the SDK."""
    expected = [name for name, _ in _storage_header_sort([(name, "") for name in names])]
    assert sorted(names, key=culture_key) == expected


@pytest.mark.parametrize(("minutes", "is_good"), [(-14, True), (-16, False), (14, True), (16, False)])
def test_old_signature_is_refused(minutes: int, *, is_good: bool) -> None:
    """A signature is good for 15 minutes around its date."""
    headers = {"x-ms-date": formatdate(time.time() + 60 * minutes, usegmt=True)}
    request = HttpRequest("GET", "http://127.0.0.1:10000/shop/a", headers=headers)
    sign(request)
    authorization = Authorization("shop", KEY, TokenIssuer())
    blob_request = BlobRequest(_scope("GET", "/shop/a", "", dict(request.headers)))
    if is_good:
        assert authorization.grant(blob_request, Need("r", "o")).permissions is None
        return
    with pytest.raises(Exception, match="failed to authenticate"):
        authorization.grant(blob_request, Need("r", "o"))
