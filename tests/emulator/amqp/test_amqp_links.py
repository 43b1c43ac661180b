"""Links: credit both ways, settlement, and messages larger than a frame or than they may be."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.emulator.amqp.message import BATCH_FORMAT, Message, encode_message
from fastapi_azure_pool.emulator.amqp.performatives import (
    Accepted,
    Attach,
    Detach,
    Disposition,
    Flow,
    Modified,
    Rejected,
    Released,
    Transfer,
)
from fastapi_azure_pool.emulator.amqp.values import Symbol
from tests.emulator.amqp.amqp_peer import Peer, connect, connected, event

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator import Emulator

FIRST = "hub/Partitions/0"
READ_FIRST = "hub/ConsumerGroups/$Default/Partitions/0"


async def test_attach_is_answered_with_every_field(azure: Emulator) -> None:
    """The answer to a sender echoes what it asked for, and tells the largest message; credit follows."""
    async with connected(azure) as peer:
        peer.attach_sender(f"amqps://{azure.amqp_authority}/hub")
        answer = await peer.expect(Attach)
        assert (answer.role, answer.handle, answer.snd_settle_mode, answer.max_message_size) == (True, 0, 0, 1_048_576)
        assert answer.target is not None
        assert answer.target.address == f"amqps://{azure.amqp_authority}/hub"
        flow = await peer.expect(Flow)
        assert (flow.handle, flow.delivery_count, flow.link_credit, flow.next_incoming_id) == (0, 0, 1000, 0)


@pytest.mark.parametrize(
    ("address", "condition"),
    [
        ("nothing", "amqp:not-found"),
        ("hub/Partitions/4", "amqp:not-found"),
        ("hub/ConsumerGroups/other/Partitions/0", "amqp:not-found"),
        (None, "amqp:invalid-field"),
        (READ_FIRST, "amqp:not-allowed"),
    ],
)
async def test_a_sender_to_nowhere_is_refused(azure: Emulator, address: str | None, condition: str) -> None:
    """It gets an attach without a target, then a detach that says why; the session goes on."""
    async with connected(azure) as peer:
        peer.attach_sender(address)  # type: ignore[arg-type]  # None is one of the cases
        assert (await peer.expect(Attach)).target is None
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert (detach.handle, detach.closed, detach.error.condition) == (0, True, condition)
        peer.send(Detach(0, closed=True))
        await peer.sender("HUB/")


async def test_a_receiver_from_nowhere_is_refused(azure: Emulator) -> None:
    """It gets an attach without a source, then a detach that says why."""
    async with connected(azure) as peer:
        peer.attach_receiver("hub")
        assert (await peer.expect(Attach)).source is None
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert detach.error.condition == "amqp:not-allowed"


async def test_detach_is_answered_once(azure: Emulator) -> None:
    """A client's detach is confirmed; its answer to the server's own is not, and the handle is free again."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        peer.send(Detach(0, closed=True))
        assert (await peer.expect(Detach)).closed is True
        await peer.sender("hub")
        assert azure.faults.detach_links("hub") == 1
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert detach.error.condition == "amqp:link:detach-forced"
        peer.send(Detach(0, closed=True))
        peer.transfer(event())  # it was under way: ignored
        await peer.sender("hub")


@pytest.mark.parametrize("frames", [1, 2, 7])
async def test_a_message_in_several_frames_is_one(azure: Emulator, frames: int) -> None:
    """A message is put together from its frames, also between the frames of another link."""
    async with connected(azure) as peer:
        await peer.sender(FIRST)
        assert await peer.outcome(event(b"ab" * 20_000), frames=frames) == Accepted()
    assert [one.body for one in azure.received_events("hub")] == [b"ab" * 20_000]


async def test_messages_of_two_links_may_alternate_frame_by_frame(azure: Emulator) -> None:
    """Each link puts together its own message."""
    async with connected(azure) as peer:
        await peer.sender("hub/Partitions/0", handle=0)
        await peer.sender("hub/Partitions/1", handle=1)
        first, second = event(b"first"), event(b"second")
        peer.send(Transfer(0, 0, b"a", 0, settled=False, more=True), first[:4])
        peer.send(Transfer(1, 1, b"b", 0, settled=False, more=True), second[:4])
        peer.send(Transfer(0), first[4:])
        peer.send(Transfer(1), second[4:])
        assert [(await peer.expect(Disposition)).first for _ in range(2)] == [0, 1]
    assert [(one.partition_id, one.body) for one in azure.received_events("hub")] == [("0", b"first"), ("1", b"second")]


async def test_an_aborted_message_never_was(azure: Emulator) -> None:
    """A sender may give up in the midst of a message: it is not stored and gets no outcome."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        peer.send(Transfer(0, 0, b"a", 0, settled=False, more=True), b"\0\0")
        peer.send(Transfer(0, aborted=True))
        peer.send(Transfer(0, 1, b"b", 0, settled=False), event(b"whole"))
        assert (await peer.expect(Disposition)).first == 1
    assert [one.body for one in azure.received_events("hub")] == [b"whole"]


async def test_the_server_splits_large_messages(azure: Emulator) -> None:
    """A message to a client is cut into frames of the size that this client takes."""
    body = bytes(range(256)) * 40
    async with connected(azure) as other, connect(azure) as peer:
        await other.sender(FIRST)
        await other.outcome(event(body))
        await peer.open(max_frame_size=1024)
        await peer.begin()
        peer.attach_receiver(READ_FIRST)
        await peer.expect(Attach)
        peer.grant(1)
        payload, frames = b"", 0
        while True:
            frame = await peer.read()
            transfer = frame.performative
            assert isinstance(transfer, Transfer)
            assert (transfer.delivery_id is None) == (frames > 0)
            assert len(frame.payload) <= 1024
            payload += frame.payload
            frames += 1
            if not transfer.more:
                break
        assert frames > 10
        assert body in payload


@pytest.mark.parametrize("frames", [1, 3])
async def test_a_message_above_the_limit_costs_the_link(azure: Emulator, frames: int) -> None:
    """As on Azure the link is detached, with the sizes in the description; nothing is stored."""
    await azure.create_eventhub("small", max_message_bytes=1000)
    async with connected(azure) as peer:
        await peer.sender("small")
        assert await peer.outcome(event(b"x" * 900)) == Accepted()
        peer.transfer(event(b"x" * 1000), frames=frames)
        detach = await peer.wait_for(Detach)
        assert detach.error is not None
        assert detach.error.condition == "amqp:link:message-size-exceeded"
        assert "exceeds the limit (1000 bytes)" in (detach.error.description or "")
    assert len(azure.received_events("small")) == 1


async def test_settled_messages_get_no_answer(azure: Emulator) -> None:
    """A message that its sender settled itself is stored and not answered."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        peer.transfer(event(b"fire"), settled=True)
        number = peer.transfer(event(b"forget"))
        assert (await peer.expect(Disposition)).first == number
    assert sorted(one.body for one in azure.received_events("hub")) == [b"fire", b"forget"]


async def test_a_malformed_message_is_rejected_alone(azure: Emulator) -> None:
    """What is no message gets amqp:decode-error as its outcome; the link goes on."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        for payload in (b"\xff\xff", b"\x00\x53\x75\xa0\xff", b"\x00\x53\x11\x45"):
            outcome = await peer.outcome(payload)
            assert isinstance(outcome, Rejected)
            assert outcome.error is not None
            assert outcome.error.condition == "amqp:decode-error"
        assert isinstance(await peer.outcome(b"\x00\x53\x75\x41", message_format=BATCH_FORMAT), Rejected)
        assert await peer.outcome(event()) == Accepted()


async def test_more_messages_than_credit_cost_the_link(azure: Emulator) -> None:
    """A client that sends without credit is detached."""
    with azure.faults.withhold_credit(credit=2):
        async with connected(azure) as peer:
            assert (await peer.sender("hub")).link_credit == 2
            for _ in range(2):
                assert await peer.outcome(event()) == Accepted()
            peer.transfer(event())
            detach = await peer.expect(Detach)
            assert detach.error is not None
            assert detach.error.condition == "amqp:link:transfer-limit-exceeded"
    assert len(azure.received_events("hub")) == 2


async def test_a_receiver_gets_no_more_than_it_asked_for(azure: Emulator) -> None:
    """Messages come up to the credit; raising it brings the next; an echo tells what is left."""
    async with connected(azure) as peer:
        await peer.sender(FIRST)
        for number in range(5):
            await peer.outcome(event(b"%d" % number))
        peer.attach_receiver(READ_FIRST)
        assert (await peer.expect(Attach)).initial_delivery_count == 0
        peer.grant(2)
        assert [(await peer.expect(Transfer)).delivery_id for _ in range(2)] == [0, 1]
        peer.grant(0, delivery_count=2, echo=True, next_incoming_id=2)
        assert (await peer.expect(Flow)).link_credit == 0
        peer.grant(7, delivery_count=0, echo=True, next_incoming_id=2)
        assert [(await peer.expect(Transfer)).delivery_id for _ in range(3)] == [2, 3, 4]
        assert (await peer.expect(Flow)).link_credit == 2


async def test_draining_gives_the_credit_back(azure: Emulator) -> None:
    """A client that drains gets what there is and a flow that says that no credit is left; nothing comes later."""
    async with connected(azure) as peer:
        await peer.sender(FIRST)
        await peer.outcome(event())
        peer.attach_receiver(READ_FIRST)
        await peer.expect(Attach)
        peer.grant(10, drain=True)
        await peer.expect(Transfer)
        flow = await peer.expect(Flow)
        assert (flow.drain, flow.link_credit, flow.delivery_count) == (True, 0, 10)
        await peer.outcome(event())
        peer.grant(1, delivery_count=10, next_incoming_id=1)
        await peer.expect(Transfer)


async def test_a_flow_of_a_sender_that_wants_an_echo_gets_one(azure: Emulator) -> None:
    """A sender may ask how much credit it has."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        await peer.outcome(event())
        peer.grant(0, handle=0, echo=True)
        flow = await peer.expect(Flow)
        assert (flow.delivery_count, flow.link_credit) == (1, 999)
        peer.send(Flow(incoming_window=1, next_outgoing_id=0, outgoing_window=1, echo=True))
        assert (await peer.expect(Flow)).handle is None


async def fill(peer: Peer, bodies: tuple[bytes, ...]) -> None:
    """Put messages into the queue."""
    await peer.sender("orders", handle=5)
    for body in bodies:
        await peer.outcome(event(body), handle=5)


@pytest.mark.parametrize(
    ("state", "left"),
    [
        (Accepted(), []),
        (Released(), ["active"]),
        (Modified(delivery_failed=True), ["active"]),
        (Rejected(), ["dead-lettered"]),
    ],
)
async def test_an_outcome_is_confirmed_to_who_waits_for_it(
    azure: Emulator, state: Accepted | Released | Modified | Rejected, left: list[str]
) -> None:
    """With rcv-settle-mode second a client's unsettled disposition is done, and echoed settled."""
    async with connected(azure) as peer:
        await fill(peer, (b"one",))
        peer.attach_receiver("orders", rcv_settle_mode=1)
        await peer.expect(Attach)
        peer.grant(1)
        transfer = await peer.expect(Transfer)
        assert len(transfer.delivery_tag or b"") == 16
        assert not transfer.settled
        peer.send(Disposition(role=True, first=0, last=0, settled=False, state=state))
        answer = await peer.expect(Disposition)
        assert (answer.role, answer.first, answer.last, answer.settled, answer.state) == (False, 0, 0, True, state)
        assert [message.state for message in azure.queue_messages("orders")] == left


async def test_one_disposition_may_settle_a_range(azure: Emulator) -> None:
    """All messages from first to last are settled by it, whatever else the numbers would cover."""
    async with connected(azure) as peer:
        await fill(peer, (b"1", b"2", b"3", b"4"))
        peer.attach_receiver("orders", rcv_settle_mode=1)
        await peer.expect(Attach)
        peer.grant(4)
        for _ in range(4):
            await peer.expect(Transfer)
        peer.send(Disposition(role=True, first=1, last=2, settled=True, state=Accepted()))
        peer.send(Disposition(role=True, first=3, last=0xFFFFFF00, settled=True, state=Accepted()))
        peer.send(Disposition(role=True, first=0, settled=False, state=Accepted()))
        assert (await peer.expect(Disposition)).first == 0
        assert azure.queue_messages("orders") == []


async def test_settled_sending_leaves_nothing_to_decide(azure: Emulator) -> None:
    """With snd-settle-mode settled a message is gone from the queue as it is sent."""
    async with connected(azure) as peer:
        await fill(peer, (b"one",))
        peer.attach_receiver("orders", snd_settle_mode=1)
        await peer.expect(Attach)
        peer.grant(1)
        assert (await peer.expect(Transfer)).settled is True
        assert azure.queue_messages("orders") == []


async def test_two_links_on_one_connection_are_two(azure: Emulator) -> None:
    """Detaching one leaves the other; delivery ids count for the session, not for the link."""
    async with connected(azure) as peer:
        await peer.sender("hub", handle=0)
        await peer.sender("orders", handle=1)
        await peer.outcome(event(), handle=0)
        await peer.outcome(event(), handle=1)
        peer.send(Detach(0, closed=True))
        await peer.expect(Detach)
        assert await peer.outcome(event(), handle=1) == Accepted()
    assert len(azure.queue_messages("orders")) == 2


async def test_a_first_transfer_without_a_delivery_id_is_malformed(azure: Emulator) -> None:
    """The first frame of a message names it; without a name the connection ends with a decode error."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        peer.send(Transfer(0, delivery_tag=b"x"), event())
        with pytest.raises(AssertionError, match="decode-error"):
            await peer.expect(Disposition)


def batch(*bodies: bytes) -> bytes:
    """Return an encoded batch."""
    return encode_message(Message(body=[event(body) for body in bodies]))


async def test_a_batch_is_stored_member_by_member(azure: Emulator) -> None:
    """Its message format says that each data section is a message; the envelope's partition key counts for all."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        payload = encode_message(
            Message(
                message_annotations={Symbol("x-opt-partition-key"): "ada"},
                body=[event(b"1"), event(b"2")],
            )
        )
        assert await peer.outcome(payload, message_format=BATCH_FORMAT) == Accepted()
        assert await peer.outcome(batch(b"3"), message_format=struct.unpack(">I", b"\x80\x01\x37\x00")[0]) == Accepted()
    events = azure.received_events("hub")
    assert sorted(one.body for one in events) == [b"1", b"2", b"3"]
    assert {one.body: one.partition_key for one in events} == {b"1": "ada", b"2": "ada", b"3": None}
