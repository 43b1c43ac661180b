"""What Event Grid's clients say about bad input: what is wrong, what to write instead, and never a secret."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.identity import DefaultAzureCredential as SyncDefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential

from fastapi_azure_pool import EventGridClient, EventGridConfig, EventGridTopicConfig, ManagedEventGridPublisher
from tests.clients.credentials import CountingCredential

URL = "https://shop.westeurope-1.eventgrid.azure.net/api/events"
KEY = "cGxhbnRlZC1zZWNyZXQ="
SIGNATURE = "r=https%3a%2f%2fshop&e=planted&s=planted"
TOPIC = EventGridTopicConfig("orders", URL)
CONFIG = EventGridConfig(TOPIC)
PLAIN = EventGridConfig(EventGridTopicConfig("orders", "http://127.0.0.1:8083/topics/orders/api/events"))


def test_topics_by_name() -> None:
    """A configuration of one topic or of several gives names, endpoints and configurations, in the order given."""
    other = EventGridTopicConfig("cloud", URL, "CloudEventSchemaV1_0", source="/shop")
    config = EventGridConfig(iter([TOPIC, other]))
    assert EventGridConfig(TOPIC).topics() == ["orders"]
    assert config.topics() == ["orders", "cloud"]
    assert (config.config("cloud"), config.url("orders")) == (other, URL)
    assert config.topic_configs == {"orders": TOPIC, "cloud": other}
    assert repr(config) == "<EventGridConfig orders, cloud>"
    assert (TOPIC.schema, TOPIC.source) == ("EventGridSchema", None)
    for look_up in (config.config, config.url):
        with pytest.raises(KeyError, match=r"no Event Grid topic 'missing' .* there are orders, cloud"):
            look_up("missing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "name must be what the application calls the topic, not ''"),
        ({"name": None}, "name must be what the application calls the topic, not None"),
        ({"url": None}, "url of topic 'orders' must be its endpoint, such as https://<topic>"),
        ({"url": ""}, "must be its endpoint"),
        ({"url": "shop.westeurope-1.eventgrid.azure.net/api/events"}, "must be its endpoint"),
        ({"url": "https://shop.westeurope-1.eventgrid.azure.net"}, "must be its endpoint, .*/api/events"),
        ({"url": "https://shop.westeurope-1.eventgrid.azure.net/"}, "must be its endpoint"),
        ({"url": "ftp://shop/api/events"}, "must be its endpoint"),
        ({"url": "https:///api/events"}, "must be its endpoint"),
        ({"url": "https://[::1/api/events"}, "must be its endpoint"),
        ({"url": "https://shop:port/api/events"}, "must be its endpoint"),
        ({"url": "https://planted:secret@shop/api/events"}, "must be its endpoint"),
        ({"url": KEY}, "must be its endpoint"),
        ({"schema": KEY}, "must be one of EventGridSchema, CloudEventSchemaV1_0, not a text of"),
        (
            {"schema": "CustomEventSchema"},
            "must be one of EventGridSchema, CloudEventSchemaV1_0, not 'CustomEventSchema'",
        ),
        ({"source": ""}, "source of topic 'orders' must be a URI reference"),
    ],
)
def test_a_malformed_topic(arguments: dict[str, Any], message: str) -> None:
    """Each malformed field of a topic raises ValueError that names the topic and what to write."""
    with pytest.raises(ValueError, match=message) as raised:
        EventGridTopicConfig(**{"name": "orders", "url": URL, **arguments})
    assert_no_secret(raised.value)


@pytest.mark.parametrize(
    ("topics", "error", "message"),
    [
        ([], ValueError, "topic_configs is empty: give at least one"),
        ([TOPIC, TOPIC], ValueError, "topic_configs names 'orders' twice: give each topic a name of its own"),
        ([URL], TypeError, r"topic_configs must hold EventGridTopicConfig\(name, url\), not str"),
    ],
)
def test_malformed_configurations(topics: Any, error: type[Exception], message: str) -> None:
    """No topic, one name twice, and what is no topic are refused."""
    with pytest.raises(error, match=message):
        EventGridConfig(topics)


class Bare:
    """An async credential that cannot be closed."""

    async def get_token(self, *scopes: str) -> None:
        """Give nothing."""


class Wrapping:
    """An async credential whose get_token is a plain function that returns an awaitable."""

    def get_token(self, *scopes: str) -> Any:
        """Give nothing."""
        return Bare().get_token(*scopes)

    async def __aenter__(self) -> None:
        """Do nothing."""

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""


GOOD: list[Any] = [
    KEY,
    AzureKeyCredential(KEY),
    AzureSasCredential(SIGNATURE),
    CountingCredential(),
]


@pytest.mark.parametrize("credential", GOOD)
def test_good_credentials_are_taken(credential: Any) -> None:
    """A key, a signature and an async credential are taken, with no I/O; no repr shows a key."""
    managed = ManagedEventGridPublisher(CONFIG, credential=credential)
    basic = EventGridClient(CONFIG, async_credential=credential)
    for client in (managed, basic):
        assert "planted" not in repr(client)
        assert KEY not in repr(client)
    assert (basic.is_sync(), basic.async_credential, basic.credential) == (False, credential, None)
    assert ManagedEventGridPublisher(CONFIG).config is CONFIG
    assert ManagedEventGridPublisher(CONFIG, CountingCredential).config is CONFIG
    assert ManagedEventGridPublisher(PLAIN, credential=KEY).config is PLAIN


def test_good_sync_credentials_are_taken() -> None:
    """A key, a signature and a credential from azure.identity make a sync client."""
    for credential in (*GOOD[:3], SyncDefaultAzureCredential()):
        client = EventGridClient(CONFIG, credential)
        assert (client.is_sync(), client.credential) == (True, credential)
        client.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"credential_factory": CountingCredential, "credential": KEY},
            "exactly one of credential_factory= and credential= .*, not credential_factory and credential",
        ),
        ({"credential": "planted secret"}, "credential must be the topics' key as the portal shows it, in base64"),
        ({"credential": "plänted"}, "credential must be the topics' key"),
        ({"credential": ""}, "credential must be the topics' key"),
        ({"credential": AzureKeyCredential("planted secret")}, "credential must be the topics' key"),
        ({"credential": SIGNATURE}, r"holds a shared access signature: pass AzureSasCredential\(<signature>\)"),
        ({"config": PLAIN, "credential": CountingCredential()}, "topic 'orders' is not https, .* or give a key"),
        ({"config": PLAIN, "credential_factory": CountingCredential}, "topic 'orders' is not https"),
        ({"config": PLAIN}, "topic 'orders' is not https"),
        ({"credential": KEY, "client_options": {"transport": None}}, "client_options must not hold 'transport'"),
        (
            {"credential": KEY, "client_options": {"namespace_topic": "a"}},
            "client_options must not hold 'namespace_topic'",
        ),
        (
            {"credential": KEY, "burst_limit": 9},
            r"burst_limit must be a whole number of at least 10 \(max_size\), not 9",
        ),
    ],
)
def test_bad_input_is_told_with_what_to_write_instead(arguments: dict[str, Any], message: str) -> None:
    """Each malformed argument, and more than one authentication, raises ValueError that says what to write."""
    with pytest.raises(ValueError, match=message) as raised:
        ManagedEventGridPublisher(**{"config": CONFIG, **arguments})
    assert_no_secret(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of credential= and async_credential=, not none"),
        ({"credential": KEY, "async_credential": KEY}, "exactly one of credential= and async_credential=, not both"),
        ({"credential": "planted secret"}, "credential must be the topics' key"),
        ({"async_credential": "planted secret"}, "async_credential must be the topics' key"),
        ({"config": PLAIN, "credential": SyncDefaultAzureCredential()}, "topic 'orders' is not https"),
        ({"config": PLAIN, "async_credential": CountingCredential()}, "topic 'orders' is not https"),
        ({"credential": KEY, "client_options": {"retry_total": 0}}, "client_options are for the async client"),
    ],
)
def test_bad_input_of_the_basic_client(arguments: dict[str, Any], message: str) -> None:
    """The basic client says as much."""
    with pytest.raises(ValueError, match=message) as raised:
        EventGridClient(**{"config": CONFIG, **arguments})
    assert_no_secret(raised.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (
            ManagedEventGridPublisher,
            {"credential": SyncDefaultAzureCredential()},
            "the sync Default.*azure.identity.aio",
        ),
        (ManagedEventGridPublisher, {"credential_factory": SyncDefaultAzureCredential}, "sync.*azure.identity.aio"),
        (ManagedEventGridPublisher, {"credential_factory": KEY}, "credential_factory must be a function"),
        (EventGridClient, {"async_credential": SyncDefaultAzureCredential()}, "the sync Default.*azure.identity.aio"),
        (
            EventGridClient,
            {"credential": DefaultAzureCredential()},
            "the async DefaultAzureCredential: use the sync one from azure.identity, or pass this one as async_credential=",
        ),
        (EventGridClient, {"credential": CountingCredential()}, "the async CountingCredential"),
        (EventGridClient, {"credential": Bare()}, "the async Bare"),
        (EventGridClient, {"credential": Wrapping()}, "the async Wrapping"),
        (EventGridClient, {"credential": {"key": KEY}}, "must be a credential from azure.identity, or a key, not dict"),
        (ManagedEventGridPublisher, {"credential": {"key": KEY}}, "must be an async credential, not dict"),
        (
            ManagedEventGridPublisher,
            {"config": [TOPIC], "credential": KEY},
            "config must be an EventGridConfig, .* not list",
        ),
        (EventGridClient, {"config": TOPIC, "credential": KEY}, "config must be an EventGridConfig"),
        (ManagedEventGridPublisher, {"credential": KEY, "max_sise": 9}, "max_sise"),
    ],
)
def test_what_is_of_the_wrong_kind(kind: type[Any], arguments: dict[str, Any], message: str) -> None:
    """A sync credential in the place of an async one, or the other way round, and what is none, raise TypeError at once."""
    with pytest.raises(TypeError, match=message) as raised:
        kind(**{"config": CONFIG, **arguments})
    assert_no_secret(raised.value)


def assert_no_secret(error: BaseException) -> None:
    """Check that neither an error nor what it was raised from repeats what was planted."""
    seen: BaseException | None = error
    while seen is not None:
        for secret in (KEY, "planted", "plänted"):
            assert secret not in f"{seen} {seen!r}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
