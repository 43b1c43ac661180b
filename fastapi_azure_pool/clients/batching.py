"""Building a batch of many callers' messages, without holding anybody else up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastapi_azure_pool.clients.bare_errors import bare
from fastapi_azure_pool.clients.taking_turns import yield_to_others

if TYPE_CHECKING:
    from fastapi_azure_pool.clients.flights import Waiting
    from fastapi_azure_pool.clients.transfers import Packing

_logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")


class Joining:
    """Whether the messages to one entity may be joined; shared by all connections to it.

    Args:
        entity: The entity's name, for the log.
        is_allowed: Whether joining is wanted at all.
    """

    __slots__ = ("_entity", "is_allowed")

    def __init__(self, entity: str, *, is_allowed: bool) -> None:
        self._entity = entity
        self.is_allowed = is_allowed

    def stop(self) -> None:
        """Join no more, because the service refuses it; says so once."""
        if self.is_allowed:
            self.is_allowed = False
            _logger.warning(
                "%s refuses messages with different ids in one batch (partitioning with duplicate detection):"
                " they are sent one by one from now on. coalesce=False says so from the start",
                self._entity,
            )


class Batching(Generic[ItemT]):
    """Makes transfers of messages in line.

    Args:
        packing: How messages become a transfer.
        joining: Whether messages are joined.
    """

    __slots__ = ("_joining", "_packing")

    def __init__(self, packing: Packing[ItemT], joining: Joining) -> None:
        self._packing = packing
        self._joining = joining

    async def build(self, key: Any, candidates: list[Waiting[ItemT]]) -> tuple[list[Waiting[ItemT]], Any]:
        """Pack as many of the candidates as fit, in their order; who cannot be sent at all is told so.

        Returns:
            The members, all of whom still wait, and the payload. There may be none.
        """
        while present := [waiting for waiting in candidates if not waiting.answer.done()]:
            members, payload = await self._pack(key, present)
            if not any(member.answer.done() for member in members):
                return members, payload
            # Somebody has left while the batch was being built, and takes the message along.
        return [], None

    async def _pack(self, key: Any, candidates: list[Waiting[ItemT]]) -> tuple[list[Waiting[ItemT]], Any]:
        members: list[Waiting[ItemT]] = []
        batch: Any = None
        for count, waiting in enumerate(candidates, 1):
            if members and (waiting.leaves_alone or members[0].leaves_alone or not self._joining.is_allowed):
                break
            if waiting.is_whole:  # The first, or the first of those that can be sent at all.
                return [waiting], waiting.item
            if batch is None:
                batch = await self._packing.new_batch(key)
            if self._add(batch, waiting, is_first=not members):
                members.append(waiting)
            elif not waiting.answer.done():
                break
            await yield_to_others(count)
        return members, self._packing.payload(batch) if members else None

    def _add(self, batch: Any, waiting: Waiting[ItemT], *, is_first: bool) -> bool:
        """Add one message in its caller's context; an error of it is its caller's own."""
        if waiting.answer.done():
            return False
        try:
            return waiting.context.run(self._packing.add, batch, waiting.item, is_first=is_first)
        except Exception as error:  # noqa: BLE001 - the SDK's encoder may raise anything for what the message holds
            waiting.answer.set_exception(bare(error))
            return False
