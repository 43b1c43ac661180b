"""What a Cosmos DB client says about bad input: what is wrong, what to write instead, and never a secret."""

from __future__ import annotations

from typing import Any

import pytest
from azure.identity import DefaultAzureCredential as SyncDefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential

from fastapi_azure_pool import Cosmos, ManagedCosmos
from tests.clients.credentials import CountingCredential

ENDPOINT = "https://shop.documents.azure.com"
KEY = "cGxhbnRlZC1zZWNyZXQ="
CONNECTION_STRING = f"AccountEndpoint={ENDPOINT}:443/;AccountKey={KEY};"

both = pytest.mark.parametrize("kind", [Cosmos, ManagedCosmos])


def given(**change: Any) -> dict[str, Any]:
    """Give good arguments, with a change; None takes one out."""
    arguments = {
        "endpoint": ENDPOINT,
        "dbname": "shop",
        "container_name": "orders",
        "credential": KEY,
        **change,
    }
    return {name: value for name, value in arguments.items() if value is not None}


@both
@pytest.mark.parametrize(
    "arguments",
    [
        given(),
        given(credential=CountingCredential()),
        given(credential=None, credential_factory=DefaultAzureCredential),
        given(credential=None, credential_factory=CountingCredential),
        given(credential=None, endpoint=None, connection_string=CONNECTION_STRING),
        given(credential=None, endpoint=None, connection_string=CONNECTION_STRING.rstrip(";")),
        given(endpoint="http://localhost:8081/"),
        given(endpoint="https://[::1]:8081"),
    ],
)
def test_good_input_is_taken(kind: type[Any], arguments: dict[str, Any]) -> None:
    """A key, an async credential, a credential factory or a connection string authenticates; making a client does no I/O."""
    assert isinstance(kind(**arguments), kind)


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"credential_factory": CountingCredential},
            r"exactly one of credential_factory=, credential= .* and connection_string=, not credential_factory and credential",
        ),
        ({"connection_string": CONNECTION_STRING}, "exactly one of .*, not credential and connection_string"),
        (
            {"credential_factory": CountingCredential, "connection_string": CONNECTION_STRING},
            "not credential_factory and credential and connection_string",
        ),
        (
            {"credential": None, "connection_string": CONNECTION_STRING},
            "connection_string= names the endpoint already: leave endpoint out",
        ),
        ({"endpoint": None}, r"endpoint is missing: give the account's URL, such as https://<account>"),
        ({"endpoint": "shop.documents.azure.com"}, "endpoint must be the account's URL, such as https://<account>"),
        ({"endpoint": "ftp://shop.documents.azure.com"}, "endpoint must be the account's URL"),
        ({"endpoint": "https://"}, "endpoint must be the account's URL"),
        ({"endpoint": "https://shop:port"}, "endpoint must be the account's URL"),
        ({"endpoint": "https://shop:0"}, "endpoint must be the account's URL"),
        ({"endpoint": "https://[::1"}, "endpoint must be the account's URL"),
        ({"endpoint": "https://planted:secret@shop.documents.azure.com"}, "endpoint must be the account's URL"),
        ({"endpoint": "https://shop.documents.azure.com?planted"}, "endpoint must be the account's URL"),
        ({"endpoint": "https://shop.documents.azure.com#planted"}, "endpoint must be the account's URL"),
        ({"endpoint": 443}, "endpoint must be the account's URL"),
        ({"endpoint": b"https://shop.documents.azure.com"}, "endpoint must be the account's URL"),
        ({"endpoint": CONNECTION_STRING}, "endpoint holds a connection string: pass it as connection_string="),
        ({"dbname": None}, "dbname must be the name of one in the account, not None"),
        ({"dbname": ""}, "dbname must be the name of one in the account, not ''"),
        ({"container_name": None}, "container_name must be the name of one in the account, not None"),
        ({"container_name": 5}, "container_name must be the name of one in the account, not 5"),
        ({"dbname": KEY.encode()}, "dbname must be the name of one in the account, not a bytes"),
        ({"dbname": CONNECTION_STRING}, "dbname holds a connection string: pass it as connection_string="),
        ({"container_name": CONNECTION_STRING}, "container_name holds a connection string: pass it as connection_str"),
        ({"credential": "planted secret"}, "credential must be the account's key as the portal shows it, in base64"),
        ({"credential": "plänted"}, "credential must be the account's key as the portal shows it, in base64"),
        ({"credential": ""}, "credential must be the account's key as the portal shows it, in base64"),
        ({"credential": CONNECTION_STRING}, "credential holds a connection string: pass it as connection_string="),
    ],
)
def test_bad_input_is_told_with_what_to_write_instead(kind: type[Any], change: dict[str, Any], message: str) -> None:
    """Each malformed argument, and more authentications than one, raises ValueError that says what to write."""
    with pytest.raises(ValueError, match=message) as raised:
        kind(**given(**change))
    assert_no_secret(raised.value)


@both
@pytest.mark.parametrize(
    "text",
    [
        "",
        "AccountEndpoint=https://shop.documents.azure.com:443/",
        f"AccountKey={KEY}",
        f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKey={KEY}",
        KEY,
        5,
    ],
)
def test_a_malformed_connection_string_is_told_how_one_reads(kind: type[Any], text: object) -> None:
    """A connection string without an endpoint or a key raises ValueError that shows how one reads, without repeating it."""
    with pytest.raises(ValueError, match=r"must read AccountEndpoint=https://<account>.*;AccountKey=<key>;") as raised:
        kind(**given(credential=None, endpoint=None, connection_string=text))
    assert_no_secret(raised.value)


@both
@pytest.mark.parametrize("key", ["planted secret", "plänted"])
def test_a_malformed_key_in_a_connection_string(kind: type[Any], key: str) -> None:
    """A key that is no base64 is told so, and not repeated."""
    text = f"AccountEndpoint={ENDPOINT};AccountKey={key}"
    with pytest.raises(
        ValueError, match=r"connection string's AccountKey must be the account's key .* base64"
    ) as raised:
        kind(**given(credential=None, endpoint=None, connection_string=text))
    assert_no_secret(raised.value)


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"credential": SyncDefaultAzureCredential()}, "credential is the sync DefaultAzureCredential"),
        (
            {"credential": None, "credential_factory": SyncDefaultAzureCredential},
            "credential_factory is the sync DefaultAzureCredential",
        ),
        (
            {"credential": None, "credential_factory": CountingCredential()},
            "credential_factory must be a function without arguments",
        ),
        ({"credential": None, "credential_factory": KEY}, "credential_factory must be a function .*, not a str"),
        ({"credential": {"resource": "token"}}, "credential must be an async credential, not dict"),
    ],
)
def test_what_is_no_async_credential(kind: type[Any], change: dict[str, Any], message: str) -> None:
    """A sync credential, a credential in the place of its factory, or anything else raises TypeError naming azure.identity.aio."""
    with pytest.raises(TypeError, match=message) as raised:
        kind(**given(**change))
    assert "azure.identity.aio" in str(raised.value)
    assert_no_secret(raised.value)


def test_a_burst_limit_below_max_size_is_refused() -> None:
    """Sizes are checked when the client is made, like any other argument."""
    with pytest.raises(ValueError, match=r"burst_limit must be a whole number of at least 10 \(max_size\), not 9"):
        ManagedCosmos(**given(), burst_limit=9)


def test_an_unknown_argument_is_refused() -> None:
    """A misspelt size raises TypeError that names it."""
    with pytest.raises(TypeError, match="max_sise"):
        ManagedCosmos(**given(max_sise=9))


def assert_no_secret(error: BaseException) -> None:
    """Check that neither an error nor what it was raised from repeats what was planted."""
    while error is not None:
        for secret in (KEY, "planted", "plänted"):
            assert secret not in f"{error} {error!r}"
        if error.__suppress_context__ and error.__cause__ is None:
            return
        cause = error.__cause__ or error.__context__
        if cause is None:
            return
        error = cause
