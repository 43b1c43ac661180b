"""What a send tells when something goes wrong, and what becomes of its connection: both services alike."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from azure.eventhub.exceptions import ConnectionLostError, EventDataSendError
from azure.eventhub.exceptions import OperationTimeoutError as EventHubTimeoutError
from azure.servicebus import exceptions as sb

from fastapi_azure_pool import (
    MessageTooLarge,
    SendError,
    SendInterrupted,
    SendRejected,
    SendTimedOut,
)
from fastapi_azure_pool.clients import flights
from tests.clients.messaging import Hub, pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator import Fault, Faults
    from tests.clients.messaging import Messaging

LONGEST_SECONDS = 10
"""No send of these tests may take longer, whatever happens: they are given less."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses before another attempt are 10, 20 and 40 ms in place of 1, 2 and 4 s."""
    monkeypatch.setattr(flights, "_RETRY_SECONDS", (0.01, 0.02, 0.04))


async def failure(sending: Any) -> SendError:
    """Give the error that a send ends with, in time."""
    with pytest.raises(SendError) as raised:
        async with asyncio.timeout(LONGEST_SECONDS):
            await sending
    return raised.value


# Answers that are no success ---------------------------------------------------------------------------------------------------

REJECTIONS: list[tuple[str, type[Exception], type[Exception], bool]] = [
    ("amqp:resource-limit-exceeded", EventDataSendError, sb.ServiceBusQuotaExceededError, False),
    ("amqp:unauthorized-access", EventDataSendError, sb.ServiceBusAuthorizationError, False),
    ("amqp:not-found", EventDataSendError, sb.MessagingEntityNotFoundError, False),
    ("amqp:not-allowed", EventDataSendError, sb.ServiceBusError, False),
    ("com.microsoft:entity-disabled", EventDataSendError, sb.MessagingEntityDisabledError, False),
    ("amqp:link:message-size-exceeded", EventDataSendError, sb.MessageSizeExceededError, False),
    ("amqp:internal-error", EventDataSendError, sb.ServiceBusError, True),
    ("com.microsoft:timeout", EventDataSendError, sb.OperationTimeoutError, True),
    ("com.example:unheard-of", EventDataSendError, sb.ServiceBusError, False),
]


@pytest.mark.parametrize("case", REJECTIONS, ids=[case[0] for case in REJECTIONS])
async def test_a_rejection_is_told_and_retires_nothing(
    messaging: Messaging, case: tuple[str, type[Exception], type[Exception], bool]
) -> None:
    """A rejected message fails with the service's condition, as the SDK's error too; its connection stays, and sends the next."""
    condition, hub_error, queue_error, maybe_delivered = case
    async with messaging.client() as client:
        connection = pooled(client)
        with messaging.azure.faults.reject(condition, "because of the test", path=messaging.entity, times=1):
            error = await failure(messaging.send(client, "one"))
        assert isinstance(error, SendRejected)
        assert isinstance(error, hub_error if isinstance(messaging, Hub) else queue_error)
        assert (error.condition, error.maybe_delivered) == (condition, maybe_delivered)
        assert condition in str(error)
        assert "because of the test" in str(error)
        assert isinstance(error, MessageTooLarge) is (condition == "amqp:link:message-size-exceeded")
        await messaging.send(client, "two")
        assert (pooled(client), messaging.count("OPEN"), messaging.transfers) == (connection, 1, 2)
    assert messaging.stored() == [b"two"]


async def test_an_internal_error_may_have_been_delivered(messaging: Messaging) -> None:
    """A service that failed in the midst of it leaves it open whether the message is there; the connection stays."""
    async with messaging.client() as client:
        messaging.azure.faults.fail(method="TRANSFER", path=messaging.entity, times=1)
        error = await failure(messaging.send(client, "one"))
        assert isinstance(error, SendRejected)
        assert (error.condition, error.maybe_delivered) == ("amqp:internal-error", True)
        await messaging.send(client, "two")
        assert messaging.count("OPEN") == 1


@pytest.mark.parametrize("fault", ["server-busy", "released", "modified"])
async def test_what_was_certainly_not_stored_is_sent_again(messaging: Messaging, fault: str) -> None:
    """Busy, released and modified: the same transfer goes again after a pause, its caller notices nothing, the connection stays."""
    faults = messaging.azure.faults
    async with messaging.client() as client:
        connection = pooled(client)
        if fault == "server-busy":
            faults.throttle(method="TRANSFER", path=messaging.entity, times=3)
        else:
            faults.settle("released" if fault == "released" else "modified", path=messaging.entity, times=3)
        await messaging.send(client, "one")
        assert (messaging.transfers, messaging.stored()) == (4, [b"one"])
        assert (pooled(client), messaging.count("OPEN")) == (connection, 1)


async def test_a_service_that_stays_busy_is_told_in_time(messaging: Messaging, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is over and the service is still busy, the caller learns that it is, and that nothing was stored."""
    monkeypatch.setattr(flights, "_RETRY_SECONDS", (0.01, 100.0))
    async with messaging.client(send_timeout_seconds=5) as client:
        connection = pooled(client)
        with messaging.azure.faults.throttle(method="TRANSFER", path=messaging.entity):
            error = await failure(messaging.send(client, "one"))
        assert isinstance(error, SendRejected)
        assert isinstance(error, EventDataSendError if isinstance(messaging, Hub) else sb.ServiceBusServerBusyError)
        assert (error.condition, error.maybe_delivered) == ("com.microsoft:server-busy", False)
        await messaging.send(client, "two")
        assert (messaging.stored(), pooled(client)) == ([b"two"], connection)


@pytest.mark.parametrize("outcome", ["released", "modified"])
async def test_an_outcome_that_stays_no_success_is_told_in_time(
    messaging: Messaging, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is released again and again fails in time, where the SDK's own sender would wait for ever."""
    monkeypatch.setattr(flights, "_RETRY_SECONDS", (0.01, 100.0))
    async with messaging.client(send_timeout_seconds=5) as client:
        with messaging.azure.faults.settle(outcome, path=messaging.entity):
            error = await failure(messaging.send(client, "one"))
        assert isinstance(error, SendRejected)
        assert (error.condition, error.maybe_delivered) == (None, False)
        assert "(released)" in str(error)
        await messaging.send(client, "two")
        assert (messaging.stored(), messaging.count("OPEN")) == ([b"two"], 1)


async def test_a_rejected_batch_fails_exactly_those_in_it(messaging: Messaging) -> None:
    """What was joined in one transfer shares its fate; what went before and after does not."""
    faults, entity = messaging.azure.faults, messaging.entity
    async with messaging.client(max_size=1) as client:
        faults.delay(0.05, service="amqp", method="TRANSFER", path=entity, times=1)
        first = asyncio.create_task(messaging.send(client, "first"))
        await eventually(lambda: messaging.transfers == 1)
        faults.reject("amqp:resource-limit-exceeded", path=entity, times=1)
        sends = (messaging.send(client, str(number)) for number in range(20))
        answers = await asyncio.gather(*sends, return_exceptions=True)
        await first
        await messaging.send(client, "last")
        assert messaging.transfers == 3
    assert [type(answer).__mro__[1] for answer in answers] == [SendRejected] * 20
    assert len({id(answer) for answer in answers}) == 20
    assert sorted(messaging.stored()) == [b"first", b"last"]


# Connections that break --------------------------------------------------------------------------------------------------------

BREAKS: dict[str, tuple[Callable[[Faults, str], Fault], int]] = {
    "before": (lambda faults, path: faults.drop("before", method="TRANSFER", path=path, times=1), 0),
    "after": (lambda faults, path: faults.drop("after", method="TRANSFER", path=path, times=1), 1),
    "midway": (lambda faults, path: faults.drop_midway(path=path, times=1), 0),
    "stall before": (lambda faults, path: faults.stall("before", method="TRANSFER", path=path, times=1), 0),
    "stall after": (lambda faults, path: faults.stall("after", method="TRANSFER", path=path, times=1), 1),
}


@pytest.mark.parametrize("way", BREAKS)
async def test_a_connection_that_breaks_under_a_message(messaging: Messaging, way: str) -> None:
    """Dropped or stalled, before or after it was stored: its caller is told in time that nobody knows; another one is opened."""
    inflict, stored = BREAKS[way]
    async with messaging.client(send_timeout_seconds=0.3) as client:
        connection = pooled(client)
        inflict(messaging.azure.faults, messaging.entity)
        error = await failure(messaging.send(client, b"x" * 150_000))
        is_stall = way.startswith("stall")
        assert isinstance(error, SendTimedOut if is_stall else SendInterrupted)
        if isinstance(messaging, Hub):
            assert isinstance(error, EventHubTimeoutError if is_stall else ConnectionLostError)
        else:
            assert isinstance(error, sb.OperationTimeoutError if is_stall else sb.ServiceBusConnectionError)
        assert isinstance(error, TimeoutError if is_stall else ConnectionError)
        assert error.maybe_delivered
        assert len(messaging.stored()) == stored
        await messaging.settle_down(client)
        assert pooled(client) is not connection
        opened = messaging.count("OPEN")
        await messaging.send(client, "next")
        assert (messaging.count("OPEN"), opened) == (2, 2)
    assert messaging.stored()[stored:] == [b"next"]


@pytest.mark.parametrize("way", ["before", "after"])
async def test_more_attempts_for_what_nobody_knows(messaging: Messaging, way: Any) -> None:
    """With send_attempts=2 a message of unknown fate is sent once more, over another connection, and may be there twice."""
    async with messaging.client(send_attempts=2) as client:
        messaging.azure.faults.drop(way, method="TRANSFER", path=messaging.entity, times=1)
        await messaging.send(client, "one")
        assert messaging.stored() == [b"one"] * (1 if way == "before" else 2)
        messaging.azure.faults.drop("before", method="TRANSFER", path=messaging.entity, times=2)
        error = await failure(messaging.send(client, "two"))
        assert error.maybe_delivered


async def test_a_drop_amid_many_senders_loses_nothing_that_was_told(messaging: Messaging) -> None:
    """When the connection drops under 200 senders each has an answer; what was acknowledged is there, the rest at most once."""
    async with messaging.client(max_size=1) as client:
        messaging.azure.faults.drop("after", method="TRANSFER", path=messaging.entity, times=2)
        answers = await asyncio.gather(
            *(messaging.send(client, str(number)) for number in range(200)), return_exceptions=True
        )
        stored = [int(body) for body in messaging.stored()]
        assert len(stored) == len(set(stored))
        for number, answer in enumerate(answers):
            if isinstance(answer, BaseException):
                assert isinstance(answer, SendError)
                assert answer.maybe_delivered or number not in stored
            else:
                assert number in stored
        assert 0 < sum(isinstance(answer, SendError) for answer in answers) <= 200
        await messaging.settle_down(client)


async def test_a_message_waits_for_credit(messaging: Messaging) -> None:
    """A link without credit takes nothing: messages wait, and leave by the same connection when there is credit again."""
    with messaging.azure.faults.withhold_credit(path=messaging.entity) as fault:
        async with messaging.client() as client:
            waiting = [asyncio.create_task(messaging.send(client, str(number))) for number in range(3)]
            await eventually(lambda: client.pool.stats().clients == 3)
            assert messaging.azure.faults.send_flow() >= 1
            assert messaging.transfers == 0
            fault.clear()
            await asyncio.gather(*waiting)
            await messaging.send(client, "after")
            assert messaging.count("OPEN") == 1
    assert sorted(messaging.stored()) == [b"0", b"1", b"2", b"after"]


async def test_a_link_that_never_gives_credit_is_given_up(messaging: Messaging) -> None:
    """Who waits in vain for credit is told in time, with certainty, and the connection is replaced by another."""
    with messaging.azure.faults.withhold_credit(path=messaging.entity):
        async with messaging.client(send_timeout_seconds=0.1) as client:
            connection = pooled(client)
            error = await failure(messaging.send(client, "lost"))
            assert isinstance(error, SendTimedOut)
            assert not error.maybe_delivered
            messaging.azure.faults.clear()
            await eventually(lambda: connection not in [held.transport for held in client.pool.connections])
            await messaging.settle_down(client)
            await messaging.send(client, "after")
            assert messaging.count("OPEN") == 2
    assert messaging.stored() == [b"after"]


async def test_no_more_leaves_than_there_is_credit_for(messaging: Messaging) -> None:
    """With credit for two transfers two leave, whatever the SDK grants itself, and the link stays."""
    with messaging.azure.faults.withhold_credit(credit=2, path=messaging.entity) as fault:
        async with messaging.client(coalesce=False, max_size=1) as client:
            sends = [asyncio.create_task(messaging.send(client, str(number), f"k{number}")) for number in range(5)]
            await eventually(lambda: messaging.transfers == 2)
            assert messaging.azure.faults.send_flow() >= 1
            await eventually(lambda: sum(send.done() for send in sends) == 2)
            assert messaging.transfers == 2
            fault.clear()
            await asyncio.gather(*sends)
            assert messaging.count("OPEN") == 1
    assert len(messaging.stored()) == 5


async def test_a_flow_at_any_moment_harms_nothing(messaging: Messaging) -> None:
    """A service that grants credit between, before and under sends gets every message once."""
    async with messaging.client(max_size=1) as client:
        for number in range(30):
            messaging.azure.faults.send_flow()
            sending = asyncio.create_task(messaging.send(client, str(number)))
            messaging.azure.faults.send_flow()
            await eventually(lambda before=number: messaging.transfers > before)  # type: ignore[misc]  # bound at once
            messaging.azure.faults.send_flow()
            await sending
        assert messaging.count("OPEN") == 1
    assert sorted(messaging.stored(), key=int) == [str(number).encode() for number in range(30)]


# Callers -----------------------------------------------------------------------------------------------------------------------


async def test_a_caller_cancelled_before_it_leaves_takes_its_message_along(messaging: Messaging) -> None:
    """Cancelled while it waits, a message is not sent; those that wait beside it are."""
    with messaging.azure.faults.withhold_credit(path=messaging.entity) as fault:
        async with messaging.client() as client:
            sends = [asyncio.create_task(messaging.send(client, str(number))) for number in range(5)]
            await eventually(lambda: client.pool.stats().clients == 5)
            await asyncio.sleep(0)
            sends[2].cancel()
            fault.clear()
            answers = await asyncio.gather(*sends, return_exceptions=True)
    assert [type(answer) for answer in answers].count(asyncio.CancelledError) == 1
    assert sends[2].cancelled()
    assert sorted(messaging.stored()) == [b"0", b"1", b"3", b"4"]


async def test_a_caller_cancelled_after_it_left_fails_no_other(messaging: Messaging) -> None:
    """Cancelled while the answer is under way, a message is stored all the same; the connection stays, and so do the others."""
    async with messaging.client() as client:
        with messaging.azure.faults.delay(0.05, method="TRANSFER", path=messaging.entity, service="amqp") as fault:
            sends = [asyncio.create_task(messaging.send(client, str(number))) for number in range(5)]
            await eventually(lambda: fault.strikes)
            sends[0].cancel()
            answers = await asyncio.gather(*sends, return_exceptions=True)
        assert [isinstance(answer, BaseException) for answer in answers] == [True, False, False, False, False]
        await eventually(lambda: len(messaging.stored()) == 5)
        assert messaging.count("OPEN") == 1


# Errors as such ----------------------------------------------------------------------------------------------------------------


async def test_errors_survive_pickle_and_copy_and_hold_no_key(messaging: Messaging) -> None:
    """Each kind of error keeps its types, text and data through pickle and copy, and holds no key anywhere."""
    entity, faults = messaging.entity, messaging.azure.faults
    errors = []
    async with messaging.client(send_timeout_seconds=0.1) as client:
        for fault in (
            faults.reject("amqp:not-allowed", path=entity, times=1),
            faults.drop(method="TRANSFER", path=entity, times=1),
            faults.stall(method="TRANSFER", path=entity, times=1),
        ):
            errors.append(await failure(messaging.send(client, "x")))
            assert not fault.is_active
            await messaging.settle_down(client)
        errors.append(await failure(messaging.send(client, b"x" * 2_000_000)))
    assert [type(error).__name__ for error in errors] == [
        "SendRejected",
        "SendInterrupted",
        "SendTimedOut",
        "MessageTooLarge",
    ]
    for error in errors:
        assert isinstance(error, messaging.error)
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert (type(other), str(other)) == (type(error), str(error))
            assert other.maybe_delivered == error.maybe_delivered
            assert getattr(other, "condition", None) == getattr(error, "condition", None)
        assert error.__cause__ is not None
        for text in (str(error), repr(error), str(error.__cause__), repr(error.__cause__), str(vars(error))):
            assert messaging.azure.amqp_key not in text
            assert "SharedAccessKey" not in text
