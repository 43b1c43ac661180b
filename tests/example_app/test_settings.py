"""What the environment can set, and what it is told when it is wrong."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from example_app.settings import Settings, explain


def test_nothing_set_means_port_8000_and_the_emulator() -> None:
    """Without any variable the service listens on 8000 and has no account."""
    assert Settings().model_dump() == {
        "port": 8000,
        "azure_cosmos_endpoint": None,
        "azure_cosmos_database": "shop",
        "azure_cosmos_container": "orders",
    }


def test_every_setting_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is read from the variable of its name in capitals."""
    monkeypatch.setenv("PORT", "65535")
    monkeypatch.setenv("AZURE_COSMOS_ENDPOINT", "https://shop.documents.azure.com:443/")
    monkeypatch.setenv("AZURE_COSMOS_DATABASE", "tea")
    monkeypatch.setenv("AZURE_COSMOS_CONTAINER", "sales")
    settings = Settings()
    assert settings.port == 65535
    assert str(settings.azure_cosmos_endpoint) == "https://shop.documents.azure.com/"
    assert (settings.azure_cosmos_database, settings.azure_cosmos_container) == ("tea", "sales")


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as a shell script or a compose file leaves it, means the default."""
    for name in ("PORT", "AZURE_COSMOS_ENDPOINT", "AZURE_COSMOS_DATABASE", "AZURE_COSMOS_CONTAINER"):
        monkeypatch.setenv(name, "")
    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "0", "PORT: Input should be greater than or equal to 1"),
        ("PORT", "65536", "PORT: Input should be less than or equal to 65535"),
        ("PORT", "http", "PORT: Input should be a valid integer, unable to parse string as an integer"),
        ("AZURE_COSMOS_ENDPOINT", "http://127.0.0.1:8081", "AZURE_COSMOS_ENDPOINT: URL scheme should be 'https'"),
        ("AZURE_COSMOS_CONTAINER", "a/b", r"AZURE_COSMOS_CONTAINER: String should match pattern '^[^/\\?#]{1,255}$'"),
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
