"""The worker: takes messages off the queue, confirms the orders that they name, and completes what it has confirmed.

Nothing is completed before its order is confirmed, so a process may be killed at any moment: the message comes back when its lock
has run out, and confirming an order a second time changes nothing. One task owns the receiver: the SDK's is for one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError
from azure.servicebus import ServiceBusReceiveMode
from azure.servicebus.exceptions import MessageLockLostError

from example_app.confirming import PoisonMessage
from example_app.outages import Outage, wait
from fastapi_azure_pool import PoolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver

    from example_app.confirming import Confirming
    from fastapi_azure_pool import ManagedAzureServiceBusSender

_logger = logging.getLogger(__name__)

_AT_ONCE = 20
_SECONDS_TO_CONFIRM = 5.0
_SECONDS_TO_OPEN = 30.0
_SECONDS_TO_ANSWER = 10.0
_SECONDS_TO_CLOSE = 5.0

# How long one call waits for messages. A call is never cancelled, since that may tear a message from the wire: this is how long it
# takes until the worker sees that it is to stop.
_SECONDS_TO_WAIT = 0.5

# A connection that died without a word looks like an empty queue: one that brought nothing for so long is opened anew.
_SECONDS_WITHOUT_MESSAGES = 240.0

# How long messages are held while what that takes is away. Giving one back counts as a delivery, and after ten, by default, the
# queue takes it for poison; so they are kept, and their locks renewed, and given back only when it has become a long outage.
_SECONDS_TO_HOLD = 300.0
_LONGEST_PAUSE = 10.0

# Of a message whose lock, by this machine's clock, is over when it arrives, the clock is wrong.
_SHORTEST_LOCK = 1.0


class ConfirmationWorker:
    """Works off the queue of orders to be confirmed.

    Args:
        confirmations: The queue's client.
        confirming: What is done with each message.
    """

    def __init__(self, confirmations: ManagedAzureServiceBusSender, confirming: Confirming) -> None:
        self._confirmations = confirmations
        self._confirming = confirming
        self._queue_outage = Outage("receiving orders to confirm")
        self._outage = Outage("confirming orders", longest_pause=_LONGEST_PAUSE)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until the service is to stop, then give back what is not confirmed; while the queue is away, try again and again."""
        while not stopping.is_set():
            try:
                async with self._open_receiver() as receiver:
                    await self._work(receiver, stopping)
            except Exception as error:  # noqa: BLE001 - a broken link shows as any type, and none of them may end the worker
                await wait(stopping, self._queue_outage.note(error))

    @asynccontextmanager
    async def _open_receiver(self) -> AsyncIterator[ServiceBusReceiver]:
        receiver = self._confirmations.get_receiver(receive_mode=ServiceBusReceiveMode.PEEK_LOCK)
        try:
            async with asyncio.timeout(_SECONDS_TO_OPEN):
                await receiver.__aenter__()
            yield receiver
        finally:
            # Gives back what has arrived and was not taken. On a broken link that fails too, and the lock's end does it.
            await _close(receiver)

    async def _work(self, receiver: ServiceBusReceiver, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _SECONDS_WITHOUT_MESSAGES
        while not stopping.is_set() and loop.time() < until:
            started = loop.time()
            async with asyncio.timeout(_SECONDS_TO_WAIT + _SECONDS_TO_ANSWER):
                messages = await receiver.receive_messages(max_message_count=_AT_ONCE, max_wait_time=_SECONDS_TO_WAIT)
            if not messages and loop.time() - started < _SECONDS_TO_WAIT / 2:
                raise ConnectionError("the receiver did not wait: its link is closed")
            # Whatever becomes of the messages: where each takes the link along, the pauses must not grow.
            self._queue_outage.end()
            if messages:
                await self._confirm(receiver, messages, stopping)
                until = loop.time() + _SECONDS_WITHOUT_MESSAGES

    async def _confirm(
        self, receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage], stopping: asyncio.Event
    ) -> None:
        """Confirm the orders of these messages and settle each; hold messages while what that takes is away."""
        loop = asyncio.get_running_loop()
        hold_until = loop.time() + _SECONDS_TO_HOLD
        lock_seconds = max(min(map(_locked_for, messages)), _SHORTEST_LOCK)
        held = list(messages)
        while True:
            later = await self._attempt(receiver, held, seconds=min(_SECONDS_TO_CONFIRM, lock_seconds / 3))
            if not later:
                self._outage.end()
                return
            held = [message for message, _ in later]
            pause = min(self._outage.note(later[0][1]), lock_seconds / 4)
            await wait(stopping, pause)
            if stopping.is_set() or loop.time() >= hold_until:
                for message in held:
                    await _settle(receiver.abandon_message(message))
                return
            await _renew(receiver, held, lock_seconds / 2)

    async def _attempt(
        self, receiver: ServiceBusReceiver, held: Sequence[ServiceBusReceivedMessage], *, seconds: float
    ) -> list[tuple[ServiceBusReceivedMessage, Exception]]:
        """Confirm all at once and settle, one after the other, what is decided; give the rest, each with what stood in its way."""
        outcomes = await asyncio.gather(
            *(self._confirming.confirm(b"".join(message.body), seconds=seconds) for message in held),
            return_exceptions=True,
        )
        later: list[tuple[ServiceBusReceivedMessage, Exception]] = []
        for message, outcome in zip(held, outcomes, strict=True):
            if outcome is None:
                await _settle(receiver.complete_message(message))
            elif isinstance(outcome, PoisonMessage):
                _logger.error("message %r goes to the dead letters: %s", message.message_id, outcome)
                await _settle(
                    receiver.dead_letter_message(message, reason=outcome.reason, error_description=outcome.description)
                )
            elif isinstance(outcome, (AzureError, PoolError, TimeoutError)):
                later.append((message, outcome))
            else:
                raise outcome
        return later


def _locked_for(message: ServiceBusReceivedMessage) -> float:
    until = message.locked_until_utc
    return (until - datetime.now(UTC)).total_seconds() if until is not None else 0.0


async def _settle(settling: Awaitable[None]) -> None:
    """Tell the queue what becomes of a message; one whose lock has run out belongs to whoever gets it next."""
    try:
        async with asyncio.timeout(_SECONDS_TO_ANSWER):
            await settling
    except MessageLockLostError:
        _logger.info("a message's lock ran out; it comes again")


async def _renew(receiver: ServiceBusReceiver, held: list[ServiceBusReceivedMessage], at_least: float) -> None:
    """Lock held messages anew that are not locked for so many seconds any more, and let go of those whose lock is lost."""
    for message in list(held):
        if _locked_for(message) < at_least:
            try:
                async with asyncio.timeout(_SECONDS_TO_ANSWER):
                    await receiver.renew_message_lock(message)
            except MessageLockLostError:
                held.remove(message)


async def _close(receiver: ServiceBusReceiver) -> None:
    """Close a receiver, to the end even when this is cancelled: one that is closed by half leaves its socket open."""
    closing = asyncio.get_running_loop().create_task(receiver.close(), name="close a receiver")
    try:
        await asyncio.wait((closing,), timeout=_SECONDS_TO_CLOSE)
    except asyncio.CancelledError:
        await asyncio.wait((closing,), timeout=_SECONDS_TO_CLOSE)
        raise
    finally:
        closing.cancel()
        (outcome,) = await asyncio.gather(closing, return_exceptions=True)
        if outcome is not None:
            _logger.info("a receiver was not closed as it should: %s", type(outcome).__name__)
