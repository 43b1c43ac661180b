"""What an AMQP connection of the SDK goes over, and how that ends: with the service's answer, or cut."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from aiohttp import ClientSession

ANSWER_SECONDS = 0.5
"""How long the service has to close its side of a connection."""

_CHUNK_BYTES = 65536

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


def hear_the_answer(handler: Any) -> None:
    """Let a handler that is about to be closed keep its socket until the service has closed its side, too, or for half a second.

    The SDK closes the socket when it has sent its last frame; what still comes is answered by a reset, which takes along whatever
    the service has not read by then: the close itself, and what a receiver has just settled. A WebSocket's closing has an answer
    of its own.

    Source:
        RFC 1122, section 4.2.2.13.
    """
    transport: Any = getattr(getattr(handler, "_connection", None), "_transport", None)
    reader, close = getattr(transport, "reader", None), getattr(transport, "close", None)
    reading = getattr(transport, "socket_lock", None)
    if not (isinstance(reader, asyncio.StreamReader) and isinstance(reading, asyncio.Lock)):
        return
    if not inspect.iscoroutinefunction(close):
        return

    async def hear_and_close() -> None:
        vars(transport).pop("close", None)
        with suppress(OSError):  # TimeoutError is one, too.
            async with asyncio.timeout(ANSWER_SECONDS), reading:
                while await reader.read(_CHUNK_BYTES):
                    pass
        await close()

    transport.close = hear_and_close


async def cut(wire: Wire | None) -> None:
    """Cut a connection at once and without a word to the service; the SDK leaves it open where anything goes wrong."""
    if isinstance(wire, asyncio.StreamWriter):
        wire.transport.abort()
        with suppress(OSError):  # What ended it, which asyncio would complain of when nobody has seen it.
            await _wait_closed(wire)
    elif wire is not None:
        await wire.close()  # Its sockets are closed before it waits for anything.


async def _wait_closed(writer: asyncio.StreamWriter) -> None:
    """Wait until a socket is closed; not where someone else who waited for that was cancelled, and asyncio's future with them."""
    try:
        await writer.wait_closed()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
