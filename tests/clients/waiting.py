"""Waiting for something that happens in the background, without sleeping for a fixed time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Let the loop turn until the condition holds; fail when it does not within so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - sockets and tasks of the library set no event for tests
            # Real sockets take part: a millisecond lets the kernel deliver without keeping the processor from it.
            await asyncio.sleep(0.001)
