"""The pytest plugin: local Azure and a running application as fixtures.

Every test session in an environment in which this library is installed loads this module, so it imports the standard library and
pytest only; what a fixture needs is imported when a test uses it. The fixtures are plain functions, and what they give runs on
event loops in threads: they serve tests that are functions and tests that are coroutines alike, whatever plugin runs these. Each
process of pytest-xdist has its own.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastapi_azure_pool.testing.application import Application, RunningApplication
    from fastapi_azure_pool.testing.background import BackgroundEmulator

_EMULATOR_SCOPE = "azure_emulator_scope"
_APP_SCOPE = "azure_pool_app_scope"

_RUNNING = pytest.StashKey["list[BackgroundEmulator]"]()

_NO_APP = """\
azure_pool_app does not know your application: write a fixture azure_app in conftest.py that returns it, or a function that
makes it, or where one of these is found:

    @pytest.fixture
    def azure_app():
        return "shop.main:create_app"
"""

_FOUND = "azure_pool_app had set these environment variables: {}. Override azure_environment for an application with other names."


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the scopes of the fixtures from pytest's configuration."""
    parser.addini(
        _EMULATOR_SCOPE,
        "how long an azure_emulator lives: session (default), package, module, class or function",
        default="session",
    )
    parser.addini(
        _APP_SCOPE,
        "how long an azure_pool_app runs: function (default), class, module, package or session; no longer than its emulator",
        default="function",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Remember the emulators that run."""
    config.stash[_RUNNING] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """End the faults of a test before its fixtures are torn down, so that neither they nor the next test meet them."""
    try:
        for azure in item.config.stash[_RUNNING]:
            azure.recover()
    finally:  # Fixtures that are not torn down would break every test from here on.
        yield


def _emulator_scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest's signature
    return config.getini(_EMULATOR_SCOPE)


def _app_scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest's signature
    return config.getini(_APP_SCOPE)


@pytest.fixture(scope="session")
def azure_emulator_options() -> dict[str, Any]:
    """Options of azure_emulator; override it to return others, such as {"cosmos_partitions": 4}."""
    return {}


@pytest.fixture(scope=_emulator_scope)
def azure_emulator(
    azure_emulator_options: Mapping[str, Any], request: pytest.FixtureRequest
) -> Iterator[BackgroundEmulator]:
    """Local Azure on loopback, one for the test session: endpoints, entities, faults, and what was received."""
    with ExitStack() as stack:
        yield _start_emulator(stack, request.config, azure_emulator_options)


@pytest.fixture
def azure_emulator_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., BackgroundEmulator]]:
    """A function that starts another local Azure, until the test's end; its arguments are options of Emulator."""
    with ExitStack() as stack:

        def start(**options: Any) -> BackgroundEmulator:
            return _start_emulator(stack, request.config, options)

        yield start


@pytest.fixture(scope=_app_scope)
def azure_environment(azure_emulator: BackgroundEmulator) -> Mapping[str, str]:
    """Environment variables that azure_pool_app's application finds; override it where the application has other names."""
    return azure_emulator.environment


@pytest.fixture(scope=_app_scope)
def azure_app() -> Application:
    """The application that azure_pool_app runs; override it to return yours, a function that makes it, or "module:name"."""
    pytest.fail(_NO_APP, pytrace=False)


@pytest.fixture(scope=_app_scope)
def _azure_environment_is_set(azure_environment: Mapping[str, str]) -> Iterator[None]:
    """The variables are set before azure_app is asked, which may import what reads them."""
    with pytest.MonkeyPatch.context() as patch:
        _set_environment(patch, azure_environment)
        yield


@pytest.fixture(scope=_app_scope)
def azure_pool_app(
    _azure_environment_is_set: None, azure_environment: Mapping[str, str], azure_app: Application
) -> Iterator[RunningApplication]:
    """The application that azure_app returns, started on azure_emulator: .client, .async_client(), .pools, .run(), .app."""
    from fastapi_azure_pool.testing.application import RunningApplication  # noqa: PLC0415 - see the module

    with ExitStack() as stack:
        try:
            running = stack.enter_context(RunningApplication(azure_app))
        except Exception as error:
            error.add_note(_FOUND.format(", ".join(azure_environment)))
            raise
        yield running


@pytest.fixture
def azure_pool_app_factory() -> Iterator[Callable[..., RunningApplication]]:
    """A function that starts an application until the test's end: (application, *, environment=None, **options)."""
    from fastapi_azure_pool.testing.application import RunningApplication  # noqa: PLC0415 - see the module

    with ExitStack() as stack:

        def start(
            application: Application, *, environment: Mapping[str, str] | None = None, **options: Any
        ) -> RunningApplication:
            _set_environment(stack.enter_context(pytest.MonkeyPatch.context()), environment or {})
            return stack.enter_context(RunningApplication(application, **options))

        yield start


def _start_emulator(stack: ExitStack, config: pytest.Config, options: Mapping[str, Any]) -> BackgroundEmulator:
    """Start an emulator until the stack's end, and have its faults cleared after each test until then."""
    from fastapi_azure_pool.testing.background import BackgroundEmulator  # noqa: PLC0415 - see the module

    azure = stack.enter_context(BackgroundEmulator(**options))
    running = config.stash[_RUNNING]
    running.append(azure)
    stack.callback(running.remove, azure)
    return azure


def _set_environment(patch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        patch.setenv(name, value)
