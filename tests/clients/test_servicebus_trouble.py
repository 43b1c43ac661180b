"""What Service Bus senders are told: wrong arguments, requests without an answer, the SDK's own types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fastapi_azure_pool import SendRejected, SendTimedOut
from tests.clients.messaging import pooled

if TYPE_CHECKING:
    from tests.clients.messaging import Queue


BAD_ARGUMENTS: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("send_message", (1,), {}, TypeError, "msg must be bytes or text, not int"),
    ("send_message", ("x",), {"delay": -1}, ValueError, "delay must be a number of seconds of at least 0, not -1"),
    ("send_message", ("x",), {"colour": "red"}, TypeError, "colour"),
    ("send_messages", ("text",), {}, TypeError, "not str: send_message\\(\\) takes text"),
    ("send_messages", ([1],), {}, TypeError, "a message must be a ServiceBusMessage, not int"),
    ("send_messages", (7,), {}, TypeError, "message must be a ServiceBusMessage, several, or a batch, not int"),
]


async def test_a_request_that_gets_no_answer_costs_its_time_and_the_connection(queue: Queue) -> None:
    """A management request has a deadline too, and nobody knows whether it was carried out."""
    async with queue.client(send_timeout_seconds=0.3) as client:
        stalled = pooled(client)
        queue.azure.faults.stall(method="com.microsoft:schedule-message", times=1)
        with pytest.raises(SendTimedOut) as late:
            await client.send_message("later", delay=60)
        assert late.value.maybe_delivered
        await queue.settle_down(client)
        assert pooled(client) is not stalled
        assert len(await client.send_message("later", delay=60)) == 1


@pytest.mark.parametrize(("method", "arguments", "options", "kind", "words"), BAD_ARGUMENTS)
async def test_bad_arguments_are_told(
    queue: Queue, method: str, arguments: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """What cannot be sent raises an error that says what to write instead, and costs the connection nothing."""
    async with queue.client() as client:
        before = pooled(client)
        with pytest.raises(kind, match=words):
            await getattr(client, method)(*arguments, **options)
        assert pooled(client) is before
    assert queue.transfers == 0


async def test_a_queue_that_is_full_tells_so(queue: Queue) -> None:
    """The SDK's own type for a condition is what is raised."""
    async with queue.client() as client:
        queue.azure.faults.reject("amqp:resource-limit-exceeded", "full", path="work", times=1)
        with pytest.raises(SendRejected) as full:
            await client.send_message("one")
    assert "ServiceBusQuotaExceededError" in [kind.__name__ for kind in type(full.value).__mro__]
