"""The processes of a run: the emulator, which is killed and comes back, and the service, which is not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from tests.support.processes import ask, first_line, running, tell

from .stored import Stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

_SECONDS_TO_DIE = 30.0
_SECONDS_TO_STOP = 60.0


class CloudControl:
    """The emulator's process, as the run has it in its hands.

    Attributes:
        environment: What the service's process needs to find it.

    Args:
        directory: Where it keeps what one process leaves to the next.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self._process: asyncio.subprocess.Process
        self.environment: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def start(self) -> None:
        """Start a process, with what the one before has left."""
        self._process = await self._stack.enter_async_context(
            running("tests.chaos.cloud_process", "--directory", str(self._directory))
        )
        self.environment = json.loads(await first_line(self._process))

    async def kill(self) -> None:
        """Have the process keep what it has stored and be killed in the same moment.

        Raises:
            RuntimeError: It ended in another way.
        """
        tell(self._process, "die")
        async with asyncio.timeout(_SECONDS_TO_DIE):
            status = await self._process.wait()
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the emulator's process ended with {status} instead of being killed")
        await self._stack.aclose()

    def hang(self) -> None:
        """Have it do nothing at all any more, with its sockets open."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    async def ask(self, question: str, **arguments: Any) -> Any:
        """Ask for something that `CloudProcess` can do."""
        return await ask(self._process, question, **arguments)

    async def look(self) -> Stored:
        """Give what is stored."""
        file = self._directory / "stored.json"
        await self.ask("look", file=str(file))
        return Stored.read(file)


@asynccontextmanager
async def serving(
    module: str, directory: Path, environment: dict[str, str], *, sweep_seconds: float
) -> AsyncIterator[int]:
    """Run the service, give its port, and have it stop in good order.

    Args:
        module: What its process runs.
        directory: Where its journal and its log are written.
        environment: Where its Azure is.
        sweep_seconds: See the example's settings.

    Raises:
        RuntimeError: It did not stop, or not in good order.
    """
    with (directory / "service.log").open("wb") as log:
        async with running(
            module,
            "--journal",
            str(directory / "journal.jsonl"),
            stderr=log,
            environment={**environment, "SWEEP_SECONDS": str(sweep_seconds), "PYTHONWARNINGS": "default"},
        ) as process:
            yield int(await first_line(process))
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(_SECONDS_TO_STOP):
                status = await process.wait()
            # uvicorn ends, and then raises the signal again.
            if status not in {0, -signal.SIGTERM}:
                raise RuntimeError(f"the service ended with {status}")
