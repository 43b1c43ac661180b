"""Shared access signatures, as the official SDK makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from azure.storage.blob import (
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import BlobClient

from tests.emulator.blob.blob_sdk import FixedToken, connect, refused, soon

if TYPE_CHECKING:
    from datetime import datetime

    from azure.storage.blob import UserDelegationKey
    from azure.storage.blob.aio import ContainerClient

    from fastapi_azure_pool.emulator import Emulator


def sas_of_account(azure: Emulator, **options: Any) -> str:
    """Return an account's signature, which allows everything for an hour unless told otherwise."""
    everything: dict[str, Any] = {"resource_types": "sco", "permission": "rwdlac", "expiry": soon()}
    return generate_account_sas(azure.storage_account, azure.storage_key, **(everything | options))


def sas_of_container(azure: Emulator, **options: Any) -> str:
    """Return a signature for invoices, likewise."""
    everything: dict[str, Any] = {"permission": "rwdlac", "expiry": soon(), "account_key": azure.storage_key}
    return generate_container_sas(azure.storage_account, "invoices", **(everything | options))


def sas_of_blob(azure: Emulator, name: str = "1", **options: Any) -> str:
    """Return a signature for one blob of invoices, likewise."""
    everything: dict[str, Any] = {"permission": "rwdac", "expiry": soon(), "account_key": azure.storage_key}
    return generate_blob_sas(azure.storage_account, "invoices", name, **(everything | options))


async def read(azure: Emulator, sas: str, name: str = "1") -> bytes:
    """Download a blob of invoices with a signature."""
    async with BlobClient.from_blob_url(
        f"{azure.blob_endpoint}/invoices/{name}?{sas}", retry_total=0, connection_verify=False
    ) as blob:
        return await (await blob.download_blob()).readall()


async def test_each_kind_of_signature_opens_what_it_is_for(azure: Emulator, invoices: ContainerClient) -> None:
    """A signature for the account, the container or the blob reads the blob; one for another blob does not."""
    await invoices.upload_blob("1", b"one")
    await invoices.upload_blob("a b/ä", b"two")
    for sas in (sas_of_account(azure), sas_of_container(azure), sas_of_blob(azure)):
        assert await read(azure, sas) == b"one"
    assert await read(azure, sas_of_blob(azure, "a b/ä"), "a%20b/%C3%A4") == b"two"
    with refused(403, "AuthenticationFailed") as caught:
        await read(azure, sas_of_blob(azure, "2"))
    assert "Signature did not match" in str(caught.value)


async def test_signatures_period_counts(azure: Emulator, invoices: ContainerClient) -> None:
    """Before its start and after its expiry a signature opens nothing."""
    await invoices.upload_blob("1", b"one")
    for make in (sas_of_account, sas_of_container, sas_of_blob):
        assert await read(azure, make(azure, start=soon(-1))) == b"one"
        periods: list[dict[str, Any]] = [{"expiry": soon(-1)}, {"start": soon(1)}]
        for period in periods:
            with refused(403, "AuthenticationFailed") as caught:
                await read(azure, make(azure, **period))
            assert "not valid in the specified time frame" in str(caught.value)


async def test_signatures_fields_cannot_be_changed(azure: Emulator, invoices: ContainerClient) -> None:
    """A signature whose permissions, expiry or mark was changed, or that another key made, is refused."""
    await invoices.upload_blob("1", b"one")
    other = sas_of_blob(azure, account_key="a2V5")
    good = sas_of_blob(azure, permission="r")
    for sas in (other, good.replace("sp=r", "sp=rw"), good.replace("se=2", "se=3"), good.replace("sr=b", "sr=c")):
        with refused(403, "AuthenticationFailed"):
            await read(azure, sas)


async def test_permissions_are_kept_apart(azure: Emulator, invoices: ContainerClient) -> None:
    """Each operation needs its own permission, with each kind of signature."""
    await invoices.upload_blob("1", b"one")
    for make in (sas_of_account, sas_of_container):
        async with connect(azure, make(azure, permission="r")) as service:
            container = service.get_container_client("invoices")
            assert await (await container.download_blob("1")).readall() == b"one"
            with refused(403, "AuthorizationPermissionMismatch"):
                await container.upload_blob("1", b"two", overwrite=True)
            with refused(403, "AuthorizationPermissionMismatch"):
                await container.delete_blob("1")
            with refused(403, "AuthorizationPermissionMismatch"):
                await container.get_blob_client("1").set_blob_metadata({})
            with refused(403, "AuthorizationPermissionMismatch"):
                await anext(aiter(container.list_blobs()))
        async with connect(azure, make(azure, permission="l")) as service:
            container = service.get_container_client("invoices")
            assert [blob.name async for blob in container.list_blobs()] == ["1"]
            with refused(403, "AuthorizationPermissionMismatch"):
                await container.download_blob("1")


async def test_who_may_create_may_not_overwrite(azure: Emulator, invoices: ContainerClient) -> None:
    """The permission to create makes a new blob and leaves one that is there alone; that to write does both."""
    await invoices.upload_blob("old", b"old")
    async with connect(azure, sas_of_container(azure, permission="c")) as service:
        container = service.get_container_client("invoices")
        await container.upload_blob("new", b"new", overwrite=True)
        with refused(403, "AuthorizationPermissionMismatch"):
            await container.upload_blob("old", b"new", overwrite=True)
    async with connect(azure, sas_of_container(azure, permission="w")) as service:
        await service.get_container_client("invoices").upload_blob("old", b"newer", overwrite=True)
    assert [blob.content for blob in azure.blobs("invoices")] == [b"new", b"newer"]


async def test_signature_reaches_no_further_than_its_resource(azure: Emulator, invoices: ContainerClient) -> None:
    """A blob's signature lists nothing, a container's makes no container, an account's is for the kinds that it names."""
    await invoices.upload_blob("1", b"one")
    async with connect(azure, sas_of_container(azure)) as service:
        with refused(403, "AuthorizationResourceTypeMismatch"):
            await service.get_container_client("invoices").get_container_properties()
        with refused(403, "AuthorizationResourceTypeMismatch"):
            await service.get_container_client("invoices").delete_container()
        with refused(403, "AuthenticationFailed"):
            await service.create_container("other")
    async with connect(azure, sas_of_blob(azure)) as service:
        with refused(403, "AuthenticationFailed"):
            await anext(aiter(service.get_container_client("invoices").list_blobs()))
    async with connect(azure, sas_of_account(azure, resource_types=ResourceTypes(object=True))) as service:
        assert await service.get_blob_client("invoices", "1").exists()
        with refused(403, "AuthorizationResourceTypeMismatch"):
            await service.create_container("other")
        with refused(403, "AuthorizationResourceTypeMismatch"):
            await anext(aiter(service.list_containers()))
    with refused(403, "AuthorizationServiceMismatch"):
        await read(azure, sas_of_account(azure, services="q"))


async def test_origin_and_protocol_are_checked(azure: Emulator, invoices: ContainerClient) -> None:
    """A signature for https, or for other addresses, does not open the account over http from loopback."""
    await invoices.upload_blob("1", b"one")
    with refused(403, "AuthorizationProtocolMismatch"):
        await read(azure, sas_of_blob(azure, protocol="https"))
    assert await read(azure, sas_of_blob(azure, protocol="https,http", ip="127.0.0.0-127.0.0.9")) == b"one"
    for address in ("10.0.0.1", "127.0.0.2-127.0.0.9", "nowhere"):
        with refused(403, "AuthorizationSourceIPMismatch"):
            await read(azure, sas_of_blob(azure, ip=address))


async def test_signature_replaces_headers_of_the_answer(azure: Emulator, invoices: ContainerClient) -> None:
    """A signature can say how the browser shall take the blob."""
    await invoices.upload_blob("1", b"one")
    sas = sas_of_blob(azure, content_type="text/plain", content_disposition="attachment; filename=1.txt")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{azure.blob_endpoint}/invoices/1?{sas}") as response,
    ):
        assert response.headers["content-type"] == "text/plain"
        assert response.headers["content-disposition"] == "attachment; filename=1.txt"


@pytest.mark.parametrize(
    "query",
    [
        "sig=abc",
        "sig=abc&sv=2099-01-01",
        "sig=&sv=2021-12-02&sr=b&sp=r&se=soon",
        "sig=%FF&sv=2021-12-02&ss=b&srt=o&sp=r&se=2999-01-01",
        "sig=abc&sv=2021-12-02&sr=b&skoid=a&skt=b&ske=c",
        "sig=abc&sv=2015-04-05&sr=b&sp=r&se=2999-01-01",
        "sig=abc&sv=2021-12-02&sr=b&si=policy",
    ],
)
async def test_malformed_signature_is_refused(azure: Emulator, query: str) -> None:
    """What is no signature gets 403, never an error of the server's own."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{azure.blob_endpoint}/invoices/1?{query}") as response,
    ):
        assert (response.status, response.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")


@pytest.fixture
async def delegated(secure: Emulator) -> UserDelegationKey:
    """A user delegation key that is good for an hour."""
    async with connect(secure, FixedToken(secure.issue_token("https://storage.azure.com"))) as service:
        return await service.get_user_delegation_key(soon(-5), soon())


async def test_user_delegation_key_signs(secure: Emulator, delegated: UserDelegationKey) -> None:
    """Who shows a token gets a key, and what it signs opens a container or blob as far as it says."""
    async with connect(secure) as service:
        await service.get_container_client("invoices").upload_blob("1", b"one")
    options: dict[str, Any] = {"account_key": None, "user_delegation_key": delegated}
    for sas in (sas_of_blob(secure, **options), sas_of_container(secure, **options)):
        assert await read(secure, sas) == b"one"
    async with connect(secure, sas_of_container(secure, permission="l", **options)) as service:
        with refused(403, "AuthorizationPermissionMismatch"):
            await service.get_container_client("invoices").download_blob("1")


async def test_user_delegation_key_is_checked(secure: Emulator, delegated: UserDelegationKey) -> None:
    """A key that was given another period signs nothing, and the answer does not show the key."""
    delegated.signed_expiry = "2099-01-01T00:00:00Z"
    with refused(403, "AuthenticationFailed") as caught:
        await read(secure, sas_of_blob(secure, account_key=None, user_delegation_key=delegated))
    assert "Signature did not match" in str(caught.value)
    assert str(delegated.value) not in str(caught.value)


async def test_signature_ends_with_its_user_delegation_key(secure: Emulator, delegated: UserDelegationKey) -> None:
    """A signature may name a later end than its key's; it is good until the key's, and before the key's start not yet."""
    async with connect(secure) as service:
        await service.get_container_client("invoices").upload_blob("1", b"one")
    options: dict[str, Any] = {"account_key": None, "user_delegation_key": delegated, "expiry": soon(90)}
    assert await read(secure, sas_of_blob(secure, **options)) == b"one"
    access = secure._storage.service._authorization.shared_access
    for start, end in ((soon(-60), soon(-1)), (soon(1), soon(60))):
        delegated.signed_start, delegated.signed_expiry = (f"{one:%Y-%m-%dT%H:%M:%SZ}" for one in (start, end))
        fields = {
            "skoid": delegated.signed_oid,
            "sktid": delegated.signed_tid,
            "skt": delegated.signed_start,
            "ske": delegated.signed_expiry,
            "sks": delegated.signed_service,
            "skv": delegated.signed_version,
        }
        delegated.value = access.delegation_key({name: str(value) for name, value in fields.items()})
        with refused(403, "AuthenticationFailed") as caught:
            await read(secure, sas_of_blob(secure, **options))
        assert "User delegation key not valid" in str(caught.value)


@pytest.mark.parametrize(
    ("start", "expiry"),
    [(soon(0), soon(60 * 24 * 8)), (soon(-60), soon(-30)), (soon(30), soon(20))],
)
async def test_user_delegation_key_lives_for_a_week_at_most(
    secure: Emulator, start: datetime, expiry: datetime
) -> None:
    """A period beyond seven days, in the past, or the wrong way round, is refused."""
    async with connect(secure, FixedToken(secure.issue_token("https://storage.azure.com"))) as service:
        with refused(400, "InvalidXmlNodeValue"):
            await service.get_user_delegation_key(start, expiry)


async def test_user_delegation_key_needs_a_token(azure: Emulator) -> None:
    """Neither the account's key nor a signature gets a user delegation key."""
    async with connect(azure) as service:
        with refused(403, "AuthenticationFailed"):
            await service.get_user_delegation_key(soon(-5), soon())
