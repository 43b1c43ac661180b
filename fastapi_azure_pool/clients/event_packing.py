"""How events become a batch, a batch becomes bytes, and what the service says of it an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.amqp.encoding import (
    BATCH_FORMAT,
    encode_batch,
    encode_members_once,
    payload_encoder,
)
from fastapi_azure_pool.clients.event_sending import check_without_size
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.transfers import TOO_LARGE, Outcome, OutcomeKind, Packing
from fastapi_azure_pool.errors import MessageTooLarge, SendError, SendInterrupted, SendRejected, SendTimedOut

with extra("eventhub"):
    from azure.eventhub.exceptions import (
        ConnectionLostError,
        EventDataSendError,
        EventHubError,
        OperationTimeoutError,
    )

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch
    from azure.eventhub.aio import EventHubProducerClient

    from fastapi_azure_pool.clients.amqp.encoding import Encode
    from fastapi_azure_pool.clients.event_sending import Event, Key


class EventPacking(Packing[Any]):
    """Makes batches of events; see `Packing`.

    Args:
        client: The SDK's client, which knows how large a batch may be.
        entity: The hub's name.
    """

    def __init__(self, client: EventHubProducerClient, entity: str) -> None:
        self.entity = entity
        self._client = client

    async def new_batch(self, key: Key) -> EventDataBatch:
        """Make an empty batch; the link's limit is known since it was opened."""
        partition_id, partition_key = key
        batch = await self._client.create_batch(partition_id=partition_id, partition_key=partition_key)
        encode_members_once(batch, "azure.eventhub")
        return batch

    def add(self, batch: EventDataBatch, item: Event, *, is_first: bool) -> bool:
        """Add an event, if it fits."""
        try:
            batch.add(item)
        except ValueError as error:
            if not is_first:
                return False
            check_without_size(item, batch)
            raise MessageTooLarge(
                f"the event is larger than the {batch.max_size_in_bytes} bytes that event hub {self.entity} takes: store the"
                " content elsewhere, in a blob for example, and send where it is",
                condition=TOO_LARGE,
            ).like(EventDataSendError(str(error))) from error
        return True

    def payload(self, batch: EventDataBatch) -> EventDataBatch:
        """Give the batch itself."""
        return batch

    def address(self, key: Key) -> str | None:
        """Give the partition's address, if there is a partition."""
        partition_id = key[0]
        return None if partition_id is None else f"Partitions/{partition_id}"

    def error(self, outcome: Outcome) -> SendError:
        """Give the error for an outcome."""
        if outcome.kind is OutcomeKind.LOST:
            return self.interrupted(maybe_delivered=True, cause=outcome.error)
        condition = outcome.condition or outcome.kind.value
        text = f"event hub {self.entity} did not take it ({condition}): {outcome.description or 'it did not say why'}"
        kind = MessageTooLarge if self.refuses_joining(outcome) else SendRejected
        error = kind(text, condition=outcome.condition, maybe_delivered=outcome.maybe_delivered)
        return error.like(outcome.error if isinstance(outcome.error, EventHubError) else EventDataSendError(text))

    def translate(self, error: Exception) -> Exception:
        """Give the SDK's error as it is: no request of Event Hubs goes this way."""
        return error

    def timed_out(self, *, maybe_delivered: bool) -> SendTimedOut:
        """Give the error of a caller whose time is over."""
        state = "no answer came in time" if maybe_delivered else "it could not leave in time, and was not sent"
        text = f"sending to event hub {self.entity} timed out: {state}"
        return SendTimedOut(text, maybe_delivered=maybe_delivered).like(OperationTimeoutError(text))

    def interrupted(self, *, maybe_delivered: bool, cause: Exception | None = None) -> SendInterrupted:
        """Give the error of a caller whose connection is closed or broken."""
        state = "before it was confirmed: it may have been stored" if maybe_delivered else "before it was sent"
        text = f"the connection to event hub {self.entity} ended {state}"
        like = cause if isinstance(cause, EventHubError) else ConnectionLostError(text)
        return SendInterrupted(text, maybe_delivered=maybe_delivered).like(like)


def event_encoder() -> Encode | None:
    """Give what makes a batch bytes; None where this version of the SDK keeps its encoder elsewhere."""
    encode = payload_encoder("azure.eventhub")
    if encode is None:
        return None
    return lambda batch: (BATCH_FORMAT, encode_batch(batch._message, encode))  # noqa: SLF001 - the SDK's own sender takes it there
