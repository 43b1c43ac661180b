"""Blob Storage with token credentials over TLS, and the user delegation key that signs URLs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ManagedIdentityCredential
from azure.storage.blob import UserDelegationKey
from azure.storage.blob.aio import BlobClient, ContainerClient

from fastapi_azure_pool import AzureBlobError, AzureBlobStorageClient, ConnectionFailed, ManagedAzureBlobStorage
from fastapi_azure_pool.clients.blob_sas import DelegationKeys
from fastapi_azure_pool.emulator import Emulator
from tests.clients.blob_storage import KINDS
from tests.clients.credentials import CountingCredential
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ACCOUNT = "/devstoreaccount1*"


@pytest.fixture
async def azure(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """An emulator with TLS, and the containers "files" and "secrets"; azure-identity finds its token endpoint."""
    async with Emulator(tls=True) as azure:
        for name in ("files", "secrets"):
            await azure.create_blob_container(name)
        for name, value in azure.environment.items():
            monkeypatch.setenv(name, value)
        yield azure


@pytest.fixture
def certificate(azure: Emulator, tmp_path: Path) -> str:
    """The emulator's certificate in a file."""
    path = tmp_path / "certificate.pem"
    path.write_text(azure.certificate)
    return str(path)


def files_of(azure: Emulator, certificate: str, kind: type[Any] = ManagedAzureBlobStorage, **options: Any) -> Any:
    """Give a client of "files" with the emulator's managed identity, which trusts its certificate."""
    given = {"credential_factory": ManagedIdentityCredential, "container_name": "files", **options}
    return kind(azure.blob_endpoint, client_options={"connection_verify": certificate}, **given)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_opens_connections(azure: Emulator, certificate: str, kind: type[Any]) -> None:
    """A real credential authenticates over TLS, with one token request, and its requests share TCP connections."""
    async with files_of(azure, certificate, kind) as files:
        await files.upload_blob("a", b"hello")
        for _ in range(5):
            assert await files.download_blob("a") == b"hello"
        assert [request.status for request in azure.token_requests] == [200]
        # The SDK makes a TLS context for each request, and so a connection; here it is one.
        assert azure.connections("blob").accepted == 1


async def test_an_application_lends_its_credential(azure: Emulator, certificate: str) -> None:
    """Without authentication of its own, the managed client takes that of the application that opens it."""
    from fastapi import FastAPI

    from fastapi_azure_pool import open_pools

    files = files_of(azure, certificate, credential_factory=None)
    async with open_pools(FastAPI(), credential=ManagedIdentityCredential, files=files):
        await files.upload_blob("a", b"hello")
        assert await files.download_blob("a") == b"hello"


async def test_a_token_that_is_refused_says_so(azure: Emulator, certificate: str) -> None:
    """Blob Storage's answer to a wrong token is the cause."""
    files = files_of(azure, certificate, credential_factory=CountingCredential)
    with pytest.raises(ConnectionFailed) as raised:
        await files.__aenter__()
    assert getattr(raised.value.__cause__, "status_code", None) in {401, 403}


async def test_no_name_reads_another_container(azure: Emulator, certificate: str) -> None:
    """The SDK alone follows a dot segment into another container, with a token that may; the clients refuse the name."""
    async with files_of(azure, certificate, container_name="secrets") as secrets:
        await secrets.upload_blob("key", b"secret")
    async with (
        ManagedIdentityCredential() as credential,
        ContainerClient(azure.blob_endpoint, "files", credential=credential, connection_verify=certificate) as sdk,
    ):
        assert await (await sdk.download_blob("../secrets/key")).readall() == b"secret"
    async with files_of(azure, certificate) as files:
        with pytest.raises(ValueError, match="has a dot segment"):
            await files.download_blob("../secrets/key")
        async with files.get_container_client() as container:
            with pytest.raises(ValueError, match="has a dot segment"):
                await container.download_blob("../secrets/key")


# Signing -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_delegation_key_signs_for_everybody_who_asks(
    azure: Emulator, certificate: str, kind: type[Any]
) -> None:
    """A hundred callers at once, and later ones, cost one request for a key; the URLs read their blob, and no other."""
    async with files_of(azure, certificate, kind) as files:
        names = [f"in voices/{number}?.pdf" for number in range(100)]
        await files.upload_blob(names[0], b"hello")
        azure.blob_requests.clear()
        urls = await asyncio.gather(*map(files.get_blob_sas_url, names))
        more = await files.get_blob_sas_url_list(names, datetime.now(UTC) + timedelta(hours=20))
        assert azure.blob_requests.count("POST", ACCOUNT) == azure.blob_requests.total == 1
        for url in (urls[0], more[names[0]]):
            async with BlobClient.from_blob_url(url, connection_verify=certificate) as blob:
                assert await (await blob.download_blob()).readall() == b"hello"
                with pytest.raises(HttpResponseError) as refused:
                    await blob.delete_blob()
                assert refused.value.status_code == 403
        await files.get_blob_sas_token("a", datetime.now(UTC) + timedelta(days=6))
        assert azure.blob_requests.count("POST", ACCOUNT) == 2


async def test_a_key_that_cannot_be_had_is_told(azure: Emulator, certificate: str) -> None:
    """A refusal of the key reaches every caller as AzureBlobError; the next one asks again."""
    async with files_of(azure, certificate) as files:
        with azure.faults.fail(403, path=ACCOUNT):
            outcomes = await asyncio.gather(*(files.get_blob_sas_token("a") for _ in range(3)), return_exceptions=True)
        assert [isinstance(error, AzureBlobError) and error.status_code for error in outcomes] == [403] * 3
        assert "sig=" in await files.get_blob_sas_token("a")


async def test_a_caller_who_is_cancelled_takes_nobody_along(azure: Emulator, certificate: str) -> None:
    """The key is got by a task of its own: who waits for the same gets it, when the first has gone."""
    async with files_of(azure, certificate) as files:
        with azure.faults.delay(0.2, path=ACCOUNT) as fault:
            first, second = (asyncio.create_task(files.get_blob_sas_token("a")) for _ in range(2))
            await eventually(lambda: fault.strikes)
            first.cancel()
            assert "sig=" in await second
        assert first.cancelled()
        assert azure.blob_requests.count("POST", ACCOUNT) == 1


async def test_a_closed_client_forgets_its_key(azure: Emulator, certificate: str) -> None:
    """After closing, the next opening may be another's identity: the key is got anew."""
    for files in (files_of(azure, certificate), files_of(azure, certificate, AzureBlobStorageClient)):
        azure.blob_requests.clear()
        for _ in range(2):
            async with files:
                await files.get_blob_sas_token("a")
        assert azure.blob_requests.count("POST", ACCOUNT) == 2


class Keys:
    """Gives keys, and notes for what times it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, datetime]] = []

    async def fetch(self, start: datetime, expiry: datetime) -> UserDelegationKey:
        """Give a new key."""
        self.asked.append((start, expiry))
        await asyncio.sleep(0)
        return UserDelegationKey()  # type: ignore[no-untyped-call]  # the SDK's


async def test_a_key_covers_more_than_what_it_was_got_for() -> None:
    """It is used until what is asked for ends after it; it begins in the past, for clocks differ."""
    keys, service = DelegationKeys(), Keys()
    first = await keys.get(NOW + HOUR, NOW, service.fetch)
    assert service.asked == [(NOW - timedelta(minutes=15), NOW + HOUR + DAY)]
    assert await keys.get(NOW + HOUR + DAY, NOW + DAY, service.fetch) is first
    assert await keys.get(NOW + 2 * HOUR + DAY, NOW + HOUR + DAY, service.fetch) is not first
    assert service.asked[1][1] == NOW + 2 * HOUR + 2 * DAY


async def test_no_key_is_good_for_more_than_a_week() -> None:
    """Near the limit of seven days a key is got for what is asked; beyond it there is none."""
    keys, service = DelegationKeys(), Keys()
    await keys.get(NOW + 6.5 * DAY, NOW, service.fetch)
    await keys.get(NOW + 7 * DAY, NOW, service.fetch)
    assert [until - NOW for _, until in service.asked] == [7 * DAY - timedelta(minutes=15), 7 * DAY]
    with pytest.raises(ValueError, match="a user delegation key signs ends within 7 days; only the account's key"):
        await keys.get(NOW + 7 * DAY + timedelta(seconds=1), NOW, service.fetch)


async def test_who_needs_a_longer_key_than_is_being_got_gets_one() -> None:
    """Two callers at once with different ends: each signs with a key that covers its own."""
    keys, service = DelegationKeys(), Keys()
    await asyncio.gather(keys.get(NOW + HOUR, NOW, service.fetch), keys.get(NOW + 5 * DAY, NOW, service.fetch))
    assert [until - NOW for _, until in service.asked] == [HOUR + DAY, 6 * DAY]
