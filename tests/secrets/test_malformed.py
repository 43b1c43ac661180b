"""Whatever is written where a client is told its service makes a client, or is refused in words of ours that repeat no secret."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AzureKeyCredential, AzureNamedKeyCredential, AzureSasCredential
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus.aio import ServiceBusClient
from fastapi import FastAPI
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastapi_azure_pool import (
    AzureBlobStorageClient,
    AzureServiceBus,
    Cosmos,
    EventGridClient,
    EventGridConfig,
    EventGridTopicConfig,
    Eventhub,
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    ManagedEventGridPublisher,
    SharedCredential,
    open_pools,
)
from fastapi_azure_pool.clients.amqp.access import AmqpAccess
from fastapi_azure_pool.clients.arguments import shown
from tests.secrets.planted import GOOD_KEY, WORD, FixedCredential, assert_clean, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURE = f"sv=2024-11-04&sr=c&sp=rw&se=2040-01-01&sig={WORD}%2Fsignature%3D"
MESSAGING_SIGNATURE = f"SharedAccessSignature sr=sb%3A%2F%2Fshop&sig={WORD}%3D&se=4000000000&skn=Root"
TOPIC_SIGNATURE = f"r=https%3a%2f%2fshop&e=2040-01-01&s={WORD}%3D"

COSMOS = f"AccountEndpoint=https://shop.documents.azure.com:443/;AccountKey={GOOD_KEY};"
MESSAGING = f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={GOOD_KEY}"
SIGNED_MESSAGING = f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessSignature={MESSAGING_SIGNATURE}"
STORAGE = f"DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={GOOD_KEY};EndpointSuffix=core.windows.net"
SIGNED_STORAGE = f"BlobEndpoint=https://shop.blob.core.windows.net;SharedAccessSignature={SIGNATURE}"

WHOLE = (
    *(GOOD_KEY, SIGNATURE, MESSAGING_SIGNATURE, TOPIC_SIGNATURE),
    *(COSMOS, MESSAGING, SIGNED_MESSAGING, STORAGE, SIGNED_STORAGE),
    f"https://me:{GOOD_KEY}@shop.documents.azure.com",
    f"https://shop.blob.core.windows.net?{SIGNATURE}",
    f"https://shop.westeurope-1.eventgrid.azure.net/api/events?{TOPIC_SIGNATURE}",
    f"sb://Root:{GOOD_KEY}@shop.servicebus.windows.net",
)
NAMES = (
    *("HostName", "Endpoint", "SharedAccessKeyName", "SharedAccessKey", "SharedAccessSignature", "EntityPath"),
    *("UseDevelopmentEmulator", "AccountEndpoint", "AccountName", "AccountKey", "BlobEndpoint"),
    *("DefaultEndpointsProtocol", "EndpointSuffix", "BlobSecondaryEndpoint", "UseDevelopmentStorage"),
)
VALUES = (
    *("sb://shop.servicebus.windows.net/", "sb://127.0.0.1:5672", "https://shop.documents.azure.com:443/"),
    *("https://shop.blob.core.windows.net", "http", "https", "ftp", "core.windows.net", "shop", "Root", "orders"),
    *("true", "True", "false", "", GOOD_KEY, GOOD_KEY[:-1], SIGNATURE, MESSAGING_SIGNATURE, "sb://[::1", "sb://:0"),
)

# Connection strings as they come about: of right and wrong fields, written right and wrong, put together right and wrong.
names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES).map(str.lower), st.text(max_size=5))
values = st.one_of(st.sampled_from(VALUES), st.text(max_size=10))
fields = st.tuples(names, st.sampled_from(["=", "=", "=", "==", " = ", "", ":"]), values).map("".join)
parts = st.one_of(fields, st.sampled_from(WHOLE))
separators = st.sampled_from([";", ";", ";", "; ", ";;", ",", " ", "\n", ""])
texts = st.one_of(
    st.builds(lambda separator, some: separator.join(some), separators, st.lists(parts, max_size=6)),
    st.builds("{}{}{}".format, st.text(max_size=5), st.sampled_from(WHOLE), st.text(max_size=5)),
)


def topic(**change: Any) -> EventGridConfig:
    """Make a topic's configuration."""
    url = "https://shop.westeurope-1.eventgrid.azure.net/api/events"
    return EventGridConfig(EventGridTopicConfig(**{"name": "orders", "url": url, **change}))


def publisher(**change: Any) -> ManagedEventGridPublisher:
    """Make a publisher whose topic's configuration has this change."""
    return ManagedEventGridPublisher(topic(**change), credential=GOOD_KEY)


SIGNED = {"credential": AzureSasCredential(MESSAGING_SIGNATURE)}
COSMOS_PLACE = {"endpoint": "https://shop.documents.azure.com", "dbname": "shop", "container_name": "orders"}
HUB_PLACE = {"eventhub_namespace": "shop.servicebus.windows.net", "eventhub_name": "orders"}
QUEUE_PLACE = {"service_bus_namespace_url": "shop.servicebus.windows.net", "service_bus_queue_name": "orders"}
BLOB_PLACE = {"az_storage_url": "https://shop.blob.core.windows.net", "container_name": "files"}

# What makes a client, with which arguments, and the one that gets the text.
PLACES: list[tuple[Callable[..., object], dict[str, Any], str]] = [
    (ManagedCosmos, {"dbname": "shop", "container_name": "orders"}, "connection_string"),
    (Cosmos, {"dbname": "shop", "container_name": "orders"}, "connection_string"),
    (ManagedCosmos, COSMOS_PLACE, "connection_string"),
    *((ManagedCosmos, {**COSMOS_PLACE, "credential": GOOD_KEY}, name) for name in COSMOS_PLACE),
    (ManagedCosmos, {**COSMOS_PLACE, "credential": FixedCredential()}, "endpoint"),
    (ManagedCosmos, COSMOS_PLACE, "credential"),
    (ManagedCosmos, COSMOS_PLACE, "credential_factory"),
    (ManagedAzureEventhubProducer, {}, "connection_string"),
    (ManagedAzureEventhubProducer, HUB_PLACE, "connection_string"),
    *((ManagedAzureEventhubProducer, {"connection_string": MESSAGING}, name) for name in HUB_PLACE),
    *((ManagedAzureEventhubProducer, {**HUB_PLACE, **SIGNED}, name) for name in HUB_PLACE),
    (ManagedAzureEventhubProducer, HUB_PLACE, "credential"),
    (ManagedAzureEventhubProducer, {**HUB_PLACE, **SIGNED}, "eventhub_transport_type"),
    (Eventhub, HUB_PLACE, "credential_factory"),
    (ManagedAzureServiceBusSender, {}, "connection_string"),
    (ManagedAzureServiceBusSender, QUEUE_PLACE, "connection_string"),
    *((ManagedAzureServiceBusSender, {**QUEUE_PLACE, **SIGNED}, name) for name in QUEUE_PLACE),
    (ManagedAzureServiceBusSender, {**QUEUE_PLACE, **SIGNED}, "socket_timeout"),
    (AzureServiceBus, QUEUE_PLACE, "credential"),
    (ManagedAzureBlobStorage, {"container_name": "files"}, "connection_string"),
    (AzureBlobStorageClient, BLOB_PLACE, "connection_string"),
    *((ManagedAzureBlobStorage, {**BLOB_PLACE, "credential": GOOD_KEY}, name) for name in BLOB_PLACE),
    (ManagedAzureBlobStorage, {**BLOB_PLACE, "credential": FixedCredential()}, "az_storage_url"),
    (ManagedAzureBlobStorage, BLOB_PLACE, "credential"),
    (ManagedAzureBlobStorage, BLOB_PLACE, "credential_factory"),
    (publisher, {}, "url"),
    (publisher, {}, "schema"),
    (ManagedEventGridPublisher, {"config": topic()}, "credential"),
    (ManagedEventGridPublisher, {}, "config"),
    (EventGridClient, {"config": topic()}, "credential"),
    (EventGridClient, {"config": topic()}, "async_credential"),
    (partial(SharedCredential, scopes=["scope"]), {}, "credential"),
]


def try_to_make(make: Callable[[], object]) -> None:
    """Make a client; where it is refused, by this library and without a secret."""
    try:
        made = make()
    except (TypeError, ValueError) as error:
        assert_clean(*texts_of(error))
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        assert frame is not None
        assert frame.tb_frame.f_globals["__name__"].startswith("fastapi_azure_pool.")
    else:
        assert_clean(repr(made), str(made))


@pytest.mark.parametrize(
    ("make", "arguments", "name"),
    PLACES,
    ids=[
        f"{number} {getattr(make, '__name__', 'SharedCredential')} {name}"
        for number, (make, _, name) in enumerate(PLACES)
    ],
)
@settings(max_examples=30, deadline=None)
@given(text=texts)
def test_no_text_is_repeated_that_may_hold_a_secret(
    make: Callable[..., object], arguments: dict[str, Any], name: str, text: str
) -> None:
    """Any text, in the place of any argument that names the service or authenticates, is taken or refused without a secret."""
    try_to_make(lambda: make(**{**arguments, name: text}))


@settings(max_examples=100, deadline=None)
@given(text=texts)
@example(f"{MESSAGING};HostName=elsewhere.example")
@example(
    f"{MESSAGING.replace('shop.servicebus.windows.net', '127.0.0.1')};HostName=x.example;UseDevelopmentEmulator=true"
)
@example(f"{MESSAGING};Endpoint=sb://elsewhere.example")
@example(f"{MESSAGING} ; UseDevelopmentEmulator = false")
def test_the_sdks_read_what_was_checked(text: str) -> None:
    """Of a connection string that is taken, the SDKs of Event Hubs and Service Bus read the host and the TLS that were checked."""
    try:
        access = AmqpAccess(
            None, "orders", None, None, text, scope="", entity_argument="hub", namespace_argument="host"
        )
    except ValueError:
        return
    written = access.connection_string
    assert written is not None
    producer = EventHubProducerClient.from_connection_string(written, eventhub_name="orders")
    sender = ServiceBusClient.from_connection_string(written)
    assert producer._address.hostname == sender.fully_qualified_namespace == access.namespace
    assert producer._config.use_tls is sender._config.use_tls is access.uses_tls
    assert access.uses_tls or access.namespace.startswith(("127.0.0.1", "localhost", "[::1]"))


@pytest.mark.parametrize(
    "value",
    [
        AzureKeyCredential(GOOD_KEY),
        AzureNamedKeyCredential("Root", GOOD_KEY),
        AzureSasCredential(SIGNATURE),
        GOOD_KEY.encode(),
        [GOOD_KEY],
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    ("make", "arguments", "name"),
    [
        *((ManagedCosmos, {**COSMOS_PLACE, "credential": GOOD_KEY}, name) for name in COSMOS_PLACE),
        (ManagedAzureEventhubProducer, {"connection_string": MESSAGING}, "eventhub_name"),
        *((ManagedAzureBlobStorage, {**BLOB_PLACE, "credential": GOOD_KEY}, name) for name in BLOB_PLACE),
        (ManagedEventGridPublisher, {"credential": GOOD_KEY}, "config"),
        (topic, {}, "name"),
        (topic, {}, "url"),
    ],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
)
def test_nothing_is_repeated_in_the_place_of_a_name(
    make: Callable[..., object], arguments: dict[str, Any], name: str, value: object
) -> None:
    """What is no text at all, such as a credential that landed in the place of a name or an address, is told by its type."""
    with pytest.raises((TypeError, ValueError)) as raised:
        make(**{**arguments, name: value})
    assert_clean(*texts_of(raised.value))


@pytest.mark.parametrize("text", WHOLE)
async def test_no_text_is_repeated_that_was_given_as_an_application_s_credential(text: str) -> None:
    """Neither is one that open_pools gets as its credential."""
    with pytest.raises(TypeError) as raised:
        await open_pools(FastAPI(), credential=text).__aenter__()  # type: ignore[arg-type]  # wrong on purpose
    assert_clean(*texts_of(raised.value))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("orders", "'orders'"),
        ("", "''"),
        (None, "None"),
        (5, "5"),
        (0.5, "0.5"),
        (b"orders", "a bytes"),
        (GOOD_KEY, f"a text of {len(GOOD_KEY)} characters"),
        ("a=b", "a text of 3 characters"),
        ("a" * 40, f"'{'a' * 40}'"),
        ("a" * 41, "a text of 41 characters"),
    ],
)
def test_how_a_wrong_argument_is_told(value: object, told: str) -> None:
    """A short name or a number is repeated, so that one sees what is wrong; what may be a secret is not."""
    assert shown(value) == told
