"""The whole table: a section for each of their modules, in the order of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.peers.promises import blob, cosmos, eventgrid, eventhub, pool, servicebus, testing

if TYPE_CHECKING:
    from tests.peers.promise import Promise

TABLE: dict[str, tuple[Promise, ...]] = {
    "": pool.PACKAGE,
    "clients.cosmos": cosmos.PROMISES,
    "clients.eventhub": eventhub.PROMISES,
    "clients.service_bus": servicebus.PROMISES,
    "clients.azure_blobs": blob.PROMISES,
    "clients.eventgrid": eventgrid.PROMISES,
    "clients.types": pool.TYPES,
    "connection_pooling": pool.PROMISES,
    "testing_utils.fixtures": testing.PROMISES,
}
"""Rows by module, its dotted path below their package."""
