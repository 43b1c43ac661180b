"""``python -m example_app``: serve on 127.0.0.1 until Ctrl-C."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import uvicorn
from pydantic import ValidationError
from uvicorn.config import LOGGING_CONFIG

from example_app.app import create_app
from example_app.settings import Settings, explain

if TYPE_CHECKING:
    import socket

_HOST = "127.0.0.1"
_SECONDS_TO_FINISH = 5

# Requests, warnings and errors; not what uvicorn tells of its own start and end.
_LOGGING: dict[str, Any] = {
    **LOGGING_CONFIG,
    "loggers": {**LOGGING_CONFIG["loggers"], "uvicorn.error": {"level": "WARNING"}},
    "root": {"handlers": ["default"], "level": "WARNING"},
}


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"Orders: http://{_HOST}:{self.config.port}/docs (Ctrl-C stops it)\n")
            sys.stdout.flush()


def main() -> int:
    """Run the service.

    Returns:
        The exit status: 0 after Ctrl-C, 2 when a setting is wrong, 3 when the service could not start.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"{explain(error)}\n")
        return 2
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            host=_HOST,
            port=settings.port,
            log_config=_LOGGING,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has finished
        server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
