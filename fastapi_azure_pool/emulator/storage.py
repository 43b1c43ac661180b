"""Blob Storage of one emulator: the account, who may use it, and its port."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.blob.account import Account
from fastapi_azure_pool.emulator.blob.authorization import DEFAULT_ACCOUNT, DEFAULT_KEY, Authorization
from fastapi_azure_pool.emulator.blob.header_names import remembering_names
from fastapi_azure_pool.emulator.blob.service import BlobService
from fastapi_azure_pool.emulator.server import LoopbackServer

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.faults import Faults
    from fastapi_azure_pool.emulator.tokens import TokenIssuer

# "Storage account overview", storage account name.
_NAME = re.compile(r"[a-z0-9]{3,24}\Z")


class _Server(LoopbackServer):
    """The port of an account, whose copies end with it."""

    def __init__(self, service: BlobService, *, name: str, host: str, port: int) -> None:
        super().__init__(service, name=name, host=host, port=port)
        self._service = service

    def protocol_class(self, chosen: Any) -> Any:
        """Return a class that remembers how the client wrote the names of metadata."""
        return remembering_names(chosen)

    async def stop(self) -> None:
        """Free the port, close every connection and end every copy."""
        await self._service.stop()
        await super().stop()


class Storage:
    """One storage account.

    Args:
        faults: Asked for every request.
        issuer: Whose tokens are taken.
        host: A loopback address.
        port: 0 for a free one.
        name: The account's name, 3 to 24 lower-case letters and digits; None for the one that every emulator has.
        key: The account's key, in base64; None likewise.

    Attributes:
        name: See above.
        key: See above.
        account: What it stores.
        service: What answers.
        server: Its port.

    Raises:
        ValueError: The name or the key is none.
    """

    def __init__(
        self, faults: Faults, issuer: TokenIssuer, *, host: str, port: int, name: str | None, key: str | None
    ) -> None:
        self.name = DEFAULT_ACCOUNT if name is None else name
        if not _NAME.match(self.name):
            raise ValueError(f"storage_account={self.name!r} must have 3 to 24 lower-case letters and digits")
        self.key = DEFAULT_KEY if key is None else key
        self.account = Account()
        authorization = Authorization(self.name, self.key, issuer)
        self.service = BlobService(faults, self.account, authorization)
        self.server = _Server(self.service, name="blob", host=host, port=port)

    @property
    def endpoint(self) -> str:
        """The account's URL.

        Raises:
            RuntimeError: There is no port yet.
        """
        return self.server.url + self.name

    @property
    def connection_string(self) -> str:
        """What the SDKs connect with."""
        endpoint = self.endpoint
        protocol = endpoint.partition(":")[0]
        return f"DefaultEndpointsProtocol={protocol};AccountName={self.name};AccountKey={self.key};BlobEndpoint={endpoint};"
