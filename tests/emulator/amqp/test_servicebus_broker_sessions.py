"""Sessions of the emulated Service Bus, without a network and with a clock of the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator.servicebus.errors import ServiceBusError
from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings
from tests.emulator.amqp.servicebus_broker import START, Holder, VirtualBroker, bodies, sent, token

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.servicebus.session_queue import Session, SessionQueue


@pytest.fixture
def broker() -> VirtualBroker:
    """A namespace without entities."""
    return VirtualBroker()


@pytest.fixture
def queue(broker: VirtualBroker) -> SessionQueue:
    """A queue with sessions, locked for 30 seconds each."""
    return broker.session_queue(lock_seconds=30, max_delivery_count=2)


def take_all(queue: SessionQueue, session: Session) -> list[bytes]:
    """Receive what there is in a session."""
    taken = []
    while (message := queue.receive_in(session)) is not None:
        taken.append(message.payload)
    return taken


def test_a_session_is_received_by_its_holder_alone(queue: SessionQueue) -> None:
    """In order, and no other session's messages with it."""
    queue.send([*sent(b"a1", session_id="a"), *sent(b"b1", session_id="b"), *sent(b"a2", session_id="a")])
    session = Holder(queue).accept("a")
    with pytest.raises(ServiceBusError) as refusal:
        Holder(queue).accept("a")
    assert refusal.value.condition == "com.microsoft:session-cannot-be-locked"
    assert take_all(queue, session) == [b"a1", b"a2"]
    assert take_all(queue, Holder(queue).accept("b")) == [b"b1"]


def test_the_next_session_is_the_one_that_waits_longest(queue: SessionQueue) -> None:
    """Sessions that are locked or without messages are passed over."""
    queue.send([*sent(b"a1", session_id="a"), *sent(b"b1", session_id="b"), *sent(b"c1", session_id="c")])
    Holder(queue).accept("b")
    assert Holder(queue).accept().session_id == "a"
    assert Holder(queue).accept().session_id == "c"
    assert queue.accept_session(None, Holder(queue)) is None


def test_who_waits_gets_a_session_that_is_released(queue: SessionQueue) -> None:
    """At once."""
    queue.send(sent(b"a1", session_id="a"))
    first, second = Holder(queue), Holder(queue)
    first.accept("a")
    queue.wait(second)
    first.release()
    assert second.session is not None


def test_who_waits_for_the_next_session_gets_it(queue: SessionQueue) -> None:
    """A message of a session without a holder wakes who waits."""
    waiting = Holder(queue)
    queue.wait(waiting)
    queue.send(sent(b"a1", session_id="a"))
    assert waiting.session is not None
    assert waiting.session.session_id == "a"


def test_a_released_session_goes_to_the_next_with_no_delivery_counted(queue: SessionQueue) -> None:
    """What was locked is ready again in its order, and the state is kept."""
    queue.send(sent(b"a1", b"a2", session_id="a"))
    first, second = Holder(queue), Holder(queue)
    session = first.accept("a")
    queue.set_session_state("a", b"half way")
    assert take_all(queue, session) == [b"a1", b"a2"]
    first.release()
    assert bodies(queue, "active") == [b"a1", b"a2"]
    queue.wait(second)
    second.serve()
    assert second.session is not None
    assert queue.get_session_state("a") == b"half way"
    message = queue.receive_in(second.session)
    assert message is not None
    assert (message.payload, message.delivery_count) == (b"a1", 0)
    assert not first.is_lost


def test_an_expired_session_lock_counts_the_deliveries(broker: VirtualBroker, queue: SessionQueue) -> None:
    """The holder learns it, its locks are worth nothing, and a message fails as often as it may, no more."""
    queue.send(sent(b"a1", session_id="a"))
    for count in range(2):
        holder = Holder(queue)
        message = queue.receive_in(holder.accept("a"))
        assert message is not None
        assert message.delivery_count == count
        lock = token(message)
        broker.let_time_pass(30)
        assert holder.is_lost
        with pytest.raises(ServiceBusError) as refusal:
            queue.complete(lock)
        assert refusal.value.condition == "com.microsoft:session-lock-lost"
        with pytest.raises(ServiceBusError, match="has expired"):
            queue.receive_in(holder.session)  # type: ignore[arg-type]  # accept has set it
    assert bodies(queue.dead_letters) == [b"a1"]
    assert queue.session_ids() == []


def test_renewing_a_session_renews_its_messages(broker: VirtualBroker, queue: SessionQueue) -> None:
    """Both last for 30 seconds more; a message has no lock of its own to renew."""
    queue.send(sent(b"a1", session_id="a"))
    session = Holder(queue).accept("a")
    message = queue.receive_in(session)
    assert message is not None
    assert message.locked_until == START + 30
    broker.let_time_pass(20)
    assert queue.renew_session_lock("a") == START + 50
    assert message.locked_until == START + 50
    with pytest.raises(ServiceBusError, match="renew the session's lock"):
        queue.renew_lock(token(message))
    broker.let_time_pass(29)
    queue.complete(token(message))
    broker.let_time_pass(1)
    for lost in (queue.renew_session_lock, queue.get_session_state):
        with pytest.raises(ServiceBusError, match="lock on the session 'a' has expired"):
            lost("a")


def test_a_session_may_be_accepted_before_it_has_messages(queue: SessionQueue) -> None:
    """Its holder gets what comes later; afterwards nothing of an empty session without a state is left."""
    holder = Holder(queue)
    session = holder.accept("new")
    assert queue.session_ids() == []
    queue.send(sent(b"a1", session_id="new"))
    assert queue.session_ids() == ["new"]
    message = queue.receive_in(session, deletes=True)
    assert message is not None
    holder.release()
    assert queue.session_ids() == []
    assert Holder(queue).accept("new") is not session


def test_a_state_outlives_the_messages(queue: SessionQueue) -> None:
    """A session with a state and nothing else is there, and is not the next session; clearing the state ends it."""
    holder = Holder(queue)
    holder.accept("a")
    queue.set_session_state("a", b"x")
    holder.release()
    assert queue.session_ids() == ["a"]
    assert queue.accept_session(None, Holder(queue)) is None
    holder.accept("a")
    queue.set_session_state("a", None)
    holder.release()
    assert queue.session_ids() == []


def test_expired_messages_make_no_session_available(broker: VirtualBroker, queue: SessionQueue) -> None:
    """A session whose messages are all gone is passed over."""
    queue.send([*sent(b"a1", session_id="a", time_to_live=5), *sent(b"b1", session_id="b")])
    broker.let_time_pass(5)
    assert list(queue._available) == ["b"]
    assert Holder(queue).accept().session_id == "b"
    assert queue.session_ids() == ["b"]
    assert list(queue._sessions) == ["b"]


def test_a_renewed_session_outlives_one_that_was_locked_later(broker: VirtualBroker, queue: SessionQueue) -> None:
    """Each lock expires at its own time."""
    first, second = Holder(queue), Holder(queue)
    first.accept("a")
    broker.let_time_pass(10)
    second.accept("b")
    broker.let_time_pass(10)
    queue.renew_session_lock("a")
    broker.let_time_pass(20)
    assert (first.is_lost, second.is_lost) == (False, True)
    broker.let_time_pass(10)
    assert first.is_lost


def test_a_session_lock_that_is_due_is_lost_even_before_the_alarm(broker: VirtualBroker, queue: SessionQueue) -> None:
    """Its state is nobody's to read or write, and an empty session is gone."""
    for use in (
        lambda: queue.get_session_state("a"),
        lambda: queue.set_session_state("a", b"x"),
        lambda: queue.renew_session_lock("a"),
    ):
        Holder(queue).accept("a")
        broker.now += 30
        with pytest.raises(ServiceBusError, match="has expired"):
            use()
    queue.send(sent(b"a1", session_id="a", time_to_live=5))
    broker.now += 5
    assert queue.session_ids() == []


def test_a_session_of_deferred_messages_is_not_the_next(broker: VirtualBroker, queue: SessionQueue) -> None:
    """Nothing in it could be received, though it is there."""
    queue.send([*sent(b"a1", session_id="a"), *sent(b"a2", session_id="a", time_to_live=5)])
    holder = Holder(queue)
    message = queue.receive_in(holder.accept("a"))
    assert message is not None
    queue.defer(token(message))
    holder.release()
    assert Holder(queue).accept("a").ready == [2]
    broker.let_time_pass(30)
    assert queue.accept_session(None, Holder(queue)) is None
    assert queue.session_ids() == ["a"]
    assert queue._available == {}  # it is not looked at again and again


def test_deferred_messages_need_their_session(queue: SessionQueue) -> None:
    """They are received in a session that is held, and by no other's name."""
    queue.send([*sent(b"a1", session_id="a"), *sent(b"b1", session_id="b")])
    holder = Holder(queue)
    message = queue.receive_in(holder.accept("a"))
    assert message is not None
    queue.defer(token(message))
    Holder(queue).accept("b")
    with pytest.raises(ServiceBusError, match="not found"):
        queue.receive_deferred([1], "b")
    with pytest.raises(ServiceBusError, match="name the session"):
        queue.receive_deferred([1])
    (deferred,) = queue.receive_deferred([1], "a")
    assert deferred.payload == b"a1"
    holder.release()
    assert bodies(queue, "deferred") == [b"a1"]
    with pytest.raises(ServiceBusError, match="expired"):
        queue.receive_deferred([1], "a")
    assert [m.payload for m in queue.peek(1, 10, "a")] == [b"a1"]


def test_messages_without_a_session_have_no_place_here(queue: SessionQueue) -> None:
    """They are refused as they are sent, the whole batch with them, and nobody receives but in a session."""
    with pytest.raises(ServiceBusError, match="SessionId was not set"):
        queue.send([*sent(b"a1", session_id="a"), *sent(b"a2")])
    assert len(queue) == 0
    with pytest.raises(ServiceBusError, match="requires sessions"):
        queue.receive()


def test_a_subscription_with_sessions_dead_letters_what_has_none(broker: VirtualBroker) -> None:
    """The topic's sender knows nothing of it, and the reason says what was missing."""
    topic = broker.namespace.create_topic("news", EntitySettings())
    news = broker.namespace.create_subscription("news", "all", EntitySettings(requires_session=True))
    topic.send([*sent(b"a1", session_id="a"), *sent(b"lost")])
    assert bodies(news) == [b"a1"]
    assert news.dead_letters is not None
    assert [(m.payload, m.dead_letter_reason) for m in news.dead_letters.messages()] == [
        (b"lost", "Session id is null.")
    ]
