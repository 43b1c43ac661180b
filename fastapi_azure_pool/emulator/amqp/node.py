"""What an address names, as the AMQP server sees it: Event Hubs and Service Bus are nodes, and nothing else.

A client's link ends in a node. The server does everything that is AMQP (frames, sessions, credit, settlement, tokens, faults);
a node takes deliveries, gives messages, and answers. Every method is called on the event loop, returns at once and never
awaits; a node that answers later keeps the link, the delivery or the request and calls its method then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias

from fastapi_azure_pool.emulator.amqp.performatives import Accepted, Error, Modified, Rejected, Released

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.link import IncomingDelivery, IncomingLink, OutgoingDelivery, OutgoingLink

Outcome: TypeAlias = Accepted | Rejected | Released | Modified

ACCEPTED = Accepted()

DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024


class Refused(Exception):
    """What a node raises when it will not do what a client asks; the client gets the condition and the description.

    Args:
        condition: An AMQP error condition, such as ``amqp:not-found`` or ``com.microsoft:session-cannot-be-locked``.
        description: What Azure would say.
    """

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(condition, description)
        self.condition = condition
        self.description = description

    @property
    def error(self) -> Error:
        """The error as AMQP carries it."""
        return Error(self.condition, self.description)


def rejected(condition: str, description: str) -> Rejected:
    """Return the outcome that refuses a message for a reason."""
    return Rejected(Error(condition, description))


class Node:
    """What one address names: a hub or one of its partitions, a queue, a topic, a subscription, a dead letter queue.

    Override what the node can do; what is not overridden is refused as Azure refuses it.

    Attributes:
        address: The address, without host and without a slash at either end, such as ``hub/Partitions/1``.
        entity: What a token must be for: the same, or a part of it from the left, such as ``hub``. None: no token is asked.
        max_message_bytes: What a link to it announces as its largest message; a larger one detaches the link with
            ``amqp:link:message-size-exceeded`` and never reaches the node.
    """

    def __init__(
        self, address: str, *, entity: str | None = None, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    ) -> None:
        self.address = address
        self.entity = entity
        self.max_message_bytes = max_message_bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def open_incoming(self, link: IncomingLink) -> None:  # noqa: ARG002 - for those that override it
        """Take a link on which a client will send, or refuse it.

        Call ``link.accept()``, now or later (the client waits for it), or raise.

        Raises:
            Refused: Clients do not send to this address, or not this one; the default.
        """
        raise Refused("amqp:not-allowed", f"The entity '{self.address}' does not take messages.")

    def open_outgoing(self, link: OutgoingLink) -> None:  # noqa: ARG002 - for those that override it
        """Take a link on which a client will receive, or refuse it.

        Call ``link.accept(...)`` as in open_incoming; until then nothing can be sent on it. Credit comes after, to feed.

        Raises:
            Refused: Clients do not receive from this address; the default.
        """
        raise Refused("amqp:not-allowed", f"The entity '{self.address}' gives no messages.")

    def receive(self, link: IncomingLink, delivery: IncomingDelivery) -> Outcome | None:
        """Take one message or batch that a client sent.

        Returns:
            What becomes of it: ``ACCEPTED``, or ``rejected(condition, description)``, ... None: that comes later, with
            ``delivery.settle(outcome)``. A delivery that the client settled itself gets no answer either way.

        Raises:
            AmqpDecodeError: Its sections are malformed: it is rejected with ``amqp:decode-error``.
            Refused: It is rejected with that error.
        """
        raise NotImplementedError

    def feed(self, link: OutgoingLink) -> None:
        """Send what there is on a link that has credit: called whenever ``link.credit`` may have grown.

        Call ``link.send(...)`` while ``link.credit`` is above zero; what comes later may be sent at any later moment. When
        the client asked to drain, the server gives back the credit that is left after this call.
        """

    def settle(self, link: OutgoingLink, delivery: OutgoingDelivery, outcome: Outcome) -> Outcome:  # noqa: ARG002 - see above
        """Learn what a client decided about a message that it received unsettled; called once for each.

        Returns:
            What is told to a client that waits for it (rcv-settle-mode second): ``outcome`` itself when it is so, or for
            example ``rejected("com.microsoft:message-lock-lost", ...)`` when it is not.
        """
        return outcome

    def close(self, link: IncomingLink | OutgoingLink) -> None:
        """Learn that a link is gone, detached by either side or lost with its connection; called once for each accepted.

        Also for one that was not accepted yet. What an outgoing link left undecided is in ``link.unsettled``.
        """


class Directory(ABC):
    """Finds nodes by address. One for each service; the server asks each in turn."""

    @abstractmethod
    def find(self, address: str) -> Node | None:
        """Return the node of an address (without host, without a slash at either end), or None.

        Entity names are compared without regard to case, as Azure does. The same node is returned each time.
        """

    @abstractmethod
    def has_entity(self, path: str) -> bool:
        """Whether a token can be asked for this path: an entity, or a part of one such as ``hub/Partitions/1``."""
