"""Eager tasks on every Python: what need not wait is finished within ``create_task()``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context


def _start_at_once(
    loop: Any, work: Coroutine[Any, Any, Any], *, context: Context | None = None, **name: str
) -> asyncio.Task[Any]:
    """Make a task and run its first step, as ``asyncio.eager_task_factory`` does from Python 3.12 on."""
    task = asyncio.Task(work, loop=loop, context=context, **name)
    if not loop.is_running():
        return task
    first_step = loop._ready.pop()
    creator = asyncio.current_task(loop)
    if creator is not None:
        asyncio.tasks._leave_task(loop, creator)
    try:
        first_step._run()
    finally:
        if creator is not None:
            asyncio.tasks._enter_task(loop, creator)
    return task


eager_task_factory: Any = getattr(asyncio, "eager_task_factory", _start_at_once)
