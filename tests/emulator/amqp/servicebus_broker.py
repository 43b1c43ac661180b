"""A broker under a clock of the test's, whose alarm rings as the real one does: when it was asked to, and at no other time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage
from fastapi_azure_pool.emulator.servicebus.namespace import Namespace
from fastapi_azure_pool.emulator.servicebus.session_queue import SessionQueue
from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue
    from fastapi_azure_pool.emulator.servicebus.session_queue import Session

START = 1_000_000.0


class VirtualBroker:
    """A namespace, and the time in it.

    Attributes:
        now: What time it is.
        rings: How often the alarm has rung.
    """

    def __init__(self) -> None:
        self.now = START
        self.rings = 0
        self._alarm = math.inf
        self.namespace = Namespace(lambda: self.now, self._wake_by)

    def queue(self, name: str = "orders", **settings: Any) -> MessageQueue:
        """Make a queue."""
        return self.namespace.create_queue(name, EntitySettings(**settings))

    def session_queue(self, name: str = "orders", **settings: Any) -> SessionQueue:
        """Make a queue with sessions."""
        queue = self.queue(name, requires_session=True, **settings)
        assert isinstance(queue, SessionQueue)
        return queue

    def let_time_pass(self, seconds: float) -> None:
        """Move the clock; the alarm rings on the way."""
        end = self.now + seconds
        while self._alarm <= end:
            self.now = max(self.now, self._alarm)
            self._alarm = math.inf
            self.rings += 1
            self.namespace.tend()
            self._wake_by(self.namespace.next_due)
        self.now = end

    def _wake_by(self, when: float) -> None:
        self._alarm = min(self._alarm, when)


class Taker:
    """A consumer that takes so many messages as soon as they are there, and keeps them."""

    def __init__(self, queue: MessageQueue, credit: int) -> None:
        self.taken: list[bytes] = []
        self._queue = queue
        self._credit = credit
        queue.wait(self)

    def serve(self) -> None:
        """Take messages while there are some and some are wanted."""
        while self._credit > 0:
            message = self._queue.receive()
            if message is None:
                return
            self._credit -= 1
            self.taken.append(message.payload)
        self._queue.stop_waiting(self)


class Holder:
    """Who holds a session, or waits for the next one.

    Attributes:
        session: The session.
        is_lost: Whether its lock has expired.
    """

    def __init__(self, queue: SessionQueue) -> None:
        self.session: Session | None = None
        self.is_lost = False
        self._queue = queue

    def accept(self, session_id: str | None = None) -> Session:
        """Lock a session."""
        self.session = self._queue.accept_session(session_id, self)
        assert self.session is not None
        return self.session

    def release(self) -> None:
        """Give the session back."""
        assert self.session is not None
        self._queue.release_session(self.session, self)

    def serve(self) -> None:
        """Lock the next session."""
        if self.session is None:
            self.session = self._queue.accept_session(None, self)

    def lose_session(self) -> None:
        """Remember that the lock is lost."""
        self.is_lost = True


def sent(*bodies: bytes, **details: Any) -> list[BrokeredMessage]:
    """Return messages as a sender makes them; the broker never looks into their bytes."""
    return [BrokeredMessage(body, **details) for body in bodies]


def bodies(queue: MessageQueue | None, state: str | None = None) -> list[bytes]:
    """Return the bodies of a queue's messages by sequence number, of all or of those in one state."""
    assert queue is not None
    return [message.payload for message in queue.messages() if state in {None, message.state.value}]


def take(queue: MessageQueue) -> BrokeredMessage:
    """Receive a message that must be there."""
    message = queue.receive()
    assert message is not None
    return message


def token(message: BrokeredMessage) -> bytes:
    """Return the lock token of a message that must be locked."""
    assert message.lock_token is not None
    return message.lock_token
