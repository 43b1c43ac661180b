"""Faults of Event Hubs and Service Bus: over raw sockets, where each frame can be seen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from fastapi_azure_pool.emulator.amqp.message import Message
from fastapi_azure_pool.emulator.amqp.performatives import (
    Accepted,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Modified,
    Open,
    Rejected,
    Released,
    Transfer,
)
from fastapi_azure_pool.emulator.faults import Faults
from tests.emulator.amqp.amqp_peer import PATIENCE, Peer, connect, connected, event

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator import Emulator


BUSY = (
    "The request was terminated because the entity is being throttled. Error code : 50009. Please wait 2 seconds and try "
    "again."
)


async def is_reset(peer: Peer) -> bool:
    """Return whether the connection was cut, with nothing said before."""
    try:
        await peer.read()
    except ConnectionResetError:
        return True
    return False


def bodies(azure: Emulator) -> list[bytes]:
    """Return what the hub holds."""
    return sorted(one.body for one in azure.received_events("hub"))


@pytest.mark.parametrize(("when", "stored"), [("before", []), ("after", [b"x"])])
async def test_drop_before_or_after_a_message_is_stored(
    azure: Emulator, when: Literal["before", "after"], stored: list[bytes]
) -> None:
    """The connection is reset and the outcome never told; only what was to be stored is."""
    async with connected(azure) as other, connected(azure) as peer:
        await other.sender("hub")
        await peer.sender("hub")
        fault = azure.faults.drop(when, method="TRANSFER", path="hub", times=1)
        peer.transfer(event(b"x"))
        assert await is_reset(peer)
        assert bodies(azure) == stored
        assert (fault.strikes, fault.is_active) == (1, False)
        assert await other.outcome(event(b"y")) == Accepted()
    assert azure.connections("amqp").dropped == 1


async def test_drop_midway(azure: Emulator) -> None:
    """A message in several frames is cut off within; one in a single frame passes."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        fault = azure.faults.drop_midway(path="hub", times=1)
        assert await peer.outcome(event(b"whole")) == Accepted()
        peer.transfer(event(b"cut"), frames=3)
        assert await is_reset(peer)
    assert (bodies(azure), fault.strikes) == ([b"whole"], 1)


@pytest.mark.parametrize("method", ["OPEN", "BEGIN", "ATTACH", "PUT-TOKEN", "DETACH", "END", "CLOSE", "DISPOSITION"])
async def test_drop_at_any_operation(azure: Emulator, method: str) -> None:
    """Each operation can be where the connection is lost."""
    with azure.faults.drop(method=method) as fault:
        async with connect(azure) as peer:
            with pytest.raises(ConnectionResetError):
                await go_through_everything(peer)
        assert fault.strikes == 1


@pytest.mark.parametrize("method", ["OPEN", "BEGIN", "ATTACH", "PUT-TOKEN", "DETACH", "END", "CLOSE", "TRANSFER"])
async def test_stall_at_any_operation(azure: Emulator, method: str) -> None:
    """What is stalled is never answered, though the connection stays; other connections are served."""
    with azure.faults.stall(method=method) as fault:
        async with connect(azure) as peer:
            task = asyncio.create_task(go_through_everything(peer))
            async with asyncio.timeout(PATIENCE):
                while not fault.strikes:  # noqa: ASYNC110 - the emulator's state has no event
                    await asyncio.sleep(0)
            fault.clear()
            async with connect(azure) as other:
                await go_through_everything(other)
            assert not task.done()
            assert azure.connections("amqp").open >= 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("method", ["OPEN", "BEGIN", "ATTACH", "PUT-TOKEN", "DETACH", "END", "CLOSE", "TRANSFER"])
async def test_delay_at_any_operation(azure: Emulator, method: str) -> None:
    """What is delayed comes later, in its place, and nothing else changes."""
    loop = asyncio.get_running_loop()
    async with connect(azure) as peer:
        with azure.faults.delay(0.05, service="amqp", method=method) as fault:
            started = loop.time()
            await go_through_everything(peer)
            assert loop.time() - started >= 0.05
            assert fault.strikes >= 1


async def go_through_everything(peer: Peer) -> None:
    """Do each operation once."""
    await peer.open()
    await peer.begin()
    assert (await peer.put_token(peer.signature("orders"), peer.resource("orders")))[0] == 200
    await peer.sender("orders")
    await peer.outcome(event())
    peer.attach_receiver("orders", handle=1, rcv_settle_mode=1)
    await peer.wait_for(Attach)
    peer.grant(1, next_incoming_id=1)
    transfer = await peer.wait_for(Transfer)
    peer.send(
        Disposition(role=True, first=transfer.delivery_id or 0, settled=False, state=Accepted()),
    )
    await peer.wait_for(Disposition)
    peer.send(Detach(0, closed=True))
    await peer.wait_for(Detach)
    peer.send(End())
    await peer.wait_for(End)
    await peer.close()


async def test_everything_may_be_delayed_at_once(azure: Emulator) -> None:
    """A client that pipelines its whole beginning gets the answers in their order, each in its time."""
    with azure.faults.delay(0.02, service="amqp"):
        async with connect(azure) as peer:
            await peer.authenticate("PLAIN", f"\0RootManageSharedAccessKey\0{azure.amqp_key}".encode())
            peer.send_bytes(b"AMQP\x00\x01\x00\x00")
            peer.send(Open("a test"))
            peer.send(Begin(next_outgoing_id=0, incoming_window=10, outgoing_window=10))
            peer.attach_sender("hub")
            await peer.read_bytes(8)
            for kind in (Open, Begin, Attach, Flow):
                await peer.expect(kind)


async def test_a_delayed_message_is_not_overtaken(azure: Emulator) -> None:
    """Messages of one link stay in order though only the first is delayed; those of another link pass."""
    async with connected(azure) as peer:
        await peer.sender("hub/Partitions/0", handle=0)
        await peer.sender("hub/Partitions/1", handle=1)
        azure.faults.delay(0.05, method="TRANSFER", path="hub/Partitions/0", times=1)
        numbers = [peer.transfer(event(b"%d" % number), handle=0) for number in range(3)]
        passing = peer.transfer(event(b"passes"), handle=1)
        answered = [(await peer.expect(Disposition)).first for _ in range(4)]
        assert answered == [passing, *numbers]
    assert [one.body for one in azure.received_events("hub") if one.partition_id == "0"] == [b"0", b"1", b"2"]


async def test_delayed_messages_wait_side_by_side(azure: Emulator) -> None:
    """Twenty messages under way at once are delayed once, not twenty times: it is a distance, not a speed."""
    loop = asyncio.get_running_loop()
    async with connected(azure) as peer:
        await peer.sender("hub")
        with azure.faults.delay(0.1, method="TRANSFER"):
            started = loop.time()
            for _ in range(20):
                peer.transfer(event())
            for _ in range(20):
                await peer.expect(Disposition)
            assert 0.1 <= loop.time() - started < 1.5


async def test_a_delayed_message_on_a_lost_link_never_came(azure: Emulator) -> None:
    """When the link is detached while its message is on the way, the message is not stored."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        azure.faults.delay(0.05, method="TRANSFER")
        peer.transfer(event())
        peer.send(Detach(0, closed=True))
        await peer.expect(Detach)
        azure.faults.clear()
        await peer.sender("hub", handle=1)
        azure.faults.delay(0.06, method="TRANSFER")
        await peer.outcome(event(b"later"), handle=1)
    assert bodies(azure) == [b"later"]


@pytest.mark.parametrize(
    ("add", "outcome"),
    [
        (lambda faults: faults.settle("released", path="hub"), Released()),
        (lambda faults: faults.settle("modified", path="hub"), Modified(delivery_failed=True)),
    ],
)
async def test_outcomes_that_are_neither_success_nor_failure(azure: Emulator, add: Any, outcome: object) -> None:
    """A message is released or modified, and not stored; others are taken as ever."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        await peer.sender("orders", handle=1)
        with add(azure.faults):
            assert await peer.outcome(event()) == outcome
            assert await peer.outcome(event(), handle=1) == Accepted()
        assert await peer.outcome(event()) == Accepted()
    assert len(bodies(azure)) == 1


@pytest.mark.parametrize(
    ("add", "condition", "description"),
    [
        (
            lambda faults: faults.throttle(service="amqp", times=1),
            "com.microsoft:server-busy",
            BUSY,
        ),
        (
            lambda faults: faults.fail(service="amqp", times=1),
            "amqp:internal-error",
            "The service was unable to process the request; please retry the operation.",
        ),
        (
            lambda faults: faults.reject("amqp:not-allowed", "Batching brokered messages", path="hub", times=1),
            "amqp:not-allowed",
            "Batching brokered messages",
        ),
        (
            lambda faults: faults.reject("amqp:link:message-size-exceeded", times=1),
            "amqp:link:message-size-exceeded",
            "The message was rejected.",
        ),
    ],
)
async def test_rejections(azure: Emulator, add: Any, condition: str, description: str) -> None:
    """A message is rejected with the error, and not stored; the link goes on."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        add(azure.faults)
        outcome = await peer.outcome(event())
        assert isinstance(outcome, Rejected)
        assert outcome.error is not None
        assert (outcome.error.condition, outcome.error.description) == (condition, description)
        assert await peer.outcome(event(b"next")) == Accepted()
    assert bodies(azure) == [b"next"]


async def test_stall_may_store(azure: Emulator) -> None:
    """A stalled message is forgotten, or stored without a word: the client can't tell."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        azure.faults.stall("before", method="TRANSFER", times=1)
        azure.faults.stall("after", method="TRANSFER", times=1)
        peer.transfer(event(b"forgotten"))
        peer.transfer(event(b"stored"))
        last = peer.transfer(event(b"answered"))
        assert (await peer.expect(Disposition)).first == last
    assert bodies(azure) == [b"answered", b"stored"]


async def test_requests_are_throttled_in_their_own_words(azure: Emulator) -> None:
    """A management request gets a status and a condition, not an outcome."""
    async with connected(azure) as peer:
        azure.faults.throttle(method="READ", path="hub", times=1)
        asked = Message(application_properties={"operation": "READ", "type": "com.microsoft:eventhub", "name": "hub"})
        answer = await peer.request("$management", asked)
        assert answer.application_properties is not None
        assert answer.application_properties["status-code"] == 503
        assert answer.application_properties["error-condition"] == "com.microsoft:server-busy"
        answer = await peer.request("$management", asked, handle=20)
        assert answer.application_properties is not None
        assert answer.application_properties["status-code"] == 200
    assert azure.amqp_requests.count("READ", "hub") == 2


async def test_reject_authorization_strikes_at_cbs(azure: Emulator) -> None:
    """A good token is answered 401 while the fault lasts, for the entity that it is for, and links stay."""
    async with connected(azure) as peer:
        await peer.sender("hub", handle=0)
        with azure.faults.reject_authorization(service="amqp", path="hub") as fault:
            status, description = await peer.put_token(peer.signature("hub"), peer.resource("hub"), handle=10)
            assert (status, description) == (401, "InvalidSignature: The token has an invalid signature.")
            assert (await peer.put_token(peer.signature("orders"), peer.resource("orders"), handle=20))[0] == 200
            assert await peer.outcome(event()) == Accepted()
        assert fault.strikes == 1
        assert (await peer.put_token(peer.signature("hub"), peer.resource("hub"), handle=30))[0] == 200


async def test_detach_links(azure: Emulator) -> None:
    """Open links are detached at once, as idle ones are on Azure; those of requests are spared; sessions go on."""
    async with connected(azure) as peer:
        await peer.put_token(peer.signature("hub"), peer.resource("hub"))
        await peer.sender("hub", handle=0)
        await peer.sender("orders", handle=1)
        assert azure.faults.detach_links("or*") == 1
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert (detach.handle, detach.closed, detach.error.condition) == (1, True, "amqp:link:detach-forced")
        assert "link is detached after it was idle" in (detach.error.description or "")
        assert azure.faults.detach_links(condition="amqp:link:stolen") == 1
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert (detach.handle, detach.error.condition) == (0, "amqp:link:stolen")
        assert azure.faults.detach_links() == 0
        peer.send(Detach(0, closed=True))
        await peer.sender("hub", handle=0)


async def test_close_connections(azure: Emulator) -> None:
    """Open connections are closed at once, as idle ones are on Azure; new ones are served."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        assert azure.faults.close_connections() == 1
        error = (await peer.expect(Close)).error
        assert error is not None
        assert error.condition == "amqp:connection:forced"
        peer.send(Close())
        await peer.expect_end()
        assert azure.faults.close_connections("amqp:internal-error") == 0
    async with connected(azure) as peer:
        await peer.sender("hub")


async def test_send_flow(azure: Emulator) -> None:
    """A flow may come at any moment, also while a message is under way; it repeats what is so."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        await peer.outcome(event())
        assert azure.faults.send_flow("nothing") == 0
        assert azure.faults.send_flow("hub") == 1
        flow = await peer.expect(Flow)
        assert (flow.handle, flow.delivery_count, flow.link_credit, flow.next_incoming_id) == (0, 1, 999, 1)
        first, second = event()[:2], event()[2:]
        peer.send(Transfer(0, 9, b"9", 0, settled=False, more=True), first)
        assert azure.faults.send_flow() == 1
        await peer.expect(Flow)
        peer.send(Transfer(0), second)
        assert (await peer.expect(Disposition)).first == 9


async def test_withheld_credit_comes_when_it_is_cleared(azure: Emulator) -> None:
    """A new link gets what the fault leaves, an old one no more, until the fault is cleared; then all get theirs."""
    async with connected(azure) as peer:
        await peer.sender("hub", handle=0)
        fault = azure.faults.withhold_credit(credit=1, path="hub")
        assert (await peer.sender("hub", handle=1)).link_credit == 1
        assert (await peer.sender("orders", handle=2)).link_credit == 1000
        assert await peer.outcome(event(), handle=1) == Accepted()
        for _ in range(600):
            assert isinstance(await peer.outcome(event(), handle=0), Accepted)
        assert peer.received == []
        assert fault.strikes == 1
        fault.clear()
        flows = [await peer.expect(Flow) for _ in range(2)]
        assert sorted((flow.handle, flow.delivery_count, flow.link_credit) for flow in flows) == [
            (0, 600, 1000),
            (1, 1, 1000),
        ]


async def test_refuse_attach(azure: Emulator) -> None:
    """An attach is answered with one that leads nowhere, and a detach with the error."""
    async with connected(azure) as peer:
        azure.faults.refuse_attach(path="hub", times=1)
        peer.attach_sender("hub")
        assert (await peer.expect(Attach)).target is None
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert detach.error.condition == "amqp:not-found"
        peer.send(Detach(0, closed=True))
        await peer.sender("hub")


async def test_accept_then_detach(azure: Emulator) -> None:
    """An attach is answered as ever, credit included, and the link detached at once."""
    async with connected(azure) as peer:
        azure.faults.accept_then_detach("amqp:resource-limit-exceeded", "Too many.", path="hub", times=1)
        assert (await peer.sender("hub")).link_credit == 1000
        detach = await peer.expect(Detach)
        assert detach.error is not None
        assert (detach.error.condition, detach.error.description) == ("amqp:resource-limit-exceeded", "Too many.")


async def test_failures_by_name(azure: Emulator) -> None:
    """What AMQP can't refuse alone is refused when it is named: a link, a session, a connection goes."""
    async with connected(azure) as peer:
        with azure.faults.fail(method="ATTACH"):
            peer.attach_sender("hub")
            assert (await peer.expect(Attach)).target is None
            await peer.expect(Detach)
        with azure.faults.fail(method="BEGIN"):
            await peer.begin(channel=1)
            error = (await peer.expect(End)).error
            assert error is not None
            assert error.condition == "amqp:internal-error"
    with azure.faults.fail(method="OPEN"):
        async with connect(azure) as peer:
            await peer.open()
            error = (await peer.expect(Close)).error
            assert error is not None
            assert error.condition == "amqp:internal-error"


async def test_what_ends_things_is_struck_by_name_only(azure: Emulator) -> None:
    """A fault without a method leaves DETACH, END and CLOSE alone, and a refusal also OPEN, BEGIN and DISPOSITION."""
    async with connect(azure) as peer:
        with azure.faults.fail(service="amqp"):
            await peer.open()
            await peer.begin()
        await peer.sender("hub")
        with azure.faults.drop(service="amqp"):
            peer.send(Detach(0, closed=True))
            await peer.expect(Detach)
            peer.send(End())
            await peer.expect(End)
            await peer.close()


async def test_the_log_counts_operations_by_address(azure: Emulator) -> None:
    """Each operation is counted once, with the entity that it is about."""
    async with connect(azure) as peer:
        await go_through_everything(peer)
    counts = {
        (method, path): azure.amqp_requests.count(method, path)
        for method, path in [
            ("OPEN", ""),
            ("BEGIN", ""),
            ("ATTACH", "$cbs"),
            ("PUT-TOKEN", "orders"),
            ("ATTACH", "orders"),
            ("TRANSFER", "orders"),
            ("DISPOSITION", "orders"),
            ("DETACH", "orders"),
            ("END", ""),
            ("CLOSE", ""),
        ]
    }
    assert counts == dict.fromkeys(counts, 1) | {("ATTACH", "$cbs"): 2, ("ATTACH", "orders"): 2}
    assert azure.amqp_requests.total == 12


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda faults: faults.stall("later"), "when='later'"),
        (lambda faults: faults.settle("accepted"), "outcome='accepted'"),
        (lambda faults: faults.withhold_credit(credit=-1), "credit=-1"),
        (lambda faults: faults.drop_midway(times=0), "times=0"),
    ],
)
def test_wrong_arguments_are_refused(add: Any, message: str) -> None:
    """Each names the value and what it may be."""
    with pytest.raises(ValueError, match=message):
        add(Faults(("amqp",), lambda _service: 0))


def test_without_a_server_nothing_can_be_done_at_once() -> None:
    """What acts on open links says so when there is no service that has some."""
    with pytest.raises(RuntimeError, match="no AMQP service"):
        Faults(("cosmos",), lambda _service: 0).detach_links()
