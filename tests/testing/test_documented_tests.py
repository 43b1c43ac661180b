"""The files that the documentation of the plugin shows are a project whose tests pass."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
FILE = re.compile(r'^```\w+ title="(?P<name>[\w.]+)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


def test_the_page_s_files_are_a_project_whose_tests_pass(pytester: pytest.Pytester) -> None:
    """Saved under the names that the page gives them, the tests pass."""
    files = {match["name"]: match["text"] for match in FILE.finditer(PAGE.read_text())}
    assert sorted(files) == ["conftest.py", "pyproject.toml", "shop.py", "test_shop.py", "test_without_azure.py"]
    for name in ("conftest.py", "shop.py", "test_shop.py", "test_without_azure.py"):
        (pytester.path / name).write_text(files[name])
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:schemathesis").assert_outcomes(passed=7)


def test_the_documented_configuration_is_known(pytestconfig: pytest.Config) -> None:
    """The settings that the page names are settings of the plugin, with the defaults that it says."""
    page = PAGE.read_text()
    assert 'azure_emulator_scope = "function"' in page
    assert 'azure_pool_app_scope = "module"' in page
    assert pytestconfig.getini("azure_emulator_scope") == "session"
    assert pytestconfig.getini("azure_pool_app_scope") == "function"
