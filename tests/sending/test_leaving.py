"""When messages leave: at once where the way is free, else joined in the next transfer, in order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from fastapi_azure_pool.clients.coalescing import Joining
from fastapi_azure_pool.clients.transfers import Outcome, OutcomeKind
from tests.support.scripted_channel import Batch, Message, ScriptedChannel, ends
from tests.support.sending import Sending
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

MakeSending: TypeAlias = Callable[..., Sending]


async def test_alone_a_message_leaves_at_once(sending: Sending) -> None:
    """A message that finds the way free leaves without time passing, and its caller goes on when it is confirmed."""
    (caller,) = await sending.send_all("one")
    assert sending.channel.names == [["one"]]
    assert sending.channel.transfers[0].at == virtual_loop().time()
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert caller.ended == "confirmed"


async def test_what_arrives_meanwhile_is_joined_in_order(sending: Sending) -> None:
    """Messages that arrive while a transfer is in flight leave together in the next one, in the order of their arrival."""
    await sending.send_all("first")
    await sending.send_all(*range(100))
    assert sending.channel.names == [["first"]]
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["first"], [*range(100)]]


async def test_those_who_are_answered_together_join_again(sending: Sending) -> None:
    """Callers who send on as soon as they are answered leave together with those who came meanwhile, not in turns with them."""
    channel = sending.channel

    async def send_twice(name: str) -> None:
        for part in (1, 2):
            await sending.commit.send(Message(f"{name}{part}"), None, 60)

    tasks = [asyncio.create_task(send_twice(name)) for name in "ab"]
    await wait_until_blocked()
    late = sending.send("late")
    await wait_until_blocked()
    channel.transfers[0].answer()
    await wait_until_blocked()
    assert channel.names == [["a1", "b1"], ["late", "a2", "b2"]]
    channel.transfers[1].answer()
    await asyncio.gather(*tasks)
    assert late.ended is None or late.ended == "confirmed"


async def test_who_waits_behind_a_transfer_disturbs_nobody(sending: Sending) -> None:
    """A message that cannot leave before its key's transfer is answered does not wake the owner."""
    await sending.send_all("first")
    calls = len(sending.channel.calls)
    await sending.send_all(*range(100))
    assert len(sending.channel.calls) == calls


async def test_one_transfer_of_a_key_is_in_flight(sending: Sending) -> None:
    """The second transfer of a key waits for the first one's outcome; other keys do not wait for either."""
    await sending.send_all("a1", key="a")
    await sending.send_all("a2", key="a")
    await sending.send_all("b1", key="b")
    assert sending.channel.names == [["a1"], ["b1"]]
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["a1"], ["b1"], ["a2"]]


async def test_messages_of_different_keys_are_never_joined(sending: Sending) -> None:
    """Each transfer holds messages of one key, and goes to that key's address."""
    sending.packing.addresses = {"b": "Partitions/1"}
    for name in ("a1", "b1", "a2", "b2"):
        sending.send(name, key=name[0])
    await wait_until_blocked()
    transfers = sending.channel.transfers
    assert [(transfer.address, transfer.names) for transfer in transfers] == [
        (None, ["a1", "a2"]),
        ("Partitions/1", ["b1", "b2"]),
    ]
    assert [transfer.payload.key for transfer in transfers] == ["a", "b"]


@pytest.mark.parametrize(("wanted", "possible"), [(3, 8), (8, 3)])
async def test_the_keys_share_a_window(make_sending: MakeSending, wanted: int, possible: int) -> None:
    """No more transfers are in flight than the window has, nor than the channel can have, and who waits goes in order."""
    channel = ScriptedChannel()
    channel.window = possible
    sending = make_sending(channel=channel, window=wanted)
    for key in range(6):
        sending.send(key, key)
    await wait_until_blocked()
    assert channel.names == [[0], [1], [2]]
    channel.transfers[1].answer()
    await wait_until_blocked()
    assert channel.names == [[0], [1], [2], [3]]
    channel.transfers[0].answer()
    channel.transfers[2].answer()
    await wait_until_blocked()
    assert channel.names == [[0], [1], [2], [3], [4], [5]]


async def test_keys_take_turns(make_sending: MakeSending) -> None:
    """A key that goes on sending does not hold up one that has waited for longer."""
    sending = make_sending(window=1)
    sending.send("a1", "a")
    await wait_until_blocked()
    sending.send("b1", "b")
    sending.send("a2", "a")
    await wait_until_blocked()
    for transfer in (0, 1, 2):
        sending.channel.transfers[transfer].answer()
        await wait_until_blocked()
    assert sending.channel.names == [["a1"], ["b1"], ["a2"]]


async def test_nothing_leaves_without_credit(sending: Sending) -> None:
    """Without credit messages wait, and leave joined as soon as the service gives some."""
    sending.channel.credit[None] = 0
    await sending.send_all("one", "two")
    assert sending.channel.transfers == []
    sending.channel.grant(1)
    await wait_until_blocked()
    assert sending.channel.names == [["one", "two"]]


async def test_credit_is_counted_for_each_transfer(sending: Sending) -> None:
    """With credit for two transfers, the third key waits for more."""
    sending.channel.credit[None] = 2
    for key in range(3):
        sending.send(key, key)
    await wait_until_blocked()
    assert sending.channel.names == [[0], [1]]
    sending.channel.grant(1)
    await wait_until_blocked()
    assert sending.channel.names == [[0], [1], [2]]


async def test_an_address_without_credit_holds_nobody_else_up(sending: Sending) -> None:
    """Messages to another address leave while those to one wait for credit."""
    sending.packing.addresses = {"a": "Partitions/1", "b": "Partitions/2"}
    sending.channel.credit["Partitions/1"] = 0
    sending.send("a1", "a")
    sending.send("b1", "b")
    await wait_until_blocked()
    assert sending.channel.names == [["b1"]]


async def test_a_full_batch_is_split(sending: Sending) -> None:
    """What does not fit any more leaves with the next transfer, still in order."""
    sending.packing.limit = 10
    await sending.send_all("first")
    callers = await sending.send_all(*(Message(number, size=4) for number in range(5)))
    for transfer in range(4):
        sending.channel.transfers[transfer].answer()
        await wait_until_blocked()
    assert sending.channel.names == [["first"], [0, 1], [2, 3], [4]]
    assert ends(callers) == ["confirmed"] * 5


async def test_a_small_one_does_not_overtake_a_large_one(sending: Sending) -> None:
    """Where the next in line does not fit, nobody behind it is taken instead."""
    sending.packing.limit = 10
    await sending.send_all("first")
    await sending.send_all(Message("a", size=6), Message("b", size=6), Message("c", size=1))
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["first"], ["a"]]


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_too_large_fails_alone(sending: Sending, position: int) -> None:
    """A message that does not fit on the link fails with a clear error, and the others are sent."""
    sending.packing.limit = 10
    messages = [Message("a"), Message("b")]
    messages.insert(position, Message("huge", size=11))
    callers = await sending.send_all(*messages)
    for _ in range(2):
        for transfer in sending.channel.in_flight:
            transfer.answer()
        await wait_until_blocked()
    assert callers.pop(position).ended == "MessageTooLarge"
    assert ends(callers) == ["confirmed"] * 2
    assert [name for names in sending.channel.names for name in names] == ["a", "b"]


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_that_cannot_be_encoded_fails_alone(sending: Sending, position: int) -> None:
    """A message at which the SDK's encoder fails gives its caller that error, and the others leave in the same transfer."""
    messages = [Message("a"), Message("b")]
    messages.insert(position, Message("odd", error=TypeError))
    callers = await sending.send_all(*messages)
    assert callers.pop(position).ended == "TypeError"
    assert sending.channel.names == [["a", "b"]]


async def test_where_none_can_be_encoded_nothing_leaves(sending: Sending) -> None:
    """A transfer of which every message fails is none, and the key is free for the next."""
    callers = await sending.send_all(*(Message(name, error=TypeError) for name in "ab"))
    assert ends(callers) == ["TypeError"] * 2
    assert sending.channel.transfers == []
    await sending.send_all("next")
    assert sending.channel.names == [["next"]]


async def test_a_whole_batch_leaves_as_it_is(sending: Sending) -> None:
    """A batch that was made already is the payload itself, joined with nothing before or behind it."""
    batch = Batch(None)
    batch.messages = [Message("x"), Message("y")]
    await sending.send_all("first")
    sending.send("a")
    sending.send(batch, is_whole=True)
    sending.send("b")
    sending.send("c")
    await wait_until_blocked()
    for transfer in range(4):
        sending.channel.transfers[transfer].answer()
        await wait_until_blocked()
    assert sending.channel.names == [["first"], ["a"], ["x", "y"], ["b", "c"]]
    assert sending.channel.transfers[2].payload is batch
    assert all(name not in ("x", "y") for name, _ in sending.packing.added)


async def test_a_whole_batch_behind_one_that_cannot_be_sent_leaves_as_it_is(sending: Sending) -> None:
    """Where those before it in line prove too large, or fail to encode, a batch that was made already is sent as such."""
    batch = Batch(None)
    batch.messages = [Message("x"), Message("y")]
    await sending.send_all("first")
    refused = [sending.send(Message(size=2_000_000)), sending.send(Message(error=TypeError))]
    whole = sending.send(batch, is_whole=True)
    await wait_until_blocked()
    for transfer in range(2):
        sending.channel.transfers[transfer].answer()
        await wait_until_blocked()
    assert ends(refused) == ["MessageTooLarge", "TypeError"]
    assert whole.ended == "confirmed"
    assert sending.channel.transfers[1].payload is batch


async def test_without_joining_each_message_leaves_alone(make_sending: MakeSending) -> None:
    """With joining off, every message is a transfer of its own, in order, one at a time."""
    sending = make_sending(joining=Joining("orders", is_allowed=False))
    callers = await sending.send_all(1, 2, 3)
    for transfer in range(3):
        assert len(sending.channel.in_flight) == 1
        sending.channel.transfers[transfer].answer()
        await wait_until_blocked()
    assert sending.channel.names == [[1], [2], [3]]
    assert ends(callers) == ["confirmed"] * 3


async def test_each_message_is_added_in_its_callers_context(sending: Sending) -> None:
    """Making a message part of a batch sees the context variables of its caller, so that traces stay apart."""
    await sending.send_all("first")
    await sending.send_all("a", "b")
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.packing.added == [("first", "first"), ("a", "a"), ("b", "b")]


async def test_an_address_that_is_refused_fails_its_own_only(
    sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the service opens no link, those who want it get its refusal, and everybody else is served."""
    sending.packing.addresses = {"a": "Partitions/9"}
    sending.channel.refused["Partitions/9"] = Outcome(OutcomeKind.REJECTED, "amqp:not-found")
    callers = [sending.send("a1", "a"), sending.send("a2", "a"), sending.send("b1", "b")]
    await wait_until_blocked()
    assert ends(callers) == ["SendRejected amqp:not-found"] * 2 + [None]
    assert sending.channel.names == [["b1"]]
    del sending.channel.refused["Partitions/9"]
    await sending.send_all("a3", key="a")
    assert sending.channel.names == [["b1"], ["a3"]]
    assert caplog.records == []


async def test_the_deadline_that_is_left_goes_to_the_channel(sending: Sending) -> None:
    """The channel is told how long anybody waits: until the last member's deadline."""
    await sending.send_all("first", timeout=5)
    sending.send("short", timeout=7)
    sending.send("long", timeout=30)
    await let_time_pass(2)
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert [transfer.seconds for transfer in sending.channel.transfers] == [5, 28]


async def test_a_lone_send_takes_few_turns(sending: Sending) -> None:
    """A lone message takes two turns of the loop to its transfer, two from the answer to its caller, and two timers."""
    loop = virtual_loop()
    await wait_until_blocked()
    left: list[int] = []
    before = len(loop._scheduled)  # type: ignore[attr-defined]  # the loop's timers

    def remember(message: Any) -> None:
        left.append(loop.turn)

    sending.packing.on_add = remember
    begun = loop.turn
    (caller,) = await sending.send_all("one")
    assert left == [begun + 2]
    # One for the caller's deadline, one for the transfer's.
    assert len(loop._scheduled) == before + 2  # type: ignore[attr-defined]  # likewise
    answered = loop.turn
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert caller.turn == answered + 2
