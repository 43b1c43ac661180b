"""Links beside the one that a connection was opened for, those of partitions and of management, and what an error tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from azure.servicebus._pyamqp.error import AMQPException, ErrorCondition

from fastapi_azure_pool import SendError, SendInterrupted, SendRejected, SendTimedOut
from fastapi_azure_pool.clients import flights
from fastapi_azure_pool.clients.amqp.outcomes import disposition, rejection
from fastapi_azure_pool.clients.transfers import LOST, OutcomeKind
from tests.clients.messaging import channel_of, pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.clients.messaging import Hub, Queue


async def failure(sending: Awaitable[object]) -> SendError:
    """Give the error that a send ends with, in time."""
    with pytest.raises(SendError) as raised:
        async with asyncio.timeout(10):
            await sending
    return raised.value


async def test_a_partition_s_link_that_is_detached_is_opened_again(hub: Hub) -> None:
    """The service may take a partition's link alone: the next event for it opens another, on the same connection."""
    async with hub.client() as client:
        await client.send_event("one", partition_id="1")
        assert hub.azure.faults.detach_links("orders/Partitions/1") == 1
        channel = channel_of(pooled(client))
        await eventually(lambda: not channel._links["Partitions/1"].is_usable)
        await client.send_event("two", partition_id="1")
        await client.send_event("three")
        assert (hub.count("ATTACH", "orders/Partitions/1"), hub.count("OPEN")) == (2, 1)


@pytest.mark.parametrize("kind", ["refuse", "accept then detach"])
async def test_a_partition_s_link_that_the_service_refuses(hub: Hub, kind: str) -> None:
    """Who sends to a partition whose link is refused learns the condition; others go on over the same connection."""
    faults, path = hub.azure.faults, "orders/Partitions/1"
    async with hub.client(send_timeout_seconds=0.5) as client:
        if kind == "refuse":
            faults.refuse_attach("amqp:unauthorized-access", "Send is not allowed.", path=path, times=1)
        else:
            faults.accept_then_detach("amqp:unauthorized-access", "Send is not allowed.", path=path, times=1)
        refused, answer = await asyncio.gather(
            client.send_event("lost", partition_id="1"), client.send_event("kept"), return_exceptions=True
        )
        assert answer is None
        assert isinstance(refused, SendRejected)
        assert (refused.condition, refused.maybe_delivered) == ("amqp:unauthorized-access", False)
        await client.send_event("later", partition_id="1")
        assert hub.count("OPEN") == 1


async def test_a_link_that_never_answers_costs_its_callers_alone(hub: Hub) -> None:
    """A partition's link whose attach is never answered fails its callers in time; the others go on."""
    hub.azure.faults.stall(method="ATTACH", path="orders/Partitions/1", times=1)
    async with hub.client(send_timeout_seconds=0.2) as client:
        error, answer = await asyncio.gather(
            client.send_event("lost", partition_id="1"), client.send_event("kept"), return_exceptions=True
        )
        assert isinstance(error, SendTimedOut)
        assert (error.maybe_delivered, answer) == (False, None)
        await client.send_event("after")


async def test_scheduling_that_meets_trouble(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A management request that is dropped, stalled or refused fails in time, with what is known, and the pool heals."""
    monkeypatch.setattr(flights, "_RETRY_SECONDS", (0.01,))
    path, method = "work*", "com.microsoft:schedule-message"
    faults = queue.azure.faults
    async with queue.client(send_timeout_seconds=0.4) as client:
        faults.drop("after", method=method, path=path, times=1)
        error = await failure(client.send_message("dropped", delay=60))
        assert error.maybe_delivered
        await queue.settle_down(client)
        faults.stall(method=method, times=1)
        error = await failure(client.send_message("stalled", delay=60))
        assert isinstance(error, (SendTimedOut, SendInterrupted))
        assert error.maybe_delivered
        await queue.settle_down(client)
        faults.throttle(method=method, times=1)
        (number,) = await client.send_message("busy", delay=60)
        assert number
        assert queue.count("OPEN") == 3


async def test_a_detached_management_link_is_opened_again(queue: Queue) -> None:
    """The service takes an idle management link away: the next request opens another on the same connection, and fails nobody."""
    async with queue.client() as client:
        await client.send_message("one", delay=60)
        assert queue.azure.faults.detach_links("work/$management") == 2
        links = pooled(client).handler._mgmt_links
        await eventually(lambda: all(link._mgmt_error is not None for link in links.values()))
        await client.send_message("two", delay=60)
        assert (len(queue.stored()), queue.count("OPEN")) == (2, 1)


# What an error tells -----------------------------------------------------------------------------------------------------------

UNKNOWN = [
    condition
    for condition in ErrorCondition
    if condition.value.startswith((b"amqp:connection", b"amqp:session", b"amqp:link"))
    and condition is not ErrorCondition.LinkMessageSizeExceeded
] + [ErrorCondition.ClientError, ErrorCondition.UnknownError, ErrorCondition.SocketError]


@pytest.mark.parametrize("condition", list(ErrorCondition), ids=lambda condition: condition.value.decode())
def test_which_errors_of_the_sdk_say_what_became_of_a_message(condition: ErrorCondition) -> None:
    """An error about the link, the session, the connection or the client leaves it open; others are the service's refusal."""
    cause = AMQPException(condition, description=b"because")
    error = RuntimeError("from the SDK")
    error.__cause__ = cause
    for given in (cause, error):
        outcome = rejection(given)
        if condition in UNKNOWN or condition is ErrorCondition.VendorError:
            assert (outcome.kind, outcome.condition, outcome.maybe_delivered) == (OutcomeKind.LOST, None, True)
        else:
            assert (outcome.kind, outcome.condition) == (OutcomeKind.REJECTED, condition.value.decode())
            assert (outcome.description, outcome.error) == ("because", given)


@pytest.mark.parametrize(
    ("reason", "state", "kind"),
    [
        ("SETTLED", None, OutcomeKind.ACCEPTED),
        ("DISPOSITION_RECEIVED", {"accepted": []}, OutcomeKind.ACCEPTED),
        ("DISPOSITION_RECEIVED", {"released": []}, OutcomeKind.RELEASED),
        ("DISPOSITION_RECEIVED", {"modified": [True, None, None]}, OutcomeKind.RELEASED),
        ("DISPOSITION_RECEIVED", {"rejected": [None]}, OutcomeKind.REJECTED),
        ("DISPOSITION_RECEIVED", {"rejected": []}, OutcomeKind.REJECTED),
        ("DISPOSITION_RECEIVED", {"rejected": [[b"amqp:not-allowed"]]}, OutcomeKind.REJECTED),
        ("DISPOSITION_RECEIVED", {"received": [0, 0]}, OutcomeKind.LOST),
        ("DISPOSITION_RECEIVED", None, OutcomeKind.LOST),
        ("NOT_DELIVERED", None, OutcomeKind.LOST),
        ("TIMEOUT", None, OutcomeKind.LOST),
        (None, {"accepted": []}, OutcomeKind.LOST),
    ],
)
def test_every_disposition_has_an_outcome(reason: str | None, state: object, kind: OutcomeKind) -> None:
    """Whatever the SDK hands on of a disposition, only an acceptance is one, and what is not understood is unknown."""

    class Reason:
        name = reason

    outcome = disposition(Reason if reason else None, state)
    assert outcome.kind is kind
    assert outcome.maybe_delivered is (kind is OutcomeKind.LOST)
    if kind is OutcomeKind.LOST:
        assert outcome == LOST
