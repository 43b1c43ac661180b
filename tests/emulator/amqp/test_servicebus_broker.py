"""Queues and topics of the emulated Service Bus, without a network and with a clock of the test's."""

from __future__ import annotations

import pytest

from fastapi_azure_pool.emulator.servicebus.errors import ServiceBusError
from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings
from fastapi_azure_pool.emulator.servicebus.topic import Topic
from tests.emulator.amqp.servicebus_broker import START, Taker, VirtualBroker, bodies, sent, take, token

LOCK_LOST = "com.microsoft:message-lock-lost"


@pytest.fixture
def broker() -> VirtualBroker:
    """A namespace without entities."""
    return VirtualBroker()


def test_messages_come_in_the_order_in_which_they_were_sent(broker: VirtualBroker) -> None:
    """A queue numbers messages from 1 and gives them by their numbers."""
    queue = broker.queue()
    assert queue.send(sent(b"a", b"b")) == [1, 2]
    queue.send(sent(b"c"))
    assert [take(queue).payload for _ in range(3)] == [b"a", b"b", b"c"]
    assert queue.receive() is None


def test_a_received_message_is_locked_until_it_is_completed(broker: VirtualBroker) -> None:
    """Nobody else gets it meanwhile, and completing removes it."""
    queue = broker.queue(lock_seconds=30)
    queue.send(sent(b"a"))
    message = take(queue)
    assert message.locked_until == START + 30
    assert bodies(queue, "locked") == [b"a"]
    queue.complete(token(message))
    assert len(queue) == 0


def test_a_message_that_is_deleted_as_it_is_received_is_gone(broker: VirtualBroker) -> None:
    """RECEIVE_AND_DELETE leaves nothing to settle."""
    queue = broker.queue()
    queue.send(sent(b"a"))
    message = queue.receive(deletes=True)
    assert message is not None
    assert message.lock_token is None
    assert len(queue) == 0


def test_an_abandoned_message_takes_its_place_again(broker: VirtualBroker) -> None:
    """It comes before those that were sent after it, its delivery counted, with the properties that the receiver changed."""
    queue = broker.queue()
    queue.send(sent(b"a", b"b"))
    queue.abandon(token(take(queue)), {"attempt": 1})
    again = take(queue)
    assert (again.payload, again.delivery_count, again.changed_properties) == (b"a", 1, {"attempt": 1})


def test_a_released_message_counts_no_delivery(broker: VirtualBroker) -> None:
    """A client that never looked at a message does not bring it nearer to the dead letters."""
    queue = broker.queue(max_delivery_count=1)
    queue.send(sent(b"a"))
    queue.abandon(token(take(queue)), has_failed=False)
    assert take(queue).delivery_count == 0


def test_a_lock_expires_when_its_time_is_over(broker: VirtualBroker) -> None:
    """The message comes back with its delivery counted, and the old lock is worth nothing."""
    queue = broker.queue(lock_seconds=30)
    queue.send(sent(b"a"))
    message = take(queue)
    old = token(message)
    broker.let_time_pass(29.9)
    assert queue.receive() is None
    broker.let_time_pass(0.1)
    for settle in (queue.complete, queue.abandon, queue.defer, queue.dead_letter, queue.renew_lock):
        with pytest.raises(ServiceBusError) as refusal:
            settle(old)
        assert (refusal.value.condition, refusal.value.status) == (LOCK_LOST, 410)
    assert take(queue).delivery_count == 1


@pytest.mark.parametrize("operation", ["complete", "abandon", "defer", "dead_letter", "renew_lock"])
def test_a_lock_that_is_due_counts_for_nothing_even_before_the_alarm(broker: VirtualBroker, operation: str) -> None:
    """Whoever looks at a queue finds it as it is at that time, however late the timer is."""
    queue = broker.queue(lock_seconds=30)
    queue.send(sent(b"a"))
    late = token(take(queue))
    broker.now += 30
    with pytest.raises(ServiceBusError, match="lock supplied is invalid"):
        getattr(queue, operation)(late)
    assert broker.rings == 0


def test_what_is_due_is_no_longer_scheduled_even_before_the_alarm(broker: VirtualBroker) -> None:
    """It cannot be cancelled any more."""
    queue = broker.queue()
    queue.send(sent(b"a", scheduled_time=START + 5))
    broker.now += 5
    with pytest.raises(ServiceBusError, match="not found"):
        queue.cancel_scheduled([1])
    assert bodies(queue, "active") == [b"a"]


def test_renewing_locks_anew_from_now(broker: VirtualBroker) -> None:
    """A renewed lock outlives one that was taken after it."""
    queue = broker.queue(lock_seconds=30)
    queue.send(sent(b"a", b"b"))
    first = token(take(queue))
    broker.let_time_pass(20)
    take(queue)
    broker.let_time_pass(5)
    assert queue.renew_lock(first) == START + 55
    broker.let_time_pass(29)
    assert bodies(queue, "locked") == [b"a"]
    assert bodies(queue, "active") == [b"b"]
    queue.complete(first)


def test_the_last_failed_delivery_dead_letters(broker: VirtualBroker) -> None:
    """With max_delivery_count=2 the second failure, here an expired lock, moves the message to the dead letter queue."""
    queue = broker.queue(lock_seconds=10, max_delivery_count=2)
    queue.send(sent(b"a"))
    queue.abandon(token(take(queue)))
    take(queue)
    broker.let_time_pass(10)
    assert len(queue) == 0
    assert queue.dead_letters is not None
    message = take(queue.dead_letters)
    assert (message.payload, message.sequence_number, message.delivery_count) == (b"a", 1, 2)
    assert message.dead_letter_reason == "MaxDeliveryCountExceeded"
    assert message.dead_letter_description == "Message could not be consumed after 2 delivery attempts."


def test_a_dead_letter_says_why(broker: VirtualBroker) -> None:
    """The receiver's reason and description go along, and in the dead letter queue nothing happens by itself any more."""
    queue = broker.queue(lock_seconds=10, max_delivery_count=1)
    queue.send(sent(b"a", time_to_live=100))
    queue.dead_letter(token(take(queue)), "bad", "it has no total")
    dead = queue.dead_letters
    assert dead is not None
    for _ in range(3):
        message = take(dead)
        assert (message.dead_letter_reason, message.dead_letter_description) == ("bad", "it has no total")
        broker.let_time_pass(100)
    dead.dead_letter(token(take(dead)), "again", None)
    assert [(m.payload, m.dead_letter_reason) for m in dead.messages()] == [(b"a", "bad")]
    dead.complete(token(take(dead)))
    assert len(dead) == 0


def test_a_message_expires_unless_it_is_locked(broker: VirtualBroker) -> None:
    """What is no longer worth delivering goes when its time is over; a locked one when it is given back."""
    queue = broker.queue(lock_seconds=60)
    queue.send(sent(b"a", b"b", time_to_live=5))
    held = token(take(queue))
    broker.let_time_pass(5)
    assert bodies(queue) == [b"a"]
    queue.abandon(held)
    assert bodies(queue) == []
    assert bodies(queue.dead_letters) == []


def test_the_queue_bounds_how_long_messages_live(broker: VirtualBroker) -> None:
    """The default time to live holds for messages without one, and is the longest for those with one."""
    queue = broker.queue(default_time_to_live_seconds=10)
    queue.send(sent(b"default"))
    queue.send(sent(b"longer", time_to_live=1000))
    queue.send(sent(b"shorter", time_to_live=5))
    broker.let_time_pass(5)
    assert bodies(queue) == [b"default", b"longer"]
    broker.let_time_pass(5)
    assert bodies(queue) == []


def test_expired_messages_are_dead_lettered_where_that_is_asked(broker: VirtualBroker) -> None:
    """The reason says that they have expired."""
    queue = broker.queue(dead_letter_on_expiry=True)
    queue.send(sent(b"a", time_to_live=5))
    broker.let_time_pass(5)
    assert queue.dead_letters is not None
    assert [m.dead_letter_reason for m in queue.dead_letters.messages()] == ["TTLExpiredException"]


def test_a_scheduled_message_waits_for_its_time(broker: VirtualBroker) -> None:
    """It is enqueued behind what was sent meanwhile, under a new number, and lives from then on."""
    queue = broker.queue()
    assert queue.send(sent(b"later", scheduled_time=START + 50, time_to_live=10)) == [1]
    queue.send(sent(b"now"))
    assert bodies(queue, "scheduled") == [b"later"]
    broker.let_time_pass(49)
    assert take(queue).payload == b"now"
    assert queue.receive() is None
    broker.let_time_pass(1)
    message = take(queue)
    assert (message.payload, message.sequence_number, message.enqueued_sequence_number) == (b"later", 3, 1)
    assert (message.enqueued_time, message.expires_at) == (START + 50, START + 60)


def test_a_time_that_has_passed_is_now(broker: VirtualBroker) -> None:
    """A message scheduled for the past is enqueued at once."""
    queue = broker.queue()
    queue.send(sent(b"a", scheduled_time=START))
    assert take(queue).enqueued_time == START


def test_scheduled_messages_can_be_cancelled_all_or_none(broker: VirtualBroker) -> None:
    """One number that is not scheduled leaves the others alone."""
    queue = broker.queue()
    first, second = queue.send(sent(b"a", b"b", scheduled_time=START + 50))
    with pytest.raises(ServiceBusError) as refusal:
        queue.cancel_scheduled([first, 99])
    assert (refusal.value.condition, refusal.value.status) == ("com.microsoft:message-not-found", 404)
    queue.cancel_scheduled([first])
    broker.let_time_pass(50)
    assert bodies(queue) == [b"b"]
    with pytest.raises(ServiceBusError):
        queue.cancel_scheduled([second])


def test_a_deferred_message_is_received_by_its_number_only(broker: VirtualBroker) -> None:
    """It stays deferred when it is given back, and can be settled as any other."""
    queue = broker.queue()
    queue.send(sent(b"a", b"b"))
    queue.defer(token(take(queue)))
    assert take(queue).payload == b"b"
    assert queue.receive() is None
    (message,) = queue.receive_deferred([1])
    with pytest.raises(ServiceBusError, match="sequence number 1"):
        queue.receive_deferred([1])
    queue.abandon(token(message))
    assert bodies(queue, "deferred") == [b"a"]
    (message,) = queue.receive_deferred([1])
    assert message.delivery_count == 2
    queue.complete(token(message))
    assert bodies(queue) == [b"b"]


def test_deferred_messages_come_all_or_none(broker: VirtualBroker) -> None:
    """A number of a message that is not deferred leaves the others deferred; a number twice is one message."""
    queue = broker.queue()
    queue.send(sent(b"a", b"b"))
    queue.defer(token(take(queue)))
    with pytest.raises(ServiceBusError, match="sequence number 2"):
        queue.receive_deferred([1, 2])
    assert bodies(queue, "deferred") == [b"a"]
    assert [m.payload for m in queue.receive_deferred([1, 1], deletes=True)] == [b"a"]
    assert bodies(queue) == [b"b"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_deferred_message_expires_when_it_is_asked_for(broker: VirtualBroker, is_kept: bool) -> None:
    """Until then it stays, as on Azure; then it is not found any more, and dead or gone."""
    queue = broker.queue(dead_letter_on_expiry=is_kept)
    queue.send(sent(b"a", time_to_live=5))
    queue.defer(token(take(queue)))
    broker.let_time_pass(100)
    assert bodies(queue, "deferred") == [b"a"]
    with pytest.raises(ServiceBusError, match="not found"):
        queue.receive_deferred([1])
    assert bodies(queue) == []
    assert bodies(queue.dead_letters) == ([b"a"] if is_kept else [])


def test_peeking_shows_every_state_and_changes_none(broker: VirtualBroker) -> None:
    """From a number on, so many, in whatever state; an expired one is not shown."""
    queue = broker.queue()
    queue.send(sent(b"locked", b"deferred", b"active"))
    queue.send(sent(b"scheduled", scheduled_time=START + 50))
    take(queue)
    queue.defer(token(take(queue)))
    assert [m.payload for m in queue.peek(1, 10)] == [b"locked", b"deferred", b"active", b"scheduled"]
    assert [m.payload for m in queue.peek(2, 2)] == [b"deferred", b"active"]
    assert queue.peek(5, 10) == []
    assert take(queue).payload == b"active"


def test_a_message_id_is_taken_once_within_the_window(broker: VirtualBroker) -> None:
    """Duplicates get a number and are dropped, also within one send; after the window the id is new again."""
    queue = broker.queue(duplicate_detection_seconds=60)
    queue.send([*sent(b"first", b"twin", message_id="a"), *sent(b"other", message_id="b"), *sent(b"plain", b"plain")])
    assert len(queue.send(sent(b"again", message_id="a"))) == 1
    assert bodies(queue) == [b"first", b"other", b"plain", b"plain"]
    take(queue)
    broker.let_time_pass(59)
    queue.send(sent(b"still known", message_id="a"))
    broker.let_time_pass(1)
    queue.send(sent(b"new", message_id="a"))
    assert bodies(queue)[-1] == b"new"
    assert b"still known" not in bodies(queue)


def test_who_waits_is_served_when_something_comes(broker: VirtualBroker) -> None:
    """Each takes as much as it wants, the one that waits longest first; an expired lock serves them, too."""
    queue = broker.queue(lock_seconds=10)
    one, two = Taker(queue, 1), Taker(queue, 5)
    queue.send(sent(b"a", b"b", b"c"))
    assert (one.taken, two.taken) == ([b"a"], [b"b", b"c"])
    broker.let_time_pass(10)
    assert two.taken == [b"b", b"c", b"a", b"b", b"c"]
    assert bodies(queue, "active") == []


def test_what_is_given_back_reaches_who_waits(broker: VirtualBroker) -> None:
    """An abandoned message the one at the queue, a dead one the one at the dead letters, each at once."""
    queue = broker.queue()
    dead = queue.dead_letters
    assert dead is not None
    queue.send(sent(b"a"))
    lock = token(take(queue))
    waiting, mourning = Taker(queue, 1), Taker(dead, 2)
    queue.abandon(lock)
    assert waiting.taken == [b"a"]
    queue.send(sent(b"b"))
    queue.dead_letter(token(take(queue)))
    assert mourning.taken == [b"b"]
    (buried,) = dead.messages()
    dead.dead_letter(token(buried))
    assert mourning.taken == [b"b", b"b"]


def test_a_message_that_was_locked_before_is_deleted_without_a_lock(broker: VirtualBroker) -> None:
    """Nothing of the old lock is left in it."""
    queue = broker.queue()
    queue.send(sent(b"a"))
    queue.abandon(token(take(queue)))
    message = queue.receive(deletes=True)
    assert message is not None
    assert message.lock_token is None


def test_a_dead_letter_is_no_longer_deferred(broker: VirtualBroker) -> None:
    """A deferred message that failed too often is received from the dead letters as any other, again and again."""
    queue = broker.queue(max_delivery_count=2)
    queue.send(sent(b"a"))
    queue.defer(token(take(queue)))
    (message,) = queue.receive_deferred([1])
    queue.abandon(token(message))
    assert queue.dead_letters is not None
    for _ in range(2):
        queue.dead_letters.abandon(token(take(queue.dead_letters)))


def test_a_subscription_serves_who_waits(broker: VirtualBroker) -> None:
    """At once, without an alarm."""
    topic = broker.namespace.create_topic("news", EntitySettings())
    waiting = Taker(broker.namespace.create_subscription("news", "all", EntitySettings()), 1)
    topic.send(sent(b"a"))
    assert (waiting.taken, broker.rings) == ([b"a"], 0)


def test_a_scheduled_message_reaches_who_waits(broker: VirtualBroker) -> None:
    """The alarm rings once, at its time, and not before."""
    queue = broker.queue()
    waiting = Taker(queue, 1)
    queue.send(sent(b"later", scheduled_time=START + 50))
    broker.let_time_pass(49)
    assert (waiting.taken, broker.rings) == ([], 0)
    broker.let_time_pass(1)
    assert (waiting.taken, broker.rings) == ([b"later"], 1)


def test_the_alarm_does_not_ring_for_what_is_settled(broker: VirtualBroker) -> None:
    """Ten thousand messages that come and go within a minute cost one look at the clock."""
    queue = broker.queue(lock_seconds=60)
    for _ in range(10_000):
        queue.send(sent(b"a"))
        queue.complete(token(take(queue)))
        broker.let_time_pass(0.005)
    assert broker.rings == 0
    broker.let_time_pass(1000)
    assert broker.rings == 1


def test_a_topic_gives_each_subscription_its_own_message(broker: VirtualBroker) -> None:
    """What one subscription does with it is nothing to the other; without subscriptions it is gone."""
    namespace = broker.namespace
    topic = namespace.create_topic("news", EntitySettings())
    topic.send(sent(b"unheard"))
    all_ = namespace.create_subscription("news", "all", EntitySettings())
    few = namespace.create_subscription("news", "few", EntitySettings(max_delivery_count=1))
    topic.send(sent(b"a", time_to_live=100))
    all_.complete(token(take(all_)))
    message = take(few)
    assert (message.payload, message.sequence_number, message.enqueued_sequence_number) == (b"a", 1, 2)
    assert message.expires_at == START + 100
    few.abandon(token(message))
    assert bodies(few.dead_letters) == [b"a"]


def test_a_topic_schedules_before_it_copies(broker: VirtualBroker) -> None:
    """Subscriptions see a scheduled message at its time; until then it can be cancelled at the topic."""
    topic = broker.namespace.create_topic("news", EntitySettings(duplicate_detection_seconds=60))
    news = broker.namespace.create_subscription("news", "all", EntitySettings())
    waiting = Taker(news, 1)
    first, _ = topic.send(
        [*sent(b"no", message_id=1, scheduled_time=START + 5), *sent(b"yes", message_id=2, scheduled_time=START + 5)]
    )
    topic.send(sent(b"twin", message_id=2))
    topic.cancel_scheduled([first])
    assert bodies(news) == []
    broker.let_time_pass(5)
    assert waiting.taken == [b"yes"]
    assert isinstance(topic, Topic)


def test_a_topic_bounds_how_long_messages_live(broker: VirtualBroker) -> None:
    """Its default time to live holds in every subscription."""
    topic = broker.namespace.create_topic("news", EntitySettings(default_time_to_live_seconds=10))
    news = broker.namespace.create_subscription("news", "all", EntitySettings())
    topic.send([*sent(b"default"), *sent(b"longer", time_to_live=1000), *sent(b"shorter", time_to_live=5)])
    assert [message.expires_at for message in news.messages()] == [START + 10, START + 10, START + 5]


def test_entities_are_found_in_whatever_case(broker: VirtualBroker) -> None:
    """Addresses are compared as Azure does; dead letter queues and subscriptions take nothing from senders."""
    namespace = broker.namespace
    queue = broker.queue("Orders")
    namespace.create_topic("news", EntitySettings())
    subscription = namespace.create_subscription("NEWS", "all", EntitySettings())
    assert namespace.find("orders") is queue
    assert namespace.find("ORDERS/$deadletterqueue") is queue.dead_letters
    assert namespace.find("news/subscriptions/ALL") is subscription
    assert namespace.find("other") is None
    assert queue.dead_letters is not None
    assert [namespace.takes_messages(q) for q in (queue, subscription, queue.dead_letters)] == [True, False, False]


@pytest.mark.parametrize("name", ["", "/orders", "orders/", "a$b", "x" * 261])
def test_names_that_azure_refuses_are_refused(broker: VirtualBroker, name: str) -> None:
    """The message shows the name."""
    with pytest.raises(ValueError, match="must have 1 to 260 characters"):
        broker.queue(name)


def test_a_name_is_given_once(broker: VirtualBroker) -> None:
    """Queues and topics share their names, whatever the case; a subscription needs its topic."""
    broker.queue("orders")
    with pytest.raises(ValueError, match="'ORDERS' is there already"):
        broker.namespace.create_topic("ORDERS", EntitySettings())
    with pytest.raises(ValueError, match="there is no topic 'orders'"):
        broker.namespace.create_subscription("orders", "all", EntitySettings())
    broker.namespace.create_topic("news", EntitySettings())
    with pytest.raises(ValueError, match="must not contain a slash"):
        broker.namespace.create_subscription("news", "a/b", EntitySettings())
    with pytest.raises(ValueError, match="there are: orders, orders/"):
        broker.namespace.find_queue("news")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lock_seconds", 0),
        ("lock_seconds", 301),
        ("max_delivery_count", 0),
        ("max_delivery_count", 2001),
        ("max_message_bytes", 0),
        ("duplicate_detection_seconds", 0),
        ("default_time_to_live_seconds", -1),
    ],
)
def test_settings_have_bounds(name: str, value: float) -> None:
    """The message shows the name and the value."""
    with pytest.raises(ValueError, match=f"{name}={value} must be"):
        EntitySettings(**{name: value})  # type: ignore[arg-type]  # wrong values are the point
