"""Shared access keys are planted, and looked for in whatever Event Hubs and Service Bus log, show, raise or answer."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from fastapi import Depends, FastAPI

from fastapi_azure_pool import (
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    PoolError,
    SendError,
    health_router,
    install_error_handlers,
    open_pools,
    pooled,
)
from fastapi_azure_pool.emulator import Emulator
from tests.fastapi.driver import serving
from tests.fastapi.scripted import app_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Messaging = ManagedAzureEventhubProducer | ManagedAzureServiceBusSender

GOOD_KEY = base64.b64encode(b"planted-good-key-" * 2).decode()
BAD_KEY = base64.b64encode(b"planted-bad-key-" * 2).decode()
SIGNATURE = "SharedAccessSignature sr=sb%3A%2F%2Fshop&sig=planted-signature&se=4000000000&skn=Root"
SECRETS = (GOOD_KEY, BAD_KEY, GOOD_KEY[:16], BAD_KEY[:16], "planted")


def assert_clean(*texts: str) -> None:
    """Check that no text holds a secret."""
    for text in texts:
        assert [secret for secret in SECRETS if secret in text] == []


def texts_of(error: BaseException) -> list[str]:
    """Give what an error shows: text, repr, data, traceback, and what survives a pickle and a copy."""
    errors = (error, pickle.loads(pickle.dumps(error)), copy.copy(error))
    shown = [text for each in errors for text in (str(each), repr(each), repr(each.args), repr(vars(each)))]
    return [*shown, "".join(traceback.format_exception(error))]


def make(service: str, azure: Emulator, key: str, **options: Any) -> Messaging:
    """Make a managed client of a service with this key in its connection string."""
    if service == "eventhub":
        text = azure.eventhub_connection_string.replace(GOOD_KEY, key)
        return ManagedAzureEventhubProducer(connection_string=text, eventhub_name="orders", **options)
    text = azure.servicebus_connection_string.replace(GOOD_KEY, key)
    return ManagedAzureServiceBusSender(connection_string=text, service_bus_queue_name="invoices", **options)


async def send(client: Messaging) -> None:
    """Send something."""
    if isinstance(client, ManagedAzureEventhubProducer):
        await client.send_event("placed")
    else:
        await client.send_message("placed")


services = pytest.mark.parametrize("service", ["eventhub", "servicebus"])


@pytest.fixture
async def azure() -> AsyncIterator[Emulator]:
    """An emulator with the good key, a hub and a queue."""
    async with Emulator(amqp_key=GOOD_KEY) as azure:
        await azure.create_eventhub("orders")
        await azure.create_queue("invoices")
        yield azure


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that this library logs, down to DEBUG."""
    caplog.set_level(logging.DEBUG, "fastapi_azure_pool")
    return caplog


def ours(log: pytest.LogCaptureFixture) -> list[str]:
    """Give what this library logged, with the tracebacks."""
    formatter = logging.Formatter("%(message)s %(name)s")
    return [formatter.format(record) for record in log.records if record.name.startswith("fastapi_azure_pool")]


@services
async def test_reprs_show_no_key(service: str, azure: Emulator) -> None:
    """Clients, pools, connections and state show no key, before, while and after they are open."""
    client = make(service, azure, GOOD_KEY)
    shown: list[object] = [client, client.pool]
    assert_clean(*map(repr, shown), *map(str, shown))
    app = FastAPI()
    async with open_pools(app, messages=client) as state, client.get() as connection:
        shown += [state, connection, client.pool.stats(), *client.pool.connections]
        assert_clean(*map(repr, shown), *map(str, shown))
    assert_clean(*map(repr, shown), *map(str, shown))


@services
async def test_a_refused_key_shows_nowhere(service: str, azure: Emulator, log: pytest.LogCaptureFixture) -> None:
    """A key that the service refuses is in no error, no log, no response and no health document."""
    client = make(service, azure, BAD_KEY)
    with pytest.raises(PoolError) as raised:
        await open_pools(FastAPI(), messages=client).__aenter__()
    assert "Authentication" in type(raised.value.__cause__).__name__
    assert_clean(*texts_of(raised.value))
    app = app_with(fail_fast=False, messages=client)
    app.include_router(health_router())
    install_error_handlers(app)

    @app.get("/pooled")
    async def read(messages: Annotated[Any, Depends(pooled("messages"), scope="function")]) -> None: ...

    async with serving(app) as http:
        for path in ("/pooled", "/health/pools", "/health/pools/messages"):
            answer = await http.get(path)
            assert answer.status_code == 503
            text = answer.text + json.dumps(dict(answer.headers))
            assert_clean(text)
            assert azure.amqp_authority not in text
    assert any("Authentication" in line for line in ours(log))
    assert_clean(*ours(log))


@services
async def test_a_send_that_fails_shows_no_key(service: str, azure: Emulator, log: pytest.LogCaptureFixture) -> None:
    """Neither a refused message nor a broken connection tells the key that opened the connection."""
    async with make(service, azure, GOOD_KEY) as client:
        azure.faults.fail(service="amqp", method="TRANSFER", times=1)
        with pytest.raises(SendError) as refused:
            await send(client)
        azure.faults.drop(service="amqp", method="TRANSFER", times=1)
        with pytest.raises(SendError) as broken:
            await send(client)
    assert_clean(*texts_of(refused.value), *texts_of(broken.value), *ours(log))
    assert any("is broken" in line for line in ours(log))


def test_malformed_access_is_told_without_the_key() -> None:
    """Whatever is wrong with a namespace, a connection string or a credential, its message repeats no key."""
    string = f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={GOOD_KEY}"
    wrong: list[dict[str, Any]] = [
        {"eventhub_namespace": string, "credential": AzureSasCredential(SIGNATURE)},
        {"eventhub_namespace": f"sb://Root:{GOOD_KEY}@shop/", "credential": AzureSasCredential(SIGNATURE)},
        {"eventhub_namespace": "shop.servicebus.windows.net", "credential": GOOD_KEY},
        {"connection_string": f"{string};UseDevelopmentEmulator=true"},
        {"connection_string": f"{string};UseDevelopmentEmulator=True"},
        {"connection_string": f"{string};nonsense"},
        {"connection_string": string.replace("Endpoint", "endpoint")},
        {"connection_string": f"{string};SharedAccessSignature={SIGNATURE}"},
        {"connection_string": string.replace("SharedAccessKeyName=Root;", "")},
        {"connection_string": GOOD_KEY},
        {"connection_string": f"{string};EntityPath=other"},
        {"connection_string": string, "credential": AzureNamedKeyCredential("Root", GOOD_KEY)},
    ]
    for arguments in wrong:
        with pytest.raises((TypeError, ValueError)) as raised:
            ManagedAzureEventhubProducer(eventhub_name="orders", **arguments)
        assert_clean(str(raised.value), repr(raised.value))
