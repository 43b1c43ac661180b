"""What aio-azure-clients-toolbox 1.5.0 offers: every public module, class, method, attribute and parameter.

The listing is data, so that the tests need not install the toolbox. ``python -m tests.peers`` compares it with an installed one.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.peers.promise import starred

if TYPE_CHECKING:
    from types import ModuleType

THEIRS = "aio_azure_clients_toolbox"
VERSION = "1.5.0"
FILE = Path(__file__).parent / f"toolbox-{VERSION}.json"

Surface = dict[str, dict[str, list[str]]]
"""Names of a module, dotted below classes, with the parameters of each; a module's dotted path below the package is the key."""

_ATTRIBUTE = re.compile(r"^ +self\.([a-z]\w*)(?:: [^=]+)? = ", re.MULTILINE)


def listed() -> Surface:
    """Give the listing."""
    surface: Surface = json.loads(FILE.read_text(encoding="utf-8"))
    return surface


def installed() -> Surface:
    """Give what the installed toolbox offers.

    Raises:
        ImportError: It is not installed.
    """
    package = importlib.import_module(THEIRS)
    surface: Surface = {"": {name: [] for name in sorted(package.__all__)}}
    for found in pkgutil.walk_packages(package.__path__, f"{THEIRS}."):
        if not found.ispkg:
            surface[found.name.removeprefix(f"{THEIRS}.")] = _names_of(importlib.import_module(found.name))
    return surface


def _names_of(module: ModuleType) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, value in vars(module).items():
        is_fixture = hasattr(value, "_fixture_function")
        value = getattr(value, "_fixture_function", value)  # noqa: PLW2901 - what is behind it
        is_constant = name.isupper() and not inspect.isclass(value)
        if name.startswith("_") or isinstance(value, logging.Logger):
            continue
        if is_constant:
            names[name] = []
        elif getattr(value, "__module__", None) == module.__name__:
            # What a fixture asks for is no parameter of it.
            names[name] = [] if is_fixture else _parameters_of(value)
            if inspect.isclass(value):
                names |= {f"{name}.{member}": parameters for member, parameters in _members_of(value).items()}
    return names


def _members_of(kind: type[Any]) -> dict[str, list[str]]:
    annotated = inspect.get_annotations(kind)
    members: dict[str, list[str]] = {
        name: [] for name in (*annotated, *_ATTRIBUTE.findall(inspect.getsource(kind))) if not name.startswith("_")
    }
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        function = inspect.unwrap(member.__func__ if isinstance(member, staticmethod) else member)
        members[name] = _parameters_of(function) if inspect.isfunction(function) else []
    return members


def _parameters_of(value: Any) -> list[str]:
    """Give the names of a callable's parameters; those that gather others have their stars."""
    if inspect.isclass(value) and ("__init__" not in vars(value) or getattr(value, "_is_protocol", False)):
        return []
    parameters = inspect.signature(value).parameters.values()
    return [starred(parameter) for parameter in parameters if parameter.name != "self"]


def write() -> None:
    """Write the listing of the installed toolbox."""
    FILE.write_text(json.dumps(installed(), indent=1) + "\n", encoding="utf-8")
