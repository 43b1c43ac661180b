"""What app.state.azure_pools holds, and how it is asked outside a request."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from fastapi_azure_pool import AzurePools, ManagedClient, ManagedCosmos, UnknownPool, open_pools
from tests.fastapi.scripted import ScriptedClient


async def test_a_client_is_given_typed() -> None:
    """Outside a request, app.state.azure_pools.client(name, kind) gives the client of that kind or of a subclass."""
    app, orders = FastAPI(), ScriptedClient()
    async with open_pools(app, orders=orders):
        pools: AzurePools = app.state.azure_pools
        assert pools.client("orders", ScriptedClient) is orders
        assert pools.client("orders", ManagedClient) is orders
        async with pools.client("orders", ScriptedClient).get() as transport:
            assert transport.number == 0


async def test_a_client_of_another_kind_is_refused() -> None:
    """A client that is of another kind raises TypeError that names both."""
    app = FastAPI()
    async with open_pools(app, orders=ScriptedClient()):
        with pytest.raises(TypeError, match="pool 'orders' is a ScriptedClient, not a ManagedCosmos"):
            app.state.azure_pools.client("orders", ManagedCosmos)


def test_an_unknown_name_lists_the_names() -> None:
    """An unknown name raises UnknownPool, which is a LookupError, with the sorted names; none at all is told too."""
    pools = AzurePools()
    with pytest.raises(UnknownPool, match="no pool 'orders'; the pools are: none at all"):
        pools["orders"]
    pools.add({"orders": ScriptedClient(), "events": ScriptedClient()})
    with pytest.raises(LookupError, match=r"'events', 'orders'\. Name it in open_pools\(app, ordres=\.\.\.\)"):
        pools.client("ordres", ScriptedClient)


def test_it_is_a_collection_of_names() -> None:
    """Iterating gives the names in the order of adding; len, in and repr agree, and show no more than names."""
    pools = AzurePools()
    assert (len(pools), list(pools), repr(pools), "orders" in pools) == (0, [], "<AzurePools empty>", False)
    clients = {"orders": ScriptedClient(), "events": ScriptedClient()}
    pools.add(clients)
    assert (len(pools), list(pools), "orders" in pools) == (2, ["orders", "events"], True)
    assert repr(pools) == "<AzurePools orders, events>"
    pools.remove(clients)
    pools.remove(clients)
    assert list(pools) == []


def test_adding_is_all_or_none() -> None:
    """When one of several cannot be added, none is."""
    pools = AzurePools()
    pools.add({"orders": ScriptedClient()})
    with pytest.raises(ValueError, match="there is a pool 'orders' already"):
        pools.add({"events": ScriptedClient(), "orders": ScriptedClient()})
    assert list(pools) == ["orders"]
