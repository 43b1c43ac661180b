"""A caller who is cancelled before the message has left takes it along; later, it may be delivered all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.support.scripted_channel import BUSY, Message, ends
from tests.support.sending import Sending
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

MakeSending: TypeAlias = Callable[..., Sending]


async def test_cancelled_in_line_the_message_does_not_leave(sending: Sending) -> None:
    """Of three who wait behind a transfer, the one who is cancelled is missing in the next."""
    await sending.send_all("first")
    callers = await sending.send_all("a", "b", "c")
    callers[1].cancel()
    await wait_until_blocked()
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["first"], ["a", "c"]]
    assert callers[1].ended == "cancelled"


async def test_when_all_in_line_are_cancelled_nothing_leaves(sending: Sending) -> None:
    """A key whose last caller is cancelled is forgotten, and used again as if it were new."""
    sending.channel.credit[None] = 0
    for caller in await sending.send_all("a", "b"):
        caller.cancel()
    await wait_until_blocked()
    sending.channel.grant(10)
    await wait_until_blocked()
    assert sending.channel.transfers == []
    assert sending.packing.batches == 0
    await sending.send_all("c")
    assert sending.channel.names == [["c"]]


async def test_cancelled_before_the_owner_has_looked(sending: Sending) -> None:
    """A caller who is cancelled in the turn in which the message was put in line takes it along."""
    caller = sending.send("a")
    virtual_loop().interruptions[virtual_loop().turn + 2] = caller.cancel
    await wait_until_blocked()
    assert (caller.ended, sending.channel.transfers) == ("cancelled", [])
    assert sending.packing.batches == 0
    assert not sending.commit.is_closed


@pytest.mark.parametrize("leaver", ["first", "middle", "last"])
async def test_cancelled_while_the_batch_is_built_the_message_does_not_leave(sending: Sending, leaver: str) -> None:
    """Whoever is cancelled while the batch is being built takes the message along, wherever it is in the batch."""
    callers = {name: sending.send(name) for name in ("first", "middle", "last")}
    sending.packing.new_batch_seconds = 1
    await wait_until_blocked()
    callers[leaver].cancel()
    await let_time_pass(2)
    assert sending.channel.names == [[name for name in callers if name != leaver]]


async def test_cancelled_before_being_added_nothing_is_built_again(sending: Sending) -> None:
    """Who leaves before the message's turn comes is left out, and the batch goes on being built."""
    callers = [sending.send(number) for number in range(200)]

    def cancel_one(message: Message) -> None:
        if message.name == 10:
            callers[150].cancel()

    sending.packing.on_add = cancel_one
    await wait_until_blocked()
    assert sending.channel.names == [[number for number in range(200) if number != 150]]
    assert sending.packing.batches == 1


async def test_cancelled_after_being_added_the_message_does_not_leave(sending: Sending) -> None:
    """A member that was added already when its caller is cancelled is built out of the batch again."""
    callers = [sending.send(number) for number in range(200)]

    def cancel_one(message: Message) -> None:
        if message.name == 150 and not callers[10].task.done():
            callers[10].cancel()

    sending.packing.on_add = cancel_one
    await wait_until_blocked()
    assert sending.channel.names == [[number for number in range(200) if number != 10]]


async def test_when_all_are_cancelled_while_the_batch_is_built_nothing_leaves(sending: Sending) -> None:
    """A batch without members is no transfer, and holds nobody up."""
    sending.packing.new_batch_seconds = 1
    callers = await sending.send_all("a", "b")
    for caller in callers:
        caller.cancel()
    await let_time_pass(5)
    assert sending.channel.transfers == []
    await sending.send_all("c")
    await let_time_pass(1)
    assert sending.channel.names == [["c"]]


async def test_who_arrives_while_a_batch_is_built_for_nobody_leaves_next(sending: Sending) -> None:
    """When all members leave while their batch is being built, who came meanwhile does not wait for anything else to happen."""
    sending.packing.new_batch_seconds = 1
    (caller,) = await sending.send_all("a")
    await sending.send_all("b")
    caller.cancel()
    await let_time_pass(5)
    assert sending.channel.names == [["b"]]


async def test_cancelled_in_the_air_nobody_else_is_touched(sending: Sending) -> None:
    """A caller who is cancelled while the transfer is in flight leaves the others their answer, and the connection whole."""
    callers = await sending.send_all("a", "b")
    callers[0].cancel()
    await wait_until_blocked()
    assert ends(callers) == ["cancelled", None]
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert ends(callers) == ["cancelled", "confirmed"]
    assert not sending.commit.is_closed


async def test_when_all_in_the_air_are_cancelled_the_key_still_waits(sending: Sending) -> None:
    """A transfer whose callers have all gone is still the key's only one until its answer comes."""
    (caller,) = await sending.send_all("a")
    caller.cancel()
    await sending.send_all("b")
    assert sending.channel.names == [["a"]]
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["a"], ["b"]]


async def test_cancelled_while_the_service_is_busy_the_message_does_not_leave_again(sending: Sending) -> None:
    """Who is cancelled between two tries takes the message along; the others are tried again."""
    callers = await sending.send_all("a", "b")
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    callers[0].cancel()
    await let_time_pass(2)
    assert sending.channel.names == [["a", "b"], ["b"]]
    sending.channel.transfers[1].answer()
    await wait_until_blocked()
    assert ends(callers) == ["cancelled", "confirmed"]


async def test_when_all_are_cancelled_while_the_service_is_busy_the_key_is_free(sending: Sending) -> None:
    """When nobody is left who waits for the next try, there is none, and the key's next message leaves after the pause."""
    callers = await sending.send_all("a", "b")
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    for caller in callers:
        caller.cancel()
    await let_time_pass(2)
    assert sending.channel.names == [["a", "b"]]
    await sending.send_all("c")
    assert sending.channel.names == [["a", "b"], ["c"]]


async def test_cancelled_as_the_answer_comes_nothing_is_left(sending: Sending) -> None:
    """A cancellation in the turn of the answer, before and after it, is a cancellation, and complains to nobody."""
    loop = virtual_loop()
    for offset in range(6):
        (caller,) = await sending.send_all(offset)
        sending.channel.transfers[-1].reject("amqp:not-allowed")
        loop.interruptions[loop.turn + offset] = caller.cancel
        await wait_until_blocked()
        assert caller.ended in {"cancelled", "SendRejected amqp:not-allowed"}
    assert loop.complaints == []


async def test_cancelled_while_a_link_is_opened_nobody_else_is_touched(sending: Sending) -> None:
    """A key whose only caller is cancelled while the link to it is opened breaks nothing."""
    sending.channel.seconds["room"] = 1
    (caller,) = await sending.send_all("a", key="a")
    caller.cancel()
    await let_time_pass(5)
    assert not sending.commit.is_closed
    assert sending.channel.transfers == []
    await sending.send_all("b", key="a")
    await let_time_pass(1)
    assert sending.channel.names == [["b"]]


async def test_no_link_is_opened_for_nobody(sending: Sending) -> None:
    """A key whose only caller is cancelled while another key's batch is built is not asked about."""
    sending.packing.new_batch_seconds = 0.5
    sending.send("a", "a")
    caller = sending.send("b", "b")
    await wait_until_blocked()
    caller.cancel()
    await let_time_pass(1)
    assert sending.channel.names == [["a"]]
    assert sending.channel.calls.count("room") == 1


async def test_a_cancelled_request_that_has_not_begun_is_not_made(sending: Sending) -> None:
    """A management request whose caller is cancelled while another is carried out is never begun."""
    sending.channel.seconds["manage"] = 1
    callers = [sending.request() for _ in range(3)]
    await wait_until_blocked()
    callers[1].cancel()
    await let_time_pass(10)
    assert ends(callers) == ["confirmed", "cancelled", "confirmed"]
    assert sending.channel.calls.count("manage") == 2


async def test_a_cancelled_request_that_has_begun_goes_on(sending: Sending) -> None:
    """The operation in progress is not cancelled with its caller: it would leave the connection in the midst of a frame."""
    sending.channel.seconds["manage"] = 1
    ended: list[bool] = []

    async def manage(seconds: float) -> None:
        await sending.channel.manage()
        ended.append(True)

    caller = sending.request(manage)
    await wait_until_blocked()
    caller.cancel()
    await let_time_pass(5)
    assert (caller.ended, ended) == ("cancelled", [True])
    assert not sending.commit.is_closed


async def test_a_cancelled_request_that_fails_breaks_nothing(sending: Sending) -> None:
    """An operation's error that nobody waits for any more is nobody's."""
    sending.channel.seconds["manage"] = 1
    sending.channel.errors["manage"] = ValueError()
    caller = sending.request()
    await wait_until_blocked()
    caller.cancel()
    await let_time_pass(5)
    assert not sending.commit.is_closed
    await sending.send_all("a")
    assert sending.channel.names == [["a"]]


async def test_a_cancelled_request_that_gets_no_answer_retires_the_connection(sending: Sending) -> None:
    """When the operation's time is over, it is broken off and the connection is given up, though its caller has gone."""
    sending.channel.seconds["manage"] = float("inf")
    caller = sending.request(timeout=10)
    await wait_until_blocked()
    caller.cancel()
    await let_time_pass(9)
    assert not sending.commit.is_closed
    await let_time_pass(2)
    assert sending.commit.is_closed
