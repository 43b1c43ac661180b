"""A group commit on a scripted connection, and what must hold when it is closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.coalescing import GroupCommit, Joining
from tests.support.scripted_channel import Caller, Message, ScriptedChannel, ScriptedPacking
from tests.support.virtual_time import wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Sending:
    """A `GroupCommit` with its channel, its packing and its callers.

    Args:
        channel: The connection; by default a new one.
        joining: Whether messages are joined; by default so.
        window: Transfers in flight at most.

    Attributes:
        times_lost: How often it told the pool that the connection is lost.
        losses_to_tell: How often it should have, by its end.
    """

    def __init__(
        self, *, channel: ScriptedChannel | None = None, joining: Joining | None = None, window: int = 8
    ) -> None:
        self.channel = ScriptedChannel() if channel is None else channel
        self.packing = ScriptedPacking()
        self.callers: list[Caller] = []
        self.times_lost = 0
        self.losses_to_tell = 1
        self.commit: GroupCommit[Message] = GroupCommit(
            self.channel,
            self.packing,
            Joining("orders", is_allowed=True) if joining is None else joining,
            window=window,
            on_lost=self._count_lost,
            name="sender to orders",
        )

    def _count_lost(self) -> None:
        self.times_lost += 1

    def send(
        self, message: Message | object, key: Any = None, timeout: float = 60.0, *, is_whole: bool = False
    ) -> Caller:
        """Let a caller send a message, or one of this name; it has not begun yet when this returns."""
        item: Any = message if isinstance(message, Message) or is_whole else Message(message)
        name = str(getattr(item, "name", item))
        caller = Caller(self.commit.send(item, key, timeout, is_whole=is_whole), name)
        self.callers.append(caller)
        return caller

    async def send_all(self, *messages: Message | object, key: Any = None, timeout: float = 60.0) -> list[Caller]:
        """Let a caller for each of the messages send it, and wait until nothing goes on without time passing."""
        callers = [self.send(message, key, timeout) for message in messages]
        await wait_until_blocked()
        return callers

    def request(
        self,
        operation: Callable[[float], Coroutine[Any, Any, Any]] | None = None,
        timeout: float = 60.0,
        *,
        name: str = "nobody",
    ) -> Caller:
        """Let a caller make a management request; by default the channel's `manage`."""

        async def manage(seconds: float) -> None:
            await self.channel.manage()

        caller = Caller(self.commit.request(operation or manage, timeout), name)
        self.callers.append(caller)
        return caller

    def check_that_nothing_is_left(self) -> None:
        """Check a closed one: every caller has an answer, the owner has ended, and only the owner has driven the channel."""
        commit = self.commit
        assert commit.is_closed
        assert self.channel.complaints == []
        assert self.times_lost == self.losses_to_tell
        assert commit._owner.done()
        traffic = commit._traffic
        assert (traffic.flights, traffic.ready, traffic.resting, traffic._lines) == ({}, {}, {}, {})
        assert not commit._requests.are_waiting
        assert all(caller.ended for caller in self.callers), self.callers
        assert self.channel.tasks <= {commit._owner}
        assert self.channel.contexts <= {0}
        assert self.channel.times_closed >= 1
        assert asyncio.current_task() is not commit._owner
