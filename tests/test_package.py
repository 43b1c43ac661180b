"""The public API on one screen: every name can be imported, and a missing SDK is told."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import fastapi_azure_pool
from fastapi_azure_pool.clients.extras import extra


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process."""
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", fastapi_azure_pool.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    """`from fastapi_azure_pool import X` gives an object of that name, the same each time."""
    value = getattr(fastapi_azure_pool, name)
    assert value is getattr(fastapi_azure_pool, name)
    assert getattr(value, "__name__", name).rpartition(".")[2] in {name, "AbstractConnector"}


def test_a_star_import_gives_every_name_and_no_other() -> None:
    """`from fastapi_azure_pool import *` binds exactly __all__, in a new process."""
    code = "from fastapi_azure_pool import *; print(*sorted(name for name in dir() if not name.startswith('__')))"
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == sorted(fastapi_azure_pool.__all__)


def test_all_homes_and_type_checkers_agree() -> None:
    """__all__, the table of homes and the imports for type checkers name the same things, from the same modules."""
    source = Path(fastapi_azure_pool.__file__).read_text()
    checked = {
        alias.name: node.module
        for top in ast.parse(source).body
        if isinstance(top, ast.If)
        for node in ast.walk(top)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {name: f"fastapi_azure_pool.{home}" for name, home in fastapi_azure_pool._HOME_OF.items()}
    assert checked == homes
    assert sorted(homes) == sorted(fastapi_azure_pool.__all__)
    assert len(set(fastapi_azure_pool.__all__)) == len(fastapi_azure_pool.__all__)


def test_dir_lists_what_is_not_loaded_yet() -> None:
    """dir() shows every public name, loaded or not, for the sake of completion."""
    done = run("import fastapi_azure_pool as p; print(set(p.__all__) <= set(dir(p)), 'ManagedCosmos' in vars(p))")
    assert done.stdout.split() == ["True", "False"]
    assert set(fastapi_azure_pool.__all__) <= set(dir(fastapi_azure_pool))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there is told as any module does."""
    with pytest.raises(AttributeError, match="module 'fastapi_azure_pool' has no attribute 'Missing'"):
        _ = fastapi_azure_pool.Missing
    assert "cannot import name 'Missing'" in run("from fastapi_azure_pool import Missing").stderr


@pytest.mark.parametrize(
    ("name", "missing", "extra_name"),
    [
        ("AzureBlobStorageClient", "azure.storage", "blob"),
        ("ManagedAzureBlobStorage", "azure.storage.blob.aio", "blob"),
        ("Cosmos", "azure.cosmos", "cosmos"),
        ("ManagedCosmos", "azure.cosmos.aio", "cosmos"),
        ("EventGridClient", "azure.eventgrid", "eventgrid"),
        ("EventGridPublisher", "azure.eventgrid.aio", "eventgrid"),
        ("ManagedEventGridPublisher", "azure.eventgrid.aio", "eventgrid"),
        ("Eventhub", "azure.eventhub", "eventhub"),
        ("ManagedAzureEventhubProducer", "azure.eventhub.aio", "eventhub"),
        ("AzureServiceBus", "azure.servicebus", "servicebus"),
        ("ManagedAzureServiceBusSender", "azure.servicebus.aio", "servicebus"),
    ],
)
def test_a_missing_sdk_is_told_with_the_pip_command(name: str, missing: str, extra_name: str) -> None:
    """Without a service's SDK, its names raise ImportError that says what to install; the others can be imported."""
    code = f"""
import importlib.abc, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {missing!r} or name.startswith({missing!r} + "."):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hide())
from fastapi_azure_pool import ConnectionPool, ManagedClient, health_router, open_pools
try:
    from fastapi_azure_pool import {name}
except ImportError as error:
    print(error)
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"{missing} is not installed: pip install 'fastapi-azure-pool[{extra_name}]'"


def test_only_a_missing_module_is_told_with_the_pip_command() -> None:
    """An SDK that is there but fails to import keeps its own error; a missing one keeps the missing module's name."""
    with pytest.raises(ImportError, match="pip install 'fastapi-azure-pool\\[blob\\]'") as raised, extra("blob"):
        raise ModuleNotFoundError("No module named 'azure.storage'", name="azure.storage")
    assert raised.value.name == "azure.storage"
    with pytest.raises(ImportError, match="broken inside"), extra("blob"):
        raise ImportError("broken inside")


def test_the_version_is_the_package_s() -> None:
    """__version__ is what pip knows."""
    assert importlib.metadata.version("fastapi-azure-pool") == fastapi_azure_pool.__version__


def test_the_package_is_typed() -> None:
    """The marker that tells type checkers to read the annotations is there."""
    assert Path(fastapi_azure_pool.__file__).with_name("py.typed").exists()
