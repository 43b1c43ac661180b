"""What stands for their pytest fixtures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.peers.page import page

if TYPE_CHECKING:
    import pytest

FILE = re.compile(r'^```python title="(?P<name>\w+\.py)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


def test_their_test_with_the_emulator_and_with_a_fake(pytester: pytest.Pytester) -> None:
    """The page's version of their documented test passes as a file of a user's."""
    (file,) = FILE.finditer(page())
    (pytester.path / file["name"]).write_text(file["text"], encoding="utf-8")
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=2)
