"""Transactions: operations on the items of one partition key that see each other's effects and are stored together or not at all.

A request for one item is a transaction of one operation. Nothing is awaited between its beginning and its end, so that no other
can come between.

Source: "Transactional batch operations in Azure Cosmos DB".
"""

from __future__ import annotations

from operator import eq
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.cosmos.errors import (
    PARTITION_KEY_MISMATCH,
    already_exists,
    bad_request,
    not_found,
    not_unique,
)
from fastapi_azure_pool.emulator.cosmos.preconditions import UNCONDITIONAL, Preconditions
from fastapi_azure_pool.emulator.cosmos.resources import checked_item_id
from fastapi_azure_pool.emulator.cosmos.time_to_live import check_item_ttl

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.cosmos.items import Item, ItemStore, StoredItem
    from fastapi_azure_pool.emulator.cosmos.partitioning import PartitionKey


class Transaction:
    """One transaction on a container's items. Each operation checks and plans; only ``commit`` changes what is stored.

    Args:
        items: The container's items.
        key: The partition key of every item that it touches.

    Attributes:
        key: The same.
        partition: The physical partition, whose log it appends to.
    """

    __slots__ = ("_items", "_lsn", "_names", "_steps", "key", "partition")

    def __init__(self, items: ItemStore, key: PartitionKey) -> None:
        self.key = key
        self.partition = items.partition_of(key)
        self._items = items
        self._lsn = self.partition.lsn + 1
        # what has become of a name so far, None when it was deleted
        self._names: dict[str, StoredItem | None] = {}
        # (the new version or None, the old version or None)
        self._steps: list[tuple[StoredItem | None, StoredItem | None]] = []

    def read(self, name: str) -> StoredItem:
        """Return an item.

        Raises:
            CosmosError: 404.
        """
        item = self._find(name)
        if item is None:
            raise not_found()
        return item

    def create(self, document: Item) -> StoredItem:
        """Store a new item.

        Raises:
            CosmosError: 400 when its key is not this one or its id or ttl is invalid, 409 when the id is taken, 413.
        """
        name = self._checked(document)
        if self._find(name) is not None:
            raise already_exists()
        return self._put(name, document, None)

    def upsert(self, document: Item, preconditions: Preconditions = UNCONDITIONAL) -> tuple[StoredItem, bool]:
        """Store an item whether or not it is there, and say whether it is new.

        Raises:
            CosmosError: As create but for 409, and 412 when it is there and the preconditions say that it must not be so.
        """
        name = self._checked(document)
        existing = self._find(name)
        if existing is not None:
            preconditions.check_write(existing.etag)
        return self._put(name, document, existing), existing is None

    def replace(self, name: str, document: Item, preconditions: Preconditions = UNCONDITIONAL) -> StoredItem:
        """Store an item in the place of the one of this name; its id may change, its partition key may not.

        Raises:
            CosmosError: As create, 404, and 412.
        """
        existing = self.read(name)
        new_name = self._checked(document)
        preconditions.check_write(existing.etag)
        if new_name != name and self._find(new_name) is not None:
            raise already_exists()
        return self._put(new_name, document, existing)

    def modify(
        self, name: str, modification: Callable[[StoredItem], Item], preconditions: Preconditions = UNCONDITIONAL
    ) -> StoredItem:
        """Store what a function makes of an item; it must not change the document that it is given.

        Raises:
            CosmosError: As replace, and what the function raises.
        """
        existing = self.read(name)
        preconditions.check_write(existing.etag)
        return self.replace(name, modification(existing))

    def delete(self, name: str, preconditions: Preconditions = UNCONDITIONAL) -> None:
        """Remove an item.

        Raises:
            CosmosError: 404, and 412.
        """
        existing = self.read(name)
        preconditions.check_write(existing.etag)
        self._steps.append((None, existing))
        self._names[name] = None

    def commit(self) -> None:
        """Do what was planned, as one entry of the partition's log; without a write there is none."""
        if not self._steps:
            return
        for item, previous in self._steps:
            if item is not None:
                self._items.put(item, previous)
            elif previous is not None:
                self._items.remove(previous)
        self.partition.lsn = self._lsn

    def _find(self, name: str) -> StoredItem | None:
        return self._names[name] if name in self._names else self._items.find(self.key, name)

    def _checked(self, document: Item) -> str:
        name = checked_item_id(document)
        if self._items.definition.extract(document) != self.key:
            message = "PartitionKey extracted from document doesn't match the one specified in the header."
            raise bad_request(message, substatus=PARTITION_KEY_MISMATCH)
        check_item_ttl(document)
        return name

    def _check_unique(self, item: StoredItem, existing: StoredItem | None) -> None:
        if not item.unique_values:
            return
        untouched = (other for other in self._items.in_logical_partition(self.key) if other.id not in self._names)
        for other in (*untouched, *self._names.values()):
            if other is None or other is existing:
                continue
            if any(map(eq, item.unique_values, other.unique_values)):
                raise not_unique()

    def _put(self, name: str, document: Item, existing: StoredItem | None) -> StoredItem:
        item = self._items.version(name, self.key, document, existing, lsn=self._lsn)
        self._check_unique(item, existing)
        if existing is not None and existing.id != name:
            self._names[existing.id] = None
        self._steps.append((item, existing))
        self._names[name] = item
        return item
