"""Deliveries: one message or batch on its way over a link (OASIS AMQP 1.0, part 2, section 2.6.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.link import IncomingLink, OutgoingLink
    from fastapi_azure_pool.emulator.amqp.node import Outcome


class IncomingDelivery:
    """One message or batch that a client sent.

    Attributes:
        link: Where it came in.
        delivery_id: Its number in the session.
        tag: What the client calls it.
        message_format: 0, or message.BATCH_FORMAT.
        payload: Its bytes: encoded sections.
        is_settled: Whether nobody waits for its outcome (any more).
    """

    __slots__ = ("delivery_id", "is_settled", "link", "message_format", "payload", "tag")

    def __init__(
        self, link: IncomingLink, delivery_id: int, tag: bytes, message_format: int, *, is_settled: bool
    ) -> None:
        self.link = link
        self.delivery_id = delivery_id
        self.tag = tag
        self.message_format = message_format
        self.is_settled = is_settled
        self.payload = b""

    def settle(self, outcome: Outcome) -> None:
        """Tell the client what became of it; only the first call counts."""
        self.link.settle(self, outcome)


class OutgoingDelivery:
    """One message that a client has received and not decided about.

    Attributes:
        link: Where it went out.
        delivery_id: Its number in the session.
        tag: What the node calls it; on Service Bus the 16 bytes of its lock token.
        context: What the node gave along with it.
    """

    __slots__ = ("context", "delivery_id", "link", "tag")

    def __init__(self, link: OutgoingLink, delivery_id: int, tag: bytes, context: Any) -> None:
        self.link = link
        self.delivery_id = delivery_id
        self.tag = tag
        self.context = context
