"""Connections: one client's bytes, in and out (OASIS AMQP 1.0, part 2, sections 2.2 to 2.4)."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.amqp.authorization import Grants
from fastapi_azure_pool.emulator.amqp.frames import (
    MIN_MAX_FRAME_SIZE,
    AmqpFramingError,
    Frame,
    FrameDecoder,
    encode_frame,
)
from fastapi_azure_pool.emulator.amqp.handshake import Handshake, HandshakeState
from fastapi_azure_pool.emulator.amqp.node import Node, Refused
from fastapi_azure_pool.emulator.amqp.operations import Operations
from fastapi_azure_pool.emulator.amqp.outbox import Outbox
from fastapi_azure_pool.emulator.amqp.performatives import (
    Begin,
    Close,
    End,
    Error,
    Open,
)
from fastapi_azure_pool.emulator.amqp.session import Session, SessionError
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError
from fastapi_azure_pool.emulator.fault import FaultKind
from fastapi_azure_pool.emulator.loopback import reset_transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.emulator.amqp.link import Link
    from fastapi_azure_pool.emulator.amqp.server import AmqpServer

# Azure's own.
MAX_FRAME_SIZE = 65536
CHANNEL_MAX = 4999

# What a transfer takes of its frame at most, besides its payload.
_TRANSFER_OVERHEAD = 128

# How long a client may take to close its side once the connection is closed.
_LINGER_SECONDS = 1.0


class ConnectionState(IntEnum):
    """The states in their order; one may be skipped, none comes back."""

    HANDSHAKE = 0
    OPENING = 1
    OPEN = 2
    CLOSING = 3
    LOST = 4


class ProtocolViolation(Exception):
    """What closes a connection: a client that does what the protocol does not allow."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(condition, description)
        self.error = Error(condition, description)


class AmqpConnection(asyncio.Protocol):
    """One connection of one client.

    Attributes:
        server: What it is connected to.
        sessions: Its sessions, by channel.
        grants: What its tokens allow.
        operations: Where each of its requests passes by the faults.
        max_payload: How many bytes of a message fit into one frame to it.
    """

    def __init__(self, server: AmqpServer) -> None:
        self.server = server
        self.sessions: dict[int, Session] = {}
        self.grants = Grants(self._expire)
        self.operations = Operations(self)
        self.max_payload = MIN_MAX_FRAME_SIZE - _TRANSFER_OVERHEAD
        self._loop = asyncio.get_running_loop()
        self._state = ConnectionState.HANDSHAKE
        self._transport: asyncio.Transport | None = None
        self._handshake = Handshake(server.access)
        self._decoder = FrameDecoder(MAX_FRAME_SIZE)
        self._outbox = Outbox(self._loop, self._feed)
        self._held: deque[Frame] | None = None
        self._is_stalled = False
        self._past_channels: set[int] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._last_received = self._loop.time()
        self._send_every: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._take: dict[type, Callable[[int, Any], None]] = {
            Open: self._take_open,
            Close: self._take_close,
            Begin: self._take_begin,
            End: self._take_end,
        }

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport, while there is one."""
        return self._transport

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that nodes should wait with more."""
        return self._outbox.is_full

    @property
    def is_open(self) -> bool:
        """Whether both sides have opened it and none has closed it."""
        return self._state is ConnectionState.OPEN

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a new client."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one
        self._outbox.connect(transport)  # type: ignore[arg-type]  # see above
        self.server.add(self)
        self._watch_idleness()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Give up what hangs on the connection."""
        self._state = ConnectionState.LOST
        self._transport = None
        self._outbox.disconnect()
        self.grants.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._close_sessions()
        self.server.discard(self)

    def pause_writing(self) -> None:
        """Send no more messages until the client has read."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """Send messages again."""
        self._outbox.resume()

    def data_received(self, data: bytes) -> None:
        """Take the client's bytes."""
        self._last_received = self._loop.time()
        self._outbox.hold()  # one write for all that they cause
        try:
            if self._state is ConnectionState.HANDSHAKE:
                data = self._shake_hands(data)
            if data and ConnectionState.OPENING <= self._state < ConnectionState.LOST:
                for frame in self._decoder.feed(data):
                    self._take_frame(frame)
                    if self._state is ConnectionState.LOST:
                        break
        except AmqpFramingError as error:
            self.close("amqp:connection:framing-error", str(error))
        except AmqpDecodeError as error:
            self.close("amqp:decode-error", str(error))
        except ProtocolViolation as error:
            self.close(error.error.condition, error.error.description or "")
        finally:
            self._outbox.flush()

    # what sessions and faults call

    def write(self, data: bytes) -> None:
        """Send bytes, together with whatever else goes out in the same turn of the event loop."""
        if self._state is not ConnectionState.LOST:
            self._outbox.write(data)

    def reset(self) -> None:
        """Cut the connection at once; what was not sent yet never is."""
        self._outbox.disconnect()
        if self._transport is not None and self._state is not ConnectionState.LOST:
            self._state = ConnectionState.LOST
            self.server.count_drop()
            reset_transport(self._transport)

    def close(self, condition: str, description: str) -> None:
        """Close the connection with an error."""
        if self._state in {ConnectionState.CLOSING, ConnectionState.LOST}:
            return
        if self._state is ConnectionState.OPENING:
            self._send_open()
        if self._state >= ConnectionState.OPENING:
            self.write(encode_frame(0, Close(Error(condition, description))))
        self._linger()

    def later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back after a time, unless the connection is lost by then or the timer that this returns is cancelled."""
        timer: asyncio.TimerHandle

        def call() -> None:
            self._timers.discard(timer)
            self._guarded(callback)

        timer = self._loop.call_later(seconds, call)
        self._timers.add(timer)
        return timer

    def time(self) -> float:
        """Return the event loop's time."""
        return self._loop.time()

    def hold(self) -> None:
        """Keep the client's frames unread until release."""
        if self._held is None:
            self._held = deque()

    def release(self) -> None:
        """Take the frames that were held."""
        held, self._held = self._held, None
        while held and self._held is None:
            self._take_frame(held.popleft())
        if held and self._held is not None:
            self._held.extend(held)

    def stall(self) -> None:
        """Take no frame any more, and say nothing."""
        self._is_stalled = True

    def find_node(self, address: object) -> Node:
        """Return the node of an address as the client writes it; an unknown one refuses every link."""
        return self.server.find_node(address)

    def require_authorization(self, entity: str | None) -> None:
        """Return if the client has a token for an entity.

        Raises:
            Refused: It has none.
        """
        if entity is not None and not self.grants.cover(entity):
            raise Refused(
                "amqp:unauthorized-access",
                "Unauthorized access. 'Send' or 'Listen' claim(s) are required to perform this operation. Resource: "
                f"'{self.server.resource(entity)}'.",
            )

    def withheld_credit(self, address: str, *, is_new: bool = True) -> int | None:
        """Return how little credit a fault leaves to a link, or None."""
        return self.server.faults.withheld_credit(address, is_new=is_new)

    def is_cut_midway(self, address: str) -> bool:
        """Cut the connection if a fault wants it in the midst of a message, and tell."""
        decision = self.server.faults.deliver("amqp", "MIDWAY", address)
        if decision is not None and decision.kind is FaultKind.DROP_MIDWAY:
            self.reset()
            return True
        return False

    def links(self) -> list[Link]:
        """Return the links of all its sessions."""
        return [link for session in self.sessions.values() for link in session.links.values()]

    # frames

    def _shake_hands(self, data: bytes) -> bytes:
        """Take what comes before the first frame; return what comes after it."""
        answer, rest = self._handshake.take(data)
        if answer:
            self.write(answer)
        if self._handshake.state is HandshakeState.DONE:
            self._state = ConnectionState.OPENING
            if self._handshake.is_authorized:
                self.grants.add("", None)
        elif self._handshake.state is HandshakeState.REFUSED:
            self._linger()
        return rest

    def _take_frame(self, frame: Frame) -> None:
        if self._held is not None:
            self._held.append(frame)
            return
        performative = frame.performative
        if performative is None or self._is_stalled:
            return
        if frame.is_sasl:
            raise AmqpDecodeError("The SASL layer is over, and a frame of it came")
        if self._state is ConnectionState.CLOSING:
            if isinstance(performative, Close):
                self._close_transport()
            return
        if self._state is ConnectionState.OPENING and not isinstance(performative, (Open, Close)):
            raise ProtocolViolation("amqp:illegal-state", f"{type(performative).__name__} came before the open.")
        take = self._take.get(type(performative))
        if take is not None:
            take(frame.channel, performative)
            return
        session = self._session(frame.channel)
        if session is not None and not session.is_ended:
            try:
                session.take(performative, frame.payload)
            except SessionError as error:
                session.end(error.error)

    def _take_open(self, channel: int, performative: Open) -> None:
        if self._state is not ConnectionState.OPENING:
            raise ProtocolViolation("amqp:illegal-state", "The connection is open already.")
        if channel != 0:
            raise ProtocolViolation("amqp:connection:framing-error", "An open goes on channel 0.")
        size = performative.max_frame_size
        size = MAX_FRAME_SIZE if size is None else min(size, MAX_FRAME_SIZE)
        if size < MIN_MAX_FRAME_SIZE:
            raise ProtocolViolation("amqp:invalid-field", f"max-frame-size is at least {MIN_MAX_FRAME_SIZE}.")
        self.max_payload = size - _TRANSFER_OVERHEAD
        if performative.idle_time_out:
            # half of it, as part 2, section 2.4.5 recommends to leave room for what is under way
            self._send_every = performative.idle_time_out / 2000
            self._watch_idleness()
        self.operations.open(self._answer_open)

    def _answer_open(self) -> None:
        if self._state is ConnectionState.OPENING:
            self._send_open()
            self._state = ConnectionState.OPEN

    def _send_open(self) -> None:
        self.write(
            encode_frame(
                0,
                Open(
                    self.server.container_id,
                    max_frame_size=MAX_FRAME_SIZE,
                    channel_max=CHANNEL_MAX,
                    idle_time_out=int(self.server.idle_timeout_seconds * 1000),
                ),
            )
        )

    def _take_close(self, _channel: int, _performative: Close) -> None:
        self.operations.close(self._answer_close)

    def _answer_close(self) -> None:
        if self._state is ConnectionState.OPENING:
            self._send_open()
        self.write(encode_frame(0, Close()))
        self._close_transport()

    def _take_begin(self, channel: int, performative: Begin) -> None:
        if channel > CHANNEL_MAX:
            raise ProtocolViolation("amqp:connection:framing-error", f"The channel {channel} is above {CHANNEL_MAX}.")
        if channel in self.sessions:
            raise ProtocolViolation("amqp:not-allowed", f"The channel {channel} has a session already.")
        self._past_channels.add(channel)
        self.operations.begin(partial(self._answer_begin, channel, performative), partial(self._refuse_begin, channel))

    def _answer_begin(self, channel: int, performative: Begin) -> None:
        session = self.sessions[channel] = Session(self, channel, performative)
        session.begin()

    def _refuse_begin(self, channel: int, condition: str, description: str) -> None:
        self._answer_begin(channel, Begin(next_outgoing_id=0, incoming_window=0, outgoing_window=0))
        self.sessions[channel].end(Error(condition, description))

    def _take_end(self, channel: int, _performative: End) -> None:
        session = self._session(channel)
        if session is not None:
            self.operations.end(partial(self._answer_end, channel, session))

    def _answer_end(self, channel: int, session: Session) -> None:
        session.end()
        if self.sessions.get(channel) is session:
            del self.sessions[channel]

    def _session(self, channel: int) -> Session | None:
        session = self.sessions.get(channel)
        if session is None and channel not in self._past_channels:
            raise ProtocolViolation("amqp:not-allowed", f"The channel {channel} has no session.")
        return session

    # the end, idleness and writing

    def _linger(self) -> None:
        # closing a socket with unread bytes resets it, and the client would not read why
        if self._state < ConnectionState.CLOSING:
            self._state = ConnectionState.CLOSING
            self._held = None
            self._close_sessions()
            self.later(_LINGER_SECONDS, self._close_transport)

    def _close_sessions(self) -> None:
        for session in list(self.sessions.values()):
            session.close()
        self.sessions.clear()

    def _close_transport(self) -> None:
        self._outbox.flush()
        if self._transport is not None:
            self._transport.close()
        self._state = ConnectionState.LOST

    def _expire(self) -> None:
        """Take away the links whose token has expired."""
        for link in self.links():
            if link.node.entity is not None and not self.grants.cover(link.node.entity):
                link.detach("amqp:unauthorized-access", "ExpiredToken: The token is expired. Unauthorized access.")

    def _watch_idleness(self) -> None:
        now = self._loop.time()
        timeout = self.server.idle_timeout_seconds
        if self._state is ConnectionState.LOST or self._is_stalled:
            return
        if now - self._last_received >= timeout:
            message = f"The connection was inactive for more than the allowed {int(timeout * 1000)} milliseconds."
            self.close("amqp:connection:forced", message)
            return
        due = self._last_received + timeout
        if self._send_every is not None:
            if self._state is ConnectionState.OPEN and now - self._outbox.last_sent >= self._send_every:
                self.write(encode_frame(0, None))
                self._outbox.last_sent = now
            due = min(due, self._outbox.last_sent + self._send_every)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._timers.discard(self._idle_timer)
        self._idle_timer = self.later(max(due - now, 0.001), self._watch_idleness)

    def _guarded(self, callback: Callable[[], None]) -> None:
        """Call back, and let what is wrong end a session or the connection, as it does for frames."""
        try:
            callback()
        except AmqpDecodeError as error:
            self.close("amqp:decode-error", str(error))
        except ProtocolViolation as error:
            self.close(error.error.condition, error.error.description or "")

    def _feed(self) -> None:
        """Let nodes send on the links that have credit, after a time in which they could not."""
        for session in list(self.sessions.values()):
            if session.can_send:
                session.feed_links()
