"""The items of one container, by logical partition for point operations and by physical partition for scans."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import too_large
from fastapi_azure_pool.emulator.cosmos.json_values import dump_json
from fastapi_azure_pool.emulator.cosmos.partitioning import (
    HashRange,
    PartitionKey,
    PartitionKeyDefinition,
    effective_partition_key,
    split_evenly,
)
from fastapi_azure_pool.emulator.cosmos.resources import item_rid, new_etag
from fastapi_azure_pool.emulator.cosmos.time_to_live import expires_at
from fastapi_azure_pool.emulator.due import DueTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi_azure_pool.emulator.cosmos.unique_keys import UniqueKeys

# "Azure Cosmos DB service quotas": maximum size of an item, as UTF-8 JSON.
MAX_ITEM_BYTES = 2 * 1024 * 1024

Item = dict[str, Any]


class StoredItem:
    """One version of an item: the parsed document for queries, and its bytes for reads.

    Attributes:
        id: Its name, unique within its partition key.
        key: Its partition key.
        sequence: Which item of the container it is, from 1, in the order in which they were created.
        physical: Where it lies.
        document: The item with what the service adds.
        body: The same as JSON.
        etag: This version's etag.
        lsn: The log sequence number of the transaction that made this version.
        modified: When that was, in seconds since 1970.
        unique_values: What it has for each of the container's unique keys; equal texts are equal values.
    """

    __slots__ = ("body", "document", "etag", "id", "key", "lsn", "modified", "physical", "sequence", "unique_values")

    def __init__(
        self,
        name: str,
        key: PartitionKey,
        sequence: int,
        physical: PhysicalPartition,
        document: Item,
        *,
        etag: str,
        lsn: int,
        modified: float,
        unique_values: tuple[str, ...],
    ) -> None:
        self.id = name
        self.key = key
        self.sequence = sequence
        self.physical = physical
        self.document = document
        self.etag = etag
        self.lsn = lsn
        self.modified = modified
        self.unique_values = unique_values
        self.body = dump_json(document)


class PhysicalPartition:
    """One partition key range: the items whose keys hash into it, and how far its log has come.

    Attributes:
        id: Its name, as ``pkranges`` lists it.
        hash_range: The part of the hash space that it holds.
        items: Its items by their sequence, in the order in which they were created.
        lsn: The number of the last transaction that changed something.
    """

    __slots__ = ("_changes", "hash_range", "id", "items", "lsn")

    def __init__(self, number: int, hash_range: HashRange) -> None:
        self.id = str(number)
        self.hash_range = hash_range
        self.items: dict[int, StoredItem] = {}
        # the same items, in the order in which they were changed last
        self._changes: dict[int, StoredItem] = {}
        self.lsn = 1

    @property
    def session_token(self) -> str:
        """What ``x-ms-session-token`` says after an operation here: the range, and how far its log has come."""
        return f"{self.id}:-1#{self.lsn}"

    def put(self, item: StoredItem) -> None:
        """Take in a new item, or a new version of one, which keeps its place among the items."""
        self.items[item.sequence] = item
        self._changes.pop(item.sequence, None)
        self._changes[item.sequence] = item

    def remove(self, item: StoredItem) -> None:
        """Give an item up."""
        del self.items[item.sequence]
        del self._changes[item.sequence]

    def changed_since(self, lsn: int) -> list[StoredItem]:
        """Return the items that were changed after a transaction, in the order of their last changes."""
        newer = list(itertools.takewhile(lambda item: item.lsn > lsn, reversed(self._changes.values())))
        newer.reverse()
        return newer


class ItemStore:
    """The items of one container: where each is found, and the steps of which transactions are made.

    Args:
        definition: The container's partition key.
        rid: The container's resource id.
        self_link: The container's ``_self``.
        partition_count: How many physical partitions there are.
        clock: Gives the seconds since 1970.
        unique_keys: In which no two items of one partition key may agree.
    """

    def __init__(
        self,
        definition: PartitionKeyDefinition,
        *,
        rid: str,
        self_link: str,
        partition_count: int,
        clock: Callable[[], float],
        unique_keys: UniqueKeys,
    ) -> None:
        self.definition = definition
        self.unique_keys = unique_keys
        self._rid = rid
        self._self_link = self_link
        self._clock = clock
        self._sequence = itertools.count(1)
        self._logical: dict[PartitionKey, dict[str, StoredItem]] = {}
        self._default_ttl: int | None = None
        self._due: DueTimes[StoredItem] = DueTimes()
        self.partitions = [
            PhysicalPartition(number, hash_range) for number, hash_range in enumerate(split_evenly(partition_count))
        ]

    def partition_of(self, key: PartitionKey) -> PhysicalPartition:
        """Return the physical partition that a complete partition key hashes into."""
        if len(self.partitions) == 1:
            return self.partitions[0]
        place = self.place_of(key)
        return next(partition for partition in self.partitions if partition.hash_range.holds(place))

    def place_of(self, key: PartitionKey) -> str:
        """Return where in the hash space a partition key, or the beginning of a hierarchical one, lies."""
        return effective_partition_key(key, is_hierarchical=self.definition.is_hierarchical)

    def in_logical_partition(self, key: PartitionKey) -> Iterator[StoredItem]:
        """Yield one partition key's items, oldest first."""
        items = self._logical.get(key)
        return iter(()) if items is None else iter(sorted(items.values(), key=_sequence))

    def find(self, key: PartitionKey, name: str) -> StoredItem | None:
        """Return an item, or None."""
        items = self._logical.get(key)
        return None if items is None else items.get(name)

    def version(
        self, name: str, key: PartitionKey, document: Item, previous: StoredItem | None, *, lsn: int
    ) -> StoredItem:
        """Return the next version of an item, or a new item's first, with what the service adds; it is not stored yet.

        Raises:
            CosmosError: 413, it is too large.
        """
        physical = self.partition_of(key) if previous is None else previous.physical
        sequence = next(self._sequence) if previous is None else previous.sequence
        etag = new_etag()
        rid = item_rid(self._rid, sequence)
        modified = self._clock()
        stamped = document | {
            "_rid": rid,
            "_self": f"{self._self_link}docs/{rid}/",
            "_etag": etag,
            "_attachments": "attachments/",
            "_ts": int(modified),
        }
        item = StoredItem(
            name,
            key,
            sequence,
            physical,
            stamped,
            etag=etag,
            lsn=lsn,
            modified=modified,
            unique_values=self.unique_keys.values(stamped),
        )
        if len(item.body) > MAX_ITEM_BYTES:
            raise too_large()
        return item

    def put(self, item: StoredItem, previous: StoredItem | None) -> None:
        """Store a version, in the place of the previous one when there is one."""
        if previous is not None:
            self._due.discard(previous)
            if previous.id != item.id:
                del self._logical[item.key][previous.id]
        self._logical.setdefault(item.key, {})[item.id] = item
        item.physical.put(item)
        self._schedule(item)

    def remove(self, item: StoredItem) -> None:
        """Give up an item that is stored."""
        self._due.discard(item)
        items = self._logical[item.key]
        del items[item.id]
        if not items:
            del self._logical[item.key]
        item.physical.remove(item)

    def set_default_ttl(self, default_ttl: int | None) -> None:
        """Let items expire from now on as the container's ``defaultTtl`` says, those too that are there already."""
        self._default_ttl = default_ttl
        self._due = DueTimes()
        for partition in self.partitions:
            for item in partition.items.values():
                self._schedule(item)

    def expire(self) -> None:
        """Remove the items whose time has passed; without it, they would be found still."""
        for item in self._due.pop_due(self._clock()):
            self.remove(item)
            item.physical.lsn += 1

    def _schedule(self, item: StoredItem) -> None:
        when = expires_at(item.document, item.modified, self._default_ttl)
        if when < math.inf:
            self._due.add(when, item)


def _sequence(item: StoredItem) -> int:
    return item.sequence
