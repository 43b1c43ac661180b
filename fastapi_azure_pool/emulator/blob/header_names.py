"""How a client wrote the names of metadata: ASGI tells them in lower case, Blob Storage keeps them as they were written.

Source: "Naming and referencing containers, blobs, and metadata": names preserve the case with which they were created.
"""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(rb"\r\n(x-ms-meta-[^:\r\n]+):", re.IGNORECASE)

_END_OF_HEAD = b"\r\n\r\n"
_MAX_HEAD_BYTES = 16 * 1024

_MAX_NAMES = 1_000


def remembering_names(protocol_class: Any) -> Any:
    """Return uvicorn's protocol class with a memory: a scope's state has ``header_names``, the written names by the lower.

    It is only a memory of spellings: that of a header which was not sent does no harm.
    """

    class RememberingProtocol(protocol_class):  # type: ignore[misc]  # which of uvicorn's classes is chosen at run time
        """Remembers names before it parses them."""

        # What has arrived of a request's head; None while its body comes, whose lines may read like headers.
        _head: bytes | None = b""

        def data_received(self, data: bytes) -> None:
            """Take what arrives."""
            if self._head is not None:
                head, end, _ = (self._head + data[:_MAX_HEAD_BYTES]).partition(_END_OF_HEAD)
                is_whole = bool(end) or len(head) >= _MAX_HEAD_BYTES
                self._head = None if is_whole else head
                if is_whole and b"x-ms-meta-" in head.lower():
                    self._remember(head)
            super().data_received(data)

        def on_response_complete(self) -> None:
            """Wait for the next request."""
            self._head = b""
            super().on_response_complete()

        def _remember(self, head: bytes) -> None:
            names = self.app_state.setdefault("header_names", {})
            if len(names) > _MAX_NAMES:
                names.clear()
            for name in _NAME.findall(head):
                text = name.decode("latin-1")
                names[text.lower()] = text

    return RememberingProtocol
