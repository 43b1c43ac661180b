"""Who called: the line of the application on whose behalf the library runs."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from types import CodeType, FrameType

OURS: Final = "fastapi_azure_pool"
PASSED_OVER: Final = frozenset({OURS, "contextlib", "asyncio"})
"""The packages whose frames say nothing about where the application is."""

_AWAITS: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_DRIVES: Final = _AWAITS | inspect.CO_GENERATOR | inspect.CO_ITERABLE_COROUTINE


class Caller(NamedTuple):
    """A line of code, and the function that it is in.

    It holds on to the code, which lives as long as its module, and not to the frame, whose variables would live on with it.
    """

    code: CodeType
    line: int

    def __str__(self) -> str:
        return f"{self.code.co_qualname} ({self.code.co_filename}:{self.line})"


def find_caller(depth: int) -> Caller:
    """Give the innermost line that is the application's, without reading its variables or its source.

    Whoever awaits what runs now is found across the ``await``. But a task has nobody who awaits it: where it runs a coroutine of
    the library and nothing else, as in ``asyncio.gather(client.send_event(...))``, that coroutine is the answer.

    Args:
        depth: Frames to leave out, beside this function's own, at least 0.
    """
    outermost = sys._getframe(depth + 1)  # noqa: SLF001 - how Python lets a function see its caller
    frame: FrameType | None = outermost
    is_awaited = False
    # What resumes a coroutine and is none itself is the event loop.
    while frame is not None and not (is_awaited and not frame.f_code.co_flags & _DRIVES):
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in PASSED_OVER:
            return Caller(frame.f_code, frame.f_lineno)
        if package == OURS:
            outermost = frame
        is_awaited = bool(frame.f_code.co_flags & _AWAITS)
        frame = frame.f_back
    return Caller(outermost.f_code, outermost.f_lineno)
