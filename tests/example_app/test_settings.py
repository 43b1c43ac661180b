"""What the environment can set, and what it is told when it is wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from example_app.settings import Settings, explain

ALL_OR_NONE = "set all 5 for Azure, or none of them for the local emulator"
ON_THE_EMULATOR = "on the local emulator, which keeps hubs and queues in one namespace"


def test_nothing_set_means_port_8000_and_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any variable the service listens on 8000, has no account, and confirms orders."""
    monkeypatch.delenv("CONFIRM_ORDERS")
    assert Settings().model_dump() == {
        "port": 8000,
        "azure_cosmos_endpoint": None,
        "azure_cosmos_database": "shop",
        "azure_cosmos_container": "orders",
        "azure_eventhub_namespace": None,
        "azure_eventhub_name": "order-events",
        "azure_servicebus_namespace": None,
        "azure_servicebus_queue": "confirmations",
        "azure_storage_blob_endpoint": None,
        "azure_storage_container": "invoices",
        "azure_eventgrid_topic_endpoint": None,
        "confirm_orders": True,
        "sweep_seconds": 30.0,
    }


def test_every_setting_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is read from the variable of its name in capitals."""
    monkeypatch.setenv("PORT", "65535")
    monkeypatch.setenv("AZURE_COSMOS_ENDPOINT", "https://shop.documents.azure.com:443/")
    monkeypatch.setenv("AZURE_COSMOS_DATABASE", "tea")
    monkeypatch.setenv("AZURE_COSMOS_CONTAINER", "sales")
    monkeypatch.setenv("AZURE_EVENTHUB_NAMESPACE", "tea-events.servicebus.windows.net")
    monkeypatch.setenv("AZURE_EVENTHUB_NAME", "sales")
    monkeypatch.setenv("AZURE_SERVICEBUS_NAMESPACE", "tea.servicebus.windows.net")
    monkeypatch.setenv("AZURE_SERVICEBUS_QUEUE", "sales")
    monkeypatch.setenv("AZURE_STORAGE_BLOB_ENDPOINT", "https://tea.blob.core.windows.net")
    monkeypatch.setenv("AZURE_STORAGE_CONTAINER", "tea-invoices")
    monkeypatch.setenv("AZURE_EVENTGRID_TOPIC_ENDPOINT", "https://tea.westeurope-1.eventgrid.azure.net/api/events")
    monkeypatch.setenv("CONFIRM_ORDERS", "no")
    monkeypatch.setenv("SWEEP_SECONDS", "0.5")
    settings = Settings()
    assert settings.port == 65535
    assert str(settings.azure_cosmos_endpoint) == "https://shop.documents.azure.com/"
    assert (settings.azure_cosmos_database, settings.azure_cosmos_container) == ("tea", "sales")
    assert (settings.azure_eventhub_namespace, settings.azure_eventhub_name) == (
        "tea-events.servicebus.windows.net",
        "sales",
    )
    assert (settings.azure_servicebus_namespace, settings.azure_servicebus_queue) == (
        "tea.servicebus.windows.net",
        "sales",
    )
    assert str(settings.azure_storage_blob_endpoint) == "https://tea.blob.core.windows.net/"
    assert settings.azure_storage_container == "tea-invoices"
    topic = settings.azure_eventgrid_topic_endpoint
    assert str(topic) == "https://tea.westeurope-1.eventgrid.azure.net/api/events"
    assert (settings.confirm_orders, settings.sweep_seconds) == (False, 0.5)


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as a shell script or a compose file leaves it, means the default."""
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "0", "PORT: Input should be greater than or equal to 1"),
        ("PORT", "65536", "PORT: Input should be less than or equal to 65535"),
        ("PORT", "http", "PORT: Input should be a valid integer, unable to parse string as an integer"),
        ("AZURE_COSMOS_ENDPOINT", "http://127.0.0.1:8081", "AZURE_COSMOS_ENDPOINT: URL scheme should be 'https'"),
        ("AZURE_COSMOS_CONTAINER", "a/b", r"AZURE_COSMOS_CONTAINER: String should match pattern '^[^/\\?#]{1,255}$'"),
        (
            "AZURE_STORAGE_CONTAINER",
            "Invoices",
            "AZURE_STORAGE_CONTAINER: String should match pattern '^[a-z0-9](-?[a-z0-9]){2,62}$'",
        ),
        ("SWEEP_SECONDS", "0", "SWEEP_SECONDS: Input should be greater than 0"),
        (
            "AZURE_SERVICEBUS_NAMESPACE",
            "Endpoint=sb://shop.servicebus.windows.net",
            "AZURE_SERVICEBUS_NAMESPACE: String should match pattern '^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$'",
        ),
    ],
)
def test_wrong_setting_is_named_with_its_bound(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """A wrong value gives one line with the variable's name and what it should be."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"AZURE_COSMOS_ENDPOINT": "https://shop.documents.azure.com"},
            (
                "AZURE_COSMOS_ENDPOINT without AZURE_EVENTHUB_NAMESPACE and AZURE_SERVICEBUS_NAMESPACE and"
                f" AZURE_STORAGE_BLOB_ENDPOINT and AZURE_EVENTGRID_TOPIC_ENDPOINT: {ALL_OR_NONE}"
            ),
        ),
        (
            {"AZURE_EVENTHUB_NAMESPACE": "shop.servicebus.windows.net", "AZURE_SERVICEBUS_NAMESPACE": "shop"},
            (
                "AZURE_EVENTHUB_NAMESPACE and AZURE_SERVICEBUS_NAMESPACE without AZURE_COSMOS_ENDPOINT and"
                f" AZURE_STORAGE_BLOB_ENDPOINT and AZURE_EVENTGRID_TOPIC_ENDPOINT: {ALL_OR_NONE}"
            ),
        ),
        (
            {"AZURE_EVENTHUB_NAME": "orders", "AZURE_SERVICEBUS_QUEUE": "orders"},
            f"AZURE_EVENTHUB_NAME and AZURE_SERVICEBUS_QUEUE must differ {ON_THE_EMULATOR}",
        ),
    ],
)
def test_mixture_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], message: str
) -> None:
    """Azure for one service and the emulator for another is refused, as is one name for a hub and a queue of the emulator."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value) == message


def test_connection_string_in_place_of_an_endpoint_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the explanation nor the error itself shows what was given, which may hold a key."""
    monkeypatch.setenv(
        "AZURE_COSMOS_ENDPOINT", "AccountEndpoint=https://shop.documents.azure.com/;AccountKey=c2VjcmV0;"
    )
    with pytest.raises(ValidationError) as caught:
        Settings()
    for text in (explain(caught.value), str(caught.value), repr(caught.value)):
        assert "AZURE_COSMOS_ENDPOINT" in text.upper()
        assert "c2VjcmV0" not in text


AZURE = {
    "azure_cosmos_endpoint": "https://shop.documents.azure.com:443/",
    "azure_eventhub_namespace": "shop.servicebus.windows.net",
    "azure_servicebus_namespace": "shop.servicebus.windows.net",
    "azure_storage_blob_endpoint": "https://shop.blob.core.windows.net",
    "azure_eventgrid_topic_endpoint": "https://shop.westeurope-1.eventgrid.azure.net/api/events",
}
SECRETS = ("cGw0bnRlZA", "pl4nted")
texts = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        [
            "AccountEndpoint=https://shop.documents.azure.com:443/;AccountKey=cGw0bnRlZA==;",
            "https://shop.blob.core.windows.net?sv=2024-11-04&sig=pl4nted",
            "https://me:pl4nted@shop.documents.azure.com",
            "https://shop.documents.azure.com#pl4nted",
            "https://shop.documents.azure.com",
            "sb://Root:pl4nted@shop.servicebus.windows.net",
            "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKey=cGw0bnRlZA==",
            "shop.servicebus.windows.net",
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), texts, max_size=4))
def test_whatever_the_environment_holds_is_taken_or_told_without_it(
    is_for_azure: bool, environment: dict[str, str]
) -> None:
    """Any text in any variable is a setting, or is refused by the variable's name; no secret shows in either."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ((AZURE if is_for_azure else {}) | environment).items():
            patch.setenv(name.upper(), value)
        try:
            shown, problems = repr(Settings()), []
        except ValidationError as error:
            shown, problems = f"{error} {error!r}", explain(error).splitlines()
    assert [secret for secret in SECRETS if secret in f"{shown} {problems}"] == []
    assert [problem for problem in problems if not re.match(r"[A-Z_]+(: | without | and )", problem)] == []
