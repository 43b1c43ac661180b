"""The links on which clients receive, with a link that only counts: what the SDK alone would not bring about."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, Message, encode_message
from fastapi_azure_pool.emulator.amqp.node import ACCEPTED
from fastapi_azure_pool.emulator.amqp.performatives import Accepted, Error, Modified, Rejected, Released
from fastapi_azure_pool.emulator.servicebus.errors import ServiceBusError
from fastapi_azure_pool.emulator.servicebus.nodes import QueueNode
from fastapi_azure_pool.emulator.servicebus.receivers import PlainReceiver, SessionReceiver
from tests.emulator.amqp.servicebus_broker import START, Holder, VirtualBroker, bodies, sent

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.node import Outcome
    from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue


class Delivery:
    """What a client refers to."""

    def __init__(self, tag: bytes) -> None:
        self.tag = tag


class CountingLink:
    """A link out of a queue that keeps what is sent on it.

    Attributes:
        credit: How much its client grants.
        deliveries: What was sent.
        answer: With which properties and filters it was accepted.
        error: With which condition and description it was refused or detached.
        is_refused: Set when it was refused.
    """

    is_settled_on_send = False

    def __init__(self, credit: int = 0, **filters: Any) -> None:
        self.credit = credit
        self.deliveries: list[Delivery] = []
        self.filters = {f"com.microsoft:{name.replace('_', '-')}": value for name, value in filters.items()}
        self.properties: dict[str, Any] = {"com.microsoft:receiver-name": "me"}
        self.answer: tuple[dict[str, Any] | None, dict[str, Any] | None] | None = None
        self.error: tuple[str, str] | None = None
        self.is_refused = asyncio.Event()

    def send(self, _: bytes, *, tag: bytes, is_settled: bool) -> None:
        """Take a message."""
        self.credit -= 1
        self.deliveries.append(Delivery(tag))

    def accept(self, properties: dict[str, Any] | None = None, filters: dict[str, Any] | None = None) -> None:
        """Be open."""
        self.answer = properties, filters

    def refuse(self, condition: str, description: str) -> None:
        """Be refused, and say why."""
        self.error = condition, description
        self.is_refused.set()

    def detach(self, condition: str, description: str) -> None:
        """Be gone, and say why."""
        self.error = condition, description


def receiver(queue: MessageQueue, link: Any) -> PlainReceiver:
    """Return the receiver of a link, open and served."""
    receiver = PlainReceiver(queue, link)
    receiver.open()
    receiver.serve()
    return receiver


@pytest.fixture
def queue() -> MessageQueue:
    """A queue without messages."""
    return VirtualBroker().queue()


def payload(body: bytes) -> bytes:
    """Return an encoded message."""
    return encode_message(Message(body=[body]))


def test_receivers_that_wait_take_turns(queue: MessageQueue) -> None:
    """Of two with credit to spare each gets every other message; one without credit gets none."""
    links = [CountingLink(10), CountingLink(0), CountingLink(10)]
    for link in links:
        receiver(queue, link)
    for _ in range(4):
        queue.send(sent(payload(b"x")))
    assert [len(link.deliveries) for link in links] == [2, 0, 2]


def test_credit_bounds_what_is_sent(queue: MessageQueue) -> None:
    """What is beyond it stays in the queue until there is more."""
    queue.send(sent(*[payload(b"x")] * 5))
    link = CountingLink(2)
    served = receiver(queue, link)
    assert len(link.deliveries) == 2
    queue.send(sent(payload(b"x")))
    assert len(link.deliveries) == 2
    link.credit = 3
    served.serve()
    assert len(link.deliveries) == 5
    assert len(bodies(queue, "active")) == 1


def test_a_closed_receiver_gets_nothing_and_leaves_its_locks(queue: MessageQueue) -> None:
    """What it had received is locked until the locks expire."""
    link = CountingLink(10)
    closed = receiver(queue, link)
    queue.send(sent(payload(b"x")))
    closed.close()
    queue.send(sent(payload(b"y")))
    assert [m.state.value for m in queue.messages()] == ["locked", "active"]


@pytest.mark.parametrize(
    ("outcome", "state", "deliveries"),
    [
        (Accepted(), None, None),
        (Released(), "active", 0),
        (Modified(), "active", 1),
        (Modified(delivery_failed=True, message_annotations={"k": 1}), "active", 1),
        (Modified(delivery_failed=True, undeliverable_here=True), "deferred", 1),
    ],
)
def test_each_outcome_settles_in_its_way(
    queue: MessageQueue, outcome: Outcome, state: str | None, deliveries: int | None
) -> None:
    """The client hears the outcome that it asked for."""
    queue.send(sent(payload(b"x")))
    link: Any = CountingLink(1)
    served = receiver(queue, link)
    assert served.settle(link.deliveries[0], outcome) is outcome
    found = [(m.state.value, m.delivery_count) for m in queue.messages()]
    assert found == ([] if state is None else [(state, deliveries)])


@pytest.mark.parametrize(
    ("error", "reason", "description"),
    [
        (None, None, None),
        (Error("com.microsoft:dead-letter", "why"), None, "why"),
        (Error("x", "why", {"DeadLetterReason": "bad", "DeadLetterErrorDescription": "more"}), "bad", "more"),
        (Error("x", None, {"DeadLetterReason": 7, "DeadLetterErrorDescription": 8}), None, None),
    ],
)
def test_a_rejected_message_is_dead_lettered(
    queue: MessageQueue, error: Error | None, reason: str | None, description: str | None
) -> None:
    """With the reason in the error's info; the error's description stands in for a missing one."""
    queue.send(sent(payload(b"x")))
    link: Any = CountingLink(1)
    served = receiver(queue, link)
    outcome = Rejected(error)
    assert served.settle(link.deliveries[0], outcome) is outcome
    assert queue.dead_letters is not None
    (dead,) = queue.dead_letters.messages()
    assert (dead.dead_letter_reason, dead.dead_letter_description) == (reason, description)


def test_settling_without_the_lock_is_rejected(queue: MessageQueue) -> None:
    """The client hears why."""
    link: Any = CountingLink()
    delivery: Any = Delivery(b"?" * 16)
    outcome = receiver(queue, link).settle(delivery, Accepted())
    assert isinstance(outcome, Rejected)
    assert outcome.error is not None
    assert outcome.error.condition == "com.microsoft:message-lock-lost"


def test_a_session_filter_that_is_no_text_is_refused() -> None:
    """A session's id is text; null asks for the next session."""
    link: Any = CountingLink(session_filter=7)
    with pytest.raises(ServiceBusError, match="session filter holds"):
        SessionReceiver(VirtualBroker().session_queue(), link).open()


def test_a_session_receiver_tells_its_client_which_session_and_until_when() -> None:
    """The end is in .NET's ticks since the year 1; the receiver's name comes back."""
    link: Any = CountingLink(session_filter="a")
    SessionReceiver(VirtualBroker().session_queue(lock_seconds=60), link).open()
    ticks = 621_355_968_000_000_000 + int((START + 60) * 10_000_000)
    assert link.answer == (
        {"com.microsoft:locked-until-utc": ticks, "com.microsoft:receiver-name": "me"},
        {"com.microsoft:session-filter": "a"},
    )


def test_a_receiver_whose_session_is_lost_gets_nothing_more() -> None:
    """It is detached, and takes nothing from who has the session now."""
    broker = VirtualBroker()
    queue = broker.session_queue(lock_seconds=10)
    queue.send(sent(payload(b"x"), session_id="a"))
    links: list[Any] = [CountingLink(0, session_filter="a"), CountingLink(0, session_filter="a")]
    first, second = (SessionReceiver(queue, link) for link in links)
    first.open()
    broker.let_time_pass(10)
    assert links[0].error == (
        "com.microsoft:session-lock-lost",
        "The lock on the session 'a' has expired. Accept the session again to go on.",
    )
    second.open()
    for link, served in zip(links, (first, second), strict=True):
        link.credit = 5
        served.serve()
    assert [len(link.deliveries) for link in links] == [0, 1]
    first.close()
    assert [m.state.value for m in queue.messages()] == ["locked"]


async def test_who_waits_for_a_session_in_vain_is_refused_in_time() -> None:
    """Also when others are served meanwhile, and what comes then finds nobody waiting."""
    queue = VirtualBroker().session_queue()
    link: Any = CountingLink(session_filter=None)
    link.properties["com.microsoft:timeout"] = 20
    waiting = SessionReceiver(queue, link)
    waiting.open()
    waiting.serve()
    async with asyncio.timeout(10):
        await link.is_refused.wait()
    assert link.error is not None
    assert link.error[0] == "com.microsoft:timeout"
    waiting.close()
    queue.send(sent(payload(b"x"), session_id="a"))
    assert link.answer is None
    assert Holder(queue).accept().session_id == "a"


async def test_who_has_its_session_waits_no_more() -> None:
    """No timer is left, and no place in the line until its client grants credit."""
    queue = VirtualBroker().session_queue()
    link: Any = CountingLink(session_filter=None)
    waiting = SessionReceiver(queue, link)
    waiting.open()
    timer = waiting._timer
    assert timer is not None
    queue.send(sent(payload(b"x"), session_id="a"))
    assert link.answer is not None
    assert timer.cancelled()
    assert queue._waiting == {}
    link.credit = 1
    waiting.serve()
    assert len(link.deliveries) == 1


async def test_a_client_that_gives_up_waiting_leaves_nothing() -> None:
    """Neither a timer nor a place in the line, where it would lock a session for nobody."""
    queue = VirtualBroker().session_queue()
    link: Any = CountingLink(session_filter=None)
    waiting = SessionReceiver(queue, link)
    waiting.open()
    timer = waiting._timer
    assert timer is not None
    waiting.close()
    assert timer.cancelled()
    assert queue._waiting == {}


def test_who_has_no_credit_left_leaves_the_line(queue: MessageQueue) -> None:
    """A client may take its credit back while its receiver waits."""
    link = CountingLink(1)
    served = receiver(queue, link)
    assert list(queue._waiting) == [served]
    link.credit = 0
    queue.send(sent(payload(b"x")))
    assert queue._waiting == {}
    assert link.deliveries == []


def test_a_batch_above_a_megabyte_is_refused_where_messages_may_be_larger() -> None:
    """The limit of batches is not the queue's."""
    queue = VirtualBroker().queue(max_message_bytes=4_000_000)
    node = QueueNode(queue, takes_messages=True)
    link: Any = None
    for size, is_taken in ((1024 * 1024 - 200, True), (1024 * 1024 + 200, False)):
        delivery: Any = Delivery(b"")
        delivery.message_format = BATCH_FORMAT
        delivery.payload = encode_message(Message(body=[payload(b"x" * size)]))
        outcome = node.receive(link, delivery)
        if is_taken:
            assert outcome is ACCEPTED
        else:
            assert isinstance(outcome, Rejected)
            assert outcome.error is not None
            assert outcome.error.condition == "amqp:link:message-size-exceeded"
    assert len(queue) == 1
