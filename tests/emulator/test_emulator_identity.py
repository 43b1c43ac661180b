"""The token endpoint, with azure-identity as its client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError
from azure.identity import ManagedIdentityCredential as SyncManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

if TYPE_CHECKING:
    import aiohttp

    from fastapi_azure_pool.emulator import Emulator

COSMOS_SCOPE = "https://cosmos.azure.com/.default"
APP_SERVICE = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")
IMDS = ("AZURE_POD_IDENTITY_AUTHORITY_HOST",)


def set_environment(monkeypatch: pytest.MonkeyPatch, azure: Emulator, names: tuple[str, ...]) -> None:
    """Set these variables of the emulator's environment and no other that azure-identity looks at."""
    for name in (
        *azure.environment,
        "MSI_ENDPOINT",
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, azure.environment[name])


@pytest.mark.parametrize(("names", "form"), [(APP_SERVICE, "app service"), (IMDS, "imds")])
async def test_managed_identity_gets_a_token(
    monkeypatch: pytest.MonkeyPatch, azure: Emulator, names: tuple[str, ...], form: str
) -> None:
    """A managed identity's token is signed, is for the resource asked for, and is good for a day, in both forms."""
    set_environment(monkeypatch, azure, names)
    async with ManagedIdentityCredential() as credential:
        token = await credential.get_token(COSMOS_SCOPE)
    claims = jwt.decode(token.token, options={"verify_signature": False})
    assert claims["aud"] == "https://cosmos.azure.com"
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60
    assert abs(token.expires_on - claims["exp"]) <= 1
    assert [(one.form, one.resource, one.client_id, one.status) for one in azure.token_requests] == [
        (form, "https://cosmos.azure.com", None, 200)
    ]


async def test_default_credential_finds_the_endpoint(monkeypatch: pytest.MonkeyPatch, azure: Emulator) -> None:
    """With the whole environment, DefaultAzureCredential gets its token from the emulator without trying elsewhere."""
    set_environment(monkeypatch, azure, tuple(azure.environment))
    async with DefaultAzureCredential() as credential:
        token = await credential.get_token("https://eventhubs.azure.net/.default")
    assert jwt.decode(token.token, options={"verify_signature": False})["aud"] == "https://eventhubs.azure.net"
    assert len(azure.token_requests) == 1


@pytest.mark.parametrize("names", [APP_SERVICE, IMDS])
async def test_synchronous_credential_gets_a_token(
    monkeypatch: pytest.MonkeyPatch, azure: Emulator, names: tuple[str, ...]
) -> None:
    """azure-identity's synchronous credential, which asks through MSAL, is served too."""
    set_environment(monkeypatch, azure, names)
    with SyncManagedIdentityCredential() as credential:
        token = await asyncio.to_thread(credential.get_token, COSMOS_SCOPE)
    assert jwt.decode(token.token, options={"verify_signature": False})["aud"] == "https://cosmos.azure.com"


@pytest.mark.parametrize("names", [APP_SERVICE, IMDS])
async def test_user_assigned_identity_is_named_in_its_token(
    monkeypatch: pytest.MonkeyPatch, azure: Emulator, names: tuple[str, ...]
) -> None:
    """A token asked for by a client id is that client's."""
    set_environment(monkeypatch, azure, names)
    async with ManagedIdentityCredential(client_id="11111111-2222-4333-8444-555555555555") as credential:
        token = await credential.get_token(COSMOS_SCOPE)
    claims = jwt.decode(token.token, options={"verify_signature": False})
    assert claims["appid"] == "11111111-2222-4333-8444-555555555555"
    assert azure.token_requests[0].client_id == "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize("names", [APP_SERVICE, IMDS])
async def test_refused_tokens_fail_at_once(
    monkeypatch: pytest.MonkeyPatch, azure: Emulator, names: tuple[str, ...]
) -> None:
    """While tokens are refused a credential fails with azure-identity's own error after one request; then it works."""
    set_environment(monkeypatch, azure, names)
    async with ManagedIdentityCredential() as credential:
        with (
            azure.faults.refuse_tokens() as fault,
            pytest.raises((CredentialUnavailableError, ClientAuthenticationError)),
        ):
            await credential.get_token(COSMOS_SCOPE)
        assert fault.strikes == 1
        assert [request.status for request in azure.token_requests] == [400]
        assert (await credential.get_token(COSMOS_SCOPE)).token


async def test_throttled_token_endpoint_says_when_to_come_back(azure: Emulator, session: aiohttp.ClientSession) -> None:
    """A throttled token request gets 429 with Retry-After in whole seconds, rounded up."""
    azure.faults.throttle(service="identity", retry_after=1.2, times=1)
    url = f"{azure.imds_endpoint}?api-version=2018-02-01&resource=https://cosmos.azure.com"
    async with session.get(url, headers={"Metadata": "true"}) as response:
        assert (response.status, response.headers["retry-after"]) == (429, "2")
        assert (await response.json())["error"] == "too_many_requests"
    azure.faults.refuse_tokens(500, times=1)
    async with session.get(url, headers={"Metadata": "true"}) as response:
        assert (response.status, (await response.json())["error"]) == (500, "unknown")


@pytest.mark.parametrize(
    ("query", "headers", "status", "error"),
    [
        ("api-version=2018-02-01&resource=https://cosmos.azure.com", {}, 400, "bad_request_102"),
        (
            "api-version=2018-02-01&resource=https://cosmos.azure.com",
            {"Metadata": "true", "X-Forwarded-For": "1.2.3.4"},
            400,
            "bad_request_102",
        ),
        ("resource=https://cosmos.azure.com", {"Metadata": "true"}, 400, "invalid_request"),
        ("api-version=2018-02-01", {"Metadata": "true"}, 400, "invalid_request"),
        ("api-version=2018-02-01&resource=https://unknown.example", {"Metadata": "true"}, 400, "invalid_resource"),
        ("api-version=2018-02-01&resource=nonsense", {"Metadata": "true"}, 400, "invalid_resource"),
        ("api-version=2018-02-01&resource=http://[oops", {"Metadata": "true"}, 400, "invalid_resource"),
    ],
)
async def test_imds_refuses_what_azure_refuses(
    azure: Emulator, session: aiohttp.ClientSession, query: str, headers: dict[str, str], status: int, error: str
) -> None:
    """A request without the Metadata header, a version or a known resource is refused with Azure's error name."""
    async with session.get(f"{azure.imds_endpoint}?{query}", headers=headers) as response:
        assert (response.status, (await response.json())["error"]) == (status, error)
    assert azure.token_requests[-1].status == status


@pytest.mark.parametrize(
    "resource",
    [
        "https://shop.documents.azure.com",
        "https://shop.servicebus.windows.net/",
        "http://127.0.0.1",
        "https://localhost:8081",
    ],
)
async def test_accounts_own_names_are_known_resources(
    azure: Emulator, session: aiohttp.ClientSession, resource: str
) -> None:
    """A resource may be an account of Azure's or the emulator's own address."""
    params = {"api-version": "2018-02-01", "resource": resource}
    async with session.get(azure.imds_endpoint, params=params, headers={"Metadata": "true"}) as response:
        assert (response.status, (await response.json())["resource"]) == (200, resource)


async def test_app_service_asks_for_its_secret(azure: Emulator, session: aiohttp.ClientSession) -> None:
    """App Service's form refuses a request whose X-IDENTITY-HEADER is missing or wrong, in its own error form."""
    params = {"api-version": "2019-08-01", "resource": "https://cosmos.azure.com"}
    for headers in ({}, {"X-IDENTITY-HEADER": "wrong"}, {"X-IDENTITY-HEADER": "\xff"}):
        async with session.get(azure.identity_endpoint, params=params, headers=headers) as response:
            assert (response.status, (await response.json())["statusCode"]) == (401, 401)
    async with session.post(azure.identity_endpoint, params=params) as response:
        assert response.status == 405
    async with session.get(azure.identity_endpoint.replace("token", "other")) as response:
        assert response.status == 404
