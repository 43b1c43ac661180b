"""The guard: an SDK whose parts are not as they are known is used in its own way, one transfer at a time."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool import MessageTooLarge, SendInterrupted, SendRejected, SendTimedOut
from fastapi_azure_pool.clients.amqp import connector, opening
from fastapi_azure_pool.clients.amqp.channel import TunedChannel
from fastapi_azure_pool.clients.amqp.opening import has_known_shape
from fastapi_azure_pool.clients.amqp.plain_channel import PlainChannel
from fastapi_azure_pool.clients.transfers import LOST, Outcome
from tests.clients.messaging import channel_of, pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from tests.clients.messaging import Hub, Messaging


def replace(whole: Any, path: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a value in the place of a part."""
    owner, _, name = path.rpartition(".")
    monkeypatch.setattr(attrgetter(owner)(whole) if owner else whole, name, value)


async def test_the_installed_sdk_is_known(messaging: Messaging) -> None:
    """With the SDK as it is installed connections are tuned."""
    async with messaging.client() as client:
        assert has_known_shape(pooled(client).handler)
        assert isinstance(channel_of(pooled(client)), TunedChannel)


@pytest.mark.parametrize("path", [*opening.PARTS, *opening.METHODS, *opening.STATES])
async def test_each_part_is_looked_at(messaging: Messaging, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """If any part of a handler is of another kind, its shape is not known."""
    async with messaging.client() as client:
        handler = pooled(client).handler
        with monkeypatch.context() as patch:
            # Nothing is this: no number, no reader, no method, and it has no name.
            replace(handler, path, object(), patch)
            assert not has_known_shape(handler)
        assert has_known_shape(handler)


@pytest.mark.parametrize("path", [*opening.TOKEN_PARTS, *opening.TOKEN_METHODS])
async def test_each_part_of_the_token_is_looked_at(
    messaging: Messaging, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """If a token could not be renewed as it is known, the shape is not known; without a token there is nothing to renew."""
    async with messaging.client() as client:
        handler = pooled(client).handler
        with monkeypatch.context() as patch:
            replace(handler._cbs_authenticator, path, object(), patch)
            assert not has_known_shape(handler)
        with monkeypatch.context() as patch:
            patch.setattr(handler, "_cbs_authenticator", None)
            assert has_known_shape(handler)


def test_what_is_no_handler_is_not_known() -> None:
    """Where the SDK keeps its handler elsewhere there is none, which is not known either."""
    assert not has_known_shape(None)


# The SDK's own way -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def unknown_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shape is known."""
    monkeypatch.setattr(connector, "has_known_shape", lambda handler: False)


@pytest.mark.usefixtures("unknown_shape")
async def test_an_sdk_of_another_shape_is_safe_to_share_too(messaging: Messaging) -> None:
    """Callers are joined, keep their order by key, and each gets its answer, with one transfer at a time."""
    async with messaging.client(max_size=1) as client:
        channel: object = channel_of(pooled(client))
        assert isinstance(channel, PlainChannel)
        assert channel.window == 1
        await asyncio.gather(*(messaging.send(client, f"{number}", f"key-{number % 2}") for number in range(100)))
        stored = [int(body) for body in messaging.stored()]
        assert sorted(stored) == list(range(100))
        for parity in range(2):
            assert [number for number in stored if number % 2 == parity] == [*range(parity, 100, 2)]
        assert messaging.transfers < 20


@pytest.mark.usefixtures("unknown_shape")
async def test_refusals_are_told_in_the_sdk_s_own_way_too(messaging: Messaging) -> None:
    """What the service refuses is a rejection with its condition, and harms the connection no more than the SDK lets it."""
    async with messaging.client() as client:
        messaging.azure.faults.reject("amqp:resource-limit-exceeded", "full", path=messaging.entity, times=1)
        with pytest.raises(SendRejected) as refused:
            await messaging.send(client, "one")
        assert refused.value.condition == "amqp:resource-limit-exceeded"
        assert not refused.value.maybe_delivered
        assert isinstance(refused.value, messaging.error)
        with pytest.raises(MessageTooLarge):
            await messaging.send(client, "x" * 2_000_000)
        await messaging.settle_down(client)
        await messaging.send(client, "two")
        assert messaging.stored() == [b"two"]


@pytest.mark.usefixtures("unknown_shape")
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_drop_is_unknown_in_the_sdk_s_own_way_too(messaging: Messaging, when: Any) -> None:
    """Nobody knows what became of a message whose connection dropped; another connection takes the next."""
    async with messaging.client() as client:
        messaging.azure.faults.drop(when, service="amqp", method="TRANSFER", times=1)
        with pytest.raises((SendInterrupted, SendTimedOut)) as lost:
            await messaging.send(client, "one")
        assert lost.value.maybe_delivered
        await messaging.settle_down(client)
        await messaging.send(client, "two")
        assert messaging.stored() == ([b"one", b"two"] if when == "after" else [b"two"])


@pytest.mark.usefixtures("unknown_shape")
async def test_a_stall_has_a_deadline_in_the_sdk_s_own_way_too(messaging: Messaging) -> None:
    """A service that never answers costs the time for sending, and the connection."""
    async with messaging.client(send_timeout_seconds=0.3) as client:
        messaging.azure.faults.stall(method="TRANSFER", times=1)
        with pytest.raises(SendTimedOut) as late:
            await messaging.send(client, "one")
        assert late.value.maybe_delivered
        await eventually(lambda: client.pool.stats().totals.closed == 1)
        await messaging.settle_down(client)
        await messaging.send(client, "two")
        assert messaging.stored() == [b"two"]


@pytest.mark.usefixtures("unknown_shape")
async def test_a_plain_channel_sends_to_partitions(hub: Hub) -> None:
    """Without a known shape the SDK sends to a partition over a connection of its own."""
    async with hub.client() as client:
        await client.send_event("one", partition_id="0")
        await client.send_event("two", partition_id="0")
    assert [(event.body, event.partition_id) for event in hub.azure.received_events("orders")] == [
        (b"one", "0"),
        (b"two", "0"),
    ]


async def test_without_the_sdk_s_encoder_its_own_way_is_taken(
    messaging: Messaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that keeps its encoder elsewhere is not tuned, and works."""
    monkeypatch.delattr(f"{messaging.sdk}._pyamqp._encode.encode_payload")
    async with messaging.client() as client:
        channel: object = channel_of(pooled(client))
        assert isinstance(channel, PlainChannel)
        await messaging.send(client, "one")
    assert messaging.stored() == [b"one"]


async def test_a_transfer_without_an_answer_breaks_the_sdk_s_sender() -> None:
    """It was broken off in the midst of its reading: nobody sends over it any more, and nobody knows what became of the message."""
    told: list[Outcome] = []

    async def send(payload: object, seconds: float) -> None:
        await asyncio.Event().wait()

    channel = PlainChannel(send, lambda: True)
    await channel.transfer(None, "payload", told.append, 0.01)
    assert told == [LOST]
    assert channel.is_closed


async def test_what_the_sdk_raises_is_told_without_its_frames() -> None:
    """They would hold the batch that was sent, and those who wait for it."""
    told: list[Outcome] = []
    raised = ValueError("from the SDK")

    async def send(payload: object, seconds: float) -> None:
        raise raised from KeyError("its cause")

    await PlainChannel(send, lambda: True).transfer(None, "payload", told.append, 10)
    assert told[0].error is raised
    assert raised.__traceback__ is None
