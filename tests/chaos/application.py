"""The process of the service: the example application, with a journal of its sends and an event loop that can stall."""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import uvicorn

from example_app.app import create_app
from fastapi_azure_pool import (
    ManagedAzureBlobStorage,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedEventGridPublisher,
)

from .journal import Recorder

if TYPE_CHECKING:
    from fastapi import FastAPI

_SECONDS_TO_FINISH = 5


def record_sends(recorder: Recorder) -> None:
    """Have all that the service sends recorded: events, messages, invoices and news."""

    def id_in_event(arguments: tuple[Any, ...], _: dict[str, Any]) -> str:
        order_id: str = json.loads(arguments[0])["order"]["id"]
        return order_id

    recorder.record(ManagedAzureEventhubProducer, "send_event", "event", id_in_event)
    recorder.record(
        ManagedAzureServiceBusSender, "send_message", "message", lambda _, named: str(named["unique_msg_id"])
    )
    recorder.record(
        ManagedAzureBlobStorage, "upload_blob", "invoice", lambda arguments, _: Path(str(arguments[0])).stem
    )
    recorder.record(ManagedEventGridPublisher, "emit_event", "news", lambda _, named: str(named["id"]))


def make_application() -> FastAPI:
    """Make the example application, and let its event loop be stalled, as a careless handler would."""
    app = create_app()

    @app.post("/chaos/stall")
    async def stall(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - it is what this route is for

    return app


def main() -> None:
    """Serve on a free loopback port, which is written to standard output, until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--journal", type=Path, required=True)
    options = parser.parse_args()
    # The SDKs of Event Hubs and Service Bus trust what certifi names, the others what the environment does.
    certifi.where = lambda: os.environ["SSL_CERT_FILE"]
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # From now on connections queue, until the application has started.
    print(listener.getsockname()[1], flush=True)
    with options.journal.open("w", buffering=1) as file:
        record_sends(Recorder(file))
        config = uvicorn.Config(
            make_application(),
            access_log=False,
            log_level="warning",
            ws="none",
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
