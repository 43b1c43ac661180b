"""Where a blob container is, and how to authenticate: checked before anything is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

from fastapi_azure_pool.clients.authentication import checked_account_key, is_key, require_one
from fastapi_azure_pool.clients.blob_names import checked_blob_name, checked_container_name
from fastapi_azure_pool.clients.credentials import SharedCredential, client_credential
from fastapi_azure_pool.clients.extras import extra
from fastapi_azure_pool.clients.token_request import is_made

with extra("blob"):
    from azure.storage.blob.aio import BlobServiceClient

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.credentials import CredentialFactory

    KeyCredential = AzureNamedKeyCredential | AzureSasCredential

_SCOPES = ("https://storage.azure.com/.default",)

_EXAMPLE = "https://<account>.blob.core.windows.net"
_CONNECTION_STRING = (
    "DefaultEndpointsProtocol=https;AccountName=<account>;AccountKey=<key>;EndpointSuffix=core.windows.net"
)
# What the SDK takes from 12.28 on ("Configure a connection string for Azurite").
_DEVELOPMENT_STORAGE = {
    "UseDevelopmentStorage=true": (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
        "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    )
}


class BlobAccess:
    """Where a container of Blob Storage is, and how to authenticate.

    Args:
        az_storage_url: The account's URL, such as "https://shop.blob.core.windows.net"; None where a connection string names it.
        container_name: The container.
        credential_factory: Makes an async credential; or is one that was made.
        credential: Or a credential, the account's key, a named key or a shared access signature.
        connection_string: Or all of it but the container in one.
        may_borrow: Whether none of these means the application's credential.

    Attributes:
        url: The account's URL, without a slash at its end.
        container_name: The container's name.
        account_name: The account's name; None where the URL does not tell.
        credential: A `SharedCredential`, a named key or a shared access signature.

    Raises:
        TypeError: The credential is a sync one.
        ValueError: Something is malformed, missing or contradictory. No message holds a key or a signature.
    """

    __slots__ = ("account_name", "container_name", "credential", "url")

    def __init__(
        self,
        az_storage_url: str | None,
        container_name: str | None,
        credential_factory: CredentialFactory | AsyncTokenCredential | None,
        credential: AsyncTokenCredential | KeyCredential | str | None,
        connection_string: str | None,
        *,
        may_borrow: bool = False,
    ) -> None:
        if credential is None and is_made(credential_factory):
            # As aio-azure-clients-toolbox has it: a credential that was made, in the third place.
            credential_factory, credential = None, cast("AsyncTokenCredential", credential_factory)
        require_one(
            "Blob Storage needs exactly one of credential_factory=, credential= (an async credential, the account's key, an"
            " AzureNamedKeyCredential or an AzureSasCredential) and connection_string=",
            may_borrow=may_borrow,
            credential_factory=credential_factory,
            credential=credential,
            connection_string=connection_string,
        )
        self.container_name = checked_container_name(container_name)
        self.credential: SharedCredential | KeyCredential
        if connection_string is not None:
            if az_storage_url is not None:
                raise ValueError("connection_string= names the account already: leave az_storage_url out")
            self.url, self.account_name, self.credential = _parse_connection_string(connection_string)
            return
        self.url = _checked_url(az_storage_url)
        self.account_name = _account_name(self.url)
        if isinstance(credential, str):
            if self.account_name is None:
                raise ValueError(
                    "az_storage_url does not tell the account's name: write credential=AzureNamedKeyCredential(name, key)"
                )
            self.credential = AzureNamedKeyCredential(self.account_name, _checked_key(credential, "credential"))
        elif isinstance(credential, AzureNamedKeyCredential):
            self.credential = credential
            self.account_name = credential.named_key.name
        elif isinstance(credential, AzureSasCredential):
            self.credential = credential
        else:
            self.credential = client_credential(
                credential, cast("CredentialFactory | None", credential_factory), _SCOPES
            )
            if self.url.startswith("http:"):
                raise ValueError(
                    "az_storage_url must begin with https:// for a token credential, which the SDK sends over nothing else"
                )

    @property
    def shared(self) -> SharedCredential | None:
        """The credential, where it is one that must be closed."""
        return self.credential if isinstance(self.credential, SharedCredential) else None

    @property
    def account_key(self) -> str | None:
        """The account's key, where it authenticates; it signs without asking the service."""
        return self.credential.named_key.key if isinstance(self.credential, AzureNamedKeyCredential) else None

    def blob_url(self, blob_name: str, sas_token: str) -> str:
        """Give a blob's URL with a signature.

        Raises:
            ValueError: See `checked_blob_name`.
        """
        return f"{self.url}/{quote(self.container_name)}/{quote(checked_blob_name(blob_name))}?{sas_token}"


def _parse_connection_string(text: object) -> tuple[str, str | None, KeyCredential]:
    """Read a connection string as the SDK does; its own messages tell less."""
    service: Any = None
    if isinstance(text, str):
        try:
            service = BlobServiceClient.from_connection_string(_DEVELOPMENT_STORAGE.get(text.strip(" ;"), text))
        except ValueError:
            service = None
    if service is None:
        raise ValueError(f"connection_string must read {_CONNECTION_STRING}") from None
    url, _, signature = service.url.partition("?")
    key = getattr(service.credential, "account_key", None)
    if key is not None:
        name = service.account_name
        return (
            _checked_url(url),
            name,
            AzureNamedKeyCredential(name, _checked_key(key, "the connection string's AccountKey")),
        )
    if not signature:
        raise ValueError(
            f"connection_string must read {_CONNECTION_STRING}, or have SharedAccessSignature=<signature> in place of the key"
        )
    return _checked_url(url), service.account_name, AzureSasCredential(signature)


def _checked_key(key: str, what: str) -> str:
    if "sig=" in key and not is_key(key):  # A key may end so.
        raise ValueError(f"{what} holds a shared access signature: write credential=AzureSasCredential(signature)")
    return checked_account_key(key, what)


def _checked_url(text: object) -> str:
    # What was given instead is not repeated: it may be a connection string, with its key, or a signed URL.
    expected = f"az_storage_url must be the account's URL, such as {_EXAMPLE}"
    if not text:
        raise ValueError(f"az_storage_url is missing: give the account's URL, such as {_EXAMPLE}")
    if not isinstance(text, str):
        raise ValueError(expected)  # noqa: TRY004 - one kind of error for a URL, whatever is wrong with it
    if "AccountKey=" in text or "SharedAccessSignature=" in text:
        raise ValueError("az_storage_url holds a connection string: pass it as connection_string=")
    try:
        url = urlsplit(text)
        is_url = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_url = False
    if not is_url or url.username is not None or url.fragment:
        raise ValueError(expected)
    if url.query:
        raise ValueError(
            "az_storage_url has a query: pass the URL before it, and a signature as credential=AzureSasCredential(signature)"
        )
    if url.path.strip("/") and (_account_in_host(url.hostname or "") or "/" in url.path.strip("/")):
        raise ValueError(f"{expected}, without the container, which is container_name=")
    return text.rstrip("/")


def _account_in_host(host: str) -> str | None:
    name, separator, _ = host.partition(".blob.")
    # The DNS zone that some accounts have stands behind the name.
    return name.split(".")[0] if separator else None


def _account_name(url: str) -> str | None:
    """Give the account's name as the SDK reads it from the URL, or else as Azure, and local servers in a path, write it.

    It takes a client, 0.3 ms: the SDK knows about secondary locations and the suffixes of what an account has beside blobs.
    """
    parts = urlsplit(url)
    return (
        BlobServiceClient(url).account_name or _account_in_host(parts.hostname or "") or parts.path.strip("/") or None
    )
