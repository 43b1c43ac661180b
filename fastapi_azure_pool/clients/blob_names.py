"""Names of containers, blobs and files: which there can be, and which are safe to use."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath
from urllib.parse import quote

from fastapi_azure_pool.clients.arguments import shown

MAX_BLOB_NAME_CHARACTERS = 1024
"""https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata"""

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9])+|\$root|\$web|\$logs")
_TROUBLESOME = re.compile(r"[~#\\]")
_DOTS = frozenset({".", ".."})


def checked_container_name(name: object) -> str:
    """Give a container's name, without the slash that may stand before it.

    Raises:
        ValueError: No container can have that name.
    """
    text = name.removeprefix("/") if isinstance(name, str) else ""
    if not 3 <= len(text) <= 63 or not _CONTAINER.fullmatch(text):
        raise ValueError(
            "container_name must be a container's name, of 3 to 63 small letters, digits and single hyphens between them, not"
            f" {shown(name)}"
        )
    return text


def checked_blob_name(name: object) -> str:
    """Give a blob's name as it is.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty or too long, or would address something else: HTTP clients resolve ``.`` and ``..`` in a path before
            they send it, so that ``../invoices/1`` is the blob ``1`` of another container.
    """
    if not isinstance(name, str):
        raise TypeError(f"blob_name must be a text, not a {type(name).__name__}")
    if not 1 <= len(name) <= MAX_BLOB_NAME_CHARACTERS:
        raise ValueError(f"blob_name must have 1 to {MAX_BLOB_NAME_CHARACTERS} characters, not {len(name)}")
    if "." in name and not _DOTS.isdisjoint(name.split("/")):
        raise ValueError(
            f"blob_name={name!r} has a dot segment, which would address something else, perhaps in another container: write it"
            " without, as safe_blob_name() does"
        )
    return name


def safe_blob_name(name: str, *, quoting: bool = False) -> str:
    r"""Give a blob name that makes no trouble in URLs, tools and file systems.

    Without spaces at the ends, ``~``, ``#``, ``\``, dots at the start or at the end of a segment, and slashes at the end; cut
    to 1,024 characters.

    Args:
        name: Any text, such as the name of a file that was uploaded.
        quoting: Whether the name is percent-encoded as well, for URLs that are put together by hand. The clients encode by
            themselves.

    Raises:
        ValueError: Nothing is left of it.
    """
    safe = _TROUBLESOME.sub("", name.strip()).lstrip(".")
    segments = [segment.rstrip(".") for segment in safe.split("/") if segment not in _DOTS]
    safe = _cut("/".join(segments), quoting=quoting).rstrip("./")
    if not safe:
        raise ValueError(f"nothing that can be a blob's name is left of {name!r}")
    return quote(safe) if quoting else safe


def _cut(name: str, *, quoting: bool) -> str:
    """Cut a name so that it, or its percent-encoded form, is no longer than a name may be."""
    if not quoting:
        return name[:MAX_BLOB_NAME_CHARACTERS]
    length = 0
    for index, character in enumerate(name):
        length += len(quote(character))
        if length > MAX_BLOB_NAME_CHARACTERS:
            return name[:index]
    return name


def file_name(blob_name: str) -> str:
    """Give the last part of a blob's name, as the name of a file in a directory of the caller's, on any system.

    Raises:
        ValueError: The blob's name ends in nothing that can name a file.
    """
    # Of both kinds of paths, so that neither separators nor drives of the other kind lead out of the directory.
    name = PureWindowsPath(blob_name.rpartition("/")[2]).name
    if name in _DOTS or not name or "\0" in name:
        raise ValueError(f"blob_name={blob_name!r} ends in nothing that can name a file")
    return name
