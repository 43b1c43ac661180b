"""What an AMQP connection of the SDK goes over, and cutting it."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from aiohttp import ClientSession

Wire: TypeAlias = "asyncio.StreamWriter | ClientSession"
"""What a connection goes over: a socket's writer, or with WebSockets the HTTP session that opened it."""


def wire_of(handler: Any) -> Wire | None:
    """Give what a handler's connection goes over; None where there is nothing, or where the SDK keeps it elsewhere."""
    transport = getattr(getattr(handler, "_connection", None), "_transport", None)
    writer = getattr(transport, "writer", None)
    if isinstance(writer, asyncio.StreamWriter):
        return writer
    session: ClientSession | None = getattr(transport, "session", None)
    return session if inspect.iscoroutinefunction(getattr(session, "close", None)) else None


async def cut(wire: Wire | None) -> None:
    """Cut a connection at once and without a word to the service; the SDK leaves it open where anything goes wrong."""
    if isinstance(wire, asyncio.StreamWriter):
        wire.transport.abort()
        with suppress(OSError):  # What ended it, which asyncio would complain of when nobody has seen it.
            await wire.wait_closed()
    elif wire is not None:
        await wire.close()  # Its sockets are closed before it waits for anything.
