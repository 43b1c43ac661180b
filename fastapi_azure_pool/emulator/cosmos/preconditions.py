"""Optimistic concurrency: the etags that a request says a resource must, or must not, have.

Source: "Optimistic concurrency control in Azure Cosmos DB", and the REST reference's common request headers. Azure documents
``if-none-match`` for reads only, where a match answers 304; on a write it is taken here as RFC 9110 has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.cosmos.errors import precondition_failed

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What ``if-match`` and ``if-none-match`` say, None when they say nothing."""

    if_match: str | None = None
    if_none_match: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Preconditions:
        """Return those of a request."""
        return cls(headers.get("if-match"), headers.get("if-none-match"))

    def check_write(self, etag: str) -> None:
        """Let a write to a resource that has this etag pass.

        Raises:
            CosmosError: 412.
        """
        if self.if_match is not None and not is_etag_current(etag, self.if_match):
            raise precondition_failed()
        if self.if_none_match is not None and is_etag_current(etag, self.if_none_match):
            raise precondition_failed()

    def is_not_modified(self, etag: str) -> bool:
        """Say whether who reads a resource with this etag has it already."""
        return self.if_none_match is not None and is_etag_current(etag, self.if_none_match)


UNCONDITIONAL = Preconditions()


def is_etag_current(etag: str, condition: str) -> bool:
    """Say whether an ``if-match`` or ``if-none-match`` header names this etag; quotes are optional in it."""
    return condition in {"*", etag, etag.strip('"')}
