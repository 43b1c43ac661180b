"""A queue or subscription that requires sessions: its messages are received and locked session by session."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Protocol

from fastapi_azure_pool.emulator.servicebus.brokered_message import BrokeredMessage, MessageState
from fastapi_azure_pool.emulator.servicebus.errors import (
    ServiceBusError,
    needs_session_receiver,
    not_allowed,
    session_cannot_be_locked,
    session_lock_lost,
)
from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings

NO_SESSION = "Session id is null."


class SessionHolder(Protocol):
    """Who has a session's lock."""

    def lose_session(self) -> None:
        """Learn that the lock has expired."""


class Session:
    """One session.

    Attributes:
        session_id: Its id.
        state: What its receivers keep in it, or None.
        holder: Who has its lock, or None.
        locked_until: Until when.
        ready: The sequence numbers of its messages that can be received, as a heap.
        locked: Its messages that its holder has, by lock token.
        message_count: How many messages it has, scheduled ones apart.
    """

    __slots__ = ("holder", "locked", "locked_until", "message_count", "ready", "session_id", "state")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.state: bytes | None = None
        self.holder: SessionHolder | None = None
        self.locked_until = 0.0
        self.ready: list[int] = []
        self.locked: dict[bytes, BrokeredMessage] = {}
        self.message_count = 0


class SessionQueue(MessageQueue):
    """A queue whose messages are locked for as long as their session is, and by its holder only."""

    def __init__(
        self,
        address: str,
        settings: EntitySettings,
        clock: Callable[[], float],
        wake_by: Callable[[float], None],
        dead_letters: MessageQueue | None = None,
    ) -> None:
        super().__init__(address, settings, clock, wake_by, dead_letters)
        self._sessions: dict[str, Session] = {}
        # those with messages and without a holder, the one that is longest so first
        self._available: dict[str, Session] = {}
        # those with a holder in the order of their expiry: all are locked for equally long, and renewing puts one last
        self._held: dict[str, Session] = {}

    def accept_session(self, session_id: str | None, holder: SessionHolder) -> Session | None:
        """Lock a session, with messages or without; for None the next one that has messages.

        Returns:
            The session; None when none has messages.

        Raises:
            ServiceBusError: Someone else has it.
        """
        now = self._let_time_pass()
        session = self._next_available() if session_id is None else self._session(session_id)
        if session is None:
            return None
        if session.holder is not None:
            raise session_cannot_be_locked(session.session_id)
        self._available.pop(session.session_id, None)
        session.holder = holder
        self._hold_session(session, now)
        return session

    def release_session(self, session: Session, holder: SessionHolder) -> None:
        """Give a session back with its messages; no delivery counts as failed. Without effect when the lock is lost."""
        now = self._let_time_pass()
        if session.holder is holder:
            self._end_session(session, now, has_failed=False)
            self._announce()

    def renew_session_lock(self, session_id: str) -> float:
        """Lock a session anew from now on, and return until when.

        Raises:
            ServiceBusError: Nobody has its lock, or not any longer; so in the next two.
        """
        now = self._let_time_pass()
        session = self._held_session(session_id)
        del self._held[session_id]
        self._hold_session(session, now)
        for message in session.locked.values():
            message.locked_until = session.locked_until
        return session.locked_until

    def get_session_state(self, session_id: str) -> bytes | None:
        """Return what a session's receivers keep in it, or None."""
        self._let_time_pass()
        return self._held_session(session_id).state

    def set_session_state(self, session_id: str, state: bytes | None) -> None:
        """Keep something in a session; None clears it."""
        self._let_time_pass()
        self._held_session(session_id).state = state

    def session_ids(self) -> list[str]:
        """Return the ids of the sessions that have messages or a state."""
        self._let_time_pass()
        return [session.session_id for session in self._sessions.values() if session.message_count or session.state]

    def receive(self, *, deletes: bool = False) -> BrokeredMessage | None:  # noqa: ARG002 - as a plain queue has it
        """Refuse: messages are received in their sessions."""
        raise needs_session_receiver()

    def receive_in(self, session: Session, *, deletes: bool = False) -> BrokeredMessage | None:
        """Return the next message of a session, as receive does in a plain queue.

        Raises:
            ServiceBusError: The session's lock is lost.
        """
        now = self._let_time_pass()
        if session.holder is None:
            raise session_lock_lost(session.session_id)
        return self._take_next(session.ready, now, deletes=deletes)

    def renew_lock(self, lock_token: bytes) -> float:  # noqa: ARG002 - as a plain queue has it
        """Refuse: a message is locked with its session."""
        raise not_allowed("A message of a session is locked with its session: renew the session's lock.")

    # What happens inside

    def _check(self, messages: Sequence[BrokeredMessage]) -> None:
        if any(message.session_id is None for message in messages):
            raise not_allowed(
                "The SessionId was not set on a message, and it cannot be sent to the entity. Entities that have session "
                "support enabled can only receive messages that have the SessionId set to a valid value."
            )

    def _enqueue(self, message: BrokeredMessage) -> None:
        if message.session_id is None:
            # only a topic brings such a one: its sender knows nothing of the subscription
            if self.dead_letters is not None:
                self.dead_letters.take_dead(
                    message, NO_SESSION, "Session enabled entity doesn't allow a message without a session identifier."
                )
            return
        self._session_of(message).message_count += 1
        super()._enqueue(message)

    def _end_expired_locks(self, now: float) -> None:
        while self._held:
            session = next(iter(self._held.values()))
            if session.locked_until > now:
                return
            self._end_session(session, now, has_failed=True)

    def _next_lock_expiry(self) -> float:
        return next(iter(self._held.values())).locked_until if self._held else math.inf

    def _make_ready(self, message: BrokeredMessage) -> None:
        message.state = MessageState.ACTIVE
        session = self._session_of(message)
        heapq.heappush(session.ready, message.sequence_number)
        if session.holder is None:
            self._available[session.session_id] = session

    def _remove(self, message: BrokeredMessage) -> None:
        super()._remove(message)
        session = self._session_of(message)
        session.message_count -= 1
        self._forget_if_unused(session)

    def _hold(self, message: BrokeredMessage, now: float) -> None:  # noqa: ARG002 - the session's time counts
        session = self._session_of(message)
        message.locked_until = session.locked_until
        if message.lock_token is not None:
            session.locked[message.lock_token] = message

    def _unlock(self, lock_token: bytes) -> BrokeredMessage:
        message = super()._unlock(lock_token)
        del self._session_of(message).locked[lock_token]
        return message

    def _lock_lost(self) -> ServiceBusError:
        return session_lock_lost()

    def _require_session_lock(self, session_id: str | None) -> None:
        if session_id is None:
            raise not_allowed("The entity requires sessions: name the session.")
        self._held_session(session_id)

    def _hold_session(self, session: Session, now: float) -> None:
        session.locked_until = now + self.settings.lock_seconds
        self._held[session.session_id] = session
        self._wake_by(session.locked_until)

    def _held_session(self, session_id: str) -> Session:
        session = self._held.get(session_id)
        if session is None:
            raise session_lock_lost(session_id)
        return session

    def _end_session(self, session: Session, now: float, *, has_failed: bool) -> None:
        for token, message in list(session.locked.items()):
            self._unlock(token)
            self._give_back(message, now, has_failed=has_failed)
        del self._held[session.session_id]
        holder, session.holder = session.holder, None
        if session.ready:
            self._available[session.session_id] = session
        self._forget_if_unused(session)
        if has_failed and holder is not None:
            holder.lose_session()

    def _next_available(self) -> Session | None:
        for session in list(self._available.values()):
            while session.ready and session.ready[0] not in self._messages:
                heapq.heappop(session.ready)
            if session.ready:
                return session
            del self._available[session.session_id]
        return None

    def _session(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
        return session

    def _session_of(self, message: BrokeredMessage) -> Session:
        return self._session(message.session_id or "")

    def _forget_if_unused(self, session: Session) -> None:
        """Keep no session without messages, state and holder: its id need not come again."""
        if not session.message_count and session.state is None and session.holder is None:
            self._sessions.pop(session.session_id, None)
            self._available.pop(session.session_id, None)
