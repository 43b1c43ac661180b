"""Which of a container's items a request is about, as its headers say: one partition key, a range of the hash space, or all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import (
    COLLECTION_RID_MISMATCH,
    PARTITION_KEY_MISMATCH,
    PARTITION_KEY_RANGE_GONE,
    CosmosError,
    bad_request,
)
from fastapi_azure_pool.emulator.cosmos.partitioning import WHOLE_RANGE, HashRange, PartitionKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi_azure_pool.emulator.cosmos.account import Container
    from fastapi_azure_pool.emulator.cosmos.items import ItemStore, PhysicalPartition, StoredItem


@dataclass(frozen=True, slots=True)
class Scope:
    """What a query or a feed runs over.

    Attributes:
        partitions: The physical partitions, at least one.
        key: The only partition key of interest, or None.
        within: The part of the hash space of interest.
    """

    items: ItemStore
    partitions: list[PhysicalPartition]
    key: PartitionKey | None = None
    within: HashRange = WHOLE_RANGE

    def scan(self, partition: PhysicalPartition) -> Iterable[StoredItem]:
        """Return what is of interest in one of the partitions, in the order in which it was created."""
        if self.key is not None:
            return self.items.in_logical_partition(self.key)
        return self.select(partition.items.values())

    def select(self, items: Iterable[StoredItem]) -> Iterable[StoredItem]:
        """Return those of interest among some items of its partitions."""
        if self.key is not None:
            return (item for item in items if item.key == self.key)
        if self.within == WHOLE_RANGE:
            return items
        return (item for item in items if self.within.holds(self.items.place_of(item.key)))


def feed_scope(headers: Mapping[str, str], container: Container) -> Scope:
    """Return what a query or a feed runs over.

    Raises:
        CosmosError: 400, the partition key is invalid; 410, there is no such partition key range.
    """
    items = container.items
    header = headers.get("x-ms-documentdb-partitionkey")
    if header is not None:
        key = items.definition.parse_header(header)
        if len(key) == len(items.definition.paths):
            return Scope(items, [items.partition_of(key)], key)
        if not key:
            raise bad_request(f"Partition key {header} is invalid.", substatus=PARTITION_KEY_MISMATCH)
        # the beginning of a hierarchical key: all that hash to places that begin alike
        place = items.place_of(key)
        return Scope(items, items.partitions, within=HashRange(place, place + "FF"))
    partitions = items.partitions
    range_id = headers.get("x-ms-documentdb-partitionkeyrangeid")
    if range_id is not None:
        partitions = [partition for partition in partitions if partition.id == range_id]
        if not partitions:
            message = f"The requested partition key range {range_id} is gone."
            raise CosmosError(410, message, substatus=PARTITION_KEY_RANGE_GONE)
    within = HashRange(
        headers.get("x-ms-start-epk", WHOLE_RANGE.minimum), headers.get("x-ms-end-epk", WHOLE_RANGE.maximum)
    )
    return Scope(items, partitions, within=within)


def required_key(headers: Mapping[str, str], container: Container) -> PartitionKey:
    """Return the partition key that a request for one partition key names.

    Raises:
        CosmosError: 400, it is missing, invalid, or only the beginning of a hierarchical one.
    """
    header = headers.get("x-ms-documentdb-partitionkey")
    if header is None:
        raise bad_request("PartitionKey value must be supplied for this operation.")
    key = container.items.definition.parse_header(header)
    if len(key) != len(container.items.definition.paths):
        message = (
            "Partition key provided either doesn't correspond to definition in the collection or doesn't match partition key "
            "field values specified in the document."
        )
        raise bad_request(message, substatus=PARTITION_KEY_MISMATCH)
    return key


def key_of(headers: Mapping[str, str], container: Container, document: dict[str, Any]) -> PartitionKey:
    """Return the partition key of a request that sends a document.

    Raises:
        CosmosError: 400, as required_key.
    """
    if "x-ms-documentdb-partitionkey" not in headers:
        # as the gateway does for clients that leave the header out, with what it finds in the body
        return container.items.definition.extract(document)
    return required_key(headers, container)


def check_container(headers: Mapping[str, str], container: Container) -> None:
    """Let a request pass whose client does not take the container for one that was deleted and made again since.

    Raises:
        CosmosError: 400 with sub-status 1024.
    """
    intended = headers.get("x-ms-cosmos-intended-collection-rid")
    if intended is not None and intended != container.rid:
        raise CosmosError(400, "Collection rid does not match the intended one.", substatus=COLLECTION_RID_MISMATCH)
