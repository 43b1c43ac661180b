"""The names that Cosmos DB gives to what it stores: resource ids, etags, and the rules for the names that users give."""

from __future__ import annotations

import base64
import itertools
import re
import time

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError, bad_request

# "Azure Cosmos DB service quotas": the names of databases and containers, and the ids of items.
_MAX_NAME_CHARACTERS = 255
_MAX_ITEM_ID_BYTES = 1023
# "Create a Document" (REST reference): none of these, which would break its address.
_ILLEGAL_IN_ID = re.compile(r"[/\\?#]")

_etag_numbers = itertools.count(1)


def checked_id(properties: dict[str, object]) -> str:
    """Return the id in the body of a database or a container, up to 255 characters long.

    Raises:
        CosmosError: 400, it is missing or not one that Azure would take.
    """
    name = _id_in(properties)
    if len(name) > _MAX_NAME_CHARACTERS:
        raise _invalid_name(name)
    return name


def checked_item_id(item: dict[str, object]) -> str:
    """Return the id in an item, up to 1,023 bytes long.

    Raises:
        CosmosError: 400, it is missing or not one that Azure would take.
    """
    name = _id_in(item)
    if len(name.encode()) > _MAX_ITEM_ID_BYTES:
        raise _invalid_name(name)
    return name


def _id_in(properties: dict[str, object]) -> str:
    name = properties.get("id")
    if name is None or name == "":
        raise bad_request("The input content is invalid because the required properties - 'id; ' - are missing")
    if not isinstance(name, str):
        raise bad_request("The input content is invalid because the 'id' property must be a string.")
    if _ILLEGAL_IN_ID.search(name) or name.endswith(" "):
        raise _invalid_name(name)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise _invalid_name(name.encode("ascii", "backslashreplace").decode()) from error
    return name


def new_etag() -> str:
    """Return an etag that no resource of this process has had: quoted, as it stands in headers and in ``_etag``."""
    return f'"{next(_etag_numbers):08x}-0000-0000-0000-{time.time_ns() // 1_000_000:012x}"'


def database_rid(number: int) -> str:
    """Return the resource id of an account's nth database (from 1): four bytes."""
    return _encode(number.to_bytes(4, "big"))


def container_rid(database: str, number: int) -> str:
    """Return the resource id of a database's nth container: the database's four bytes and four with the top bit set."""
    return _encode(_decode(database) + (number | 1 << 31).to_bytes(4, "big"))


def item_rid(container: str, sequence: int) -> str:
    """Return the resource id of a container's nth item: the container's eight bytes and eight more."""
    return _encode(_decode(container) + sequence.to_bytes(8, "little"))


def range_rid(container: str, number: int) -> str:
    """Return the resource id of a container's nth partition key range."""
    return _encode(_decode(container) + (number + 1).to_bytes(7, "little") + b"\x50")


def _encode(data: bytes) -> str:
    # "/" would end a segment of the resource's address
    return base64.b64encode(data, altchars=b"+-").decode()


def _decode(rid: str) -> bytes:
    return base64.b64decode(rid, altchars=b"+-")


def _invalid_name(name: str) -> CosmosError:
    return bad_request(
        f"The input name '{name}' is invalid. Ensure to provide a unique non-empty string of up to {_MAX_NAME_CHARACTERS} "
        f"characters ({_MAX_ITEM_ID_BYTES} bytes for an item), without '/', '\\', '?', '#' and a space at its end."
    )
