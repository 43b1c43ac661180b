"""What happened in one life, as lines to read."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .loop import SeededLoop

PACKAGE = "fastapi_azure_pool"
_ID = re.compile(r"\b[0-9a-f]{6}\b")


class Trace:
    """Takes a line for each event: the time, the step, who, what. A trace that is not kept costs next to nothing.

    Connections' random names are replaced by c1, c2 ... in the order in which they occur, so that equal lives read the same.

    Args:
        is_kept: Whether the lines are kept.

    Attributes:
        lines: The lines so far.
    """

    def __init__(self, *, is_kept: bool = True) -> None:
        self.is_kept = is_kept
        self.lines: list[str] = []
        self._loop: SeededLoop | None = None
        self._names: dict[str, str] = {}
        self._state = ""

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def note(self, what: str) -> None:
        """Take a line about what the current task does, or what happens outside any."""
        if self.is_kept:
            self._write(self._who(), what)

    def note_state(self, state: str) -> None:
        """Take a line about a state, if it differs from the last one."""
        if self.is_kept and state != self._state:
            self._state = state
            self._write("", f"    {state}")

    @contextmanager
    def of(self, loop: SeededLoop) -> Iterator[None]:
        """Trace what happens on a loop; what the package logs is part of it, and goes nowhere else."""
        self._loop = loop
        logger = logging.getLogger(PACKAGE)
        level, propagates = logger.level, logger.propagate
        handler = _Notes(self)
        logger.propagate = False
        logger.setLevel(logging.DEBUG if self.is_kept else logging.CRITICAL + 1)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagates
            self._loop = None

    def _who(self) -> str:
        task = None if self._loop is None else asyncio.current_task(self._loop)
        name = "-" if task is None else task.get_name()
        # A task that begins at once does so before it has its name, under one that counts all tasks of the process.
        return "(new task)" if name.startswith("Task-") else name

    def _write(self, who: str, what: str) -> None:
        now, step = (0.0, 0) if self._loop is None else (self._loop.now, self._loop.step)
        self.lines.append(_ID.sub(self._rename, f"{now:11.3f} {step:6} {who:14} {what}"))

    def _rename(self, found: re.Match[str]) -> str:
        return self._names.setdefault(found[0], f"c{len(self._names) + 1}")


class _Notes(logging.Handler):
    """Notes what is logged in a trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        if self._trace.is_kept:
            self._trace.note(f"logs {record.levelname}: {record.getMessage().strip()}")
