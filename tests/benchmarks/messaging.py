"""Event Hubs and Service Bus for a benchmark, with and without a network's delay, and the processes that send to them."""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.processes import ask, first_line

from .callers import Load
from .delaying_proxy import DELAY_SECONDS
from .proc import strangers_seconds
from .processes import Cores, running

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

SERVICES = ("Event Hubs", "Service Bus")


@dataclass(frozen=True, slots=True)
class Messaging:
    """Both services, each process on its core.

    Attributes:
        cores: Where what runs.
        server: The emulator.
        proxy: What holds its bytes back.
        direct: The connection string without the delay.
        delayed: The one with it.
    """

    cores: Cores
    server: asyncio.subprocess.Process
    proxy: asyncio.subprocess.Process
    direct: str
    delayed: str

    @asynccontextmanager
    async def sender(
        self, service: str, client: str, *, is_delayed: bool = True, is_open: bool = True, **options: Any
    ) -> AsyncIterator[Sending]:
        """Start a process that sends.

        Args:
            service: One of SERVICES.
            client: "own", "sdk" or "toolbox".
            is_delayed: Whether it sends through the proxy.
            is_open: Whether it has opened its connection when it is given.
            options: Further arguments of the client.
        """
        words = ("--service", service, "--client", client, "--options", json.dumps(options))
        string = self.delayed if is_delayed else self.direct
        async with running("sender_process", *words, cores=self.cores.server, CONNECTION_STRING=string) as process:
            await first_line(process)
            if is_open:
                await ask(process, "open")
            yield Sending(process, self)

    async def delay(self, seconds: float) -> None:
        """Hold bytes back for so long from now on, in each direction."""
        await ask(self.proxy, "delay", seconds=seconds)

    async def reset_delay(self) -> None:
        """Hold bytes back for as long as at first."""
        await self.delay(DELAY_SECONDS)

    async def detach_links(self) -> int:
        """Detach all links as idle ones, and give how many there were."""
        count: int = await ask(self.server, "detach")
        return count


@dataclass(frozen=True, slots=True)
class Burst:
    """What callers saw who came all at once.

    Attributes:
        per_second: Messages per second, from the first's arrival to the last's answer.
        p50: Seconds that half of the sends did not exceed.
        p99: Seconds that 99 % of the sends did not exceed.
    """

    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Sending:
    """A process that sends.

    Attributes:
        process: It.
        messaging: Where to.
    """

    process: asyncio.subprocess.Process
    messaging: Messaging

    async def ask(self, question: str, **arguments: Any) -> Any:
        """Have it do something; see SenderProcess."""
        return await ask(self.process, question, **arguments)

    async def load(self, *, callers: int, keys: str, warm_up: float, seconds: float) -> Load:
        """Have callers send as fast as they are answered; see SenderProcess."""
        before = self._strangers()
        measured = await self.ask("load", callers=callers, keys=keys, warm_up=warm_up, seconds=seconds)
        return Load(**measured, strangers_seconds=self._strangers() - before)

    async def burst(self, *, callers: int, times: int) -> Burst:
        """Have callers come all at once; see SenderProcess."""
        return Burst(**await self.ask("burst", callers=callers, times=times))

    def _strangers(self) -> float:
        messaging = self.messaging
        ours = (self.process.pid, messaging.server.pid, messaging.proxy.pid, os.getpid())
        return strangers_seconds(messaging.cores.all, ours)


@asynccontextmanager
async def messaging() -> AsyncIterator[Messaging]:
    """Start both services and the proxy before them."""
    cores = Cores()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running("messaging_server", cores=cores.emulator))
        started = json.loads(await first_line(server))
        port, direct = started["port"], started["connection_string"]
        proxy = await stack.enter_async_context(running("delaying_proxy", "--port", str(port), cores=cores.load))
        delayed = direct.replace(f":{port};", f":{int(await first_line(proxy))};")
        yield Messaging(cores, server, proxy, direct, delayed)
