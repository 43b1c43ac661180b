"""An emulator whose keys are planted, the services of it, and a log of everything."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from fastapi_azure_pool.testing import BackgroundEmulator
from tests.clients.conftest import ENVIRONMENT
from tests.secrets.planted import GOOD_KEY
from tests.secrets.services import SERVICES, Service

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no identity in the environment."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # The SDK asks an account that refuses it four times, half a second apart; here, without waiting.
    monkeypatch.setenv("AZURE_COSMOS_HEALTH_CHECK_RETRY_AFTER_MS", "1")


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BackgroundEmulator, str]]:
    """An emulator with TLS, planted keys and an entity of each service; and the file with its certificate."""
    keys = dict.fromkeys(("cosmos_key", "amqp_key", "eventgrid_key", "storage_key"), GOOD_KEY)
    with BackgroundEmulator(tls=True, **keys) as azure:
        azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        azure.create_eventhub("orders")
        azure.create_queue("invoices")
        azure.create_blob_container("files")
        azure.create_eventgrid_topic("orders")
        certificate = tmp_path_factory.mktemp("emulator") / "certificate.pem"
        certificate.write_text(azure.certificate)
        yield azure, str(certificate)


@pytest.fixture
def azure(certified: tuple[BackgroundEmulator, str]) -> Iterator[BackgroundEmulator]:
    """The emulator, without the faults of the test before."""
    azure, _ = certified
    yield azure
    azure.recover()


@pytest.fixture(params=SERVICES, ids=lambda service: service.__name__)
def service(request: pytest.FixtureRequest, azure: BackgroundEmulator, certified: tuple[object, str]) -> Service:
    """Each service."""
    _, certificate = certified
    kind: type[Service] = request.param
    return kind(azure, certificate)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged, by this library and by what it uses, down to DEBUG."""
    caplog.set_level(logging.DEBUG)
    return caplog
