"""What a run of chaos is made of: the plan, the judgement of answers, the journal, the bound, the memory of the emulator."""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import AzureError
from azure.cosmos.aio import CosmosClient

from example_app.outbox import MARK
from fastapi_azure_pool import (
    ConnectionFailed,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    SendInterrupted,
)

from .answers import PROBLEM_JSON, Answer, fault_of
from .cloud import CONTAINER, DATABASE, HUB, INVOICES, QUEUE, Cloud
from .complaints import find_complaints
from .faults import inflict
from .journal import ACKNOWLEDGED, REFUSED, UNCERTAIN, UNEXPECTED, Recorder, outcome_of, read_journal
from .recovery import longest_recovery
from .schedule import BESIDES, VARIANTS, plan

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi_azure_pool.emulator import Emulator

KINDS = {*VARIANTS, *BESIDES}
DONE_BY_OTHERS = {*BESIDES, "stopped and started", "killed and restarted", "hung"}


def test_seed_gives_the_plan() -> None:
    """The same seed gives the same faults, another one others, and no kind comes twice before each has come once."""
    first, again, other = (
        list(itertools.islice(plan(seed, longest_seconds=8.0), 2 * len(KINDS))) for seed in (1, 1, 2)
    )
    assert first == again != other
    for slots in (first[: len(KINDS)], first[len(KINDS) :]):
        assert sorted(together[0].kind for together in slots) == sorted(KINDS)
        for fault in itertools.chain.from_iterable(slots):
            assert fault.variant in {**VARIANTS, **BESIDES}[fault.kind]
            assert 0.3 <= fault.seconds <= 8.0
        assert any(len(together) == 2 for together in slots)
        assert all(together[1].kind in BESIDES for together in slots if len(together) == 2)


PROBLEM = {"title": "Service Unavailable", "status": 503, "detail": "Come back."}


@pytest.mark.parametrize(
    ("status", "content_type", "retry_after", "body", "finding"),
    [
        (200, "application/json", None, b"{}", None),
        (404, PROBLEM_JSON, None, json.dumps({**PROBLEM, "status": 404}).encode(), None),
        (503, PROBLEM_JSON, "1", json.dumps(PROBLEM).encode(), None),
        (503, PROBLEM_JSON, None, json.dumps(PROBLEM).encode(), "does not say when to come back"),
        (502, PROBLEM_JSON, None, json.dumps(PROBLEM).encode(), "incomplete problem document"),
        (404, PROBLEM_JSON, None, b'{"status": 404}', "incomplete problem document"),
        (404, "application/json", None, b'{"detail": "Not Found"}', "no problem document"),
        (500, "text/plain", None, b"Internal Server Error", "500 text/plain: b'Internal Server Error'"),
        (500, PROBLEM_JSON, None, json.dumps({**PROBLEM, "status": 500}).encode(), "500"),
        (302, "text/html", None, b"", "302"),
    ],
)
def test_failed_request_needs_a_problem_document(
    status: int, content_type: str, retry_after: str | None, body: bytes, finding: str | None
) -> None:
    """A failed request is answered 4xx or 5xx, never 500, with a complete problem document; 503 says when to come back."""
    headers = {"Content-Type": content_type} | ({} if retry_after is None else {"Retry-After": retry_after})
    found = fault_of(Answer(status, headers, body))
    assert found is None if finding is None else found is not None and finding in found


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SendInterrupted("lost", maybe_delivered=True), UNCERTAIN),
        (SendInterrupted("lost", maybe_delivered=False), REFUSED),
        (ConnectionFailed(error="OSError", retry_after=1.0), REFUSED),
        (AzureError("lost"), UNCERTAIN),
        (asyncio.CancelledError(), UNCERTAIN),
        (KeyError("lost"), UNEXPECTED),
    ],
)
async def test_journal_keeps_what_a_send_came_to(error: BaseException, outcome: str, tmp_path: Path) -> None:
    """Each send that ends leaves a line with what its caller was told, and its caller is told the same."""

    class Sender:
        async def send(self, order_id: str, *, fails: bool) -> str:
            if fails:
                raise error
            return order_id

    file = StringIO()
    Recorder(file).record(Sender, "send", "event", lambda arguments, _: str(arguments[0]))
    assert await Sender().send("one", fails=False) == "one"
    with pytest.raises(type(error)):
        await Sender().send("two", fails=True)
    journal = tmp_path / "journal.jsonl"
    journal.write_text(file.getvalue())
    sent = read_journal(journal).of("event")
    assert (sent["one"].acknowledged, getattr(sent["two"], outcome)) == (1, 1)
    assert +read_journal(journal).totals("event") == {ACKNOWLEDGED: 1, outcome: 1}
    assert outcome_of(error) == outcome


@pytest.mark.parametrize(("failures", "seconds"), [(0, 20.5), (1, 21.0), (4, 28.0), (6, 50.0), (1000, 50.0)])
def test_recovery_may_take_what_the_back_off_allows(failures: int, seconds: float) -> None:
    """Two attempts of 10 s, and between them 0.5 s doubled for each failure before, up to 30 s."""
    assert longest_recovery(failures) == seconds


def test_log_is_read_for_complaints() -> None:
    """What nobody looked after is found in the log, and a traceback with what it belongs to, but none that others log in vain."""
    log = """\
order 1 is published later: TimeoutError
Unexpected error occurred (ValueError('Link already closed.')). Handler shutting down.
Traceback (most recent call last):
ValueError: Link already closed.
Fatal error on SSL protocol
protocol: <uvloop.loop.SSLProtocol object>
transport: <TCPTransport closed=True>
Traceback (most recent call last):
RuntimeError: the handler is closed
ERROR:    Exception in ASGI application
  + Exception Group Traceback (most recent call last):
  | ExceptionGroup: one

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
KeyError: 'id'
Task exception was never retrieved
future: <Task finished>
Traceback (most recent call last):
"""
    assert find_complaints(log) == [
        "the service's log has a traceback: ERROR:    Exception in ASGI application",
        "the service's log: Task exception was never retrieved",
        "the service's log has a traceback: Task exception was never retrieved",
    ]


@pytest.mark.parametrize(
    ("kind", "variant"),
    [(kind, variant) for kind in sorted(KINDS - DONE_BY_OTHERS) for variant in VARIANTS[kind]],
)
async def test_every_fault_can_be_inflicted_and_cleared(kind: str, variant: str) -> None:
    """Each kind, in each of its forms, is one that the emulator has; nothing of it is in force when it is over."""
    azure = Cloud(None).azure
    faults = inflict(azure, kind, variant, 1.0)
    assert set(faults) == set(azure.faults.active)
    azure.faults.clear()
    assert azure.faults.active == ()


async def fill(azure: Emulator, certificate: Path) -> None:
    """Store one of everything."""
    certificate.write_text(azure.certificate)  # noqa: ASYNC240 - as quick as anything in a test
    trust = {"connection_verify": str(certificate)}
    async with (
        CosmosClient(azure.cosmos_endpoint, azure.cosmos_key) as client,
        ManagedAzureEventhubProducer(
            eventhub_name=HUB, connection_string=azure.eventhub_connection_string, client_options=trust
        ) as events,
        ManagedAzureServiceBusSender(
            service_bus_queue_name=QUEUE, connection_string=azure.servicebus_connection_string, client_options=trust
        ) as messages,
        ManagedAzureBlobStorage(
            azure.blob_endpoint, INVOICES, credential=azure.storage_key, client_options=trust
        ) as blobs,
    ):
        container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
        await container.create_item({"id": "1", "customer_id": "ada", MARK: 1.0})
        await events.send_event("placed")
        await messages.send_message("to be confirmed", unique_msg_id="1")
        await blobs.upload_blob("ada/1.txt", "three coins")


async def test_memory_outlives_the_process(tmp_path: Path) -> None:
    """What one emulator has stored is in the next, in the same places; etags, tokens, continuations and the certificate hold."""
    cloud = Cloud(None)
    await cloud.furnish()
    async with cloud.azure as azure:
        await fill(azure, tmp_path / "certificate.pem")
        before = cloud.look()
        endpoint, certificate, token = azure.cosmos_endpoint, azure.certificate, azure.issue_token()
        memory = cloud.remember()
    assert (len(before.orders), len(before.events), before.enqueued, before.queued) == (1, 1, {"1": 1}, ["1"])
    assert before.invoices == {"ada/1.txt": "three coins"}
    following = Cloud(pickle.loads(memory))
    await following.furnish()
    async with following.azure as azure:
        assert following.look() == before
        assert (azure.cosmos_endpoint, azure.certificate) == (endpoint, certificate)
        assert azure._tokens.verify(token) == "https://cosmos.azure.com"
        async with CosmosClient(azure.cosmos_endpoint, azure.cosmos_key) as client:
            container = client.get_database_client(DATABASE).get_container_client(CONTAINER)
            assert await container.read_item("1", "ada") == before.orders[0]
            await container.create_item({"id": "2", "customer_id": "ada"})
        assert following.count_pending(MARK) == {"marked": 1, "queued": 1}
