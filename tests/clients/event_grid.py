"""An emulator with two Event Grid topics, and clients of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureSasCredential
from azure.eventgrid import generate_sas

from fastapi_azure_pool import EventGridConfig, EventGridTopicConfig, ManagedEventGridPublisher

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator import Emulator

TOPIC = "/topics/orders/api/events"


async def make_topics(azure: Emulator) -> None:
    """Make the topic "orders", in the Event Grid schema, and "cloud", for CloudEvents."""
    await azure.create_eventgrid_topic("orders")
    await azure.create_eventgrid_topic("cloud", "CloudEventSchemaV1_0")


def config_of(azure: Emulator, *topics: str) -> EventGridConfig:
    """Return the configuration of some of these topics, of both unless some are named."""
    schemas = {"orders": "EventGridSchema", "cloud": "CloudEventSchemaV1_0"}
    return EventGridConfig(
        [
            EventGridTopicConfig(topic, azure.eventgrid_endpoint(topic), schemas[topic])  # type: ignore[arg-type]  # a text of the table, not a Literal
            for topic in topics or schemas
        ]
    )


def events_of(azure: Emulator, *topics: str, **options: Any) -> ManagedEventGridPublisher:
    """Return a managed publisher with the topics' key, unless told otherwise."""
    return ManagedEventGridPublisher(config_of(azure, *topics), **{"credential": azure.eventgrid_key, **options})


def signature_of(azure: Emulator, topic: str) -> AzureSasCredential:
    """Return a shared access signature for a topic, good for ten minutes."""
    until = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)
    return AzureSasCredential(generate_sas(azure.eventgrid_endpoint(topic), azure.eventgrid_key, until))
