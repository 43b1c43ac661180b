"""What a request's headers ask for, whatever it is about: flags, the size of a page, and whether to answer with the item.

Source: "Common Azure Cosmos DB REST request headers".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.cosmos.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a page holds at most when nobody says, and what -1 ("let the service choose") or more than it stands for.
_DEFAULT_PAGE_ITEMS = 100
_MAX_PAGE_ITEMS = 1000


def page_items(headers: Mapping[str, str]) -> int:
    """Return how many items a page may have.

    Raises:
        CosmosError: 400, ``x-ms-max-item-count`` is invalid.
    """
    header = headers.get("x-ms-max-item-count")
    if header is None:
        return _DEFAULT_PAGE_ITEMS
    try:
        wanted = int(header)
    except ValueError:
        wanted = 0
    if wanted == -1:
        return _MAX_PAGE_ITEMS
    if wanted < 1:
        raise bad_request(f"The page size '{header}' is invalid: x-ms-max-item-count must be -1 or at least 1.")
    return min(wanted, _MAX_PAGE_ITEMS)


def is_true(header: str | None) -> bool:
    """Say whether a header is there and says true."""
    return header is not None and header.lower() == "true"


def is_minimal(headers: Mapping[str, str]) -> bool:
    """Say whether the answer to a write is to leave out the item, as ``Prefer: return=minimal`` asks."""
    return "return=minimal" in headers.get("prefer", "")
