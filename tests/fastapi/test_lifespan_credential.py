"""One credential for the clients of an application: lent by open_pools, asked once for all, given back and closed last."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from azure.identity import DefaultAzureCredential as SyncDefaultAzureCredential
from fastapi import APIRouter, Depends, FastAPI

from fastapi_azure_pool import ConnectionFailed, ManagedClient, PoolState, open_pools, pool_lifespan, pooled
from fastapi_azure_pool.clients.credentials import ApplicationCredential, client_credential
from tests.clients.credentials import CountingCredential
from tests.clients.waiting import eventually
from tests.fastapi.driver import Lifespan, serving
from tests.support.scripted_connector import ScriptedConnector, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.core.credentials_async import AsyncTokenCredential

SCOPE = "https://orders.example/.default"


class AskingConnector(ScriptedConnector):
    """Opens connections with a token.

    Attributes:
        tokens: Those of its connections, in the order of their opening.
    """

    def __init__(self, credential: Any, scope: str) -> None:
        super().__init__()
        self.tokens: list[str] = []
        self._credential = credential
        self._scope = scope

    async def create(self) -> Transport:
        """Ask for a token, and open."""
        self.tokens.append((await self._credential.get_token(self._scope)).token)
        return await super().create()


class TokenClient(ManagedClient[Transport]):
    """A client that authenticates with a credential: its own, or its application's.

    Attributes:
        connector: The connector.
    """

    def __init__(
        self, scope: str = SCOPE, *, credential: AsyncTokenCredential | None = None, factory: Any = None, **sizes: Any
    ) -> None:
        shared = client_credential(credential, factory, (scope,))
        self.connector = AskingConnector(shared, scope)
        super().__init__(self.connector, service="scripted", shared=shared, **sizes)


@pytest.fixture(autouse=True)
def none_made() -> None:
    """No credential has been made yet."""
    CountingCredential.made.clear()


async def test_one_credential_for_all_clients() -> None:
    """Clients without authentication share the application's: it is made once, asked once for each scope, and closed last."""
    app = FastAPI()
    clients = {name: TokenClient(scope, min_size=2) for name, scope in (("a", "one"), ("b", "one"), ("c", "other"))}
    states: list[PoolState] = []

    class Closing(CountingCredential):
        async def close(self) -> None:
            states.extend(client.pool.state for client in clients.values())
            await super().close()

    async with open_pools(app, clients, credential=Closing):
        (made,) = CountingCredential.made
        assert sorted(scopes for scopes, _ in made.requests) == [("one",), ("other",)]
        assert [client.pool.ready_connection_count for client in clients.values()] == [2, 2, 2]
        assert made.times_closed == 0
    assert (made.times_closed, made.use_after_close, len(CountingCredential.made)) == (1, False, 1)
    assert states == [PoolState.CLOSED] * 3


async def test_a_given_credential_stays_its_owner_s() -> None:
    """A credential that was made elsewhere is lent, and not closed."""
    credential = CountingCredential()
    for times in (1, 2):
        async with open_pools(FastAPI(), credential=credential, orders=TokenClient()):
            assert len(credential.requests) == times
    assert credential.times_closed == 0


async def test_tokens_are_there_before_the_first_connection_needs_one() -> None:
    """A client that opens no connection at its start has its token all the same."""
    credential = CountingCredential()
    client = TokenClient(min_size=0)
    async with open_pools(FastAPI(), credential=credential, orders=client):
        await eventually(lambda: len(credential.requests) == 1)
        async with client.get():
            assert client.connector.tokens == ["token-1"]
        assert len(credential.requests) == 1


async def test_a_client_with_a_credential_keeps_it() -> None:
    """A client that was given its own uses that, beside others that use the application's."""
    own, lent = CountingCredential("own"), CountingCredential("lent")
    first, second, third = TokenClient(credential=own), TokenClient(), TokenClient(factory=lambda: own)
    async with open_pools(FastAPI(), credential=lent, first=first, second=second, third=third):
        assert [client.connector.tokens for client in (first, second, third)] == [["own-1"], ["lent-1"], ["own-2"]]


async def test_one_task_renews_the_tokens_of_all() -> None:
    """However many clients and scopes there are, one task renews their tokens, and it ends with them."""
    clients = {f"client-{number}": TokenClient(f"scope-{number % 3}") for number in range(6)}

    def renewing() -> int:
        return sum(task.get_name() == "renew tokens" for task in asyncio.all_tasks())

    async with open_pools(FastAPI(), clients, credential=CountingCredential):
        assert renewing() == 1
    assert renewing() == 0


@pytest.mark.parametrize("fail_fast", [True, False])
async def test_without_any_credential_nothing_is_opened(fail_fast: bool) -> None:
    """A client with neither its own nor the application's stops the start, whatever fail_fast says, with what to write."""
    app = FastAPI()
    good, bad = TokenClient(credential=CountingCredential()), TokenClient()
    message = r"the TokenClient of pool 'bad' has no authentication: write open_pools\(app, credential=Default"
    with pytest.raises(ValueError, match=message):
        await open_pools(app, fail_fast=fail_fast, good=good, bad=bad).__aenter__()
    assert good.connector.begun == 0
    assert not hasattr(app.state, "azure_pools")


async def test_afterwards_a_client_has_none_again() -> None:
    """Closed by its application, a client cannot be opened by hand; another application may open it, with another credential."""
    client = TokenClient()
    async with open_pools(FastAPI(), credential=CountingCredential("first"), orders=client):
        pass
    with pytest.raises(ValueError, match="of pool 'orders' has no authentication"):
        await client.open()
    async with open_pools(FastAPI(), credential=CountingCredential("second"), orders=client):
        pass
    assert client.connector.tokens == ["first-1", "second-1"]


async def test_closed_and_opened_inside_its_application() -> None:
    """A client that the application itself closes and opens again goes on with the application's credential and token."""
    client, credential = TokenClient(), CountingCredential()
    async with open_pools(FastAPI(), credential=credential, orders=client):
        await client.close()
        await client.open()
        assert client.connector.tokens == ["token-1", "token-1"]


async def test_a_client_of_two_applications_is_refused() -> None:
    """A client that is open in one application cannot be lent another's credential: it stays with the first, undisturbed."""
    client, other = TokenClient(), TokenClient()
    second = CountingCredential("second")
    async with open_pools(FastAPI(), credential=CountingCredential("first"), orders=client):
        with pytest.raises(ValueError, match="make one client for each"):
            await open_pools(FastAPI(), credential=second, other=other, orders=client).__aenter__()
        assert (client.pool.state, client.pool.name, second.requests) == (PoolState.OPEN, "orders", [])
        async with client.get():
            pass
    async with open_pools(FastAPI(), credential=second, other=other):
        assert other.connector.tokens == ["second-1"]


async def test_a_router_s_pools_use_the_application_s_credential() -> None:
    """An open_pools that joins another's pools, and has no credential, uses that one's; its own is for its own clients only."""
    app = FastAPI()
    credential, own = CountingCredential("application"), CountingCredential("router")
    clients = [TokenClient() for _ in range(4)]
    async with open_pools(app, credential=credential, first=clients[0]):
        async with (
            open_pools(app, second=clients[1]),
            open_pools(app, credential=own, third=clients[2]),
            open_pools(app, fourth=clients[3]),
        ):
            pass
        assert credential.times_closed == 0
    assert [client.connector.tokens for client in clients] == [["application-1"]] * 2 + [
        ["router-1"],
        ["application-1"],
    ]
    assert not hasattr(app.state, "azure_pools")


async def test_a_router_s_credential_is_not_the_application_s() -> None:
    """An application whose open_pools had no credential does not come to one by a router's."""
    app = FastAPI()
    async with open_pools(app), open_pools(app, credential=CountingCredential(), orders=TokenClient()):
        with pytest.raises(ValueError, match="has no authentication"):
            await open_pools(app, events=TokenClient()).__aenter__()


async def test_a_credential_that_is_closed_is_lent_no_more() -> None:
    """When the open_pools that had the credential has ended, one that joins those which are left has none."""
    app = FastAPI()
    first, second = open_pools(app, credential=CountingCredential), open_pools(app, events=TokenClient())
    await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    with pytest.raises(ValueError, match="has no authentication"):
        await open_pools(app, orders=TokenClient()).__aenter__()
    await second.__aexit__(None, None, None)


async def test_a_credential_is_closed_after_the_last_client_that_it_was_lent_to() -> None:
    """Also where the open_pools that had the credential ends before another that joined it: that one's clients go on with it."""
    app, joined = FastAPI(), TokenClient(max_size=2)
    first, second = open_pools(app, credential=CountingCredential), open_pools(app, orders=joined)
    await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    joined.pool.expire(joined.pool.connections[0])
    async with joined.get():
        assert joined.connector.tokens == ["token-1", "token-1"]
    assert CountingCredential.made[0].times_closed == 0
    await second.__aexit__(None, None, None)
    (made,) = CountingCredential.made
    assert (made.times_closed, made.use_after_close) == (1, False)


async def test_an_application_without_clients_keeps_its_credential() -> None:
    """An open_pools without clients of its own lends its credential to one after the other that joins it."""
    app, credential = FastAPI(), CountingCredential()
    async with open_pools(app, credential=credential):
        for _ in range(2):
            async with open_pools(app, orders=TokenClient()):
                pass
    assert len(credential.requests) == 1


async def test_an_included_router_s_lifespan_finds_the_credential() -> None:
    """With FastAPI's own merging of lifespans, too, a router's clients use the application's credential."""
    client, credential = TokenClient(), CountingCredential()

    @asynccontextmanager
    async def router_lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_pools(app, events=client) as state:
            yield state

    app = FastAPI(lifespan=pool_lifespan(lambda _: {"orders": TokenClient()}, credential=credential))
    app.include_router(APIRouter(lifespan=router_lifespan))
    async with Lifespan(app):
        assert (client.connector.tokens, len(credential.requests)) == (["token-1"], 1)


@pytest.mark.parametrize(
    ("credential", "message"),
    [
        (SyncDefaultAzureCredential, r"is the sync DefaultAzureCredential.*azure\.identity\.aio"),
        (SyncDefaultAzureCredential(), r"is the sync DefaultAzureCredential.*azure\.identity\.aio"),
        (partial(SyncDefaultAzureCredential), r"returned is the sync DefaultAzureCredential.*azure\.identity\.aio"),
        (dict, "must be an async credential, not dict"),
        (
            "planted key",
            r"not a str; a key, a signature or a connection string is an argument of the client that it is for",
        ),
        (
            ManagedClient(ScriptedConnector(), service="scripted"),
            r'goes into the mapping: open_pools\(app, \{"credential": client\}\)',
        ),
    ],
    ids=["sync class", "sync instance", "sync function", "class of none", "text", "client"],
)
async def test_what_is_no_async_credential_is_refused_at_once(credential: Any, message: str) -> None:
    """A sync credential, however it is given, and what is none at all raise TypeError before anything is opened."""
    app, client = FastAPI(), TokenClient()
    with pytest.raises(TypeError, match=message) as raised:
        await open_pools(app, credential=credential, orders=client).__aenter__()
    assert "planted" not in str(raised.value)
    assert client.connector.begun == 0
    assert not hasattr(app.state, "azure_pools")


async def test_a_start_that_fails_closes_the_credential() -> None:
    """When a client cannot be opened, the credential that was made for the application is closed, too, after the clients."""
    app, client = FastAPI(), TokenClient()
    client.connector.create_error = OSError("no route")
    with pytest.raises(ConnectionError):
        await open_pools(app, credential=CountingCredential, orders=client).__aenter__()
    (made,) = CountingCredential.made
    assert (made.times_closed, made.use_after_close) == (1, False)


async def test_a_start_without_a_token_fails_in_time() -> None:
    """A token endpoint that does not answer stops the start as a service does; what was asked of the credential is broken off."""

    class Silent(CountingCredential):
        def __init__(self) -> None:
            super().__init__()
            self.let.clear()

    client, started = TokenClient(pool_connection_create_timeout=0.2), time.monotonic()
    with pytest.raises(ConnectionFailed, match="pool 'orders' could not open a connection"):
        await open_pools(FastAPI(), credential=Silent, orders=client).__aenter__()
    assert 0.2 <= time.monotonic() - started < 3
    (made,) = CountingCredential.made
    assert (made.times_closed, made.use_after_close) == (1, False)


async def is_whole_when_cancelled_after(steps: int) -> bool:
    """Open and close pools, cancel that after so many steps of the loop, check what is left, and tell if it was early enough."""
    CountingCredential.made.clear()
    app, clients = FastAPI(), {"orders": TokenClient(), "events": TokenClient("other")}

    async def live() -> None:
        async with open_pools(app, clients, credential=CountingCredential):
            pass

    living = asyncio.create_task(live())
    for _ in range(steps):
        await asyncio.sleep(0)
    is_early = living.cancel()
    await asyncio.wait([living])
    await eventually(lambda: not hasattr(app.state, "azure_pools"))
    for client in clients.values():
        assert client.pool.state in {PoolState.NEW, PoolState.CLOSED}, steps
        assert all(transport.times_closed == 1 for transport in client.connector.created), steps
    assert all((made.times_closed, made.use_after_close) == (1, False) for made in CountingCredential.made), steps
    return is_early


async def test_cancelled_at_any_moment_it_closes_all() -> None:
    """Whenever the task that opens and closes the pools is cancelled, each client and then the credential are closed, once."""
    steps = 0
    while await is_whole_when_cancelled_after(steps):
        steps += 1
    assert steps > 20


async def test_a_degraded_start_gets_its_token_later() -> None:
    """With fail_fast=False an application starts while no token can be had, and heals unasked when one can."""
    credential, client = CountingCredential(), TokenClient()
    credential.error = OSError("the endpoint is down")
    async with open_pools(FastAPI(), fail_fast=False, credential=credential, orders=client):
        assert client.pool.ready_connection_count == 0
        credential.error = None
        await eventually(lambda: client.pool.ready_connection_count == 1)


async def test_a_request_uses_a_client_without_authentication_of_its_own() -> None:
    """pooled() hands out connections that were opened with the application's credential."""
    client = TokenClient()
    app = FastAPI(lifespan=pool_lifespan(lambda _: {"orders": client}, credential=CountingCredential))

    @app.get("/")
    async def read(orders: Annotated[Transport, Depends(pooled("orders"), scope="function")]) -> bool:
        return orders in client.connector.created

    async with serving(app) as http:
        assert (await http.get("/")).json() is True


def test_what_is_said_of_a_credential_holds_no_secret() -> None:
    """The repr of what is lent tells nothing of what is behind it."""
    assert repr(ApplicationCredential(scopes=[SCOPE])) == "<ApplicationCredential>"
