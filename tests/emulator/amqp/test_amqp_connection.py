"""Connections as raw sockets meet them: headers, SASL, opening, sessions, and what is malformed."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from azure.eventhub import EventData

from fastapi_azure_pool.emulator import Emulator
from fastapi_azure_pool.emulator.amqp.authorization import KEY_NAME
from fastapi_azure_pool.emulator.amqp.frames import AMQP_HEADER, SASL_HEADER, encode_frame
from fastapi_azure_pool.emulator.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    SaslInit,
    SaslMechanisms,
    Source,
    Target,
    Transfer,
)
from tests.emulator.amqp.amqp_peer import Peer, connect, connected, event
from tests.emulator.amqp.conftest import make_producer

OPEN_FRAME = encode_frame(0, Open("a test"))


async def test_mechanisms_are_those_of_azure(azure: Emulator) -> None:
    """The SASL layer offers what Azure offers."""
    async with connect(azure) as peer:
        peer.send_bytes(SASL_HEADER)
        assert await peer.read_bytes(8) == SASL_HEADER
        offered = await peer.read_sasl()
        assert isinstance(offered, SaslMechanisms)
        assert list(offered.sasl_server_mechanisms) == ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]


@pytest.mark.parametrize(
    ("mechanism", "response", "code"),
    [
        ("ANONYMOUS", None, 0),
        ("EXTERNAL", b"", 0),
        ("PLAIN", b"\0nobody\0key", 1),
        ("PLAIN", f"\0{KEY_NAME}\0wrong".encode(), 1),
        ("PLAIN", b"\xff", 1),
        ("PLAIN", None, 1),
        ("SCRAM-SHA-256", b"", 1),
    ],
)
async def test_sasl_outcome(azure: Emulator, mechanism: str, response: bytes | None, code: int) -> None:
    """Everybody may come in without saying who they are; who gives a wrong key, or what was not offered, may not."""
    async with connect(azure) as peer:
        assert await peer.authenticate(mechanism, response) == code


async def test_plain_with_the_key_needs_no_token(azure: Emulator) -> None:
    """Who gives the key itself may use every entity at once."""
    async with connected(azure) as peer:
        assert (await peer.sender("hub")).link_credit == 1000


@pytest.mark.parametrize(
    "header", [b"GET / HTTP/1.1\r\n", AMQP_HEADER, b"AMQP\x02\x01\x00\x00", b"AMQP\x03\x02\x00\x00", b"\x16\x03\x01"]
)
async def test_another_protocol_is_told_what_is_spoken_here(azure: Emulator, header: bytes) -> None:
    """Whoever begins otherwise gets the header of the SASL layer, and the connection is closed."""
    async with connect(azure) as peer:
        peer.send_bytes(header)
        assert await peer.read_bytes(8) == SASL_HEADER
        await peer.expect_end()


async def test_open_tells_the_limits(azure: Emulator) -> None:
    """The server's open has Azure's frame size, channels and idle time-out, in milliseconds."""
    async with connect(azure) as peer:
        answer = await peer.open()
        assert (answer.max_frame_size, answer.channel_max, answer.idle_time_out) == (65536, 4999, 240_000)
        await peer.close()
        await peer.expect_end()
    assert azure.connections("amqp").accepted == 1


async def test_everything_may_come_at_once(azure: Emulator) -> None:
    """A client that waits for nothing is understood, however its bytes are cut."""
    key = f"\0{KEY_NAME}\0{azure.amqp_key}".encode()
    everything = (
        SASL_HEADER
        + encode_frame(0, SaslInit("PLAIN", key), sasl=True)
        + AMQP_HEADER
        + OPEN_FRAME
        + encode_frame(0, Begin(next_outgoing_id=0, incoming_window=10, outgoing_window=10))
        + encode_frame(
            0, Attach("a", 0, role=False, source=Source("x"), target=Target("hub"), initial_delivery_count=0)
        )
    )
    for size in (1, 7, len(everything)):
        async with connect(azure) as peer:
            for start in range(0, len(everything), size):
                peer.send_bytes(everything[start : start + size])
                await peer.writer.drain()
                await asyncio.sleep(0)
            assert await peer.read_bytes(8) == SASL_HEADER
            await peer.read_sasl()
            await peer.read_sasl()
            assert await peer.read_bytes(8) == AMQP_HEADER
            for kind in (Open, Begin, Attach, Flow):
                await peer.expect(kind)


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"\x00\x00\x00\x07\x02\x00\x00\x00", "amqp:connection:framing-error"),
        (b"\xff\xff\xff\xff\x02\x00\x00\x00", "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x08\x01\x00\x00\x00", "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x08\x02\x07\x00\x00", "amqp:connection:framing-error"),
        (b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x10\xff", "amqp:decode-error"),
        (b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x99\x45", "amqp:decode-error"),
        (encode_frame(0, SaslInit("ANONYMOUS"), sasl=True), "amqp:decode-error"),
        (OPEN_FRAME, "amqp:illegal-state"),
        (encode_frame(7, End()), "amqp:not-allowed"),
        (encode_frame(7, Transfer(0, 0, b"0")), "amqp:not-allowed"),
        (
            encode_frame(5000, Begin(next_outgoing_id=0, incoming_window=1, outgoing_window=1)),
            "amqp:connection:framing-error",
        ),
        (encode_frame(0, Begin(next_outgoing_id=0, incoming_window=1, outgoing_window=1)), "amqp:not-allowed"),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_told_why(azure: Emulator, data: bytes, condition: str) -> None:
    """Its connection is closed with an error that fits, and no other one is."""
    async with connected(azure) as other, connected(azure) as peer:
        await other.sender("hub")
        peer.send_bytes(data)
        error = (await peer.expect(Close)).error
        assert error is not None
        assert error.condition == condition
        peer.send(Close())
        await peer.expect_end()
        assert str(await other.outcome(event())) == "Accepted()"
        assert azure.connections("amqp").open == 1


async def test_the_server_does_not_wait_for_a_client_that_will_not_close(azure: Emulator) -> None:
    """After an error the connection ends though the client never confirms it."""
    async with connected(azure) as peer:
        peer.send_bytes(b"\0" * 8)
        await peer.expect(Close)
        await peer.expect_end()


@pytest.mark.parametrize(
    ("frame", "condition"),
    [
        (encode_frame(0, Begin(next_outgoing_id=0, incoming_window=1, outgoing_window=1)), "amqp:illegal-state"),
        (encode_frame(1, Open("a test")), "amqp:connection:framing-error"),
        (encode_frame(0, Open("a test", max_frame_size=511)), "amqp:invalid-field"),
    ],
)
async def test_a_wrong_beginning_is_answered_with_open_and_close(azure: Emulator, frame: bytes, condition: str) -> None:
    """What is wrong before the connection is open is told after the server's own open."""
    async with connect(azure) as peer:
        await peer.authenticate()
        peer.send_bytes(AMQP_HEADER + frame)
        assert await peer.read_bytes(8) == AMQP_HEADER
        await peer.expect(Open)
        error = (await peer.expect(Close)).error
        assert error is not None
        assert error.condition == condition


async def test_close_before_open_is_answered(azure: Emulator) -> None:
    """A client may change its mind before it has opened the connection."""
    async with connect(azure) as peer:
        await peer.authenticate()
        peer.send_bytes(AMQP_HEADER + encode_frame(0, Close()))
        assert await peer.read_bytes(8) == AMQP_HEADER
        await peer.expect(Open)
        assert (await peer.expect(Close)).error is None
        await peer.expect_end()


@pytest.mark.parametrize(
    ("performative", "condition"),
    [
        (Transfer(9, 0, b"0"), "amqp:session:unattached-handle"),
        (Detach(9), "amqp:session:unattached-handle"),
        (Attach("again", 0, role=False, target=Target("hub")), "amqp:session:handle-in-use"),
        (Attach("high", 256, role=False, target=Target("hub")), "amqp:not-allowed"),
        (Transfer(1, 0, b"0"), "amqp:session:errant-link"),
    ],
)
async def test_a_session_ends_alone(azure: Emulator, performative: Transfer | Detach | Attach, condition: str) -> None:
    """What breaks a session's rules ends it with an error that fits; the connection's other session goes on."""
    async with connected(azure) as peer:
        await peer.begin(channel=1)
        await peer.sender("hub")
        await peer.sender("hub", channel=1)
        peer.attach_receiver("hub/ConsumerGroups/$Default/Partitions/0")
        await peer.expect(Attach)
        peer.send(performative)
        error = (await peer.expect(End)).error
        assert error is not None
        assert error.condition == condition
        peer.transfer(event())  # on the session that is gone: ignored
        assert str(await peer.outcome(event(), channel=1)) == "Accepted()"
        peer.send(End())
        await peer.begin()
        await peer.sender("hub")


async def test_a_session_has_a_window(azure: Emulator) -> None:
    """Messages wait while the client's window is shut, frame by frame, and come when it opens."""
    async with connected(azure) as peer:
        await peer.sender("hub/Partitions/0")
        for body in (b"1", b"2", b"3"):
            await peer.outcome(event(body))
        peer.attach_receiver("hub/ConsumerGroups/$Default/Partitions/0")
        await peer.expect(Attach)
        peer.grant(10, incoming_window=2)
        assert [(await peer.expect(Transfer)).delivery_id for _ in range(2)] == [0, 1]
        peer.grant(8, delivery_count=2, next_incoming_id=2, incoming_window=0, echo=True)
        assert (await peer.expect(Flow)).next_outgoing_id == 2
        peer.grant(8, delivery_count=2, next_incoming_id=2, incoming_window=1)
        assert (await peer.expect(Transfer)).delivery_id == 2


async def test_the_client_is_kept_supplied_with_window_and_credit(azure: Emulator) -> None:
    """Thousands of messages pass on one link: what is used up is granted again in time."""
    async with connected(azure) as peer:
        credit = (await peer.sender("hub")).link_credit or 0
        for number in range(6000):
            peer.transfer(event())
            disposition = None
            while disposition is None:
                performative = (await peer.read()).performative
                if isinstance(performative, Flow):
                    credit = (performative.delivery_count or 0) + (performative.link_credit or 0)
                elif isinstance(performative, Disposition):
                    disposition = performative
            assert disposition.first == number
            assert credit > number + 1
    assert len(azure.received_events("hub")) == 6000


async def test_end_is_answered_and_takes_the_links_along(azure: Emulator) -> None:
    """A session that ends is confirmed, and its links are gone."""
    async with connected(azure) as peer:
        await peer.sender("hub")
        peer.send(End())
        assert (await peer.expect(End)).error is None
        assert azure.faults.detach_links() == 0


async def test_stop_leaves_nothing_behind_and_a_restart_keeps_data_and_port() -> None:
    """A stopped emulator has no connection and no task left; the next start finds the events and the same port."""
    azure = Emulator()
    await azure.create_eventhub("hub")
    await azure.start()
    try:
        authority = azure.amqp_authority
        before = asyncio.all_tasks()
        async with connected(azure) as peer, connect(azure):
            await peer.sender("hub")
            await peer.outcome(event(b"kept"))
            await azure.stop()
            assert azure.connections("amqp").open == 0
            assert asyncio.all_tasks() == before
            with pytest.raises((EOFError, ConnectionError)):
                await peer.read()
        await azure.start()
        assert azure.amqp_authority == authority
        async with connected(azure) as peer:
            await peer.sender("hub")
        assert [one.body for one in azure.received_events("hub")] == [b"kept"]
    finally:
        await azure.stop()


async def test_a_taken_port_is_named(azure: Emulator) -> None:
    """Starting on a port that is in use fails with its number and leaves nothing running."""
    port = int(azure.amqp_authority.rpartition(":")[2])
    second = Emulator(amqp_port=port)
    with pytest.raises(OSError, match=f"port {port} .*amqp_port"):
        await second.start()
    assert not second.is_running


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amqp_port": 65536}, "amqp_port=65536"),
        ({"amqp_key": ""}, "amqp_key must not be empty"),
        ({"amqp_key": "a;b"}, "semicolon"),
        ({"amqp_idle_timeout_seconds": 0}, "amqp_idle_timeout_seconds=0"),
    ],
)
def test_wrong_values_are_refused(options: dict[str, object], message: str) -> None:
    """Each option says what it wants."""
    with pytest.raises(ValueError, match=message):
        Emulator(**options)  # type: ignore[arg-type]  # that is the test


def test_it_serves_on_uvloop_as_well() -> None:
    """On uvloop an event is sent with the official SDK and read back, and nothing is left when it stops."""

    async def send() -> list[bytes]:
        async with Emulator() as azure:
            await azure.create_eventhub("hub")
            async with make_producer(azure) as producer:
                await producer.send_batch([EventData(b"one"), EventData(b"two")])
            async with connected(azure) as peer:
                await peer.sender("hub")
                assert azure.faults.drop_connections("amqp") == 1
            return [one.body for one in azure.received_events("hub")]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(send()) == [b"one", b"two"]


async def test_many_connections_at_once(azure: Emulator) -> None:
    """A hundred clients are served side by side."""

    async def use(peer: Peer) -> None:
        await peer.open()
        await peer.begin()
        await peer.sender("hub")
        await peer.outcome(event())

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(_with(azure, use))
    assert len(azure.received_events("hub")) == 100


async def _with(azure: Emulator, use: object) -> None:
    async with connect(azure) as peer:
        await use(peer)  # type: ignore[operator]  # a function of a peer
