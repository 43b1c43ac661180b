"""Runs a snippet as if it stood in a coroutine of the user's."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.peers.snippets import Snippet


async def run(
    snippet: Snippet, names: dict[str, Any] | None = None, *, replaced: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a snippet, without what no library runs of it, and give what it has defined.

    Args:
        snippet: The snippet.
        names: What it finds defined; it defines more.
        replaced: Texts in it, and what stands in their place.
    """
    text = snippet.text.replace(snippet.left_out, "") if snippet.left_out else snippet.text
    for old, new in (replaced or {}).items():
        assert old in text
        text = text.replace(old, new)
    names = {} if names is None else names
    code = compile(text, snippet.title, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    answer = eval(code, names)
    if inspect.isawaitable(answer):
        await answer
    return names
