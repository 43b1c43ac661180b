"""Session consistency: how far each partition's log has come, as clients are told and as they hold the service to it.

A client repeats with its reads the tokens that it got with its writes. A replica that is behind such a token does not answer
from an older state: it refuses. Here nothing is ever behind, so only a token that is ahead of the partition it names is refused,
such as one of another container whose log has come further.

Sources: "Consistency levels in Azure Cosmos DB", "Manage consistency levels in Azure Cosmos DB" (session tokens); the token's
form, ``range:version#lsn#region=lsn``, as the SDKs parse it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.cosmos.errors import READ_SESSION_NOT_AVAILABLE, CosmosError, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi_azure_pool.emulator.cosmos.account import Container
    from fastapi_azure_pool.emulator.cosmos.items import PhysicalPartition

# The account's own level; a request may ask for a weaker one.
DEFAULT_CONSISTENCY = "Session"
_WEAKER = frozenset({"ConsistentPrefix", "Eventual"})
_STRONGER = frozenset({"Strong", "BoundedStaleness"})

# int() takes more digits of other scripts, and refuses thousands of them
_TOKEN = re.compile(r"(?P<range>[0-9]{1,10}):(?P<version>-?[0-9]{1,19})#(?P<lsn>-?[0-9]{1,19})(?:#[0-9]+=-?[0-9]+)*\Z")


def session_headers(container: Container, partition: PhysicalPartition) -> dict[str, str]:
    """Return what an answer says of the partition that gave it: its session token, and whose the token is."""
    return {
        "x-ms-session-token": partition.session_token,
        "x-ms-alt-content-path": container.path,
        "x-ms-documentdb-partitionkeyrangeid": partition.id,
        "lsn": str(partition.lsn),
    }


def check_session(headers: Mapping[str, str], partitions: Iterable[PhysicalPartition]) -> None:
    """Let a read of these partitions pass, when they have come as far as its ``x-ms-session-token`` says.

    Raises:
        CosmosError: 400, the token or the level of consistency is invalid; 404 with sub-status 1002, a partition is behind.
    """
    level = headers.get("x-ms-consistency-level", DEFAULT_CONSISTENCY)
    if level in _STRONGER:
        raise bad_request(
            f"ConsistencyLevel {level} specified in the request is invalid when service is configured with consistency level "
            f"{DEFAULT_CONSISTENCY}. Ensure the request consistency level is not stronger than the service consistency level."
        )
    if level not in _WEAKER and level != DEFAULT_CONSISTENCY:
        raise bad_request(f"The input consistency level '{level}' is invalid.")
    header = headers.get("x-ms-session-token")
    if not header:
        return
    tokens = _parse(header)
    if level in _WEAKER:
        return
    if any(tokens.get(partition.id, 0) > partition.lsn for partition in partitions):
        message = "The read session is not available for the input session token."
        raise CosmosError(404, message, substatus=READ_SESSION_NOT_AVAILABLE)


def _parse(header: str) -> dict[str, int]:
    tokens = {}
    for token in header.split(","):
        match = _TOKEN.match(token.strip())
        if match is None:
            raise bad_request(f"The session token provided '{header}' is invalid.")
        tokens[match["range"]] = int(match["lsn"])
    return tokens
