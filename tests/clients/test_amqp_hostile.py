"""A service that sends bytes which are no AMQP, or AMQP that makes no sense: it costs that connection, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool import SendInterrupted, SendTimedOut
from fastapi_azure_pool.clients.amqp.channel import _has_ending, _whole_frames
from fastapi_azure_pool.emulator.amqp.frames import encode_frame
from fastapi_azure_pool.emulator.amqp.performatives import Close, Detach, Disposition, End, Error, Flow
from tests.clients.messaging import pooled
from tests.clients.waiting import eventually

if TYPE_CHECKING:
    from tests.clients.messaging import Messaging

HANDLE = 3
HEADER = 8

errors = st.none() | st.builds(Error, st.just("amqp:link:detach-forced"), st.none() | st.text(max_size=20))
handles = st.sampled_from([0, HANDLE, 255, 256, 2**32 - 1])
performatives = st.one_of(
    st.none(),
    st.builds(
        Flow, incoming_window=st.just(5), next_outgoing_id=st.just(1), outgoing_window=st.just(5), handle=handles
    ),
    st.builds(Disposition, role=st.just(True), first=st.integers(0, 2**32 - 1), settled=st.just(True)),
    st.builds(Detach, handle=handles, closed=st.booleans(), error=errors),
    st.builds(End, error=errors),
    st.builds(Close, error=errors),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(performatives, max_size=6), st.binary(max_size=30))
def test_what_has_arrived_is_read_as_it_was_written(sent: list[object], more: bytes) -> None:
    """The frames that are there whole are counted, and an ending among them is seen, whatever has begun to follow them."""
    frames = [encode_frame(1, performative) for performative in sent]  # type: ignore[arg-type]  # of the strategies above
    begun = (HEADER + len(more) + 1).to_bytes(4) + b"\2\0\0\1" + more
    buffer = bytearray(b"".join(frames) + begun)
    assert _whole_frames(buffer) == len(frames)
    ends = any(
        isinstance(performative, (End, Close)) or (isinstance(performative, Detach) and performative.handle == HANDLE)
        for performative in sent
    )
    assert _has_ending(bytearray(b"".join(frames)), HANDLE) is ends


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 2**32 - 1))
def test_any_bytes_are_looked_at(data: bytes, handle: int) -> None:
    """Looking for frames ends, and says no more than there can be, whatever has arrived."""
    assert 0 <= _whole_frames(bytearray(data)) <= len(data) // HEADER
    assert _has_ending(bytearray(data), handle) in {True, False}


def frame(body: bytes, *, kind: int = 0, offset: int = 2) -> bytes:
    """Give a frame with this body."""
    return (HEADER + len(body)).to_bytes(4) + bytes([offset, kind, 0, 0]) + body


# Described lists: a performative's descriptor and its fields (AMQP 1.0, sections 1.3 and 1.6.22).
NONSENSE = {
    "a size below the header's": b"\0\0\0\1" + bytes(HEADER),
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(50),
    "a body of no performative": frame(b"nonsense"),
    "a performative without its fields": frame(b"\0\x53\x15\x45"),
    "fields of the wrong kinds": frame(b"\0\x53\x13\xc0\x08\x07\xa1\1x\xa1\1y\x40\x40\x45\x41"),
    "a refusal that is a number": frame(b"\0\x53\x15\xc0\x10\5\x41\x43\x43\x41\0\x53\x25\xc0\4\1\x54\5\x45\x45\x45"),
    "lists within lists": frame(b"\0\x53\x15" + b"\xd0\0\0\xff\xff\0\0\0\1" * 3000),
    "a body that begins behind the frame": frame(b"\0\x53\x15\x45", offset=255),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_costs_its_connection_only(
    messaging: Messaging, nonsense: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Who waits for an answer hears in time that nobody knows, another connection is opened unasked, and no error is logged."""
    async with messaging.client(max_size=1, send_timeout_seconds=0.8) as client:
        struck = pooled(client)
        (served,) = messaging.azure._messaging.server._connections
        with messaging.azure.faults.stall(method="TRANSFER", times=1) as stall:
            waiting = asyncio.create_task(messaging.send(client, "one", "a"))
            await eventually(lambda: stall.strikes)
            assert served.transport is not None
            served.transport.write(nonsense)
            # What the SDK makes nothing of at all, it waits to be followed by more.
            with pytest.raises((SendInterrupted, SendTimedOut)) as lost:
                await waiting
        assert lost.value.maybe_delivered
        await messaging.settle_down(client)
        assert pooled(client) is not struck
        await messaging.send(client, "two", "a")
    assert messaging.stored() == [b"two"]
    assert [
        record for record in caplog.records if record.exc_info and record.name.startswith("fastapi_azure_pool")
    ] == []
