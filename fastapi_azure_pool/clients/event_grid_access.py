"""With what a client authenticates to Event Grid: checked, not used yet."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureKeyCredential, AzureSasCredential

from fastapi_azure_pool.clients.authentication import is_key, require_one
from fastapi_azure_pool.clients.credentials import SharedCredential, client_credential

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.credentials_async import AsyncTokenCredential

    from fastapi_azure_pool.clients.credentials import CredentialFactory
    from fastapi_azure_pool.clients.event_grid_topics import EventGridConfig

Key = AzureKeyCredential | AzureSasCredential
AsyncAccess = SharedCredential | Key
SyncAccess = Any
"""A `TokenCredential` or a `Key`; the protocol cannot be told from an async one by its type."""

SCOPE = "https://eventgrid.azure.net/.default"
"""What the SDK asks tokens for."""

_KINDS = "an async credential, the topics' key, an AzureKeyCredential or an AzureSasCredential"


def async_access(
    config: EventGridConfig,
    credential_factory: CredentialFactory | None,
    credential: AsyncTokenCredential | Key | str | None,
    *,
    what: str = "credential",
    may_borrow: bool = False,
) -> AsyncAccess:
    """Give what an async client authenticates with.

    Args:
        config: The topics.
        credential_factory: Makes an async credential.
        credential: Or that, or a key.
        what: What the caller calls the latter.
        may_borrow: Whether none of these means the application's credential.

    Raises:
        TypeError: The credential is a sync one.
        ValueError: Not exactly one is given, a key is malformed, or a token would be sent without TLS. No message holds a key.
    """
    require_one(
        f"Event Grid needs exactly one of credential_factory= and {what}= ({_KINDS})",
        may_borrow=may_borrow,
        **{"credential_factory": credential_factory, what: credential},
    )
    if isinstance(credential, (str, AzureKeyCredential, AzureSasCredential)):
        return _checked_key(credential, what)
    access = client_credential(credential, credential_factory, (SCOPE,))
    _require_tls(config)
    return access


def sync_access(config: EventGridConfig, credential: TokenCredential | Key | str) -> SyncAccess:
    """Give what a sync client authenticates with.

    Raises:
        TypeError: The credential is an async one, or none at all.
        ValueError: A key is malformed, or a token would be sent without TLS. No message holds a key.
    """
    if isinstance(credential, (str, AzureKeyCredential, AzureSasCredential)):
        return _checked_key(credential, "credential")
    get_token = getattr(credential, "get_token", None)
    name = type(credential).__name__
    if get_token is None:
        raise TypeError(f"credential must be a credential from azure.identity, or a key, not {name}")
    # An async credential can be closed with `async with` alone.
    only_async = hasattr(credential, "__aexit__") and not hasattr(credential, "__exit__")
    if only_async or inspect.iscoroutinefunction(get_token):
        raise TypeError(
            f"credential is the async {name}: use the sync one from azure.identity, or pass this one as async_credential="
        )
    _require_tls(config)
    return credential


def _checked_key(credential: str | Key, what: str) -> Key:
    if isinstance(credential, AzureSasCredential):
        return credential
    key = credential if isinstance(credential, str) else credential.key
    if key.startswith("r=") and "&s=" in key:
        raise ValueError(f"{what} holds a shared access signature: pass AzureSasCredential(<signature>)")
    if not is_key(key):
        raise ValueError(f"{what} must be the topics' key as the portal shows it, in base64")
    return AzureKeyCredential(credential) if isinstance(credential, str) else credential


def _require_tls(config: EventGridConfig) -> None:
    for topic in config.topics():
        if not config.url(topic).startswith("https:"):
            raise ValueError(
                f"the url of topic {topic!r} is not https, and a token is sent over TLS only: write https://, or give a key"
            )
