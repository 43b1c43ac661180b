"""The links on which clients receive: what moves messages from a queue to one client."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextvars import Context
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.amqp.performatives import Accepted, Error, Rejected, Released
from fastapi_azure_pool.emulator.amqp.values import Long
from fastapi_azure_pool.emulator.servicebus.errors import (
    ServiceBusError,
    argument_error,
    no_session_in_time,
    session_lock_lost,
)
from fastapi_azure_pool.emulator.servicebus.wire import write_message

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.link import OutgoingDelivery, OutgoingLink
    from fastapi_azure_pool.emulator.amqp.node import Outcome
    from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage
    from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue
    from fastapi_azure_pool.emulator.servicebus.session_queue import Session, SessionQueue

SESSION_FILTER = "com.microsoft:session-filter"
_LOCKED_UNTIL = "com.microsoft:locked-until-utc"
_TIMEOUT = "com.microsoft:timeout"
_RECEIVER_NAME = "com.microsoft:receiver-name"

# How long the service looks for a session when the client does not say.
_DEFAULT_SESSION_WAIT_SECONDS = 60.0

# .NET's ticks: tenths of a microsecond since the year 1.
_TICKS_PER_SECOND = 10_000_000
_TICKS_UNTIL_1970 = 621_355_968_000_000_000

_REASON = "DeadLetterReason"
_DESCRIPTION = "DeadLetterErrorDescription"


class Receiver(ABC):
    """One client's link out of a queue: sends as long as there is credit, and settles what comes back."""

    def __init__(self, queue: MessageQueue, link: OutgoingLink) -> None:
        self._queue = queue
        self._link = link

    @abstractmethod
    def open(self) -> None:
        """Accept the link, now or later, or refuse it."""

    @abstractmethod
    def _take(self) -> BrokeredMessage | None:
        """Take the next message from the queue."""

    def serve(self) -> None:
        """Send what there is and the client has credit for; wait for more if credit is left."""
        link, queue = self._link, self._queue
        deletes = link.is_settled_on_send
        while link.credit > 0:
            message = self._take()
            if message is None:
                queue.wait(self)
                return
            # whoever has got something stands behind the others that wait
            queue.stop_waiting(self)
            tag = message.lock_token if message.lock_token is not None else message.sequence_number.to_bytes(16)
            link.send(write_message(message), tag=tag, is_settled=deletes)
        queue.stop_waiting(self)

    def settle(self, delivery: OutgoingDelivery, outcome: Outcome) -> Outcome:
        """Do what the client decided, and return what came of it."""
        queue, token = self._queue, delivery.tag
        try:
            if isinstance(outcome, Accepted):
                queue.complete(token)
            elif isinstance(outcome, Released):
                queue.abandon(token, has_failed=False)
            elif isinstance(outcome, Rejected):
                reason, description = _dead_letter_reason(outcome.error)
                queue.dead_letter(token, reason, description)
            elif outcome.undeliverable_here:
                queue.defer(token, _properties(outcome.message_annotations))
            else:
                # counts as a failed delivery, whether or not the client says so
                queue.abandon(token, _properties(outcome.message_annotations))
        except ServiceBusError as error:
            return Rejected(error.error)
        return outcome

    def close(self) -> None:
        """Learn that the link is gone. What is locked stays so until the locks expire."""
        self._queue.stop_waiting(self)


class PlainReceiver(Receiver):
    """A link out of a queue without sessions."""

    def open(self) -> None:
        """Accept the link."""
        self._link.accept()

    def _take(self) -> BrokeredMessage | None:
        return self._queue.receive(deletes=self._link.is_settled_on_send)


class SessionReceiver(Receiver):
    """A link out of one session, which it holds as long as it is open.

    A client that asks for the next session waits for the answer to its attach until there is one, or its time is over.
    """

    def __init__(self, queue: SessionQueue, link: OutgoingLink) -> None:
        super().__init__(queue, link)
        self._sessions = queue
        self._session: Session | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Accept the link if the session can be locked; if there is none yet, wait for one.

        Raises:
            ServiceBusError: Someone else has the session, or its id is no text.
        """
        session_id = self._link.filters[SESSION_FILTER]
        if not isinstance(session_id, str | None):
            raise argument_error("The session filter holds a session's id, or null for the next session.")
        if not self._accept(session_id):
            self._queue.wait(self)
            milliseconds = self._link.properties.get(_TIMEOUT)
            seconds = milliseconds / 1000 if isinstance(milliseconds, int) else _DEFAULT_SESSION_WAIT_SECONDS
            self._timer = asyncio.get_running_loop().call_later(seconds, self._give_up, context=Context())

    def serve(self) -> None:
        """Lock a session if there was none before; else send from it."""
        if self._session is not None:
            super().serve()
        elif self._accept(None):
            self._stop_timer()
            self._queue.stop_waiting(self)

    def lose_session(self) -> None:
        """Detach the link: its session's lock has expired."""
        if self._session is not None:
            error = session_lock_lost(self._session.session_id)
            self._link.detach(error.condition, error.description)

    def close(self) -> None:
        """Give the session back."""
        super().close()
        self._stop_timer()
        if self._session is not None:
            self._sessions.release_session(self._session, self)

    def _take(self) -> BrokeredMessage | None:
        if self._session is None or self._session.holder is not self:
            return None
        return self._sessions.receive_in(self._session, deletes=self._link.is_settled_on_send)

    def _accept(self, session_id: str | None) -> bool:
        session = self._sessions.accept_session(session_id, self)
        if session is None:
            return False
        self._session = session
        ticks = _TICKS_UNTIL_1970 + round(session.locked_until * _TICKS_PER_SECOND)
        properties: dict[str, Any] = {_LOCKED_UNTIL: Long(ticks)}
        if (name := self._link.properties.get(_RECEIVER_NAME)) is not None:
            properties[_RECEIVER_NAME] = name
        self._link.accept(properties, {SESSION_FILTER: session.session_id})
        return True

    def _give_up(self) -> None:
        self._timer = None
        error = no_session_in_time()
        self._link.refuse(error.condition, error.description)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _dead_letter_reason(error: Error | None) -> tuple[str | None, str | None]:
    if error is None:
        return None, None
    info = {str(name): value for name, value in (error.info or {}).items()}
    reason, description = info.get(_REASON), info.get(_DESCRIPTION, error.description)
    return (
        reason if isinstance(reason, str) else None,
        description if isinstance(description, str) else None,
    )


def _properties(annotations: dict[Any, Any] | None) -> dict[str, Any]:
    """Return the application properties that an outcome changes: they come as annotations, which are keyed by symbols."""
    return {str(name): value for name, value in (annotations or {}).items()}
