"""The items of one container, by logical partition for point operations and by physical partition for scans."""

from __future__ import annotations

import itertools
import json
import math
import time
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.errors import (
    PARTITION_KEY_MISMATCH,
    already_exists,
    bad_request,
    not_found,
    precondition_failed,
    too_large,
)
from fastapi_azure_pool.emulator.cosmos.partitioning import (
    HashRange,
    PartitionKey,
    PartitionKeyDefinition,
    effective_partition_key,
    split_evenly,
)
from fastapi_azure_pool.emulator.cosmos.resources import checked_id, item_rid, new_etag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# "Azure Cosmos DB service quotas": maximum size of an item, as UTF-8 JSON.
MAX_ITEM_BYTES = 2 * 1024 * 1024

Item = dict[str, Any]


class StoredItem:
    """One version of an item: the parsed document for queries, and its bytes for reads."""

    __slots__ = ("body", "document", "etag", "id", "key", "physical", "sequence")

    def __init__(
        self, name: str, key: PartitionKey, sequence: int, physical: PhysicalPartition, document: Item, etag: str
    ) -> None:
        self.id = name
        self.key = key
        self.sequence = sequence
        self.physical = physical
        self.document = document
        self.etag = etag
        self.body = dump_json(document)


class PhysicalPartition:
    """One partition key range: the items whose keys hash into it, in the order in which they were created."""

    __slots__ = ("hash_range", "id", "items", "lsn")

    def __init__(self, number: int, hash_range: HashRange) -> None:
        self.id = str(number)
        self.hash_range = hash_range
        self.items: dict[int, StoredItem] = {}
        self.lsn = 1

    @property
    def session_token(self) -> str:
        """What ``x-ms-session-token`` says after an operation here: the range, and how far its log has come."""
        return f"{self.id}:-1#{self.lsn}"


class ItemStore:
    """The items of one container; every operation is one step, with nothing awaited inside.

    Args:
        definition: The container's partition key.
        rid: The container's resource id.
        self_link: The container's ``_self``.
        partition_count: How many physical partitions there are.
    """

    def __init__(self, definition: PartitionKeyDefinition, *, rid: str, self_link: str, partition_count: int) -> None:
        self.definition = definition
        self._rid = rid
        self._self_link = self_link
        self._sequence = itertools.count(1)
        self._logical: dict[PartitionKey, dict[str, StoredItem]] = {}
        self.partitions = [
            PhysicalPartition(number, hash_range) for number, hash_range in enumerate(split_evenly(partition_count))
        ]

    def __len__(self) -> int:
        return sum(len(partition.items) for partition in self.partitions)

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

    def read(self, key: PartitionKey, name: str) -> StoredItem:
        """Return an item.

        Raises:
            CosmosError: 404.
        """
        item = self._find(key, name)
        if item is None:
            raise not_found()
        return item

    def create(self, document: Item, key: PartitionKey) -> StoredItem:
        """Store a new item.

        Raises:
            CosmosError: 400 when its key is not this one or its id is invalid, 409 when the id is taken, 413.
        """
        name = self._checked(document, key)
        if self._find(key, name) is not None:
            raise already_exists()
        return self._store(name, key, document, None)

    def upsert(self, document: Item, key: PartitionKey, if_match: str | None) -> tuple[StoredItem, bool]:
        """Store an item whether or not it is there, and say whether it is new.

        Raises:
            CosmosError: As create, and 412 when it is there with another etag.
        """
        name = self._checked(document, key)
        existing = self._find(key, name)
        if existing is not None:
            _check_etag(existing, if_match)
        return self._store(name, key, document, existing), existing is None

    def replace(self, name: str, document: Item, key: PartitionKey, if_match: str | None) -> StoredItem:
        """Store an item in the place of the one of this name; its id may change, its partition key may not.

        Raises:
            CosmosError: As create, 404, and 412 when it has another etag.
        """
        existing = self.read(key, name)
        new_name = self._checked(document, key)
        _check_etag(existing, if_match)
        if new_name != name and self._find(key, new_name) is not None:
            raise already_exists()
        return self._store(new_name, key, document, existing)

    def modify(
        self, name: str, key: PartitionKey, modification: Callable[[Item], Item], if_match: str | None
    ) -> StoredItem:
        """Store what a function makes of an item's document; it must not change the one it is given.

        Raises:
            CosmosError: As replace.
        """
        existing = self.read(key, name)
        _check_etag(existing, if_match)
        return self.replace(name, modification(existing.document), key, None)

    def delete(self, name: str, key: PartitionKey, if_match: str | None) -> StoredItem:
        """Remove an item and return it.

        Raises:
            CosmosError: 404, and 412 when it has another etag.
        """
        existing = self.read(key, name)
        _check_etag(existing, if_match)
        self._remove(existing)
        existing.physical.lsn += 1
        return existing

    def _find(self, key: PartitionKey, name: str) -> StoredItem | None:
        items = self._logical.get(key)
        return None if items is None else items.get(name)

    def _checked(self, document: Item, key: PartitionKey) -> str:
        name = checked_id(document)
        if self.definition.extract(document) != key:
            message = "PartitionKey extracted from document doesn't match the one specified in the header."
            raise bad_request(message, substatus=PARTITION_KEY_MISMATCH)
        return name

    def _store(self, name: str, key: PartitionKey, document: Item, existing: StoredItem | None) -> StoredItem:
        physical = self.partition_of(key) if existing is None else existing.physical
        sequence = next(self._sequence) if existing is None else existing.sequence
        etag = new_etag()
        rid = item_rid(self._rid, sequence)
        stamped = document | {
            "_rid": rid,
            "_self": f"{self._self_link}docs/{rid}/",
            "_etag": etag,
            "_attachments": "attachments/",
            "_ts": int(time.time()),
        }
        item = StoredItem(name, key, sequence, physical, stamped, etag)
        if len(item.body) > MAX_ITEM_BYTES:
            raise too_large()
        if existing is not None and existing.id != name:
            self._remove(existing)
        self._logical.setdefault(key, {})[name] = item
        physical.items[sequence] = item
        physical.lsn += 1
        return item

    def _remove(self, item: StoredItem) -> None:
        items = self._logical[item.key]
        del items[item.id]
        if not items:
            del self._logical[item.key]
        del item.physical.items[item.sequence]


def dump_json(value: object) -> bytes:
    """Return a value as the service writes JSON: compact, in UTF-8.

    Raises:
        CosmosError: 400, a number is beyond what JSON's readers hold.
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; JSON can still escape it
        return json.dumps(value, separators=(",", ":")).encode()
    except ValueError as error:
        raise bad_request("The input content is invalid: a number is out of range.") from error


def parse_json(text: bytes) -> Any:
    """Return the value that a request's body spells.

    Raises:
        CosmosError: 400, it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise bad_request("The input content is invalid because it is not valid JSON.") from error


def parse_object(text: bytes) -> Item:
    """Return the object that a request's body spells.

    Raises:
        CosmosError: 400, it is not JSON or not an object.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise bad_request("The input content is invalid because it is not a JSON object.")
    return value


def is_etag_current(etag: str, condition: str) -> bool:
    """Say whether an ``if-match`` or ``if-none-match`` header names this etag; quotes are optional in it."""
    return condition in {"*", etag, etag.strip('"')}


def _refuse_constant(name: str) -> object:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _check_etag(item: StoredItem, if_match: str | None) -> None:
    if if_match is not None and not is_etag_current(item.etag, if_match):
        raise precondition_failed()


def _sequence(item: StoredItem) -> int:
    return item.sequence
