"""What the sender of one request may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.blob.errors import BlobError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions of one request, and the response headers that a shared access signature replaces.

    Attributes:
        permissions: The letters of a shared access signature, or None for everything: the account's key or a token.
        overrides: Response headers by name.
        is_token: Whether a token granted it, as a user delegation key needs.
    """

    permissions: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    is_token: bool = False

    def require(self, letters: str) -> None:
        """Return if at least one of these permissions is there.

        Raises:
            BlobError: None is.
        """
        if self.permissions is not None and not any(letter in self.permissions for letter in letters):
            message = "This request is not authorized to perform this operation using this permission."
            raise BlobError(403, "AuthorizationPermissionMismatch", message)


EVERYTHING = Grant()
