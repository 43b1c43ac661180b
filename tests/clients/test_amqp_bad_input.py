"""What the clients of Event Hubs and Service Bus refuse, with words that say what to write instead and that hold no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.eventhub import EventData
from azure.identity import DefaultAzureCredential as SyncDefaultAzureCredential
from azure.servicebus import ServiceBusMessage

from fastapi_azure_pool import (
    AzureServiceBus,
    Eventhub,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    MessageTooLarge,
)
from fastapi_azure_pool.clients.amqp.access import AmqpAccess
from tests.clients.credentials import CountingCredential

if TYPE_CHECKING:
    from tests.clients.messaging import Hub, Queue

KEY = "c2VjcmV0IGtleQ=="
HOST = "shop.servicebus.windows.net"
GOOD = f"Endpoint=sb://{HOST}/;SharedAccessKeyName=Root;SharedAccessKey={KEY}"
LOCAL = f"Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=Root;SharedAccessKey={KEY};UseDevelopmentEmulator="


def access(
    namespace: Any = None,
    entity: Any = "orders",
    *,
    factory: Any = None,
    credential: Any = None,
    connection_string: Any = None,
) -> AmqpAccess:
    """Check what is given, as the clients do."""
    return AmqpAccess(
        namespace,
        entity,
        factory,
        credential,
        connection_string,
        scope="https://eventhubs.azure.net//.default",
        entity_argument="eventhub_name",
        namespace_argument="eventhub_namespace",
    )


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"credential": AzureNamedKeyCredential("n", KEY), "connection_string": GOOD},
        ValueError,
        "not credential and connection_string",
    ),
    ({"namespace": HOST, "credential": KEY}, TypeError, "credential must not be a text: write credential=AzureNamed"),
    ({"namespace": HOST, "credential": SyncDefaultAzureCredential()}, TypeError, r"azure\.identity\.aio"),
    ({"namespace": HOST, "factory": SyncDefaultAzureCredential}, TypeError, r"azure\.identity\.aio"),
    ({"factory": CountingCredential}, ValueError, "eventhub_namespace must be the namespace's host"),
    ({"namespace": 5, "factory": CountingCredential}, ValueError, "eventhub_namespace must be the namespace's host"),
    ({"namespace": "ftp://x", "factory": CountingCredential}, ValueError, "must be the namespace's host"),
    ({"namespace": "sb://user@x", "factory": CountingCredential}, ValueError, "must be the namespace's host"),
    ({"namespace": "host:port", "factory": CountingCredential}, ValueError, "must be the namespace's host"),
    ({"namespace": GOOD, "factory": CountingCredential}, ValueError, "pass it as connection_string="),
    ({"namespace": HOST, "entity": "", "factory": CountingCredential}, ValueError, "eventhub_name must be the name"),
    ({"namespace": HOST, "entity": None, "factory": CountingCredential}, ValueError, "eventhub_name must be the name"),
    ({"connection_string": GOOD, "entity": None}, ValueError, "eventhub_name must be the name of one"),
    ({"connection_string": GOOD, "namespace": "other.net"}, ValueError, "name different namespaces: leave one out"),
    ({"connection_string": f"{GOOD};EntityPath=other"}, ValueError, "EntityPath='other' differ: leave one out"),
    ({"connection_string": ""}, ValueError, "connection_string must read Endpoint="),
    ({"connection_string": 7}, ValueError, "connection_string must read Endpoint="),
    ({"connection_string": KEY}, ValueError, "connection_string must read Endpoint="),
    ({"connection_string": f"{HOST};{GOOD}"}, ValueError, "connection_string must read Endpoint="),
    ({"connection_string": f"Endpoint=sb://{HOST}/"}, ValueError, "connection_string must read Endpoint="),
    ({"connection_string": f"{GOOD};SharedAccessSignature={KEY}"}, ValueError, "or have SharedAccessSignature"),
    ({"connection_string": GOOD.replace("SharedAccessKeyName=Root;", "")}, ValueError, "connection_string must read"),
    ({"connection_string": GOOD.replace(f"sb://{HOST}/", KEY + ";")}, ValueError, "connection_string must read"),
    ({"connection_string": GOOD.replace("Endpoint", "endpoint")}, ValueError, "endpoint must be written Endpoint"),
    ({"connection_string": f"{GOOD};entitypath=x"}, ValueError, "entitypath must be written EntityPath"),
    ({"connection_string": f"{GOOD};SharedAccessKey=x"}, ValueError, "has SharedAccessKey twice: leave one out"),
    ({"connection_string": f"{GOOD};SharedAccessKeyName=x;"}, ValueError, "has SharedAccessKeyName twice"),
    (
        {"connection_string": f"Endpoint=sb://{HOST}/;SharedAccessKeyName=Root;SharedAccessSignature={KEY}"},
        ValueError,
        "or have SharedAccessSignature=<signature> in place of key and name",
    ),
    (
        {"connection_string": GOOD.replace(HOST, "a,b")},
        ValueError,
        "the connection string's Endpoint must be the names",
    ),
    (
        {"namespace": HOST, "entity": GOOD, "factory": CountingCredential},
        ValueError,
        "eventhub_name holds a connection",
    ),
    ({"namespace": HOST, "entity": 5, "factory": CountingCredential}, ValueError, "in the namespace, not 5"),
    ({"connection_string": LOCAL + "True"}, ValueError, "must be written true, in small letters, not 'True'"),
    ({"connection_string": LOCAL.replace("Use", "use") + "true"}, ValueError, "must be written UseDevelopmentEmulator"),
    ({"connection_string": f"{GOOD};UseDevelopmentEmulator=true"}, ValueError, f"this machine only, not for {HOST}"),
]


@pytest.mark.parametrize(("given", "kind", "words"), REFUSED)
def test_what_is_refused_when_it_is_given(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    """Each mistake is told at once, before anything is opened, and no message repeats a key."""
    with pytest.raises(kind, match=words) as raised:
        access(**given)
    assert KEY not in f"{raised.value!r}"


@pytest.mark.parametrize(
    ("given", "host", "uses_tls"),
    [
        ({"connection_string": GOOD}, HOST, True),
        ({"connection_string": f" {GOOD}; "}, HOST, True),
        ({"connection_string": f"{GOOD};HostName=elsewhere.example;EntityPath="}, HOST, True),
        ({"connection_string": f"{GOOD};EntityPath=orders", "entity": None}, HOST, True),
        ({"connection_string": GOOD, "namespace": f"sb://{HOST}/"}, HOST, True),
        ({"connection_string": f"Endpoint=sb://{HOST}/;SharedAccessSignature=SharedAccessSignature sr=x"}, HOST, True),
        ({"connection_string": LOCAL + "true"}, "127.0.0.1:5672", False),
        ({"connection_string": LOCAL + "false"}, "127.0.0.1:5672", True),
        ({"connection_string": LOCAL.replace("127.0.0.1", "localhost") + "true"}, "localhost:5672", False),
        ({"connection_string": LOCAL.replace("127.0.0.1", "[::1]") + "true"}, "[::1]:5672", False),
        ({"namespace": HOST, "factory": CountingCredential}, HOST, True),
        ({"namespace": f"https://{HOST}:443/", "factory": CountingCredential}, f"{HOST}:443", True),
        ({"namespace": HOST, "credential": AzureNamedKeyCredential("n", KEY)}, HOST, True),
    ],
)
def test_what_is_taken(given: dict[str, Any], host: str, uses_tls: bool) -> None:
    """A host, a URL and every form of connection string name the namespace; only a local emulator goes without TLS."""
    made = access(**given)
    assert (made.namespace, made.entity, made.uses_tls) == (host, "orders", uses_tls)


@pytest.mark.parametrize("kind", [ManagedAzureEventhubProducer, ManagedAzureServiceBusSender])
@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"send_timeout_seconds": 0}, ValueError, "send_timeout_seconds must be a number of seconds above 0, not 0"),
        ({"send_timeout_seconds": float("inf")}, ValueError, "send_timeout_seconds must be"),
        ({"send_timeout_seconds": float("nan")}, ValueError, "send_timeout_seconds must be"),
        ({"send_timeout_seconds": True}, ValueError, "send_timeout_seconds must be"),
        ({"send_timeout_seconds": "5"}, ValueError, "send_timeout_seconds must be"),
        ({"send_attempts": 0}, ValueError, "send_attempts must be a whole number of at least 1, not 0"),
        ({"send_attempts": 1.5}, ValueError, "send_attempts must be"),
        ({"window": 0}, ValueError, "window must be a whole number of at least 1, not 0"),
        ({"window": True}, ValueError, "window must be"),
        ({"ready_message": 5}, TypeError, "must be bytes"),
        ({"client_options": {"keep_alive": 30}}, ValueError, "client_options must not hold 'keep_alive'"),
        ({"client_options": {"credential": None}}, ValueError, "client_options must not hold 'credential'"),
        ({"client_options": {"uamqp_transport": True}}, ValueError, "client_options must not hold 'uamqp_transport'"),
        ({"max_size": 0}, ValueError, "max_size"),
        ({"unheard_of": 1}, TypeError, "unheard_of"),
    ],
)
def test_what_a_managed_client_refuses(kind: Any, given: dict[str, Any], error: type[Exception], words: str) -> None:
    """Numbers out of bounds and options that are the pool's are told by name when the client is made."""
    with pytest.raises(error, match=words):
        kind(None, "orders", connection_string=GOOD, **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eventhub_transport_type": "Amqp"}, "must be an azure.eventhub.TransportType or None, not 'Amqp'"),
        ({"client_options": {"transport_type": None}}, "must not hold 'transport_type'"),
        ({"client_options": {"buffered_mode": True}}, "must not hold 'buffered_mode'"),
        ({"client_options": {"auth_timeout": 1}}, "must not hold 'auth_timeout'"),
        ({"client_options": {"eventhub_name": "x"}}, "must not hold 'eventhub_name'"),
    ],
)
def test_what_event_hubs_refuses_besides(given: dict[str, Any], words: str) -> None:
    """What has an argument of its own, or is the pool's, cannot be given a second time."""
    with pytest.raises(ValueError, match=words):
        ManagedAzureEventhubProducer(None, "orders", connection_string=GOOD, **given)


def test_messages_name_each_service_s_own_arguments() -> None:
    """An error calls an argument what its caller calls it."""
    with pytest.raises(ValueError, match="service_bus_queue_name must be"):
        AzureServiceBus(connection_string=GOOD)
    with pytest.raises(ValueError, match="service_bus_namespace_url must be"):
        AzureServiceBus(service_bus_queue_name="work", credential_factory=CountingCredential)
    with pytest.raises(ValueError, match="eventhub_name must be"):
        Eventhub(connection_string=GOOD)


def test_a_basic_eventhub_takes_a_credential_in_the_place_of_its_factory() -> None:
    """As in aio-azure-clients-toolbox, the third argument may be a credential itself; the class of one stays a factory."""
    Eventhub(HOST, "orders", CountingCredential())
    Eventhub(HOST, "orders", CountingCredential)
    assert len(CountingCredential.made) == 1
    with pytest.raises(TypeError, match=r"azure\.identity\.aio"):
        Eventhub(HOST, "orders", SyncDefaultAzureCredential())  # type: ignore[arg-type]


EVENTS: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("send_event", (5,), {}, TypeError, r"an event must be bytes or text, not int: json\.dumps"),
    ("send_event", ({"a": 1},), {}, TypeError, "an event must be bytes or text, not dict"),
    ("send_event", ("x", "key"), {"partition_id": "1"}, ValueError, "give a partition_key or a partition_id, not both"),
    ("send_event", ("x", 5), {}, TypeError, r"partition_key must be a text, not int: write str"),
    ("send_event", ("x",), {"partition_id": 1}, TypeError, "partition_id must be a text such as '0', not int"),
    ("send_event_data", ("x",), {}, TypeError, r"event must be an EventData, not str: send_event\(\)"),
    ("send_events_batch", ("text",), {}, TypeError, r"must be several events: send_event\(\) takes one"),
    ("send_events_batch", ([],), {}, ValueError, "the batch holds no event"),
    ("send_events_batch", ([5],), {}, TypeError, "an event must be bytes or text, not int"),
    ("send_events_batch", (["x"], "key"), {"partition_id": "1"}, ValueError, "not both"),
    ("send_events_data_batch", (["x"],), {}, TypeError, r"must be an EventDataBatch, not list: send_events_batch\(\)"),
]


@pytest.mark.parametrize(("method", "arguments", "options", "kind", "words"), EVENTS)
async def test_events_that_cannot_be_sent(
    hub: Hub, method: str, arguments: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """What is no event is told with what to write instead, and costs the connection nothing."""
    async with hub.client() as client:
        with pytest.raises(kind, match=words):
            await getattr(client, method)(*arguments, **options)
        await client.send_event("after")
        assert (hub.transfers, hub.count("OPEN")) == (1, 1)


async def test_what_the_sdk_cannot_encode_fails_alone(hub: Hub, queue: Queue) -> None:
    """A property that AMQP cannot hold fails its own message with the SDK's error, not as one that is too large."""
    event = EventData("bad")
    event.properties = {"huge": 2**70}
    message = ServiceBusMessage("bad", application_properties={"huge": 2**70})
    async with hub.client() as events, queue.client() as messages:
        with pytest.raises(Exception, match=r".") as raised:
            await events.send_event_data(event)
        assert not isinstance(raised.value, MessageTooLarge)
        with pytest.raises(Exception, match=r".") as raised:
            await messages.send_messages(message)
        assert not isinstance(raised.value, MessageTooLarge)
        await events.send_event("good")
        await messages.send_message("good")
        assert (hub.stored(), queue.stored(), hub.count("OPEN")) == ([b"good"], [b"good"], 2)
