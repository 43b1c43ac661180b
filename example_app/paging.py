"""Continuation tokens: where Cosmos DB goes on with a query, in letters that fit into a URL."""

from __future__ import annotations

import base64

MAX_TOKEN_KILOBYTES = 2
"""How long Cosmos DB may make its tokens."""

MAX_CONTINUATION_LENGTH = 4096
"""How long a wrapped token may be: base64 makes four characters of three bytes."""


def wrap(token: str) -> str:
    """Give a token of Cosmos DB as a continuation for the client."""
    return base64.urlsafe_b64encode(token.encode()).decode()


def unwrap(continuation: str) -> str:
    """Give the token of Cosmos DB that a continuation holds.

    Raises:
        ValueError: It holds none that could be sent.
    """
    token = base64.b64decode(continuation, altchars=b"-_", validate=True).decode("ascii")
    if not token.isprintable():
        raise ValueError("a token is sent in a header, which takes printable characters only")
    return token
