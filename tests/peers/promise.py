"""A row of the table: what they promise, what stands for it here, and the test that shows it."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.clients.managed import Sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = re.compile(r"(?P<start>[\w.]*?)(?:\{(?P<several>[\w, ]+)\})?(?:\((?P<parameters>[^)]*)\))?")


@dataclass(frozen=True)
class Promise:
    """One row.

    Attributes:
        theirs: Names of one of their modules with parameters, such as ``Cosmos(endpoint); Cosmos.{close, get_container_client}``.
        ours: The names that stand for them here, written in the same way; empty where there is nothing.
        difference: What differs, and why; empty where nothing does.
        tests: The tests that show it, as ``folder/file.py::function`` below ``tests``.
    """

    theirs: str
    ours: str
    difference: str
    tests: tuple[str, ...]


def names_in(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give the names that a text of a row tells, each with the parameters that it tells of it."""
    for piece in text.split("; ") if text else ():
        match = _PIECE.fullmatch(piece)
        assert match, piece
        parameters = tuple(match["parameters"].split(", ")) if match["parameters"] else ()
        for member in match["several"].split(", ") if match["several"] else ("",):
            yield match["start"] + member, parameters


def find(name: str) -> Any:
    """Give what a dotted name of this library names; an attribute that instances have stands for its class.

    Raises:
        AttributeError: There is nothing of that name.
    """
    found: Any = import_module("fastapi_azure_pool")
    for part in name.split("."):
        if inspect.isclass(found) and not hasattr(found, part):
            if not any(_sets(kind, part) for kind in found.__mro__):
                raise AttributeError(f"{found.__name__} has no {part}")
            continue
        if inspect.ismodule(found) and not hasattr(found, part):
            found = import_module(f"{found.__name__}.{part}")
            continue
        found = getattr(found, part)
    return found


def _sets(kind: type, attribute: str) -> bool:
    if not kind.__module__.startswith("fastapi_azure_pool"):
        return False
    return attribute in inspect.get_annotations(kind) or bool(
        re.search(rf"^ +self\.{attribute}\b.* = ", _source_of(kind), re.MULTILINE)
    )


_source_of = cache(inspect.getsource)


def parameters_of(found: Any) -> set[str]:
    """Give the names of a callable's parameters, with stars, and the sizes where it takes them."""
    parameters = inspect.signature(found).parameters.values()
    gathers = any(parameter.annotation == "Unpack[Sizes]" for parameter in parameters)
    return {starred(parameter) for parameter in parameters} | (set(Sizes.__annotations__) if gathers else set())


def starred(parameter: inspect.Parameter) -> str:
    """Give a parameter's name, with the stars of one that gathers others."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    return next((star for kind, star in stars.items() if parameter.kind is kind), "") + parameter.name
