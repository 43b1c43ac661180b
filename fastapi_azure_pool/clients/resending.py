"""Sending through a managed client's pool: what was certainly not stored is tried again, on whatever connection is ready."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi_azure_pool.clients.flights import retry_delay
from fastapi_azure_pool.errors import PoolError, SendError, SendInterrupted, SendTimedOut

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
    2 and 4 s, while the time allows it. Where nobody knows whether the message was stored, or where its time is over, it is sent
    again only if more attempts are allowed: it may then be there more than once.

    Args:
        client: Whose pool.
        send: Sends over a connection, within so many seconds.
        seconds: For each attempt, the wait for a connection included; above 0.
        attempts: At least 1.

    Raises:
        SendError: What the last attempt met; if an earlier one may have been stored and the last one was not, what that one met.
        PoolError: Any that a checkout raises, if nothing can have been stored.
    """
    doubtful: SendError | None = None
    try:
        while True:
            attempts -= 1
            try:
                return await _attempt(client, send, seconds)
            except SendError as error:
                if attempts and (error.maybe_delivered or isinstance(error, (SendInterrupted, SendTimedOut))):
                    doubtful = error if error.maybe_delivered else doubtful
                    continue
                if doubtful is None or error.maybe_delivered:
                    raise
                raise doubtful from error
            except PoolError as error:
                if doubtful is None:
                    raise
                raise doubtful from error
    finally:
        del doubtful  # An error holds this frame, which would hold the error.


async def _attempt(
    client: ManagedClient[ConnT], send: Callable[[ConnT, float], Awaitable[AnswerT]], seconds: float
) -> AnswerT:
    """Send over one connection after another, until one has taken it or the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pauses = 0
    while True:
        left = max(deadline - loop.time(), 0.0)
        patience = client.pool_get_timeout
        try:
            async with client.get(left if patience is None else min(patience, left)) as connection:
                # A place that came at the last moment is used all the same: the answer tells what is wrong.
                return await send(connection, max(deadline - loop.time(), 0.001))
        except SendInterrupted as error:
            pause = retry_delay(pauses - 1) if pauses else 0.0
            if error.maybe_delivered or loop.time() + pause >= deadline:
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
