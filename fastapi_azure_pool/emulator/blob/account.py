"""One storage account's state: containers, blobs and the blocks that wait to be committed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi_azure_pool.emulator.blob.content import Content

# An etag is, as on Azure, the time of the change: in units of 100 ns since the year 1, of which this many until 1970.
_TICKS_UNTIL_1970 = 621_355_968_000_000_000

DEFAULT_TYPE = "application/octet-stream"

BLOCK_BLOB = "BlockBlob"
APPEND_BLOB = "AppendBlob"


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a container or blob: what tells it from those before and after."""

    etag: str
    modified_at: int

    @property
    def last_modified(self) -> str:
        """The time of the change as HTTP writes it."""
        return formatdate(self.modified_at, usegmt=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """The HTTP headers that are kept with a blob, and sent with it."""

    content_type: str = DEFAULT_TYPE
    content_encoding: str = ""
    content_language: str = ""
    content_disposition: str = ""
    cache_control: str = ""
    content_md5: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """What a blob tells of the copying that made it."""

    id: str
    source: str
    status: str
    progress: str
    completed_at: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """One block of a block blob's content."""

    id: str
    size: int


@dataclass(frozen=True)
class Blob:
    """One state of one blob; a change makes another, so that who reads this one is not disturbed.

    Attributes:
        name: Its name.
        type: ``BLOCK_BLOB`` or ``APPEND_BLOB``.
        content: What it holds.
        version: Of this state.
        created_at: In seconds since 1970.
        settings: Sent with its content.
        metadata: Its user's.
        blocks: The ids and sizes of the blocks that a block blob was put together from, none when it came in one piece.
        appended_blocks: How often an append blob was appended to.
        tier: The access tier, "" when nobody has set it.
        tier_changed_at: When somebody did.
        copy: How it was copied, None if it was not.
    """

    name: str
    type: str
    content: Content
    version: Version
    created_at: int
    settings: Settings = Settings()
    metadata: Mapping[str, str] = field(default_factory=dict)
    blocks: tuple[CommittedBlock, ...] = ()
    appended_blocks: int = 0
    tier: str = ""
    tier_changed_at: str = ""
    copy: Copy | None = None

    @property
    def is_tiered(self) -> bool:
        """Whether it has an access tier at all, set or not."""
        return self.type == BLOCK_BLOB

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers that describe it, without its metadata and those that depend on the request."""
        settings = self.settings
        headers = {
            "accept-ranges": "bytes",
            "content-type": settings.content_type,
            "content-encoding": settings.content_encoding,
            "content-language": settings.content_language,
            "content-disposition": settings.content_disposition,
            "cache-control": settings.cache_control,
            "etag": self.version.etag,
            "last-modified": self.version.last_modified,
            "x-ms-blob-type": self.type,
            "x-ms-creation-time": formatdate(self.created_at, usegmt=True),
            "x-ms-lease-state": "available",
            "x-ms-lease-status": "unlocked",
            "x-ms-server-encrypted": "true",
        }
        if self.type == APPEND_BLOB:
            headers["x-ms-blob-committed-block-count"] = str(self.appended_blocks)
        if self.copy is not None:
            headers |= {
                "x-ms-copy-completion-time": self.copy.completed_at,
                "x-ms-copy-id": self.copy.id,
                "x-ms-copy-progress": self.copy.progress,
                "x-ms-copy-source": self.copy.source,
                "x-ms-copy-status": self.copy.status,
                "x-ms-copy-status-description": self.copy.description,
            }
        return {name: value for name, value in headers.items() if value}


class Container:
    """One container.

    Attributes:
        blobs: Those that can be read, by name.
        staged: The blocks that were put and not committed, by the blob's name and the block's id.
    """

    def __init__(self, name: str, version: Version, metadata: Mapping[str, str]) -> None:
        self.name = name
        self.version = version
        self.metadata = metadata
        self.blobs: dict[str, Blob] = {}
        self.staged: dict[str, dict[str, Content]] = {}


class Account:
    """The containers of one storage account."""

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self._last_ticks = 0

    def new_version(self) -> Version:
        """Return the version of a change that is made now; no two are alike."""
        now = time.time_ns()
        self._last_ticks = max(self._last_ticks + 1, _TICKS_UNTIL_1970 + now // 100)
        return Version(f'"0x{self._last_ticks:X}"', now // 1_000_000_000)

    def create_container(self, name: str, metadata: Mapping[str, str]) -> Container:
        """Make a container and return it; the name must be free."""
        container = self.containers[name] = Container(name, self.new_version(), metadata)
        return container
