"""Tokens, and what holds them: shown nowhere, whatever the credential does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ClientAuthenticationError

from fastapi_azure_pool import ConnectionFailed, ManagedCosmos, SharedCredential
from fastapi_azure_pool.clients.cosmos import CosmosAccess, CosmosConnector
from tests.secrets.planted import TOKEN, FixedCredential, assert_clean, logged, texts_of

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

ENDPOINT = "https://shop.documents.azure.com"


class FailingCredential(FixedCredential):
    """A credential whose error repeats what it should not."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Raise."""
        raise ClientAuthenticationError(message=f"refused {TOKEN}")


async def test_what_holds_tokens_shows_none() -> None:
    """A shared credential, before and after it has a token, and what is made of one, show nothing of it."""
    async with SharedCredential(credential=FixedCredential()) as shared:
        access = CosmosAccess(ENDPOINT, "shop", "orders", None, FixedCredential(), None)
        orders = ManagedCosmos(ENDPOINT, "shop", "orders", FixedCredential)
        shown = [shared, shared._keeper, access, CosmosConnector(access), orders, orders.pool, orders._shared]
        assert_clean(*map(repr, shown), *map(str, shown))
        assert (await shared.get_token("scope")).token == TOKEN
        assert shared._keeper is not None
        held = [*shared._keeper._held.values()]
        assert len(held) == 1
        assert_clean(*map(repr, [*shown, *held]))


async def test_what_a_credential_says_of_its_failure_is_not_logged(log: pytest.LogCaptureFixture) -> None:
    """The text of a credential's error is the cause's alone: neither our error nor our log repeats it."""
    orders = ManagedCosmos(ENDPOINT, "shop", "orders", FailingCredential)
    with pytest.raises(ConnectionFailed) as raised:
        await orders.__aenter__()
    assert TOKEN in str(raised.value.__cause__)
    assert "ClientAuthenticationError" in str(raised.value)
    raised.value.__cause__ = None
    raised.value.__suppress_context__ = True
    assert_clean(*texts_of(raised.value), *logged(log, by="fastapi_azure_pool"))
