"""A server that starts its application anew when a file has changed: each process has connections of its own, and closes them."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.clients.waiting import eventually
from tests.stopping.serving import ask, uvicorn
from tests.stopping.watching import everything_was_closed, stored

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi_azure_pool.emulator import Emulator


async def test_a_reload_shares_no_connection(azure: Emulator, tmp_path: Path) -> None:
    """The request that was under way is answered, the old process closes its connections, and the new one has others."""
    source = tmp_path / "reloaded.py"
    source.write_text("from tests.stopping.application import app\n")
    options = ("--app-dir", str(tmp_path), "--reload", "--reload-dir", str(tmp_path), "--log-level", "error")
    with azure.faults.delay(0.5, service="cosmos", method="POST", path="*/docs") as slow:
        async with uvicorn(azure, tmp_path, *options, app="reloaded:app", drain_seconds=2) as server:
            await server.opens(1)
            before = asyncio.create_task(ask(server.port, "/orders/before"))
            await eventually(lambda: slow.strikes, seconds=20)
            source.write_text("# changed\n" + source.read_text())
            await server.opens(2)
            assert await before == 200
            assert azure.amqp_requests.count("CLOSE") == azure.connections("amqp").open == 2
            assert await ask(server.port, "/orders/after") == 200
            await server.stops(signal.SIGTERM)
    assert await stored(azure) == [["after", "before"]] * 3
    await everything_was_closed(azure, server, 2)
