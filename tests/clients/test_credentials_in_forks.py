"""A credential in a forked process: its connections are the parent's, and its tokens are not asked for over them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakSet

import pytest

from fastapi_azure_pool import ManagedClient, SharedCredential
from fastapi_azure_pool.pool import PoolState, forks
from tests.clients.credentials import CountingCredential
from tests.clients.waiting import eventually
from tests.support.scripted_connector import ScriptedConnector

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = "https://cosmos.azure.com/.default"


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that does with the test's credentials and clients what is done with them in a forked child."""
    monkeypatch.setattr(forks, "_inherited", WeakSet())
    monkeypatch.setattr(forks, "_left", [])
    return forks._begin_child


async def test_a_credential_that_is_made_here_is_made_anew(fork: Callable[[], None]) -> None:
    """The child makes a credential of its own, and neither asks nor closes the parent's."""
    shared = SharedCredential(factory=CountingCredential)
    await shared.get_token(SCOPE)
    fork()
    await shared.get_token(SCOPE)
    await shared.close()
    parents, childs = CountingCredential.made
    assert [len(made.requests) for made in (parents, childs)] == [1, 1]
    assert (parents.times_closed, childs.times_closed) == (0, 1)


async def test_a_given_credential_that_was_asked_is_refused(fork: Callable[[], None]) -> None:
    """One that was given, and has been asked before the fork, cannot be used in the child; the error tells what to write."""
    credential = CountingCredential()
    shared = SharedCredential(credential=credential)
    await shared.get_token(SCOPE)
    fork()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"before this process was forked.*give credential_factory="):
            await shared.get_token(SCOPE)
    assert len(credential.requests) == 1


async def test_a_given_credential_that_was_not_asked_is_used(fork: Callable[[], None]) -> None:
    """One that nobody has asked before the fork, such as a module's, has no connection yet."""
    shared = SharedCredential(credential=CountingCredential())
    fork()
    assert (await shared.get_token(SCOPE)).token == "token-1"


async def test_renewing_begins_anew(fork: Callable[[], None]) -> None:
    """Tokens are kept fresh in the child by a task of its own, as soon as it opens the client."""
    shared = SharedCredential(factory=CountingCredential, scopes=[SCOPE])
    shared.prepare()
    await shared.get_token(SCOPE)
    (parents,) = (task for task in asyncio.all_tasks() if task.get_name() == "renew tokens")
    fork()
    parents.cancel()  # Whose event loop does not run in the child.
    shared.prepare()
    await shared.get_token(SCOPE)
    assert len(CountingCredential.made) == 2
    await shared.close()


async def test_a_client_that_was_closing_can_be_opened(fork: Callable[[], None]) -> None:
    """A child does not wait for its parent's close."""
    client = ManagedClient(ScriptedConnector(), service="scripted")
    async with client.get():
        closing = asyncio.create_task(client.close(drain_seconds=0.1))
        await eventually(lambda: client.pool.state is PoolState.CLOSING)
        fork()
        assert client.pool.state is PoolState.CLOSED
        await client.open()
        assert client.pool.ready_connection_count == 1
        await client.close()
    await closing  # The parent's, whose event loop does not run in the child.
