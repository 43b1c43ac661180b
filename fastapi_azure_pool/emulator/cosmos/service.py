"""The HTTP front of one Cosmos DB account: finds the resource, checks who asks, and answers for databases and containers.

Source: "Azure Cosmos DB: REST API reference", resource URIs and the pages on databases, collections and partition key
ranges.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fastapi_azure_pool.emulator.cosmos.documents import Documents
from fastapi_azure_pool.emulator.cosmos.errors import (
    CosmosError,
    bad_request,
    injected,
    not_found,
    not_supported,
    owner_not_found,
)
from fastapi_azure_pool.emulator.cosmos.items import MAX_ITEM_BYTES
from fastapi_azure_pool.emulator.cosmos.json_values import dump_json, parse_object
from fastapi_azure_pool.emulator.cosmos.preconditions import Preconditions
from fastapi_azure_pool.emulator.cosmos.request_headers import is_true
from fastapi_azure_pool.emulator.cosmos.responses import (
    WRITE_CHARGE,
    cosmos_response,
    error_response,
    feed_response,
    resource_response,
)
from fastapi_azure_pool.emulator.cosmos.sessions import DEFAULT_CONSISTENCY
from fastapi_azure_pool.emulator.http_service import HttpRequest, HttpService

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response

    from fastapi_azure_pool.emulator.cosmos.account import Account, Container, Database
    from fastapi_azure_pool.emulator.cosmos.authorization import Authorization
    from fastapi_azure_pool.emulator.faults import Delivery, Faults

_REGION = "Loopback"
_PARTITION_KEY_DELETE = "partitionkeydelete"
_RID_OF_DATABASE = re.compile(r"[A-Za-z0-9+-]{6}==\Z")


class CosmosService(HttpService):
    """Serves one account.

    Args:
        faults: Asked for every request.
        account: What it serves.
        authorization: Who may.
        partition_count: How many physical partitions a new container has.
    """

    def __init__(self, faults: Faults, account: Account, authorization: Authorization, *, partition_count: int) -> None:
        super().__init__("cosmos", faults, max_body_bytes=MAX_ITEM_BYTES)
        self._account = account
        self._authorization = authorization
        self._partition_count = partition_count
        self._documents = Documents()
        self.url = ""

    def answer(self, request: HttpRequest) -> Response:
        """Answer one request, or refuse it as Azure does."""
        try:
            return self._route(request)
        except CosmosError as error:
            return error_response(request, error)

    def fault_response(self, request: HttpRequest, delivery: Delivery) -> Response:
        """Refuse a request with the injected status."""
        return error_response(request, injected(delivery.status), retry_after=delivery.retry_after)

    def _route(self, request: HttpRequest) -> Response:
        segments = _segments(request)
        is_feed = len(segments) % 2 == 1
        kinds = tuple(segments[::2])
        self._authorize(request, segments, is_feed=is_feed)
        method = request.method
        if method not in _METHODS.get((kinds, is_feed), ()):
            raise _unroutable(kinds, is_feed=is_feed, method=method)
        if not segments:
            return cosmos_response(request, dump_json(self._account_properties()))
        if kinds == ("offers",):
            raise bad_request("Reading or replacing offers is not supported for serverless accounts.")
        if kinds == ("dbs",):
            return self._databases(request) if is_feed else self._database(request, segments[1])
        database = self._account.find_database(segments[1])
        if database is None:
            raise owner_not_found()
        if kinds == ("dbs", "colls"):
            return self._containers(request, database) if is_feed else _container(request, database, segments[3])
        container = database.find_container(segments[3])
        if container is None:
            raise owner_not_found()
        if kinds[2] == "pkranges":
            return _partition_key_ranges(request, container)
        if kinds[2] == "operations":
            if segments[5] != _PARTITION_KEY_DELETE:
                raise bad_request("The request path is not that of a resource.")
            return self._documents.delete_partition_key(request, container)
        return (
            self._documents.feed(request, container)
            if is_feed
            else self._documents.item(request, container, segments[5])
        )

    def _authorize(self, request: HttpRequest, segments: list[str], *, is_feed: bool) -> None:
        resource_type = "" if not segments else segments[-1 if is_feed else -2]
        parts = segments[:-1] if is_feed else segments
        if parts[4:] == ["operations", _PARTITION_KEY_DELETE]:
            # signed as an operation on the container
            resource_type, parts = "colls", parts[:4]
        link = "/".join(parts)
        if len(parts) > 1 and _RID_OF_DATABASE.match(parts[1]) and parts[1] not in self._account.databases:
            # addressed by resource ids: the signature covers the last one alone, in lower case
            link = parts[-1].lower()
        self._authorization.check(request.method, resource_type, link, request.headers)

    def _account_properties(self) -> dict[str, Any]:
        location = {"name": _REGION, "databaseAccountEndpoint": self.url}
        return {
            "_self": "",
            "id": "emulator",
            "_rid": "emulator",
            "media": "//media/",
            "addresses": "//addresses/",
            "_dbs": "//dbs/",
            "writableLocations": [location],
            "readableLocations": [location],
            "enableMultipleWriteLocations": False,
            "continuousBackupEnabled": False,
            "userReplicationPolicy": {"asyncReplication": False, "minReplicaSetSize": 3, "maxReplicasetSize": 4},
            "userConsistencyPolicy": {"defaultConsistencyLevel": DEFAULT_CONSISTENCY},
            "systemReplicationPolicy": {"minReplicaSetSize": 3, "maxReplicasetSize": 4},
            "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
            "queryEngineConfiguration": '{"maxSqlQueryInputLength":524288}',
        }

    def _databases(self, request: HttpRequest) -> Response:
        if request.method == "GET":
            return _listed(request, "Databases", "", (one.properties for one in self._account.databases.values()))
        _refuse_query(request)
        database = self._account.create_database(parse_object(request.body))
        return resource_response(request, database.properties, 201, charge=WRITE_CHARGE)

    def _database(self, request: HttpRequest, name: str) -> Response:
        database = self._account.find_database(name)
        if database is None:
            raise not_found()
        if request.method == "GET":
            return resource_response(request, database.properties)
        Preconditions.of(request.headers).check_write(database.etag)
        del self._account.databases[database.id]
        return cosmos_response(request, status=204, charge=WRITE_CHARGE)

    def _containers(self, request: HttpRequest, database: Database) -> Response:
        if request.method == "GET":
            rows = (one.properties for one in database.containers.values())
            return _listed(request, "DocumentCollections", database.rid, rows)
        _refuse_query(request)
        container = database.create_container(parse_object(request.body), self._partition_count)
        return resource_response(request, container.properties, 201, charge=WRITE_CHARGE)


# What can be asked of each kind of resource, as a feed or as one.
_METHODS: dict[tuple[tuple[str, ...], bool], tuple[str, ...]] = {
    ((), False): ("GET",),
    (("dbs",), True): ("GET", "POST"),
    (("dbs",), False): ("GET", "DELETE"),
    (("dbs", "colls"), True): ("GET", "POST"),
    (("dbs", "colls"), False): ("GET", "PUT", "DELETE"),
    (("dbs", "colls", "docs"), True): ("GET", "POST"),
    (("dbs", "colls", "docs"), False): ("GET", "PUT", "PATCH", "DELETE"),
    (("dbs", "colls", "pkranges"), True): ("GET",),
    (("dbs", "colls", "operations"), False): ("POST",),
    (("offers",), True): ("GET", "POST"),
}

# What Azure has below a database or a container, and this emulator has not yet.
_LATER = frozenset({"conflicts", "permissions", "sprocs", "triggers", "udfs", "users"})


def _unroutable(kinds: tuple[str, ...], *, is_feed: bool, method: str) -> CosmosError:
    if (kinds, is_feed) in _METHODS:
        return CosmosError(405, f"The requested verb {method} is not supported on this resource.")
    if kinds and kinds[-1] in _LATER:
        return not_supported(f"The resource type {kinds[-1]}")
    return bad_request("The request path is not that of a resource.")


def _segments(request: HttpRequest) -> list[str]:
    if b"%2f" in request.raw_path.lower():
        # an id cannot have a slash in it: decode each segment, lest one become two
        path = request.raw_path.partition(b"?")[0].decode("latin-1").rstrip("/")
        return [unquote(segment) for segment in path.split("/")[1:]]
    return [] if request.path == "/" else request.path.split("/")[1:]


def _container(request: HttpRequest, database: Database, name: str) -> Response:
    container = database.find_container(name)
    if container is None:
        raise not_found()
    if request.method == "GET":
        return resource_response(request, container.properties)
    if request.method == "PUT":
        container.replace(parse_object(request.body), Preconditions.of(request.headers))
        return resource_response(request, container.properties, charge=WRITE_CHARGE)
    Preconditions.of(request.headers).check_write(container.etag)
    del database.containers[container.id]
    return cosmos_response(request, status=204, charge=WRITE_CHARGE)


def _partition_key_ranges(request: HttpRequest, container: Container) -> Response:
    # Read as a change feed: who has this version learns that nothing has changed since.
    etag = f'"{container.rid}"'
    if request.headers.get("if-none-match") == etag:
        return cosmos_response(request, status=304, etag=etag)
    ranges = container.partition_key_ranges()
    return _listed(request, "PartitionKeyRanges", container.rid, ranges, etag=etag)


def _listed(
    request: HttpRequest, name: str, rid: str, resources: Iterable[dict[str, Any]], *, etag: str | None = None
) -> Response:
    return feed_response(request, name, rid, map(dump_json, resources), etag=etag)


def _refuse_query(request: HttpRequest) -> None:
    if is_true(request.headers.get("x-ms-documentdb-isquery")):
        raise not_supported("A query over databases or containers")
