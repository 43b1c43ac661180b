"""One task owns the connection, serves requests in turn, gives way to others, and keeps nothing of what is over."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest

from fastapi_azure_pool.clients.transfers import SERVER_BUSY, TOO_LARGE, Outcome, OutcomeKind
from fastapi_azure_pool.errors import SendError, SendRejected
from tests.support.scripted_channel import BUSY, Batch, Message, ends, who
from tests.support.sending import Sending
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

MakeSending: TypeAlias = Callable[..., Sending]


async def test_every_call_is_the_owners(sending: Sending) -> None:
    """Receiving, opening, transferring, keeping alive and management requests are one task's, one after the other."""
    sending.channel.answers_after = 0.01
    sending.channel.tend_at = virtual_loop().time() + 0.05
    for call in ("receive", "room", "transfer", "manage", "tend"):
        sending.channel.seconds[call] = 0.01
    for number in range(10):
        sending.send(number, number % 3)
        sending.request()
        await let_time_pass(0.02)
    await let_time_pass(10)
    assert {*ends(sending.callers)} == {"confirmed"}
    assert {*sending.channel.calls} == {"receive", "room", "transfer", "manage", "tend"}
    assert sending.channel.tasks == {sending.commit._owner}
    assert sending.commit._owner.get_name() == "sender to orders"


async def test_requests_are_made_one_at_a_time_in_order(sending: Sending) -> None:
    """Management requests follow one another in the order of their arrival, and transfers leave between them."""
    sending.channel.seconds["manage"] = 1
    begun: list[int] = []

    def operation(number: int) -> Callable[[float], Any]:
        async def manage(seconds: float) -> int:
            begun.append(number)
            await sending.channel.manage()
            return number

        return manage

    callers = [sending.request(operation(number)) for number in range(3)]
    await wait_until_blocked()
    sending.send("a")
    await let_time_pass(1)
    assert sending.channel.names == [["a"]]
    assert begun == [0, 1]
    await let_time_pass(3)
    assert [caller.answer for caller in callers] == [0, 1, 2]


async def test_a_request_is_made_in_its_callers_context(sending: Sending) -> None:
    """An operation sees its caller's context variables from its beginning to its end, in the owner's task."""
    seen: list[tuple[str, object]] = []

    async def manage(seconds: float) -> str:
        seen.append((who.get(), asyncio.current_task()))
        who.set(f"{who.get()}'s operation")
        await asyncio.sleep(1)
        seen.append((who.get(), asyncio.current_task()))
        with contextlib.suppress(ValueError):
            await _fail()
        await sending.channel.manage()
        return who.get()

    async def _fail() -> None:
        await asyncio.sleep(1)
        raise ValueError

    callers = [sending.request(manage, name=name) for name in ("anna", "bert")]
    await let_time_pass(10)
    assert [caller.answer for caller in callers] == ["anna's operation", "bert's operation"]
    owner = sending.commit._owner
    assert seen == [
        ("anna", owner),
        ("anna's operation", owner),
        ("bert", owner),
        ("bert's operation", owner),
    ]


async def test_a_request_that_fails_fails_alone(sending: Sending) -> None:
    """An operation's error is translated for its caller; the next request and the connection are unharmed."""
    sending.channel.errors["manage"] = ValueError("no such message")
    callers = [sending.request()]
    await wait_until_blocked()
    assert callers[0].ended == "SendRejected"
    assert str(callers[0].error) == "no such message"
    del sending.channel.errors["manage"]
    callers.append(sending.request())
    await wait_until_blocked()
    assert callers[1].ended == "confirmed"


async def test_an_operation_may_handle_what_it_awaits(sending: Sending) -> None:
    """An error that arrives while an operation waits is the operation's to handle, in its caller's context."""
    awaited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handled: list[str] = []

    async def manage(seconds: float) -> str:
        try:
            await awaited
        except ValueError:
            handled.append(who.get())
        await sending.channel.manage()
        return "done"

    caller = sending.request(manage, name="anna")
    await wait_until_blocked()
    awaited.set_exception(ValueError())
    await wait_until_blocked()
    assert (caller.answer, handled) == ("done", ["anna"])


async def test_an_operation_that_is_none_fails_alone(sending: Sending) -> None:
    """An operation that fails before it is a coroutine gives its caller that error."""

    def manage(seconds: float) -> Any:
        raise ValueError("wrong argument")

    caller = sending.request(manage)
    await wait_until_blocked()
    assert caller.ended == "SendRejected"
    assert not sending.commit.is_closed


async def test_an_operation_that_was_cancelled_inside_may_have_been_made(sending: Sending) -> None:
    """When an operation ends in a cancellation that nobody here asked for, its caller is told that nobody knows."""

    async def manage(seconds: float) -> None:
        raise asyncio.CancelledError

    caller = sending.request(manage)
    await wait_until_blocked()
    assert caller.ended == "SendInterrupted maybe"


async def test_a_busy_service_is_asked_again(sending: Sending) -> None:
    """A management request that the service is too busy for is made again after 1, 2 and 4 s, while others are served."""
    busy = SendRejected("busy", condition=SERVER_BUSY)
    made: list[float] = []

    async def manage(seconds: float) -> str:
        made.append(virtual_loop().time())
        if len(made) < 4:
            raise busy
        return "done"

    caller = sending.request(manage, 20)
    await wait_until_blocked()
    other = sending.request()
    await wait_until_blocked()
    assert other.ended == "confirmed"
    await let_time_pass(20)
    assert caller.answer == "done"
    for earlier, later, seconds in zip(made, made[1:], (1, 2, 4), strict=False):
        assert 0.8 * seconds <= later - earlier <= 1.2 * seconds


async def test_a_busy_service_is_not_asked_beyond_the_deadline(sending: Sending) -> None:
    """When the next pause would outlast the caller's time, the refusal is told at once."""

    async def manage(seconds: float) -> None:
        raise SendRejected("busy", condition=SERVER_BUSY)

    begun = virtual_loop().time()
    caller = sending.request(manage, 3)
    await let_time_pass(10)
    assert caller.ended == f"SendRejected {SERVER_BUSY}"
    assert caller.at is not None
    assert caller.at - begun < 2.5


async def test_it_is_kept_alive_when_it_wants_to_be(sending: Sending) -> None:
    """The connection is tended at the time that it names, and not before."""
    sending.channel.tend_at = virtual_loop().time() + 15
    sending.commit.wake()
    await let_time_pass(14)
    assert "tend" not in sending.channel.calls
    await let_time_pass(1)
    assert sending.channel.calls.count("tend") == 1
    sending.channel.tend_at = virtual_loop().time() + 15
    sending.commit.wake()
    await let_time_pass(60)
    assert sending.channel.calls.count("tend") == 2


async def test_requests_do_not_keep_it_from_being_kept_alive(sending: Sending) -> None:
    """However many requests wait, the connection is tended in time: its token would expire."""
    sending.channel.seconds["manage"] = 1
    sending.channel.tend_at = virtual_loop().time() + 5
    for _ in range(20):
        sending.request()
    await let_time_pass(7)
    assert "tend" in sending.channel.calls
    await let_time_pass(60)
    assert {*ends(sending.callers)} == {"confirmed"}


async def test_an_idle_connection_does_nothing(sending: Sending) -> None:
    """A connection with nothing to do sleeps: the loop does not turn for it."""
    await wait_until_blocked()
    calls = list(sending.channel.calls)
    await let_time_pass(10_000)
    assert sending.channel.calls == calls


class Turns:
    """Counts the turns of the loop while something is done, and the steps in each."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}

    def step(self, *_: object) -> None:
        """Count a step in the present turn."""
        turn = virtual_loop().turn
        self.steps[turn] = self.steps.get(turn, 0) + 1


async def test_building_gives_way_to_others(sending: Sending) -> None:
    """No more than 32 messages are added in one turn of the loop."""
    turns = Turns()
    sending.packing.on_add = turns.step
    await sending.send_all(*range(1000))
    assert sending.channel.names == [[*range(1000)]]
    assert max(turns.steps.values()) == 32
    assert len(turns.steps) == 32


@pytest.mark.parametrize("condition", [None, "amqp:not-found"])
async def test_answering_gives_way_to_others(sending: Sending, condition: str | None) -> None:
    """No more than 32 callers are woken in one turn of the loop."""
    await sending.send_all(*range(1000))
    if condition is None:
        sending.channel.transfers[0].answer()
    else:
        sending.channel.transfers[0].reject(condition)
    await wait_until_blocked()
    turns: dict[int, int] = {}
    for caller in sending.callers:
        assert caller.turn is not None
        turns[caller.turn] = turns.get(caller.turn, 0) + 1
    assert max(turns.values()) == 32
    assert len(turns) == 32


async def test_refusing_those_without_time_gives_way_to_others(sending: Sending) -> None:
    """The same holds where a busy service refuses 1,000 callers who have no time for another try."""
    await sending.send_all(*range(1000), timeout=0.5)
    sending.channel.transfers[0].reject(SERVER_BUSY)
    await wait_until_blocked()
    assert {*ends(sending.callers)} == {f"SendRejected {SERVER_BUSY}"}
    turns: dict[int, int] = {}
    for caller in sending.callers:
        assert caller.turn is not None
        turns[caller.turn] = turns.get(caller.turn, 0) + 1
    assert max(turns.values()) == 32


async def test_turning_away_gives_way_to_others(sending: Sending) -> None:
    """The same holds where the link that 1,000 callers want is refused."""
    sending.channel.refused[None] = Outcome(OutcomeKind.REJECTED, "amqp:not-found")
    await sending.send_all(*range(1000))
    turns: dict[int, int] = {}
    for caller in sending.callers:
        assert caller.turn is not None
        turns[caller.turn] = turns.get(caller.turn, 0) + 1
    assert max(turns.values()) == 32


@pytest.mark.parametrize("where", ["in the air", "in line", "requests"])
async def test_telling_of_the_end_gives_way_to_others(sending: Sending, where: str) -> None:
    """The same holds when the connection ends under 1,000 callers."""
    if where == "in line":
        sending.channel.credit[None] = 0
    if where == "requests":
        sending.channel.seconds["manage"] = math.inf
        for _ in range(1000):
            sending.request()
        await wait_until_blocked()
    else:
        await sending.send_all(*range(1000))
    await sending.commit.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    turns: dict[int, int] = {}
    for caller in sending.callers:
        assert caller.turn is not None
        turns[caller.turn] = turns.get(caller.turn, 0) + 1
    assert max(turns.values()) <= 65  # The request in progress is told by the way.
    maybe = " maybe" if where == "in the air" else ""
    assert ends(sending.callers)[1:] == [f"SendInterrupted{maybe}"] * 999


async def test_whose_time_is_over_at_the_end_is_told_of_the_end(make_sending: MakeSending) -> None:
    """A deadline in the moment in which the connection ends makes nobody hear less than is known."""
    ended_at = virtual_loop().time() + 5

    def end() -> None:
        sending.channel.seconds["manage"] = 0.0
        sending.commit.lose()

    virtual_loop().call_at(ended_at - 1e-12, end)
    sending = make_sending()
    callers = [sending.send(number, timeout=5) for number in range(300)]
    sending.channel.seconds["manage"] = math.inf
    callers += [sending.request(timeout=5) for _ in range(300)]
    await let_time_pass(6)
    assert {*ends(callers[:300])} == {"SendInterrupted maybe"}
    assert ends(callers[300:]) == ["SendInterrupted maybe"] + ["SendInterrupted"] * 299


@contextmanager
def without_collecting() -> Iterator[None]:
    """Keep the garbage collector from hiding what holds itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _swallow(sending: Sending, message: Message, timeout: float) -> None:
    with contextlib.suppress(SendError, TypeError):
        await sending.commit.send(message, None, timeout)


def _answer(sending: Sending) -> None:
    sending.channel.in_flight[0].answer()


def _reject(sending: Sending) -> None:
    sending.channel.in_flight[0].reject("amqp:not-found")


def _busy_for_too_long(sending: Sending) -> None:
    sending.channel.in_flight[0].answer(BUSY)


def _drop(sending: Sending) -> None:
    sending.channel.drop()


def _nothing(sending: Sending) -> None:
    pass


@pytest.mark.parametrize("end", [_answer, _reject, _busy_for_too_long, _drop, _nothing])
async def test_nothing_of_an_answered_send_is_kept(sending: Sending, end: Callable[[Sending], None]) -> None:
    """When a caller has an answer, message and batch are free at once, without the garbage collector."""
    payloads: list[weakref.ref[Batch]] = []
    with without_collecting():
        messages = [Message(number) for number in range(3)]
        kept = [weakref.ref(message) for message in messages]
        tasks = [asyncio.create_task(_swallow(sending, message, 0.5)) for message in messages]
        del messages
        await wait_until_blocked()
        payloads.append(weakref.ref(sending.channel.transfers[0].payload))
        end(sending)
        await let_time_pass(1)
        assert all(task.done() for task in tasks)
        tasks.clear()
        for transfer in sending.channel.transfers:
            transfer.payload = None
        assert [reference() for reference in kept] == [None] * 3
        assert [reference() for reference in payloads] == [None]


@pytest.mark.parametrize("message", [Message(error=TypeError), Message(size=10_000_000)], ids=["encoder", "too large"])
async def test_an_error_of_one_message_keeps_nothing_of_the_others(sending: Sending, message: Message) -> None:
    """Where one message cannot be made part of a batch, its error holds nobody else's, however long it is kept."""

    async def fail() -> BaseException | None:
        try:
            await sending.commit.send(message, None, 5)
        except (TypeError, SendError) as error:
            return error
        return None

    sending.channel.answers_after = 0.1
    with without_collecting():
        others = [Message(number) for number in range(3)]
        kept = [weakref.ref(other) for other in others]
        tasks = [asyncio.create_task(_swallow(sending, other, 5)) for other in others]
        failing = asyncio.create_task(fail())
        del others
        await let_time_pass(1)
        assert failing.result() is not None
        assert sending.channel.names == [[0, 1, 2]]
        tasks.clear()
        sending.channel.transfers[0].payload = None
        assert [reference() for reference in kept] == [None] * 3


async def test_nothing_of_a_send_that_timed_out_in_line_is_kept(sending: Sending) -> None:
    """When a caller's time is over in line, the message is free at once, though the line does not move."""
    sending.channel.credit[None] = 0
    with without_collecting():
        message = Message()
        kept = weakref.ref(message)
        task = asyncio.create_task(_swallow(sending, message, 0.3))
        del message
        await let_time_pass(0.5)
        assert task.done()
        del task
        assert not sending.commit.is_closed
        assert kept() is None


async def test_nothing_of_a_cancelled_send_is_kept(sending: Sending) -> None:
    """When a caller is cancelled in line, the message is free at once."""
    sending.channel.credit[None] = 0
    with without_collecting():
        message = Message()
        kept = weakref.ref(message)
        task = asyncio.create_task(_swallow(sending, message, 100))
        del message
        await wait_until_blocked()
        task.cancel()
        await asyncio.wait([task])
        del task
        await wait_until_blocked()
        assert kept() is None


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_of_an_answered_request_is_kept(sending: Sending, *, fails: bool) -> None:
    """When a request has its answer, whatever its operation holds is free at once."""

    async def ask(thing: Message) -> None:
        async def manage(seconds: float) -> None:
            await asyncio.sleep(1)
            if fails:
                raise SendRejected(str(thing))

        with contextlib.suppress(SendError):
            await sending.commit.request(manage, 10)

    with without_collecting():
        thing = Message()
        kept = weakref.ref(thing)
        task = asyncio.create_task(ask(thing))
        del thing
        await let_time_pass(2)
        assert task.done()
        del task
        assert kept() is None


async def test_a_timer_keeps_no_request_alive(sending: Sending) -> None:
    """The context of a caller, the request's, is free when the caller has an answer, whatever timers are left."""

    class Request:
        pass

    with without_collecting():
        request = Request()
        kept = weakref.ref(request)

        async def manage(seconds: float) -> None:
            pass

        async def handle(request: Request) -> None:
            who.set(request)  # type: ignore[arg-type]  # stands for what a framework keeps in the context
            await sending.commit.request(manage, 1_000)
            await sending.commit.send(Message(), None, 1_000)

        # The loop forgets a cancelled timer only when it is its first.
        virtual_loop().call_later(500, sending.commit.wake)
        task = asyncio.create_task(handle(request))
        del request
        await wait_until_blocked()
        sending.channel.transfers[0].answer()
        await wait_until_blocked()
        assert task.done()
        del task
        sending.channel.transfers.clear()
        sending.packing.added.clear()
        assert kept() is None


async def test_separated_members_are_let_go_too(sending: Sending) -> None:
    """Members that are sent singly are free one by one."""
    with without_collecting():
        messages = [Message(number) for number in range(2)]
        kept = [weakref.ref(message) for message in messages]
        tasks = [asyncio.create_task(_swallow(sending, message, 100)) for message in messages]
        del messages
        await wait_until_blocked()
        for number in range(3):
            if number:
                sending.channel.transfers[-1].answer()
            else:
                sending.channel.transfers[-1].reject(TOO_LARGE)
            sending.channel.transfers[-1].payload = None
            await wait_until_blocked()
            assert [reference() is None for reference in kept] == [number > 0, number > 1]
        assert all(task.done() for task in tasks)


async def test_the_owner_keeps_no_callers_context(make_sending: MakeSending) -> None:
    """A connection that is opened during a request sees none of its context variables."""
    token = who.set("a request")
    sending = make_sending()
    who.reset(token)
    sending.channel.tend_at = virtual_loop().time() + 1
    sending.send("a")
    await let_time_pass(2)
    assert sending.channel.contexts == {0}
    assert math.isinf(sending.channel.tend_at)
