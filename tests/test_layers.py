"""The arrows between the modules: who may import whom, and what is not loaded until it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastapi_azure_pool

PACKAGE = "fastapi_azure_pool"
ROOT = Path(fastapi_azure_pool.__file__).parent

# The layers of the design, from the left to the right: each may import those named, of ours and of others.
OURS = {
    "errors": set[str](),
    "pool": {"errors"},
    "clients": {"errors", "pool"},
    "registry": {"errors", "pool", "clients"},
    "settings": {"errors", "pool", "clients"},
    "dependencies": {"errors", "pool", "clients", "registry"},
    "health": {"errors", "pool", "clients", "registry"},
    "telemetry": {"errors", "pool", "clients", "registry"},
    "lifespan": {"errors", "pool", "clients", "registry", "settings"},
    "emulator": set[str](),
    "testing": {
        "errors",
        "pool",
        "clients",
        "registry",
        "settings",
        "dependencies",
        "health",
        "telemetry",
        "lifespan",
        "emulator",
    },
}
FORBIDDEN = {
    "clients": {"fastapi", "starlette"},
    "settings": {"fastapi", "starlette"},
    "emulator": {"fastapi", "azure", "aiohttp"},
}
STANDARD_LIBRARY_ONLY = {"errors", "pool"}


def layer_of(module: str) -> str:
    """Give the layer of one of our modules; "" for the package itself, which is lazy and may name everything."""
    return module.removeprefix(PACKAGE).lstrip(".").split(".")[0]


def imports_of(module: str, source: str, *, is_package: bool = False) -> set[str]:
    """Give the absolute names of the modules that a module's source imports, anywhere in it, also for type checking only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            parts = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            # `from package import module` names the module itself.
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == PACKAGE else {base}
    return found


def wrong_arrows(module: str, source: str, *, is_package: bool = False) -> set[str]:
    """Give what a module imports and its layer may not."""
    layer = layer_of(module)
    if layer in {"", "__init__"}:
        return set()
    wrong = set()
    for name in imports_of(module, source, is_package=is_package):
        top = name.split(".")[0]
        if top == PACKAGE:
            allowed = layer_of(name) in {layer, *OURS.get(layer, set())}
        elif layer in STANDARD_LIBRARY_ONLY:
            allowed = top in sys.stdlib_module_names
        else:
            allowed = top not in FORBIDDEN.get(layer, set())
        if not allowed:
            wrong.add(name)
    return wrong


def circle(arrows: dict[str, set[str]]) -> list[str] | None:
    """Give the names along one circle of arrows, or None."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for target in sorted(arrows.get(name, ())):
            if found := walk(target, [*path, name]):
                return found
        done.add(name)
        return None

    return next((found for name in sorted(arrows) if (found := walk(name, []))), None)


def modules() -> dict[str, tuple[str, bool]]:
    """Give the source of each of our modules, and whether it is a package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        found[".".join(parts[:-1] if is_package else parts)] = (path.read_text(), is_package)
    return found


def run_time_imports(source: str) -> str:
    """Leave out what is imported for type checking only, and inside functions."""
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
    ]
    return ast.unparse(tree)


def test_every_module_has_a_place_in_the_layers() -> None:
    """A new file at the top belongs to a layer of the design."""
    tops = {layer_of(module) for module in modules()}
    assert tops - {"", "__main__", "cli"} <= set(OURS)


def test_every_arrow_is_one_of_the_design() -> None:
    """No module imports what its layer may not, for type checking either."""
    wrong = {
        module: found
        for module, (source, is_package) in modules().items()
        if (found := wrong_arrows(module, source, is_package=is_package))
    }
    assert wrong == {}


def test_there_is_no_circle() -> None:
    """No module needs itself while it is being imported, whether directly or through others."""
    arrows = {
        module: {
            target
            for target in imports_of(module, run_time_imports(source), is_package=is_package)
            if target.startswith(PACKAGE)
        }
        for module, (source, is_package) in modules().items()
        if module != PACKAGE
    }
    assert circle(arrows) is None


@pytest.mark.parametrize(
    ("module", "source", "is_package", "wrong"),
    [
        ("pool.waiters", "import aiohttp", False, {"aiohttp"}),
        ("pool.waiters", "from ..clients import cosmos", False, {"fastapi_azure_pool.clients"}),
        ("pool", "from ..registry import AzurePools", True, {"fastapi_azure_pool.registry"}),
        ("errors", "from .pool import Lease", False, {"fastapi_azure_pool.pool"}),
        ("clients.cosmos", "import fastapi", False, {"fastapi"}),
        ("clients.cosmos", "def f():\n    from starlette.requests import Request", False, {"starlette.requests"}),
        (
            "clients.cosmos",
            "if TYPE_CHECKING:\n    from fastapi_azure_pool.registry import AzurePools",
            False,
            {"fastapi_azure_pool.registry"},
        ),
        ("lifespan", "from fastapi_azure_pool import health", False, {"fastapi_azure_pool.health"}),
        ("registry", "from .dependencies import pooled", False, {"fastapi_azure_pool.dependencies"}),
        ("emulator.server", "from azure.cosmos import exceptions", False, {"azure.cosmos"}),
        ("emulator.server", "from fastapi_azure_pool.pool import Lease", False, {"fastapi_azure_pool.pool"}),
        ("lifespan", "from .settings import a\nfrom .registry import b\nfrom .errors import c", False, set()),
        ("pool.waiters", "from ..errors import PoolError\nimport asyncio\nfrom .lease import Lease", False, set()),
        ("clients.cosmos", "from azure.cosmos.aio import CosmosClient", False, set()),
    ],
)
def test_a_wrong_arrow_would_be_found(module: str, source: str, is_package: bool, wrong: set[str]) -> None:
    """What reads the arrows finds those that are wrong, however they are written, and leaves the others."""
    assert wrong_arrows(f"{PACKAGE}.{module}", source, is_package=is_package) == wrong


def test_a_circle_would_be_found() -> None:
    """What looks for circles finds one, and finds none where arrows only meet."""
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) is None


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import fastapi_azure_pool", {"fastapi", "starlette", "azure", "aiohttp", "pydantic"}),
        ("from fastapi_azure_pool import ConnectionPool, PoolError", {"fastapi", "starlette", "azure", "aiohttp"}),
        ("import fastapi_azure_pool.pool", {"fastapi", "starlette", "azure", "aiohttp", "pydantic"}),
        (
            "from fastapi_azure_pool.emulator import Emulator",
            {"fastapi", "azure", "aiohttp", "fastapi_azure_pool.pool"},
        ),
        ("from fastapi_azure_pool import ManagedClient", {"fastapi", "starlette", "azure", "aiohttp"}),
        ("from fastapi_azure_pool import ManagedCosmos", {"fastapi", "starlette", "azure.storage", "azure.eventhub"}),
        ("from fastapi_azure_pool import EventGridConfig, EventGridTopicConfig", {"fastapi", "azure", "aiohttp"}),
        (
            "from fastapi_azure_pool import ManagedEventGridPublisher",
            {"fastapi", "starlette", "azure.cosmos", "azure.identity", "azure.storage", "azure.eventhub"},
        ),
        ("from fastapi_azure_pool import health_router, open_pools, pooled", {"azure", "aiohttp"}),
        ("from fastapi_azure_pool.testing import FakeManagedClient, fake_pools", {"fastapi", "azure", "aiohttp"}),
        (
            "from fastapi_azure_pool.testing import plugin",
            {"fastapi", "starlette", "azure", "aiohttp", "fastapi_azure_pool.emulator", "fastapi_azure_pool.pool"},
        ),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(statement: str, unwanted: set[str]) -> None:
    """In a new process, importing a part loads neither FastAPI nor an SDK that the part does not need."""
    code = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if any(name == top or name.startswith(f"{top}.") for top in unwanted)} == set()
