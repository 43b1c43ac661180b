"""What becomes of a transfer: refused, refused because it was joined, not now, or nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import pytest

from fastapi_azure_pool.clients.coalescing import Joining
from fastapi_azure_pool.clients.transfers import LOST, NOT_ALLOWED, TOO_LARGE, Outcome, OutcomeKind
from tests.support.scripted_channel import ACCEPTED, BUSY, RELEASED, Batch, Message, ScriptedChannel, ends
from tests.support.sending import Sending
from tests.support.virtual_time import let_time_pass, virtual_loop, wait_until_blocked

MakeSending: TypeAlias = Callable[..., Sending]

MIXED = "Batching brokered messages with distinct SessionId, PartitionKey, or MessageId is not supported"


async def test_a_refused_transfer_fails_exactly_its_members(sending: Sending) -> None:
    """Everybody in a refused batch gets an error of their own, nobody else does, and the key goes on."""
    callers = await sending.send_all("a", "b")
    other = sending.send("c", "c")
    behind = await sending.send_all("d")
    sending.channel.transfers[0].reject("amqp:resource-limit-exceeded", "quota")
    await wait_until_blocked()
    assert ends(callers) == ["SendRejected amqp:resource-limit-exceeded"] * 2
    assert callers[0].error is not callers[1].error
    assert ends([other, *behind]) == [None, None]
    assert sending.channel.names[-1] == ["d"]
    assert not sending.commit.is_closed


@pytest.mark.parametrize("condition", ["com.microsoft:timeout", "amqp:internal-error"])
async def test_a_refusal_that_says_nothing_about_storing(sending: Sending, condition: str) -> None:
    """Where the service gave up on it, it may have been stored, and it is not tried again here."""
    (caller,) = await sending.send_all("a")
    sending.channel.transfers[0].reject(condition)
    await let_time_pass(10)
    assert caller.ended == f"SendRejected maybe {condition}"
    assert len(sending.channel.transfers) == 1


async def test_a_lost_transfer_does_not_decide_about_the_connection(sending: Sending) -> None:
    """Members of a transfer that nobody knows about are told so; whether the connection is closed is asked of it."""
    callers = await sending.send_all("a")
    sending.channel.transfers[0].answer(LOST)
    await wait_until_blocked()
    assert ends(callers) == ["SendInterrupted maybe"]
    assert not sending.commit.is_closed
    callers = await sending.send_all("b")
    sending.channel.is_closed = True
    sending.channel.transfers[1].answer(LOST)
    await wait_until_blocked()
    assert ends(callers) == ["SendInterrupted maybe"]
    assert sending.times_lost == 1


@pytest.mark.parametrize("refusal", [BUSY, RELEASED])
async def test_what_was_not_taken_is_tried_again(sending: Sending, refusal: Outcome) -> None:
    """After 1, 2 and then always 4 s, 20 % more or less, the same payload leaves again, until it is confirmed."""
    callers = await sending.send_all("a", "b")
    for _ in range(5):
        sending.channel.transfers[-1].answer(refusal)
        await let_time_pass(4.8)
    sending.channel.transfers[-1].answer()
    await wait_until_blocked()
    transfers = sending.channel.transfers
    assert ends(callers) == ["confirmed"] * 2
    assert len(transfers) == 6
    assert len({id(transfer.payload) for transfer in transfers}) == 1
    assert sending.packing.batches == 1
    assert not sending.commit.is_closed


async def test_the_pauses_grow_and_are_never_the_same(make_sending: MakeSending) -> None:
    """The pauses are 1, 2, 4 and 4 s, each 20 % more or less, and differ from one transfer to another."""
    seen: list[list[float]] = []
    for _ in range(20):
        sending = make_sending()
        sending.channel.answers_after = 0.0
        sending.channel.answer_with = BUSY
        sending.send("a", timeout=14)
        await let_time_pass(20)
        times = [transfer.at for transfer in sending.channel.transfers]
        seen.append([later - earlier for earlier, later in pairwise(times)])
    for pauses in seen:
        for pause, seconds in zip(pauses, [1, 2, 4, 4], strict=False):
            assert 0.8 * seconds <= pause <= 1.2 * seconds
    firsts = [pauses[0] for pauses in seen]
    assert min(firsts) < 0.9
    assert max(firsts) > 1.1
    assert all(len(pauses) >= 3 for pauses in seen)


async def test_what_has_no_time_for_another_try_fails_at_once(sending: Sending) -> None:
    """Whose deadline comes before the next try is told the refusal now; the others are tried again without that message."""
    callers = [sending.send("hasty", timeout=0.7), sending.send("patient")]
    await wait_until_blocked()
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    assert ends(callers) == ["SendRejected com.microsoft:server-busy", None]
    assert callers[0].at == virtual_loop().time()
    await let_time_pass(2)
    assert sending.channel.names == [["hasty", "patient"], ["patient"]]
    sending.channel.transfers[1].answer()
    await wait_until_blocked()
    assert callers[1].ended == "confirmed"


async def test_where_nobody_has_time_the_key_goes_on(sending: Sending) -> None:
    """When no member has time for another try, the next message of the key leaves at once."""
    callers = [sending.send("a", timeout=0.5), sending.send("b", timeout=0.5)]
    await wait_until_blocked()
    await sending.send_all("next")
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    assert ends(callers) == ["SendRejected com.microsoft:server-busy"] * 2
    assert sending.channel.names == [["a", "b"], ["next"]]


async def test_others_go_on_while_one_key_pauses(sending: Sending) -> None:
    """While the service is busy for one key the others send, and the key's own next message waits behind the try."""
    await sending.send_all("a1", key="a")
    sending.channel.transfers[0].answer(BUSY)
    await sending.send_all("a2", key="a")
    await sending.send_all("b1", key="b")
    assert sending.channel.names == [["a1"], ["b1"]]
    await let_time_pass(1.2)
    assert sending.channel.names == [["a1"], ["b1"], ["a1"]]
    sending.channel.transfers[2].answer()
    await wait_until_blocked()
    assert sending.channel.names[3:] == [["a2"]]


async def test_a_pause_does_not_take_a_place_in_the_window(make_sending: MakeSending) -> None:
    """With a window of one, another key's message leaves while the first pauses."""
    sending = make_sending(window=1)
    sending.send("a", "a")
    sending.send("b", "b")
    await wait_until_blocked()
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    assert sending.channel.names == [["a"], ["b"]]
    await let_time_pass(2)
    assert sending.channel.names == [["a"], ["b"]]
    sending.channel.transfers[1].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["a"], ["b"], ["a"]]


async def test_a_second_try_waits_for_credit(sending: Sending) -> None:
    """A try that falls due without credit leaves with the next FLOW."""
    sending.channel.credit[None] = 1
    await sending.send_all("a")
    sending.channel.transfers[0].answer(BUSY)
    await let_time_pass(3)
    assert len(sending.channel.transfers) == 1
    sending.channel.grant(5)
    await wait_until_blocked()
    assert sending.channel.names == [["a"], ["a"]]


async def test_a_second_try_in_the_air_is_not_tried_again(sending: Sending) -> None:
    """While the second try waits for its answer, whatever else happens, there is no third."""
    await sending.send_all("a", key="a")
    sending.channel.transfers[0].answer(BUSY)
    await let_time_pass(2)
    for name in ("b", "c"):
        await sending.send_all(name, key=name)
        await let_time_pass(5)
    assert sending.channel.names == [["a"], ["a"], ["b"], ["c"]]


async def test_a_second_try_has_a_deadline_too(sending: Sending) -> None:
    """A second try without an answer may have been stored, and the connection is given up."""
    (caller,) = await sending.send_all("a", timeout=10)
    sending.channel.transfers[0].answer(BUSY)
    await let_time_pass(9.9)
    assert caller.ended is None
    await let_time_pass(0.2)
    assert caller.ended == "SendTimedOut maybe"
    assert sending.times_lost == 1


async def test_an_old_answer_is_not_taken_for_a_new_one(sending: Sending) -> None:
    """When the first try is answered again while the second is in flight, nobody is told a lie."""
    (caller,) = await sending.send_all("a")
    sending.channel.transfers[0].answer(BUSY)
    await let_time_pass(2)
    assert len(sending.channel.transfers) == 2
    sending.channel.transfers[0].answer(ACCEPTED)
    await wait_until_blocked()
    assert caller.ended is None
    sending.channel.transfers[1].reject("amqp:not-found")
    await wait_until_blocked()
    assert caller.ended == "SendRejected amqp:not-found"


async def test_an_old_answer_does_not_end_a_newer_transfer(sending: Sending) -> None:
    """When a batch that was refused for being joined is answered again, the single ones go on, one at a time."""
    callers = await sending.send_all(1, 2)
    sending.channel.transfers[0].reject(TOO_LARGE)
    await wait_until_blocked()
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [[1, 2], [1]]
    assert ends(callers) == [None, None]


async def test_an_answer_within_the_transfer_counts(make_sending: MakeSending) -> None:
    """A connection that returns from a transfer with its outcome has answered it."""

    class PlainChannel(ScriptedChannel):
        async def transfer(
            self, address: str | None, payload: Any, settled: Callable[[Outcome], None], seconds: float
        ) -> None:
            await super().transfer(address, payload, settled, seconds)
            settled(ACCEPTED)

    sending = make_sending(channel=PlainChannel())
    callers = await sending.send_all("a")
    callers += await sending.send_all("b", "c")
    assert ends(callers) == ["confirmed"] * 3
    assert sending.channel.names == [["a"], ["b", "c"]]


async def test_an_answer_counts_once(sending: Sending) -> None:
    """A second answer to a transfer, in the same turn or later, changes nothing and opens no place in the window."""
    (caller,) = await sending.send_all("a")
    for _ in range(2):
        sending.channel.transfers[0].answer(ACCEPTED)
        sending.channel.transfers[0].reject("amqp:not-found")
        await wait_until_blocked()
    assert caller.ended == "confirmed"
    for key in range(20):
        sending.send(key, key)
    await wait_until_blocked()
    assert len(sending.channel.in_flight) == 8


async def test_a_link_refused_between_two_tries(sending: Sending) -> None:
    """When the link is refused as the second try falls due, its members and those behind them get that refusal."""
    sending.packing.addresses = {"a": "Partitions/1"}
    callers = [sending.send("a1", "a")]
    await wait_until_blocked()
    sending.channel.transfers[0].answer(BUSY)
    callers.append(sending.send("a2", "a"))
    sending.channel.refused["Partitions/1"] = Outcome(OutcomeKind.REJECTED, "amqp:unauthorized-access")
    await let_time_pass(2)
    assert ends(callers) == ["SendRejected amqp:unauthorized-access"] * 2
    del sending.channel.refused["Partitions/1"]
    await sending.send_all("a3", key="a")
    assert sending.channel.names == [["a1"], ["a3"]]


async def test_a_link_refused_because_the_service_is_busy_is_tried_again(sending: Sending) -> None:
    """A busy service that opens no link is asked again after the same pauses, and the messages leave then."""
    sending.packing.addresses = {"a": "Partitions/1"}
    sending.channel.refused["Partitions/1"] = BUSY
    callers = [sending.send("a1", "a"), sending.send("a2", "a"), sending.send("hasty", "a", timeout=0.5)]
    await wait_until_blocked()
    callers.append(sending.send("a3", "a"))
    await let_time_pass(3)
    assert ends(callers) == [None, None, "SendRejected com.microsoft:server-busy", None]
    del sending.channel.refused["Partitions/1"]
    await let_time_pass(5)
    assert sending.channel.names == [["a1", "a2"]]
    sending.channel.transfers[0].answer()
    await wait_until_blocked()
    assert sending.channel.names == [["a1", "a2"], ["a3"]]


async def test_a_service_that_refuses_joining_gets_them_singly(
    make_sending: MakeSending, caplog: pytest.LogCaptureFixture
) -> None:
    """When the service refuses mixed batches, they leave one by one in order, and nothing to this entity is joined any more."""
    joining = Joining("orders", is_allowed=True)
    one, other = make_sending(joining=joining), make_sending(joining=joining)
    callers = await one.send_all(1, 2, 3)
    more = await other.send_all(7, 8)
    await one.send_all(4)
    one.channel.transfers[0].reject(NOT_ALLOWED, MIXED)
    other.channel.transfers[0].reject(NOT_ALLOWED, MIXED)
    for transfer in range(1, 5):
        await wait_until_blocked()
        one.channel.transfers[transfer].answer()
        if transfer < 3:
            other.channel.transfers[transfer].answer()
    await wait_until_blocked()
    assert one.channel.names == [[1, 2, 3], [1], [2], [3], [4]]
    assert other.channel.names == [[7, 8], [7], [8]]
    assert ends(callers + more) == ["confirmed"] * 5
    assert not joining.is_allowed
    (warning,) = caplog.records
    assert "orders refuses messages with different ids in one batch" in warning.getMessage()
    assert "coalesce=False" in warning.getMessage()
    await other.send_all(9, 10)
    assert other.channel.names[3:] == [[9]]


async def test_those_behind_a_refused_batch_stay_behind_it(sending: Sending) -> None:
    """What is sent singly goes before what arrived later."""
    await sending.send_all(1, 2)
    await sending.send_all(3)
    sending.channel.transfers[0].reject(TOO_LARGE)
    for transfer in range(1, 4):
        await wait_until_blocked()
        sending.channel.transfers[transfer].answer()
    assert sending.channel.names == [[1, 2], [1], [2], [3]]


async def test_a_joined_batch_too_large_for_the_service_leaves_singly(
    sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    """When only their sum is too large, each is sent alone; one that is too large alone fails alone; joining goes on."""
    callers = await sending.send_all(1, 2, 3)
    sending.channel.transfers[0].reject(TOO_LARGE)
    await wait_until_blocked()
    sending.channel.transfers[1].answer()
    await wait_until_blocked()
    sending.channel.transfers[2].reject(TOO_LARGE)
    await wait_until_blocked()
    sending.channel.transfers[3].answer()
    await wait_until_blocked()
    assert sending.channel.names == [[1, 2, 3], [1], [2], [3]]
    assert ends(callers) == ["confirmed", f"SendRejected {TOO_LARGE}", "confirmed"]
    assert caplog.records == []
    await sending.send_all(4, 5)
    assert sending.channel.names[4:] == [[4, 5]]


@pytest.mark.parametrize(("condition", "description"), [(NOT_ALLOWED, MIXED), (TOO_LARGE, "")])
async def test_a_whole_batch_is_not_taken_apart(sending: Sending, condition: str, description: str) -> None:
    """A batch that its caller made fails as a whole: all of it is stored, or nothing."""
    batch = Batch(None)
    batch.messages = [Message(1), Message(2)]
    caller = sending.send(batch, is_whole=True)
    await wait_until_blocked()
    sending.channel.transfers[0].reject(condition, description)
    await let_time_pass(10)
    assert caller.ended == f"SendRejected {condition}"
    assert len(sending.channel.transfers) == 1


async def test_another_refusal_of_the_same_condition_is_a_refusal(sending: Sending) -> None:
    """The condition alone does not say that joining was refused."""
    callers = await sending.send_all(1, 2)
    sending.channel.transfers[0].reject(NOT_ALLOWED, "The entity is read-only")
    await wait_until_blocked()
    assert ends(callers) == [f"SendRejected {NOT_ALLOWED}"] * 2
    assert len(sending.channel.transfers) == 1


async def test_where_all_were_cancelled_nobody_is_sent_singly(sending: Sending) -> None:
    """When nobody waits any more for a batch that was refused for being joined, that is its end."""
    for caller in await sending.send_all(1, 2):
        caller.cancel()
    await wait_until_blocked()
    sending.channel.transfers[0].reject(TOO_LARGE)
    await wait_until_blocked()
    assert len(sending.channel.transfers) == 1
    assert sending.channel.calls.count("room") == 1


async def test_what_does_not_fit_any_more_on_its_second_try_goes_before_the_others(make_sending: MakeSending) -> None:
    """A batch that is built again may become smaller; who is left out was not delivered, and is the next to leave."""
    joining = Joining("orders", is_allowed=True)
    sending = make_sending(joining=joining)
    callers = [sending.send(1), sending.send(2), sending.send(3), sending.send(4, timeout=5)]
    await wait_until_blocked()
    await sending.send_all(5)
    sending.channel.transfers[0].answer(BUSY)
    await wait_until_blocked()
    callers[0].cancel()
    joining.stop()
    await let_time_pass(1.3)
    assert sending.channel.names == [[1, 2, 3, 4], [2]]
    await let_time_pass(4)
    assert callers[3].ended == "SendTimedOut"
    for transfer in range(1, 3):
        sending.channel.transfers[transfer].answer()
        await wait_until_blocked()
    assert sending.channel.names == [[1, 2, 3, 4], [2], [3], [5]]


async def test_who_was_cancelled_is_not_sent_singly(sending: Sending) -> None:
    """A member whose caller has gone while the joined batch was in flight is left out, as nothing of the batch was stored."""
    callers = await sending.send_all(1, 2, 3)
    callers[1].cancel()
    await wait_until_blocked()
    sending.channel.transfers[0].reject(TOO_LARGE)
    await wait_until_blocked()
    sending.channel.transfers[1].answer()
    await wait_until_blocked()
    assert sending.channel.names == [[1, 2, 3], [1], [3]]


async def test_sent_singly_the_deadlines_still_hold(sending: Sending) -> None:
    """One that waits to be sent singly was certainly not delivered when its time passes."""
    callers = await sending.send_all(1, 2, timeout=5)
    sending.channel.transfers[0].reject(TOO_LARGE)
    await let_time_pass(3)
    sending.channel.transfers[1].answer(BUSY)
    await let_time_pass(2.5)
    assert callers[1].ended == "SendTimedOut"
    assert sending.channel.names[:2] == [[1, 2], [1]]
    assert not any(2 in names for names in sending.channel.names[1:])
