"""The service with mistakes in it that a run has to find: orders, events and answers of which some are wrong."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from example_app import outbox
from example_app.routers import orders
from fastapi_azure_pool import ManagedAzureEventhubProducer

from . import application

if TYPE_CHECKING:
    from fastapi import FastAPI

# Whose turn it is, one call after the other.
_stores = itertools.cycle((True, True, False))
_events = itertools.cycle((1, 0, 1, 2))
_answers = itertools.cycle((True, True, True, False))

_store = outbox.store
_send_event = ManagedAzureEventhubProducer.send_event
_make_application = application.make_application


async def store_most(container: Any, order: Any) -> str:
    """Acknowledge every order, and store most of them."""
    return await _store(container, order) if next(_stores) else '"never stored"'


async def send_most_events(client: ManagedAzureEventhubProducer, *arguments: Any, **named: Any) -> None:
    """Acknowledge every event once, and send some not at all and some twice."""
    for _ in range(next(_events)):
        await _send_event(client, *arguments, **named)


async def _fail() -> None:
    raise ArithmeticError("nobody looks at this")


def make_broken_application() -> FastAPI:
    """Answer some requests with a bare 500, and leave tasks behind that have failed."""
    app = _make_application()

    @app.middleware("http")
    async def break_some(request: Any, call_next: Any) -> Any:
        if request.method == "GET" and request.url.path.startswith("/orders") and not next(_answers):
            asyncio.get_running_loop().create_task(_fail())
            await asyncio.sleep(0)
            raise ZeroDivisionError
        return await call_next(request)

    return app


def main() -> None:
    """Serve as `application` does."""
    for owner, name, mistake in (
        (orders, "store", store_most),
        (ManagedAzureEventhubProducer, "send_event", send_most_events),
        (application, "make_application", make_broken_application),
    ):
        setattr(owner, name, mistake)
    application.main()


if __name__ == "__main__":
    main()
