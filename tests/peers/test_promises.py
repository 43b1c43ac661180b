"""The table covers all that they offer, names what there is, and names tests that exist."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

import fastapi_azure_pool
from tests.peers.page import PAGE, page
from tests.peers.promise import Promise, find, names_in, parameters_of
from tests.peers.promises.table import TABLE
from tests.peers.snippets import SNIPPETS, Snippet
from tests.peers.surface import listed

TESTS = Path(__file__).parent.parent
ROWS = [pytest.param(row, id=row.theirs[:60]) for rows in TABLE.values() for row in rows]
LACKING = [pytest.param(row, id=row.theirs[:60]) for rows in TABLE.values() for row in rows if not row.ours]


@cache
def functions_in(file: str) -> set[str]:
    """Give the names of a test file's functions."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize("module", listed())
def test_every_name_of_theirs_has_a_row(module: str) -> None:
    """Each public name of a module, and each parameter, is in a row of its section, and no row tells of anything else."""
    told: dict[str, set[str]] = {}
    for row in TABLE[module]:
        for name, parameters in names_in(row.theirs):
            told.setdefault(name, set()).update(parameters)
    assert told == {name: set(parameters) for name, parameters in listed()[module].items()}


@pytest.mark.parametrize("row", ROWS)
def test_what_is_named_of_ours_is_there(row: Promise) -> None:
    """Each name that stands for theirs is public here, and has the parameters that the row tells."""
    for name, parameters in names_in(row.ours):
        found = find(name)
        assert set(parameters) <= (parameters_of(found) if parameters else set()), name


@pytest.mark.parametrize("row", LACKING)
def test_what_has_no_counterpart_is_not_there(row: Promise) -> None:
    """A row without a counterpart tells of names, and parameters, that this library does not have."""
    for name, parameters in names_in(row.theirs):
        if not parameters or not hasattr(fastapi_azure_pool, name):
            with pytest.raises((AttributeError, ModuleNotFoundError)):
                find(name)
        else:
            assert not parameters_of(find(name)) & set(parameters), name


@pytest.mark.parametrize("told", [*ROWS, *(pytest.param(snippet, id=snippet.title) for snippet in SNIPPETS)])
def test_every_named_test_exists(told: Promise | Snippet) -> None:
    """A row names at least one test, and each is a function of the file that it names."""
    assert told.tests
    for test in told.tests:
        file, _, function = test.partition("::")
        assert function in functions_in(file), test


def test_the_page_shows_the_table() -> None:
    """The documentation's page is what the table says; ``python -m tests.peers page`` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_name_of_their_package_is_one_of_ours() -> None:
    """What is imported from their package is imported from ours."""
    for name in listed()[""]:
        assert name in fastapi_azure_pool.__all__
        assert inspect.isclass(getattr(fastapi_azure_pool, name))


def test_what_a_row_tells() -> None:
    """Names in braces share what stands before and behind them."""
    assert list(names_in("A(b, **c); A.{d, e}(f); G")) == [
        ("A", ("b", "**c")),
        ("A.d", ("f",)),
        ("A.e", ("f",)),
        ("G", ()),
    ]
    assert list(names_in("")) == []
