"""Fixtures that tests of several folders use; nothing is started, and no SDK loaded, before one asks."""

from __future__ import annotations

from tests.judges.fixtures import azurite, cosmos_server, cosmosdb_server, storage_server

__all__ = ["azurite", "cosmos_server", "cosmosdb_server", "storage_server"]
