"""Links: one client's way into a node, or out of it (OASIS AMQP 1.0, part 2, sections 2.6 and 2.7.3)."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.amqp.accepting import encode_accepted
from fastapi_azure_pool.emulator.amqp.deliveries import IncomingDelivery, OutgoingDelivery
from fastapi_azure_pool.emulator.amqp.node import ACCEPTED, Node, Outcome, Refused, rejected
from fastapi_azure_pool.emulator.amqp.performatives import Attach, Detach, Disposition, Error, Flow, Rejected
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError, Described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi_azure_pool.emulator.amqp.session import Session

__all__ = ["IncomingDelivery", "IncomingLink", "Link", "LinkState", "OutgoingDelivery", "OutgoingLink"]

# How many messages a client may have on their way to one link; Azure grants as many.
GRANTED_CREDIT = 1000

_SETTLED_BY_SENDER = 1
_MASK = 0xFFFFFFFF


class LinkState(IntEnum):
    """OPENING -> OPEN -> CLOSED, and OPENING -> CLOSED when it is refused or the client gives up."""

    OPENING = 0
    OPEN = 1
    CLOSED = 2


class Link:
    """What both directions have in common.

    Attributes:
        session: The session that it belongs to; ``session.connection`` is the client.
        handle: Its number in the session, the same in both directions.
        name: What the client calls it; requests name it as ``associated-link-name``.
        node: Where it ends.
        address: The node's address.
        attach: What the client asked for.
        properties: The properties that the client attached it with, by name.
        state: See LinkState.
    """

    is_incoming: bool

    def __init__(self, session: Session, attach: Attach, node: Node) -> None:
        self.session = session
        self.handle = attach.handle
        self.name = attach.name
        self.node = node
        self.address = node.address
        self.attach = attach
        self.properties: dict[str, Any] = {str(name): value for name, value in (attach.properties or {}).items()}
        self.state = LinkState.OPENING

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.address} {self.state.name}>"

    @property
    def is_open(self) -> bool:
        """Whether it is accepted and not detached."""
        return self.state is LinkState.OPEN

    def detach(self, condition: str, description: str) -> None:
        """Take the link away from the client, with an error; without effect on a closed one."""
        if self.state is LinkState.OPENING:
            self.refuse(condition, description)
        elif self.state is LinkState.OPEN:
            self.session.send(Detach(self.handle, closed=True, error=Error(condition, description)))
            self.session.drop_link(self)

    def refuse(self, condition: str, description: str) -> None:
        """Refuse it as Azure does: an attach that leads nowhere, then a detach that says why."""
        if self.state is not LinkState.OPENING:
            return
        self._send_attach({}, None, leads_somewhere=False)
        self.session.send(Detach(self.handle, closed=True, error=Error(condition, description)))
        self.session.drop_link(self)

    def close(self) -> None:
        """Learn that it is gone; the node learns it too."""
        if self.state is not LinkState.CLOSED:
            self.state = LinkState.CLOSED
            self.node.close(self)  # type: ignore[arg-type]  # only its two subclasses are made

    def _send_attach(
        self, properties: Mapping[str, Any], filters: Mapping[str, Any] | None, *, leads_somewhere: bool = True
    ) -> None:
        asked = self.attach
        source, target = asked.source, asked.target
        if not leads_somewhere:
            source, target = (source, None) if self.is_incoming else (None, target)
        elif filters is not None and source is not None:
            source.filter = dict(filters)
        self.session.send(
            Attach(
                self.name,
                self.handle,
                role=self.is_incoming,
                snd_settle_mode=asked.snd_settle_mode,
                rcv_settle_mode=asked.rcv_settle_mode,
                source=source,
                target=target,
                initial_delivery_count=None if self.is_incoming else 0,
                max_message_size=self.node.max_message_bytes,
                properties=dict(properties) or None,
            )
        )


class IncomingLink(Link):
    """A link on which a client sends."""

    is_incoming = True

    def __init__(self, session: Session, attach: Attach, node: Node) -> None:
        super().__init__(session, attach, node)
        self._delivery_count = attach.initial_delivery_count or 0
        self._credit = 0
        self._unsettled = 0
        self._partial: IncomingDelivery | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    def accept(self, properties: Mapping[str, Any] | None = None) -> None:
        """Tell the client that it may send.

        Args:
            properties: By name, what the answer carries, such as ``com.microsoft:max-message-batch-size``.
        """
        if self.state is LinkState.OPENING:
            self.state = LinkState.OPEN
            self._send_attach(properties or {}, None)
            withheld = self.session.connection.withheld_credit(self.address)
            self._credit = GRANTED_CREDIT if withheld is None else withheld
            self.send_flow()

    def send_flow(self) -> None:
        """Tell the client its credit as it stands."""
        self.session.send_flow(
            handle=self.handle, delivery_count=self._delivery_count, link_credit=max(self._credit, 0)
        )

    def replenish(self) -> None:
        """Give the client credit again when it has used half of it, unless a fault withholds it."""
        if (
            self._credit + self._unsettled <= GRANTED_CREDIT // 2
            and self.state is LinkState.OPEN
            and self.session.connection.withheld_credit(self.address, is_new=False) is None
        ):
            self._credit = GRANTED_CREDIT - self._unsettled
            self.send_flow()

    def take(self, transfer: Any, payload: bytes) -> None:
        """Take one transfer frame."""
        delivery = self._partial
        if delivery is None:
            if transfer.delivery_id is None or transfer.delivery_tag is None:
                raise AmqpDecodeError("The first transfer of a delivery has a delivery-id and a delivery-tag")
            if self._credit <= 0:
                self.detach("amqp:link:transfer-limit-exceeded", "The peer sent more messages than it had credit for.")
                return
            delivery = IncomingDelivery(
                self,
                transfer.delivery_id,
                transfer.delivery_tag,
                transfer.message_format or 0,
                is_settled=bool(transfer.settled),
            )
            if transfer.more:
                self._partial = delivery
                self._size = 0
                self._pieces = []
        elif transfer.settled:
            delivery.is_settled = True
        if self._partial is None:
            size = len(payload)
            delivery.payload = payload
        else:
            self._pieces.append(payload)
            self._size = size = self._size + len(payload)
        if size > self.node.max_message_bytes:
            self._forget_partial()
            message = (
                f"The received message (delivery-id:{delivery.delivery_id}, size:{size} bytes) exceeds the limit "
                f"({self.node.max_message_bytes} bytes) currently allowed on the link."
            )
            self.detach("amqp:link:message-size-exceeded", message)
            return
        if transfer.aborted:
            self._forget_partial()
            self._delivery_count = (self._delivery_count + 1) & _MASK
            self._credit -= 1
            self.replenish()
            return
        if transfer.more:
            if self.session.connection.is_cut_midway(self.address):
                return
            self._partial = delivery
            return
        if self._partial is not None:
            delivery.payload = b"".join(self._pieces)
            self._forget_partial()
        self._delivery_count = (self._delivery_count + 1) & _MASK
        self._credit -= 1
        self._unsettled += 1
        self.session.connection.operations.transfer(self, delivery)

    def hand_over(self, delivery: IncomingDelivery) -> None:
        """Give a delivery to the node, and its outcome to the client."""
        try:
            outcome = self.node.receive(self, delivery)
        except AmqpDecodeError as error:
            outcome = rejected("amqp:decode-error", str(error))
        except Refused as refusal:
            outcome = Rejected(refusal.error)
        if outcome is not None:
            self.settle(delivery, outcome)

    def settle(self, delivery: IncomingDelivery, outcome: Outcome) -> None:
        """Tell the client what became of a delivery."""
        if delivery.link is not self:
            raise ValueError("the delivery came on another link")
        self._unsettled -= 1
        if not delivery.is_settled:
            delivery.is_settled = True
            if self.state is LinkState.OPEN:
                number = delivery.delivery_id
                if outcome is ACCEPTED:
                    self.session.connection.write(encode_accepted(self.session.channel, number))
                else:
                    self.session.send(Disposition(role=True, first=number, last=number, settled=True, state=outcome))
        self.replenish()

    def forget(self, delivery: IncomingDelivery) -> None:
        """Leave a delivery without an answer for ever."""
        delivery.is_settled = True

    def _forget_partial(self) -> None:
        self._partial = None
        self._pieces = []


class OutgoingLink(Link):
    """A link on which a client receives.

    Attributes:
        filters: What the client filters by: the value of each filter, by the filter's name.
        is_settled_on_send: Whether messages are settled as they are sent (snd-settle-mode settled: RECEIVE_AND_DELETE).
        is_draining: Whether the client wants the credit back that can't be used at once.
        unsettled: What the client has received and not decided about, by delivery id.
    """

    is_incoming = False

    def __init__(self, session: Session, attach: Attach, node: Node) -> None:
        super().__init__(session, attach, node)
        given = attach.source.filter if attach.source is not None else None
        self.filters: dict[str, Any] = {
            str(name): value.value if isinstance(value, Described) else value for name, value in (given or {}).items()
        }
        self.is_settled_on_send = attach.snd_settle_mode == _SETTLED_BY_SENDER
        self.is_draining = False
        self.unsettled: dict[int, OutgoingDelivery] = {}
        self._credit = 0
        self._delivery_count = 0
        self._queue: deque[bytes] = deque()

    @property
    def credit(self) -> int:
        """How many messages may be sent now; 0 also while the client reads too slowly."""
        return self._credit if self.state is LinkState.OPEN and self.session.can_send else 0

    def accept(self, properties: Mapping[str, Any] | None = None, filters: Mapping[str, Any] | None = None) -> None:
        """Tell the client that it may receive; credit comes from the client then.

        Args:
            properties: By name, what the answer carries, such as ``com.microsoft:locked-until-utc``.
            filters: What the answer says the source is filtered by, such as the session that was locked; default: what
                the client asked for.
        """
        if self.state is LinkState.OPENING:
            self.state = LinkState.OPEN
            self._send_attach(properties or {}, filters)

    def send(
        self, payload: bytes, *, tag: bytes, message_format: int = 0, context: Any = None, is_settled: bool = False
    ) -> OutgoingDelivery:
        """Send one message; it takes one credit.

        Args:
            payload: The message, encoded.
            tag: At most 32 bytes that are unique on this link among those not settled.
            message_format: 0 for a message.
            context: Kept in the delivery for the node.
            is_settled: Whether no decision is wanted; so it is anyway where ``is_settled_on_send``.

        Returns:
            The delivery; ``node.settle`` gets it with the client's decision, unless it is settled.

        Raises:
            RuntimeError: There is no credit.
        """
        if self.credit <= 0:
            raise RuntimeError("the link has no credit: ask link.credit before each send")
        self._credit -= 1
        self._delivery_count = (self._delivery_count + 1) & _MASK
        delivery = OutgoingDelivery(self, self.session.next_delivery_id(), tag, context)
        is_settled = is_settled or self.is_settled_on_send
        if not is_settled:
            self.unsettled[delivery.delivery_id] = delivery
            self.session.unsettled[delivery.delivery_id] = delivery
        self.session.send_transfer(self.handle, delivery, payload, message_format, is_settled=is_settled)
        return delivery

    def enqueue(self, payload: bytes) -> None:
        """Send an answer, settled, as soon as there is credit for it."""
        self._queue.append(payload)
        self._send_queued()

    def take_flow(self, flow: Flow) -> None:
        """Take a client's flow: its credit, and whether it drains."""
        if flow.link_credit is not None:
            # without a delivery count the client has not seen our attach: nothing was sent yet
            known = flow.delivery_count if flow.delivery_count is not None else 0
            credit = (known + flow.link_credit - self._delivery_count) & _MASK
            # what was sent after the client counted may exceed what it grants now
            self._credit = credit if credit <= 0x7FFFFFFF else 0
        self.is_draining = bool(flow.drain)
        if self.state is not LinkState.OPEN:
            return
        self.feed()
        if self.is_draining and self._credit > 0 and self.session.can_send:
            self._delivery_count = (self._delivery_count + self._credit) & _MASK
            self._credit = 0
            self.send_flow(drain=True)
        elif flow.echo:
            self.send_flow()

    def feed(self) -> None:
        """Let the node send what it has."""
        self._send_queued()
        if self.credit > 0:
            self.node.feed(self)

    def settle(self, delivery: OutgoingDelivery, outcome: Outcome, *, is_settled: bool) -> None:
        """Take the client's decision about a delivery, and confirm it to a client that waits for that."""
        del self.unsettled[delivery.delivery_id]
        answer = self.node.settle(self, delivery, outcome)
        if is_settled:
            return
        if answer is outcome and isinstance(outcome, Rejected):
            answer = Rejected()  # the SDKs take an error in it for a failure to settle
        self.session.send(
            Disposition(role=False, first=delivery.delivery_id, last=delivery.delivery_id, settled=True, state=answer)
        )

    def _send_queued(self) -> None:
        while self._queue and self.credit > 0:
            self.send(self._queue.popleft(), tag=self.session.next_tag(), is_settled=True)

    def send_flow(self, *, drain: bool = False) -> None:
        """Tell the client what the server makes of its credit."""
        self.session.send_flow(
            handle=self.handle,
            delivery_count=self._delivery_count,
            link_credit=self._credit,
            available=0,
            drain=drain,
        )
