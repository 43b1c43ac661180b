"""What stands for their pytest fixtures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.peers.page import page

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi_azure_pool.testing import BackgroundEmulator

FILE = re.compile(r'^```python title="test_orders.py"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


async def test_their_test_with_the_emulator_and_with_a_fake(
    azure_emulator_factory: Callable[[], BackgroundEmulator],
) -> None:
    """The page's two versions of their documented test pass."""
    (file,) = FILE.finditer(page())
    names: dict[str, Any] = {}
    exec(compile(file["text"], "test_orders.py", "exec", dont_inherit=True), names)
    assert sorted(name for name in names if name.startswith("test_")) == ["test_insert", "test_insert_without_sockets"]
    await names["test_insert"](azure_emulator_factory())
    await names["test_insert_without_sockets"]()
