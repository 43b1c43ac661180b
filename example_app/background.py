"""What runs beside the requests for as long as the service does."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    Work: TypeAlias = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
    """Runs until the event is set, and no longer than it takes to finish what it holds."""

_logger = logging.getLogger(__name__)

# More than confirming what is held and closing the receiver may take, less than the 30 s after which Kubernetes kills a process.
_SECONDS_TO_STOP = 15.0


@asynccontextmanager
async def running(works: Mapping[str, Work]) -> AsyncIterator[None]:
    """Run these, each under its name, while the block runs; then have them stop, and cancel what has not stopped in 15 s."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work(stopping), name=name, context=Context()) for name, work in works.items()]
    try:
        yield
    finally:
        stopping.set()
        try:
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=_SECONDS_TO_STOP)
                for task in late:
                    _logger.warning("the %s did not stop in time and is cancelled", task.get_name())
        finally:
            for task in tasks:
                task.cancel()
            for task, outcome in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
                if isinstance(outcome, Exception):
                    _logger.error("the %s had ended early", task.get_name(), exc_info=outcome)
