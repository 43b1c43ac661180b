"""Local Azure for tests, demos and development: the official SDKs connect to it, and it behaves as the services do.

``async with Emulator() as azure:`` or ``python -m fastapi_azure_pool.emulator``. Its names are loaded when they are first
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.blob_containers import StoredBlob
    from fastapi_azure_pool.emulator.emulator import Emulator
    from fastapi_azure_pool.emulator.eventgrid.schemas import PublishedEvent
    from fastapi_azure_pool.emulator.eventhub.events import ReceivedEvent
    from fastapi_azure_pool.emulator.fault import Fault
    from fastapi_azure_pool.emulator.faults import Faults
    from fastapi_azure_pool.emulator.identity import TokenRequest
    from fastapi_azure_pool.emulator.loopback import ConnectionCounts
    from fastapi_azure_pool.emulator.request_log import RequestLog
    from fastapi_azure_pool.emulator.servicebus.brokered_message import QueuedMessage

__all__ = [
    "ConnectionCounts",
    "Emulator",
    "Fault",
    "Faults",
    "PublishedEvent",
    "QueuedMessage",
    "ReceivedEvent",
    "RequestLog",
    "StoredBlob",
    "TokenRequest",
]

_HOMES = {
    "ConnectionCounts": "loopback",
    "Emulator": "emulator",
    "Fault": "fault",
    "Faults": "faults",
    "PublishedEvent": "eventgrid.schemas",
    "QueuedMessage": "servicebus.brokered_message",
    "ReceivedEvent": "eventhub.events",
    "RequestLog": "request_log",
    "StoredBlob": "blob_containers",
    "TokenRequest": "identity",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] in {"jwt", "lark", "starlette", "uvicorn"}:
            message = f"the emulator needs {error.name}: pip install 'fastapi-azure-pool[emulator]'"
            raise ImportError(message) from error
        raise
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
