"""The broker against a model that knows no data structures: whatever happens, no message is lost, doubled or miscounted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastapi_azure_pool.emulator.servicebus.errors import ServiceBusError
from tests.emulator.amqp.servicebus_broker import VirtualBroker, sent, token

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue

LOCK_SECONDS = 10.0
MAX_DELIVERIES = 3


@dataclass(eq=False)
class Told:
    """What the model knows of one message."""

    body: bytes
    number: int
    place: str  # active, locked, scheduled, deferred, dead, gone
    time_to_live: float | None = None
    due: float = 0.0
    expires_at: float | None = None
    deliveries: int = 0
    locked_until: float = 0.0
    token: bytes = b""
    was_deferred: bool = False


class BrokerAgainstModel(RuleBasedStateMachine):
    """One queue, everything that may happen to its messages, and time."""

    @initialize(dead_letters_expired=st.booleans())
    def start(self, dead_letters_expired: bool) -> None:
        """Make the queue."""
        self.broker = VirtualBroker()
        self.dead_letters_expired = dead_letters_expired
        self.queue: MessageQueue = self.broker.queue(
            lock_seconds=LOCK_SECONDS, max_delivery_count=MAX_DELIVERIES, dead_letter_on_expiry=dead_letters_expired
        )
        self.told: list[Told] = []
        self.last_number = 0
        self.lost_tokens: list[bytes] = []

    @rule(
        count=st.integers(1, 3),
        time_to_live=st.sampled_from([None, None, 3.0, 15.0]),
        delay=st.sampled_from([0.0, 0.0, 4.0, 12.0]),
    )
    def send(self, count: int, time_to_live: float | None, delay: float) -> None:
        """Send some messages, now or for later."""
        now = self.broker.now
        names = [b"%d" % (len(self.told) + n) for n in range(count)]
        scheduled = now + delay if delay else None
        numbers = self.queue.send(sent(*names, time_to_live=time_to_live, scheduled_time=scheduled))
        assert numbers == list(range(self.last_number + 1, self.last_number + count + 1))
        self.last_number += count
        for body, number in zip(names, numbers, strict=True):
            message = Told(body, number, "scheduled", time_to_live, due=now + delay)
            self.told.append(message)
            if not delay:
                self._enqueue(message, now)

    @rule(deletes=st.booleans())
    def receive(self, deletes: bool) -> None:
        """Receive the next message."""
        message = self.queue.receive(deletes=deletes)
        expected = min(self._in("active"), key=lambda told: told.number, default=None)
        if expected is None:
            assert message is None
            return
        assert message is not None
        assert (message.payload, message.delivery_count) == (expected.body, expected.deliveries)
        if deletes:
            expected.place = "gone"
        else:
            self._lock(expected, token(message))

    @precondition(lambda self: self._in("locked"))
    @rule(data=st.data(), what=st.sampled_from(["complete", "abandon", "release", "defer", "dead_letter", "renew"]))
    def settle(self, data: st.DataObject, what: str) -> None:
        """Decide about a locked message."""
        told = data.draw(st.sampled_from(self._in("locked")))
        if what == "renew":
            told.locked_until = self.queue.renew_lock(told.token)
            assert told.locked_until == self.broker.now + LOCK_SECONDS
            return
        self.lost_tokens.append(told.token)
        if what == "complete":
            self.queue.complete(told.token)
            told.place = "gone"
        elif what == "dead_letter":
            self.queue.dead_letter(told.token, "model", None)
            told.place = "dead"
        elif what == "defer":
            self.queue.defer(told.token)
            told.place, told.was_deferred = "deferred", True
            told.deliveries += 1
        else:
            self.queue.abandon(told.token, has_failed=what == "abandon")
            self._give_back(told, has_failed=what == "abandon")

    @precondition(lambda self: self.lost_tokens)
    @rule(data=st.data())
    def settle_what_is_lost(self, data: st.DataObject) -> None:
        """Come too late with a lock: nothing changes."""
        lost = data.draw(st.sampled_from(self.lost_tokens))
        for operation in (self.queue.complete, self.queue.abandon, self.queue.defer, self.queue.dead_letter):
            with pytest.raises(ServiceBusError) as refusal:
                operation(lost)
            assert refusal.value.condition == "com.microsoft:message-lock-lost"

    @precondition(lambda self: self._in("deferred"))
    @rule(data=st.data())
    def receive_deferred(self, data: st.DataObject) -> None:
        """Receive a deferred message by its number."""
        told = data.draw(st.sampled_from(self._in("deferred")))
        if self._is_expired(told):
            with pytest.raises(ServiceBusError) as refusal:
                self.queue.receive_deferred([told.number])
            assert refusal.value.condition == "com.microsoft:message-not-found"
            self._expire(told)
        else:
            (message,) = self.queue.receive_deferred([told.number])
            assert message.payload == told.body
            self._lock(told, token(message))

    @precondition(lambda self: self._in("scheduled"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a scheduled message."""
        told = data.draw(st.sampled_from(self._in("scheduled")))
        self.queue.cancel_scheduled([told.number])
        told.place = "gone"

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 11.0]), with_alarm=st.booleans())
    def let_time_pass(self, seconds: float, with_alarm: bool) -> None:
        """Move the clock, with an alarm that rings in time or with one that is late."""
        end = self.broker.now + seconds
        while True:
            times = [
                *(told.due for told in self._in("scheduled")),
                *(told.locked_until for told in self._in("locked")),
                *(told.expires_at for told in self._in("active") if told.expires_at is not None),
            ]
            due = min(times, default=end + 1)
            if due > end:
                break
            # with a late alarm all of it happens at the end, in the same order but for what expires meanwhile
            at = due if with_alarm else end
            for told in sorted(self._in("scheduled"), key=lambda told: told.due):
                if told.due <= at:
                    self.last_number += 1
                    told.number = self.last_number
                    self._enqueue(told, told.due)
            for told in sorted(self._in("locked"), key=lambda told: told.locked_until):
                if told.locked_until <= at:
                    self.lost_tokens.append(told.token)
                    self._give_back(told, has_failed=True, at=at)
            for told in self._in("active"):
                if self._is_expired(told, at):
                    self._expire(told)
        if with_alarm:
            self.broker.let_time_pass(seconds)
        else:
            self.broker.now = end

    @invariant()
    def everything_is_where_it_should_be(self) -> None:
        """Each message that was sent is in one place, the model's, with the model's number and count, or gone there too."""
        dead_letters = self.queue.dead_letters
        assert dead_letters is not None
        found = [(m.payload, m.state.value, m.sequence_number, m.delivery_count) for m in self.queue.messages()]
        expected = [(t.body, t.place, t.number, t.deliveries) for t in self.told if t.place not in {"dead", "gone"}]
        assert sorted(found) == sorted(expected)
        found_dead = [(m.payload, m.sequence_number, m.delivery_count) for m in dead_letters.messages()]
        assert sorted(found_dead) == sorted((t.body, t.number, t.deliveries) for t in self._in("dead"))

    def _in(self, place: str) -> list[Told]:
        return [told for told in self.told if told.place == place]

    def _enqueue(self, told: Told, at: float) -> None:
        told.place = "active"
        told.expires_at = None if told.time_to_live is None else at + told.time_to_live

    def _lock(self, told: Told, lock_token: bytes) -> None:
        told.place, told.token = "locked", lock_token
        told.locked_until = self.broker.now + LOCK_SECONDS

    def _is_expired(self, told: Told, at: float | None = None) -> bool:
        return told.expires_at is not None and told.expires_at <= (self.broker.now if at is None else at)

    def _expire(self, told: Told) -> None:
        told.place = "dead" if self.dead_letters_expired else "gone"

    def _give_back(self, told: Told, *, has_failed: bool, at: float | None = None) -> None:
        told.deliveries += has_failed
        if has_failed and told.deliveries >= MAX_DELIVERIES:
            told.place = "dead"
        elif told.was_deferred:
            told.place = "deferred"
        elif self._is_expired(told, at):
            self._expire(told)
        else:
            told.place = "active"


TestBrokerAgainstModel = BrokerAgainstModel.TestCase
TestBrokerAgainstModel.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, database=None
)
