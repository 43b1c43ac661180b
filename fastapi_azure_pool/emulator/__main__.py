"""``python -m fastapi_azure_pool.emulator``: local Azure alone, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import sys
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.emulator import Emulator
from fastapi_azure_pool.emulator.eventgrid.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi_azure_pool.emulator.eventgrid.schemas import Schema

# The official Cosmos DB emulator's port, so that what was configured for it finds this one.
_COSMOS_PORT = 8081
_IDENTITY_PORT = 8082
# Azurite's, likewise.
_BLOB_PORT = 10000
# AMQP's own, where the SDKs look when a connection string for an emulator names none.
_AMQP_PORT = 5672
_EVENTGRID_PORT = 8083

_NO_TLS = "The key works over http; a credential such as DefaultAzureCredential needs https: start with --tls."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until it is interrupted.

    Returns:
        The exit status: 0, or 1 when it could not start.
    """
    options = _parser().parse_args(arguments)
    try:
        emulator = Emulator(
            cosmos_port=options.cosmos_port,
            identity_port=options.identity_port,
            cosmos_key=options.cosmos_key,
            cosmos_partitions=options.partitions,
            amqp_port=options.amqp_port,
            amqp_key=options.amqp_key,
            eventgrid_port=options.eventgrid_port,
            eventgrid_key=options.eventgrid_key,
            blob_port=options.blob_port,
            storage_key=options.storage_key,
            tls=options.tls,
        )
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(emulator, options))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The emulator did not start: {error}\n")
        return 1
    return 0


async def _serve(emulator: Emulator, options: argparse.Namespace) -> None:
    for database, container, partition_key in options.container:
        await emulator.create_cosmos_container(database, container, partition_key=partition_key)
    for name, partitions in options.eventhub:
        await emulator.create_eventhub(name, partitions=partitions)
    for name in options.queue:
        await emulator.create_queue(name)
    for topic, subscriptions in options.topic:
        await emulator.create_topic(topic)
        for subscription in subscriptions:
            await emulator.create_subscription(topic, subscription)
    for name, schema in options.eventgrid_topic:
        await emulator.create_eventgrid_topic(name, schema)
    for name in options.blob_container:
        await emulator.create_blob_container(name)
    async with emulator:
        sys.stdout.write(_instructions(emulator, [name for name, _ in options.eventgrid_topic]))
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()  # Ctrl-C cancels it


def _eventgrid_topics(emulator: Emulator, topics: Sequence[str]) -> str:
    return "".join(f"  Event Grid        {emulator.eventgrid_endpoint(topic)}\n" for topic in topics)


def _instructions(emulator: Emulator, topics: Sequence[str]) -> str:
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in emulator.environment.items())
    hint = "" if emulator.cosmos_endpoint.startswith("https") else f"\n{_NO_TLS}\n"
    return f"""\
Local Azure on loopback: a test double, in memory, without security.

  Cosmos DB         {emulator.cosmos_endpoint}
  key               {emulator.cosmos_key}
  Event Hubs and
  Service Bus       {emulator.amqp_authority}
  Blob Storage      {emulator.blob_endpoint}
{_eventgrid_topics(emulator, topics)}  managed identity  {emulator.identity_endpoint}

To connect an application, paste this into its shell:

{exports}
{hint}
Ctrl-C stops it.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fastapi_azure_pool.emulator", description=__doc__)
    parser.add_argument("--cosmos-port", type=int, default=_COSMOS_PORT, help="default %(default)s; 0 for a free one")
    parser.add_argument(
        "--identity-port", type=int, default=_IDENTITY_PORT, help="default %(default)s; 0 for a free one"
    )
    parser.add_argument("--cosmos-key", help="the account's key, in base64; default: the same every time")
    parser.add_argument(
        "--partitions", type=int, default=1, help="physical partitions of a new container (%(default)s)"
    )
    parser.add_argument(
        "--container",
        type=_container,
        action="append",
        default=[],
        metavar="DATABASE/CONTAINER:/KEY",
        help="make this container at the start, for example shop/orders:/customer_id; may be repeated",
    )
    parser.add_argument("--blob-port", type=int, default=_BLOB_PORT, help="default %(default)s; 0 for a free one")
    parser.add_argument("--storage-key", help="the storage account's key, in base64; default: Azurite's")
    parser.add_argument(
        "--blob-container",
        action="append",
        default=[],
        metavar="NAME",
        help="make this container for blobs at the start; may be repeated",
    )
    parser.add_argument("--amqp-port", type=int, default=_AMQP_PORT, help="default %(default)s; 0 for a free one")
    parser.add_argument("--amqp-key", help="the key of Event Hubs and Service Bus; default: the same every time")
    parser.add_argument(
        "--eventhub",
        type=_eventhub,
        action="append",
        default=[],
        metavar="NAME[:PARTITIONS]",
        help="make this event hub at the start, with 4 partitions if not told; may be repeated",
    )
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="make this Service Bus queue at the start; may be repeated",
    )
    parser.add_argument(
        "--topic",
        type=_topic,
        action="append",
        default=[],
        metavar="NAME[:SUBSCRIPTION,...]",
        help="make this topic with these subscriptions at the start; may be repeated",
    )
    parser.add_argument(
        "--eventgrid-port", type=int, default=_EVENTGRID_PORT, help="default %(default)s; 0 for a free one"
    )
    parser.add_argument("--eventgrid-key", help="the key of the Event Grid topics; default: the same every time")
    parser.add_argument(
        "--eventgrid-topic",
        type=_eventgrid_topic,
        action="append",
        default=[],
        metavar="NAME[:SCHEMA]",
        help=(
            "make this Event Grid topic at the start, for EventGridSchema or CloudEventSchemaV1_0 (the former if not told);"
            " may be repeated"
        ),
    )
    parser.add_argument("--tls", action="store_true", help="serve with TLS, which credentials (not keys) need")
    return parser


def _container(text: str) -> tuple[str, str, str]:
    names, _, partition_key = text.partition(":")
    database, _, container = names.partition("/")
    if not database or not container or not partition_key.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} must read like shop/orders:/customer_id")
    return database, container, partition_key


def _eventhub(text: str) -> tuple[str, int]:
    name, _, partitions = text.partition(":")
    if not name or (partitions and not partitions.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} must read like orders or orders:4")
    return name, int(partitions or 4)


def _topic(text: str) -> tuple[str, list[str]]:
    name, _, subscriptions = text.partition(":")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} must read like news or news:audit,mail")
    return name, [subscription for subscription in subscriptions.split(",") if subscription]


def _eventgrid_topic(text: str) -> tuple[str, Schema]:
    name, _, schema = text.partition(":")
    for known in SCHEMAS:
        if name and (schema or SCHEMAS[0]) == known:
            return name, known
    raise argparse.ArgumentTypeError(f"{text!r} must read like orders or orders:{' or orders:'.join(SCHEMAS)}")


if __name__ == "__main__":
    sys.exit(main())
