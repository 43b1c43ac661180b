"""The token endpoint, with azure-identity as its client."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity import CredentialUnavailableError
from azure.identity import ManagedIdentityCredential as SyncManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential, WorkloadIdentityCredential

from fastapi_azure_pool.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp

COSMOS_SCOPE = "https://cosmos.azure.com/.default"
BROKEN = (ServiceRequestError, ServiceResponseError)
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
        "AZURE_AUTHORITY_HOST",
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


# Entra ID ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def workload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Emulator]:
    """An emulator with TLS, and the environment and files of a pod whose workload identity it knows."""
    async with Emulator(tls=True) as azure:
        set_environment(monkeypatch, azure, ())
        (tmp_path / "token").write_text(azure.issue_federated_token())
        (tmp_path / "certificate.pem").write_text(azure.certificate)
        for name, value in azure.workload_environment(tmp_path / "token").items():
            monkeypatch.setenv(name, value)
        yield azure


def trusted(tmp_path: Path) -> dict[str, Any]:
    """Give the options with which a credential trusts the emulator's certificate."""
    return {"connection_verify": str(tmp_path / "certificate.pem")}


async def test_a_workload_identity_gets_a_token(workload: Emulator, tmp_path: Path) -> None:
    """azure-identity's WorkloadIdentityCredential trades its pod's token for one of Entra ID's, over TLS."""
    async with WorkloadIdentityCredential(**trusted(tmp_path)) as credential:
        token = await credential.get_token(COSMOS_SCOPE)
    claims = jwt.decode(token.token, options={"verify_signature": False})
    assert (claims["aud"], claims["tid"]) == ("https://cosmos.azure.com", workload.tenant_id)
    assert [(one.form, one.resource, one.client_id, one.status) for one in workload.token_requests] == [
        ("entra", "https://cosmos.azure.com", claims["appid"], 200)
    ]


async def test_the_default_credential_finds_the_workload_identity(workload: Emulator, tmp_path: Path) -> None:
    """DefaultAzureCredential, with nothing but the pod's environment, takes the workload identity."""
    async with DefaultAzureCredential(**trusted(tmp_path)) as credential:
        assert (await credential.get_token("https://storage.azure.com/.default")).token
    assert [(one.form, one.status) for one in workload.token_requests] == [("entra", 200)]


async def test_a_token_of_the_cluster_that_has_expired_is_refused(workload: Emulator, tmp_path: Path) -> None:
    """Entra ID refuses a federated token that is too old, or that is no token of the cluster's."""
    for wrong in (workload.issue_federated_token(lifetime=-10), workload.issue_token(), "nonsense"):
        (tmp_path / "token").write_text(wrong)
        async with WorkloadIdentityCredential(**trusted(tmp_path)) as credential:
            with pytest.raises(ClientAuthenticationError, match="AADSTS700027") as raised:
                await credential.get_token(COSMOS_SCOPE)
        assert wrong not in str(raised.value)
    assert {one.status for one in workload.token_requests} == {401}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"grant_type": ""}, 400, 900144),
        ({"client_id": ""}, 400, 900144),
        ({"scope": ""}, 400, 900144),
        ({"scope": "https://cosmos.azure.com"}, 400, 1002012),
        ({"scope": "https://unknown.example/.default"}, 400, 500011),
        ({"grant_type": "password"}, 400, 70003),
        ({"client_assertion": ""}, 401, 7000218),
        ({"client_assertion_type": "saml"}, 401, 7000218),
        ({"tenant": "another"}, 400, 90002),
        ({"method": "GET"}, 405, 900561),
    ],
)
async def test_entra_refuses_what_azure_refuses(
    workload: Emulator, session: aiohttp.ClientSession, change: dict[str, str], status: int, code: int
) -> None:
    """A request for a token that is not whole is refused with Entra ID's error and its AADSTS number."""
    fields = {
        "client_assertion": workload.issue_federated_token(),
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_id": "11111111-2222-4333-8444-555555555555",
        "grant_type": "client_credentials",
        "scope": COSMOS_SCOPE,
        "tenant": workload.tenant_id,
        "method": "POST",
        **change,
    }
    url = f"{workload.entra_authority}/{fields.pop('tenant')}/oauth2/v2.0/token"
    async with session.request(fields.pop("method"), url, data=fields, ssl=False) as response:
        body = await response.json()
        assert (response.status, body["error_codes"]) == (status, [code])
        assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert workload.token_requests[-1].status == status


async def test_faults_of_the_token_endpoint_strike_entra_too(workload: Emulator, tmp_path: Path) -> None:
    """What refuses tokens, or cuts the token endpoint's connections, does so to Entra ID's clients as well."""
    async with WorkloadIdentityCredential(**trusted(tmp_path), retry_total=0) as credential:
        with workload.faults.refuse_tokens(), pytest.raises(ClientAuthenticationError, match="Identity not found"):
            await credential.get_token(COSMOS_SCOPE)
        with workload.faults.drop(service="identity"), pytest.raises(BROKEN):
            await credential.get_token(COSMOS_SCOPE)
        assert (await credential.get_token(COSMOS_SCOPE)).token
        assert workload.faults.drop_connections("identity") == workload.connections("entra").open > 0


async def test_the_lifetime_of_tokens_can_be_set(
    monkeypatch: pytest.MonkeyPatch, workload: Emulator, tmp_path: Path
) -> None:
    """Tokens may be short-lived, and say when to be renewed, in every form of the endpoint; None sets both back."""
    set_environment(monkeypatch, workload, APP_SERVICE)
    workload.set_token_lifetime(40, refresh_in=5)
    made: list[Any] = [ManagedIdentityCredential(), ManagedIdentityCredential()]
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", workload.environment["AZURE_POD_IDENTITY_AUTHORITY_HOST"])
    made.append(ManagedIdentityCredential())
    made.append(
        WorkloadIdentityCredential(
            authority=workload.entra_authority,
            tenant_id=workload.tenant_id,
            client_id="11111111-2222-4333-8444-555555555555",
            token_file_path=str(tmp_path / "token"),
            **trusted(tmp_path),
        )
    )
    for credential in made:
        async with credential:
            before = int(time.time())
            token = await credential.get_token_info(COSMOS_SCOPE)
            assert before + 40 <= token.expires_on <= time.time() + 40
            assert token.expires_on - token.refresh_on in {34, 35, 36}
    assert {one.form for one in workload.token_requests} == {"app service", "imds", "entra"}
    workload.set_token_lifetime()
    async with ManagedIdentityCredential() as credential:
        token = await credential.get_token_info(COSMOS_SCOPE)
        assert token.expires_on - time.time() > 86000
    with pytest.raises(ValueError, match="seconds=0 must be more than 0"):
        workload.set_token_lifetime(0)
    with pytest.raises(ValueError, match="refresh_in=-1 must be more than 0"):
        workload.set_token_lifetime(5, refresh_in=-1)


async def test_entra_is_there_with_tls_only(azure: Emulator) -> None:
    """Without TLS there is no Entra ID, and the error says how to get one; before the start it has no port."""
    with pytest.raises(RuntimeError, match=r"write Emulator\(tls=True\)"):
        _ = azure.entra_authority
    with pytest.raises(RuntimeError, match="start it first"):
        _ = Emulator(tls=True).entra_authority
