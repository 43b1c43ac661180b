"""One request to Blob Storage: which container and blob it is about, and what it asks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fastapi_azure_pool.emulator.blob.content import Content
from fastapi_azure_pool.emulator.blob.errors import BlobError, invalid_header, md5_mismatch
from fastapi_azure_pool.emulator.http_service import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from fastapi_azure_pool.emulator.blob.grant import Grant

_META_PREFIX = "x-ms-meta-"

# "Naming and referencing containers, blobs, and metadata": metadata names are C# identifiers; 8 KB in all.
_METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MAX_METADATA_BYTES = 8 * 1024


class BlobRequest(HttpRequest):
    """One request to the account.

    Attributes:
        account: The account's name in the path, "" if there is none.
        container: The container's, likewise.
        blob: The blob's, likewise.
        query: The query's parameters, decoded; names in lower case.
        comp: The query's ``comp`` in lower case, "" if there is none: which part of the resource it is about.
        content: The body.
        body_md5: The MD5 hash of a body that is in no memory, where it was asked for or the operation stores it.
        server: The host and port that it came to.
        grant: What the sender may; set once that is known.
    """

    __slots__ = (
        "account",
        "blob",
        "body_md5",
        "client_host",
        "comp",
        "container",
        "content",
        "grant",
        "query",
        "scheme",
        "server",
        "spelling",
    )

    grant: Grant

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        client = scope.get("client")
        self.client_host: str = client[0] if client else ""
        self.scheme: str = scope["scheme"]
        self.server: tuple[str, int] = tuple(scope.get("server") or ("", 0))
        parts = self.raw_path.split(b"/", 3)
        self.account = _decoded(parts[1]) if len(parts) > 1 else ""
        self.container = _decoded(parts[2]) if len(parts) > 2 else ""
        self.blob = _decoded(parts[3]) if len(parts) > 3 else ""
        self.query = _parsed(self.query_string) if self.query_string else {}
        self.comp = self.query.get("comp", "").lower()
        self.content = Content()
        self.body_md5: bytes | None = None
        # how the client wrote the names of metadata, which ASGI tells in lower case
        self.spelling: dict[str, str] = scope.get("state", {}).get("header_names", {})

    def metadata(self) -> dict[str, str]:
        """Return the metadata that it sends.

        Raises:
            BlobError: A name is none, or it is too much.
        """
        return sent_metadata({self.spelling.get(name, name): value for name, value in self.headers.items()})

    def content_md5(self) -> bytes:
        """Return the MD5 hash of its body."""
        if self.body_md5 is None:
            self.body_md5 = md5_of(self.content)
        return self.body_md5

    def check_md5(self, header: str = "content-md5") -> None:
        """Return if the body is what the hash in a header says, or there is none.

        Raises:
            BlobError: It is not.
        """
        text = self.headers.get(header)
        if text is None:
            return
        try:
            sent = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid_md5() from error
        if len(sent) != 16:
            raise _invalid_md5()
        if sent != self.content_md5():
            raise md5_mismatch()

    def integer(self, header: str) -> int | None:
        """Return the whole number in a header, None if there is none.

        Raises:
            BlobError: It is no such number.
        """
        text = self.headers.get(header)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise invalid_header(header, text)
        return int(text)


def sent_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata in headers.

    Raises:
        BlobError: A name is none, or it is too much.
    """
    found = {}
    size = 0
    for header, value in headers.items():
        if not header.lower().startswith(_META_PREFIX):
            continue
        name = header[len(_META_PREFIX) :]
        if not name:
            raise BlobError(400, "EmptyMetadataKey", "The key for one of the metadata key-value pairs is empty.")
        if not (_METADATA_NAME.match(name) and value.isascii()):
            message = "The metadata specified is invalid. It has characters that are not permitted."
            raise BlobError(400, "InvalidMetadata", message)
        size += len(name) + len(value)
        found[name] = value
    if size > _MAX_METADATA_BYTES:
        message = "The metadata specified exceeds the maximum permissible limit (8KB)."
        raise BlobError(400, "MetadataTooLarge", message)
    return found


def md5_of(content: Content) -> bytes:
    """Return the MD5 hash, with which Blob Storage guards against errors, not against people."""
    hasher = hashlib.md5(usedforsecurity=False)
    for chunk in content.chunks():
        hasher.update(chunk)
    return hasher.digest()


def base64_text(data: bytes) -> str:
    """Return bytes in base64, as they stand in headers."""
    return base64.b64encode(data).decode("ascii")


def query_pairs(query_string: bytes) -> list[tuple[str, str]]:
    """Return the parameters of a query as they were sent, not decoded."""
    pairs = []
    for part in query_string.decode("latin-1").split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((name, value))
    return pairs


def _parsed(query_string: bytes) -> dict[str, str]:
    return {unquote(name).lower(): unquote(value) for name, value in query_pairs(query_string)}


def _decoded(segment: bytes) -> str:
    # what is not UTF-8 stays recognizable, and is refused where it would become a name
    text = segment.decode("latin-1")
    return unquote(text, errors="surrogateescape") if "%" in text else text


def _invalid_md5() -> BlobError:
    return BlobError(
        400,
        "InvalidMd5",
        "The MD5 value specified in the request is invalid. MD5 value must be 128 bits and Base64-encoded.",
    )
