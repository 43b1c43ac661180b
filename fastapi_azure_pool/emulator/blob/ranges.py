"""Which part of a blob a request is about.

Source: "Specifying the range header for Blob service operations" and "Get Blob" (REST reference).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.errors import BlobError, invalid_header

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?\Z")


def requested_range(headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """Return first byte and length of what a request asks for of so many bytes, None for all.

    Raises:
        BlobError: 416 when nothing of it is there, 400 for what is no range.
    """
    name = "x-ms-range" if "x-ms-range" in headers else "range"
    text = headers.get(name)
    if text is None:
        return None
    return parse_range(name, text, size)


def parse_range(name: str, text: str, size: int) -> tuple[int, int]:
    """Return first byte and length of what a range names of so many bytes; errors as above."""
    match = _RANGE.match(text.strip())
    if match is None:
        raise invalid_header(name, text)
    start = int(match[1])
    end = size - 1 if match[2] is None else int(match[2])
    if match[2] is not None and end < start:
        raise invalid_header(name, text)
    if start >= size:
        raise BlobError(
            416,
            "InvalidRange",
            "The range specified is invalid for the current size of the resource.",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, min(end, size - 1) - start + 1
