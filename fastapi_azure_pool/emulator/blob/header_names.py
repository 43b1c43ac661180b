"""How a client wrote the names of metadata: ASGI tells them in lower case, Blob Storage keeps them as they were written.

Source: "Naming and referencing containers, blobs, and metadata": names preserve the case with which they were created.
"""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(rb"\r\n(x-ms-meta-[^:\r\n]+):", re.IGNORECASE)

# A request's head comes at the start of what arrives, before any of its body.
_MAX_HEAD_BYTES = 16 * 1024

_MAX_NAMES = 1_000


def remembering_names(protocol_class: Any) -> Any:
    """Return uvicorn's protocol class with a memory: a scope's state has ``header_names``, the written names by the lower.

    It is only a memory of spellings: that of a header which was not sent does no harm.
    """

    class RememberingProtocol(protocol_class):  # type: ignore[misc]  # which of uvicorn's classes is chosen at run time
        """Remembers names before it parses them."""

        def data_received(self, data: bytes) -> None:
            """Take what arrives."""
            head = data[:_MAX_HEAD_BYTES]
            if b"x-ms-meta-" in head.lower():
                names = self.app_state.setdefault("header_names", {})
                if len(names) > _MAX_NAMES:
                    names.clear()
                for name in _NAME.findall(head):
                    text = name.decode("latin-1")
                    names[text.lower()] = text
            super().data_received(data)

    return RememberingProtocol
