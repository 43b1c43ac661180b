"""How messages become a batch, a batch becomes bytes, and what the service says of it an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.amqp.encoding import (
    BATCH_FORMAT,
    SINGLE_FORMAT,
    encode_batch,
    encode_members_once,
    payload_encoder,
)
from fastapi_azure_pool.clients.amqp.outcomes import rejection
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.transfers import SERVER_BUSY, TOO_LARGE, Outcome, OutcomeKind, Packing
from fastapi_azure_pool.errors import MessageTooLarge, SendError, SendInterrupted, SendRejected, SendTimedOut

with extra("servicebus"):
    from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch, exceptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.servicebus.aio import ServiceBusSender

    from fastapi_azure_pool.clients.amqp.encoding import Encode
    from fastapi_azure_pool.clients.message_sending import Key, Made

_BODY = 5

_ERRORS: dict[str | None, type[exceptions.ServiceBusError]] = {
    SERVER_BUSY: exceptions.ServiceBusServerBusyError,
    TOO_LARGE: exceptions.MessageSizeExceededError,
    "amqp:not-found": exceptions.MessagingEntityNotFoundError,
    "amqp:resource-limit-exceeded": exceptions.ServiceBusQuotaExceededError,
    "amqp:unauthorized-access": exceptions.ServiceBusAuthorizationError,
    "com.microsoft:entity-disabled": exceptions.MessagingEntityDisabledError,
    "com.microsoft:timeout": exceptions.OperationTimeoutError,
}
"""What the SDK raises for each condition of a rejection; for others its ServiceBusError."""


class PackedMessages:
    """A batch of the SDK that becomes a larger one for a message that goes alone.

    Attributes:
        batch: The SDK's batch.
        is_full: Whether it takes no more, for it is larger than batches may be.
    """

    __slots__ = ("batch", "is_full")

    def __init__(self, batch: ServiceBusMessageBatch) -> None:
        self.batch = batch
        self.is_full = False

    @property
    def only(self) -> ServiceBusMessage | None:
        """The message, if it is but one: it goes as a plain message then."""
        members: Sequence[ServiceBusMessage] = getattr(self.batch, "_messages", ())
        return members[0] if len(members) == 1 else None

    @property
    def only_encoded(self) -> bytearray:
        """The bytes of the only message, which the SDK has made when it was added."""
        encoded: bytearray = self.batch._message[_BODY][0]  # noqa: SLF001 - it has no public name
        return encoded


class MessagePacking(Packing["Made"]):
    """Makes batches of messages; see `Packing`. One message alone goes as a plain message.

    Args:
        sender: The SDK's sender, which knows how much its link takes.
        entity: The queue's or topic's name.
    """

    def __init__(self, sender: ServiceBusSender, entity: str) -> None:
        self.entity = entity
        self._sender = sender

    async def new_batch(self, key: Key) -> PackedMessages:  # noqa: ARG002 - a batch has its key from its first message
        """Make an empty batch; the link's limit is known since it was opened."""
        batch = await self._sender.create_message_batch()
        encode_members_once(batch, "azure.servicebus")
        return PackedMessages(batch)

    def add(self, batch: PackedMessages, item: Made, *, is_first: bool) -> bool:
        """Add a message, if it fits; one that does not fit into any batch may still be sent alone."""
        if batch.is_full:
            return False
        try:
            batch.batch.add_message(item)
        except exceptions.MessageSizeExceededError:
            if is_first:
                self._add_alone(batch, item)
            return is_first
        return True

    def payload(self, batch: PackedMessages) -> PackedMessages:
        """Give what was packed."""
        return batch

    def error(self, outcome: Outcome) -> SendError:
        """Give the error for an outcome."""
        if outcome.kind is OutcomeKind.LOST:
            return self.interrupted(maybe_delivered=True, cause=outcome.error)
        condition = outcome.condition or outcome.kind.value
        text = f"{self.entity} did not take it ({condition}): {outcome.description or 'the service did not say why'}"
        kind = MessageTooLarge if outcome.condition == TOO_LARGE else SendRejected
        error = kind(text, condition=outcome.condition, maybe_delivered=outcome.maybe_delivered)
        if isinstance(outcome.error, exceptions.ServiceBusError):
            return error.like(outcome.error)
        return error.like(_ERRORS.get(outcome.condition, exceptions.ServiceBusError)(message=text))

    def translate(self, error: Exception) -> Exception:
        """Give what a caller is told of an error that a management request met."""
        if isinstance(error, exceptions.OperationTimeoutError):
            return self.timed_out(maybe_delivered=True)
        if not isinstance(error, exceptions.ServiceBusError):
            return error  # The SDK found fault with an argument.
        outcome = rejection(error)
        if outcome.kind is OutcomeKind.LOST and getattr(error, "_status_code", None) is not None:
            outcome = Outcome(OutcomeKind.REJECTED, description=str(error), error=error)
        return self.error(outcome)

    def timed_out(self, *, maybe_delivered: bool) -> SendTimedOut:
        """Give the error of a caller whose time is over."""
        state = "no answer came in time" if maybe_delivered else "it could not leave in time, and was not sent"
        text = f"sending to {self.entity} timed out: {state}"
        error = SendTimedOut(text, maybe_delivered=maybe_delivered)
        return error.like(exceptions.OperationTimeoutError(message=text))

    def interrupted(self, *, maybe_delivered: bool, cause: Exception | None = None) -> SendInterrupted:
        """Give the error of a caller whose connection is closed or broken."""
        state = "before it was confirmed: it may have been stored" if maybe_delivered else "before it was sent"
        text = f"the connection to {self.entity} ended {state}"
        is_sdks = isinstance(cause, exceptions.ServiceBusError)
        like = cause if cause is not None and is_sdks else exceptions.ServiceBusConnectionError(message=text)
        return SendInterrupted(text, maybe_delivered=maybe_delivered).like(like)

    def _add_alone(self, batch: PackedMessages, item: Made) -> None:
        limit = int(getattr(self._sender, "_max_message_size_on_link", 0)) or batch.batch.max_size_in_bytes
        alone = ServiceBusMessageBatch(max_size_in_bytes=limit)
        try:
            alone.add_message(item)
        except exceptions.MessageSizeExceededError as error:
            raise MessageTooLarge(
                f"the message is larger than the {limit} bytes that {self.entity} takes: store the content elsewhere, in a blob for"
                " example, and send where it is",
                condition=TOO_LARGE,
            ).like(error) from error
        batch.batch = alone
        batch.is_full = True


def message_encoder() -> Encode | None:
    """Give what makes a transfer bytes; None where this version of the SDK keeps its encoder elsewhere."""
    encode = payload_encoder("azure.servicebus")
    if encode is None:
        return None

    def encode_transfer(payload: ServiceBusMessageBatch | PackedMessages) -> tuple[int, bytes | bytearray]:
        if isinstance(payload, PackedMessages):
            if payload.only is not None:
                return SINGLE_FORMAT, payload.only_encoded
            payload = payload.batch
        message: Any = payload._message  # noqa: SLF001 - the SDK's own sender takes it from there
        return BATCH_FORMAT, encode_batch(message, encode)

    return encode_transfer
