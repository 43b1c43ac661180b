"""Conditional headers: whether a request may go on with the container or blob as it is now.

Source: "Specifying conditional headers for Blob service operations" (REST reference).
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.errors import (
    BlobError,
    blob_already_exists,
    condition_not_met,
    invalid_header,
    not_supported,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi_azure_pool.emulator.blob.account import Version

_NAMES = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "x-ms-if-tags")


def check_conditions(
    headers: Mapping[str, str], version: Version | None, *, is_read: bool = False, prefix: str = ""
) -> None:
    """Return if the conditions hold that a request's headers make.

    Args:
        headers: The request's, names in lower case.
        version: The present one, None for what does not exist.
        is_read: Whether the request reads, so that what has not changed need not be sent.
        prefix: ``"x-ms-source-"`` for the conditions on what is copied.

    Raises:
        BlobError: 304 or 412 where they do not hold, 409 where a blob must not exist and does, 400 for one that is none.
    """
    if_match, if_none_match, modified_since, unmodified_since, tags = [headers.get(prefix + name) for name in _NAMES]
    if tags is not None:
        raise not_supported("The header x-ms-if-tags")
    if if_match is not None and (version is None or not _names(if_match, version.etag)):
        raise condition_not_met()
    if if_none_match is not None:
        if if_none_match == "*":
            if is_read:
                raise BlobError(400, "UnsatisfiableCondition", "The request specifies unsatisfiable conditions.")
            if version is not None:
                raise blob_already_exists()
        elif version is not None and _names(if_none_match, version.etag):
            raise _not_modified(version) if is_read else condition_not_met()
    if version is None:
        return
    if unmodified_since is not None and version.modified_at > _seconds(
        unmodified_since, prefix + "if-unmodified-since"
    ):
        raise condition_not_met()
    if modified_since is not None and version.modified_at <= _seconds(modified_since, prefix + "if-modified-since"):
        raise _not_modified(version) if is_read else condition_not_met()


def _names(header: str, etag: str) -> bool:
    if header == "*":
        return True
    bare = etag.strip('"')
    return any(one.strip().removeprefix("W/").strip('"') == bare for one in header.split(","))


def _not_modified(version: Version) -> BlobError:
    return BlobError(
        304,
        "ConditionNotMet",
        "The condition specified using HTTP conditional header(s) is not met.",
        headers={"etag": version.etag, "last-modified": version.last_modified},
    )


def _seconds(text: str, header: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise invalid_header(header, text) from error
