"""Letting others have the event loop during work that consists of many small steps."""

from __future__ import annotations

import asyncio

SLICE = 32
"""After so many steps the loop serves others: adding a message to a batch, or waking its caller, takes 50 to 200 µs,
and the owners of several connections may have their turns one right after the other."""


async def yield_to_others(count: int) -> None:
    """Let others run, if this is one of many small steps and it is their turn.

    Args:
        count: Which step it is, counted from 1.
    """
    if count % SLICE == 0:
        await asyncio.sleep(0)
