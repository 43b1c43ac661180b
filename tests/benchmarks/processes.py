"""The processes of a benchmark, on cores of their own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tests.support import processes

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractAsyncContextManager


class Cores:
    """Which cores the processes run on: the server has one to itself, and so have emulator and load where there are three."""

    def __init__(self) -> None:
        mine = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        self.server = mine[:1]
        self.emulator = mine[1:2] or mine
        self.load = mine[2:3] or self.emulator

    @property
    def all(self) -> list[int]:
        """Every one that is in use."""
        return sorted({*self.server, *self.emulator, *self.load})

    def in_words(self, server: str, others: str) -> str:
        """Where everything ran.

        Args:
            server: What is measured.
            others: What else ran, in the plural.
        """
        if not self.server:
            return "Nothing was pinned to a core."
        if self.server == self.emulator:
            return f"The {server} and the {others} shared one core, which compresses the ratios."
        where = "shared another one" if self.emulator == self.load else "had one each"
        return f"The {server} was pinned to a core of its own; the {others} {where}."


def running(
    module: str, *arguments: str, cores: list[int], **environment: str
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """Run a module of this package as a process, and end it."""
    return processes.running(f"{__package__}.{module}", *arguments, cores=cores, environment=environment)
