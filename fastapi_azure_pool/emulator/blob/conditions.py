"""Conditional headers: whether a request may go on with the container or blob as it is now.

Source: "Specifying conditional headers for Blob service operations" (REST reference).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.errors import (
    BlobError,
    blob_already_exists,
    condition_not_met,
    invalid_header,
    not_supported,
)
from fastapi_azure_pool.emulator.signing import http_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi_azure_pool.emulator.blob.account import Version

CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_NAMES = (*CONDITIONS, "x-ms-if-tags")

# Of these pairs a write goes by the first alone; any other two are refused.
_PAIRS = (("if-none-match", "if-modified-since"), ("if-match", "if-unmodified-since"))


def check_conditions(
    headers: Mapping[str, str], version: Version | None, *, is_read: bool = False, prefix: str = ""
) -> None:
    """Return if the conditions hold that a request's headers make.

    Args:
        headers: The request's, names in lower case.
        version: The present one, None for what does not exist.
        is_read: Whether the request reads: then what has not changed need not be sent, and conditions may be combined.
        prefix: ``"x-ms-source-"`` for the conditions on what is copied.

    Raises:
        BlobError: 304 or 412 where they do not hold, 409 where a blob must not exist and does, 400 for one that is none and
            for several at once on a write.
    """
    sent = {name: headers[prefix + name] for name in _NAMES if prefix + name in headers}
    if not sent:
        return
    if "x-ms-if-tags" in sent:
        raise not_supported("The header x-ms-if-tags")
    if is_read:
        if sent.get("if-none-match") == "*":
            raise BlobError(400, "UnsatisfiableCondition", "The request specifies unsatisfiable conditions.")
        _check_read({name: _holds(name, value, version, prefix) for name, value in sent.items()}, version)
        return
    for decisive, ignored in _PAIRS:
        if sent.keys() == {decisive, ignored}:
            del sent[ignored]
    if len(sent) > 1:
        raise BlobError(400, "MultipleConditionHeadersNotSupported", "Multiple condition headers are not supported.")
    ((name, value),) = sent.items()
    if not _holds(name, value, version, prefix):
        raise blob_already_exists() if (name, value) == ("if-none-match", "*") else condition_not_met()


def _check_read(holding: Mapping[str, bool], version: Version | None) -> None:
    if not (holding.get("if-match", True) and holding.get("if-unmodified-since", True)):
        raise condition_not_met()
    # one reason to send it is enough
    reasons = [holding[name] for name in ("if-none-match", "if-modified-since") if name in holding]
    if version is not None and reasons and not any(reasons):
        raise _not_modified(version)


def _holds(name: str, value: str, version: Version | None, prefix: str) -> bool:
    if name == "if-match":
        return version is not None and _names(value, version.etag)
    if name == "if-none-match":
        return version is None or not _names(value, version.etag)
    time = _seconds(value, prefix + name)
    if version is None:
        return True
    return (version.modified_at > time) == (name == "if-modified-since")


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
    time = http_timestamp(text)
    if time is None:
        raise invalid_header(header, text)
    return time
