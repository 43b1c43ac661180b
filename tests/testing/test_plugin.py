"""The pytest plugin, in projects as its users have them, each in a process of its own."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi_azure_pool.testing import plugin

if TYPE_CHECKING:
    import pytest

ASYNCIO = "asyncio_default_fixture_loop_scope = function"

# An application without an SDK, which takes seconds to load; those of the documentation's tests have pools.
SHOP = """
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

@asynccontextmanager
async def lifespan(app):
    yield {"namespace": os.environ["NAMESPACE"]}

app = FastAPI(lifespan=lifespan)

@app.post("/echo")
async def echo(request: Request):
    return {"namespace": request.state.namespace, "body": await request.json()}
"""

CONFTEST = """
import threading

import pytest

@pytest.fixture
def azure_environment(azure_emulator):
    return {"NAMESPACE": azure_emulator.amqp_authority}

@pytest.fixture
def azure_app():
    return "shop:app"

def pytest_unconfigure():
    print("threads:", *(thread.name for thread in threading.enumerate()))
"""

SYNC_TEST = """
def test_function(azure_pool_app, azure_emulator):
    answer = azure_pool_app.client.post("/echo", json=1)
    assert answer.json() == {"namespace": azure_emulator.amqp_authority, "body": 1}
"""

ASYNC_TEST = """
import asyncio

import pytest

async def check(azure_pool_app, azure_emulator):
    async with azure_pool_app.async_client() as http:
        answers = await asyncio.gather(*(http.post("/echo", json=n) for n in range(20)))
    assert [answer.json()["body"] for answer in answers] == list(range(20))
    assert {answer.json()["namespace"] for answer in answers} == {azure_emulator.amqp_authority}

@pytest.mark.asyncio
async def test_with_pytest_asyncio(azure_pool_app, azure_emulator):
    await check(azure_pool_app, azure_emulator)

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_anyio(azure_pool_app, azure_emulator):
    await check(azure_pool_app, azure_emulator)
"""


def run(pytester: pytest.Pytester, *options: str, configuration: tuple[str, ...] = ()) -> pytest.RunResult:
    """Run a project's tests; a warning fails them, such as that of something that is not closed."""
    pytester.makeini("\n".join(["[pytest]", "filterwarnings = error", *configuration]))
    return pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:schemathesis", *options)


def test_no_plugin_for_coroutines_is_needed(pytester: pytest.Pytester) -> None:
    """Functions use the fixtures where no plugin runs coroutines; no thread is left and nothing is left open."""
    pytester.makepyfile(shop=SHOP, test_shop=SYNC_TEST)
    pytester.makeconftest(CONFTEST)
    result = run(pytester, "-p", "no:asyncio", "-p", "no:anyio")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["threads: MainThread"])


def test_coroutines_use_the_fixtures_whatever_runs_them(pytester: pytest.Pytester) -> None:
    """So do coroutines, run by pytest-asyncio in its strict mode, and by anyio's plugin, beside functions."""
    pytester.makepyfile(shop=SHOP, test_shop=ASYNC_TEST + SYNC_TEST)
    pytester.makeconftest(CONFTEST)
    result = run(pytester, configuration=(ASYNCIO, "asyncio_mode = strict"))
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["threads: MainThread"])


def test_each_worker_of_xdist_has_an_emulator_of_its_own(pytester: pytest.Pytester) -> None:
    """Two worker processes use two ports, each for the whole of its session."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_port(azure_emulator, worker_id, number):
            with open("ports.txt", "a") as file:
                file.write(f"{worker_id} {azure_emulator.amqp_authority}\\n")
        """
    )
    run(pytester, "-n", "2", "-p", "no:asyncio").assert_outcomes(passed=6)
    seen = {tuple(line.split()) for line in (pytester.path / "ports.txt").read_text().splitlines()}
    assert {worker for worker, _ in seen} == {"gw0", "gw1"}
    assert len({authority for _, authority in seen}) == len(seen) == 2


def test_what_a_test_leaves_to_the_next(pytester: pytest.Pytester) -> None:
    """Neither a fault nor an outage, but what is stored; unless the configured scope gives it an emulator of its own.

    Faults end before a test's fixtures are torn down, so that these meet none.
    """
    tests = """
        import pytest
        from fastapi import FastAPI

        @pytest.fixture
        def afterwards(azure_emulator):
            yield
            assert azure_emulator.faults.active == ()
            assert azure_emulator.is_running

        @pytest.fixture(scope="module")
        def azure_app():
            return FastAPI

        def test_breaks_everything(azure_emulator, azure_pool_app, azure_emulator_factory, afterwards):
            azure_emulator.create_queue("kept")
            azure_pool_app.app.title = "seen"
            azure_emulator.faults.fail()
            azure_emulator.stop()
            assert azure_emulator_factory().amqp_authority != azure_emulator.amqp_authority

        def test_finds_it_whole(azure_emulator, azure_pool_app):
            assert azure_emulator.queue_messages("kept") == []
            assert azure_pool_app.app.title == "seen"
        """
    pytester.makepyfile(test_one=tests, test_two=tests)
    scopes = ("azure_emulator_scope = module", "azure_pool_app_scope = module")
    run(pytester, "-p", "no:asyncio", configuration=scopes).assert_outcomes(passed=4)


def test_an_emulator_that_cannot_start_again_breaks_no_other_test(pytester: pytest.Pytester) -> None:
    """When a test has stopped it and something else has taken its port, that test's end tells so, and others go on."""
    pytester.makepyfile(
        """
        import socket

        import pytest

        @pytest.fixture
        def taken():
            sockets = []
            yield sockets
            sockets.pop().close()

        def test_takes_its_port(azure_emulator, taken):
            host, port = azure_emulator.amqp_authority.split(":")
            azure_emulator.stop()
            taken.append(socket.create_server((host, int(port))))

        def test_goes_on(azure_emulator):
            assert azure_emulator.is_running is False
            azure_emulator.start()
        """
    )
    result = run(pytester, "-p", "no:asyncio")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["E*OSError:*port * is in use*"])


def test_mistakes_are_told_with_what_to_write(pytester: pytest.Pytester) -> None:
    """A missing application, one that is none, and a lifespan that fails: the error says what to do."""
    pytester.makepyfile(
        shop=SHOP,
        test_no_application="def test_it(azure_pool_app): pass",
        test_other_names="""
        import pytest

        @pytest.fixture
        def azure_app():
            return "shop:app"

        def test_it(azure_pool_app): pass
        """,
        test_wrong_application="""
        import pytest

        @pytest.fixture
        def azure_app():
            return dict

        def test_it(azure_pool_app): pass
        """,
    )
    result = run(pytester, "-p", "no:asyncio")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines_random(
        [
            "azure_pool_app does not know your application: write a fixture azure_app in conftest.py*",
            "E*The lifespan of <fastapi.applications.FastAPI object*",
            "E*KeyError: 'NAMESPACE'",
            "E*azure_pool_app had set these environment variables: AZURE_COSMOS_ENDPOINT,*Override azure_environment*",
            "E*TypeError: an application must be a FastAPI or Starlette application,*not dict",
        ]
    )


def test_a_missing_package_is_told_with_the_pip_command(pytester: pytest.Pytester) -> None:
    """Without what the extra installs, the plugin loads, and the fixture that needs it says what to install."""
    pytester.makepyfile(
        """
        import sys

        sys.modules.update(lark=None, httpx2=None)

        def test_emulator(azure_emulator): pass

        def test_application(azure_pool_app_factory): pass

        def test_another(): pass
        """
    )
    result = run(pytester, "-p", "no:asyncio")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "E*ImportError: the emulator needs lark: pip install 'fastapi-azure-pool[[]emulator]'",
            "E*ImportError: httpx2 is not installed: pip install 'fastapi-azure-pool[[]testing]'",
        ]
    )


def test_a_session_without_its_fixtures_loads_nothing(pytester: pytest.Pytester) -> None:
    """Neither an SDK nor FastAPI nor the emulator nor anything else of the library is loaded until a fixture is used."""
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print("loaded:", *sorted(sys.modules))
        """
    )
    pytester.makepyfile("def test_it(): pass")
    result = run(pytester, "-p", "no:asyncio", "-p", "no:anyio")
    result.assert_outcomes(passed=1)
    loaded = next(line for line in result.outlines if line.startswith("loaded:")).split()
    assert [name for name in loaded if name.startswith("fastapi_azure_pool")] == [
        "fastapi_azure_pool",
        "fastapi_azure_pool.testing",
        "fastapi_azure_pool.testing.plugin",
    ]
    unwanted = {"aiohttp", "anyio", "azure", "fastapi", "httpx", "httpx2", "lark", "pydantic", "starlette", "uvicorn"}
    assert unwanted & set(loaded) == set()


def test_the_plugin_imports_the_standard_library_and_pytest_only() -> None:
    """So says its source, where nothing else is imported outside functions, but for type checking."""
    body = ast.parse(Path(inspect.getfile(plugin)).read_text()).body
    imported = {
        name.split(".")[0]
        for node in body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "relative"]
        )
    }
    assert imported - sys.stdlib_module_names == {"pytest"}
