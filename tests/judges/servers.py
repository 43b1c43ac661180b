"""Where a storage account or a Cosmos DB account is, whoever serves it: the emulator, or a server that others wrote."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.judges.node_process import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi_azure_pool.emulator import Emulator

# Documented by Microsoft, so that nobody takes them for secrets: both servers come with them.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
COSMOSDB_SERVER_KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="


@dataclass(frozen=True)
class StorageServer:
    """A storage account with Blob Storage, reached with a key over plain http.

    Attributes:
        name: Who serves it, "emulator" or "azurite".
        endpoint: The account's URL, such as ``http://127.0.0.1:50123/devstoreaccount1``.
        account: The account's name.
        key: Its key, in base64.
    """

    name: str
    endpoint: str
    account: str
    key: str

    @classmethod
    def of_emulator(cls, azure: Emulator) -> Self:
        """Return the storage account of a running emulator."""
        return cls("emulator", azure.blob_endpoint, azure.storage_account, azure.storage_key)

    @property
    def connection_string(self) -> str:
        """The account's connection string."""
        return f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};BlobEndpoint={self.endpoint};"


@dataclass(frozen=True)
class CosmosServer:
    """A Cosmos DB account, reached with a key over plain http.

    Attributes:
        name: Who serves it, "emulator" or "cosmosdb-server".
        endpoint: The account's URL, such as ``http://127.0.0.1:50124/``.
        key: Its key, in base64.
        client_options: What every CosmosClient has to be given besides.
    """

    name: str
    endpoint: str
    key: str
    client_options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_emulator(cls, azure: Emulator) -> Self:
        """Return the Cosmos DB account of a running emulator."""
        return cls("emulator", azure.cosmos_endpoint, azure.cosmos_key)

    @property
    def connection_string(self) -> str:
        """The account's connection string."""
        return f"AccountEndpoint={self.endpoint};AccountKey={self.key};"


@contextmanager
def running_azurite() -> Iterator[StorageServer]:
    """Run Azurite's Blob service on a free port until the end of the block; what it stores is in its memory."""
    arguments = ("--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck")
    script = "azurite/dist/src/blob/main.js"
    ready = re.compile(r"successfully listens on http://127\.0\.0\.1:(?P<port>\d+)")
    with running(script, *arguments, "--disableTelemetry", "--silent", ready=ready) as match:
        endpoint = f"http://127.0.0.1:{match['port']}/{AZURITE_ACCOUNT}"
        yield StorageServer("azurite", endpoint, AZURITE_ACCOUNT, AZURITE_KEY)


@contextmanager
def running_cosmosdb_server() -> Iterator[CosmosServer]:
    """Run cosmosdb-server on a free port until the end of the block; it has no storage but its memory."""
    arguments = ("--host", "127.0.0.1", "--port", "0", "--no-ssl")
    script = "@vercel/cosmosdb-server/lib/cli.js"
    ready = re.compile(r"Ready to accept HTTP connections at .*:(?P<port>\d+)")
    with running(script, *arguments, ready=ready) as match:
        # The account it tells of is https://localhost: the client must not go where that document leads.
        options = {"enable_endpoint_discovery": False}
        yield CosmosServer("cosmosdb-server", f"http://127.0.0.1:{match['port']}/", COSMOSDB_SERVER_KEY, options)
