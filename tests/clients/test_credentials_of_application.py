"""Clients without authentication of their own: what they use, and what they say when there is nothing to use."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ClientAuthenticationError

from fastapi_azure_pool import (
    AzureServiceBus,
    Cosmos,
    Eventhub,
    ManagedAzureEventhubProducer,
    ManagedAzureServiceBusSender,
    ManagedCosmos,
    SharedCredential,
)
from fastapi_azure_pool.clients.credentials import ApplicationCredential, client_credential
from tests.clients.credentials import CountingCredential

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = "https://cosmos.azure.com/.default"

MANAGED: dict[str, Callable[..., Any]] = {
    "cosmos": lambda **own: ManagedCosmos("https://shop.documents.azure.com", "shop", "orders", **own),
    "eventhub": lambda **own: ManagedAzureEventhubProducer("shop.servicebus.windows.net", "orders", **own),
    "servicebus": lambda **own: ManagedAzureServiceBusSender("shop.servicebus.windows.net", "work", **own),
}
each = pytest.mark.parametrize("make", MANAGED.values(), ids=MANAGED)


@each
async def test_without_authentication_a_client_is_made_and_cannot_be_opened(make: Callable[..., Any]) -> None:
    """A managed client without authentication raises ValueError when it is opened or used, which says what to write."""
    client = make()
    message = rf"{type(client).__name__} has no authentication: write open_pools\(app, credential=DefaultAzureCredential, \.\.\.\)"
    with pytest.raises(ValueError, match=message):
        await client.open()
    with pytest.raises(ValueError, match="such as credential_factory=DefaultAzureCredential"):
        client.get()
    with pytest.raises(ValueError, match=message):
        await client.__aenter__()


@each
async def test_a_client_with_its_own_credential_keeps_it(make: Callable[..., Any]) -> None:
    """A credential that an application lends changes nothing for a client that has one."""
    own, lent = CountingCredential("own"), CountingCredential("lent")
    client = make(credential=own)
    lender = SharedCredential(credential=lent)
    client.borrow_credential(lender)
    assert (await client._shared.get_token(SCOPE)).token == "own-1"
    client.give_back_credential()
    assert (await client._shared.get_token(SCOPE)).token == "own-1"
    assert lent.requests == []
    await client.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cosmos("https://shop.documents.azure.com", "shop", "orders"),
        lambda: Eventhub("shop.servicebus.windows.net", "orders"),
        lambda: AzureServiceBus("shop.servicebus.windows.net", "work"),
    ],
    ids=["cosmos", "eventhub", "servicebus"],
)
def test_a_basic_client_needs_its_own(make: Callable[[], object]) -> None:
    """A client that no application opens is refused without authentication when it is made."""
    with pytest.raises(
        ValueError, match=r"exactly one of credential_factory=, credential= .* connection_string=.* not none"
    ):
        make()


async def test_what_is_borrowed_is_the_lender_s() -> None:
    """A borrower gives the lender's tokens, cannot close its credential, and has none when it has given it back."""
    credential = CountingCredential()
    lender, borrower = SharedCredential(credential=credential), ApplicationCredential(scopes=[SCOPE])
    assert borrower.is_missing
    borrower.borrow(lender)
    assert not borrower.is_missing
    await lender.get_token(SCOPE)
    assert (await borrower.get_token(SCOPE)).token == "token-1"
    await borrower.close()
    assert (await borrower.get_token_info(SCOPE)).token == "token-1"
    borrower.give_back()
    with pytest.raises(ClientAuthenticationError, match="no authentication of its own"):
        await borrower.get_token(SCOPE)
    assert (len(credential.requests), credential.times_closed) == (1, 0)


async def test_a_borrower_has_one_lender_at_a_time() -> None:
    """A client that is open with one application's credential is refused another's, and free for it afterwards."""
    first, second = (SharedCredential(credential=CountingCredential(name)) for name in ("first", "second"))
    borrower = ApplicationCredential()
    borrower.borrow(first)
    with pytest.raises(
        ValueError, match=r"open already, with the credential of another open_pools\(\): make one client for each"
    ):
        borrower.borrow(second)
    assert (await borrower.get_token(SCOPE)).token == "first-1"
    borrower.give_back()
    borrower.borrow(second)
    assert (await borrower.get_token(SCOPE)).token == "second-1"


async def test_clients_that_share_a_borrower_give_it_back_each() -> None:
    """One ApplicationCredential of several clients is there until the last of them has given it back."""
    lender, borrower = SharedCredential(credential=CountingCredential()), ApplicationCredential()
    for _ in range(2):
        borrower.borrow(lender)
    borrower.give_back()
    assert (await borrower.get_token(SCOPE)).token == "token-1"
    borrower.give_back()
    assert borrower.is_missing


@pytest.mark.parametrize("kind", [ApplicationCredential, partial(SharedCredential, factory=CountingCredential)])
def test_one_text_is_no_list_of_scopes(kind: Callable[..., object]) -> None:
    """A scope in the place of a list of them would be taken for one scope for each letter; the error shows the list."""
    with pytest.raises(TypeError, match=r"write scopes=\['https://cosmos\.azure\.com/\.default'\]"):
        kind(scopes=SCOPE)


def test_what_a_managed_client_authenticates_with() -> None:
    """With a credential or a factory it has its own, with neither its application's; a repr tells no more than which."""
    own = client_credential(CountingCredential("planted"), None, ())
    assert not isinstance(own, ApplicationCredential)
    assert not isinstance(client_credential(None, CountingCredential, ()), ApplicationCredential)
    assert repr(client_credential(None, None, ())) == "<ApplicationCredential>"
    assert repr(own) == "<SharedCredential>"
