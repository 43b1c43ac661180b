"""A sender of the SDK used as it is, where its parts are not known."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.amqp.outcomes import rejection
from fastapi_azure_pool.clients.bare_errors import bare
from fastapi_azure_pool.clients.transfers import ACCEPTED, LOST, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class PlainChannel:
    """A sender of the SDK used as it is: one transfer at a time, each to its end; see `Channel`.

    Args:
        send: Sends what `Packing` gives within so many seconds, or raises.
        is_open: Whether the SDK has its handler open.
    """

    window = 1
    tend_at = math.inf

    def __init__(self, send: Callable[[Any, float], Coroutine[Any, Any, None]], is_open: Callable[[], bool]) -> None:
        self.wake: Callable[[], None] = nobody
        self._send = send
        self._is_open = is_open
        self._is_broken = False

    @property
    def is_closed(self) -> bool:
        """Whether the SDK has closed its handler, or a transfer got no answer in time."""
        return self._is_broken or not self._is_open()

    async def receive(self) -> None:
        """Do nothing: the SDK reads while it sends."""

    async def room(self, address: str | None) -> int:  # noqa: ARG002 - the SDK finds its link itself
        """Give one: the owner waits for each transfer."""
        return 1

    async def transfer(
        self,
        address: str | None,  # noqa: ARG002 - the SDK finds its link itself
        payload: Any,
        settled: Callable[[Outcome], None],
        seconds: float,
    ) -> None:
        """Send one transfer and wait for its outcome."""
        try:
            async with asyncio.timeout(seconds):
                await self._send(payload, seconds)
        except TimeoutError:
            self._is_broken = True
            settled(LOST)
        except Exception as error:  # noqa: BLE001 - the SDK's error is the outcome
            settled(rejection(bare(error)))
        else:
            settled(ACCEPTED)

    async def tend(self) -> None:
        """Do nothing: the SDK does it by itself, or not at all."""

    def close(self) -> None:
        """Do nothing."""


def nobody() -> None:
    """Wake nobody: there is no owner yet."""
