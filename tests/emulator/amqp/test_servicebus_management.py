"""What ``queue/$management`` answers, and what it answers to nonsense, asked without a network."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool.emulator.amqp.message import Message, Value, encode_message
from fastapi_azure_pool.emulator.amqp.requests import Request
from fastapi_azure_pool.emulator.amqp.values import Array
from fastapi_azure_pool.emulator.servicebus.management import ManagementNode
from fastapi_azure_pool.emulator.servicebus.settings import EntitySettings
from tests.emulator.amqp.servicebus_broker import START, VirtualBroker, bodies, sent, take, token

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.requests import Response
    from fastapi_azure_pool.emulator.servicebus.entity import Entity
    from fastapi_azure_pool.emulator.servicebus.queue import MessageQueue


def ask(entity: Entity, operation: str, body: Any) -> Response:
    """Return what an entity's management answers to one request."""
    node = ManagementNode(entity)
    message = Message(application_properties={"operation": f"com.microsoft:{operation}"}, body=Value(body))
    link: Any = None
    return node.answer(Request(node, link, message))


@pytest.fixture
def broker() -> VirtualBroker:
    """A namespace without entities."""
    return VirtualBroker()


@pytest.fixture
def queue(broker: VirtualBroker) -> MessageQueue:
    """A queue with two messages."""
    queue = broker.queue(max_message_bytes=1000)
    payloads = [encode_message(Message(body=[b"a"])), encode_message(Message(body=[b"b"]))]
    queue.send(sent(*payloads))
    return queue


def lock(queue: MessageQueue) -> uuid.UUID:
    """Receive a message and return its lock token as requests carry it."""
    return uuid.UUID(bytes_le=token(take(queue)))


def test_properties_can_be_changed_as_a_message_is_settled(queue: MessageQueue) -> None:
    """Abandoning, deferring and dead-lettering each take properties-to-modify."""
    body = {
        "properties-to-modify": {"step": 1},
        "disposition-status": "abandoned",
        "lock-tokens": Array((lock(queue),)),
    }
    assert ask(queue, "update-disposition", body).status == 200
    assert queue.messages()[0].changed_properties == {"step": 1}
    body |= {"disposition-status": "defered", "lock-tokens": [lock(queue)]}
    assert ask(queue, "update-disposition", body | {"properties-to-modify": {"step": 2}}).status == 200
    assert [m.state.value for m in queue.messages()] == ["deferred", "active"]
    assert queue.messages()[0].changed_properties == {"step": 2}
    body |= {"disposition-status": "suspended", "lock-tokens": [lock(queue)], "deadletter-reason": "bad"}
    assert ask(queue, "update-disposition", body).status == 200
    assert queue.dead_letters is not None
    (dead,) = queue.dead_letters.messages()
    assert (dead.changed_properties, dead.dead_letter_reason, dead.dead_letter_description) == (
        {"step": 1},
        "bad",
        None,
    )


def test_several_locks_are_renewed_at_once(queue: MessageQueue) -> None:
    """Each gets its new end, in milliseconds since 1970."""
    answer = ask(queue, "renew-lock", {"lock-tokens": Array((lock(queue), lock(queue)))})
    assert answer.body == {"expirations": Array((int((START + 60) * 1000),) * 2)}


def test_a_lost_lock_is_gone(queue: MessageQueue) -> None:
    """Status 410 and the condition that the SDK knows."""
    for operation, more in (("renew-lock", {}), ("update-disposition", {"disposition-status": "completed"})):
        answer = ask(queue, operation, {"lock-tokens": [uuid.uuid4()], **more})
        assert (answer.status, answer.condition) == (410, "com.microsoft:message-lock-lost")


def test_sessions_are_listed_page_by_page(broker: VirtualBroker) -> None:
    """From where the last page ended; beyond the end there is no content."""
    sessions = broker.session_queue()
    for name in ("a", "b", "c"):
        sessions.send(sent(b"x", session_id=name))
    answer = ask(sessions, "get-message-sessions", {"skip": 1, "top": 5})
    assert answer.body == {"skip": 3, "sessions-ids": Array(("b", "c"))}
    assert ask(sessions, "get-message-sessions", {"skip": 3, "top": 5}).status == 204


def test_what_nobody_knows_is_not_implemented(queue: MessageQueue) -> None:
    """The answer names the operation."""
    answer = ask(queue, "add-rule", {})
    assert (answer.status, answer.condition) == (501, "amqp:not-implemented")
    assert "'com.microsoft:add-rule'" in answer.description


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("renew-lock", None),
        ("renew-lock", []),
        ("renew-lock", {}),
        ("renew-lock", {"lock-tokens": ["text"]}),
        ("schedule-message", {"messages": [1]}),
        ("schedule-message", {"messages": [{"message": "text"}]}),
        ("cancel-scheduled-message", {"sequence-numbers": Array(("1",))}),
        ("peek-message", {"from-sequence-number": 1}),
        ("peek-message", {"from-sequence-number": 1, "message-count": 1, "session-id": 7}),
        ("receive-by-sequence-number", {"sequence-numbers": [1]}),
        ("update-disposition", {"lock-tokens": []}),
    ],
)
def test_requests_without_sense_are_refused(queue: MessageQueue, operation: str, body: Any) -> None:
    """Status 400, and the description says what is missing."""
    answer = ask(queue, operation, body)
    assert (answer.status, answer.condition) == (400, "com.microsoft:argument-error")
    assert answer.description
    assert len(bodies(queue, "active")) == 2


def test_an_unknown_disposition_settles_nothing(queue: MessageQueue) -> None:
    """The message stays locked."""
    answer = ask(queue, "update-disposition", {"disposition-status": "eaten", "lock-tokens": [lock(queue)]})
    assert (answer.status, answer.description) == (400, "The disposition-status 'eaten' is unknown.")
    assert len(bodies(queue, "locked")) == 1


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("peek-message", {"from-sequence-number": 1, "message-count": 1}),
        ("renew-session-lock", {"session-id": "a"}),
    ],
)
def test_operations_need_an_entity_that_has_them(broker: VirtualBroker, operation: str, body: Any) -> None:
    """A topic gives no messages, and has no sessions; a plain queue has no sessions."""
    topic = broker.namespace.create_topic("news", EntitySettings())
    assert ask(topic, operation, body).condition == "amqp:not-allowed"
    if operation == "renew-session-lock":
        assert ask(broker.queue(), operation, body).condition == "amqp:not-allowed"
