"""Request and response over a pair of links: ``$cbs``, ``$management`` and ``queue/$management``."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.amqp.message import Message, Properties, Value, decode_message, encode_message
from fastapi_azure_pool.emulator.amqp.node import Node, Refused
from fastapi_azure_pool.emulator.amqp.values import AmqpDecodeError, Int

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.amqp.link import IncomingDelivery, IncomingLink, OutgoingLink

_SERVER_BUSY = "com.microsoft:server-busy"


@dataclass(frozen=True, slots=True)
class Response:
    """What a request node answers.

    Attributes:
        status: An HTTP status.
        description: What it says about it.
        body: The value of the answer's body, as values.encode takes it; None: a body with a null in it.
        condition: The AMQP error condition of a failure, such as ``com.microsoft:message-lock-lost``.
        properties: Further application properties.
    """

    status: int = 200
    description: str = "OK"
    body: Any = None
    condition: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)


class Request:
    """One request that a client sent.

    Attributes:
        node: What it was sent to.
        link: The link that it came on; its connection is where the answer goes.
        message: The request's message, decoded.
        operation: The application property ``operation``, "" without.
        is_answered: Whether it has its answer.
    """

    __slots__ = ("is_answered", "link", "message", "node", "operation")

    def __init__(self, node: RequestNode, link: IncomingLink, message: Message) -> None:
        self.node = node
        self.link = link
        self.message = message
        self.is_answered = False
        operation = self.properties.get("operation")
        self.operation = operation if isinstance(operation, str) else ""

    @property
    def properties(self) -> dict[str, Any]:
        """The request's application properties."""
        return self.message.application_properties or {}

    @property
    def value(self) -> Any:
        """The value of the request's body; None when it has another kind of body."""
        return self.message.body.value if isinstance(self.message.body, Value) else None

    def answer(self, response: Response) -> None:
        """Send the answer, now or later; without effect when the client is gone or has it already."""
        if self.is_answered:
            return
        self.is_answered = True
        link = self.link.session.reply_link(self.node, self.message.properties)
        if link is not None:
            self.node.reply(link, self, response)


class RequestNode(Node):
    """A node that answers requests; it accepts each before it answers.

    Attributes:
        status_name: The application property that carries the status.
        description_name: The one that carries the description.
        condition_name: The one that carries the error condition of a failure.
    """

    status_name = "statusCode"
    description_name = "statusDescription"
    condition_name = "errorCondition"

    @abstractmethod
    def answer(self, request: Request) -> Response | None:
        """Do what a request asks.

        Returns:
            The answer; None: it comes later, with ``request.answer(response)``.

        Raises:
            Refused: Answered with status 400 and that condition; write a Response for another status.
        """

    def refuse(self, request: Request, status: int, condition: str, description: str) -> Response:  # noqa: ARG002 - for others
        """Word an injected failure as this service does."""
        return Response(status, description, condition=condition)

    def operation_name(self, request: Request) -> str:
        """Return the method by which faults and the request log know a request."""
        return request.operation

    def fault_path(self, request: Request) -> str:
        """Return the path by which faults and the request log know a request: what it is about."""
        return request.node.entity or request.node.address

    def open_incoming(self, link: IncomingLink) -> None:
        """Take requests."""
        link.accept()

    def open_outgoing(self, link: OutgoingLink) -> None:
        """Give answers."""
        link.accept()

    def read(self, link: IncomingLink, delivery: IncomingDelivery) -> Request:
        """Return the request in a delivery.

        Raises:
            AmqpDecodeError: There is none in it.
        """
        message = decode_message(delivery.payload)
        if not all(isinstance(name, str) for name in message.application_properties or ()):
            raise AmqpDecodeError("The names of application properties are strings")
        return Request(self, link, message)

    def serve(self, request: Request) -> None:
        """Answer a request."""
        try:
            response = self.answer(request)
        except Refused as refusal:
            response = self.refuse(request, 400, refusal.condition, refusal.description)
        except AmqpDecodeError as error:
            response = self.refuse(request, 400, "amqp:decode-error", str(error))
        if response is not None:
            request.answer(response)

    def reply(self, link: OutgoingLink, request: Request, response: Response) -> None:
        """Send an answer on a link."""
        properties: dict[str, Any] = {
            self.status_name: Int(response.status),
            self.description_name: response.description,
        }
        if response.condition is not None:
            properties[self.condition_name] = response.condition
        asked = request.message.properties
        link.enqueue(
            encode_message(
                Message(
                    properties=Properties(correlation_id=asked.message_id if asked is not None else None),
                    application_properties=properties | response.properties,
                    body=Value(response.body),
                )
            )
        )
