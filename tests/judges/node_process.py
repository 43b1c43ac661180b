"""A server that Node runs as a process of its own."""

from __future__ import annotations

import subprocess
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from tests.judges.installing import DIRECTORY, MODULES, NODE, check_installed

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

START_SECONDS = 60.0
STOP_SECONDS = 10.0


class ServerFailed(RuntimeError):
    """A server did not start; shows what it wrote."""


class _Output:
    """What a process writes, read in a thread so that its pipe never fills up, and searched for one line."""

    def __init__(self, stream: IO[str], wanted: re.Pattern[str]) -> None:
        self._stream = stream
        self._wanted = wanted
        self._found: re.Match[str] | None = None
        self._is_decided = threading.Event()
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, name="output of a third-party server", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                if self._found is None:
                    self._lines.append(line)
                    self._found = self._wanted.search(line)
                if self._found is not None:
                    self._is_decided.set()
        self._is_decided.set()

    def find(self) -> re.Match[str]:
        """Wait for the line that is wanted and return the match; ServerFailed when it does not come."""
        self._is_decided.wait(START_SECONDS)
        if self._found is None:
            written = "".join(self._lines) or "nothing"
            raise ServerFailed(
                f"it ended, or wrote no line like {self._wanted.pattern!r} within {START_SECONDS:g} s, but: {written}"
            )
        return self._found

    def join(self) -> None:
        """Wait until everything is read."""
        self._reader.join()


@contextmanager
def running(script: str, *arguments: str, ready: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Run a script of ``node_modules`` until the end of the block; it also ends when this process does, however that ends.

    Args:
        script: The script's path below ``node_modules``.
        arguments: What stands after it.
        ready: What a line that it writes looks like when it accepts connections.

    Yields:
        The match of that line.

    Raises:
        NotInstalled: Nothing is installed there.
        ServerFailed: It ended, or wrote no such line within 60 seconds.
    """
    check_installed()
    command = [str(NODE), "--require", str(DIRECTORY / "end_with_parent.cjs"), str(MODULES / script), *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    output = _Output(process.stdout, ready)
    try:
        yield output.find()
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.join()
