"""Every caller has a deadline, and so has every transfer and every call of the connection: nothing waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import TypeAlias

import pytest

from fastapi_azure_pool.errors import SendTimedOut
from tests.support.scripted_channel import BUSY, Message, ends
from tests.support.sending import Sending
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

MakeSending: TypeAlias = Callable[..., Sending]


async def test_in_line_it_was_certainly_not_delivered(sending: Sending) -> None:
    """Who waits behind another's transfer until the deadline is told so, and the message never leaves."""
    await sending.send_all("first")
    (caller,) = await sending.send_all("late", timeout=3)
    await let_time_pass(3)
    assert caller.ended == "SendTimedOut"
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["first"]]
    assert not sending.commit.is_closed


async def test_in_the_air_it_may_have_been_delivered(sending: Sending) -> None:
    """Who waits for the answer until the deadline is told that the message may have been stored."""
    (caller,) = await sending.send_all("a", timeout=3)
    begun = virtual_loop().time()
    await let_time_pass(3)
    assert caller.ended == "SendTimedOut maybe"
    assert isinstance(caller.error, TimeoutError)
    assert caller.at == begun + 3


async def test_each_member_of_a_batch_has_its_own_deadline(sending: Sending) -> None:
    """A member whose time is over goes without the others, and the connection is whole while somebody still waits."""
    callers = [sending.send("hasty", timeout=2), sending.send("patient", timeout=20)]
    await let_time_pass(2)
    assert ends(callers) == ["SendTimedOut maybe", None]
    assert not sending.commit.is_closed
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert ends(callers) == ["SendTimedOut maybe", "confirmed"]


async def test_a_transfer_that_nobody_waits_for_any_more_retires_the_connection(sending: Sending) -> None:
    """When the last deadline in a batch has passed without an answer, the connection is given up, once, and the others go."""
    callers = [sending.send("a1", "a", 5), sending.send("a2", "a", 7), sending.send("b1", "b", 60)]
    await wait_until_blocked()
    callers.append(sending.send("a3", "a", 60))
    await let_time_pass(6)
    assert sending.times_lost == 0
    await let_time_pass(1)
    assert sending.times_lost == 1
    assert sending.commit._owner.done()
    assert ends(callers) == ["SendTimedOut maybe", "SendTimedOut maybe", "SendInterrupted maybe", "SendInterrupted"]
    sending.channel.transfers[0].answer()
    await let_time_pass(60)
    assert sending.times_lost == 1


async def test_callers_of_one_deadline_are_told_alike(sending: Sending) -> None:
    """Where many share the deadline at which the connection is given up, each is told that the time is over."""
    callers = await sending.send_all(*range(50), timeout=5)
    await let_time_pass(5)
    assert {*ends(callers)} == {"SendTimedOut maybe"}


async def test_a_transfer_whose_callers_were_cancelled_retires_the_connection_too(sending: Sending) -> None:
    """A stalled connection is found though nobody waits for it any more."""
    (caller,) = await sending.send_all("a", timeout=5)
    caller.cancel()
    await let_time_pass(4)
    assert not sending.commit.is_closed
    await let_time_pass(1)
    assert sending.commit.is_closed


async def test_an_answered_transfer_has_no_deadline(sending: Sending) -> None:
    """After the answer neither the transfer's nor the callers' deadline does anything."""
    await sending.send_all("a", timeout=5)
    sending.channel.transfers[0].answer()
    await let_time_pass(60)
    assert not sending.commit.is_closed


async def test_while_it_is_built_it_was_certainly_not_delivered(sending: Sending) -> None:
    """Whose deadline passes while the batch is being built is told that the message was not sent, and it is not."""
    sending.packing.new_batch_seconds = 0.8
    callers = [sending.send("hasty", timeout=0.4), sending.send("patient", timeout=20)]
    await let_time_pass(5)
    assert ends(callers) == ["SendTimedOut", None]
    assert sending.channel.names == [["patient"]]


async def test_while_the_service_is_busy_the_caller_is_told_so(make_sending: MakeSending) -> None:
    """A deadline that passes between two tries, where there was no room for the second, gives the service's own refusal."""
    sending = make_sending(window=1)
    callers = [sending.send("a", "a", 3), sending.send("b", "b", 60)]
    await wait_until_blocked()
    sending.channel.transfers[0].answer(BUSY)
    await let_time_pass(3)
    assert ends(callers) == ["SendRejected com.microsoft:server-busy", None]
    assert sending.channel.names == [["a"], ["b"]]


@pytest.mark.parametrize("timeout", [0.001, 0.4])
async def test_a_late_caller_does_not_break_a_good_connection(sending: Sending, timeout: float) -> None:
    """Who comes with hardly any time left times out, but a connection that answers within a second is kept."""
    (caller,) = await sending.send_all("late", timeout=timeout)
    await let_time_pass(0.5)
    assert caller.ended == "SendTimedOut maybe"
    sending.channel.transfers[0].answer()
    await let_time_pass(60)
    assert not sending.commit.is_closed


async def test_the_callers_time_is_the_transfers_where_it_is_not_short(sending: Sending) -> None:
    """Where callers have half a second and more, a transfer without an answer breaks the connection when their time is over."""
    await sending.send_all("a", timeout=0.6)
    assert sending.channel.transfers[0].seconds == pytest.approx(0.6)
    await let_time_pass(0.6)
    assert sending.commit.is_closed


async def test_a_late_caller_finds_a_stalled_connection_all_the_same(sending: Sending) -> None:
    """A transfer that has no answer a second after it left breaks the connection, however early its callers gave up."""
    await sending.send_all("late", timeout=0.001)
    await let_time_pass(0.9)
    assert not sending.commit.is_closed
    await let_time_pass(0.2)
    assert sending.commit.is_closed


@pytest.mark.parametrize("call", ["receive", "room", "transfer"])
async def test_a_call_that_never_returns_retires_the_connection(sending: Sending, call: str) -> None:
    """Where the connection stalls in the midst of a call, callers get their answer in time, and nobody is sent there any more."""
    await wait_until_blocked()
    sending.channel.seconds[call] = math.inf
    callers = [sending.send("a", timeout=10), sending.send("b", "b", timeout=20)]
    await let_time_pass(10)
    assert callers[0].ended == ("SendTimedOut maybe" if call == "transfer" else "SendTimedOut")
    assert callers[1].ended == "SendInterrupted"
    assert sending.times_lost == 1


async def test_building_that_never_ends_retires_the_connection(sending: Sending) -> None:
    """The same holds where the SDK does not come back with an empty batch."""
    sending.packing.new_batch_seconds = 1_000_000
    (caller,) = await sending.send_all("a", timeout=10)
    await let_time_pass(10)
    assert (caller.ended, sending.times_lost) == ("SendTimedOut", 1)


async def test_keeping_alive_has_a_deadline(sending: Sending) -> None:
    """A connection that stalls while it is kept alive is found, though nobody sends anything."""
    sending.channel.tend_at = virtual_loop().time() + 15
    sending.channel.seconds["tend"] = math.inf
    sending.commit.wake()
    await let_time_pass(15)
    assert sending.channel.calls[-1] == "tend"
    await let_time_pass(30)
    assert sending.commit.is_closed


async def test_no_credit_for_a_whole_wait_retires_the_connection(sending: Sending) -> None:
    """Where nothing could leave while a caller waited, the next caller gets another connection."""
    sending.channel.credit[None] = 0
    callers = [sending.send("a", timeout=10), sending.send("b", timeout=60)]
    await let_time_pass(10)
    assert ends(callers) == ["SendTimedOut", "SendInterrupted"]
    assert sending.times_lost == 1


async def test_hasty_callers_find_a_connection_without_credit(sending: Sending) -> None:
    """Callers with less than a second find it together: the first ones' time-outs break nothing, the last one's does."""
    sending.channel.credit[None] = 0
    for _ in range(4):
        assert not sending.commit.is_closed
        await sending.send_all("a", timeout=0.3)
        await let_time_pass(0.3)
    assert sending.commit.is_closed


async def test_hasty_callers_do_not_break_a_connection_that_goes_on(sending: Sending) -> None:
    """Time-outs in line break nothing while transfers leave and are answered."""
    for number in range(20):
        sending.channel.credit[None] = 0
        await sending.send_all(f"hasty{number}", timeout=0.3)
        await let_time_pass(0.3)
        sending.channel.grant(1)
        await sending.send_all(number)
        sending.channel.transfers[-1].answer()
        await wait_until_blocked()
    assert not sending.commit.is_closed


async def test_waiting_behind_another_breaks_nothing(sending: Sending) -> None:
    """Who times out behind a slow transfer, or behind a pause of a busy service, does not break the connection."""
    await sending.send_all("slow", timeout=100)
    await sending.send_all("behind", timeout=10)
    await let_time_pass(10)
    assert not sending.commit.is_closed
    sending.channel.transfers[0].answer(BUSY)
    await sending.send_all("behind", timeout=0.5)
    await let_time_pass(0.5)
    assert not sending.commit.is_closed


async def test_waiting_behind_a_pause_for_long_breaks_nothing(sending: Sending) -> None:
    """A pause of the service may outlast any patience: it is not the connection's fault."""
    await sending.send_all("a", timeout=100)
    for _ in range(3):
        sending.channel.transfers[-1].answer(BUSY)
        await let_time_pass(2.4)
    assert len(sending.channel.transfers) == 3
    (caller,) = await sending.send_all("behind", timeout=1.1)
    await let_time_pass(0.8)
    assert ends([caller]) == [None]
    await let_time_pass(0.4)
    assert (caller.ended, sending.commit.is_closed) == ("SendTimedOut", False)


async def test_who_moved_a_moment_ago_is_not_doubted(sending: Sending) -> None:
    """However long a caller has waited, a connection that has answered something meanwhile is kept."""
    sending.channel.credit[None] = 1
    await sending.send_all("a", key="a")
    (caller,) = await sending.send_all("b", key="b", timeout=5)
    await let_time_pass(4.9)
    sending.channel.transfers[0].answer()
    await let_time_pass(0.2)
    assert (caller.ended, sending.commit.is_closed) == ("SendTimedOut", False)


async def test_a_request_that_was_carried_out_counts_as_moving(sending: Sending) -> None:
    """A caller who could not leave while the owner carried out a request does not break the connection."""
    sending.channel.credit[None] = 0
    sending.channel.seconds["manage"] = 4.9
    sending.request()
    (caller,) = await sending.send_all("a", timeout=5)
    await let_time_pass(5)
    assert (caller.ended, sending.commit.is_closed) == ("SendTimedOut", False)


async def test_a_second_try_for_nobody_hides_no_trouble(sending: Sending) -> None:
    """A pause whose callers have all left does not keep a connection without credit from being given up."""
    sending.channel.credit[None] = 1
    (caller,) = await sending.send_all("a")
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    caller.cancel()
    await let_time_pass(2)
    await sending.send_all("b", key="b", timeout=5)
    await let_time_pass(5)
    assert sending.times_lost == 1


async def test_a_second_try_that_is_due_hides_no_trouble(sending: Sending) -> None:
    """A connection that is stuck as it tries again is given up, however long the one who was refused would wait."""
    await sending.send_all("a", key="a", timeout=100)
    sending.channel.transfers[0].answer(BUSY)
    sending.channel.seconds["room"] = math.inf
    await let_time_pass(2)
    (caller,) = await sending.send_all("b", key="b", timeout=5)
    await let_time_pass(5)
    assert (caller.ended, sending.times_lost) == ("SendTimedOut", 1)


async def test_a_second_try_is_not_hurried(sending: Sending) -> None:
    """Stillness counts from when the second try fell due: who has waited longer does not break the connection."""
    await sending.send_all("a", key="a", timeout=100)
    sending.channel.credit[None] = 0
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    retry_at = sending.commit._traffic.flights["a"].retry_at
    callers = [
        sending.send("b", key="b", timeout=retry_at + seconds - virtual_loop().time()) for seconds in (0.5, 0.9, 1.1)
    ]
    await let_time_pass(retry_at + 1 - virtual_loop().time())
    assert (ends(callers), sending.commit.is_closed) == (["SendTimedOut", "SendTimedOut", None], False)
    await let_time_pass(0.2)
    assert sending.commit.is_closed


async def test_a_link_that_is_refused_counts_as_moving(sending: Sending) -> None:
    """A service that goes on refusing to open a link answers, and keeps its connection."""
    sending.packing.addresses = {"a": "Partitions/1"}
    sending.channel.credit[None] = 0
    sending.channel.refused["Partitions/1"] = BUSY
    (caller,) = await sending.send_all("b", key="b", timeout=5)
    await let_time_pass(4.9)
    await sending.send_all("a", key="a", timeout=0.5)
    await let_time_pass(0.2)
    assert (caller.ended, sending.commit.is_closed) == ("SendTimedOut", False)


async def test_a_known_outcome_counts_more_than_a_deadline(sending: Sending) -> None:
    """Whose deadline passes while the owner is busy elsewhere gets the answer that has come already."""
    callers = await sending.send_all("a", timeout=5)
    outcome = sending.channel.transfers[0]

    async def manage(seconds: float) -> None:
        outcome._settled(sending.channel.answer_with)
        sending.channel.seconds["manage"] = 10
        await sending.channel.manage()

    request = sending.request(manage)
    await let_time_pass(6)
    assert ends(callers) == ["confirmed"]
    await let_time_pass(6)
    assert request.ended == "confirmed"
    assert not sending.commit.is_closed


async def test_a_request_in_line_was_certainly_not_made(sending: Sending) -> None:
    """A management request whose time passes before it was begun is not made, and the connection stays."""
    sending.channel.seconds["manage"] = 5
    callers = [sending.request(timeout=30), sending.request(timeout=3)]
    await let_time_pass(3)
    assert ends(callers) == [None, "SendTimedOut"]
    await let_time_pass(30)
    assert ends(callers) == ["confirmed", "SendTimedOut"]
    assert sending.channel.calls.count("manage") == 1
    assert not sending.commit.is_closed


async def test_a_request_without_an_answer_retires_the_connection(sending: Sending) -> None:
    """A management request whose time passes while it is carried out may have been, and the connection is given up."""
    sending.channel.seconds["manage"] = math.inf
    callers = [sending.request(timeout=5), sending.request(timeout=50), sending.send("a")]
    await wait_until_blocked()
    callers.append(sending.send("b", "b"))
    await let_time_pass(4)
    assert sending.times_lost == 0
    await let_time_pass(1)
    assert ends(callers) == ["SendTimedOut maybe", "SendInterrupted", "SendInterrupted maybe", "SendInterrupted"]
    assert sending.times_lost == 1


async def test_an_operation_that_cannot_be_broken_off_holds_nobody_up(sending: Sending) -> None:
    """When an operation goes on though its time is over, its caller and the pool are told all the same."""

    async def manage(seconds: float) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1_000)
        await asyncio.sleep(1_000)

    callers = [sending.request(manage, 5), sending.send("a")]
    await let_time_pass(5)
    assert callers[0].ended == "SendTimedOut maybe"
    assert sending.times_lost == 1


async def test_an_operations_own_time_out_is_one(sending: Sending) -> None:
    """An operation that gives up by itself may have been carried out, and leaves the connection in the midst of something."""

    async def manage(seconds: float) -> None:
        raise TimeoutError

    caller = sending.request(manage)
    await wait_until_blocked()
    assert (caller.ended, sending.times_lost) == ("SendTimedOut maybe", 1)


async def test_a_request_finds_a_stalled_connection_too(sending: Sending) -> None:
    """Where the owner is stuck and only requests wait, the first one's time-out is the connection's end."""
    await wait_until_blocked()
    sending.channel.seconds["receive"] = math.inf
    callers = [sending.request(timeout=5), sending.request(timeout=50)]
    await let_time_pass(5)
    assert ends(callers) == ["SendTimedOut", "SendInterrupted"]
    assert sending.times_lost == 1


async def test_the_operation_is_told_how_long_it_may_take(sending: Sending) -> None:
    """An operation is called with the seconds that are left of its caller's time."""
    given: list[float] = []

    async def manage(seconds: float) -> str:
        given.append(seconds)
        await sending.channel.manage()
        return "done"

    sending.channel.seconds["manage"] = 2
    callers = [sending.request(manage, 10) for _ in range(3)]
    await let_time_pass(10)
    assert given == [10, 8, 6]
    assert [caller.answer for caller in callers] == ["done"] * 3


async def test_a_deadline_is_a_time_out_error(sending: Sending) -> None:
    """Handlers for TimeoutError see it."""
    await sending.send_all("first")
    with pytest.raises(TimeoutError) as caught:
        await sending.commit.send(Message("a"), None, 0.5)
    assert isinstance(caught.value, SendTimedOut)
