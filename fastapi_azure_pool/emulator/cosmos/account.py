"""One Cosmos DB account in memory: its databases, their containers, and what their properties say."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi_azure_pool.emulator.cosmos.errors import already_exists, bad_request
from fastapi_azure_pool.emulator.cosmos.items import ItemStore
from fastapi_azure_pool.emulator.cosmos.partitioning import PartitionKeyDefinition
from fastapi_azure_pool.emulator.cosmos.query.indexing import parse_composite_indexes
from fastapi_azure_pool.emulator.cosmos.resources import checked_id, container_rid, database_rid, new_etag, range_rid
from fastapi_azure_pool.emulator.cosmos.time_to_live import parse_default_ttl
from fastapi_azure_pool.emulator.cosmos.unique_keys import UniqueKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.cosmos.preconditions import Preconditions

Properties = dict[str, Any]

_DEFAULT_INDEXING_POLICY = {
    "indexingMode": "consistent",
    "automatic": True,
    "includedPaths": [{"path": "/*"}],
    "excludedPaths": [{"path": '/"_etag"/?'}],
}
_DEFAULT_CONFLICT_RESOLUTION = {
    "mode": "LastWriterWins",
    "conflictResolutionPath": "/_ts",
    "conflictResolutionProcedure": "",
}


class Container:
    """One container: its properties and its items.

    Attributes:
        path: ``dbs/{database}/colls/{container}``, in the characters that a header may have.
    """

    __slots__ = ("_clock", "composite_indexes", "id", "items", "path", "properties", "rid")

    def __init__(self, database: Database, properties: Properties, rid: str, partition_count: int) -> None:
        self.id = checked_id(properties)
        self.rid = rid
        definition = PartitionKeyDefinition.parse(properties.get("partitionKey"))
        self.path = quote(f"dbs/{database.id}/colls/{self.id}")
        self._clock = database.clock
        self_link = f"{database.properties['_self']}colls/{rid}/"
        self.items = ItemStore(
            definition,
            rid=rid,
            self_link=self_link,
            partition_count=partition_count,
            clock=self._clock,
            unique_keys=UniqueKeys.parse(properties.get("uniqueKeyPolicy")),
        )
        self.items.set_default_ttl(parse_default_ttl(properties))
        self.properties: Properties = {
            "indexingPolicy": dict(_DEFAULT_INDEXING_POLICY),
            "conflictResolutionPolicy": dict(_DEFAULT_CONFLICT_RESOLUTION),
            "geospatialConfig": {"type": "Geography"},
            **properties,
            # the keys are hashed as version 2 does, whatever was asked for
            "partitionKey": {"kind": "Hash", **properties["partitionKey"], "version": 2},
            "_rid": rid,
            "_self": self_link,
            "_docs": "docs/",
            "_sprocs": "sprocs/",
            "_triggers": "triggers/",
            "_udfs": "udfs/",
            "_conflicts": "conflicts/",
        }
        self.composite_indexes = parse_composite_indexes(self.properties["indexingPolicy"])
        _stamp(self.properties, self._clock)

    @property
    def etag(self) -> str:
        """The etag of its properties."""
        return str(self.properties["_etag"])

    def replace(self, properties: Properties, preconditions: Preconditions) -> None:
        """Change its properties; the partition key and the id cannot be changed.

        Raises:
            CosmosError: 400, or 412 when it has another etag.
        """
        preconditions.check_write(self.etag)
        if checked_id(properties) != self.id:
            raise bad_request("A container's id cannot be changed.")
        definition = PartitionKeyDefinition.parse(properties.get("partitionKey"))
        if definition != self.items.definition:
            raise bad_request("Document collection partition key cannot be changed.")
        if (
            "uniqueKeyPolicy" in properties
            and UniqueKeys.parse(properties["uniqueKeyPolicy"]) != self.items.unique_keys
        ):
            raise bad_request("The unique keys of a container cannot be changed.")
        default_ttl = parse_default_ttl(properties)
        policy = properties.get("indexingPolicy", self.properties["indexingPolicy"])
        self.composite_indexes = parse_composite_indexes(policy)
        self.items.set_default_ttl(default_ttl)
        kept = {name: value for name, value in self.properties.items() if name != "defaultTtl"}
        system = {name: value for name, value in kept.items() if name.startswith("_")}
        self.properties = {**kept, **properties, "partitionKey": kept["partitionKey"], **system}
        _stamp(self.properties, self._clock)

    def partition_key_ranges(self) -> list[Properties]:
        """Return what ``pkranges`` lists: its physical partitions, with the part of the hash space each has."""
        ranges = []
        for number, partition in enumerate(self.items.partitions):
            rid = range_rid(self.rid, number)
            ranges.append(
                {
                    "_rid": rid,
                    "id": partition.id,
                    "_etag": self.etag,
                    "minInclusive": partition.hash_range.minimum,
                    "maxExclusive": partition.hash_range.maximum,
                    "ridPrefix": number,
                    "_self": f"{self.properties['_self']}pkranges/{rid}/",
                    "throughputFraction": 1 / len(self.items.partitions),
                    "status": "online",
                    "parents": [],
                    "_ts": self.properties["_ts"],
                    "_lsn": partition.lsn,
                }
            )
        return ranges


class Database:
    """One database: its properties and its containers."""

    __slots__ = ("_numbers", "clock", "containers", "id", "properties", "rid")

    def __init__(self, properties: Properties, rid: str, clock: Callable[[], float]) -> None:
        self.id = checked_id(properties)
        self.clock = clock
        self.rid = rid
        self.containers: dict[str, Container] = {}
        self._numbers = itertools.count(1)
        self.properties: Properties = {
            "id": self.id,
            "_rid": rid,
            "_self": f"dbs/{rid}/",
            "_colls": "colls/",
            "_users": "users/",
        }
        _stamp(self.properties, clock)

    @property
    def etag(self) -> str:
        """The etag of its properties."""
        return str(self.properties["_etag"])

    def create_container(self, properties: Properties, partition_count: int) -> Container:
        """Make a container of so many physical partitions.

        Raises:
            CosmosError: 400 when the properties are invalid, 409 when the id is taken.
        """
        if checked_id(properties) in self.containers:
            raise already_exists()
        rid = container_rid(self.rid, next(self._numbers))
        container = Container(self, properties, rid, partition_count)
        self.containers[container.id] = container
        return container

    def find_container(self, name: str) -> Container | None:
        """Return a container by its id or its resource id, or None."""
        return self.containers.get(name) or next(
            (container for container in self.containers.values() if container.rid == name), None
        )


class Account:
    """One account: its databases.

    Args:
        clock: Gives the seconds since 1970, by which items expire.
    """

    __slots__ = ("_clock", "_numbers", "databases")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.databases: dict[str, Database] = {}
        self._numbers = itertools.count(1)

    def create_database(self, properties: Properties) -> Database:
        """Make a database.

        Raises:
            CosmosError: 400 when the id is invalid, 409 when it is taken.
        """
        if checked_id(properties) in self.databases:
            raise already_exists()
        database = Database(properties, database_rid(next(self._numbers)), self._clock)
        self.databases[database.id] = database
        return database

    def find_database(self, name: str) -> Database | None:
        """Return a database by its id or its resource id, or None."""
        return self.databases.get(name) or next(
            (database for database in self.databases.values() if database.rid == name), None
        )


def _stamp(properties: Properties, clock: Callable[[], float]) -> None:
    properties["_etag"] = new_etag()
    properties["_ts"] = int(clock())
