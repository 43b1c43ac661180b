"""The process in which the emulator runs; another one asks it for faults, and what it has stored."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from example_app.outbox import MARK
from tests.support.processes import answer

from .cloud import Cloud
from .faults import inflict

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator import Fault

TOKEN_SECONDS = 660.0
"""How long tokens are good: they are renewed 300 s before their end, and so within a run of ten minutes."""


class CloudProcess:
    """What can be asked of the process.

    Args:
        cloud: The shop's Azure.
        memory: The file in which it is kept from one process to the next.
    """

    def __init__(self, cloud: Cloud, memory: Path) -> None:
        self._cloud = cloud
        self._azure = cloud.azure
        self._memory = memory
        self._faults: list[Fault] = []

    async def begin(self, kind: str, variant: str, seconds: float) -> None:
        """Begin a fault; see `inflict`."""
        self._faults = inflict(self._azure, kind, variant, seconds)

    async def end(self) -> int:
        """End it, and tell how many requests it struck."""
        self._azure.faults.clear()
        return sum(fault.strikes for fault in self._faults)

    async def stop(self) -> None:
        """Close every connection and every port."""
        await self._azure.stop()

    async def start(self) -> None:
        """Serve again."""
        await self._azure.start()

    async def die(self) -> NoReturn:
        """Keep what is stored, and be killed in the same moment, with whatever is under way."""
        self._memory.write_bytes(self._cloud.remember())
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a process that was killed goes on")

    async def look(self, file: str) -> None:
        """Write what is stored into a file."""
        self._cloud.look().write(Path(file))

    async def pending(self) -> dict[str, int]:
        """Tell how many orders are not worked off yet, and how many messages."""
        return self._cloud.count_pending(MARK)


async def serve(directory: Path) -> None:
    """Serve until nobody asks any more; writes the environment of the service's process to standard output as JSON."""
    memory = directory / "memory.pickle"
    cloud = Cloud(pickle.loads(memory.read_bytes()) if memory.exists() else None)
    await cloud.furnish()
    async with cloud.azure as azure:
        azure.set_token_lifetime(TOKEN_SECONDS)
        certificate = directory / "certificate.pem"
        certificate.write_text(azure.certificate)
        namespaces = dict.fromkeys(("AZURE_EVENTHUB_NAMESPACE", "AZURE_SERVICEBUS_NAMESPACE"), azure.amqp_authority)
        print(json.dumps({**azure.environment, **namespaces, "SSL_CERT_FILE": str(certificate)}), flush=True)
        process = CloudProcess(cloud, memory)
        await answer(
            {
                "begin": process.begin,
                "end": process.end,
                "stop": process.stop,
                "start": process.start,
                "die": process.die,
                "look": process.look,
                "pending": process.pending,
            }
        )


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    asyncio.run(serve(parser.parse_args().directory))


if __name__ == "__main__":
    main()
