"""Sessions: links side by side on one connection, with a window on their frames (OASIS AMQP 1.0, part 2, section 2.5)."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.amqp.frames import encode_frame
from fastapi_azure_pool.emulator.amqp.link import IncomingLink, Link, LinkState, OutgoingDelivery, OutgoingLink
from fastapi_azure_pool.emulator.amqp.node import Node, Refused
from fastapi_azure_pool.emulator.amqp.performatives import (
    Accepted,
    Attach,
    Begin,
    Detach,
    Disposition,
    End,
    Error,
    Flow,
    Modified,
    Performative,
    Rejected,
    Released,
    Transfer,
)

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.connection import AmqpConnection
    from fastapi_azure_pool.emulator.amqp.message import Properties

# Azure's own.
_WINDOW = 5000
_HANDLE_MAX = 255

_MASK = 0xFFFFFFFF
_OUTCOMES = (Accepted, Rejected, Released, Modified)


class SessionError(Exception):
    """What ends a session: a client that does what its state does not allow."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(condition, description)
        self.error = Error(condition, description)


class Session:
    """One session of one connection.

    Args:
        connection: The client.
        channel: The channel, the same in both directions.
        begin: What the client asked for.

    Attributes:
        connection: The client.
        channel: See the arguments.
        links: The links that are attached or being attached, by handle.
        unsettled: What went out on any of them and is not decided, by delivery id.
        is_ended: Whether either side has ended it.
    """

    def __init__(self, connection: AmqpConnection, channel: int, begin: Begin) -> None:
        self.connection = connection
        self.channel = channel
        self.links: dict[int, Link] = {}
        self.unsettled: dict[int, OutgoingDelivery] = {}
        self.is_ended = False
        self._next_incoming_id = begin.next_outgoing_id
        self._incoming_window = _WINDOW
        self._next_outgoing_id = 0
        self._remote_window = begin.incoming_window
        self._delivery_id = 0
        self._tag = 0
        self._waiting: deque[bytes] = deque()
        # handles that were once in use: the client may not have seen yet that they are not any more
        self._past_handles: set[int] = set()

    @property
    def can_send(self) -> bool:
        """Whether messages may go out at once: the client keeps up, and its window is open."""
        return not self._waiting and not self.connection.is_full and not self.is_ended

    def begin(self) -> None:
        """Answer the client's begin."""
        self.send(
            Begin(
                remote_channel=self.channel,
                next_outgoing_id=self._next_outgoing_id,
                incoming_window=self._incoming_window,
                outgoing_window=_WINDOW,
                handle_max=_HANDLE_MAX,
            )
        )

    def end(self, error: Error | None = None) -> None:
        """Send an end, and give up what hangs on the session."""
        if not self.is_ended:
            self.send(End(error))
            self.close()

    def close(self) -> None:
        """Give up what hangs on the session."""
        self.is_ended = True
        self._waiting.clear()
        for link in list(self.links.values()):
            self.drop_link(link)

    def send(self, performative: Performative) -> None:
        """Send a frame on its channel."""
        if not self.is_ended:
            self.connection.write(encode_frame(self.channel, performative))

    def send_flow(
        self,
        *,
        handle: int | None = None,
        delivery_count: int | None = None,
        link_credit: int | None = None,
        available: int | None = None,
        drain: bool = False,
        echo: bool = False,
    ) -> None:
        """Send a flow, of the session alone or of one of its links."""
        self._incoming_window = _WINDOW
        self.send(
            Flow(
                self._next_incoming_id,
                self._incoming_window,
                self._next_outgoing_id,
                _WINDOW,
                handle,
                delivery_count,
                link_credit,
                available,
                drain,
                echo,
            )
        )

    def next_delivery_id(self) -> int:
        """Return the number of the next message that goes out."""
        number = self._delivery_id
        self._delivery_id = (number + 1) & _MASK
        return number

    def next_tag(self) -> bytes:
        """Return a delivery tag for a message whose tag nobody looks at."""
        self._tag = (self._tag + 1) & _MASK
        return struct.pack(">I", self._tag)

    def send_transfer(
        self, handle: int, delivery: OutgoingDelivery, payload: bytes, message_format: int, *, is_settled: bool
    ) -> None:
        """Send a message in as many frames as it needs; they wait while the client's window is shut."""
        room = self.connection.max_payload
        size = len(payload)
        first = Transfer(handle, delivery.delivery_id, delivery.tag, message_format, is_settled, more=size > room)
        frames = [encode_frame(self.channel, first, payload if size <= room else payload[:room])]
        for start in range(room, size, room):
            rest = Transfer(handle, more=size - start > room)
            frames.append(encode_frame(self.channel, rest, payload[start : start + room]))
        self._waiting.extend(frames)
        self._send_waiting()

    def reply_link(self, node: Node, properties: Properties | None) -> OutgoingLink | None:
        """Return the link on which this client awaits answers of a node, in this session or in another one of it.

        It is the one whose target the request names in its reply-to, or, as the SDKs name none, one that leaves the node.
        """
        reply_to = properties.reply_to if properties is not None else None
        for session in (self, *self.connection.sessions.values()):
            for link in session.links.values():
                if isinstance(link, OutgoingLink) and link.is_open:
                    target = link.attach.target
                    if (link.node is node and reply_to is None) or (
                        reply_to is not None and target is not None and target.address == reply_to
                    ):
                        return link
        return None

    def drop_link(self, link: Link) -> None:
        """Forget a link and what is undecided on it."""
        if self.links.get(link.handle) is link:
            del self.links[link.handle]
            self._past_handles.add(link.handle)
        if isinstance(link, OutgoingLink):
            for delivery_id in link.unsettled:
                self.unsettled.pop(delivery_id, None)
        link.close()

    def feed_links(self) -> None:
        """Let nodes send on the links that have credit, after a time in which nothing could be sent."""
        for link in list(self.links.values()):
            if isinstance(link, OutgoingLink) and link.credit > 0:
                link.feed()

    def take(self, performative: Performative, payload: bytes) -> None:
        """Take a frame of the client.

        Raises:
            SessionError: It ends the session.
        """
        if isinstance(performative, Transfer):
            self._take_transfer(performative, payload)
        elif isinstance(performative, Flow):
            self._take_flow(performative)
        elif isinstance(performative, Disposition):
            self._take_disposition(performative)
        elif isinstance(performative, Attach):
            self._take_attach(performative)
        elif isinstance(performative, Detach):
            self._take_detach(performative)

    def _take_attach(self, attach: Attach) -> None:
        """Attach a link, or refuse it."""
        if attach.handle in self.links:
            raise SessionError("amqp:session:handle-in-use", f"The handle {attach.handle} is in use.")
        if attach.handle > _HANDLE_MAX:
            raise SessionError("amqp:not-allowed", f"The handle {attach.handle} is above {_HANDLE_MAX}.")
        # role is the client's: False where it sends
        terminus = attach.source if attach.role else attach.target
        node = self.connection.find_node(getattr(terminus, "address", None))
        link: Link = OutgoingLink(self, attach, node) if attach.role else IncomingLink(self, attach, node)
        self.links[attach.handle] = link
        self._past_handles.discard(attach.handle)
        self.connection.operations.attach(link)

    def open_link(self, link: Link) -> None:
        """Ask the node whether it takes a link."""
        if link.state is not LinkState.OPENING or self.links.get(link.handle) is not link:
            return
        try:
            self.connection.require_authorization(link.node.entity)
            if isinstance(link, IncomingLink):
                link.node.open_incoming(link)
            elif isinstance(link, OutgoingLink):
                link.node.open_outgoing(link)
        except Refused as refusal:
            link.refuse(refusal.condition, refusal.description)

    def _take_flow(self, flow: Flow) -> None:
        """Take a flow: the client's window, and a link's credit."""
        known = flow.next_incoming_id if flow.next_incoming_id is not None else 0
        window = (known + flow.incoming_window - self._next_outgoing_id) & _MASK
        # what is under way may exceed the window that the client grants now
        self._remote_window = window if window <= 0x7FFFFFFF else 0
        was_shut = bool(self._waiting)
        self._send_waiting()
        if flow.handle is None:
            if flow.echo:
                self.send_flow()
        else:
            link = self._find_link(flow.handle)
            if isinstance(link, OutgoingLink):
                link.take_flow(flow)
            elif isinstance(link, IncomingLink) and flow.echo and link.is_open:
                link.send_flow()
        if was_shut and self.can_send:
            self.feed_links()

    def _take_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Take a part of a message, or all of it."""
        self._next_incoming_id = (self._next_incoming_id + 1) & _MASK
        self._incoming_window -= 1
        if self._incoming_window < 0:
            raise SessionError("amqp:session:window-violation", "More transfers came than the window allows.")
        link = self._find_link(transfer.handle)
        if link is not None:
            if not isinstance(link, IncomingLink):
                raise SessionError("amqp:session:errant-link", "A transfer came on a link on which this end sends.")
            if link.is_open:
                link.take(transfer, payload)
        if self._incoming_window < _WINDOW // 2 and not self.is_ended:
            self.send_flow()

    def _take_disposition(self, disposition: Disposition) -> None:
        """Take the client's decision about messages that it received."""
        if not disposition.role:
            return  # a client that settles what it sent: all of that is settled here
        state = disposition.state
        is_settled = bool(disposition.settled)
        if not isinstance(state, _OUTCOMES):
            if not is_settled:
                return
            state = Released()  # settled without a word: nobody has taken it
        first = disposition.first
        last = first if disposition.last is None else disposition.last
        span = (last - first) & _MASK
        if span < len(self.unsettled):
            numbers = [number for step in range(span + 1) if (number := (first + step) & _MASK) in self.unsettled]
        else:
            numbers = [number for number in self.unsettled if (number - first) & _MASK <= span]
        for number in numbers:
            delivery = self.unsettled.pop(number)
            self.connection.operations.disposition(delivery, state, is_settled=is_settled)

    def _take_detach(self, detach: Detach) -> None:
        """Take a link back."""
        link = self._find_link(detach.handle)
        if link is not None:
            self.connection.operations.detach(link, detach)

    def answer_detach(self, link: Link, detach: Detach) -> None:
        """Confirm a client's detach."""
        if self.links.get(link.handle) is link:
            self.send(Detach(link.handle, closed=bool(detach.closed)))
            self.drop_link(link)

    def _find_link(self, handle: int) -> Link | None:
        link = self.links.get(handle)
        if link is None and handle not in self._past_handles:
            raise SessionError("amqp:session:unattached-handle", f"No link has the handle {handle}.")
        return link

    def _send_waiting(self) -> None:
        while self._waiting and self._remote_window > 0:
            self._remote_window -= 1
            self._next_outgoing_id = (self._next_outgoing_id + 1) & _MASK
            self.connection.write(self._waiting.popleft())
