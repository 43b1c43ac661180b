"""Warm, safely shared connection pools for the Azure async SDKs in FastAPI applications.

Every name is loaded when it is first asked for (PEP 562), so that importing the pool, the emulator or one service's client loads
neither FastAPI nor another service's SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi_azure_pool.clients.blob import AzureBlobStorageClient, ManagedAzureBlobStorage
    from fastapi_azure_pool.clients.cosmos import Cosmos, ManagedCosmos
    from fastapi_azure_pool.clients.credentials import ApplicationCredential, CredentialFactory, SharedCredential
    from fastapi_azure_pool.clients.event_grid_publisher import EventGridPublisher
    from fastapi_azure_pool.clients.event_grid_topics import EventGridConfig, EventGridTopicConfig
    from fastapi_azure_pool.clients.eventgrid import EventGridClient, ManagedEventGridPublisher
    from fastapi_azure_pool.clients.eventhub import Eventhub, ManagedAzureEventhubProducer
    from fastapi_azure_pool.clients.managed import ManagedClient
    from fastapi_azure_pool.clients.servicebus import AzureServiceBus, ManagedAzureServiceBusSender
    from fastapi_azure_pool.dependencies import (
        POOL_RESPONSES,
        PoolUnavailable,
        install_error_handlers,
        managed,
        pooled,
    )
    from fastapi_azure_pool.errors import (
        AzureBlobError,
        ConnectionFailed,
        ConnectionsExhausted,
        MessageTooLarge,
        PoolClosed,
        PoolError,
        PoolsNotFound,
        SendError,
        SendInterrupted,
        SendRejected,
        SendTimedOut,
        UnknownPool,
        WrongLoopError,
    )
    from fastapi_azure_pool.health import health_router
    from fastapi_azure_pool.lifespan import open_pools, pool_lifespan
    from fastapi_azure_pool.pool import (
        AbstractConnector,
        AbstractorConnector,
        ConnectionPool,
        ConnectionState,
        PoolState,
        PoolStats,
        SharedTransportConnection,
    )
    from fastapi_azure_pool.registry import AzurePools

_HOMES = {
    "clients.blob": ("AzureBlobStorageClient", "ManagedAzureBlobStorage"),
    "clients.cosmos": ("Cosmos", "ManagedCosmos"),
    "clients.credentials": ("ApplicationCredential", "CredentialFactory", "SharedCredential"),
    "clients.event_grid_publisher": ("EventGridPublisher",),
    "clients.event_grid_topics": ("EventGridConfig", "EventGridTopicConfig"),
    "clients.eventgrid": ("EventGridClient", "ManagedEventGridPublisher"),
    "clients.eventhub": ("Eventhub", "ManagedAzureEventhubProducer"),
    "clients.managed": ("ManagedClient",),
    "clients.servicebus": ("AzureServiceBus", "ManagedAzureServiceBusSender"),
    "dependencies": ("POOL_RESPONSES", "PoolUnavailable", "install_error_handlers", "managed", "pooled"),
    "errors": (
        "AzureBlobError",
        "ConnectionFailed",
        "ConnectionsExhausted",
        "MessageTooLarge",
        "PoolClosed",
        "PoolError",
        "PoolsNotFound",
        "SendError",
        "SendInterrupted",
        "SendRejected",
        "SendTimedOut",
        "UnknownPool",
        "WrongLoopError",
    ),
    "health": ("health_router",),
    "lifespan": ("open_pools", "pool_lifespan"),
    "pool": (
        "AbstractConnector",
        "AbstractorConnector",
        "ConnectionPool",
        "ConnectionState",
        "PoolState",
        "PoolStats",
        "SharedTransportConnection",
    ),
    "registry": ("AzurePools",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"

__all__ = [
    "POOL_RESPONSES",
    "AbstractConnector",
    "AbstractorConnector",
    "ApplicationCredential",
    "AzureBlobError",
    "AzureBlobStorageClient",
    "AzurePools",
    "AzureServiceBus",
    "ConnectionFailed",
    "ConnectionPool",
    "ConnectionState",
    "ConnectionsExhausted",
    "Cosmos",
    "CredentialFactory",
    "EventGridClient",
    "EventGridConfig",
    "EventGridPublisher",
    "EventGridTopicConfig",
    "Eventhub",
    "ManagedAzureBlobStorage",
    "ManagedAzureEventhubProducer",
    "ManagedAzureServiceBusSender",
    "ManagedClient",
    "ManagedCosmos",
    "ManagedEventGridPublisher",
    "MessageTooLarge",
    "PoolClosed",
    "PoolError",
    "PoolState",
    "PoolStats",
    "PoolUnavailable",
    "PoolsNotFound",
    "SendError",
    "SendInterrupted",
    "SendRejected",
    "SendTimedOut",
    "SharedCredential",
    "SharedTransportConnection",
    "UnknownPool",
    "WrongLoopError",
    "health_router",
    "install_error_handlers",
    "managed",
    "open_pools",
    "pool_lifespan",
    "pooled",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
