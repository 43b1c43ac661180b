"""The emulator beside servers that others wrote: where they differ is known, and who is right."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator import Emulator
from tests.judges import blob_operations, cosmos_operations
from tests.judges.blob_differences import BLOB_DIFFERENCES
from tests.judges.comparing import Difference, Outcomes, observe, told
from tests.judges.cosmos_differences import COSMOS_DIFFERENCES
from tests.judges.page import PAGE, page
from tests.judges.servers import CosmosServer, StorageServer

if TYPE_CHECKING:
    from collections.abc import Sequence


async def test_blob_storage_differs_from_azurite_only_as_is_known(azurite: StorageServer) -> None:
    """A script of Blob Storage requests gets the same answers from the emulator and from Azurite, but for the table's."""
    async with Emulator() as azure:
        servers = (StorageServer.of_emulator(azure), azurite)
        emulator, judge = await asyncio.gather(*map(blob_operations.outcomes, servers))
    assert observe(emulator, judge) == told(BLOB_DIFFERENCES)


async def test_cosmos_differs_from_cosmosdb_server_only_as_is_known(cosmosdb_server: CosmosServer) -> None:
    """Operations of the SDK and queries have the same outcome on the emulator and on cosmosdb-server, but for the table's."""
    async with Emulator() as azure:
        servers = (CosmosServer.of_emulator(azure), cosmosdb_server)
        emulator, judge = await asyncio.gather(*map(cosmos_operations.outcomes, servers))
    assert observe(emulator, judge) == told(COSMOS_DIFFERENCES)


@pytest.mark.parametrize("known", [BLOB_DIFFERENCES, COSMOS_DIFFERENCES], ids=["blob", "cosmos"])
def test_nothing_in_the_tables_is_against_microsoft(known: Sequence[Difference]) -> None:
    """Where Microsoft decides between two answers the emulator's is Azure's, and each row says why and where it is written."""
    for difference in known:
        assert difference.like_azure != "judge", difference
        assert difference.reason, difference
        assert difference.source.startswith("https://"), difference
        assert difference.emulator != difference.judge, difference
    names = [name for difference in known for name in difference.operations]
    assert len(names) == len(set(names))


def test_the_page_shows_the_tables() -> None:
    """The documentation's page of differences is what the tables say; ``python -m tests.judges.page`` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_each_operation_has_a_name_of_its_own() -> None:
    """No request's answer hides another's, and no operation's outcome another's."""
    requests = [request.name for request in blob_operations.REQUESTS]
    operations = [*cosmos_operations.MANAGEMENT, *cosmos_operations.CHANGES, *cosmos_operations.READS]
    for names in (requests, operations):
        assert len(names) == len(set(names))


SAME: Outcomes = {"read": {"status": "200", "etag": "1"}}


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        (SAME, {}),
        ({"read": {"status": "200", "etag": "2"}}, {"read": ("etag: 1", "etag: 2")}),
        ({"read": {"status": "200"}}, {"read": ("etag: 1", "etag: absent")}),
        ({"read": {"status": "200", "etag": "1", "body": ""}}, {"read": ("body: absent", "body: empty")}),
        ({"read": {"status": "404", "body": "x"}}, {"read": ("200", "404")}),
    ],
)
def test_what_counts_as_a_difference(judge: Outcomes, expected: dict[str, tuple[str, str]]) -> None:
    """Every aspect that differs, or that only one has, is told; another status stands for all that comes with it."""
    assert observe(SAME, judge) == expected
