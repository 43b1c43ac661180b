"""Sessions of the emulator's queues with the official SDK, over sockets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from fastapi_azure_pool.emulator import Emulator
from tests.emulator.amqp.servicebus_sdk import PATIENCE, Sdk, body, take, take_one

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the queue orders, which requires sessions."""
    async with Emulator() as azure:
        await azure.create_queue("orders", requires_session=True, lock_seconds=30)
        yield azure


@pytest.fixture
async def sdk(azure: Emulator) -> AsyncIterator[Sdk]:
    """The SDK, connected to it."""
    async with Sdk(azure) as sdk:
        yield sdk


async def test_a_session_is_received_in_order_and_alone(azure: Emulator, sdk: Sdk) -> None:
    """Its messages, no other's; who else wants the session is refused."""
    for text, session in ((b"a1", "a"), (b"b1", "b"), (b"a2", "a")):
        await sdk.send(ServiceBusMessage(text, session_id=session))
    receiver = await sdk.receiver(session_id="a")
    messages = await take(receiver, 2)
    assert [(body(m), m.session_id) for m in messages] == [(b"a1", "a"), (b"a2", "a")]
    with pytest.raises(SessionCannotBeLockedError, match="session 'a' cannot be accepted"):
        await sdk.receiver(session_id="a")
    for message in messages:
        await receiver.complete_message(message)
    assert [m.body for m in azure.queue_messages("orders")] == [b"b1"]


async def test_the_next_session_is_one_that_has_messages(sdk: Sdk) -> None:
    """The receiver learns which it got, and until when; with none left it waits, in vain until its time is over."""
    await sdk.send(ServiceBusMessage(b"b1", session_id="b"))
    receiver = await sdk.receiver(session_id=NEXT_AVAILABLE_SESSION)
    assert receiver.session.session_id == "b"
    until = receiver.session.locked_until_utc
    assert until is not None
    assert timedelta(seconds=20) < until - datetime.now(UTC) <= timedelta(seconds=30)
    assert body(await take_one(receiver)) == b"b1"
    with pytest.raises(OperationTimeoutError, match="no session was available"):
        await sdk.receiver(session_id=NEXT_AVAILABLE_SESSION, max_wait_time=0.2)


async def test_who_waits_for_a_session_gets_the_first_that_comes(sdk: Sdk) -> None:
    """The attach is answered when there is a session."""
    waiting = asyncio.create_task(sdk.receiver(session_id=NEXT_AVAILABLE_SESSION, max_wait_time=PATIENCE))
    await sdk.send(ServiceBusMessage(b"c1", session_id="c"))
    receiver = await waiting
    assert receiver.session.session_id == "c"
    assert body(await take_one(receiver)) == b"c1"


async def test_a_state_is_kept_in_the_session(azure: Emulator, sdk: Sdk) -> None:
    """The next receiver of the session finds it, and may clear it."""
    first = await sdk.receiver(session_id="a")
    assert await first.session.get_state() is None
    await first.session.set_state(b"half way")
    assert await first.session.get_state() == b"half way"
    await first.close()
    second = await sdk.receiver(session_id="a")
    assert await second.session.get_state() == b"half way"
    await second.session.set_state(None)
    assert await second.session.get_state() is None
    assert azure.amqp_requests.count("com.microsoft:set-session-state", "orders") == 2


async def test_renewing_lengthens_the_session_lock(sdk: Sdk) -> None:
    """The new end is the one that the broker tells."""
    receiver = await sdk.receiver(session_id="a")
    before = receiver.session.locked_until_utc
    assert before is not None
    renewed = await receiver.session.renew_lock()
    assert before <= renewed + timedelta(milliseconds=1)
    assert renewed <= datetime.now(UTC) + timedelta(seconds=30, milliseconds=1)
    assert receiver.session.locked_until_utc == renewed


async def test_an_expired_session_lock_detaches_its_receiver(azure: Emulator, sdk: Sdk) -> None:
    """The session goes to who waits for it, with the delivery counted; the old receiver learns why."""
    await azure.create_queue("brief", requires_session=True, lock_seconds=1.0)
    await sdk.send(ServiceBusMessage(b"a1", session_id="a"), to="brief")
    first = await sdk.receiver("brief", session_id="a")
    await take_one(first)
    second = await sdk.receiver("brief", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=PATIENCE)
    message = await take_one(second)
    assert (body(message), message.delivery_count) == (b"a1", 1)
    with pytest.raises(SessionLockLostError):
        await first.session.renew_lock()


async def test_a_closed_receiver_gives_its_session_back(sdk: Sdk) -> None:
    """What it had not settled is there for the next one, and counts no delivery."""
    await sdk.send(ServiceBusMessage(b"a1", session_id="a"))
    first = await sdk.receiver(session_id="a")
    await take_one(first)
    await first.close()
    second = await sdk.receiver(session_id=NEXT_AVAILABLE_SESSION, max_wait_time=PATIENCE)
    message = await take_one(second)
    assert (body(message), message.delivery_count) == (b"a1", 0)


async def test_a_dropped_connection_gives_its_sessions_back(azure: Emulator, sdk: Sdk) -> None:
    """The session's lock hangs on the link."""
    await sdk.send(ServiceBusMessage(b"a1", session_id="a"))
    await take_one(await sdk.receiver(session_id="a"))
    azure.faults.drop_connections("amqp")
    second = await sdk.receiver(session_id=NEXT_AVAILABLE_SESSION, max_wait_time=PATIENCE)
    assert body(await take_one(second)) == b"a1"


async def test_messages_of_a_session_are_settled_in_every_way(azure: Emulator, sdk: Sdk) -> None:
    """Abandoned, deferred and received again, dead-lettered, peeked at."""
    for number in range(3):
        await sdk.send(ServiceBusMessage(b"%d" % number, session_id="a"))
    receiver = await sdk.receiver(session_id="a")
    first, second, third = await take(receiver, 3)
    await receiver.abandon_message(first)
    await receiver.defer_message(second)
    await receiver.dead_letter_message(third, reason="bad")
    assert [(m.body, m.state) for m in azure.queue_messages("orders")] == [
        (b"0", "active"),
        (b"1", "deferred"),
        (b"2", "dead-lettered"),
    ]
    (deferred,) = await receiver.receive_deferred_messages(2)
    assert body(deferred) == b"1"
    assert [body(m) for m in await receiver.peek_messages(5, sequence_number=1)] == [b"0", b"1"]
    await receiver.complete_message(deferred)
    assert [m.body for m in azure.queue_messages("orders")] == [b"0", b"2"]
    graveyard = await sdk.receiver(sub_queue="deadletter")
    assert (await take_one(graveyard)).session_id == "a"


async def test_receive_and_delete_works_in_a_session(azure: Emulator, sdk: Sdk) -> None:
    """What was received is gone at once."""
    await sdk.send(ServiceBusMessage(b"a1", session_id="a"))
    receiver = await sdk.receiver(session_id="a", receive_mode="receiveanddelete")
    assert body(await take_one(receiver)) == b"a1"
    assert azure.queue_messages("orders") == []


async def test_receivers_must_suit_the_queue(azure: Emulator, sdk: Sdk) -> None:
    """A session's receiver for a queue with sessions, and no other for another."""
    await azure.create_queue("plain")
    with pytest.raises(ServiceBusError, match="entity that requires sessions"):
        await sdk.receiver("orders")
    with pytest.raises(ServiceBusError, match="entity that does not require sessions"):
        await sdk.receiver("plain", session_id="a")


async def test_the_sessions_can_be_listed(sdk: Sdk) -> None:
    """Those with messages or a state."""
    for session in ("a", "b"):
        await sdk.send(ServiceBusMessage(b"x", session_id=session))
    receiver = await sdk.receiver(session_id="c")
    await receiver.session.set_state(b"x")
    assert [session async for session in sdk.client.list_queue_sessions("orders")] == ["a", "b", "c"]
