"""The connection is lost, or closed, at every point of a message's way: each caller has an answer, and it is true."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import Callable
from typing import TypeAlias

import pytest

from fastapi_azure_pool.clients.transfers import SERVER_BUSY, TOO_LARGE
from fastapi_azure_pool.errors import SendInterrupted
from tests.support.eager_tasks import eager_task_factory
from tests.support.scripted_channel import BUSY, Message, ends
from tests.support.sending import Sending
from tests.support.virtual_time import VirtualTimeLoop, let_time_pass, virtual_loop, wait_until_blocked

MakeSending: TypeAlias = Callable[..., Sending]


def drop(sending: Sending) -> None:
    """Let the other side end the connection."""
    sending.channel.drop()


def break_call(sending: Sending) -> None:
    """Let the SDK fail as it reads."""
    sending.channel.errors["receive"] = ConnectionResetError()
    sending.channel.wake()


def close(sending: Sending) -> None:
    """Let the pool close the connection."""
    sending.closing = asyncio.create_task(sending.commit.close())  # type: ignore[attr-defined]  # so that it is not collected


def cancel_owner(sending: Sending) -> None:
    """Let somebody cancel every task, as ``asyncio.run`` does at its end: the pool is not to open a successor then."""
    sending.losses_to_tell = 0
    sending.commit._owner.cancel()


sudden_ends = pytest.mark.parametrize("end", [drop, close, cancel_owner])
ends_of_a_connection = pytest.mark.parametrize("end", [drop, break_call, close, cancel_owner])


@ends_of_a_connection
async def test_each_caller_is_told_what_is_known(sending: Sending, end: Callable[[Sending], None]) -> None:
    """In the air a message may have been delivered; in line, between two tries and before its own turn certainly not."""
    callers = [
        sending.send("in the air", "a"),
        sending.send("in line", "a"),
        sending.send("between two tries", "b"),
    ]
    await wait_until_blocked()
    callers.append(sending.send("behind it", "a"))
    sending.channel.transfers[1].answer(BUSY)
    sending.channel.credit[None] = 0
    callers.append(sending.send("without credit", "c"))
    await wait_until_blocked()
    assert sending.channel.names == [["in the air", "in line"], ["between two tries"]]
    end(sending)
    await wait_until_blocked()
    assert ends(callers) == [
        "SendInterrupted maybe",
        "SendInterrupted maybe",
        "SendInterrupted",
        "SendInterrupted",
        "SendInterrupted",
    ]
    assert sending.times_lost == sending.losses_to_tell
    assert sending.commit.is_closed


@sudden_ends
async def test_while_a_batch_is_built_it_was_not_delivered(sending: Sending, end: Callable[[Sending], None]) -> None:
    """A connection that ends while a batch is being built has transferred nothing of it."""
    sending.packing.new_batch_seconds = 0.5
    callers = await sending.send_all("a", "b")
    end(sending)
    await let_time_pass(1)
    assert ends(callers) == ["SendInterrupted"] * 2
    assert sending.channel.transfers == []


@sudden_ends
async def test_while_a_batch_is_built_again_it_was_not_delivered(
    sending: Sending, end: Callable[[Sending], None]
) -> None:
    """The same holds when it is built again for a second try, because somebody has left."""
    callers = await sending.send_all("a", "b", "c")
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    callers[1].cancel()
    sending.packing.new_batch_seconds = 0.9
    sending.send("behind")
    await let_time_pass(1.2)
    end(sending)
    await let_time_pass(1)
    assert ends(sending.callers) == ["SendInterrupted", "cancelled", "SendInterrupted", "SendInterrupted"]
    assert len(sending.channel.transfers) == 1


@ends_of_a_connection
async def test_while_a_transfer_is_written_it_may_have_been_delivered(
    sending: Sending, end: Callable[[Sending], None]
) -> None:
    """A transfer that the connection's end interrupts may have arrived."""
    sending.channel.seconds["transfer"] = 0.5
    callers = await sending.send_all("a")
    end(sending)
    await let_time_pass(1)
    assert ends(callers) == ["SendInterrupted maybe"]


@sudden_ends
async def test_while_a_link_is_opened_it_was_not_delivered(sending: Sending, end: Callable[[Sending], None]) -> None:
    """A connection that ends while a link is being opened has transferred nothing."""
    sending.channel.seconds["room"] = 0.5
    callers = await sending.send_all("a")
    end(sending)
    await let_time_pass(1)
    assert ends(callers) == ["SendInterrupted"]
    assert sending.channel.transfers == []


@ends_of_a_connection
async def test_a_request_in_progress_may_have_been_made(sending: Sending, end: Callable[[Sending], None]) -> None:
    """A management request that the connection's end interrupts may have been carried out; those in line were not."""
    sending.channel.seconds["manage"] = 0.5
    sending.channel.errors["manage"] = ConnectionResetError()
    callers = [sending.request(), sending.request()]
    await wait_until_blocked()
    end(sending)
    await let_time_pass(1)
    assert callers[1].ended == "SendInterrupted"
    if end in (close, cancel_owner):
        assert callers[0].ended == "SendInterrupted maybe"
    else:
        assert callers[0].ended == "SendRejected"  # The SDK noticed it first.


@ends_of_a_connection
async def test_an_outcome_that_is_known_is_told(sending: Sending, end: Callable[[Sending], None]) -> None:
    """However the connection ends while a batch's callers are being told, all get the outcome that is known."""
    callers = await sending.send_all(*range(300))
    refused = [sending.send(("b", number), "b") for number in range(100)]
    await wait_until_blocked()
    for transfer in sending.channel.transfers:
        transfer.is_answered = True
    first, second = sending.channel.transfers

    def answer_both() -> None:
        first._settled(sending.channel.answer_with)
        second._settled(BUSY)

    sending.channel.arrive(answer_both)
    loop = virtual_loop()
    loop.interruptions[loop.turn + 4] = lambda: end(sending)
    await let_time_pass(1)
    assert {*ends(callers)} == {"confirmed"}
    assert {*ends(refused)} == {"SendInterrupted"}


@ends_of_a_connection
async def test_an_end_while_a_busy_service_is_told_of_leaves_no_other_try(
    sending: Sending, end: Callable[[Sending], None]
) -> None:
    """However the connection ends while those without time are being told, nothing was stored, and nothing is tried again."""
    hurried = [sending.send(number, timeout=0.5) for number in range(300)]
    patient = [sending.send(number) for number in range(10)]
    await wait_until_blocked()
    sending.channel.transfers[0].reject(SERVER_BUSY)
    loop = virtual_loop()
    loop.interruptions[loop.turn + 4] = lambda: end(sending)
    await let_time_pass(0.1)
    assert {*ends(hurried)} <= {f"SendRejected {SERVER_BUSY}", "SendInterrupted"}
    assert {*ends(patient)} == {"SendInterrupted"}
    await let_time_pass(10)
    assert len(sending.channel.transfers) == 1


async def test_a_refused_batch_that_may_be_sent_singly_was_not_delivered(sending: Sending) -> None:
    """Members of a batch that was refused only because it was joined may be sent again elsewhere: nothing of it was stored."""
    callers = await sending.send_all("a", "b")
    transfer = sending.channel.transfers[0]
    sending.channel.seconds["manage"] = math.inf

    async def manage(seconds: float) -> None:
        transfer.reject(TOO_LARGE)
        sending.channel._arrived.pop()()
        await sending.channel.manage()

    sending.request(manage)
    await wait_until_blocked()
    await sending.commit.close()
    await wait_until_blocked()
    assert ends(callers) == ["SendInterrupted"] * 2


async def test_an_answer_that_comes_with_the_end_counts(sending: Sending) -> None:
    """What was answered in the same moment in which the connection ended is confirmed."""
    callers = [sending.send("a", "a"), sending.send("b", "b")]
    await wait_until_blocked()
    sending.channel.transfers[0].answer()
    sending.channel.drop()
    await wait_until_blocked()
    assert ends(callers) == ["confirmed", "SendInterrupted maybe"]


async def test_a_connection_found_closed_before_a_transfer_has_taken_nothing(sending: Sending) -> None:
    """When the end arrives while a large batch is being built, it is not written to a closed connection."""

    def drop_silently(message: Message) -> None:
        if message.name == 100:
            sending.channel.is_closed = True

    sending.packing.on_add = drop_silently
    callers = await sending.send_all(*range(200))
    assert {*ends(callers)} == {"SendInterrupted"}
    assert sending.channel.transfers == []


async def test_a_false_alarm_while_a_batch_is_built_strands_nobody(sending: Sending) -> None:
    """What looked like the end, and turned out to be none when it was read, costs the batch no more than another look."""

    def alarm(message: Message) -> None:
        if message.name == 100:
            sending.channel.is_closed = True
            sending.channel.arrive(lambda: setattr(sending.channel, "is_closed", False))

    sending.packing.on_add = alarm
    callers = await sending.send_all(*range(200))
    assert sending.channel.names == [[*range(200)]]
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert {*ends(callers)} == {"confirmed"}


async def test_given_up_while_a_batch_is_built_nothing_of_it_leaves(sending: Sending) -> None:
    """A connection that is given up takes no transfer any more, also of callers who are told of it a little later."""
    sending.packing.addresses = {"b": "Partitions/1"}
    sending.channel.credit["Partitions/1"] = 0
    for number in range(1000):
        sending.send(number, "b")
    for name in ("a1", "a2"):
        sending.send(name, "a")

    def give_up(message: Message) -> None:
        if message.name == "a2":
            sending.commit.lose()

    sending.packing.on_add = give_up
    await wait_until_blocked()
    assert {*ends(sending.callers)} == {"SendInterrupted"}
    assert sending.channel.transfers == []


async def test_who_comes_later_is_told_at_once(sending: Sending) -> None:
    """Nothing can be sent or asked over a connection that is lost, and nobody waits for it."""
    sending.channel.drop()
    await wait_until_blocked()
    begun = virtual_loop().time()
    callers = [sending.send("a"), sending.request()]
    await wait_until_blocked()
    assert ends(callers) == ["SendInterrupted"] * 2
    assert virtual_loop().time() == begun


async def test_a_connection_that_is_known_to_be_closed_takes_nothing(sending: Sending) -> None:
    """Who sends before the owner has seen the end is told so, and the message is certainly not delivered."""
    await wait_until_blocked()
    sending.channel.is_closed = True
    assert sending.commit.is_closed
    callers = await sending.send_all("a")
    assert ends(callers) == ["SendInterrupted"]


@pytest.mark.parametrize("call", ["receive", "room", "transfer", "tend"])
async def test_an_error_of_the_sdk_ends_the_connection(
    sending: Sending, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in any call that nobody else can hear is logged by its type, and the callers are interrupted."""
    await wait_until_blocked()
    sending.channel.errors[call] = ValueError("secret")
    if call == "tend":
        sending.channel.tend_at = 0
    callers = await sending.send_all("a")
    assert ends(callers) == ["SendInterrupted maybe" if call in {"transfer", "tend"} else "SendInterrupted"]
    assert sending.times_lost == 1
    (record,) = caplog.records
    assert record.getMessage() == "a connection to orders is broken (ValueError)"


async def test_an_sdk_that_makes_no_batch_ends_the_connection(sending: Sending) -> None:
    """When not even an empty batch can be made, nothing was sent."""
    sending.packing.new_batch_error = ValueError()
    callers = await sending.send_all("a")
    assert ends(callers) == ["SendInterrupted"]


@pytest.mark.parametrize("turns", range(8))
async def test_closing_at_any_moment_leaves_nothing(make_sending: MakeSending, turns: int) -> None:
    """However many turns after its beginning a connection is closed, no task and no caller is left."""
    sending = make_sending()
    loop = virtual_loop()
    sending.channel.answers_after = 0.0
    callers = [sending.send(number) for number in range(100)]
    callers += [sending.request()]
    until = loop.turn + turns
    while loop.turn < until:  # noqa: ASYNC110 - the loop's turns are what is counted
        await asyncio.sleep(0)
    await sending.commit.close()
    await wait_until_blocked()
    assert None not in ends(callers)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_twice_is_closing_once(sending: Sending) -> None:
    """A second close returns when the first has ended, and tells nobody again."""
    await asyncio.gather(sending.commit.close(), sending.commit.close())
    assert sending.times_lost == 1
    assert sending.commit._owner.done()


async def test_closing_does_not_wait_for_a_stalled_call(sending: Sending) -> None:
    """A call that never returns is broken off."""
    sending.channel.seconds["transfer"] = math.inf
    await sending.send_all("a")
    begun = virtual_loop().time()
    await sending.commit.close()
    assert virtual_loop().time() == begun


async def test_closing_stops_the_alarm(sending: Sending) -> None:
    """After closing no timer of the connection is left to fire."""
    sending.channel.tend_at = virtual_loop().time() + 1_000
    callers = [sending.send("a", timeout=500), sending.send("b", "b", timeout=500), sending.request(timeout=500)]
    sending.channel.seconds["manage"] = 1
    await let_time_pass(2)
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    await sending.commit.close()
    await wait_until_blocked()
    assert None not in ends(callers)
    timers = virtual_loop()._scheduled  # type: ignore[attr-defined]  # the loop's timers
    assert all(timer.cancelled() for timer in timers)


async def test_lost_while_a_link_is_opened_for_a_second_try(sending: Sending, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is given up while a link is opened for a second try says so once and breaks nothing else."""
    sending.send("a", "a")
    stalled = sending.send("b", "b", timeout=1.5)
    await wait_until_blocked()
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    sending.channel.seconds["room"] = 1
    await let_time_pass(5)
    assert ends(sending.callers) == ["SendInterrupted", "SendTimedOut maybe"]
    assert stalled.ended
    assert caplog.records == []


async def test_what_arrives_while_the_owner_reads_is_seen(sending: Sending) -> None:
    """News that come when reading has looked for the last time, and has not returned yet, are read too."""
    (caller,) = await sending.send_all("a")
    channel = sending.channel
    receive = channel.receive

    async def receive_slowly() -> None:
        await receive()
        await asyncio.sleep(1)

    channel.receive = receive_slowly  # type: ignore[method-assign]  # for this connection only
    channel.arrive()
    await let_time_pass(0.5)
    channel.transfers[0].answer()
    await let_time_pass(2)
    assert caller.ended == "confirmed"


async def test_whoever_is_told_of_the_loss_may_fail(sending: Sending) -> None:
    """Callers get their answer even if the pool fails as it is told."""

    def fail() -> None:
        sending.times_lost += 1
        raise RuntimeError("the pool's trouble")

    sending.commit._on_lost = fail
    callers = await sending.send_all("a")
    sending.channel.drop()
    await wait_until_blocked()
    assert ends(callers) == ["SendInterrupted maybe"]
    assert isinstance(sending.commit._owner.exception(), RuntimeError)


async def test_an_owner_that_starts_at_once_works_alike() -> None:
    """On a loop with eager tasks the owner has looked before its maker goes on, and nothing is different."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager_task_factory)
    try:
        sending = Sending()
        (caller,) = await sending.send_all("a")
        assert sending.channel.names == [["a"]]
        sending.channel.transfers[0].answer()
        await wait_until_blocked()
        assert caller.ended == "confirmed"
        closed = Sending(channel=sending.channel)
        sending.channel.is_closed = True
        await closed.commit.close()
        await sending.commit.close()
        assert (sending.times_lost, closed.times_lost) == (1, 1)
    finally:
        loop.set_task_factory(None)


@pytest.mark.parametrize("state", ["idle", "in the air", "resting", "requesting", "building"])
def test_a_loop_closed_over_it_leaves_no_complaint(state: str, caplog: pytest.LogCaptureFixture) -> None:
    """When the event loop is closed under a connection, nothing is called back, and nothing raises as it is collected."""
    loop = VirtualTimeLoop()
    made: list[Sending] = []

    async def begin() -> None:
        sending = Sending()
        made.append(sending)
        sending.channel.seconds["manage"] = math.inf
        if state == "building":
            sending.packing.new_batch_seconds = 100
        if state == "requesting":
            sending.request()
        elif state != "idle":
            await sending.send_all("a", "b")
        if state == "resting":
            sending.channel.transfers[0].answer(BUSY)
        await wait_until_blocked()

    def silence_asyncio() -> None:
        """Let asyncio not say itself that tasks were left."""
        for task in (made[0].commit._owner, *(caller.task for caller in made[0].callers)):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # there is no other way

    loop.run_until_complete(begin())
    loop.close()
    silence_asyncio()
    assert made[0].times_lost == 0
    connection = weakref.ref(made[0].commit)
    made.clear()
    gc.collect()
    assert connection() is None
    assert loop.complaints == []
    assert caplog.records == []


async def test_an_interruption_is_a_connection_error(sending: Sending) -> None:
    """Handlers for ConnectionError see it."""
    sending.channel.drop()
    await wait_until_blocked()
    with pytest.raises(ConnectionError) as caught:
        await sending.commit.send(Message("a"), None, 1)
    assert isinstance(caught.value, SendInterrupted)
