"""``python -m fastapi_azure_pool.emulator``: local Azure alone, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.emulator import Emulator
from fastapi_azure_pool.emulator.eventgrid.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi_azure_pool.emulator.eventgrid.schemas import Schema

# The official Cosmos DB emulator's port, so that what was configured for it finds this one.
_COSMOS_PORT = 8081
_IDENTITY_PORT = 8082
# Azurite's, likewise.
_BLOB_PORT = 10000
# AMQP's own, where the SDKs look when a connection string for an emulator names none.
_AMQP_PORT = 5672
_EVENTGRID_PORT = 8083
_ENTRA_PORT = 8084

# As long as the certificate is: nobody renews the file, as a cluster would.
_FEDERATED_TOKEN_SECONDS = 365 * 24 * 3600.0

_EXAMPLE = """\
for example:
  %(prog)s --eventhub orders --queue invoices --container shop/orders:/customer_id

Databases and containers can be made later as well, with the SDKs; the other entities here only.
"""

_NO_TLS = "Keys work over http; a credential such as DefaultAzureCredential needs https: start with --tls."
_TLS = """\
Programs started from that shell trust no other certificate over https. Event Hubs and Service Bus look at no variable: give
their clients connection_verify=os.environ["SSL_CERT_FILE"], managed ones in client_options."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until it is interrupted.

    Returns:
        The exit status: 0, or 1 when it could not start.
    """
    options = _options(arguments)
    try:
        emulator = Emulator(
            cosmos_port=options.cosmos_port,
            identity_port=options.identity_port,
            entra_port=_ENTRA_PORT if options.entra_port is None else options.entra_port,
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
        with tempfile.TemporaryDirectory(prefix="azure-emulator-") as directory:
            environment = emulator.environment
            if options.tls:
                environment |= _trust(emulator, Path(directory), options.certificate)
            topics = [emulator.eventgrid_endpoint(name) for name, _ in options.eventgrid_topic]
            sys.stdout.write(_instructions(emulator, topics, environment, _TLS if options.tls else _NO_TLS))
            sys.stdout.flush()
            await asyncio.get_running_loop().create_future()  # Ctrl-C cancels it


def _trust(emulator: Emulator, directory: Path, certificate: Path | None) -> dict[str, str]:
    """Write the files that clients over TLS need, and return the variables that lead to them."""
    certificate = (directory / "certificate.pem" if certificate is None else certificate).absolute()
    certificate.write_text(emulator.certificate)
    token_file = directory / "federated-token"
    token_file.write_text(emulator.issue_federated_token(lifetime=_FEDERATED_TOKEN_SECONDS))
    # One is read by OpenSSL, and so by aiohttp and the async SDKs, the other by requests, and so by the sync ones.
    trust = {"REQUESTS_CA_BUNDLE": str(certificate), "SSL_CERT_FILE": str(certificate)}
    return emulator.workload_environment(token_file) | trust


def _instructions(emulator: Emulator, topics: Sequence[str], environment: dict[str, str], hint: str) -> str:
    services = [
        ("Cosmos DB", emulator.cosmos_endpoint),
        ("Event Hubs", emulator.amqp_authority),
        ("Service Bus", emulator.amqp_authority),
        ("Blob Storage", emulator.blob_endpoint),
        *(("Event Grid", topic) for topic in topics or ["no topic: make one with --eventgrid-topic NAME"]),
        ("managed identity", emulator.identity_endpoint),
    ]
    if "AZURE_AUTHORITY_HOST" in environment:
        services.append(("Entra ID", emulator.entra_authority))
    listed = "\n".join(f"  {service:<18}{where}" for service, where in services)
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items()))
    return f"""\
Local Azure on loopback: a test double that is not secure, and that forgets everything when it stops.

{listed}

To connect an application, paste this into its shell:

{exports}

{hint}

Ctrl-C stops it.
"""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    for option, value in (("--certificate", options.certificate), ("--entra-port", options.entra_port)):
        if value is not None and not options.tls:
            parser.error(f"argument {option}: write --tls as well, without which there is none")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastapi_azure_pool.emulator",
        usage="%(prog)s [options]",
        description="Run local Azure on loopback until Ctrl-C, and print how to connect to it.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    cosmos = parser.add_argument_group("Cosmos DB")
    _add_port(cosmos, "--cosmos-port", _COSMOS_PORT)
    cosmos.add_argument(
        "--cosmos-key", metavar="KEY", help="the account's key, in base64; default: the same every time"
    )
    cosmos.add_argument(
        "--partitions",
        type=_number,
        default=1,
        metavar="N",
        help="physical partitions of a new container, 1 to 100; default %(default)s",
    )
    _add_entity(
        cosmos, "--container", _container, "DATABASE/CONTAINER:/KEY", "this container, such as shop/orders:/customer_id"
    )

    messaging = parser.add_argument_group("Event Hubs and Service Bus")
    _add_port(messaging, "--amqp-port", _AMQP_PORT)
    messaging.add_argument("--amqp-key", metavar="KEY", help="the shared access key; default: the same every time")
    _add_entity(
        messaging, "--eventhub", _eventhub, "NAME[:PARTITIONS]", "an event hub, with 4 partitions where not told"
    )
    _add_entity(messaging, "--queue", str, "NAME", "a queue")
    _add_entity(messaging, "--topic", _topic, "NAME[:SUBSCRIPTION,...]", "a topic and its subscriptions")

    blob = parser.add_argument_group("Blob Storage")
    _add_port(blob, "--blob-port", _BLOB_PORT)
    blob.add_argument("--storage-key", metavar="KEY", help="the account's key, in base64; default: Azurite's")
    _add_entity(blob, "--blob-container", str, "NAME", "a container for blobs")

    eventgrid = parser.add_argument_group("Event Grid")
    _add_port(eventgrid, "--eventgrid-port", _EVENTGRID_PORT)
    eventgrid.add_argument(
        "--eventgrid-key", metavar="KEY", help="the topics' key, in base64; default: the same every time"
    )
    _add_entity(
        eventgrid,
        "--eventgrid-topic",
        _eventgrid_topic,
        "NAME[:SCHEMA]",
        f"a topic for events in the schema {' or '.join(SCHEMAS)} (default: the former)",
    )

    identity = parser.add_argument_group("tokens")
    _add_port(identity, "--identity-port", _IDENTITY_PORT, "of the endpoint of managed identities")
    identity.add_argument("--tls", action="store_true", help="serve with TLS, which credentials (not keys) need")
    identity.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="with --tls: write the certificate here; default: a temporary file",
    )
    identity.add_argument(
        "--entra-port",
        type=_number,
        metavar="PORT",
        help=f"with --tls: port of Entra ID (default {_ENTRA_PORT}; 0 for a free one)",
    )
    return parser


def _add_port(group: argparse._ArgumentGroup, option: str, default: int, what: str = "") -> None:
    text = f"port {what}".strip() + " (default %(default)s; 0 for a free one)"
    group.add_argument(option, type=_number, default=default, metavar="PORT", help=text)


def _add_entity(
    group: argparse._ArgumentGroup, option: str, read: Callable[[str], object], form: str, what: str
) -> None:
    text = f"make {what}; may be repeated"
    group.add_argument(option, type=read, action="append", default=[], metavar=form, help=text)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")
    return int(text)


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
