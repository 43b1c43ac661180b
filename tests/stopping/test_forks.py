"""A process that is forked while its connections are open: parent and child have a conversation each with every service."""

from __future__ import annotations

import asyncio
import os
import sys

from fastapi_azure_pool.emulator import Emulator
from tests.stopping.watching import stored


async def test_parent_and_child_share_no_connection() -> None:
    """What both write is stored, over connections of their own, and each closes its own: the parent's outlive the child."""
    async with Emulator() as azure:
        await azure.create_cosmos_container("shop", "orders", partition_key="/customer_id")
        await azure.create_eventhub("events")
        await azure.create_queue("work")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-W", "error", "-m", "tests.stopping.forking"),
            env=os.environ
            | {
                "ENDPOINT": azure.cosmos_endpoint,
                "KEY": azure.cosmos_key,
                "MESSAGING": azure.servicebus_connection_string,
            },
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaints = await process.communicate()
        assert (process.returncode, complaints.decode()) == (0, "")
        assert await stored(azure) == [["after", "before", "child"]] * 3
        assert (azure.connections("amqp").accepted, azure.amqp_requests.count("CLOSE")) == (4, 4)
        assert azure.connections("amqp").open == azure.connections("cosmos").open == 0
