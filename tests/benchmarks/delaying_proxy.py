"""A TCP proxy that holds back what it passes on for a fixed time: a network between a client and a server on one machine.

Bytes are held back, not queued behind one another: it adds to the latency and takes nothing from the throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
from collections import deque
from typing import cast

from tests.support.processes import answer

DELAY_SECONDS = 0.0025


class DelayingProxy:
    """Passes connections on to a port of this machine.

    Args:
        port: Where to.
        seconds: How long what arrives is held back, in each direction.

    Attributes:
        seconds: The same; what arrives from now on is held back for so long.
    """

    def __init__(self, port: int, seconds: float = DELAY_SECONDS) -> None:
        self.seconds = seconds
        self._port = port

    async def listen(self) -> int:
        """Begin, and give the port that it listens on."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Side(self), "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def set_delay(self, seconds: float) -> None:
        """Hold what arrives from now on back for so long."""
        self.seconds = seconds

    async def connect(self, accepted: _Side) -> None:
        """Make the other side of a connection that was accepted."""
        other = _Side(self, accepted)
        await asyncio.get_running_loop().create_connection(lambda: other, "127.0.0.1", self._port)


class _Side(asyncio.Protocol):
    """One of a connection's two sides: what it receives leaves later by the other."""

    def __init__(self, proxy: DelayingProxy, other: _Side | None = None) -> None:
        self._proxy = proxy
        self._other = other
        self._loop = asyncio.get_running_loop()
        # When to pass on what; None is the end.
        self._held: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._other is None:
            self._connecting = self._loop.create_task(self._proxy.connect(self))
        else:
            self._other.meet(self)

    def meet(self, other: _Side) -> None:
        """Have another side, to which what has arrived can go."""
        self._other = other
        self._pass_on()

    def data_received(self, data: bytes) -> None:
        self._hold(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hold(None)

    def _hold(self, data: bytes | None) -> None:
        self._held.append((self._loop.time() + self._proxy.seconds, data))
        if self._timer is None and self._other is not None:
            self._timer = self._loop.call_at(self._held[0][0], self._pass_on)

    def _pass_on(self) -> None:
        self._timer = None
        transport = None if self._other is None else self._other._transport
        while transport is not None and self._held and self._held[0][0] <= self._loop.time():
            _, data = self._held.popleft()
            if data is None:
                transport.close()
            elif not transport.is_closing():
                transport.write(data)
        if self._held:
            self._timer = self._loop.call_at(self._held[0][0], self._pass_on)


async def _serve(port: int) -> None:
    proxy = DelayingProxy(port)
    print(await proxy.listen(), flush=True)
    await answer({"delay": proxy.set_delay})


def main() -> None:
    """Proxy the given port; writes the port that it listens on to standard output, then does what `answer` is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    # epoll and poll round up to whole milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
