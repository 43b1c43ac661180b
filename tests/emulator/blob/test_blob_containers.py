"""Containers and lists of blobs, as the official SDK meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobPrefix

from tests.emulator.blob.blob_sdk import Http, refused

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

    from fastapi_azure_pool.emulator import Emulator


async def test_container_is_made_described_and_deleted(azure: Emulator, service: BlobServiceClient) -> None:
    """A container has properties and metadata while it is there, and its blobs go with it."""
    container = await service.create_container("receipts", metadata={"Owner": "ada"})
    assert await container.exists()
    properties = await container.get_container_properties()
    assert (properties.name, properties.metadata) == ("receipts", {"Owner": "ada"})
    assert (properties.lease.state, properties.has_legal_hold) == ("available", False)
    await container.set_container_metadata({"owner": "bob"})
    changed = await container.get_container_properties()
    assert changed.metadata == {"owner": "bob"}
    assert changed.etag != properties.etag
    await container.upload_blob("1", b"")
    with refused(409, "ContainerAlreadyExists") as caught:
        await container.create_container()
    assert isinstance(caught.value, ResourceExistsError)
    await container.delete_container()
    assert not await container.exists()
    with refused(404, "ContainerNotFound"):
        await container.delete_container()
    with pytest.raises(ValueError, match="no blob container called 'receipts'"):
        azure.blobs("receipts")


async def test_containers_are_listed_by_name(service: BlobServiceClient) -> None:
    """The list has those with the prefix, page by page, with metadata where asked for."""
    for name in ("b2", "b1", "a1"):
        await service.create_container(f"{name}-x", metadata={"name": name})
    assert [one.name async for one in service.list_containers()] == ["a1-x", "b1-x", "b2-x", "invoices"]
    pages = service.list_containers(name_starts_with="b", include_metadata=True, results_per_page=1).by_page()
    found = [[(one.name, one.metadata) async for one in page] async for page in pages]
    assert found == [[("b1-x", {"name": "b1"})], [("b2-x", {"name": "b2"})]]


@pytest.mark.parametrize("name", ["ab", "Invoices", "a--b", "-ab", "ab-", "a_b", "a" * 64])
async def test_container_has_a_proper_name(azure: Emulator, service: BlobServiceClient, name: str) -> None:
    """Names that Azure refuses are refused, of the SDK and of the emulator's owner."""
    with refused(400, "InvalidResourceName"):
        await service.create_container(name)
    with pytest.raises(ValueError, match="3 to 63 lower-case letters"):
        await azure.create_blob_container(name)


async def test_containers_name_is_taken_once(azure: Emulator) -> None:
    """The emulator's owner cannot make a container twice."""
    with pytest.raises(ValueError, match="a blob container called 'invoices' already"):
        await azure.create_blob_container("invoices")


async def test_container_cannot_be_public(service: BlobServiceClient) -> None:
    """Public access is refused, as it is for accounts that do not allow it."""
    with refused(409, "PublicAccessNotPermitted"):
        await service.create_container("open", public_access="blob")


async def test_access_policies_are_none_and_cannot_be_set(invoices: ContainerClient) -> None:
    """A container has no stored access policies, and to set one is clearly refused."""
    assert (await invoices.get_container_access_policy())["signed_identifiers"] == []
    with refused(501, "NotImplemented"):
        await invoices.set_container_access_policy({})


async def names(blobs: Any) -> list[str]:
    """Return the names in a list of blobs, in order, those of prefixes with an asterisk."""
    return sorted([one.name + "*" * isinstance(one, BlobPrefix) async for one in blobs])


async def test_blobs_are_listed_by_prefix_and_level(invoices: ContainerClient) -> None:
    """A list has the names with a prefix; one by levels has what is deeper under its prefix once."""
    for name in ("2025/1", "2026/1/a", "2026/1/b", "2026/2", "2026", "note"):
        await invoices.upload_blob(name, b"x")
    assert await names(invoices.list_blobs()) == ["2025/1", "2026", "2026/1/a", "2026/1/b", "2026/2", "note"]
    assert await names(invoices.list_blobs("2026/1")) == ["2026/1/a", "2026/1/b"]
    assert await names(invoices.walk_blobs()) == ["2025/*", "2026", "2026/*", "note"]
    assert await names(invoices.walk_blobs("2026/")) == ["2026/1/*", "2026/2"]
    assert await names(invoices.walk_blobs("2026", delimiter="1")) == ["2026", "2026/1*", "2026/2"]
    assert await names(invoices.list_blobs("none")) == []


async def test_blobs_are_listed_page_by_page(azure: Emulator, invoices: ContainerClient) -> None:
    """Pages follow each other without a gap or a repetition, also by levels and when a blob goes in between."""
    for number in range(7):
        await invoices.upload_blob(f"{number}/a", b"")
        await invoices.upload_blob(f"{number}/b", b"")
    pages = invoices.walk_blobs(results_per_page=3).by_page()
    assert [[one.name async for one in page] async for page in pages] == [
        ["0/", "1/", "2/"],
        ["3/", "4/", "5/"],
        ["6/"],
    ]
    pages = invoices.list_blobs(results_per_page=9).by_page()
    first = [one.name async for one in await anext(pages)]
    await invoices.delete_blob("4/b")
    assert (first[-1], [one.name async for one in await anext(pages)]) == ("4/a", ["5/a", "5/b", "6/a", "6/b"])
    assert azure.blob_requests.count("GET") == 5


async def test_listed_blob_has_its_properties(invoices: ContainerClient) -> None:
    """A listed blob tells what it would tell itself; its metadata, and blocks that wait, only where asked for."""
    blob = await invoices.upload_blob("1", b"one", metadata={"Name": "<&>"})
    await invoices.get_blob_client("2").stage_block("a", b"x")
    told = await blob.get_blob_properties()
    (listed,) = [one async for one in invoices.list_blobs()]
    assert (listed.etag, listed.size, listed.blob_type) == (told.etag.strip('"'), 3, "BlockBlob")
    assert (listed.last_modified, listed.creation_time) == (told.last_modified, told.creation_time)
    assert listed.content_settings.content_md5 == told.content_settings.content_md5
    assert (listed.metadata, listed.blob_tier) == ({}, "Hot")
    with_all = [one async for one in invoices.list_blobs(include=["metadata", "uncommittedblobs", "snapshots", "copy"])]
    assert [(one.name, one.metadata, one.size) for one in with_all] == [("1", {"Name": "<&>"}, 3), ("2", {}, 0)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("maxresults=0", (400, "OutOfRangeQueryParameterValue")),
        ("maxresults=-3", (400, "OutOfRangeQueryParameterValue")),
        ("maxresults=--3", (400, "InvalidQueryParameterValue")),
        ("maxresults=many", (400, "InvalidQueryParameterValue")),
        ("maxresults=" + "9" * 99, (400, "InvalidQueryParameterValue")),
        ("maxresults=9999", (200, "")),
        ("include=everything", (400, "InvalidQueryParameterValue")),
        ("marker=a", (400, "InvalidQueryParameterValue")),
        ("marker=%FF", (400, "InvalidQueryParameterValue")),
        ("prefix=%FF%00&delimiter=%00", (200, "")),
        ("showonly=files", (501, "NotImplemented")),
    ],
)
async def test_list_that_cannot_be_is_refused(http: Http, query: str, expected: tuple[int, str]) -> None:
    """What a list is asked for is checked."""
    assert await http.send("GET", "/invoices", f"restype=container&comp=list&{query}") == expected
