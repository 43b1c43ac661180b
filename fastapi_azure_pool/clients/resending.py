"""Sending through a managed client's pool: what was certainly not stored is tried again, on whatever connection is ready."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi_azure_pool.clients.coalescing import retry_delay
from fastapi_azure_pool.clients.transfers import SERVER_BUSY
from fastapi_azure_pool.errors import SendError, SendInterrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi_azure_pool.clients.managed import ManagedClient

ConnT = TypeVar("ConnT")
AnswerT = TypeVar("AnswerT")


async def send_through(
    client: ManagedClient[ConnT], send: Callable[[ConnT, float], Awaitable[AnswerT]], *, seconds: float, attempts: int
) -> AnswerT:
    """Send over a pooled connection and give the answer.

    A connection that turns out to be closed before anything has left is replaced by another, the first time at once, then after 1,
    2 and 4 s, while the time allows it. Where nobody knows whether the message was stored, it is sent again only if more attempts
    are allowed: it may then be there more than once.

    Args:
        client: Whose pool.
        send: Sends over a connection, within so many seconds.
        seconds: For each attempt, above 0.
        attempts: At least 1.

    Raises:
        SendError: What the last attempt met.
        PoolError: Any that a checkout raises.
    """
    loop = asyncio.get_running_loop()
    while True:
        attempts -= 1
        deadline = loop.time() + seconds
        pauses = -1
        while True:
            try:
                async with client.get() as connection:
                    left = deadline - loop.time()
                    # A place that came too late is used all the same, for a moment: the answer tells what is wrong.
                    return await send(connection, max(left, 0.001))
            except SendError as error:
                if error.maybe_delivered:
                    if attempts < 1:
                        raise
                    break
                pause = 0.0 if pauses < 0 else retry_delay(pauses)
                may_help = isinstance(error, SendInterrupted) or getattr(error, "condition", None) == SERVER_BUSY
                if not may_help or loop.time() + pause >= deadline:
                    raise
                pauses += 1
            await asyncio.sleep(pause)


def check_sending(send_timeout_seconds: Any, send_attempts: Any, window: Any) -> None:
    """Check what sending is given.

    Raises:
        ValueError: A number is out of bounds; the message names it and the bound.
    """
    is_number = isinstance(send_timeout_seconds, (int, float)) and not isinstance(send_timeout_seconds, bool)
    if not is_number or not 0 < send_timeout_seconds < math.inf:
        raise ValueError(f"send_timeout_seconds must be a number of seconds above 0, not {send_timeout_seconds!r}")
    for name, value in (("send_attempts", send_attempts), ("window", window)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
